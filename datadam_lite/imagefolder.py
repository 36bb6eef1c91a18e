"""Images in files, a user's own ImageFolder above all: decoded once and kept as one tensor."""

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from datadam_lite.checks import check_eight_bits, check_links, check_one_root
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, known, positive
from datadam_lite.files import replacing
from datadam_lite.progress import bar

SPLITS = ("train", "test", "val")
KEPT = ("train_images", "train_labels", "test_images", "test_labels")
EXPECTED = "expected train/<class>/<image> with test/<class>/<image> or val/<class>/<image>"

Listing = tuple[dict[str, list[tuple[str, int]]], tuple[str, ...]]  # {"train": [(file, label), …], "test": …}, classes


def load_imagefolder(
    path: str | Path, *, size: int | None = None, resize: str | None = None,
    classes: dict[str, str] | None = None, name: str | None = None,
) -> tuple[ImageSet, ImageSet]:  # fmt: skip
    """Return (train, test) of the ImageFolder at `path`, a directory or a zip file.

    size, resize: as in `read_images`; classes: {folder: class name}, to read these folders only and
    in this order (by default all, sorted); name: of the image sets (by default the path's).

    Raises: DataDamError naming the first offending file, class or folder.
    """
    path = Path(path)
    name = name or (path.resolve().name if path.is_dir() else path.stem)
    within = tuple(f"{split}/{folder}" for split in SPLITS for folder in classes) if classes else ("",)
    listing = partial(_listing, classes=classes)
    return read_images(path, listing, name=name, size=size, resize=resize, within=within)


def read_images(
    path: Path, listing: Callable[["Files"], Listing], *, name: str,
    size: int | None = None, resize: str | None = None, within: tuple[str, ...] = ("",),
) -> tuple[ImageSet, ImageSet]:  # fmt: skip
    """Return (train, test) of the images that `listing` finds in a directory or zip file.

    They are decoded to RGB, or to one channel if every image is grey, and kept in `cache_folder()`;
    the next load takes a second. Without `size` all must have one size; with it each becomes
    size x size pixels, by "crop" (the default: short side to `size`, centre cut out, antialiased) or
    "squash" (the aspect ratio is lost and nothing smoothed, as in the released DataDAM code).
    within: the folders of a directory to look into.

    Raises: DataDamError naming the first offending file, class or folder.
    """
    fit = _fitting(size, resize)
    with _open(path, within) as source:
        files, classes = listing(source)
        cached = cache_folder() / f"{name}-{source.fingerprint(classes, size, resize)[:16]}.safetensors"
        tensors = _read_cache(cached)
        if tensors is None:
            tensors = _decode(source, files, fit)
            _write_cache(cached, tensors)
    return tuple(
        ImageSet(tensors[f"{part}_images"], tensors[f"{part}_labels"], classes, name) for part in ("train", "test")
    )


def cache_folder() -> Path:
    """Where decoded images are kept: $DATADAM_CACHE, else datadam_lite in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "datadam_lite"
    return Path(os.environ.get("DATADAM_CACHE", default)).expanduser()


class Files:
    """The files of a directory or zip: their names with '/', sizes and times, and a way to read one."""

    def __init__(self, path: Path, stamps: dict[str, tuple], folders: set[str], read: Callable[[str], bytes]):
        self.path, self.stamps, self.folders, self.read = path, stamps, folders, read
        self.close = lambda: None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fingerprint(self, *options) -> str:
        """A key that changes with any file, and with what is made of the files."""
        key = [str(self.path.resolve()), sorted(self.stamps.items()), sorted(self.folders), options]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _open(path: Path, within: tuple[str, ...]) -> Files:
    if path.is_dir():
        found = sorted(f for folder in within for f in (path / folder).rglob("*"))
        check_links(found)
        stamps = {
            f.relative_to(path).as_posix(): (f.stat().st_size, f.stat().st_mtime_ns)
            for f in found if f.is_file()
        }
        folders = {f.relative_to(path).as_posix() for f in found if f.is_dir()}
        return Files(path, stamps, folders, lambda name: (path / name).read_bytes())
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile has no common base for what is wrong with a file
        raise DataDamError(
            f"{path} is not a complete zip file ({error}); {EXPECTED}. Copy or download it again."
        ) from error
    members = archive.infolist()
    stamps = {m.filename: (m.file_size, m.CRC) for m in members if not m.filename.endswith("/")}  # a name may be empty
    files = Files(path, stamps, {m.filename.rstrip("/") for m in members if m.filename.endswith("/")}, archive.read)
    files.close = archive.close
    return files


def _listing(source: Files, classes: dict[str, str] | None) -> Listing:
    """List train/<class>/<image> and test/ or val/<class>/<image>, checking that it is an ImageFolder."""
    check_one_root(source.path, source.stamps, SPLITS)
    files = _by_folder(source)
    if "train" not in files or len(files) < 2:
        found = ", ".join(f"{split}/" for split in files) or "no such folders"
        raise DataDamError(f"{source.path} is not an ImageFolder: {EXPECTED}; found {found}.")
    parts = {"train": files["train"], "test": files["test" if "test" in files else "val"]}
    folders = list(classes or sorted(parts["train"] | parts["test"]))
    for held in ("train", "test"):
        for folder in folders:
            if not parts[held].get(folder):
                raise DataDamError(
                    f"{source.path}: class {folder!r} has no images in its {held} part; add some, "
                    "or remove the class folder from both parts."
                )
    rows = {
        held: [(file, label) for label, folder in enumerate(folders) for file in names[folder]]
        for held, names in parts.items()
    }
    return rows, tuple(classes.values() if classes else folders)


def _by_folder(source: Files) -> dict[str, dict[str, list[str]]]:
    """Map split -> class folder -> file names."""
    files: dict[str, dict[str, list[str]]] = {}
    for name in sorted(source.stamps):
        parts = PurePosixPath(name).parts
        if any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        if len(parts) >= 3 and parts[-3] in SPLITS:
            files.setdefault(parts[-3], {}).setdefault(parts[-2], []).append(name)
        elif len(parts) >= 2 and parts[-2] in SPLITS:
            raise DataDamError(f"{source.path}: {name} lies outside a class folder; {EXPECTED}.")
        elif any(part in SPLITS for part in parts[:-3]):
            raise DataDamError(f"{source.path}: {name} lies in a folder within a class folder; {EXPECTED}.")
    for folder in sorted(source.folders):
        parts = PurePosixPath(folder).parts
        if len(parts) >= 2 and parts[-2] in SPLITS and not parts[-1].startswith("."):
            files.setdefault(parts[-2], {}).setdefault(parts[-1], [])
    return files


def _pixels(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)  # [H, W, 3] -> [3, H, W]


def _crop(image: Image.Image, size: int) -> UInt8[Tensor, "3 size size"]:
    return _pixels(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))


def _squash(image: Image.Image, size: int) -> UInt8[Tensor, "3 size size"]:
    x = _pixels(image).float().unsqueeze(0)
    return torch.nn.functional.interpolate(x, (size, size), mode="bilinear").squeeze(0).round().to(torch.uint8)


RESIZE = {"crop": _crop, "squash": _squash}


def _fitting(size: int | None, resize: str | None) -> Callable[[Image.Image], Tensor]:
    """Return what makes pixels of an image."""
    chosen = known(resize or "crop", RESIZE, "way to resize")
    if size is None and resize is not None:
        raise DataDamError(f"resize={resize!r} needs the size to resize to; give it as in size=64.")
    if size is None:
        return _pixels
    positive(size=size)
    return partial(chosen, size=size)


def _decode(source: Files, files: dict[str, list[tuple[str, int]]], fit: Callable) -> dict[str, Tensor]:
    tensors, first = {}, None
    with bar(total=sum(map(len, files.values())), desc=f"decoding {source.path.name}", unit="image") as progress:
        for split, rows in files.items():
            images = None
            for row, (file, _) in enumerate(rows):
                image = _decode_one(source, file, fit)
                first = first or image.shape
                if image.shape != first:
                    raise DataDamError(
                        f"{source.path}: expected every image to be {first[2]}x{first[1]} pixels like the first one; "
                        f"{file} is {image.shape[2]}x{image.shape[1]}. Resize them to one size, or give size=."
                    )
                if images is None:
                    images = torch.empty(len(rows), *first, dtype=torch.uint8)
                images[row] = image
                progress.update()
            tensors[f"{split}_images"] = images
            tensors[f"{split}_labels"] = torch.tensor([label for _, label in rows])
    return _drop_grey_copies(tensors)


def _decode_one(source: Files, file: str, fit: Callable) -> UInt8[Tensor, "3 h w"]:
    check_eight_bits(source.read, file)
    try:
        return fit(Image.open(io.BytesIO(source.read(file))).convert("RGB"))
    except Exception as error:  # zlib, zipfile and every Pillow plugin raise their own
        raise DataDamError(
            f"{source.path}: {file} can't be read as an image ({type(error).__name__}); "
            "expected a PNG, JPEG, WebP or other picture. Replace or remove the file."
        ) from error


def _drop_grey_copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep one channel if red, green and blue are equal in every image of both parts."""
    parts = [tensors["train_images"], tensors["test_images"]]
    if all((some[:, :1] == some[:, 1:]).all() for images in parts for some in images.split(1000)):
        for split, images in zip(("train", "test"), parts, strict=True):
            tensors[f"{split}_images"] = images[:, :1].contiguous()
    return tensors


def _read_cache(file: Path) -> dict[str, Tensor] | None:
    """Return the cached tensors, or None when there is no cache or it can't be read."""
    try:
        with safe_open(file, framework="pt") as stored:
            return {name: stored.get_tensor(name) for name in KEPT}
    except (OSError, SafetensorError):
        return None


def _write_cache(file: Path, tensors: dict[str, Tensor]) -> None:
    try:
        with replacing(file) as temporary:
            temporary.write_bytes(save(tensors))
    except DataDamError as error:
        warnings.warn(f"the decoded images were not kept for next time: {error}", stacklevel=5)
