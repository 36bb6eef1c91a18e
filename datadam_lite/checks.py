"""Checks of what people pass by mistake. Each returns nothing, or raises a DataDamError that says what to do."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from PIL import Image

from datadam_lite.errors import DataDamError


def check_kind(name: str, value, wanted: type, instead: str) -> None:
    """Refuse an object of another kind.

    instead: what to do, in the words of a user.

    >>> check_kind("test", ("train", "test"), str, "take one of the two.")
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: test must be of type str, not tuple; take one of the two.
    """
    if not isinstance(value, wanted):
        raise DataDamError(f"{name} must be of type {wanted.__name__}, not {type(value).__name__}; {instead}")


def check_images(name: str, value) -> None:
    """Refuse what is not one ImageSet: both that `load` returns, a name, or None.

    >>> check_images("train", ("train", "test"))
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: train must be of type ImageSet, not tuple; dd.load returns two of them: train, \
test = dd.load(name).
    """
    from datadam_lite.data import ImageSet

    check_kind(name, value, ImageSet, "dd.load returns two of them: train, test = dd.load(name).")


def check_choice(n: int, points: int) -> None:
    """Refuse to choose none, or more than there are.

    >>> check_choice(4, 3)
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: expected to choose between 1 and all of the 3 points; received n = 4.
    """
    if not 1 <= n <= points:
        raise DataDamError(f"expected to choose between 1 and all of the {points} points; received n = {n}.")


def check_eight_bits(read: Callable[[str], bytes], file: str) -> None:
    """Refuse a picture whose pixels have more than eight bits: Pillow would make nearly all of it white, or black.

    read: returns the content of a file. What can't be read at all is not refused here.

    >>> picture = io.BytesIO()
    >>> Image.new("I;16", (2, 2)).save(picture, "png")
    >>> check_eight_bits(lambda _: picture.getvalue(), "lung.png")
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: lung.png has more than 8 bits for each pixel and colour (mode I;16); expected 8, \
as in most PNG and JPEG files. Choose which range of values becomes 0 to 255, and write such files.
    """
    try:
        mode = Image.open(io.BytesIO(read(file))).mode
    except Exception:  # zlib, zipfile and every Pillow plugin raise their own
        return
    if mode.startswith(("I", "F")):
        raise DataDamError(
            f"{file} has more than 8 bits for each pixel and colour (mode {mode}); expected 8, as in most PNG and JPEG "
            "files. Choose which range of values becomes 0 to 255, and write such files."
        )


def check_one_root(path: Path, names: Iterable[str], splits: tuple[str, ...]) -> None:
    """Refuse a folder or zip that holds several data sets, which would be taken for one.

    names: of its files, with '/'; splits: the folders whose parent is the root of a data set.

    >>> check_one_root(Path("pets"), ["a/train/cat/1.png", "b/test/cat/1.png"], ("train", "test"))
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: pets holds several data sets, in a and b; give the path of one.
    """
    images = (path for path in map(PurePosixPath, names) if len(path.parts) >= 3 and path.parts[-3] in splits)
    hidden = (".", "__MACOSX")  # as where the files are listed
    roots = {str(file.parents[2]) for file in images if not any(part.startswith(hidden) for part in file.parts)}
    if len(roots) > 1:
        raise DataDamError(f"{path} holds several data sets, in {' and '.join(sorted(roots))}; give the path of one.")


def check_links(found: Iterable[Path]) -> None:
    """Refuse links to nothing, and to folders, whose images would be left out without a word."""
    for path in found:
        if path.is_symlink() and not path.exists():
            raise DataDamError(f"{path} is a link to a file that is not there; fetch the file, or remove the link.")
        if path.is_symlink() and path.is_dir():
            raise DataDamError(f"{path} is a link to a folder, which is not followed; put the folder itself there.")


def check_finite(tensors: Iterable, what: str, instead: str) -> None:
    """Refuse tensors that hold NaN or infinity.

    >>> import torch
    >>> check_finite([torch.tensor([1.0, torch.nan])], "the images", "distil again.")
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: the images hold NaN or infinity; expected finite numbers: distil again.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise DataDamError(f"{what} hold NaN or infinity; expected finite numbers: {instead}")
