"""What an attention function is tried on: small maps, always the same, in which no two responses are alike.

They are made once and kept, so whoever calls a function on them has to give it a copy.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from datadam_lite.seeding import generator

Maps = Float[Tensor, "b c h w"]
Power = int | float

# No two sides alike, and C is never H*W: a wrong reshape shows. A single image among them: a lost batch axis shows.
SHAPES = ((3, 5, 4, 6), (1, 7, 6, 5), (2, 3, 5, 4))
USUAL = SHAPES[0]
# As many images as channels in a square; and maps as a network has them, where a number of the small ones would show.
LARGER = ((4, 4, 6, 6), (2, 130, 17, 16))


@cache
def without_zeros(b: int, c: int, h: int, w: int) -> Maps:
    """Positive responses in float64; every image is brighter than the one before.

    >>> maps = without_zeros(2, 3, 5, 4)
    >>> bool(maps.min() > 0), maps.dtype
    (True, torch.float64)
    """
    brightness = torch.arange(1, b + 1, dtype=torch.float64, device="cpu")[:, None, None, None]
    return brightness * (0.2 + _uniform("responses", b, c, h, w))


@cache
def after_relu(b: int, c: int, h: int, w: int) -> Maps:
    """The same with many zeros, as a ReLU makes them."""
    return without_zeros(b, c, h, w).masked_fill(_uniform("zeros", b, c, h, w) < 0.3, 0)


@cache
def of_both_signs(b: int, c: int, h: int, w: int) -> Maps:
    """The same with many negative responses, as activations other than ReLU let through."""
    maps = without_zeros(b, c, h, w)
    return maps.where(_uniform("signs", b, c, h, w) < 0.5, -maps)


@cache
def extremes() -> dict[str, Maps]:
    """What a function must survive, in float32: what it is -> the maps."""
    maps = after_relu(*USUAL)
    one_silent, partly = maps.clone(), maps.clone()
    one_silent[0] = 0
    partly[:, 1] = partly[:, :, 0, 0] = 0
    cases = {
        "a batch of images that are all zero": torch.zeros_like(maps),
        "an image of zeros beside others": one_silent,
        "a channel and a position of zeros": partly,
        "responses up to 1000": up_to(1000, maps),
    }
    return {name: case.float() for name, case in cases.items()}


def up_to(largest: Power, maps: Maps) -> Maps:
    """Scale each image so that its largest response is of this size."""
    return largest * maps / maps.abs().amax((1, 2, 3), keepdim=True)


def _uniform(name: str, *shape: int) -> Maps:
    """Numbers between 0 and 1 from a generator of their own, on the CPU whatever the default device."""
    stream = generator(0, "check_attention", name, *shape)
    return torch.rand(*shape, generator=stream, dtype=torch.float64, device="cpu")
