"""Coresets: small sets of real images, chosen. Rows out, so that they serve as baselines and as starts."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datadam_lite.data import ImageSet
from datadam_lite.errors import known
from datadam_lite.networks import build
from datadam_lite.preprocess import Preprocess
from datadam_lite.seeding import generator


def random(train: ImageSet, ipc: int, seed: int = 0) -> Int64[Tensor, " n"]:
    """Draw ipc images of every class; row numbers, class-major.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> len(random(train, 2))
    20
    """
    return train.sample(ipc, generator(seed, "random coreset"))


def k_center(train: ImageSet, ipc: int, seed: int = 0, *, width: int = 128) -> Int64[Tensor, " n"]:
    """Choose per class by `farthest_first`, in the embedding of one random network drawn from the seed.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> train.labels[k_center(train, 1, width=8)].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    train.require(ipc)
    features = embed(train, seed, width=width)
    return torch.cat([rows[farthest_first(features[rows], ipc)] for rows in train.rows_of_class])


def farthest_first(features: Float[Tensor, "m d"], n: int) -> Int64[Tensor, " n"]:
    """Choose n of m points: the one nearest the mean, then the farthest from all chosen.

    The greedy 2-approximation of the k-center problem (Sener and Savarese, ICLR 2018).

    >>> farthest_first(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), 3).tolist()
    [2, 3, 0]
    """
    from_mean = (features - features.mean(0)).norm(dim=1)
    chosen = [int(from_mean.argmin())]
    distance = torch.full((len(features),), torch.inf)
    while len(chosen) < n:
        from_last = (features - features[chosen[-1]]).norm(dim=1)
        distance = distance.minimum(from_last)
        distance[chosen[-1]] = -torch.inf  # never twice, even among equal points
        chosen.append(int(distance.argmax()))
    return torch.tensor(chosen)


@torch.no_grad()
def embed(train: ImageSet, seed: int, *, width: int = 128) -> Float[Tensor, "n d"]:
    """Embed all images with one random ConvNet, 500 at a time."""
    preprocess = Preprocess.fit(train)
    network = build("convnet", train.shape, len(train.classes), width=width)
    network.reset(generator(seed, "coreset network"))
    return torch.cat([network(preprocess.apply(part)).embedding for part in train.images.split(500)])


CORESETS = {"random": random, "k_center": k_center}


def select(name: str, train: ImageSet, ipc: int, seed: int = 0, **options) -> Int64[Tensor, " n"]:
    """Choose rows by the coreset of that name.

    Raises: DataDamError for an unknown name, or more images than a class has.
    """
    return known(name, CORESETS, "coreset")(train, ipc, seed, **options)
