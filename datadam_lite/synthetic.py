"""The artefact: a small set of images that says how it was made and how it must be used."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from datadam_lite.checks import check_images, check_kind, check_labels, check_plain
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, check_type
from datadam_lite.files import replacing
from datadam_lite.preprocess import Preprocess

FORMAT = 1


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """A small training set: distilled, or real images chosen by a coreset.

    images: float [N, C, H, W] in the space networks see; labels: int64 [N]; classes: their names;
    preprocess: how real images get into that space; mirror: as in ImageSet; provenance: plain values;
    initial_rows: which real training images it started from, [N]; losses: [iterations, terms].

    Raises: DataDamError if the images are not such a tensor, or there is not one label for each.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]
    preprocess: Preprocess
    mirror: bool = True
    provenance: dict = field(default_factory=dict)
    initial_rows: Int64[Tensor, " n"] | None = None
    losses: Float[Tensor, "iterations terms"] | None = None

    def __post_init__(self):
        check_kind("images", self.images, Tensor, "of a NumPy array: torch.from_numpy(array).")
        check_kind("classes", self.classes, tuple, "of a list: tuple(classes).")
        if self.images.ndim != 4 or self.images.dtype != torch.float32:
            raise DataDamError(
                "the images of a set must be float32 of shape [N, C, H, W], preprocessed; received "
                f"{self.images.dtype} of shape {list(self.images.shape)}. Preprocess.apply takes uint8 there."
            )
        check_type("mirror", self.mirror, bool)
        check_labels(self.labels, self.images, self.classes)

    @classmethod
    def from_real(cls, train: ImageSet, rows: Tensor, preprocess: Preprocess, **provenance) -> "SyntheticSet":
        """Return the real training images of these rows, as a set to train on.

        Raises: DataDamError if an argument is of another kind.

        >>> from datadam_lite.coresets import random
        >>> from datadam_lite.data import load
        >>> train, _ = load("digits")
        >>> SyntheticSet.from_real(train, random(train, 2), Preprocess.fit(train)).ipc
        2.0
        """
        check_images("train", train)
        check_kind("preprocess", preprocess, Preprocess, "fit one: dd.Preprocess.fit(train).")
        return cls(
            preprocess.apply(train.images[rows]), train.labels[rows], train.classes, preprocess,
            train.mirror, {"data": train.name, **provenance}, rows,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.images)

    @property
    def ipc(self) -> float:
        """Images per class."""
        return len(self) / len(self.classes)

    def pixels(self) -> Float[Tensor, "n c h w"]:
        """Return the images as colours in [0, 1]: preprocessing undone, then clamped."""
        return self.preprocess.invert(self.images).clamp(0, 1)

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file: equal sets give equal bytes.

        Raises: DataDamError if the disk refuses, or the provenance holds what a file can't; a file that stood there is
        then untouched.
        """
        check_plain(self.provenance)
        tensors = {"images": self.images, "labels": self.labels}
        tensors |= {f"preprocess.{name}": t for name, t in self.preprocess.tensors().items()}
        optional = {"initial_rows": self.initial_rows, "losses": self.losses}
        tensors |= {name: t for name, t in optional.items() if t is not None}
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        about = {"classes": self.classes, "mirror": self.mirror, "provenance": self.provenance}
        text = json.dumps({"format": FORMAT, "sha256": _sha256(about, tensors), **about}, sort_keys=True)
        content = save(tensors, {"datadam_lite": text})  # one entry: several come out in any order
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "SyntheticSet":
        """Read a file written by `save`.

        Raises: DataDamError if it is missing, truncated, damaged, or not such a file.
        """
        if not Path(path).is_file():
            raise DataDamError(f"there is no file {path}; expected a distilled set written by 'datadam distill'.")
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["datadam_lite"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about["format"] != FORMAT:
                raise DataDamError(f"{path} has format {about['format']}; this version reads format {FORMAT}.")
            if about["sha256"] != _sha256({key: about[key] for key in ("classes", "mirror", "provenance")}, tensors):
                raise DataDamError(f"{path} is damaged: its checksum is not that of its content. Get it once more.")
            labels, classes = tensors["labels"], tuple(about["classes"])
            if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
                raise DataDamError(f"{path}: labels must lie in 0 … {len(classes) - 1} ({len(classes)} classes).")
            prefix = "preprocess."
            preprocess = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            return cls(
                tensors["images"], labels, classes, Preprocess.from_tensors(preprocess),
                about["mirror"], about["provenance"], tensors.get("initial_rows"), tensors.get("losses"),
            )  # fmt: skip
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, OSError) as error:
            raise DataDamError(
                f"{path} is not a complete distilled set ({type(error).__name__}: {error}); "
                "expected a safetensors file written by 'datadam distill'."
            ) from error

    def initial(self, train: ImageSet) -> "SyntheticSet":
        """Return the real images this set started from.

        Raises: DataDamError if it did not start from real images, or `train` is another data set.
        """
        check_images("train", train)
        if self.initial_rows is None:
            raise DataDamError("this set did not start from real images, or not from unchanged ones: see its recipe.")
        recorded = self.provenance.get("data_sha256")
        if recorded != train.sha256:
            raise DataDamError(
                f"the initial images are rows of the training set with sha256 {str(recorded)[:12]}…; "
                f"received {train.name} with sha256 {train.sha256[:12]}…. Load the data set it was distilled from."
            )
        start = SyntheticSet.from_real(train, self.initial_rows, self.preprocess, method="initial")
        return replace(start, mirror=self.mirror)


def _sha256(about: dict, tensors: dict[str, Tensor]) -> str:
    """Checksum of all that a file holds."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
