"""Where the synthetic images start: real images, noise, or the images of a distilled set."""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datadam_lite.coresets import CORESETS, select
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, known
from datadam_lite.preprocess import Preprocess
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

SUFFIX = ".safetensors"  # tells the path of a distilled set from a name


def check_init(name: str) -> None:
    """Raise DataDamError unless `name` is a coreset, "noise", or could be the path of a distilled set.

    A path is looked for only by `start`: a recipe may be read where the file is not.

    >>> check_init("herding")
    >>> check_init("runs/first.safetensors")
    >>> check_init("nosie")
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: unknown initialisation (and no .safetensors file) 'nosie'; the known ones are \
noise, random, k_center, herding, k_means, forgetting.
    """
    if not name.endswith(SUFFIX):
        known(name, ("noise", *CORESETS), f"initialisation (and no {SUFFIX} file)")


def file_sha256(init: str) -> str | None:
    """Return the checksum of the file a run starts from; None if it starts from something else.

    >>> file_sha256("random") is None
    True
    """
    return hashlib.sha256(Path(init).expanduser().read_bytes()).hexdigest() if init.endswith(SUFFIX) else None


def start(
    init: str, train: ImageSet, ipc: int, seed: int, preprocess: Preprocess, settings: Settings | None = None
) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"] | None]:
    """Return the first images in the space networks see, class-major, and which rows of `train` they are, if any.

    init: a name from `coresets.CORESETS`; "noise", every number N(0, 1); or the path of a distilled set.

    Raises: DataDamError for an unknown name, too few images, or a file that does not fit.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> images, rows = start("noise", train, 2, 0, Preprocess.fit(train))
    >>> images.shape, rows
    (torch.Size([20, 1, 8, 8]), None)
    """
    check_init(init)
    train.require(ipc)
    if init.endswith(SUFFIX):
        return from_file(init, train, ipc, preprocess), None
    if init == "noise":
        return noise(train, ipc, seed).to(preprocess.mean.device), None
    options = {} if init == "random" else {"settings": settings}  # the others compute with networks
    rows = select(init, train, ipc, seed, **options)
    return preprocess.apply(train.images[rows].to(preprocess.mean.device)), rows


def noise(train: ImageSet, ipc: int, seed: int) -> Float[Tensor, "n c h w"]:
    """Draw ipc images of noise for every class."""
    return torch.randn(len(train.classes) * ipc, *train.shape, generator=generator(seed, "initial noise"))


def from_file(path: str | Path, train: ImageSet, ipc: int, preprocess: Preprocess) -> Float[Tensor, "n c h w"]:
    """Read a distilled set's images, class-major, into the space of `preprocess`.

    Raises: DataDamError unless it holds ipc images of every class of `train`, of their size.
    """
    found = SyntheticSet.load(Path(path).expanduser())
    labels, order = found.labels.sort(stable=True)
    fits = found.classes == train.classes and tuple(found.images.shape[1:]) == train.shape
    if not fits or labels.tolist() != [k for k in range(len(train.classes)) for _ in range(ipc)]:
        raise DataDamError(
            f"{path} can't be the start: expected {ipc} images of size {list(train.shape)} for each of the "
            f"{len(train.classes)} classes of {train.name}; it holds {len(found)} of size "
            f"{list(found.images.shape[1:])} for {len(found.classes)} classes, or the class names or the number of "
            "images differ from class to class. Take a set distilled from the same data at the same ipc."
        )
    return reexpress(found.images[order], found.preprocess, preprocess)


def reexpress(x: Float[Tensor, "n c h w"], before: Preprocess, after: Preprocess) -> Float[Tensor, "n c h w"]:
    """Carry images from the space of one preprocessing to that of another, through pixels that are not clamped.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> plain, white = Preprocess.fit(train), Preprocess.fit(train, zca=True)
    >>> x = reexpress(plain.apply(train.images[:5]), plain, white)
    >>> bool((x - white.apply(train.images[:5])).abs().max() < 1e-3)
    True
    """
    x = x.to(after.mean.device)
    if _equal(before, after):
        return x  # to the bit
    return after.enter(before.to(x.device).invert(x))


def _equal(one: Preprocess, other: Preprocess) -> bool:
    a, b = one.tensors(), other.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name].cpu(), b[name].cpu()) for name in a)
