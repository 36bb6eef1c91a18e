"""The ConvNet of the field: blocks of convolution, normalisation, ReLU and pooling.

Networks here return everything an objective may want to compare: the maps of every block, the
embedding and the logits. No hooks: what is returned can be compiled, vmapped and read.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from datadam_lite.errors import DataDamError, known, positive


class Features(NamedTuple):
    """What a network says about B images.

    maps: one [B, C, H, W] per block, after ReLU and before pooling;
    embedding: [B, D], the last block's pooled maps, flattened; logits: [B, classes].
    """

    maps: list[Tensor]
    embedding: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


NORMS = {
    "instance": lambda width: nn.GroupNorm(width, width),  # one group per channel, with learned scale and shift
    "batch": lambda width: nn.BatchNorm2d(width),
    "none": lambda width: nn.Identity(),
}
POOLINGS = {"avg": F.avg_pool2d, "max": F.max_pool2d}


def depth_for(size: int) -> int:
    """Blocks by resolution: 3 up to 32 pixels, 4 at 64, 5 at 128 (DataDAM, section 4.1).

    >>> [depth_for(s) for s in (8, 28, 32, 64, 128)]
    [3, 3, 3, 4, 5]
    """
    return max(3, math.ceil(math.log2(size)) - 2)


class ConvNet(nn.Module):
    """`depth` x [3x3 convolution, norm, ReLU, 2x2 pooling], then one linear layer.

    shape: (C, H, W) of the images; classes: number of logits; depth: by resolution if None.

    Raises: DataDamError if the images are too small for the depth, or a name is unknown.

    >>> net = ConvNet((3, 32, 32), 10)
    >>> maps, embedding, logits = net(torch.zeros(2, 3, 32, 32))
    >>> [tuple(m.shape) for m in maps], tuple(embedding.shape), tuple(logits.shape)
    ([(2, 128, 32, 32), (2, 128, 16, 16), (2, 128, 8, 8)], (2, 2048), (2, 10))
    >>> sum(p.numel() for p in net.parameters())
    320010
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *,
        width: int = 128, depth: int | None = None, norm: str = "instance", pooling: str = "avg",
    ):
        super().__init__()
        channels, height, side = shape
        depth = depth_for(min(height, side)) if depth is None else depth
        positive(depth=depth, width=width)
        if min(height, side) >> depth < 1:
            raise DataDamError(
                f"{depth} blocks halve {height}x{side} pixels to nothing; use a depth of at most "
                f"{int(math.log2(min(height, side)))}."
            )
        inputs = [channels] + [width] * (depth - 1)
        self.convs = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1) for c in inputs)
        make_norm = known(norm, NORMS, "norm")
        self.norms = nn.ModuleList(make_norm(width) for _ in inputs)
        self.pool = known(pooling, POOLINGS, "pooling")
        self.head = nn.Linear(width * (height >> depth) * (side >> depth), classes)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Features:
        """Return maps, embedding and logits of a batch."""
        maps = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps.append(F.relu(norm(conv(x))))  # (B, width, H, W)
            x = self.pool(maps[-1], 2)  # (B, width, H/2, W/2)
        embedding = x.flatten(1)  # (B, D)
        return Features(maps, embedding, self.head(embedding))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> "ConvNet":
        """Draw a new random network in place, distributed as PyTorch's own default initialisation.

        Weights and biases are uniform on ±1/sqrt(fan in); norms start at scale 1 and shift 0.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(layer, nn.GroupNorm | nn.BatchNorm2d):
                layer.reset_parameters()
        return self


NETWORKS = {"convnet": ConvNet}


def build(name: str, shape: tuple[int, int, int], classes: int, **options) -> nn.Module:
    """Build a network by name; options go to its constructor.

    >>> build("convnet", (1, 8, 8), 10, width=32).head.in_features
    32
    """
    make = known(name, NETWORKS, "network")
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialisation draws from the global stream
        return make(shape, classes, **options)
