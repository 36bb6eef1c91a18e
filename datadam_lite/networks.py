"""The ConvNet of the field: blocks of convolution, normalisation, activation and pooling. And any network by name.

Networks here return everything an objective may want to compare: the maps of every block, the
embedding and the logits. No hooks: what is returned can be compiled, vmapped and read.
"""

import math
from inspect import signature

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datadam_lite.backbones import ResNet18, ViT, alexnet, vgg11
from datadam_lite.errors import DataDamError, known, positive
from datadam_lite.layers import ACTIVATIONS, NORMS, POOLINGS, Features


def depth_for(size: int) -> int:
    """Blocks by resolution: 3 up to 32 pixels, 4 at 64, 5 at 128 (DataDAM, section 4.1).

    >>> [depth_for(s) for s in (8, 28, 32, 64, 128)]
    [3, 3, 3, 4, 5]
    """
    return max(3, math.ceil(math.log2(size)) - 2)


class ConvNet(nn.Module):
    """`depth` x [3x3 convolution, norm, activation, pooling], then one linear layer.

    shape: (C, H, W) of the images; classes: number of logits; depth: by resolution if None;
    norm, activation, pooling: names of the tables in layers.py.
    2x2 pooling leaves out the last row and column of an odd side: 28 pixels become 14, 7 and 3. (The released
    codes of the field pad the first convolution of one-channel images until 28 pixels are 32; here all are alike.)

    Raises: DataDamError if the images are too small for the depth, or a name is unknown.

    >>> net = ConvNet((3, 32, 32), 10)
    >>> maps, embedding, logits = net(torch.zeros(2, 3, 32, 32))
    >>> [tuple(m.shape) for m in maps], tuple(embedding.shape), tuple(logits.shape)
    ([(2, 128, 32, 32), (2, 128, 16, 16), (2, 128, 8, 8)], (2, 2048), (2, 10))
    >>> sum(p.numel() for p in net.parameters())
    320010
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, width: int = 128, depth: int | None = None,
        norm: str = "instance", activation: str = "relu", pooling: str = "avg",
    ):
        super().__init__()
        channels, height, side = shape
        depth = depth_for(min(height, side)) if depth is None else depth
        positive(depth=depth, width=width)
        make_norm = known(norm, NORMS, "norm")
        make_pool, pooled = known(pooling, POOLINGS, "pooling")
        sizes = [(height, side)]  # of the maps of each block, and of what the last pooling leaves
        while len(sizes) <= depth:
            sizes.append((pooled(sizes[-1][0]), pooled(sizes[-1][1])))
        if min(sizes[-1]) < 1:
            raise DataDamError(
                f"{depth} blocks halve {height}x{side} pixels to nothing; use a depth of at most "
                f"{int(math.log2(min(height, side)))}."
            )
        inputs = [channels] + [width] * (depth - 1)
        self.convs = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1) for c in inputs)
        self.norms = nn.ModuleList(make_norm(width, *size) for size in sizes[:-1])
        self.activation = known(activation, ACTIVATIONS, "activation")()
        self.pool = make_pool()
        self.head = nn.Linear(width * math.prod(sizes[-1]), classes)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Features:
        """Return maps, embedding and logits of a batch."""
        maps = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps.append(self.activation(norm(conv(x))))  # (B, width, H, W)
            x = self.pool(maps[-1])  # (B, width, H/2, W/2)
        embedding = x.flatten(1)  # (B, D)
        return Features(maps, embedding, self.head(embedding))


def _uniform(weight: Tensor, bias: Tensor | None, generator: torch.Generator) -> None:
    """U(-b, b) with b = 1/sqrt(fan in), weight and bias alike: PyTorch's own default for its layers."""
    bound = 1 / math.sqrt(weight[0].numel())
    for parameter in (weight, bias):
        if parameter is not None:
            parameter.uniform_(-bound, bound, generator=generator)


def _normal(weight: Tensor, bias: Tensor | None, generator: torch.Generator) -> None:
    """N(0, 2/fan in), biases zero (He et al., ICCV 2015)."""
    weight.normal_(std=math.sqrt(2 / weight[0].numel()), generator=generator)
    if bias is not None:
        bias.zero_()


WEIGHTS = {"uniform": _uniform, "normal": _normal}


@torch.no_grad()
def reset(network: nn.Module, generator: torch.Generator, weights: str = "uniform") -> nn.Module:
    """Draw a new random network in place, and return it: every parameter and buffer, from this generator alone.

    weights: "uniform" is U(±1/sqrt(fan in)), biases too, as PyTorch's own initialisation; "normal" is
    N(0, 2/fan in) with biases zero. (DataDAM's text says normal, its table of hyper-parameters uniform.)
    Norms start at scale 1 and shift 0; a transformer's class token and positions at N(0, 0.02²).

    Raises: DataDamError for unknown weights.

    >>> network = ConvNet((1, 8, 8), 10, width=4)
    >>> one = reset(network, torch.Generator().manual_seed(1)).head.weight.clone()
    >>> bool((reset(network, torch.Generator().manual_seed(1)).head.weight == one).all())
    True
    """
    draw = known(weights, WEIGHTS, "weights")
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            layer.reset_parameters()  # batch norm: its running statistics too
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            draw(layer.weight, layer.bias, generator)
        elif isinstance(layer, nn.MultiheadAttention):
            draw(layer.in_proj_weight, layer.in_proj_bias, generator)  # queries, keys and values: one linear layer
        else:
            for token in layer.parameters(recurse=False):
                token.normal_(std=0.02, generator=generator)
    return network


def averages_over_batch(network: nn.Module) -> bool:
    """Whether the network, in training mode, sees an image differently beside other images: batch norm does.

    >>> averages_over_batch(ConvNet((1, 8, 8), 10, norm="batch")), averages_over_batch(ConvNet((1, 8, 8), 10))
    (True, False)
    """
    return any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


NETWORKS = {"convnet": ConvNet, "alexnet": alexnet, "vgg11": vgg11, "resnet18": ResNet18, "vit": ViT}


def build(name: str, shape: tuple[int, int, int], classes: int, **options) -> nn.Module:
    """Build a network by name; options go to its constructor.

    Raises: DataDamError for an unknown name, an option the network does not take, or images too small for it.

    >>> build("convnet", (1, 8, 8), 10, width=32).head.in_features
    32
    """
    make = known(name, NETWORKS, "network")
    takes = [key for key, parameter in signature(make).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in takes:
            raise DataDamError(f"{name} takes the options {', '.join(takes)}; received {option}: leave it out.")
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialisation draws from the global stream
        return make(shape, classes, **options)
