"""Commands that train fresh networks on sets: evaluate, cross-architecture."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from datadam_lite import cli_options as option
from datadam_lite.cli_sets import card, read_set, show_card
from datadam_lite.coresets import random
from datadam_lite.data import ImageSet, load
from datadam_lite.distributed import first_alone, rank
from datadam_lite.errors import DataDamError, known, positive
from datadam_lite.evaluate import accuracy, cross_architecture
from datadam_lite.files import replacing
from datadam_lite.foreign import read_network
from datadam_lite.foreign_files import is_safetensors
from datadam_lite.foreign_space import SPACES
from datadam_lite.networks import NETWORKS
from datadam_lite.protocol import PROTOCOLS, Protocol
from datadam_lite.report import Report, table
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


def evaluate_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="A set, or several made by one method from several seeds; ours or not."),
    ],
    data: option.Data,
    networks: option.Networks = 5,
    protocol: option.ProtocolName = "fixed",
    epochs: option.Epochs = None,
    width: option.Width = None,
    depth: option.Depth = None,
    norm: option.Norm = None,
    baselines: option.Baselines = True,
    out: option.Json = None,
    overwrite: option.Overwrite = False,
    root: option.Root = "data",
    size: option.Size = None,
    resize: option.Resize = None,
    device: option.Device = None,
    precision: option.Precision = "float32",
    compile: option.Compile = False,
    preprocessing: option.Preprocessing = None,
    labels: option.Labels = None,
    soft: option.Soft = None,
    entry: option.Entry = -1,
    factor: option.Factor = 1,
    train_in: option.TrainIn = None,
    mirror: option.MirrorOfTheirs = None,
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen", rich_help_panel=option.THEIRS,
            help="FILE holds trained weights of a ConvNet: test that network as it is.",
        ),
    ] = False,
):  # fmt: skip
    """Train fresh networks on a set and test them on real images, beside honest baselines under the same protocol.

    Several files count as n sets of one method: the interval is over sets, not over networks.
    """
    option.refuse_existing(out, overwrite=overwrite, option="--json")
    settings = Settings(device, precision, compile)
    with first_alone():
        train, test = load(data, root, size=size, resize=resize, mirror=mirror)
    if frozen:
        option.refuse_given("a frozen network is tested as it is", epochs=epochs, depth=depth, norm=norm, labels=labels)
        return _frozen(files, train, test, preprocessing, settings, out)
    if any(map(is_safetensors, files)):
        option.refuse_given("a set of this package says itself whether images may be mirrored", mirror=mirror)
    reading = {"preprocessing": preprocessing, "labels": labels, "soft": soft, "entry": entry}
    sets = [read_set(file, train, factor=factor, train_in=train_in, **reading) for file in files]
    chosen = _protocol(protocol, sets[0], epochs=epochs, width=width, depth=depth, norm=norm)
    trial = _Trial(chosen, [chosen.network], networks, settings)
    return _evaluate(trial, _candidates(files, sets, train, baselines), test, _cards(files, sets), out)


def cross_architecture_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="A set of this package, or several made by one method.")
    ],
    data: option.Data,
    architectures: Annotated[
        str, typer.Option("--architectures", help=f"Which networks, with commas: of {', '.join(NETWORKS)}.")
    ] = "convnet,alexnet,vgg11,resnet18",
    networks: option.Networks = 5,
    protocol: option.ProtocolName = "fixed",
    epochs: option.Epochs = None,
    width: option.Width = None,
    depth: option.Depth = None,
    norm: option.Norm = None,
    baselines: option.Baselines = True,
    out: option.Json = None,
    overwrite: option.Overwrite = False,
    root: option.Root = "data",
    size: option.Size = None,
    resize: option.Resize = None,
    device: option.Device = None,
    precision: option.Precision = "float32",
    compile: option.Compile = False,
):
    """Train networks of other architectures on a set: does it serve only the one it was distilled with?

    The ConvNet has the protocol's norm, the others batch norm. Make sets of other people's files by 'datadam convert'.
    """
    option.refuse_existing(out, overwrite=overwrite, option="--json")
    names = [name.strip() for name in architectures.split(",") if name.strip()]
    if not names:
        raise DataDamError(f"--architectures names no network; the known ones are {', '.join(NETWORKS)}.")
    with first_alone():
        train, test = load(data, root, size=size, resize=resize)
    sets = [SyntheticSet.load(file) for file in files]
    chosen = _protocol(protocol, sets[0], epochs=epochs, width=width, depth=depth, norm=norm)
    trial = _Trial(chosen, names, networks, Settings(device, precision, compile))
    _evaluate(trial, _candidates(files, sets, train, baselines), test, _cards(files, sets), out)


@dataclass(frozen=True)
class _Trial:
    """What candidates are put to: a protocol, with networks of these architectures, so many for each set."""

    protocol: Protocol
    architectures: list[str]
    networks: int
    settings: Settings


def _evaluate(
    trial: _Trial, candidates: dict[str, list[SyntheticSet]], test: ImageSet, cards: list[dict], out: Path | None
) -> None:
    """Print a table row for each candidate as soon as it is known; write all of it to `out`, if given."""
    print(f"protocol: {trial.protocol.name}\n\n{table({})}")
    rows, options = [], {"networks": trial.networks, "protocol": trial.protocol, "settings": trial.settings}
    for label, sets in candidates.items():
        for name, report in cross_architecture(sets, test, trial.architectures, **options).items():
            title = label if len(trial.architectures) == 1 else f"{label}, {name}"
            print(table({title: report}).splitlines()[-1])  # as soon as it is known
            about = {"dataset": test.name, "method": label, "recipe": sets[0].provenance.get("method"), "network": name}
            about |= {"ipc": sets[0].ipc, "protocol": trial.protocol.name, "scale": trial.settings.torch_device().type}
            rows.append(about | report.record())
    if out:
        record = {"rows": rows, "protocol": asdict(trial.protocol), "files": cards}
        _write(out, record | {"test_sha256": test.sha256, "numerics": trial.settings.numerics()})


def _write(out: Path, record: dict) -> None:
    if rank():
        return
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _cards(files: Sequence[Path], sets: Sequence[SyntheticSet]) -> list[dict]:
    cards = [card(file, chosen) for file, chosen in zip(files, sets, strict=True)]
    for one in cards:
        print(f"{show_card(one)}\n")
    return cards


def _protocol(name: str, chosen: SyntheticSet, **wanted) -> Protocol:
    """Return the protocol of that name with what was changed in its name; the width is that of the set's recipe."""
    protocol = known(name, PROTOCOLS, "protocol")
    if wanted["width"] is None:
        wanted["width"] = chosen.provenance.get("recipe", {}).get("width")
    changes = {key: value for key, value in wanted.items() if value not in (None, getattr(protocol, key))}
    if "epochs" in changes and protocol.drop_after:  # at the same share of the epochs
        positive(epochs=changes["epochs"])
        changes["drop_after"] = max(1, protocol.drop_after * changes["epochs"] // protocol.epochs)
    changed = replace(protocol, **changes)
    said = {"epochs": f"{changed.epochs} epochs"}
    said |= {key: f"{key} {getattr(changed, key)}" for key in ("width", "depth", "norm")}
    return replace(changed, name=", ".join([name, *(text for key, text in said.items() if key in changes)]))


# ---- what is compared


def _candidates(
    files: Sequence[Path], sets: Sequence[SyntheticSet], train: ImageSet, baselines: bool
) -> dict[str, list[SyntheticSet]]:  # fmt: skip
    """Return the sets under a name, and under names of their own their initial images and random real ones."""
    _check_alike(files, sets)
    candidates = {_label(sets[0]): list(sets)}
    if baselines:
        if starts := [chosen.initial(train) for chosen in sets if _has_start(chosen)]:
            candidates["its initial images"] = starts
        first = 1 + max(chosen.provenance.get("seed", -1) for chosen in sets)  # not the sets' own starts
        candidates["random real images"] = [random_like(chosen, train, first + i) for i, chosen in enumerate(sets)]
    return candidates


def random_like(chosen: SyntheticSet, train: ImageSet, seed: int) -> SyntheticSet:
    """Return random real images, as many of each class as a set has, in its space.

    Raises: DataDamError if the set is of other classes, or a class has too few images.

    >>> from datadam_lite.preprocess import Preprocess
    >>> train, _ = load("digits")
    >>> chosen = SyntheticSet.from_real(train, torch.tensor([0, 1, 2]), Preprocess.fit(train))
    >>> bool((random_like(chosen, train, 0).labels == chosen.labels.sort().values).all())
    True
    """
    if chosen.classes != train.classes:
        raise DataDamError(f"the set is not of the classes of {train.name}; give the data set it was distilled from.")
    held = chosen.labels.bincount(minlength=len(train.classes))
    of_class = random(train, int(held.max()), seed).reshape(len(held), -1)  # (K, most)
    rows = torch.cat([rows[:n] for rows, n in zip(of_class, held, strict=True)])
    return replace(SyntheticSet.from_real(train, rows, chosen.preprocess, method="random"), mirror=chosen.mirror)


def _has_start(chosen: SyntheticSet) -> bool:
    """Whether it was distilled from real images that are recorded; a coreset is its own start."""
    return chosen.initial_rows is not None and "recipe" in chosen.provenance


def _label(chosen: SyntheticSet) -> str:
    if "recipe" in chosen.provenance:
        return "distilled"
    method = chosen.provenance.get("method")
    return "as in the file" if method in (None, "unknown") else f"{method} (real images)"


def _check_alike(files: Sequence[Path], sets: Sequence[SyntheticSet]) -> None:
    """Refuse what would make an interval over sets wrong: another method, or the same images twice."""
    for i, (file, chosen) in enumerate(zip(files, sets, strict=True)):
        for other_file, other in zip(files[:i], sets[:i], strict=True):
            if _made(chosen) != _made(other):
                raise DataDamError(
                    f"{other_file} and {file} were not made the same way (data, method, recipe or images per class "
                    "differ): they are no two sets of one method. Evaluate them one at a time."
                )
            if torch.equal(chosen.images, other.images):
                raise DataDamError(f"{other_file} and {file} hold the same images; give sets of different seeds.")


def _made(chosen: SyntheticSet) -> tuple:
    made = [chosen.provenance.get(key) for key in ("data", "data_sha256", "method", "recipe", "coreset")]
    return (*made, chosen.labels.bincount().tolist())


# ---- networks that others trained


def _frozen(
    files: Sequence[Path], train: ImageSet, test: ImageSet, preprocessing: str | None, settings: Settings,
    out: Path | None,
) -> None:  # fmt: skip
    """Test trained networks as they are, in the space they were trained in."""
    if preprocessing is None:
        raise DataDamError(
            "a network's file does not say in which space it was trained; state it as --preprocessing, one of "
            f"{', '.join(SPACES)}."
        )
    images = known(preprocessing, SPACES, "preprocessing")(train).apply(test.images)
    networks = [read_network(file, train.shape, len(train.classes)) for file in files]
    print(f"trained networks as they are; preprocessing {preprocessing}, stated by you\n\n{table({})}")
    rows = []
    for file, network in zip(files, networks, strict=True):
        report = Report([[accuracy(network.to(settings.torch_device()), images, test.labels)]])
        print(table({str(file): report}).splitlines()[-1])
        rows.append({"dataset": test.name, "network": str(file), "preprocessing": preprocessing, **report.record()})
    if out:
        _write(out, {"rows": rows, "test_sha256": test.sha256, "numerics": settings.numerics()})
