"""Architecture search with a small training set: rate every network of a grid on it, and trust the order.

The setting is that of gradient matching (Zhao, Mopuri and Bilen, ICLR 2021), which DM and DataDAM follow (Sajedi et
al., ICCV 2023, Table 8): 720 ConvNets, the combinations of SPACE, each trained for 200 epochs on 50 images per class.
What is asked is whether the order they come in is the order that training on all images would give.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product

import torch
from scipy.stats import spearmanr
from torch import nn

from datadam_lite.checks import check_finite
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, known
from datadam_lite.evaluate import accuracy, train_network
from datadam_lite.layers import ACTIVATIONS, POOLINGS
from datadam_lite.networks import build
from datadam_lite.preprocess import Preprocess
from datadam_lite.progress import bar
from datadam_lite.protocol import Protocol
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

SPACE = {
    "depth": (1, 2, 3, 4),
    "width": (32, 64, 128, 256),
    "norm": ("none", "batch", "layer", "instance", "group"),
    "activation": ("sigmoid", "relu", "leaky_relu"),
    "pooling": ("none", "max", "avg"),
}


@dataclass(frozen=True)
class Candidate(Protocol):
    """A ConvNet to be rated, and how it is trained: a protocol that also has an activation and a pooling.

    Raises: DataDamError for unknown names.

    >>> Candidate(depth=2, width=8, pooling="max").architecture
    'depth 2, width 8, norm instance, activation relu, pooling max'
    """

    activation: str = "relu"
    pooling: str = "avg"

    def __post_init__(self):
        super().__post_init__()
        known(self.activation, ACTIVATIONS, "activation")
        known(self.pooling, POOLINGS, "pooling")

    @property
    def architecture(self) -> str:
        """The network in words."""
        return ", ".join(f"{key} {getattr(self, key)}" for key in SPACE)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """Build the network."""
        return build("convnet", shape, classes, **{key: getattr(self, key) for key in SPACE})


def candidates(space: Mapping[str, Sequence] = SPACE, training: Protocol | None = None) -> list[Candidate]:
    """Return the ConvNets of a grid: every combination of the values given, the others as `training` has them.

    training: how each of them is trained; 200 epochs by default.

    Raises: DataDamError for a field that a candidate does not have.

    >>> len(candidates())
    720
    """
    names = [field.name for field in fields(Candidate)]
    for key in space:
        known(key, names, "field of a candidate")
    training = training or Protocol("search", epochs=200)
    plain = Candidate(**asdict(training))
    return [replace(plain, **dict(zip(space, values, strict=True))) for values in product(*space.values())]


def whole(train: ImageSet) -> SyntheticSet:
    """Return all training images as a set to train on: what the ratings on a small one are measured by.

    >>> from datadam_lite.data import load
    >>> len(whole(load("digits")[0]))
    1297
    """
    return SyntheticSet.from_real(train, torch.arange(len(train)), Preprocess.fit(train))


def rate(
    tried: Sequence[Candidate], chosen: SyntheticSet, images: ImageSet, *,
    seed: int = 0, settings: Settings | None = None,
) -> list[float]:
    """Train each candidate on a set; return the percentages of `images` that they get right.

    A candidate's random numbers depend on the seed and its architecture alone: a part of a grid has the ratings that
    it has within the whole.

    Raises: DataDamError if the images are too small for a candidate, or of other classes than the set, before any is
    trained; or if the training of one diverges.

    >>> from datadam_lite.data import load
    >>> train, test = load("digits")
    >>> two = candidates({"depth": (1, 2), "width": (4,)}, Protocol(epochs=2))
    >>> len(rate(two, whole(train), test))
    2
    """
    for each in tried:
        each.build(images.shape, len(images.classes))
    if (chosen.classes, tuple(chosen.images.shape[1:])) != (images.classes, images.shape):
        raise DataDamError(
            f"the set has {_kind(chosen.images.shape[1:], chosen.classes)}, the images that rate it "
            f"{_kind(images.shape, images.classes)}; take the data set that it was made from."
        )
    settings = settings or Settings()
    pixels, found = chosen.preprocess.apply(images.images), []
    for each in bar(tried, total=len(tried)):
        stream = generator(seed, "search", each.architecture)
        network = train_network(chosen, stream, protocol=each, settings=settings)
        check_finite(network.parameters(), f"the weights of {each.architecture}", "give the candidates a smaller lr.")
        found.append(accuracy(network, pixels, images.labels))
    return found


def _kind(shape: Sequence[int], classes: Sequence[str]) -> str:
    """What a set and images must share, in words."""
    return f"images of {'x'.join(map(str, shape))} and the classes {', '.join(classes[:3])}, …"


def best(ratings: Sequence[float], share: float = 0.2) -> list[int]:
    """Return which candidates are the best `share` of all, the best first; of equal ones the earlier.

    Raises: DataDamError unless 0 < share <= 1 and there is a rating.

    >>> best([10.0, 90.0, 50.0, 70.0, 30.0], 0.4)
    [1, 3]
    """
    if not (ratings and 0 < share <= 1):
        raise DataDamError(f"expected ratings, and a share in (0, 1]; received {len(ratings)} and {share}.")
    order = sorted(range(len(ratings)), key=lambda k: -ratings[k])
    return order[: math.ceil(round(share * len(order), 9))]  # 0.07 of 100 is 7, and not 7.000000000000001


def agreement(ratings: Sequence[float], truth: Sequence[float], share: float = 1.0) -> float:
    """Return Spearman's rank correlation of ratings and truth among the best `share` of the candidates, by truth.

    1: the same order; 0: no relation; -1: the opposite order. Equal ratings share the mean of their ranks. Paper and
    slides of DataDAM don't say which order the best fifth is taken from; that it is the true one is inferred.

    Raises: DataDamError if they are not equally many, fewer than two, or all alike.

    >>> round(agreement([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]), 2)
    0.8
    """
    if len(ratings) != len(truth):
        raise DataDamError(f"expected a rating for each of {len(truth)} candidates; received {len(ratings)}.")
    among = best(truth, share)
    pair = [[values[k] for k in among] for values in (ratings, truth)]
    if any(len(set(values)) < 2 for values in pair):
        raise DataDamError(f"the {len(among)} candidates have no order, all are rated alike; rate more of them.")
    return float(spearmanr(*pair).statistic)
