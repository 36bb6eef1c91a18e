"""Larger networks, to see whether a distilled set serves them too: AlexNet, VGG-11, ResNet-18 and ViT.

Sized for 32 pixels, as in the released codes of the field: small first convolutions of stride 1, no hidden
linear layers. 64 and 128 pixels work as well. No layer changes what another returned: maps stay what they are.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.vision_transformer import VisionTransformer

from datadam_lite.errors import DataDamError, known, positive
from datadam_lite.layers import NORMS, Features

SMALLEST = 17  # pixels; a smaller side would be one pixel in the last maps of VGG-11
SIZELESS = {name: NORMS[name] for name in ("batch", "instance", "none")}  # the norms that these networks take


def _check_size(name: str, shape: tuple[int, int, int]) -> None:
    _, height, side = shape
    if min(height, side) < SMALLEST:
        raise DataDamError(
            f"{name} needs images of at least {SMALLEST}x{SMALLEST} pixels; received {height}x{side}: use the convnet."
        )


class Chain(nn.Module):
    """Stages of [convolution, norm, ReLU], 2x2 max pooling after each stage, then one linear layer.

    stages: for each stage a list of (width, kernel) of its convolutions. Maps: after the last ReLU of
    every stage. Pooling rounds an odd side up, so that 28 pixels become as small as 32.

    >>> import torch
    >>> chain = Chain((3, 28, 28), 10, [[(8, 5)], [(16, 3), (16, 3)]])
    >>> maps, embedding, logits = chain(torch.zeros(2, 3, 28, 28))
    >>> [tuple(m.shape) for m in maps], tuple(embedding.shape)
    ([(2, 8, 28, 28), (2, 16, 14, 14)], (2, 784))
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, stages: list[list[tuple[int, int]]], *, norm: str = "batch"
    ):
        super().__init__()
        channels, height, side = shape
        make_norm = known(norm, SIZELESS, "norm")
        self.stages = nn.ModuleList()
        for stage in stages:
            layers = []
            for width, kernel in stage:
                convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
                layers += [convolution, make_norm(width, height, side), nn.ReLU()]
                channels = width
            self.stages.append(nn.Sequential(*layers))
            height, side = (height + 1) // 2, (side + 1) // 2
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.head = nn.Linear(channels * height * side, classes)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Features:
        """Return maps, embedding and logits of a batch."""
        maps = []
        for stage in self.stages:
            maps.append(stage(x))  # (B, width, H, W)
            x = self.pool(maps[-1])  # (B, width, H/2, W/2)
        embedding = x.flatten(1)  # (B, D)
        return Features(maps, embedding, self.head(embedding))


def alexnet(shape: tuple[int, int, int], classes: int, *, norm: str = "batch") -> Chain:
    """AlexNet for 32 pixels: 5 convolutions in 3 stages, and so 3 maps (Krizhevsky et al., NeurIPS 2012).

    Raises: DataDamError for images below 17 pixels, or an unknown norm.

    >>> import torch
    >>> [tuple(m.shape[1:]) for m in alexnet((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32)).maps]
    [(128, 32, 32), (192, 16, 16), (192, 8, 8)]
    """
    _check_size("alexnet", shape)
    return Chain(shape, classes, [[(128, 5)], [(192, 5)], [(256, 3), (192, 3), (192, 3)]], norm=norm)


def vgg11(shape: tuple[int, int, int], classes: int, *, norm: str = "batch") -> Chain:
    """VGG-11 without its hidden linear layers: 8 convolutions in 5 stages, and so 5 maps (Simonyan, Zisserman, 2015).

    Raises: DataDamError for images below 17 pixels, or an unknown norm.

    >>> import torch
    >>> [tuple(m.shape[1:]) for m in vgg11((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32)).maps]
    [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    """
    _check_size("vgg11", shape)
    stages = [[(width, 3)] * n for width, n in [(64, 1), (128, 1), (256, 2), (512, 2), (512, 2)]]
    return Chain(shape, classes, stages, norm=norm)


class ResNet18(nn.Module):
    """torchvision's ResNet-18 with a stem for 32 pixels: a 3x3 convolution of stride 1, no max pooling.

    Maps: after each of the 4 stages (He et al., CVPR 2016); embedding: the mean of the last maps.

    Raises: DataDamError for images below 17 pixels, or an unknown norm.

    >>> import torch
    >>> maps, embedding, logits = ResNet18((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32))
    >>> [tuple(m.shape[1:]) for m in maps], tuple(embedding.shape)
    ([(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)], (2, 512))
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, norm: str = "batch"):
        super().__init__()
        _check_size("resnet18", shape)
        make_norm = known(norm, SIZELESS, "norm")
        body = resnet18(norm_layer=lambda width: make_norm(width, 2, 2))  # its maps are never smaller than 2x2
        stem = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, body.bn1, nn.ReLU())
        self.stages = nn.ModuleList([body.layer1, body.layer2, body.layer3, body.layer4])
        self.head = nn.Linear(512, classes)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Features:
        """Return maps, embedding and logits of a batch."""
        maps = []
        x = self.stem(x)  # (B, 64, H, W)
        for stage in self.stages:
            x = stage(x)  # (B, width, H/stride, W/stride)
            maps.append(x)
        embedding = x.mean((2, 3))  # (B, 512)
        return Features(maps, embedding, self.head(embedding))


class ViT(nn.Module):
    """torchvision's vision transformer on patches of 4x4 pixels, with 8 heads (Dosovitskiy et al., ICLR 2021).

    width: of tokens and of hidden layers, a multiple of 8; depth: blocks; dropout: its probability.
    No maps: the embedding is the class token. While training, dropout draws from PyTorch's global stream.

    Raises: DataDamError for images that are not square or not whole patches, or a width the heads can't share.

    >>> import torch
    >>> maps, embedding, logits = ViT((3, 32, 32), 10, width=64, depth=2)(torch.zeros(2, 3, 32, 32))
    >>> maps, tuple(embedding.shape), tuple(logits.shape)
    ([], (2, 64), (2, 10))
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, width: int = 512, depth: int = 6, dropout: float = 0.1
    ):
        super().__init__()
        channels, height, side = shape
        positive(width=width, depth=depth)
        if height != side or side % 4:
            raise DataDamError(
                f"vit needs square images whose side is a multiple of 4 pixels; received {height}x{side}: "
                "use the convnet."
            )
        if width % 8:
            raise DataDamError(f"vit needs a width that is a multiple of its 8 heads; received {width}.")
        if not 0 <= dropout < 1:
            raise DataDamError(f"dropout must be a probability below 1; received {dropout}.")
        self.body = VisionTransformer(side, 4, depth, 8, width, width, dropout)
        self.body.conv_proj = nn.Conv2d(channels, width, 4, stride=4)  # torchvision's takes three channels only
        self.body.heads = nn.Identity()
        self.head = nn.Linear(width, classes)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Features:
        """Return the class token as the embedding, the logits of a batch, and no maps."""
        embedding = self.body(x)  # (B, width)
        return Features([], embedding, self.head(embedding))
