"""The command line. Here: demo, distill, recipes, data; beside it: cli_evaluate, cli_sets, and so on."""

import json
import sys
import warnings
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

import typer

from datadam_lite import cli_options as option
from datadam_lite.checkpoint import checkpoint_exists, discard_checkpoint
from datadam_lite.cli_classroom import class_report_command, grade_command
from datadam_lite.cli_evaluate import cross_architecture_command, evaluate_command
from datadam_lite.cli_reproduce import reproduce_command
from datadam_lite.cli_sets import convert_command, coreset_command, show_command
from datadam_lite.config import Config
from datadam_lite.data import load
from datadam_lite.datasets import DATASETS
from datadam_lite.distributed import Ended, joined, rank
from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing
from datadam_lite.recipes import RECIPES, Recipe, recipe
from datadam_lite.synthetic import SyntheticSet

app = typer.Typer(
    help="Distil a data set into a handful of images that train a network well: DM, DataDAM and ATOM.",
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
)  # fmt: skip


def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the picture, the distilled set and the table.")] = Path("demo"),
    overwrite: option.Overwrite = False,
):
    """See it work: distil real handwritten digits, about a minute on a laptop, no download."""
    from datadam_lite.demo import demo

    picture, distilled = out / "distilled.png", out / "distilled.safetensors"
    option.refuse_existing(picture, distilled, out / "table.txt", overwrite=overwrite)
    print(f"\n{demo(out)}\n")
    print(f"picture of the distilled images: {picture}")
    print(f"the distilled set: {distilled} (try: datadam show {distilled} --out another.png)")


def distill_command(
    data: option.MaybeData = None,
    ipc: Annotated[int | None, typer.Option(help="Images per class to distil into.", show_default="1")] = None,
    out: Annotated[Path, typer.Option(help="File to write; OUT.json beside it repeats the run.")] = Path(
        "distilled.safetensors"
    ),
    method: Annotated[
        str | None, typer.Option("--recipe", show_default="datadam", help=option.RECIPE)
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE",
            help="Change a constant of the recipe ('datadam recipes datadam' lists them), as in --set iterations=2000 "
            "--set zca=false --set 'attention=[\"spatial\",\"channel\"]' --set augmentation=. Repeatable.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of everything random: start, batches, networks.", show_default="0")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Repeat the run that wrote this OUT.json; options beside it change it: --set a constant, --recipe all."
        ),
    ] = None,
    root: Annotated[str | None, typer.Option(help=option.ROOT, show_default="data")] = None,
    size: option.Size = None,
    resize: option.Resize = None,
    mirror: option.Mirror = None,
    device: option.Device = None,
    precision: Annotated[str | None, typer.Option(help=option.PRECISION, show_default="float32")] = None,
    compile: option.MaybeCompile = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Iterations between checkpoints.", show_default="100")
    ] = None,
    chunk: option.Chunk = None,
    cuda_graphs: option.CudaGraphs = None,
    overwrite: option.Overwrite = False,
):  # fmt: skip
    """Distil a data set into one file. Interrupted? The same command goes on where it stopped.

    On several GPUs: torchrun --standalone --nproc-per-node 8 -m datadam_lite distill ...
    """
    option.refuse_existing(out, _repeats(out), overwrite=overwrite)
    if not (data or config):
        raise DataDamError("which data set? Give --data, or --config with the file of an earlier run.")
    run = Config.load(config) if config else Config(data)
    how = _given(
        device=device, precision=precision, compile=compile, checkpoint_every=checkpoint_every, chunk=chunk,
        cuda_graphs=cuda_graphs,
    )  # fmt: skip
    run = replace(
        run, **_given(data=data, root=root, size=size, resize=resize, mirror=mirror, ipc=ipc, seed=seed),
        recipe=recipe(method or run.recipe, **_changes(change or [])),
        settings=replace(run.settings, **how),
    )  # fmt: skip
    with option.alone(out) if rank() == 0 else nullcontext():
        _run(run, out)


def _given(**options) -> dict:
    """Leave out the options that were not given."""
    return {name: value for name, value in options.items() if value is not None}


def _repeats(out: Path) -> Path:
    return Path(f"{out}.json")


def _checkpoint(out: Path) -> Path:
    return Path(f"{out}.checkpoint")


def _run(run: Config, out: Path) -> None:
    checkpoint = _checkpoint(out)
    if checkpoint_exists(checkpoint):
        print(f"going on from {checkpoint}")
    try:
        distilled = run.run(checkpoint)
    except KeyboardInterrupt:
        start = checkpoint if checkpoint_exists(checkpoint) else "the beginning"
        if rank() == 0:
            print(f"stopped; the same command goes on from {start}", file=sys.stderr)
        raise typer.Exit(130) from None
    if rank() == 0:
        _finish(run, distilled, out)


def _finish(run: Config, distilled: SyntheticSet, out: Path) -> None:
    repeats = _repeats(out)
    with replacing(repeats) as temporary:  # both files or neither
        temporary.write_text(run.to_json(), encoding="utf-8")
        distilled.save(out)
    discard_checkpoint(_checkpoint(out))
    print(f"{out}: {len(distilled)} images, moved {distilled.provenance['moved']:.2f} (root mean square)")
    print(f"{repeats}: what was run; to repeat it: datadam distill --config {repeats} --out ANOTHER")


def _changes(texts: list[str]) -> dict:
    changes = {}
    for field, value in map(_change, texts):
        if field in changes:
            raise DataDamError(f'{field} is --set twice; several values are a list: --set \'{field}=["…", "…"]\'.')
        changes[field] = value
    return changes


def _change(text: str) -> tuple[str, object]:
    """Read FIELD=VALUE; the value is JSON where it can be, else text."""
    field, equals, value = text.partition("=")
    if not equals:
        raise DataDamError(f"--set expects FIELD=VALUE, such as --set iterations=2000; received {text!r}.")
    if field == "name":
        raise DataDamError("the name of a recipe is not a constant to --set; give --recipe.")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value


def recipes_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A recipe; without it, all of them.")] = None,
):
    """List the recipes and where they differ; or all constants of one, each with its source."""
    from datadam_lite.sources import describe

    if name:
        print(describe(name))
        return
    differ = [field.name for field in fields(Recipe) if len({getattr(r, field.name) for r in RECIPES.values()}) > 1]
    columns = [differ, *([_brief(getattr(r, field)) for field in differ] for r in RECIPES.values())]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    print("\n-: decided by the images and their number. 'datadam recipes NAME' has all constants, with sources.")


def _brief(value) -> str:
    text = "+".join(value) if isinstance(value, tuple) else str(value)
    return "-" if value is None else text or "none"


def data_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|PATH", help="A data set, or a folder or zip of images.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Load it all; check and describe what it holds.")] = False,
    root: option.Root = Config.root,
    size: option.Size = None,
    resize: option.Resize = None,
):
    """List the data sets, what each is and how it gets here; or look at one, or at your own images."""
    from datadam_lite import datasets

    if verify and name is None:
        raise DataDamError("which data set should be verified? Give its name, or a path: datadam data NAME --verify.")
    if name is None:
        print(datasets.listing())
    elif verify:
        print(datasets.verify(name, root, size=size, resize=resize))
    elif name in DATASETS:
        print(_about(DATASETS[name]))
    else:
        train, test = load(name, root, size=size, resize=resize)
        print(f"train  {train!r}\ntest   {test!r}")


def _about(source) -> str:
    shape, train = "x".join(map(str, source.shape)), f"{source.train:,}" if source.train else "?"
    return (
        f"{source.name}: {source.what}, {source.classes:,} classes of {shape} pixels, {train} to train on and "
        f"{source.test:,} to test on\n"
        f"obtained  {source.obtained}\nfiles     {source.files}\nby        {source.citation}"
    )


COMMANDS = {
    "demo": demo_command, "distill": distill_command, "evaluate": evaluate_command,
    "cross-architecture": cross_architecture_command, "coreset": coreset_command, "convert": convert_command,
    "show": show_command, "recipes": recipes_command, "data": data_command,
    "reproduce": reproduce_command, "grade": grade_command, "class-report": class_report_command,
}  # fmt: skip
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """Run the command line; bad input gives one sentence and exit status 2, a run that can't go on 1."""
    with warnings.catch_warnings(), joined() as say:
        warnings.showwarning = lambda message, *_: say(f"datadam: {message}")
        try:
            app()
        except (DataDamError, Ended) as error:
            say(f"datadam: {error}")
            sys.exit(2 if isinstance(error, DataDamError) else 1)
