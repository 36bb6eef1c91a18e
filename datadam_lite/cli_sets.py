"""Commands that make, read and write sets: coreset, convert, show."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from datadam_lite import cli_options as option
from datadam_lite import foreign
from datadam_lite.coresets import CORESETS, select
from datadam_lite.data import ImageSet, load
from datadam_lite.errors import DataDamError, known, positive
from datadam_lite.foreign_files import is_safetensors
from datadam_lite.foreign_labels import counts
from datadam_lite.foreign_space import SPACES
from datadam_lite.preprocess import Preprocess
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


def coreset_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"How to choose: {', '.join(CORESETS)}.")],
    data: option.Data,
    ipc: Annotated[int, typer.Option(help="Images per class to choose.")] = 1,
    out: Annotated[Path, typer.Option(help="File to write. It contains real images of the data set.")] = Path(
        "coreset.safetensors"
    ),
    seed: Annotated[int, typer.Option(help="Two runs with one seed choose the same images.")] = 0,
    features: Annotated[
        str | None,
        typer.Option(help="For k_center, herding, k_means: embed by a random network (the default) or a trained one."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, where a network is trained; by default 20.")] = None,
    width: Annotated[int | None, typer.Option(help="Width of that network; by default 128.")] = None,
    zca: Annotated[bool, typer.Option("--zca", help="Keep the images whitened, as for CIFAR in DataDAM.")] = False,
    root: option.Root = "data",
    size: option.Size = None,
    resize: option.Resize = None,
    mirror: option.Mirror = None,
    device: option.Device = None,
    precision: option.Precision = "float32",
    compile: option.Compile = False,
    overwrite: option.Overwrite = False,
):  # fmt: skip
    """Choose real images: the baseline that every distilled set has to beat.

    The file contains real images of the data set: share it only where you may share those.
    """
    option.refuse_existing(out, overwrite=overwrite)
    known(name, CORESETS, "coreset")
    asked = {"features": features, "epochs": epochs, "width": width}
    options = _embedding(name, **asked, settings=Settings(device, precision, compile))
    train, _ = load(data, root, size=size, resize=resize, mirror=mirror)
    rows = select(name, train, ipc, seed, **options)
    plain = {key: value for key, value in options.items() if key != "settings"}
    made = {"method": name, "ipc": ipc, "seed": seed, "data_sha256": train.sha256, "coreset": plain}
    SyntheticSet.from_real(train, rows, Preprocess.fit(train, zca=zca), **made).save(out)
    print(f"{out}: {len(rows)} real images of {train.name}, chosen by {name}")


def _embedding(
    name: str, *, features: str | None, epochs: int | None, width: int | None, settings: Settings
) -> dict:
    """Return the options of a coreset, or say which of those given it does not take."""
    learns = name == "forgetting"
    takes = {"random": (), "forgetting": ("epochs", "width")}.get(name, ("features", "epochs", "width"))
    for given, value in {"features": features, "epochs": epochs, "width": width}.items():
        if value is not None and given not in takes:
            raise DataDamError(f"{name} takes no --{given}; leave it out.")
    known(features or "random", ("random", "trained"), "features")
    if epochs is not None and not learns and features != "trained":
        raise DataDamError("random features are not trained: leave --epochs out, or give --features trained.")
    if not takes:
        return {}
    width, epochs = 128 if width is None else width, 20 if epochs is None else epochs
    positive(width=width, epochs=epochs)
    trains = learns or features == "trained"
    return {"width": width, "epochs": epochs if trains else 0, "settings": settings}


def convert_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A set of another toolkit, or of this package.")],
    out: Annotated[Path, typer.Option(help="File (or folder) to write.")],
    layout: Annotated[
        str,
        typer.Option(
            "--to", help="safetensors: this package's, which keeps everything. For other toolkits: data (a result as "
            "of DC, DM and DataDAM), pair (…images….pt and …labels….pt), folder (of PNGs, by class).",
        ),
    ] = "safetensors",
    data: option.MaybeData = None,
    preprocessing: option.Preprocessing = None,
    labels: option.Labels = None,
    soft: option.Soft = None,
    entry: option.Entry = -1,
    factor: option.Factor = 1,
    train_in: option.TrainIn = None,
    mirror: option.MirrorOfTheirs = None,
    root: option.Root = "data",
    size: option.Size = None,
    resize: option.Resize = None,
    overwrite: option.Overwrite = False,
):  # fmt: skip
    """Turn other people's files into sets that say how they must be used, and sets into other people's files.

    The data set is needed where the file does not hold all: for other people's files, and for --train-in.
    """
    known(layout, foreign.LAYOUTS, "layout")
    beside = out.with_name(out.name.replace("images", "labels")) if layout == "pair" else None
    option.refuse_existing(out, beside, overwrite=overwrite)
    if layout == "folder" and out.exists():
        raise DataDamError(f"{out} exists, and a folder is never replaced; choose another --out.")
    train = load(data, root, size=size, resize=resize, mirror=mirror)[0] if data else None
    reading = {"preprocessing": preprocessing, "labels": labels, "soft": soft, "entry": entry}
    chosen = read_set(file, train, factor=factor, train_in=train_in, **reading)
    print(show_card(card(file, chosen)))
    foreign.write(chosen, out, layout)
    print(f"written to     {out}" + (f" and {beside}" if beside else ""))


def show_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A set of this package, or a file of another toolkit.")],
    out: Annotated[Path | None, typer.Option(help="Picture to write; by default beside a set of this package.")] = None,
    overwrite: option.Overwrite = False,
):
    """Say what a file is, how it was made and which preprocessing it needs; draw a set of this package."""
    option.refuse_existing(out, overwrite=overwrite)
    if not is_safetensors(file):
        if out:
            raise DataDamError(
                f"{file} can't be drawn, as it does not say which preprocessing to undo; 'datadam convert' makes a "
                "set of it that can be."
            )
        print(foreign.describe(file))
        return
    chosen, target = SyntheticSet.load(file), out or file.with_name(f"{file.name.removesuffix('.safetensors')}.png")
    made = chosen.provenance
    print(show_card(card(file, chosen)))
    if "iterations" in made:
        print(f"iterations     {made['iterations']}, the images moved {made['moved']:.2f} (root mean square)")
    for name, value in made.get("recipe", {}).items():
        print(f"  {name:<18} {value}")
    if target.exists() and not overwrite:
        print(f"picture        {target} is there already (--overwrite draws it again)")
        return
    from datadam_lite.plots import picture, style

    style()
    picture(chosen, target)
    print(f"picture        {target}")


# ---- reading, and saying what was read


def read_set(
    file: Path, train: ImageSet | None, *, factor: int = 1, train_in: str | None = None, **reading
) -> SyntheticSet:
    """Read a set, ours or not; train: may be None where the file holds everything.

    factor: as in `foreign.decode`; train_in: a space to carry the images into; reading: as in `foreign.read`.

    Raises: DataDamError as `foreign.read` does, or if the data set is needed and not given.

    >>> import tempfile
    >>> train, _ = load("digits")
    >>> rows = select("random", train, 4)
    >>> chosen = SyntheticSet.from_real(train, rows, Preprocess.fit(train))
    >>> file = chosen.save(Path(tempfile.mkdtemp()) / "real.safetensors")
    >>> read_set(file, None).ipc, read_set(file, None, factor=2).ipc
    (4.0, 16.0)
    """
    if train is None and (train_in or not is_safetensors(file)):
        raise DataDamError(f"{file} does not say all that is needed; give the data set it was distilled from, --data.")
    chosen = foreign.read(file, train, **reading) if train else SyntheticSet.load(file)
    if factor != 1:
        chosen = foreign.decode(chosen, factor)
    return foreign.into(chosen, known(train_in, SPACES, "space to train in")(train)) if train_in else chosen


def card(file: Path, chosen: SyntheticSet) -> dict:
    """Return what is known of a set, and from whom, as text by name.

    >>> train, _ = load("digits")
    >>> chosen = SyntheticSet.from_real(train, select("random", train, 2), Preprocess.fit(train), method="random")
    >>> card(Path("real"), chosen)["images"]
    '20 of [1, 8, 8], 2 of each of 10 classes, class by class'
    """
    made = chosen.provenance
    origin = "of unknown origin" if made.get("method") in (None, "unknown") else f"made by {made['method']}"
    seed = f", seed {made['seed']}" if "seed" in made else ""
    held = chosen.labels.bincount(minlength=len(chosen.classes)).tolist()
    about = {
        "file": str(file),
        "what": f"{origin} from {made.get('data')}{seed}" + (f"; {made['layout']}" if "layout" in made else ""),
        "images": f"{len(chosen)} of {list(chosen.images.shape[1:])}, {counts(chosen.labels, len(chosen.classes))}",
        "preprocessing": str(chosen.preprocess),
        "known from": made.get("preprocessing", "the file itself, from when it was made"),
    }
    optional = {"decoded": made.get("decoded"), "labels": made.get("labels"), "sha256 of": made.get("files_sha256")}
    if is_safetensors(file):
        optional["sha256 of"] = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
    if len(set(held)) > 1:
        optional["per class"] = dict(zip(chosen.classes, held, strict=True))
    return about | {key: value for key, value in optional.items() if value}


def show_card(about: dict) -> str:
    """Return a card as text, a line for each entry.

    >>> print(show_card({"file": "a.pt", "per class": {"cat": 1, "dog": 2}}))
    file           a.pt
    per class      cat 1, dog 2
    """
    plain = {
        key: ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        for key, value in about.items()
    }
    return "\n".join(f"{key:<14} {value}" for key, value in plain.items())
