"""Differentiable Siamese augmentation (DSA; Zhao and Bilen, ICML 2021), vectorised.

A draw is a small table: for each row which operation, and three uniform numbers for its parameters.
In distillation one row serves a whole class, for the real and for the synthetic images alike: that
is what *Siamese* means. In evaluation every image has its own row, all with the same operation.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.errors import DataDamError, known

Images = Float[Tensor, "b c h w"]
Uniforms = Float[Tensor, "b 3"]


def color(x: Images, u: Uniforms) -> Images:
    """Change brightness by ±0.5, saturation by a factor 0 … 2 and contrast by 0.5 … 1.5, in this order."""
    brightness, saturation, contrast = u[..., None, None, None].unbind(1)  # each (B, 1, 1, 1)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def crop(x: Images, u: Uniforms) -> Images:
    """Shift by whole pixels, up to an eighth of the side each way, filling with zeros."""
    b, _, h, w = x.shape
    reach_y, reach_x = int(h * 0.125 + 0.5), int(w * 0.125 + 0.5)
    rows = torch.arange(h, device=x.device) + _integer(u[:, :1], 2 * reach_y + 1)  # (B, H)
    columns = torch.arange(w, device=x.device) + _integer(u[:, 1:2], 2 * reach_x + 1)  # (B, W)
    padded = F.pad(x, (reach_x, reach_x, reach_y, reach_y))
    batch = torch.arange(b, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Images, u: Uniforms) -> Images:
    """Blank a square of half the side, its centre anywhere in the image, clipped at the borders."""
    _, _, h, w = x.shape
    hole_y = _hole(h, u[:, :1])  # (B, H)
    hole_x = _hole(w, u[:, 1:2])  # (B, W)
    return x * ~(hole_y[:, None, :, None] & hole_x[:, None, None, :])


def flip(x: Images, u: Uniforms) -> Images:
    """Mirror left and right with probability one half."""
    return torch.where((u[:, 0] < 0.5)[:, None, None, None], x.flip(3), x)


def scale(x: Images, u: Uniforms) -> Images:
    """Stretch height and width independently by factors 1/1.2 … 1.2."""
    factor = u[:, :2] * (1.2 - 1 / 1.2) + 1 / 1.2
    zero = torch.zeros_like(factor[:, 0])
    return _affine(x, [[factor[:, 0], zero, zero], [zero, factor[:, 1], zero]])


def rotate(x: Images, u: Uniforms) -> Images:
    """Rotate by -15 … 15 degrees."""
    angle = (u[:, 0] - 0.5) * 2 * math.radians(15)
    zero = torch.zeros_like(angle)
    return _affine(x, [[angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero]])


OPERATIONS = {"color": color, "crop": crop, "cutout": cutout, "flip": flip, "scale": scale, "rotate": rotate}
DSA = "color_crop_cutout_flip_scale_rotate"  # the field's strategy string: one of these per draw


class Draw(NamedTuple):
    """One row per class (distillation) or per image (evaluation).

    strategy: names of the operations; operation: [G], an index into them; uniforms: [G, 3] in [0, 1).
    """

    strategy: tuple[str, ...]
    operation: Int64[Tensor, " g"]
    uniforms: Float[Tensor, "g 3"]

    def rows(self, some: slice) -> "Draw":
        """Return some of the rows."""
        return Draw(self.strategy, self.operation[some], self.uniforms[some])


def operations(strategy: str, *, mirror: bool = True) -> tuple[str, ...]:
    """Split a strategy string; without `mirror` flips are dropped (a mirrored 2 is no 2).

    Raises: DataDamError for an unknown operation.

    >>> operations("crop_flip"), operations("crop_flip", mirror=False)
    (('crop', 'flip'), ('crop',))
    """
    names = tuple(filter(None, strategy.split("_")))
    for name in names:
        known(name, OPERATIONS, "augmentation")
    return tuple(name for name in names if mirror or name != "flip")


def draw(strategy: tuple[str, ...], rows: int, generator: torch.Generator, *, one_operation: bool) -> Draw:
    """Draw `rows` rows; with `one_operation` they share the operation and differ in parameters.

    generator: on the CPU, so that a GPU sees the same draws, and nothing waits for it to find out what was drawn.
    """
    operation = torch.randint(len(strategy), (1 if one_operation else rows,), generator=generator).expand(rows)
    return Draw(strategy, operation, torch.rand(rows, 3, generator=generator))


def augment(x: Images, drawn: Draw) -> Images:
    """Apply a draw of G rows to G*n images in G consecutive groups of n.

    Raises: DataDamError if the number of images is no multiple of the number of rows.

    >>> from datadam_lite.seeding import generator
    >>> drawn = draw(operations(DSA), 2, generator(0, "example"), one_operation=False)
    >>> augment(torch.ones(6, 3, 8, 8), drawn).shape      # two classes of three images
    torch.Size([6, 3, 8, 8])
    """
    n, left_over = divmod(len(x), len(drawn.operation))
    if left_over or not n:
        raise DataDamError(f"expected a multiple of {len(drawn.operation)} images, one group a row; received {len(x)}.")
    operation = drawn.operation.repeat_interleave(n)  # (B,)
    order = operation.argsort(stable=True)
    sizes = operation.bincount(minlength=len(drawn.strategy)).tolist()
    uniforms = drawn.uniforms.repeat_interleave(n, 0)[order].to(x.device, x.dtype, non_blocking=True)  # (B, 3)
    there, back = order.to(x.device, non_blocking=True), order.argsort().to(x.device, non_blocking=True)
    parts = zip(drawn.strategy, x[there].split(sizes), uniforms.split(sizes), strict=True)
    return torch.cat([OPERATIONS[name](part, u) for name, part, u in parts if len(part)])[back]


def _integer(u: Tensor, count: int) -> Tensor:
    """Uniform integer 0 … count-1 from a uniform number."""
    return (u * count).long().clamp_max(count - 1)


def _hole(side: int, u: Float[Tensor, "b 1"]) -> Tensor:
    """[B, side], true where a hole of half the side covers the axis."""
    size = int(side * 0.5 + 0.5)
    start = _integer(u, side + 1 - size % 2) - size // 2
    position = torch.arange(side, device=u.device) - start
    return (position >= 0) & (position < size)


def _affine(x: Images, rows: list[list[Tensor]]) -> Images:
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
