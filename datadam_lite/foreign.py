"""Other people's distilled sets: read them, say what they are, and write ours as their toolkits read them.

Nothing in the field's files says which preprocessing their images had, and nobody can tell for sure
by looking at them. So whoever reads a file states it, and the set that is returned keeps it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, check_type, known
from datadam_lite.files import replacing
from datadam_lite.foreign_files import find, is_safetensors, raw, tensors
from datadam_lite.foreign_labels import class_numbers, counts, in_class_order, kind, of_folders
from datadam_lite.foreign_space import certain, field_constants, note, spread, state
from datadam_lite.foreign_weights import read_network
from datadam_lite.initial import reexpress
from datadam_lite.preprocess import Preprocess
from datadam_lite.synthetic import SyntheticSet

__all__ = ["LAYOUTS", "decode", "describe", "into", "read", "read_network", "write"]
CLASS_ORDER = "class order"


def read(
    path: str | Path, train: ImageSet, *, preprocessing: str | Preprocess | None = None,
    labels: str | Path | None = None, soft: str | None = None, entry: int = -1,
) -> SyntheticSet:
    """Read a distilled set written by another toolkit, or by this one.

    path: results of DC, DSA, DM, DataDAM, IDC or DREAM, bare tensors (MTT, DC-Bench) with their labels in a file
    beside them, KIP's npz, a folder of one folder of pictures per class, or our safetensors;
    train: the data set it was distilled from, which gives the classes;
    preprocessing: what had been done to the numbers in the file: "none" (pixels in [0, 1]), "field" (the mean and
    std of released code), "exact" (those of `train`), "zca" (field, then whitened, as DataDAM's code), "zca-exact"
    (exact, then whitened, as the recipes here), "zca-pixels" (whitened alone, as MTT's), or a Preprocess;
    labels: the file that holds them, or "class order" if the file has none and its images go class by class;
    soft: "argmax" turns soft labels into the class they favour; entry: which of several sets, -1 the last.

    Raises: DataDamError if the file would run code, does not fit the data set, or leaves a question open.

    >>> import tempfile
    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> theirs = Preprocess.fit(train).apply(train.images[random(train, 1)])
    >>> file = Path(tempfile.mkdtemp()) / "res_DM_digits_ConvNet_1ipc.pt"
    >>> torch.save({"data": [[theirs, torch.arange(10)]]}, file)
    >>> read(file, train, preprocessing="exact").provenance["preprocessing"]
    'exact: certain, undoing this mean and std gives whole numbers of 0 … 255'
    """
    check_type("entry", entry, int)
    if is_safetensors(path):
        if preprocessing is not None:
            raise DataDamError(f"{path} holds its own preprocessing; leave preprocessing={preprocessing!r} out.")
        if (labels, soft, entry) != (None, None, -1):
            raise DataDamError(f"{path} is a set of this package, with its labels; leave labels, soft and entry out.")
        own = SyntheticSet.load(path)
        if own.classes != train.classes or tuple(own.images.shape[1:]) != train.shape:
            raise DataDamError(
                f"{path} was not made from {train.name}: classes or image size differ. "
                "Load the data set it was distilled from."
            )
        return own
    implied = labels == CLASS_ORDER
    content = find(path, labels=None if implied else labels, entry=entry)
    images = channels_first(content.images, train.shape)
    if implied:
        hard = in_class_order(len(images), len(train.classes))
    elif content.labels is None:
        raise DataDamError(
            f"{path} holds images without labels, and no file of labels lies beside it. Give one (--labels FILE, or "
            f'labels=FILE in Python), or "{CLASS_ORDER}" for it if the images go class by class.'
        )
    elif content.names:
        hard = of_folders(content.labels, content.names, train)
    else:
        hard = class_numbers(content.labels, len(train.classes), soft)
    _check(images, hard, train)
    preprocess, stated = state(images, train, preprocessing, content.note)
    images = preprocess.apply(images) if images.dtype == torch.uint8 else images.float().contiguous()
    provenance = {
        "method": "unknown", "data": train.name, "read_from": Path(path).name, "layout": content.layout,
        "files_sha256": content.sha256(), "preprocessing": stated, "labels": _how(content.labels, hard, train),
    }  # fmt: skip
    return SyntheticSet(images, hard, train.classes, preprocess, train.mirror, provenance)


def channels_first(images: Shaped[Tensor, "n i j k"], shape: tuple[int, int, int]) -> Shaped[Tensor, "n c h w"]:
    """Return images as [N, C, H, W], whether the channels come first or last.

    Raises: DataDamError if they have another shape.

    >>> channels_first(torch.zeros(10, 32, 32, 3), (3, 32, 32)).shape
    torch.Size([10, 3, 32, 32])
    """
    for candidate in (images, images.permute(0, 3, 1, 2)):
        if tuple(candidate.shape[1:]) == shape:
            return candidate
    if shape[0] == 1 and (images.dtype, images.shape[1]) == (torch.uint8, 3):  # picture files, decoded to colours
        grey = channels_first(images[:, :1], shape)
        if bool((images == grey).all()):
            return grey
    raise DataDamError(
        f"expected images {list(shape)}, those of the data set; received {list(images.shape[1:])}. "
        "Give the data set the file was distilled from, at its resolution."
    )


def _check(images: Tensor, labels: Tensor, train: ImageSet) -> None:
    if len(images) != len(labels):
        raise DataDamError(f"expected one label for each image; received {len(images)} images, {len(labels)} labels.")
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise DataDamError(f"expected images of floating point or 8-bit pixels; received {images.dtype}.")
    if images.is_floating_point() and (wrong := int((~images.float().isfinite()).sum())):
        raise DataDamError(f"{wrong} values of the images are NaN or infinite; the run that made them diverged.")
    held = labels.bincount(minlength=len(train.classes))
    if missing := [name for name, n in zip(train.classes, held, strict=True) if not n]:
        raise DataDamError(
            f"the file has no image of {len(missing)} of {len(train.classes)} classes ({', '.join(missing[:6])}); "
            f"was it distilled from {train.name}?"
        )


def _how(stored: Tensor | None, hard: Tensor, train: ImageSet) -> str:
    origin = "implied by their order" if stored is None else f"stored as {kind(stored)}"
    return f"{origin}; {counts(hard, len(train.classes))}"


def decode(chosen: SyntheticSet, factor: int) -> SyntheticSet:
    """Cut each image into factor x factor tiles and enlarge each to a full image (IDC, DREAM, IDM and others).

    Their stored images hold factor² small ones; a file does not say so. Enlarging is bilinear; tiles keep the label
    and come row by row, so images per class grow by factor². Other methods at that ipc have factor² times the pixels.

    Raises: DataDamError if the images can't be cut into equal tiles.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    >>> chosen = SyntheticSet(x[None, None], torch.tensor([0]), ("a",), Preprocess(torch.zeros(1), torch.ones(1)))
    >>> decode(chosen, 2).images[:, 0, 0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    check_type("factor", factor, int)
    n, c, h, w = chosen.images.shape
    if factor < 1 or h % factor or w % factor:
        raise DataDamError(f"images of {h}x{w} pixels can't be cut into {factor} x {factor} equal tiles.")
    tiles = chosen.images.reshape(n, c, factor, h // factor, factor, w // factor)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # (N factor², C, H/factor, W/factor)
    return replace(
        chosen, images=F.interpolate(tiles, size=(h, w), mode="bilinear"),
        labels=chosen.labels.repeat_interleave(factor**2), initial_rows=None,
        provenance=chosen.provenance | {"decoded": f"each image cut into {factor} x {factor} and enlarged"},
    )  # fmt: skip


def into(chosen: SyntheticSet, preprocess: Preprocess) -> SyntheticSet:
    """Return the same pictures in the space of another preprocessing: pixels as stored become what networks see.

    IDC and others store plain pixels and normalise when they train: into(chosen, Preprocess.fit(train)).

    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> one, other = Preprocess.fit(train), Preprocess.fit(train, zca=True)
    >>> rows = random(train, 1)
    >>> moved = into(SyntheticSet.from_real(train, rows, one), other)
    >>> torch.allclose(moved.images, SyntheticSet.from_real(train, rows, other).images, atol=1e-4)
    True
    """
    images = reexpress(chosen.images, chosen.preprocess, preprocess)
    return replace(chosen, images=images, preprocess=preprocess)


def describe(path: str | Path) -> str:
    """Say what a file is, without its data set: layout, tensors, labels, and which preprocessing its values suggest.

    Raises: DataDamError if it can't be read without running code.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "data.pt"
    >>> torch.save([torch.rand(2, 3, 4, 4).clamp(0.1, 0.9), torch.tensor([0, 1])], file)
    >>> print(describe(file).splitlines()[-1])
    preprocessing  none is certain: all values lie in [0, 1]
    """
    if is_safetensors(path):
        own = SyntheticSet.load(path)
        shape = f"{len(own)} images {list(own.images.shape[1:])}, {counts(own.labels, len(own.classes))}"
        return f"{path}: a distilled set of this package\nimages         {shape}\npreprocessing  {own.preprocess}"
    try:
        content = find(path)
    except DataDamError as error:
        return f"{error}\n{_listing(tensors(raw(path)))}"  # what can't even be opened is refused again here
    found = {"images": content.images} | ({} if content.labels is None else {"labels": content.labels})
    lines = [f"{path}: {content.layout}", _listing(found), f"labels         {_labels(content.labels)}"]
    if content.note:
        lines.append(f"it says        {content.note}")
    lines += [f"sha256         {digest} {name}" for name, digest in content.sha256().items()]
    return "\n".join([*lines, f"preprocessing  {_suggested(content.images)}"])


def _listing(found: dict[str, Tensor], most: int = 40) -> str:
    lines = [f"{name:<14} {list(t.shape)} {str(t.dtype)[6:]}, {spread(t)}" for name, t in found.items()]
    return "\n".join(lines[:most] + [f"… and {len(lines) - most} more"] * (len(lines) > most))


def _labels(labels: Tensor | None) -> str:
    if labels is None:
        return f'not in this file nor beside it; perhaps implied by a "{CLASS_ORDER}"'
    stored = kind(labels)
    if not stored.startswith("one") or not len(labels) or labels.min() < 0 or labels.max() > 1e6:
        return stored
    hard = labels.long() if labels.ndim == 1 else labels.argmax(1)
    return f"{stored}: {counts(hard, int(hard.max()) + 1 if labels.ndim == 1 else labels.shape[1])}"


def _suggested(images: Tensor) -> str:
    if not images.numel():
        return "no images"
    if images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if seems := certain(images, field_constants()):
        names = "none" if "none" in seems else f"field (as for {', '.join(seems)})"
        return f"{names} is certain: {next(iter(seems.values()))}"
    return "not certain from the values alone: ask who made the file"


def write(chosen: SyntheticSet, path: str | Path, layout: str = "safetensors") -> Path:
    """Write a set as other toolkits read it; an interrupted write leaves what stood there.

    layout: "safetensors", ours, the only one that keeps everything; "data", a result dictionary as of DC, DM and
    DataDAM; "pair", bare tensors in `path`, whose name holds "images", and beside it for "labels" (MTT, DC-Bench,
    DataDAM's initial images); "folder", one folder of PNGs per class, named 00000, 00001, …: pixels clamped to
    [0, 1] and rounded to 8 bits. Tensors stay in the space networks see; "data" says in words which that is.

    Raises: DataDamError for an unknown layout, a folder that exists, or a disk that refuses.

    >>> import tempfile
    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> chosen = SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train))
    >>> file = write(chosen, Path(tempfile.mkdtemp()) / "digits_IPC1_images.pt", "pair")
    >>> sorted(f.name for f in file.parent.iterdir())
    ['digits_IPC1_images.pt', 'digits_IPC1_labels.pt']
    """
    known(layout, LAYOUTS, "layout")(chosen, Path(path))
    return Path(path)


def _write_data(chosen: SyntheticSet, path: Path) -> None:
    pair = [chosen.images.detach().cpu(), chosen.labels.cpu()]
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save({"data": [pair], "accs_all_exps": {}, "preprocessing": note(chosen.preprocess)}, file)


def _write_pair(chosen: SyntheticSet, path: Path) -> None:
    if "images" not in path.name:
        raise DataDamError(f'expected a file name that holds "images", such as images.pt; received {path.name}.')
    beside = path.with_name(path.name.replace("images", "labels"))
    with replacing(beside) as labels, replacing(path) as images, open(labels, "wb") as one, open(images, "wb") as other:
        torch.save(chosen.labels.cpu(), one)
        torch.save(chosen.images.detach().cpu().contiguous(), other)


def _write_folder(chosen: SyntheticSet, path: Path) -> None:
    from torchvision.transforms.functional import to_pil_image

    if path.exists():
        raise DataDamError(f"{path} exists; choose a folder that does not.")
    levels = (255 * chosen.pixels().detach().cpu()).round().to(torch.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".") as temporary:
            whole = Path(temporary) / path.name
            for i, (image, label) in enumerate(zip(levels, chosen.labels.tolist(), strict=True)):
                file = whole / f"{label:05d}" / f"{i:05d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                to_pil_image(image).save(file)
            whole.rename(path)
    except OSError as error:
        raise DataDamError(f"could not write {path}: {error.strerror or error}; nothing was left there. "
                           "Free some space or choose a folder you can write to.") from error  # fmt: skip


LAYOUTS: dict[str, Callable[[SyntheticSet, Path], object]] = {
    "safetensors": SyntheticSet.save, "data": _write_data, "pair": _write_pair, "folder": _write_folder,
}  # fmt: skip
