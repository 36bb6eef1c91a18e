"""The catalogue, third part: the right equation in code that loses a shape, a type, the gradient or the input."""

import torch
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.classroom.mistake import AXES, Mistake, powers, right, summed, unit
from datadam_lite.classroom.probes import Power


def in_a_grid(maps: Tensor, p: Power, kind: str) -> Tensor:
    """The sums, not yet laid end to end: [B, H, W], or [B, C, 1, 1]."""
    return powers(maps, p).sum(AXES[kind], keepdim=kind == "channel")


def dealt(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H*W, C] by a reshape, which mixes channels and positions."""
    b, c, h, w = x.shape
    return x.reshape(b, h * w, c)


CODE = (
    Mistake(
        "not flattened",
        "The numbers are still in a grid. A vector has a single axis for each image, and its length runs along all of "
        "it: print the shape after each step.",
        (
            in_a_grid,
            lambda f, p, kind: F.normalize(in_a_grid(f, p, kind), dim=1),
            lambda f, p, kind: right(f, p, kind).view_as(in_a_grid(f, p, kind)),
        ),
    ),
    Mistake(
        "all axes of length one removed",
        "With a single image in the batch the axis that counts images has length one, too. Try a batch of one.",
        (lambda f, p, kind: right(f, p, kind).squeeze(),),
    ),
    Mistake(
        "positions in another order",
        "The grid is read column by column. Try maps with a single bright position in the first row: where in the "
        "vector does it turn up, and where should it?",
        (lambda f, p, kind: right(f.mT, p, kind),),
        ("spatial",),
    ),
    Mistake(
        "reshaped where axes should change places",
        "A reshape deals out the same numbers in the same order, and here it mixed channels and positions. Number the "
        "responses of a tiny map 0, 1, 2, ... and look where each of them goes.",
        (lambda f, p, kind: unit(dealt(powers(f, p)).sum(2 if kind == "spatial" else 1)),),
    ),
    Mistake(
        "gradient cut",
        "The values are right, but PyTorch no longer knows that they came from the maps. Print requires_grad after "
        "each step, and look up what the step does after which it is False.",
        (lambda f, p, kind: right(f.detach(), p, kind),),
    ),
    Mistake(
        "half precision",
        "Somewhere the numbers are cut to two or three digits. Print the type after each step: which of them is "
        "float16 or bfloat16?",
        (
            lambda f, p, kind: right(f.half(), p, kind),
            lambda f, p, kind: right(f.half(), p, kind).to(f.dtype),
            lambda f, p, kind: right(f.bfloat16(), p, kind),
            lambda f, p, kind: right(f.bfloat16(), p, kind).to(f.dtype),
        ),
    ),
    Mistake(
        "rounded to float32",
        "Maps in float64 lose half of their digits on the way. Let the type of what comes in decide on the type of "
        "what goes out.",
        (
            lambda f, p, kind: right(f.float(), p, kind),
            lambda f, p, kind: right(f.float(), p, kind).to(f.dtype),
        ),
    ),
    Mistake(
        "input overwritten",
        "A step changes the maps in place, and whoever needs them afterwards finds others. Print them before and after "
        "the call, and look up what an underscore at the end of an operation's name means.",
        (lambda f, p, kind: unit(summed(f.abs_().pow_(p), kind)),),
    ),
    Mistake(
        "random noise",
        "The same image gives another vector each time, so that not even an image and itself would agree. Call it "
        "twice, and find the first step after which the two differ.",
        (lambda f, p, kind: right(f + torch.rand_like(f), p, kind),),
    ),
)
