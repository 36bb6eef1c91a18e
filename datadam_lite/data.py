"""Real images: one uint8 tensor, one label each, and the names of the classes.

Every data set of the book is an `ImageSet` held in memory. There is no data loader: a batch is an
index into a tensor, which is both the simplest and the fastest way for images this small.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from datadam_lite.checks import check_kind, check_labels
from datadam_lite.errors import DataDamError, check_type, known


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images in memory.

    images: uint8 [N, C, H, W]; labels: int64 [N], an index into `classes`; name: for reports;
    mirror: whether a mirrored image keeps its class (true of cats, not of digits).

    Raises: DataDamError if a field is of another kind, the shapes disagree, or a label names no class.

    >>> train, test = load("digits")
    >>> train
    ImageSet digits: 1297 images of 1x8x8 pixels in 10 classes
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]
    name: str = "images"
    mirror: bool = True

    def __post_init__(self):
        check_kind("images", self.images, Tensor, "of a NumPy array: torch.from_numpy(array).")
        check_kind("labels", self.labels, Tensor, "of a list of whole numbers: torch.tensor(labels).")
        check_kind("classes", self.classes, tuple, "of a list: tuple(classes).")
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise DataDamError(
                "images must be uint8 of shape [N, C, H, W]; received "
                f"{self.images.dtype} of shape {list(self.images.shape)}. Of colours in [0, 1]: "
                "(images * 255).round().to(torch.uint8)."
            )
        check_type("mirror", self.mirror, bool)
        check_labels(self.labels, self.images, self.classes)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"ImageSet {self.name}: {len(self)} images of {shape} pixels in {len(self.classes)} classes"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return tuple(self.images.shape[1:])

    @cached_property
    def rows_of_class(self) -> list[Int64[Tensor, " m"]]:
        """For each class, the row numbers of its images."""
        return [(self.labels == k).nonzero().flatten() for k in range(len(self.classes))]

    def sample(self, n: int, generator: torch.Generator) -> Int64[Tensor, " rows"]:
        """Draw n different images of every class; row numbers, class-major: 0…0, 1…1, …

        Raises: DataDamError if a class holds fewer than n images.

        >>> from datadam_lite.seeding import generator
        >>> train, _ = load("digits")
        >>> train.labels[train.sample(2, generator(0, "example"))].tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]
        """
        self.require(n)
        picks = [
            rows[torch.randperm(len(rows), generator=generator, device=generator.device)[:n].cpu()]
            for rows in self.rows_of_class
        ]
        return torch.cat(picks)

    def require(self, n: int, what: str = "images per class") -> None:
        """Raise DataDamError unless every class holds at least n images, n being at least 1."""
        check_type(what, n, int)
        if n < 1:
            raise DataDamError(f"expected at least 1 image per class; received {n}.")
        smallest = min(range(len(self.classes)), key=lambda k: len(self.rows_of_class[k]))
        held = len(self.rows_of_class[smallest])
        if held < n:
            raise DataDamError(
                f"{n} {what} were asked of {self.name}, but class "
                f"{self.classes[smallest]!r} has {held}; ask for at most {held}."
            )

    @cached_property
    def statistics(self) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Per-channel mean and standard deviation of all pixels, in units of [0, 1].

        Computed from the counts of the 256 grey levels: exact, whatever the number of images.
        """
        level = torch.arange(256, dtype=torch.float64) / 255
        means, stds = [], []
        for channel in self.images.unbind(1):
            share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
            mean = (share * level).sum()
            means.append(mean)
            stds.append((share * (level - mean).square()).sum().sqrt())
        if min(stds) == 0:
            raise DataDamError(f"a channel of {self.name} is constant; expected images that differ.")
        return torch.stack(means).float(), torch.stack(stds).float()

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of images, labels and class names, for provenance."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        digest.update(self.images.contiguous().numpy())
        digest.update(self.labels.contiguous().numpy())
        return digest.hexdigest()


def load(
    name: str | Path, root: str | Path = "data", *,
    size: int | None = None, resize: str | None = None, mirror: bool | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Load (training set, test set) by name, or from an ImageFolder directory or zip.

    name: one of `datadam_lite.datasets.DATASETS`, or a path to a folder or zip with
    `train/<class>/<image>` and `test/<class>/<image>` (or `val/`), whose name the image sets get;
    root: the folder of data sets that are downloaded, or put there by hand;
    size: side in pixels that photographs are resized to, of a folder of your own by default not at all;
    resize: "crop" (the default: short side to `size`, centre cut out, antialiased) or "squash" (the
    aspect ratio is lost and nothing smoothed, as in the released DataDAM code);
    mirror: whether a mirrored image keeps its class, None as the data set has it, for your own images true.

    Raises: DataDamError if the name is unknown, the path does not hold an ImageFolder, a download
    fails (saying which file to put where), or a data set has one size only and another is asked for.

    >>> train, test = load("digits")
    >>> len(train), len(test), train.shape
    (1297, 500, (1, 8, 8))
    """
    from datadam_lite.datasets import DATASETS
    from datadam_lite.imagefolder import load_imagefolder

    check_type("size", size, int | None)
    check_type("resize", resize, str | None)
    check_type("mirror", mirror, bool | None)
    options = {key: value for key, value in {"size": size, "resize": resize}.items() if value is not None}
    path = Path(name).expanduser()
    if isinstance(name, Path) and str(name) in DATASETS and path.exists():
        raise DataDamError(
            f"{name} could be the data set of that name or a folder; write load({str(name)!r}) for the data set, "
            f"load(Path({str(name)!r}).resolve()) for the folder."
        )
    if str(name) in DATASETS:
        parts = DATASETS[str(name)].load(root, **options)
        return parts if mirror is None else tuple(replace(part, mirror=mirror) for part in parts)
    if path.exists():
        return tuple(replace(part, mirror=mirror is not False) for part in load_imagefolder(path, **options))
    if path.suffix or len(path.parts) > 1:
        raise DataDamError(
            f"there is no file or folder {path}; expected an ImageFolder directory or zip. "
            "Check the path for a spelling mistake."
        )
    return known(str(name), DATASETS, "data set (and no such folder)")
