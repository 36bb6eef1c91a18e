"""Files of other toolkits, taken apart: where the images and labels lie. Nothing in a file is ever run."""

import hashlib
import io
import pickletools
import re
import warnings
import zipfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor

from datadam_lite.errors import DataDamError

EXPECTED = "expected images as a tensor, a pair [images, labels], or a dictionary whose 'data' lists such pairs"
PLAIN = re.compile(r"collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.\w+Storage|numpy\..*(scalar|dtype)")


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds, as stored.

    layout: how it was laid out, in words; images: four axes, any order and number type; labels: one or two axes, or
    None; names: of the classes, if the labels count folders; files: everything that was read; note: what the file says
    of its preprocessing, which only those that `write` wrote do.
    """

    layout: str
    images: Tensor
    labels: Tensor | None
    files: tuple[Path, ...]
    names: tuple[str, ...] | None = None
    note: str | None = None

    def sha256(self) -> dict[str, str]:
        """Fingerprint of every file by name; a folder's covers the names and bytes of all files in it."""
        return {file.name: _sha256(file) for file in self.files}


def find(path: str | Path, *, labels: str | Path | None = None, entry: int = -1) -> Content:
    """Find images and labels in a file, a file in numbered parts, or a folder of one folder per class.

    labels: the file that holds them, if not `path` nor the one beside it with "labels" for "images" in its name;
    entry: which pair, if there are several: released results hold one per repetition (DC, DSA, DM) or evaluated
    checkpoint (DataDAM).

    Raises: DataDamError if a file can't be read without running code, or holds something else.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "res_DM.pt"
    >>> torch.save({"data": [[torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])]] * 5}, file)
    >>> find(file).layout
    'a result dictionary, entry 5 of 5'
    """
    files = parts(path)
    pieces = [raw(file) for file in files]
    layout, images, own = _pair(pieces[0], entry, path)
    if len(files) > 1:
        if not all(isinstance(piece, Tensor) and piece.shape[1:] == images.shape[1:] for piece in pieces):
            raise DataDamError(f"{files[0]} and the parts after it don't hold images of one shape; {EXPECTED}.")
        layout, images = f"images in {len(files)} files", torch.cat(pieces)
    if images.ndim != 4:
        raise DataDamError(f"{path} holds a tensor of shape {list(images.shape)}, not [N, C, H, W]; {EXPECTED}.")
    beside = Path(labels) if labels is not None else None if own is not None else _beside(Path(path))
    if beside is not None:
        own, files, layout = raw(beside), (*files, beside), f"{layout}, labels in {beside.name}"
        if not isinstance(own, Tensor):
            raise DataDamError(f"{beside} does not hold one tensor of labels; expected one label for each image.")
    about = pieces[0] if isinstance(pieces[0], dict) else {}
    note = about.get("preprocessing") if isinstance(about.get("preprocessing"), str) else None
    return Content(layout, images.detach(), own, files, about.get("names") if files[0].is_dir() else None, note)


def raw(path: str | Path) -> object:
    """Read a file into tensors, lists and dictionaries.

    Raises: DataDamError if it is missing, damaged, or a pickle that asks to import anything but tensors.
    """
    path = Path(path)
    if not path.exists():
        raise DataDamError(f"there is no file or folder {path}; check the path for a spelling mistake.")
    read = _class_folder if path.is_dir() else _npz if path.suffix == ".npz" else _torch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats that are then refused
            return read(path)
    except DataDamError:
        raise
    except Exception as error:  # every format has errors of its own
        raise DataDamError(_refusal(path, error)) from error


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is one of our kind: after eight bytes of length comes a JSON object."""
    try:
        with open(path, "rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:  # `raw` says what is wrong
        return False


def parts(path: str | Path) -> tuple[Path, ...]:
    """Return the file, or the numbered parts it was split into: images_best_0.pt, images_best_1.pt, …"""
    path = Path(path)
    numbered = {int(m[1]): f for f in path.parent.glob("*") if (m := _number(f, path))}
    if path.exists() or len(numbered) < 2 or sorted(numbered) != list(range(len(numbered))):
        return (path,)
    return tuple(numbered[i] for i in range(len(numbered)))


def _number(file: Path, whole: Path):
    return re.fullmatch(rf"{re.escape(whole.stem)}_(\d+){re.escape(whole.suffix)}", file.name)


def tensors(content: object, name: str = "", depth: int = 4) -> dict[str, Tensor]:
    """Name every tensor in nested lists and dictionaries.

    >>> list(tensors({"data": [[torch.zeros(1), torch.ones(1)]]}))
    ['data.0.0', 'data.0.1']
    """
    if isinstance(content, Tensor):
        return {name or "(the file)": content}
    items = content.items() if isinstance(content, dict) else enumerate(content if _is_list(content) else ())
    nested = (tensors(value, f"{name}.{key}".lstrip("."), depth - 1).items() for key, value in items if depth)
    return dict(chain.from_iterable(nested))


def _pair(content: object, entry: int, path: str | Path) -> tuple[str, Tensor, Tensor | None]:
    """Unwrap (layout, images, labels)."""
    layout = "one pair of images and labels"
    if isinstance(content, Tensor):
        return "one tensor of images", content, None
    if isinstance(content, dict) and "data" in content:
        layout, content = "a result dictionary", content["data"]
    elif isinstance(content, dict) and {"images", "labels"} <= content.keys():
        layout = "a class folder" if "names" in content else "a dictionary of images and labels"
        content = [content["images"], content["labels"]]
    if _is_list(content) and content and all(map(_is_pair, content)):
        if not -len(content) <= entry < len(content):
            raise DataDamError(f"{path} holds {len(content)} pairs; expected entry 0 … {len(content) - 1} or -1 for "
                               f"the last; received {entry}.")  # fmt: skip
        layout, content = f"{layout}, entry {entry % len(content) + 1} of {len(content)}", content[entry]
    if not _is_pair(content):
        raise DataDamError(f"{path} holds no distilled set ({_what(content)}); {EXPECTED}.")
    images, labels = content
    if images.ndim < 4 and labels.ndim == 4:
        layout, images, labels = f"{layout} (stored labels first)", labels, images
    return layout, images, labels


def _is_list(content: object) -> bool:
    return isinstance(content, list | tuple)


def _is_pair(content: object) -> bool:
    return _is_list(content) and len(content) == 2 and all(isinstance(x, Tensor) for x in content)


def _what(content: object) -> str:
    """Say what a file is that is no distilled set."""
    keys = [str(key) for key in content] if isinstance(content, dict) else []
    if "net_parameters" in keys or any(key.endswith(".weight") for key in keys):
        return "but the weights of a network: use read_network"
    if any(key in ("images_train", "images_val") for key in keys):
        return "but a real data set"
    if _is_list(content) and content and all(map(_is_list, content)):
        return "but lists of lists of tensors, such as the training trajectories of experts"
    return f"but a {type(content).__name__}" + (f" with {', '.join(keys[:6])}" if keys else "")


def _beside(path: Path) -> Path | None:
    """The labels of CIFAR10_IPC10_images.pt lie in CIFAR10_IPC10_labels.pt, and so on."""
    names = [path.name.replace(word, "labels") for word in ("images", "normalize_images")]
    return next((path.with_name(n) for n in names if n != path.name and path.with_name(n).is_file()), None)


class _Number:
    """Stands in for a NumPy number, such as a recorded accuracy: nothing of NumPy runs, the value is dropped."""

    def __init__(self, *_):
        pass

    def __setstate__(self, _):
        pass


NUMBERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")


def _torch(path: Path) -> object:
    with torch.serialization.safe_globals([(_Number, name) for name in NUMBERS]):
        content = torch.load(path, map_location="cpu", weights_only=True)
    for name, tensor in tensors(content).items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
            raise DataDamError(f"{path}: {name} is not a plain tensor of numbers; {EXPECTED}.")
        if tensor.numel() * tensor.element_size() > path.stat().st_size:
            raise DataDamError(f"{path}: {name} claims more numbers than the file holds. Copy or download it again.")
    return content


def _npz(path: Path) -> dict[str, Tensor]:
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind in "biuf"}


def _class_folder(path: Path) -> dict:
    """Decode `path/<class>/<image>`; labels count the class folders in the order of their names."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    folder = ImageFolder(path)
    images = [pil_to_tensor(image) for image, _ in folder]
    if len(sizes := {tuple(image.shape[1:]) for image in images}) > 1:
        raise DataDamError(f"{path} holds images of {len(sizes)} sizes; resize them to one size.")
    return {"images": torch.stack(images), "labels": torch.tensor(folder.targets), "names": tuple(folder.classes)}


def _refusal(path: Path, error: Exception) -> str:
    """Say why a file is not read, naming what a pickle asks to import."""
    wanted = [] if path.is_dir() else [name for name in imports(path) if not PLAIN.fullmatch(name)]
    if wanted:
        return (
            f"{path} is refused: it is a pickle that asks to import {', '.join(wanted)}, and reading it could run any "
            "code. If you trust who made it, open it with the toolkit it comes from, and save plain tensors: "
            "torch.save([images, labels], path)."
        )
    if isinstance(error, UnpicklingError | IndexError):  # whose texts are advice of PyTorch's, and say nothing here
        return (
            f"{path} can't be read: it is no whole file that torch.save wrote; {EXPECTED}. Check which file you gave, "
            "or copy or download it again."
        )
    why = (str(error).splitlines() or [""])[0][:200]
    return f"{path} can't be read ({type(error).__name__}: {why}); {EXPECTED}. Copy or download it again."


def imports(path: Path) -> list[str]:
    """Name all that the pickle in a file asks to import, from its text alone.

    >>> import pickle, tempfile
    >>> file = Path(tempfile.mkdtemp()) / "evil.pkl"
    >>> _ = file.write_bytes(pickle.dumps([exec, exec]))
    >>> imports(file)
    ['builtins.exec']
    """
    found, strings, memo = set(), ["", ""], {}
    for op, value in _operations(_pickle_of(path)):
        if op == "GLOBAL":
            found.add(value.replace(" ", "."))
        elif op == "STACK_GLOBAL":
            found.add(".".join(strings[-2:]))
        elif op == "MEMOIZE":
            memo[len(memo)] = strings[-1]
        elif "PUT" in op:
            memo[value] = strings[-1]
        elif "GET" in op:
            strings.append(memo.get(value, ""))
        elif isinstance(value, str):
            strings.append(value)
    return sorted(name for name in found if re.fullmatch(r"[A-Za-z_][\w.]*", name))


def _pickle_of(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    except Exception:  # not a zip file, or a damaged one
        return path.read_bytes()


def _operations(content: bytes):
    """Yield the steps of one pickle after another, as long as they can be read."""
    stream = io.BytesIO(content)
    try:
        while True:
            yield from ((op.name, value) for op, value, _ in pickletools.genops(stream))
    except Exception:  # the end, or where it is damaged
        return


def _sha256(path: Path) -> str:
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(b"" if file == path else file.relative_to(path).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
