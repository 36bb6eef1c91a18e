"""What differs from class to class: drawn from the teacher's secret string, and from nothing else.

Whoever has the string has the variant, the inputs and the answers; the others know what the assignment tells. That is
all that is hidden. The code is public, and a string that can be guessed hides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.attention import channel, spatial
from datadam_lite.classroom.broken import SLOTS
from datadam_lite.errors import DataDamError
from datadam_lite.seeding import generator

PUBLIC = "the published assignments"  # the class of everybody who has no teacher
SHORTEST = 12  # characters of a secret string

RULES = {
    "weights": "each of the two unit vectors times its weight",
    "roots": "each of the two unit vectors times the square root of its weight",
    "unit": "each of the two unit vectors times its weight, and the whole then divided by its length",
}
LAWS = ("length one", "blind to scale", "blind to channel order", "blind to position order")
ABLATIONS = {"power": (1.0, 2.0, 4.0, 8.0), "lam": (0.0, 0.01, 0.1, 1.0), "layers": (1, 2, (1, 2))}


@dataclass(frozen=True)
class Variant:
    """The tasks of a class.

    >>> variant(PUBLIC) == variant(PUBLIC), variant(PUBLIC) == variant("another string")
    (True, False)
    """

    p_spatial: float  # A2: the powers of the two blocks,
    p_channel: float
    weight: float  # the weight of the spatial one; the other has the rest of 1,
    rule: str  # a key of RULES,
    spatial_first: bool  # and which stands first
    p_broken: int  # A3: the power of the broken function, an odd one,
    bugs: tuple[int, ...]  # and for each of its lines which of the wrong ones it has
    law: str  # A4: the law that an attention of one's own must keep
    field: str  # A5: the field of the recipe to vary, a key of ABLATIONS,
    values: tuple  # two of its values,
    seeds: tuple[int, ...]  # and the seeds of the sets

    def mixture(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """The attention that assignment A2 asks for.

        >>> variant(PUBLIC).mixture(torch.rand(2, 5, 4, 4)).shape
        torch.Size([2, 21])
        """
        weights = torch.tensor([self.weight, 1 - self.weight], dtype=torch.float64)
        if self.rule == "roots":
            weights = weights.sqrt()
        blocks = [weights[0] * spatial(maps, self.p_spatial), weights[1] * channel(maps, self.p_channel)]
        vectors = torch.cat(blocks if self.spatial_first else blocks[::-1], 1).to(blocks[0].dtype)
        return F.normalize(vectors, dim=1) if self.rule == "unit" else vectors


def variant(class_seed: str) -> Variant:
    """Return the tasks of a class.

    Raises: DataDamError if the string is too short to be a secret.
    """
    if len(class_seed) < SHORTEST:
        raise DataDamError(
            f"the class seed must have {SHORTEST} characters at least, or it can be guessed; received "
            f"{len(class_seed)}. This makes a long one: python -c 'import secrets; print(secrets.token_urlsafe())'."
        )
    p_spatial, p_channel = sample(class_seed, "powers", (1.5, 2.0, 3.0, 5.0), 2)
    field = one(class_seed, "field", tuple(ABLATIONS))
    return Variant(
        p_spatial=p_spatial,
        p_channel=p_channel,
        weight=one(class_seed, "weight", (0.2, 0.3, 0.7, 0.8)),
        rule=one(class_seed, "rule", tuple(RULES)),
        spatial_first=one(class_seed, "order", (True, False)),
        p_broken=one(class_seed, "odd power", (3, 5)),
        bugs=tuple(one(class_seed, f"bug of {name}", range(len(slot.wrong))) for name, slot in SLOTS.items()),
        law=one(class_seed, "law", LAWS),
        field=field,
        values=tuple(sample(class_seed, "values", ABLATIONS[field], 2)),
        seeds=tuple(sample(class_seed, "seeds", range(100), 5)),
    )


def secret(class_seed: str, *names: str | int) -> torch.Generator:
    """A stream of random numbers that only who has the string can draw again."""
    return generator(0, "class", class_seed, *names)


def sample(class_seed: str, name: str, options: Sequence, n: int) -> list:
    """Draw n different options."""
    order = torch.randperm(len(options), generator=secret(class_seed, name))
    return [options[i] for i in order[:n]]


def one(class_seed: str, name: str, options: Sequence):
    """Draw an option."""
    return sample(class_seed, name, options, 1)[0]
