"""Any user's own images: an ImageFolder directory or zip, decoded once and kept as one tensor."""

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing
from datadam_lite.progress import bar

SPLITS = ("train", "test", "val")
KEPT = ("classes", "train_images", "train_labels", "test_images", "test_labels")
EXPECTED = "expected train/<class>/<image> with test/<class>/<image> or val/<class>/<image>"


def load_imagefolder(path: str | Path) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) of the ImageFolder at `path`, a directory or a zip file.

    All images must have one size. They are decoded to RGB, or to one channel if every image is
    grey. The decoded tensors are kept in `cache_folder()`; the next load takes a second.

    Raises: DataDamError naming the first offending file, class or folder.
    """
    path = Path(path)
    with _open(path) as source:
        cached = cache_folder() / f"{path.stem}-{source.fingerprint()[:16]}.safetensors"
        tensors = _read_cache(cached)
        if tensors is None:
            tensors = _decode(source)
            _write_cache(cached, tensors)
    classes = tuple(json.loads(bytes(tensors.pop("classes").tolist())))
    return tuple(
        ImageSet(tensors[f"{part}_images"], tensors[f"{part}_labels"], classes, path.stem)
        for part in ("train", "test")
    )


def cache_folder() -> Path:
    """Where decoded images are kept: $DATADAM_CACHE, else datadam_lite in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "datadam_lite"
    return Path(os.environ.get("DATADAM_CACHE", default)).expanduser()


class _Source:
    """The files of a directory or zip: their names with '/', sizes and times, and a way to read one."""

    def __init__(self, path: Path, stamps: dict[str, tuple], folders: set[str], read: Callable[[str], bytes]):
        self.path, self.stamps, self.folders, self.read = path, stamps, folders, read
        self.close = lambda: None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fingerprint(self) -> str:
        key = [str(self.path.resolve()), sorted(self.stamps.items()), sorted(self.folders)]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _open(path: Path) -> _Source:
    if path.is_dir():
        found = sorted(path.rglob("*"))
        stamps = {
            f.relative_to(path).as_posix(): (f.stat().st_size, f.stat().st_mtime_ns)
            for f in found if f.is_file()
        }
        folders = {f.relative_to(path).as_posix() for f in found if f.is_dir()}
        return _Source(path, stamps, folders, lambda name: (path / name).read_bytes())
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile has no common base for what is wrong with a file
        raise DataDamError(
            f"{path} is not a complete zip file ({error}); {EXPECTED}. Copy or download it again."
        ) from error
    members = archive.infolist()
    stamps = {m.filename: (m.file_size, m.CRC) for m in members if not m.is_dir()}
    source = _Source(path, stamps, {m.filename.rstrip("/") for m in members if m.is_dir()}, archive.read)
    source.close = archive.close
    return source


def _listing(source: _Source) -> dict[str, dict[str, list[str]]]:
    """Map split -> class -> file names, checking that it is an ImageFolder."""
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
    if "train" not in files or len(files) < 2:
        found = ", ".join(f"{split}/" for split in files) or "no such folders"
        raise DataDamError(f"{source.path} is not an ImageFolder: {EXPECTED}; found {found}.")
    held_out = files["test" if "test" in files else "val"]
    for split, classes in (("train", files["train"]), ("test", held_out)):
        for name in sorted(files["train"] | held_out):
            if not classes.get(name):
                raise DataDamError(
                    f"{source.path}: class {name!r} has no images in its {split} part; add some, "
                    "or remove the class folder from both parts."
                )
    return {"train": files["train"], "test": held_out}


def _decode(source: _Source) -> dict[str, Tensor]:
    listing = _listing(source)
    classes = sorted(listing["train"])
    total = sum(len(names) for split in listing.values() for names in split.values())
    tensors = {"classes": torch.tensor(list(json.dumps(classes).encode()), dtype=torch.uint8)}
    size = None
    with bar(total=total, desc=f"decoding {source.path.name}", unit="image") as progress:
        for split, files in listing.items():
            pixels, labels = [], []
            for label, name in enumerate(classes):
                for file in files[name]:
                    image = _decode_one(source, file)
                    size = size or image.shape
                    if image.shape != size:
                        raise DataDamError(
                            f"{source.path}: expected every image to be {size[1]}x{size[0]} pixels like the "
                            f"first one; {file} is {image.shape[1]}x{image.shape[0]}. Resize them to one size."
                        )
                    pixels.append(image)
                    labels.append(label)
                    progress.update()
            tensors[f"{split}_images"] = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
            tensors[f"{split}_labels"] = torch.tensor(labels)
    return _drop_grey_copies(tensors)


def _decode_one(source: _Source, file: str) -> np.ndarray:
    try:
        return np.asarray(Image.open(io.BytesIO(source.read(file))).convert("RGB"))
    except Exception as error:  # zlib, zipfile and every Pillow plugin raise their own
        raise DataDamError(
            f"{source.path}: {file} can't be read as an image ({type(error).__name__}); "
            "expected a PNG, JPEG, WebP or other picture. Replace or remove the file."
        ) from error


def _drop_grey_copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep one channel if red, green and blue are equal in every image of both parts."""
    parts = [tensors["train_images"], tensors["test_images"]]
    if all((images[:, :1] == images[:, 1:]).all() for images in parts):
        for split, images in zip(("train", "test"), parts, strict=True):
            tensors[f"{split}_images"] = images[:, :1].contiguous()
    return tensors


def _read_cache(file: Path) -> dict[str, Tensor] | None:
    """Return the cached tensors, or None when there is no cache or it can't be read."""
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in KEPT}
        json.loads(bytes(tensors["classes"].tolist()))
        return tensors
    except (OSError, SafetensorError, ValueError):
        return None


def _write_cache(file: Path, tensors: dict[str, Tensor]) -> None:
    try:
        with replacing(file) as temporary:
            temporary.write_bytes(save(tensors))
    except DataDamError as error:
        warnings.warn(f"the decoded images were not kept for next time: {error}", stacklevel=4)
