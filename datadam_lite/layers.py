"""What networks are made of, and what they return: the norms, activations and poolings, by name.

With 4 depths and 4 widths, 5 norms, 3 activations and the poolings none, max and avg span the 720
ConvNets of DataDAM's architecture search.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from datadam_lite.errors import DataDamError


class Features(NamedTuple):
    """What a network says about B images.

    maps: one [B, C, H, W] per block, after the activation and before pooling; none for a transformer;
    embedding: [B, D], the last maps pooled and flattened; logits: [B, classes], linear in the embedding.
    """

    maps: list[Tensor]
    embedding: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


def group_norm(groups: int, width: int, height: int, side: int) -> nn.GroupNorm:
    """Normalise each of `groups` equal shares of the channels of an image; scale and shift per channel.

    Raises: DataDamError if the groups don't come out even, or hold a single value each: that is always zero.

    >>> group_norm(4, 128, 8, 8).num_groups
    4
    """
    if width % groups:
        raise DataDamError(f"group norm needs a width that is a multiple of {groups}; received {width}.")
    if width // groups * height * side == 1:
        raise DataDamError(
            f"expected more than one value to normalise over; received {width} maps of one pixel in {groups} groups, "
            "which are zero whatever the image; use a smaller depth, or the norm batch or layer."
        )
    return nn.GroupNorm(groups, width)


NORMS = {  # from (width, height, side) of the maps to a layer; all but none with learned scale and shift
    "none": lambda width, height, side: nn.Identity(),
    "batch": lambda width, height, side: nn.BatchNorm2d(width),  # each channel over all images
    "layer": lambda width, height, side: nn.LayerNorm((width, height, side)),  # each image; scale per element
    "instance": lambda width, height, side: group_norm(width, width, height, side),  # each channel of each image
    "group": lambda width, height, side: group_norm(4, width, height, side),
}

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "sigmoid": nn.Sigmoid}  # slope 0.01 below zero

POOLINGS = {  # the layer, and what becomes of a side of n pixels
    "avg": (lambda: nn.AvgPool2d(2), lambda n: n // 2),
    "max": (lambda: nn.MaxPool2d(2), lambda n: n // 2),
    "none": (nn.Identity, lambda n: n),
    # 3x3 as in the text of DataDAM, not in its code; positions beyond the border don't count
    "avg3": (lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), lambda n: (n + 1) // 2),
}
