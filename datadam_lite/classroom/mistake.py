"""A mistake of the catalogue, and the right steps that its variants take beside the wrong one."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from datadam_lite.classroom.probes import Power

BOTH = ("spatial", "channel")
OTHER = {"spatial": "channel", "channel": "spatial"}
AXES = {"spatial": 1, "channel": (2, 3)}  # that the equation adds up


@dataclass(frozen=True)
class Mistake:
    """A mistake: its name, what a tutor would say, the functions (maps, p, kind) that make it, and the kinds it is of.

    of_p: it is one of the power, and is looked for only where it is known which power should be there.
    """

    name: str
    hint: str
    variants: tuple[Callable[[Tensor, float, str], Tensor], ...]
    kinds: tuple[str, ...] = BOTH
    of_p: bool = False


def powers(maps: Tensor, p: Power) -> Tensor:
    """|f|^p, [B, C, H, W]."""
    return maps.abs().pow(p)


def summed(x: Tensor, kind: str) -> Tensor:
    """[B, C, H, W] -> [B, D]: added up along the axes of the kind, and what is left laid end to end."""
    return x.sum(AXES[kind]).flatten(1)


def energy(maps: Tensor, p: Power, kind: str) -> Tensor:
    """The sums of the equation, [B, D], before they are normalised."""
    return summed(powers(maps, p), kind)


def unit(vectors: Tensor) -> Tensor:
    """Each vector divided by its length, [B, D]."""
    return F.normalize(vectors, dim=1)


def right(maps: Tensor, p: Power, kind: str) -> Tensor:
    """The equation, [B, D]."""
    return unit(energy(maps, p, kind))
