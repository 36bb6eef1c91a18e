"""Run an experiment of the chapters and record it: `python -m datadam_lite.results.record NAME --data PATH`.

Every run resumes from its checkpoint in the working folder, so a long one can be done in pieces.
A run of the same name replaces the record. The tables and figures of the papers are in experiments.py.
"""

from pathlib import Path
from typing import Annotated

import typer

from datadam_lite.data import load
from datadam_lite.errors import known
from datadam_lite.results import FOLDER
from datadam_lite.results.run import Run, perform, write
from datadam_lite.settings import Settings

PRECISION = {"method": "datadam", "networks": 3, "pictures": False, "changes": {"iterations": 600, "real_batch": 64}}
DIGITS = {"method": "datadam", "networks": 2, "pictures": False, "changes": {"iterations": 200, "width": 32}}
LARGER = {"networks": 3, "changes": {"iterations": 500, "real_batch": 64}}  # 64 pixels, so four blocks

RUNS = {
    # Is mixed precision as good? The same seeds in both.
    "cifar10-ipc1-float32": Run(**PRECISION, sets=3, settings=Settings(compile=True)),
    "cifar10-ipc1-bfloat16": Run(**PRECISION, sets=3, settings=Settings(precision="bfloat16", compile=True)),
    "digits-ipc1-float32": Run(**DIGITS, sets=10, settings=Settings(compile=True)),
    "digits-ipc1-bfloat16": Run(**DIGITS, sets=10, settings=Settings(precision="bfloat16", compile=True)),
    # Photographs of ImageNet at 64 pixels, ten classes of them; from noise, to be seen at every stage.
    "imagenette64-ipc1-random": Run("random", networks=3),  # seed 0: what the next two begin with
    "imagenette64-ipc1-dm": Run("dm", **LARGER, initial=False, pictures=False),
    "imagenette64-ipc1-datadam": Run("datadam", **LARGER, initial=False, pictures=False),
    "imagenette64-ipc1-noise": Run(
        "datadam", **(LARGER | {"changes": LARGER["changes"] | {"init": "noise"}}), initial=False
    ),
}


def main(
    names: Annotated[list[str], typer.Argument(help="experiments; see RUNS in this file")],
    data: Annotated[str, typer.Option(help="data set: a name, or the path of an ImageFolder or zip")],
    work: Annotated[Path, typer.Option(help="folder for checkpoints")] = Path("runs"),
):
    """Perform experiments and write their records into the package."""
    runs = {name: known(name, RUNS, "experiment") for name in names}
    train, test = load(data)
    for name, run in runs.items():
        record, pictures = perform(run, name, train, test, work)
        write(record, pictures, FOLDER)
        for evaluated in record["rows"]:
            print(f"{name}: {evaluated['method']} {evaluated['mean']:.1f} ± {evaluated['std']:.1f} %")


if __name__ == "__main__":
    typer.run(main)
