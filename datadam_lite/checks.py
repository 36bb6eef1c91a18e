"""Checks of what people pass by mistake. Each returns nothing, or raises a DataDamError that says what to do."""

import io
import json
from collections.abc import Callable, Iterable
from numbers import Integral
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


def check_points(axes: str, instead: str, **given) -> None:
    """Refuse points that are not float, or of another shape.

    axes: what the axes are to be; instead: what to do, in the words of a user.

    >>> import torch
    >>> check_points("points, dimensions", "flatten them.", features=torch.zeros(3, 8, 8))
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: features must be float of shape [points, dimensions]; received torch.float32 of \
shape [3, 8, 8]; flatten them.
    """
    for name, points in given.items():
        if points.ndim != len(axes.split(",")) or not points.is_floating_point():
            received = f"{points.dtype} of shape {list(points.shape)}"
            raise DataDamError(f"{name} must be float of shape [{axes}]; received {received}; {instead}")


def check_features(features) -> None:
    """Refuse what is not a float vector for each image: pixels as they are stored, maps."""
    check_points("points, dimensions", "of images: images.flatten(1).float().", features=features)


def check_labels(labels, images, classes: tuple) -> None:
    """Refuse labels that are not one int64 for each image, an index into the classes.

    >>> import torch
    >>> check_labels(torch.tensor([0, 2]), torch.zeros(2, 1, 8, 8), ("cat", "dog"))
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: labels must lie in 0 … 1 (2 classes); received 0 … 2.
    """
    if labels.shape != images.shape[:1] or str(labels.dtype) != "torch.int64":
        raise DataDamError(
            f"expected one int64 label for each of the {len(images)} images; received {labels.dtype} of shape "
            f"{list(labels.shape)}."
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DataDamError(
            f"labels must lie in 0 … {len(classes) - 1} ({len(classes)} classes); "
            f"received {int(labels.min())} … {int(labels.max())}."
        )


def check_seed(seed) -> None:
    """Refuse a seed that is not a whole number: 1.0 would draw something else than 1.

    >>> check_seed(1.0)
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: a seed must be a whole number; received 1.0. Use int(seed).
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise DataDamError(f"a seed must be a whole number; received {seed!r}. Use int(seed).")


def check_plain(provenance: dict) -> None:
    """Refuse a provenance that would not be read as it was written: keys that are no text, objects.

    >>> check_plain({"counts": {1: 20}})
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: a file can't hold this provenance as it is: {'counts': {1: 20}}; use text as \
keys, and numbers, text, lists and dictionaries as values.
    """
    try:
        same = json.loads(json.dumps(provenance)) == _lists(provenance)
    except (TypeError, ValueError):
        same = False
    if not same:
        raise DataDamError(
            f"a file can't hold this provenance as it is: {provenance}; use text as keys, and numbers, text, lists and "
            "dictionaries as values."
        )


def _lists(value):
    """The same with lists in place of tuples, which a file does not tell apart."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, list | tuple) else value


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
