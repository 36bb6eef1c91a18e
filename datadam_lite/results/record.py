"""Run an experiment and record it: `python -m datadam_lite.results.record NAME --data PATH`.

Every run resumes from its checkpoint in the working folder, so a long one can be done in pieces.
A run of the same name replaces the record.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save

from datadam_lite.checkpoint import checkpoint_exists
from datadam_lite.coresets import CORESETS, select
from datadam_lite.data import ImageSet, load
from datadam_lite.distill import Distiller
from datadam_lite.errors import known
from datadam_lite.evaluate import evaluate
from datadam_lite.files import replacing
from datadam_lite.preprocess import Preprocess
from datadam_lite.progress import bar
from datadam_lite.protocol import PROTOCOLS, Protocol
from datadam_lite.provenance import code_of_files, code_sha256, hardware, versions
from datadam_lite.recipes import recipe
from datadam_lite.report import Report
from datadam_lite.results import FOLDER
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

# Iterations at which pictures are kept. Earlier ones only of what began as noise: the photographs that the others
# began with, which are not ours to publish, can be made out for some hundred iterations.
STAGES = (500, 1000, 2000, 4000, 8000, 20_000)
FROM_NOISE = (0, 10, 30, 100, 200, *STAGES)


@dataclass(frozen=True)
class Run:
    """One experiment: a recipe or coreset by name, images per class, how often, and recipe fields."""

    method: str
    ipc: int = 1
    sets: int = 1
    networks: int = 5
    protocols: tuple[str, ...] = ("fixed",)
    scale: str = "cpu"
    settings: Settings = field(default_factory=lambda: Settings(precision="mixed", compile=True))
    changes: dict = field(default_factory=dict)
    initial: bool = True  # whether to evaluate the images it began with; False if another run has evaluated them
    pictures: bool = True  # whether to keep pictures; False where the photographs it began with still show at the end


SHORT = {"iterations": 2000, "real_batch": 64}  # what two processor cores do in minutes
BOTH = ("fixed", "datadam_code")
PRECISION = {"method": "datadam", "sets": 3, "networks": 3, "changes": SHORT | {"iterations": 600}}
DIGITS = {"method": "datadam", "sets": 10, "networks": 2, "changes": {"iterations": 200, "width": 32}}
LARGER = {"networks": 3, "changes": SHORT | {"iterations": 500}}  # 64 pixels, so four blocks

RUNS = {
    "cifar10-ipc1-random": Run("random", sets=5, networks=2),
    "cifar10-ipc1-k_center": Run("k_center", sets=3, networks=2),
    "cifar10-ipc1-dm": Run("dm", changes=SHORT),
    "cifar10-ipc1-dm-zca": Run("dm", changes=SHORT | {"zca": True}),
    "cifar10-ipc1-datadam-zca-scale1": Run("datadam", changes=SHORT | {"loss_scale": 1.0}),
    "cifar10-ipc1-datadam-zca-scale100": Run("datadam", changes=SHORT | {"loss_scale": 100.0}),
    "cifar10-ipc1-datadam-scale1": Run("datadam", changes=SHORT | {"zca": False}),
    "cifar10-ipc1-datadam_code": Run("datadam_code", changes=SHORT, protocols=BOTH),
    "cifar10-ipc1-feature_map": Run("feature_map", changes=SHORT),
    "cifar10-ipc1-sam": Run("datadam", changes=SHORT | {"lam": 0.0}),
    "cifar10-ipc1-atom": Run("atom", changes=SHORT),
    "cifar10-ipc1-atom_channel": Run("atom_channel", changes=SHORT),
    # Is mixed precision as good? The same seeds in both.
    "cifar10-ipc1-float32": Run(**PRECISION, settings=Settings(compile=True)),
    "cifar10-ipc1-bfloat16": Run(**PRECISION, settings=Settings(precision="bfloat16", compile=True)),
    "digits-ipc1-float32": Run(**DIGITS, settings=Settings(compile=True)),
    "digits-ipc1-bfloat16": Run(**DIGITS, settings=Settings(precision="bfloat16", compile=True)),
    # Images from noise, to be seen at every stage.
    "cifar10-ipc1-noise": Run("datadam", networks=3, changes=SHORT | {"init": "noise"}),
    # Photographs of ImageNet at 64 pixels, ten classes of them.
    "imagenette64-ipc1-random": Run("random", networks=3),  # seed 0: what the next two begin with
    "imagenette64-ipc1-dm": Run("dm", **LARGER, initial=False, pictures=False),
    "imagenette64-ipc1-datadam": Run("datadam", **LARGER, initial=False, pictures=False),
    "imagenette64-ipc1-noise": Run(
        "datadam", **(LARGER | {"changes": LARGER["changes"] | {"init": "noise"}}), initial=False
    ),
}


def distilled(run: Run, train: ImageSet, seed: int, checkpoint: Path) -> tuple[SyntheticSet, dict, float]:
    """Distil one set, from its checkpoint if there is one; also return pictures at several stages, and the seconds."""
    started = time.time()
    distiller = Distiller(train, run.ipc, recipe(run.method, **run.changes), seed=seed, settings=run.settings)
    beside = checkpoint.with_suffix(".stages")
    stages = FROM_NOISE if distiller.recipe.init == "noise" else STAGES
    pictures, before = ({"iteration 0": to_uint8(distiller.synthetic())} if 0 in stages else {}), 0.0
    if checkpoint_exists(checkpoint):
        distiller.load_checkpoint(checkpoint)
        pictures, before = torch.load(beside, weights_only=True).values()
    for step in bar(distiller, total=distiller.recipe.iterations, initial=distiller.iteration):
        if step.iteration in stages:
            pictures[f"iteration {step.iteration}"] = to_uint8(distiller.synthetic())
        if step.iteration % run.settings.checkpoint_every == 0:
            with replacing(beside) as temporary:
                torch.save({"pictures": pictures, "seconds": before + time.time() - started}, temporary)
            distiller.save_checkpoint(checkpoint)
    return distiller.synthetic(), pictures, before + time.time() - started


def to_uint8(chosen: SyntheticSet) -> torch.Tensor:
    """Return the pictures of a set as uint8 [N, C, H, W]."""
    return (chosen.pixels() * 255).round().to(torch.uint8)


def row(run: Run, dataset: str, method: str, protocol: Protocol, report: Report) -> dict:
    """Return an evaluation with the fields every record has."""
    name = run.method if method == run.method else f"{run.method}, {method}"
    return {
        "dataset": dataset, "method": name, "recipe": run.method, "ipc": run.ipc, "protocol": protocol.name,
        "scale": run.scale, **report.record(),
    }  # fmt: skip


def perform(name: str, data: str, work: Path) -> dict:
    """Perform the run of that name and write its record and pictures; return the record."""
    run = known(name, RUNS, "experiment")
    code, files = code_sha256(), code_of_files()  # of what runs, not of what an editor makes of it meanwhile
    train, test = load(data)
    if run.method in CORESETS:
        preprocess = Preprocess.fit(train)
        rows_of = [select(run.method, train, run.ipc, seed) for seed in range(run.sets)]
        candidates = {run.method: [SyntheticSet.from_real(train, rows, preprocess) for rows in rows_of]}
        details, pictures, seconds = {}, {}, 0.0  # no picture: real images of a data set are not ours to publish
    else:
        work.mkdir(parents=True, exist_ok=True)
        paths = [work / f"{name}-{seed}-{code[:8]}.checkpoint" for seed in range(run.sets)]  # other code starts anew
        made = [distilled(run, train, seed, path) for seed, path in enumerate(paths)]
        sets, seconds = [chosen for chosen, _, _ in made], sum(seconds for _, _, seconds in made)
        candidates = {run.method: sets}
        if run.initial:
            candidates["initial"] = [chosen.initial(train) for chosen in sets]
        details = {
            "recipe": sets[0].provenance["recipe"], "moved": [s.provenance["moved"] for s in sets],
            "terms": sets[0].provenance["terms"], "losses": sets[0].losses[::20].tolist(),
        }  # fmt: skip
        pictures = made[0][1] if run.pictures else {}
    started = time.time()
    rows = [
        row(run, train.name, method, protocol, evaluate(chosen, test, networks=run.networks, protocol=protocol))
        for protocol in map(PROTOCOLS.get, run.protocols)
        for method, chosen in candidates.items()
    ]
    record = {
        "name": name, "date": date.today().isoformat(), "scale": run.scale, "rows": rows, **details,
        "seeds": list(range(run.sets)), "protocols": [asdict(PROTOCOLS[name]) for name in run.protocols],
        "classes": train.classes, "data_sha256": train.sha256, "code_sha256": code, "code_of_files": files,
        "versions": versions(), "hardware": hardware(run.settings.torch_device()), "numerics": run.settings.numerics(),
        "seconds": {"to make": seconds, "to evaluate": time.time() - started},
    }  # fmt: skip
    with replacing(FOLDER / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    if pictures:
        with replacing(FOLDER / f"{name}.safetensors") as temporary:
            temporary.write_bytes(save(pictures))
    return record


def main(
    names: Annotated[list[str], typer.Argument(help="experiments; see RUNS in this file")],
    data: Annotated[str, typer.Option(help="data set: a name, or the path of an ImageFolder or zip")],
    work: Annotated[Path, typer.Option(help="folder for checkpoints")] = Path("runs"),
):
    """Perform experiments and write their records into the package."""
    for name in names:
        record = perform(name, data, work)
        for evaluated in record["rows"]:
            print(f"{name}: {evaluated['method']} {evaluated['mean']:.1f} ± {evaluated['std']:.1f} %")


if __name__ == "__main__":
    typer.run(main)
