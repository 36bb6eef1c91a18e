"""The command that repeats the papers' tables and figures: reproduce."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from datadam_lite import cli_options as option
from datadam_lite.errors import DataDamError


def reproduce_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which table, figure or study; --list shows them all.")
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Show all experiments, with time and memory where they were measured.")
    ] = False,
    scale: Annotated[str, typer.Option(help="How large: quick, cpu or paper.")] = "quick",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on: runs whose result is there, of today's code, are not repeated.")
    ] = False,
    sets: Annotated[
        int | None, typer.Option(help="Sets for each row: fewer are faster and less sure.", show_default="the scale's")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH", help="Folder or zip of a data set, by the name that --list has for it; repeatable."
        ),
    ] = None,
    root: option.Root = "data",
    out: Annotated[Path, typer.Option(help="Folder for results, a file for each run.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("runs"),
):  # fmt: skip
    """Repeat a table or figure of the papers: distil, evaluate, and compare with what is printed there.

    Interrupted? The same command with --resume goes on where it stopped. Several processes can share an experiment, on
    one GPU each, say: start the same command with --resume once for each of them.
    """
    if listing or name is None:
        print(overview())
        return
    from datadam_lite.results.comparison import tables
    from datadam_lite.results.reproduce import plan, reproduce

    paths = dict(_path(text) for text in data or [])
    planned = plan(name, scale, sets=sets)
    there = [each.file(out) for each in planned if each.file(out).exists()]
    if there and not resume:
        raise DataDamError(
            f"{there[0]} exists; give --resume to repeat only what is missing or of older code, or another --out."
        )
    print(about(name, scale))
    mine = 0
    try:
        for each, record in reproduce(name, scale, sets=sets, data=paths, root=root, out=out, work=work):
            mine += 1
            print(f"{each.file(out)}: {_said(record)}", flush=True)
    except KeyboardInterrupt:
        print("stopped; the same command goes on with --resume", file=sys.stderr)
        raise typer.Exit(130) from None
    for title, table in tables(name, scale, out, sets=sets).items():
        print(f"\n{title}\n\n{table}")
    if mine < len(planned):
        print(f"\n{len(planned) - mine} of {len(planned)} runs are left to other processes that are busy with them.")


def _said(record: dict) -> str:
    """What came of a run, in a few words."""
    row = record["rows"][0]
    if "search" in record["run"]:
        return f"{len(row['accuracies'][0])} networks rated, {row['mean']:.1f} % right on average"
    return f"{row['mean']:.1f} ± {row['std']:.1f} %"


def _path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise DataDamError(f"expected --data NAME=PATH, such as cifar10=cifar10.zip; received {text!r}.")
    return name, path


def about(name: str, scale: str) -> str:
    """What an experiment is, in a few lines."""
    from datadam_lite.results.experiments import EXPERIMENTS
    from datadam_lite.results.scales import SCALES

    experiment = EXPERIMENTS[name]
    return (
        f"{name} ({experiment.source}): {experiment.asks}\nprinted: {experiment.claim}\n"
        f"scale {scale}: {SCALES[scale].says}\n"
    )


def overview() -> str:
    """All experiments: what they ask, and for every scale the data sets, the runs, and what those took."""
    from datadam_lite.results.comparison import cost
    from datadam_lite.results.experiments import EXPERIMENTS
    from datadam_lite.results.reproduce import plan
    from datadam_lite.results.scales import SCALES

    lines = [f"{name:<8}{size.says}" for name, size in SCALES.items()]
    for name, experiment in EXPERIMENTS.items():
        lines.append(f"\n{name} ({experiment.source}): {experiment.asks}")
        for scale in SCALES:
            runs = f"{len(plan(name, scale))} runs on {', '.join(experiment.data[scale])}"
            lines.append(f"  {scale:<8}{runs}; {cost(name, scale)}")
    return "\n".join(lines)
