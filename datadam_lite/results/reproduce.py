"""Experiments of the papers, performed: which runs make one up, which of them are done, and what came of them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from datadam_lite import distributed
from datadam_lite.coresets import CORESETS
from datadam_lite.data import ImageSet, load
from datadam_lite.errors import DataDamError, known, positive
from datadam_lite.protocol import Protocol
from datadam_lite.recipes import recipe
from datadam_lite.results import stale_files
from datadam_lite.results.experiments import EXPERIMENTS, TRIALS, UNTRAINED, VARIANTS, Experiment
from datadam_lite.results.run import Run, perform, write
from datadam_lite.results.run_continual import perform_continual
from datadam_lite.results.run_features import perform_features
from datadam_lite.results.run_search import perform_search
from datadam_lite.results.run_untrained import perform_untrained
from datadam_lite.results.scales import SCALES, Scale
from datadam_lite.results.searches import ON_ALL

# Photographs that are loaded at another size than their own.
SIZES = {"imagenette64": ("imagenette", 64)}
RANDOM_NETWORKS = 10  # of each norm, in which sets are looked at


@dataclass(frozen=True)
class Planned:
    """A run of an experiment: its place in the table, and the name of its result file."""

    name: str
    row: str  # a name of VARIANTS
    data: str
    run: Run

    def file(self, folder: Path) -> Path:
        """Its result file in a folder of results."""
        return folder / self.run.scale / f"{self.name}.json"

    def result(self, folder: Path) -> dict | None:
        """Its record in a folder of results, if there is one of the same options, of as many sets or fewer.

        Records of older code count: `stale_files` tells them.
        """
        record = self._read(folder)
        return record if record and not self._differences(record) else None

    def refuse_others(self, folder: Path) -> None:
        """Raise DataDamError if the file of its name holds a run of other options or more sets, which would be lost."""
        record = self._read(folder)
        if record and (keys := self._differences(record)):
            there, here = ({key: run.get(key) for key in keys} for run in (record["run"], self.run.describe()))
            raise DataDamError(
                f"{self.file(folder)} holds a run of other options: {there}, expected {here}. "
                "Give another --out, or move the file away."
            )

    def _differences(self, record: dict) -> list[str]:
        """The options in which a record is not a run like this, or the first sets of one."""
        there, here = record["run"], self.run.describe()
        differ = [key for key in here | there if here.get(key) != there.get(key)]
        return [key for key in differ if key != "sets" or there["sets"] > here["sets"]]

    def _read(self, folder: Path) -> dict | None:
        file = self.file(folder)
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def plan(name: str, scale: str = "quick", *, sets: int | None = None) -> list[Planned]:
    """Return the runs of an experiment.

    sets: how many for each row, by default the scale's.

    Raises: DataDamError for an unknown experiment or scale.

    >>> [planned.name for planned in plan("table6")]
    ['digits-ipc1-datadam', 'digits-ipc1-block1', 'digits-ipc1-block2']
    """
    experiment, size = known(name, EXPERIMENTS, "experiment"), known(scale, SCALES, "scale")
    search = size.search if experiment.shows == "ranks" else None
    if sets is None:
        sets = search.sets if search and search.sets else size.sets
    positive(sets=sets)
    trial = experiment.trial[scale]
    protocols = tuple(_protocol(size.protocols, *each) for each in TRIALS[trial].items())
    options = {"sets": sets, "networks": size.networks, "protocols": protocols, "scale": scale}
    options |= {"settings": size.settings, "initial": False, "pictures": trial in ("fixed", "both protocols")}
    if search:
        options |= {"search": search, "protocols": (search.training,), "networks": 1, "pictures": False}
    if experiment.shows == "features":
        options |= {"features": True, "protocols": (size.features,), "networks": 1, "pictures": False}
    if experiment.shows == "untrained":
        options |= {"untrained": True, "networks": RANDOM_NETWORKS, "pictures": False}
    ending = _ending(experiment, trial)
    return [
        Planned(
            f"{data}-ipc{ipc}-{row}{ending}" + f"-{steps}-steps" * bool(steps), row, data,
            _run(row, ipc, size, options | {"steps": steps}),
        )
        for data in experiment.data[scale]
        for steps in experiment.steps[scale]
        for ipc in experiment.ipcs[scale]
        for row in experiment.rows_at(scale)
    ]  # fmt: skip


def _ending(experiment: Experiment, trial: str) -> str:
    """What the names of an experiment's files end in, where a run is not the usual one."""
    endings = {"ranks": "-search", "features": "-features", "untrained": "-untrained"}
    return endings.get(experiment.shows, "" if trial == "fixed" else f"-{trial.replace(' ', '-')}")


def _protocol(protocols: Mapping[str, Protocol], name: str, changes: Mapping) -> Protocol:
    """A protocol of the scale by name; where fields are changed it is the fixed one, and named after the change."""
    if not changes:
        return protocols[name]
    if name.startswith(UNTRAINED):
        return replace(protocols["fixed"], name=name, **changes)
    return replace(protocols["fixed"], name=f"{protocols['fixed'].name}, {name}", **changes)


def _run(row: str, ipc: int, size: Scale, options: Mapping) -> Run:
    variant = VARIANTS[row]
    if variant.method in ON_ALL:
        return Run(variant.method, ipc, **options)
    if variant.method in CORESETS:
        width = {key: value for key, value in size.changes.items() if key == "width" and variant.method != "random"}
        return Run(variant.method, ipc, changes={**width, **variant.changes}, **options)
    options = {**options, "pictures": options["pictures"] and variant.pictures}
    iterations = round(recipe(variant.method).iterations * size.share * variant.longer)
    changes = {**size.changes, "iterations": iterations, **variant.changes}
    return Run(variant.method, ipc, changes=changes, trained=variant.trained, **options)


# ---- performing


def reproduce(
    name: str, scale: str = "quick", *,
    data: Mapping[str, str] | None = None, root: str = "data", out: Path = Path("results"), work: Path = Path("runs"),
    sets: int | None = None,
) -> Iterator[tuple[Planned, dict]]:  # fmt: skip
    """Perform the runs of an experiment one after the other; yield each with its record as soon as it is there.

    A run whose result file is in `out`, of the same options and of today's code, is not performed again. A run that
    another process is busy with is left to that process: several can share an experiment.

    data: paths of data sets by name, for those that are not to be looked for in `root`; work: a folder for checkpoints.

    Raises: DataDamError for an unknown experiment, scale, or data set that can't be loaded, if a result file holds a
    run of other options, and under torchrun.
    """
    if distributed.ranks() > 1:
        raise DataDamError(
            "runs are not divided among processes here: instead of torchrun, start the command once for each GPU "
            "(CUDA_VISIBLE_DEVICES=0, 1, …), with the same folders and --resume; they share the runs."
        )
    planned_runs = plan(name, scale, sets=sets)
    for given in data or {}:
        known(given, list(dict.fromkeys(planned.data for planned in planned_runs)), f"data set of {name} (--data)")
    for planned in planned_runs:
        planned.refuse_others(out)
    if threads := SCALES[scale].threads:
        torch.set_num_threads(threads)
    loaded = {}
    for planned in planned_runs:
        if (found := done(planned, out)) is None:
            if planned.data not in loaded:
                loaded[planned.data] = _load(planned.data, data or {}, root)
            found = _perform(planned, *loaded[planned.data], out=out, work=work)
        if found:
            yield planned, found


def done(planned: Planned, out: Path) -> dict | None:
    """The record of a run, if it need not be performed again."""
    record = planned.result(out)
    finished = record is not None and record["run"]["sets"] == planned.run.sets
    return record if finished and not stale_files(record) else None


def _load(name: str, paths: Mapping[str, str], root: str) -> tuple[ImageSet, ImageSet]:
    """Load a data set by the name that experiments have for it, which it also gets."""
    source, size = SIZES.get(name, (name, None))
    parts = load(paths[name]) if name in paths else load(source, root, size=size)
    return tuple(replace(part, name=name) for part in parts)


def _perform(planned: Planned, train: ImageSet, test: ImageSet, *, out: Path, work: Path) -> dict | None:
    """Perform a run and write its record; None if another process is busy with it."""
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / f"{planned.run.scale}-{planned.name}.lock", timeout=0):
            record, pictures = _performer(planned.run)(planned.run, planned.name, train, test, work)
            write(record, pictures, out / planned.run.scale)
            return record
    except Timeout:
        return None


def _performer(run: Run) -> Callable:
    """What performs a run: it returns a record, and pictures."""
    if run.search:
        return perform_search
    if run.features:
        return perform_features
    if run.untrained:
        return perform_untrained
    return perform if run.steps is None else perform_continual
