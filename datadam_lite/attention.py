"""Attention: where in an image (and, for other choices, by which filters) a network responds.

An attention function turns the maps of one layer, [B, C, H, W], into one vector per image, [B, D].
Any such function can be passed wherever a name is accepted: `distill(train, ipc=1, attention=mine)`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.errors import DataDamError, known

Attention = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b d"]]


def spatial(maps: Float[Tensor, "b c h w"], p: float = 4.0) -> Float[Tensor, "b hw"]:
    """Where the network looks: sum |f_c|^p over the channels, one unit vector per image.

    a(h, w) = sum_c |f_c(h, w)|^p, then a / ||a||: equation 1 of DataDAM and the normalisation after
    it. Powers are taken in float32 at least: |f|^4 leaves float16's range from f = 16.

    >>> maps = torch.rand(2, 5, 4, 4)
    >>> a = spatial(maps)
    >>> a.shape, [round(float(norm), 4) for norm in a.norm(dim=1)]
    (torch.Size([2, 16]), [1.0, 1.0])
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    energy = maps.abs().pow(p).sum(1)  # (B, H, W)
    return F.normalize(energy.flatten(1), dim=1)  # (B, H*W)


ATTENTION: dict[str, Attention] = {"spatial": spatial}


def resolve(attention: str | Attention) -> Attention:
    """Return the function of that name, or the function itself.

    Raises: DataDamError for an unknown name.
    """
    return attention if callable(attention) else known(attention, ATTENTION, "attention")


def attend(attention: Attention, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """Apply an attention function and check what it returns.

    Raises: DataDamError unless it returns a floating-point tensor with one vector per image.
    """
    vectors = attention(maps)
    name = getattr(attention, "__name__", str(attention))
    if not isinstance(vectors, Tensor):
        raise DataDamError(f"attention {name!r} must return a tensor [B, D]; it returned {type(vectors).__name__}.")
    if vectors.ndim != 2 or len(vectors) != len(maps) or not vectors.is_floating_point():
        raise DataDamError(
            f"attention {name!r} must return one vector per image, a float tensor [{len(maps)}, D] for maps "
            f"{list(maps.shape)}; it returned {vectors.dtype} {list(vectors.shape)}. Did you forget flatten(1)?"
        )
    return vectors
