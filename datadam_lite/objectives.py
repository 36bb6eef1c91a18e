"""What is matched: every method of the book is a sum of terms, and every term compares class means.

    loss = sum over terms of  weight * sum over classes of || mean r(real) - mean r(synthetic) ||^2

A term is a choice of r, the representation of one image under a random network. DM takes the
embedding; DataDAM adds the spatial attention of every block but the last; your own attention
function is another r. Nothing else differs between the methods within an iteration.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datadam_lite.attention import Attention, attend
from datadam_lite.networks import Features


class Term(NamedTuple):
    """One summand: its name, its weight, and the representation r: Features -> [B, D]."""

    name: str
    weight: float
    represent: Callable[[Features], Float[Tensor, "b d"]]


def embedding(features: Features) -> Float[Tensor, "b d"]:
    """r(x) of DM (Zhao and Bilen, WACV 2023): the flattened output of the last pooling."""
    return features.embedding


def attended(attention: Attention) -> Callable[[Features], Float[Tensor, "b d"]]:
    """r(x) of attention matching: the attention of blocks 1 … L-1, laid end to end.

    The squared distance of vectors laid end to end is the sum of the layers' squared distances:
    the sum over layers of equation 2 of DataDAM.
    """
    return lambda features: torch.cat([attend(attention, maps) for maps in features.maps[:-1]], 1)


def class_means(
    network: nn.Module, terms: list[Term], images: Float[Tensor, "b c h w"], classes: int
) -> list[Float[Tensor, "k _"]]:
    """For every term, the mean vector of each class; images in class order: 0…0, 1…1, …"""
    features = network(images)
    means = []
    for term in terms:
        vectors = term.represent(features)  # (K*n, D)
        at_least = torch.promote_types(vectors.dtype, torch.float32)
        vectors = vectors.to(at_least)  # means are never taken in half precision
        means.append(vectors.unflatten(0, (classes, -1)).mean(1))  # (K, D)
    return means


def matching_loss(
    terms: list[Term], real: list[Float[Tensor, "k _"]], synthetic: list[Float[Tensor, "k _"]]
) -> dict[str, Float[Tensor, ""]]:
    """For every term: weight * sum over classes of ||mean r(real) - mean r(syn.)||^2.

    >>> ones, zeros = torch.ones(10, 4), torch.zeros(10, 4)
    >>> terms = [Term("embedding", 0.5, embedding)]
    >>> matching_loss(terms, [ones], [zeros])       # 0.5 * 10 classes * 4 dimensions
    {'embedding': tensor(20.)}
    """
    return {
        term.name: term.weight * (mean_real - mean_synthetic).square().sum()
        for term, mean_real, mean_synthetic in zip(terms, real, synthetic, strict=True)
    }
