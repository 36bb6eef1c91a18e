"""How each data set is read: (source, data folder) in, (training set, test set) out.

torchvision is imported where it is needed: it takes a second.
"""

import pickle
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from datadam_lite.data import ImageSet
from datadam_lite.downloads import Source, advice, archive, arriving, drop_cut_short, unpacked
from datadam_lite.errors import DataDamError
from datadam_lite.imagefolder import Files, Listing, load_imagefolder, read_images
from datadam_lite.progress import bar

DIGITS = tuple(map(str, range(10)))
TINY = "tiny-imagenet-200"
PHOTOGRAPHS = {  # {WordNet id: class}; the first two in alphabetical order, the third in that of MTT
    "imagenette": {
        "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player",
        "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn", "n03417042": "garbage truck",
        "n03425413": "gas pump", "n03445777": "golf ball", "n03888257": "parachute",
    },
    "imagewoof": {
        "n02086240": "Shih-Tzu", "n02087394": "Rhodesian ridgeback", "n02088364": "beagle",
        "n02089973": "English foxhound", "n02093754": "Border terrier", "n02096294": "Australian terrier",
        "n02099601": "golden retriever", "n02105641": "Old English sheepdog", "n02111889": "Samoyed",
        "n02115641": "dingo",
    },
    "imagesquawk": {
        "n01806143": "peacock", "n02007558": "flamingo", "n01818515": "macaw", "n02051845": "pelican",
        "n02056570": "king penguin", "n01614925": "bald eagle", "n01843383": "toucan", "n01518878": "ostrich",
        "n01860187": "black swan", "n01819313": "cockatoo",
    },
}  # fmt: skip


def digits(source: Source, root: Path) -> tuple[ImageSet, ImageSet]:
    """500 of scikit-learn's digits, drawn with a fixed seed and the same share of every class, are the test set."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).long()
    rows = train_test_split(torch.arange(len(labels)), test_size=500, stratify=labels, random_state=0)
    return tuple(ImageSet(images[r], labels[r], DIGITS, source.name, mirror=False) for r in rows)


def mnist(source: Source, root: Path) -> tuple[ImageSet, ImageSet]:
    """MNIST or Fashion-MNIST by torchvision."""
    from torchvision.datasets import MNIST, FashionMNIST

    kind = MNIST if source.name == "mnist" else FashionMNIST
    with arriving(source, root):
        drop_cut_short(root / kind.__name__ / "raw")
        parts = [kind(root, train=train, download=True) for train in (True, False)]
    classes = DIGITS if kind is MNIST else tuple(kind.classes)
    mirror = kind is not MNIST  # the field leaves flips out for MNIST and SVHN only
    return tuple(ImageSet(p.data.unsqueeze(1), p.targets, classes, source.name, mirror=mirror) for p in parts)


def svhn(source: Source, root: Path) -> tuple[ImageSet, ImageSet]:
    """SVHN by torchvision, without its extra part; the digit 0 is class 0."""
    from torchvision.datasets import SVHN

    with arriving(source, root):
        parts = [SVHN(root, split, download=True) for split in ("train", "test")]
    return tuple(
        ImageSet(torch.from_numpy(p.data).contiguous(), torch.from_numpy(p.labels), DIGITS, source.name, mirror=False)
        for p in parts
    )


def cifar(source: Source, root: Path) -> tuple[ImageSet, ImageSet]:
    """CIFAR-10 or CIFAR-100 (fine labels) by torchvision."""
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = CIFAR10 if source.name == "cifar10" else CIFAR100
    with arriving(source, root):
        parts = [kind(root, train=train, download=True) for train in (True, False)]
    return tuple(
        ImageSet(
            torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(),  # [N, H, W, 3] -> [N, 3, H, W]
            torch.tensor(part.targets), tuple(part.classes), source.name,
        )
        for part in parts
    )  # fmt: skip


def photographs(source: Source, root: Path, *, size: int = 128, resize: str | None = None):
    """Ten classes of ImageNet from an archive with train/<WordNet id> and val/<WordNet id>."""
    with arriving(source, root):
        folder = unpacked(source, root)
    return load_imagefolder(folder, size=size, resize=resize, classes=PHOTOGRAPHS[source.name], name=source.name)


def imagesquawk(source: Source, root: Path, *, size: int = 128, resize: str | None = None):
    """Ten birds from an ImageNet of the user's: the folder `imagenet`, or a link of that name."""
    folder = root / "imagenet"
    if not folder.is_dir():
        raise DataDamError(f"there is no folder {folder.resolve()}; {advice(source, root)}")
    return load_imagefolder(folder, size=size, resize=resize, classes=PHOTOGRAPHS[source.name], name=source.name)


def tinyimagenet(source: Source, root: Path) -> tuple[ImageSet, ImageSet]:
    """From the unpacked folder if there is one, else straight from the zip: 120,000 files fewer."""
    path = root
    if not (root / TINY).is_dir():
        with arriving(source, root):
            path = archive(source, root)
    return read_images(path, _tiny_listing, name=source.name, within=(TINY,))


def _tiny_listing(files: Files) -> Listing:
    """Classes in the order of wnids.txt; val/, with its labels in val_annotations.txt, is the test set."""
    wnids, words = _columns(files, "wnids.txt"), _columns(files, "words.txt")
    annotated = _columns(files, "val/val_annotations.txt")
    rows = {"train": [], "test": []}
    for name in sorted(files.stamps):
        match name.split("/"):
            case [_, "train", wnid, "images", image] if not image.startswith("."):
                rows["train"].append((name, wnid))
            case [_, "val", "images", image] if not image.startswith("."):
                rows["test"].append((name, annotated.pop(image, None)))
    label = {wnid: k for k, wnid in enumerate(wnids)}
    problems = [] if wnids else ["wnids.txt is empty"]
    problems += [f"{name} is of no class" for part in rows.values() for name, wnid in part if wnid not in label]
    problems += [f"val/images/{image} is missing" for image in annotated]
    for split, part in rows.items():
        problems += [f"class {wnid} has no {split} images" for wnid in sorted(label.keys() - {w for _, w in part})]
    if problems:
        raise DataDamError(f"{files.path}: {problems[0]}; expected all that is in {TINY}.zip. Unpack it again.")
    return (
        {split: [(name, label[wnid]) for name, wnid in part] for split, part in rows.items()},
        tuple(words.get(wnid, wnid).split(",")[0] for wnid in wnids),
    )


def _columns(files: Files, name: str) -> dict[str, str]:
    """Map the first to the second of the columns of a text file, separated by tabs."""
    try:
        lines = files.read(f"{TINY}/{name}").decode().splitlines()
    except Exception as error:  # zipfile, zlib and the file system raise their own
        raise DataDamError(
            f"{files.path}: {TINY}/{name} can't be read ({error}); expected all that is in {TINY}.zip. Unpack it again."
        ) from error
    return {cells[0]: "".join(cells[1:2]) for cells in (line.split("\t") for line in lines) if cells[0].strip()}


def imagenet64(source: Source, root: Path) -> tuple[ImageSet, ImageSet]:
    """The official batches. Needs 32 GB of memory."""
    names = [f"train_data_batch_{i}" for i in range(1, 11)], ["val_data"]
    missing = [name for part in names for name in part if not (root / source.name / name).is_file()]
    if missing:
        raise DataDamError(f"{source.name} lacks {missing[0]}; {advice(source, root)}")
    classes = tuple(str(k + 1) for k in range(source.classes))  # the numbers of the official map_clsloc.txt
    parts = []
    for part in names:
        images, labels = zip(*(_batch(root / source.name / name) for name in bar(part, desc=source.name)), strict=True)
        parts.append(ImageSet(torch.cat(images), torch.cat(labels), classes, source.name))
    return tuple(parts)


def _batch(file: Path) -> tuple[UInt8[Tensor, "n 3 64 64"], Int64[Tensor, " n"]]:
    """Images and labels of one batch of downsampled ImageNet: a pickle of rows of RGB planes, labels from 1."""
    try:
        with open(file, "rb") as opened:
            batch = ArraysOnly(opened, encoding="latin1").load()
        data, labels = (v.numpy() if isinstance(v, Array) else np.asarray(v) for v in (batch["data"], batch["labels"]))
        if data.dtype != np.uint8 or labels.ndim != 1 or data.shape != (len(labels), 3 * 64 * 64):
            raise ValueError(f"data is {data.dtype} of shape {list(data.shape)}, with {len(labels)} labels")
        if labels.dtype.kind not in "iu" or not 1 <= labels.min() <= labels.max() <= 1000:
            raise ValueError("labels are not whole numbers from 1 to 1000")
    except Exception as error:  # what a damaged pickle raises can be anything
        raise DataDamError(
            f"{file} is not a batch of downsampled ImageNet ({type(error).__name__}: {error}); expected data, uint8 "
            "[N, 12288], and N labels from 1 to 1000. Download it again."
        ) from error
    images = torch.from_numpy(data).reshape(-1, 3, 64, 64)
    return images, torch.from_numpy(labels.astype(np.int64)) - 1


class Array:
    """Stands for a NumPy array in a pickle; NumPy's own way to rebuild one can crash on a damaged file."""

    def __setstate__(self, state: tuple):
        _, self.shape, self.dtype, self.column_major, self.bytes = state

    def numpy(self) -> np.ndarray:
        """Return the array; raises ValueError unless it holds whole numbers."""
        if not re.fullmatch(r"[|<>=][iu][1248]", self.dtype.order + self.dtype.code):
            raise ValueError(f"an array of type {self.dtype.code!r}, not of whole numbers")
        data = self.bytes.encode("latin1") if isinstance(self.bytes, str) else self.bytes  # str if by Python 2
        flat = np.frombuffer(bytearray(data), self.dtype.order + self.dtype.code)
        return flat.reshape(self.shape, order="F" if self.column_major else "C")


class Dtype:
    """Stands for the type of an array: a code such as u1, and the order of its bytes."""

    def __init__(self, code: str, *_):
        self.code = code

    def __setstate__(self, state: tuple):
        self.order = state[1]


def _from_buffer(buffer: bytes | bytearray, dtype: Dtype, shape: tuple, order: str) -> Array:
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", buffer))
    return array


class ArraysOnly(pickle.Unpickler):
    """An unpickler of arrays and plain containers: any other pickle could run any program."""

    KNOWN: ClassVar = {
        "numpy.ndarray": Array, "numpy.dtype": Dtype, "_codecs.encode": lambda text, _: text.encode("latin1"),
        "numpy.core.multiarray._reconstruct": lambda *_: Array(), "numpy.core.numeric._frombuffer": _from_buffer,
    }  # fmt: skip

    def find_class(self, module: str, name: str):
        """Return what stands for this part of an array.

        Raises: pickle.UnpicklingError for anything else.
        """
        full = f"{module}.{name}".replace("numpy._core.", "numpy.core.")  # NumPy 2, NumPy 1
        if full not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only arrays are safe to unpickle")
        return self.KNOWN[full]
