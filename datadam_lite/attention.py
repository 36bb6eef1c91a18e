"""Attention: where in an image, or by which filters, a network responds.

An attention function turns the maps of one layer, [B, C, H, W], into one vector per image, [B, D].
Any such function can be passed wherever a name is accepted: `distill(train, ipc=1, attention=mine)`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.errors import DataDamError, known, positive

Attention = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b d"]]

NORMALISE = {
    "l2": lambda vectors: F.normalize(vectors, dim=1),  # unit length: the papers' choice
    "l1": lambda vectors: F.normalize(vectors, p=1, dim=1),  # entries that sum to one
    "none": lambda vectors: vectors,
}


def spatial(
    maps: Float[Tensor, "b c h w"], p: float = 4.0, normalise: str = "l2"
) -> Float[Tensor, "b hw"]:
    """Where the network looks: sum |f_c|^p over the channels, one unit vector per image.

    a(h, w) = sum_c |f_c(h, w)|^p, then a / ||a||: equation 1 of DataDAM and the normalisation after it.

    Raises: DataDamError unless p > 0 and `normalise` is l2, l1 or none.

    >>> maps = torch.rand(2, 5, 4, 4)
    >>> a = spatial(maps)
    >>> a.shape, [round(float(norm), 4) for norm in a.norm(dim=1)]
    (torch.Size([2, 16]), [1.0, 1.0])
    """
    energy = powers(maps, p, normalise).sum(1)  # (B, H, W)
    return NORMALISE[normalise](energy.flatten(1))  # (B, H*W)


def channel(
    maps: Float[Tensor, "b c h w"], p: float = 4.0, normalise: str = "l2"
) -> Float[Tensor, "b c"]:
    """Which filters respond: sum |f_c|^p over the positions, one unit vector per image.

    a(c) = sum_{h,w} |f_c(h, w)|^p, then a / ||a||. ATOM's text and framework figure describe this vector, one
    value per filter from its plane; the power and the normalisation are inferred from DataDAM's.

    Raises: DataDamError unless p > 0 and `normalise` is l2, l1 or none.

    >>> channel(torch.rand(2, 5, 4, 4)).shape
    torch.Size([2, 5])
    """
    energy = powers(maps, p, normalise).sum((2, 3))  # (B, C)
    return NORMALISE[normalise](energy)


def feature_map(maps: Float[Tensor, "b c h w"], normalise: str = "l2") -> Float[Tensor, "b chw"]:
    """The maps themselves, laid end to end: no attention at all (the feature-map transfer of DataDAM's Table 5).

    >>> feature_map(torch.rand(2, 5, 4, 4)).shape
    torch.Size([2, 80])
    """
    return known(normalise, NORMALISE, "normalisation")(in_float32(maps).flatten(1))


ATTENTION: dict[str, Attention] = {"spatial": spatial, "channel": channel, "feature_map": feature_map}


def powers(maps: Float[Tensor, "b c h w"], p: float, normalise: str) -> Float[Tensor, "b c h w"]:
    """|f|^p, in float32 at least, for any p > 0, with gradient zero where f is zero.

    What will be normalised may be scaled first: each image is divided by its largest response. That changes
    nothing but the rounding, and keeps |f|^p from leaving float32's range, whatever f and p.
    """
    positive(p=p)
    known(normalise, NORMALISE, "normalisation")
    size = in_float32(maps).abs()
    tiny = torch.finfo(size.dtype).tiny
    if normalise != "none":
        largest = size.detach().amax((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
        size = size / largest.where(largest >= tiny, 1)  # an image without any response stays as it is
    if p >= 1:
        return size.pow(p)
    silent = size < tiny  # the slope of f^p at zero is infinite for p < 1; ReLU makes many zeros
    return size.masked_fill(silent, 1).pow(p).masked_fill(silent, 0)


def in_float32(maps: Tensor) -> Tensor:
    """Return the maps in float32, or in float64 if they are: attention is never taken in half precision."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def resolve(attention: str | Attention) -> Attention:
    """Return the function of that name, or the function itself.

    Raises: DataDamError for an unknown name.
    """
    return attention if callable(attention) else known(str(attention), ATTENTION, "attention")


def attend(attention: Attention, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """Apply an attention function and check what it returns.

    Raises: DataDamError unless it returns a floating-point tensor with one vector per image, through which the gradient
    of the maps can flow.
    """
    vectors = attention(maps)
    name = getattr(attention, "__name__", str(attention))
    if not isinstance(vectors, Tensor):
        raise DataDamError(f"attention {name!r} must return a tensor [B, D]; it returned {type(vectors).__name__}.")
    if vectors.ndim != 2 or len(vectors) != len(maps) or not vectors.numel() or not vectors.is_floating_point():
        raise DataDamError(
            f"attention {name!r} must return one vector per image, a float tensor [{len(maps)}, D] for maps "
            f"{list(maps.shape)}; it returned {vectors.dtype} {list(vectors.shape)}. Did you forget flatten(1)?"
        )
    if maps.requires_grad and not vectors.requires_grad and torch.is_grad_enabled():
        raise DataDamError(
            f"attention {name!r} returned a result without a gradient, so it could not move any pixel; compute it from "
            "the maps with torch alone: no detach, no numpy, no argmax, no comparison."
        )
    return vectors
