"""What is matched: every method of the book is a sum of terms, and every term compares classes.

    loss = sum over terms of  weight * sum over classes of || mean r(real) - mean r(synthetic) ||^2

A term is a choice of r, the representation of one image under a random network. DM takes the
embedding; DataDAM adds the spatial attention of every block but the last, ATOM channel attention;
your own attention function is another r. Nothing else differs between the methods within an iteration,
unless a term measures the distance through another kernel.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datadam_lite.attention import Attention, attend, in_float32
from datadam_lite.errors import DataDamError
from datadam_lite.networks import Features


def distance_of_means(
    real: Float[Tensor, "k n d"], synthetic: Float[Tensor, "k m d"]
) -> Float[Tensor, " k"]:
    """For every class ||mean r(real) - mean r(synthetic)||^2; the MMD of the linear kernel.

    >>> distance_of_means(torch.ones(2, 5, 4), torch.zeros(2, 3, 4))
    tensor([4., 4.])
    """
    return (real.mean(1) - synthetic.mean(1)).square().sum(1)


class Term(NamedTuple):
    """One summand: its name, its weight, the representation r: Features -> [B, D], and the distance.

    distance: from real [K, n, D] and synthetic [K, m, D] to one number for each of K classes.
    """

    name: str
    weight: float
    represent: Callable[[Features], Float[Tensor, "b d"]]
    distance: Callable[[Float[Tensor, "k n d"], Float[Tensor, "k m d"]], Float[Tensor, " k"]] = distance_of_means


def embedding(features: Features) -> Float[Tensor, "b d"]:
    """r(x) of DM (Zhao and Bilen, WACV 2023): the flattened output of the last pooling."""
    return features.embedding


def attended(
    attention: Attention, layers: tuple[int, ...] | None = None
) -> Callable[[Features], Float[Tensor, "b d"]]:
    """r(x) of attention matching: the attention of some blocks, laid end to end.

    layers: numbers of blocks from 1; None: all but the last, 1 … L-1. The squared distance of vectors
    laid end to end is the sum of the layers' squared distances: the sum in equation 2 of DataDAM.
    """

    def represent(features: Features) -> Float[Tensor, "b d"]:
        blocks = range(1, len(features.maps)) if layers is None else layers
        if not blocks or max(blocks) > len(features.maps):
            asked = "all layers but the last" if layers is None else f"layers {list(layers)}"
            raise DataDamError(
                f"attention was asked of the maps of {asked}, but this network has {len(features.maps)}; "
                "a transformer has none: match its embedding (recipe dm)."
            )
        return torch.cat([attend(attention, features.maps[block - 1]) for block in blocks], 1)

    return represent


def class_vectors(
    network: nn.Module, terms: list[Term], images: Float[Tensor, "b c h w"], classes: int
) -> list[Float[Tensor, "k n d"]]:
    """For every term, the vectors r(x) of the images of each class; images in class order: 0…0, 1…1, …"""
    features = network(images)
    vectors = [in_float32(term.represent(features)) for term in terms]  # each (K*n, D)
    return [v.unflatten(0, (classes, -1)) for v in vectors]  # (K, n, D)


def matching_loss(
    terms: list[Term], real: list[Float[Tensor, "k n _"]], synthetic: list[Float[Tensor, "k m _"]]
) -> dict[str, Float[Tensor, ""]]:
    """For every term: weight * sum over classes of the distance of real and synthetic vectors.

    >>> ones, zeros = torch.ones(10, 64, 4), torch.zeros(10, 1, 4)
    >>> terms = [Term("embedding", 0.5, embedding)]
    >>> matching_loss(terms, [ones], [zeros])       # 0.5 * 10 classes * 4 dimensions
    {'embedding': tensor(20.)}
    """
    return {
        term.name: term.weight * term.distance(x, s).sum()
        for term, x, s in zip(terms, real, synthetic, strict=True)
    }
