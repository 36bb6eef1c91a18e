"""The attention lab: maps of one network in a page, which computes attention and its loss from them by itself.

The network runs here, once. The page gets its maps, in bytes, and needs no kernel and no network: attention_lab.html
holds the same few lines of mathematics as attention.py and objectives.py, in JavaScript.
"""

import base64
import hashlib
import html
import json
from pathlib import Path

import torch
from IPython.display import HTML
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from datadam_lite.attention import ATTENTION
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, known
from datadam_lite.networks import averages_over_batch
from datadam_lite.objectives import distance_of_means
from datadam_lite.seeding import generator
from datadam_lite.synthetic import SyntheticSet

TEMPLATE = Path(__file__).with_suffix(".html")
BUDGET = 300_000  # bytes of one lab in a page
POWER = 4.0  # where the slider stands first: the papers' choice


def attention_lab(
    network: nn.Module, train: ImageSet, distilled: SyntheticSet, *,
    real: int = 4, kind: str = "spatial", block: int = 1,
) -> HTML:  # fmt: skip
    """Show the attention of real images, of the start and of the distilled image of every class, and their loss.

    distilled: one image per class, made from `train`; real: how many real images of each class to compare with;
    kind (spatial or channel) and block, from 1: what the lab shows first. Class, image, block, kind, power and
    normalisation are chosen in the page. The same arguments give the same bytes.

    Raises: DataDamError if there is more than one image per class, if the set was not made from real images of
    `train`, if the network does not take these images, has no maps, or mixes the images of a batch, or if the maps
    are too large for a page.

    >>> from datadam_lite import ConvNet, distill, load
    >>> train, _ = load("digits")
    >>> lab = attention_lab(ConvNet(train.shape, 10, width=8), train, distill(train, 1, width=8, iterations=1))
    >>> lab.data.count("<select")
    4
    """
    known(kind, ("spatial", "channel"), "attention of the lab")
    images = _images(train, distilled, real)  # (K * n, C, H, W): for each class its real ones, start and distilled
    stacks = [_pack(*quantise(maps)) for maps in _maps(network, images)]
    if not 1 <= block <= len(stacks):
        raise DataDamError(f"block must lie in 1 … {len(stacks)}, the blocks of this network; received {block}.")
    pixels = (distilled.preprocess.invert(images).clamp(0, 1) * 255).round().to(torch.uint8)
    lab = {
        "classes": train.classes,
        "images": [*(f"Real image {i + 1}" for i in range(real)), "Start", "Distilled"],
        "pixels": _pack(pixels, torch.ones(len(images))),
        "blocks": stacks,
        "first": {"kind": kind, "block": block},
    }
    page = _page(lab)
    if len(page.encode()) > BUDGET:
        raise DataDamError(
            f"a lab of at most {BUDGET // 1000} kB fits into a page; these maps make {len(page.encode()) // 1000} kB: "
            "take smaller images (the digits), a narrower network or fewer real images."
        )
    return HTML(page)


def _images(train: ImageSet, distilled: SyntheticSet, real: int) -> Float[Tensor, "b c h w"]:
    """For each class in turn: `real` real images, the one the set started from, and the distilled one."""
    classes = len(train.classes)
    if distilled.labels.tolist() != list(range(classes)):
        raise DataDamError(
            f"the lab expects one distilled image for each of the {classes} classes of {train.name}, in their order; "
            f"received {len(distilled)} images of {len(distilled.classes)} classes: distil with ipc=1."
        )
    start = distilled.initial(train).images  # (K, C, H, W)
    rows = train.sample(real, generator(0, "attention lab"))  # class-major
    known_images = distilled.preprocess.apply(train.images[rows]).unflatten(0, (classes, real))
    return torch.cat([known_images, start[:, None], distilled.images[:, None]], 1).flatten(0, 1)


def _maps(network: nn.Module, images: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
    """The maps of all blocks, on the CPU."""
    if averages_over_batch(network):
        raise DataDamError(
            "the lab shows each image by itself, but this network has batch norm, under which an image's maps depend "
            "on the images beside it; use a network with instance norm."
        )
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            maps = network(images.to(device)).maps
    except RuntimeError as error:
        shape = "x".join(map(str, images.shape[1:]))
        raise DataDamError(
            f"the network was expected to take the images of the set, {shape}, and does not ({error}); "
            "build it for train.shape."
        ) from error
    if not maps:
        raise DataDamError("the lab needs a network with maps; this one has none (a transformer?): use the convnet.")
    return [f.float().cpu() for f in maps]


def quantise(maps: Float[Tensor, "b c h w"]) -> tuple[UInt8[Tensor, "b c h w"], Float[Tensor, " b"]]:
    """Bytes and, for each image, the step with |maps| ≈ step * bytes; attention needs no sign.

    The largest response of an image becomes 255, and no response is off by more than half a step.

    >>> levels, step = quantise(torch.tensor([[[[0.0, -1.0, 5.1]]]]))
    >>> levels.flatten().tolist(), round(float(step), 4)
    ([0, 50, 255], 0.02)
    """
    size = maps.abs()
    largest = size.amax((1, 2, 3))  # (B,)
    step = largest.where(largest > 0, 1) / 255
    return (size / step[:, None, None, None]).round().to(torch.uint8), step


def _pack(levels: UInt8[Tensor, "b c h w"], step: Float[Tensor, " b"]) -> dict:
    """What the page reads a stack of maps from."""
    return {
        "shape": list(levels.shape[1:]),
        "steps": step.tolist(),
        "bytes": base64.b64encode(levels.contiguous().numpy().tobytes()).decode(),
    }


def _page(lab: dict) -> str:
    """The template, filled in; its name is a hash of the content, so that different labs don't meet in one page."""
    template = TEMPLATE.read_text(encoding="utf-8")
    name = "lab-" + hashlib.sha256((template + json.dumps(lab)).encode()).hexdigest()[:12]
    data = json.dumps({"name": name, **lab}).replace("<", "\\u003c")  # a class may be called </script>
    filled = template.replace("{{name}}", name).replace("{{fallback}}", html.escape(_summary(lab)))
    return filled.replace("{{data}}", data)


def _summary(lab: dict) -> str:
    """What the lab shows first, for a page without JavaScript."""
    kind, block = lab["first"]["kind"], lab["first"]["block"]
    stack = lab["blocks"][block - 1]
    levels = torch.frombuffer(bytearray(base64.b64decode(stack["bytes"])), dtype=torch.uint8)
    maps = levels.reshape(-1, *stack["shape"]) * torch.tensor(stack["steps"])[:, None, None, None]
    z = ATTENTION[kind](maps, POWER).unflatten(0, (len(lab["classes"]), -1))  # (K, n, D)
    start, made = (distance_of_means(z[:, :-2], z[:, i, None]).mean() for i in (-2, -1))
    return (
        f"Here stands a lab to play with, which needs JavaScript. It lets you look at the {kind} attention of block "
        f"{block} and all others, image by image, for any power p. With p = {POWER:g}, the matching loss in this "
        f"block is {start:.3f} on average over the classes for the start, and {made:.3f} for the distilled images."
    )
