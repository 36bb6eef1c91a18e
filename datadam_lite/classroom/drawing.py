"""What every redrawn figure is made from: the function, what it distilled, and digits under random networks."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.attention import Attention
from datadam_lite.classroom.behaviour import OPTIONS, digits
from datadam_lite.classroom.measured import Behaviour
from datadam_lite.networks import ConvNet, reset
from datadam_lite.preprocess import Preprocess
from datadam_lite.seeding import generator

BLOCKS = (1, 2)  # those whose attention is matched: all of three but the last


@dataclass(frozen=True, eq=False)
class Given:
    """A function, and what came of distilling with it: one image per class."""

    fn: Attention
    found: Behaviour

    @property
    def name(self) -> str:
        """What the function is called."""
        return self.found.name

    def set_of(self, label: str) -> Float[Tensor, "k c h w"]:
        """The images of the first set: initial images, reference or yours."""
        return self.found.trials[0].sets[label][0].images


def network_of(*names: int | str) -> ConvNet:
    """A random network for digits, by name."""
    train, _ = digits()
    network = ConvNet(train.shape, len(train.classes), width=OPTIONS["width"])
    return reset(network, generator(*names)).requires_grad_(False)


def real_images(rows: Tensor) -> Float[Tensor, "n c h w"]:
    """Training images in the space that networks see."""
    train, _ = digits()
    return Preprocess.fit(train).apply(train.images[rows])


def is_map(vectors: Float[Tensor, "n d"], maps: Float[Tensor, "n c h w"]) -> bool:
    """Whether each vector has an entry for each position.

    >>> import torch
    >>> is_map(torch.rand(2, 16), torch.rand(2, 5, 4, 4)), is_map(torch.rand(2, 5), torch.rand(2, 5, 4, 4))
    (True, False)
    """
    return vectors.shape[1] == maps[0, 0].numel()


def shared_by(vectors: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """How many entries share the response of an image: 1 / sum q^2, q the sizes of the entries over their sum.

    >>> import torch
    >>> shared_by(torch.tensor([[1.0, 1.0, -1.0, 1.0], [0.0, 5.0, 0.0, 0.0]])).tolist()
    [4.0, 1.0]
    """
    return 1 / F.normalize(vectors.abs(), p=1, dim=1).square().sum(1)
