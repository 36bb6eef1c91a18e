"""What a step must do at the least, what a machine can do, and how long each block takes: operations, bytes, seconds.

A step is a Distiller's: n real images per class go forward, m synthetic ones forward and backward. With w channels,
maps of H_l x W_l in block l of K classes' images, and c_l channels going in:

    operations of block l = 2 * 9 c_l * w H_l W_l * K (n + 2 m)
    bytes of block l      = 2 * size * w H_l W_l * K (n + 2 m)
"""

import statistics
from collections.abc import Callable
from functools import partial

import torch
from arms import clock
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from datadam_lite.attention import spatial
from datadam_lite.distill import Distiller
from datadam_lite.networks import ConvNet, build
from datadam_lite.objectives import class_vectors, matching_loss
from datadam_lite.recipes import Recipe, objective
from datadam_lite.settings import Settings

SLOW = 10.0  # seconds; of calls that take longer two are timed instead of STEPS
WARM_UP, STEPS = 2, 7


def count_operations(recipe: Recipe, shape: tuple[int, int, int], classes: int, ipc: int) -> list[int]:
    """Return the operations of each block's convolution in a step, a multiplication and an addition being two.

    They are counted as PyTorch calls the convolutions, in a whole step on tensors without content: forward for all
    images, backward for the synthetic ones. Norms, pooling and attention are not counted, nor are the logits, which
    nothing asks for.
    """
    network = build(recipe.network, shape, classes, **recipe.network_options()).to("meta").requires_grad_(False)
    real = torch.empty(classes * recipe.real_batch, *shape, device="meta")
    synthetic = torch.empty(classes * ipc, *shape, device="meta", requires_grad=True)
    terms = objective(recipe)
    with FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            real_vectors = class_vectors(network, terms, real, classes)
        synthetic_vectors = class_vectors(network, terms, synthetic, classes)
        sum(matching_loss(terms, real_vectors, synthetic_vectors).values()).backward()
    counts = counter.get_flop_counts()
    return [sum(counts[f"ConvNet.convs.{block}"].values()) for block in range(len(network.convs))]


def least_bytes(recipe: Recipe, shape: tuple[int, int, int], classes: int, ipc: int, *, size: int) -> list[int]:
    """Return the bytes that each block must move in a step at the least: every map written once and read once.

        bytes of block l = 2 (write, read) * size * w H_l W_l * K (n + 2 m)

    size: bytes of a number. Synthetic images count twice, as their maps have gradients. Whatever else is moved
    (images, weights, what the norm and the attention read again) comes on top.
    """
    network = build(recipe.network, shape, classes, **recipe.network_options()).to("meta")
    maps = network(torch.empty(2, *shape, device="meta")).maps
    passes = classes * (recipe.real_batch + 2 * ipc)
    return [2 * size * of_block[0].numel() * passes for of_block in maps]


def samples(call: Callable[[], object], device: str, *, warm_up: int = WARM_UP, steps: int = STEPS) -> list[float]:
    """Return the seconds of several calls, after some that don't count; of two, if the first takes more than SLOW.

    >>> len(samples(lambda: None, "cpu", steps=3))
    3
    """
    for _ in range(warm_up):
        call()
    first = clock(call, device)
    return [first] + [clock(call, device) for _ in range((2 if first > SLOW else steps) - 1)]


class Block(nn.Module):
    """One block of a ConvNet with what DataDAM asks of it: its pooled maps and, of all but the last, attention."""

    def __init__(self, network: ConvNet, block: int):
        super().__init__()
        self.layers = nn.Sequential(network.convs[block], network.norms[block], network.activation)
        self.pool, self.attended = network.pool, block < len(network.convs) - 1

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what the next block gets, and what is matched."""
        maps = self.layers(x)  # (B, w, H, W)
        return [self.pool(maps), spatial(maps)] if self.attended else [self.pool(maps)]


def block_seconds(distiller: Distiller) -> list[float]:
    """Return the seconds of a step that each block takes, measured alone, as many images at once as in the step."""
    how, device = distiller.settings, str(distiller.device)
    counts = [distiller.chunk * n for n in (distiller.recipe.real_batch, distiller.ipc)]
    real, synthetic = (torch.randn(n, *distiller.train.shape, device=device) for n in counts)
    seconds = []
    for block in range(len(distiller.network.convs)):
        layer = how.compiled(Block(distiller.network, block))
        synthetic.requires_grad_()
        calls = partial(forward, layer, real, how), partial(forward_and_backward, layer, synthetic, how)
        seconds.append(len(distiller.chunks) * sum(statistics.median(samples(call, device)) for call in calls))
        real, synthetic = (forward(layer, images, how)[0] for images in (real, synthetic.detach()))
    return seconds


@torch.no_grad()
def forward(layer: nn.Module, images: Tensor, settings: Settings) -> list[Tensor]:
    """Pass images [B, C, H, W], or maps of them, through a block."""
    with settings.autocast():
        return layer(images)


def forward_and_backward(layer: nn.Module, images: Tensor, settings: Settings) -> Tensor:
    """Pass images through a block and gradients back; return that of the images."""
    with settings.autocast():
        outputs = layer(images)
    return torch.autograd.grad(outputs, images, [torch.ones_like(y) for y in outputs])[0]


def rates(device: str, precision: str) -> dict[str, float]:
    """Return what the machine does in a second, at its best: operations of a large product and convolution, bytes of a
    large copy.

    Two kinds of arithmetic, as libraries are not equally good at both: the faster one is what is possible. A copied
    byte is read and written: two. Load changes all of them, so measure them next to what they are compared with.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # as convolutions on a GPU
    side, images = (2048, 256) if device == "cpu" else (8192, 4096)
    dtype, last = Settings(device, precision).dtype(), torch.channels_last
    a = torch.randn(side, side, device=device).to(dtype)
    maps = torch.randn(images, 128, 16, 16, device=device).to(dtype, memory_format=last)
    weights = torch.randn(128, 128, 3, 3, device=device).to(dtype, memory_format=last)
    source = torch.zeros(2**28, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    work = {
        "product": (2 * side**3, lambda: a @ a),
        "convolution": (2 * 9 * 128 * maps.numel(), lambda: F.conv2d(maps, weights, padding=1)),
        "copy": (2 * source.nbytes, lambda: target.copy_(source)),
    }
    return {name: amount / min(samples(call, device)) for name, (amount, call) in work.items()}
