"""The command line: demo, distill, evaluate, show."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from datadam_lite.data import DATASETS, load
from datadam_lite.distill import distill
from datadam_lite.errors import DataDamError
from datadam_lite.evaluate import Protocol, Report, evaluate
from datadam_lite.files import replacing
from datadam_lite.recipes import RECIPES, recipe
from datadam_lite.settings import PRECISIONS, Settings
from datadam_lite.synthetic import SyntheticSet

app = typer.Typer(
    help="Distil a data set into a handful of images that train a network well (DataDAM, ICCV 2023).",
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
)  # fmt: skip

Data = Annotated[
    str,
    typer.Option(
        help=f"Data set: {', '.join(DATASETS)}, or the path of a folder or zip with "
        "train/<class>/<image> and test/ or val/<class>/<image>."
    ),
]
Root = Annotated[Path, typer.Option(help="Folder for data sets that are downloaded.")]


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the picture, the distilled set and the table.")] = Path("demo"),
):
    """See it work: distil real handwritten digits, about a minute on a laptop, no download."""
    from datadam_lite.demo import demo

    print(f"\n{demo(out)}\n")
    print(f"picture of the distilled images: {out / 'distilled.png'}")
    print(f"the distilled set: {out / 'distilled.safetensors'} (try: datadam show {out / 'distilled.safetensors'})")


@app.command("distill")
def distill_command(
    data: Data,
    ipc: Annotated[int, typer.Option(help="Images per class to distil into.")] = 1,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("distilled.safetensors"),
    method: Annotated[str, typer.Option("--recipe", help=f"One of {', '.join(RECIPES)}.")] = "datadam",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a recipe field, as in --set iterations=2000 --set zca=false. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Two runs with one seed give the same file.")] = 0,
    root: Root = Path("data"),
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default a GPU if there is one.")] = None,
    precision: Annotated[str, typer.Option(help=f"Of the convolutions: {' or '.join(PRECISIONS)}.")] = "float32",
    compile: Annotated[bool, typer.Option(help="Fuse the step with torch.compile: slow start, fast steps.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Iterations between checkpoints.")] = 100,
    overwrite: Annotated[bool, typer.Option(help="Replace the output file if it exists.")] = False,
):
    """Distil a data set into one file. Interrupted? The same command goes on where it stopped."""
    if out.exists() and not overwrite:
        raise DataDamError(f"{out} exists; choose another --out, or give --overwrite to replace it.")
    chosen = recipe(method, **dict(map(_change, change or [])))
    settings = Settings(device, precision, compile, checkpoint_every)
    train, _ = load(data, root)
    checkpoint = out.with_name(out.name + ".checkpoint")
    if checkpoint.exists():
        print(f"going on from {checkpoint}")
    try:
        distilled = distill(train, ipc, chosen, seed=seed, checkpoint=checkpoint, settings=settings)
    except KeyboardInterrupt:
        start = checkpoint if checkpoint.exists() else "the beginning"
        print(f"stopped; the same command goes on from {start}", file=sys.stderr)
        raise typer.Exit(130) from None
    distilled.save(out)
    checkpoint.unlink(missing_ok=True)
    print(f"{out}: {len(distilled)} images, moved {distilled.provenance['moved']:.2f} (root mean square)")


@app.command("evaluate")
def evaluate_command(
    file: Annotated[Path, typer.Argument(help="A distilled set written by 'datadam distill'.")],
    data: Data,
    networks: Annotated[int, typer.Option(help="How many fresh networks to train.")] = 5,
    epochs: Annotated[int, typer.Option(help="Epochs of training; the fixed protocol has 1000.")] = 1000,
    width: Annotated[int | None, typer.Option(help="Network width; by default the recipe's.")] = None,
    baselines: Annotated[bool, typer.Option(help="Also the set's own initial images and random real ones.")] = True,
    out: Annotated[Path | None, typer.Option("--json", help="Also write the accuracies to this file.")] = None,
    root: Root = Path("data"),
):
    """Train fresh networks on a distilled set and test them on real images, beside honest baselines."""
    from datadam_lite.coresets import random

    chosen = SyntheticSet.load(file)
    train, test = load(data, root)
    candidates = {"distilled": chosen}
    if baselines:
        candidates["its initial images"] = chosen.initial(train)
        rows = random(train, int(chosen.ipc), seed=chosen.provenance["seed"] + 1)  # not the set's own start
        candidates["random real images"] = SyntheticSet.from_real(train, rows, chosen.preprocess)
    if width is None:
        width = chosen.provenance.get("recipe", {}).get("width", 128)
    name = "fixed" if (epochs, width) == (1000, 128) else f"fixed, {epochs} epochs, width {width}"
    protocol = Protocol(name=name, epochs=epochs, width=width)
    reports: dict[str, Report] = {}
    print(f"protocol: {protocol.name}; preprocessing: {chosen.preprocess}")
    for label, candidate in candidates.items():
        reports[label] = evaluate(candidate, test, networks=networks, protocol=protocol)
        print(f"{label:<20} {reports[label]}")
    if out:
        with replacing(out) as temporary:
            temporary.write_text(json.dumps({k: r.record() for k, r in reports.items()}, indent=1) + "\n")


@app.command("show")
def show_command(
    file: Annotated[Path, typer.Argument(help="A distilled set written by 'datadam distill'.")],
    out: Annotated[Path | None, typer.Option(help="Picture to write; by default beside the file.")] = None,
):
    """Say what a distilled set is, how it was made and which preprocessing it needs; draw it."""
    from datadam_lite.plots import picture, style

    chosen = SyntheticSet.load(file)
    made = chosen.provenance
    style()
    out = out or file.with_suffix(".png")
    picture(chosen, out)
    shape, classes = list(chosen.images.shape[1:]), len(chosen.classes)
    print(f"images        {len(chosen)} of {shape}, {chosen.ipc:g} for each of {classes} classes")
    print(f"made by       {made.get('method')} from {made.get('data')}, seed {made.get('seed')}")
    print(f"iterations    {made.get('iterations')}, the images moved {made.get('moved', 0):.2f} (root mean square)")
    print(f"preprocessing {chosen.preprocess}")
    for name, value in made.get("recipe", {}).items():
        print(f"  {name:<16} {value}")
    print(f"picture       {out}")


def _change(text: str) -> tuple[str, object]:
    """Read FIELD=VALUE; the value is JSON where it can be, else text."""
    field, equals, value = text.partition("=")
    if not equals:
        raise DataDamError(f"--set expects FIELD=VALUE, such as --set iterations=2000; received {text!r}.")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value


def main() -> None:
    """Run the command line; bad input gives one sentence and exit status 2."""
    try:
        app()
    except DataDamError as error:
        print(f"datadam: {error}", file=sys.stderr)
        sys.exit(2)
