"""One run: distil sets or choose them, train networks on them, and say where every number comes from."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save

from datadam_lite.applications.trained import FromTrained, trained_networks
from datadam_lite.checkpoint import checkpoint_exists
from datadam_lite.coresets import CORESETS, select
from datadam_lite.data import ImageSet
from datadam_lite.distill import Distiller
from datadam_lite.evaluate import evaluate
from datadam_lite.files import replacing
from datadam_lite.memory import peak_since
from datadam_lite.preprocess import Preprocess
from datadam_lite.progress import bar
from datadam_lite.protocol import PROTOCOLS, Protocol
from datadam_lite.provenance import code_of_files, code_sha256, hardware, versions
from datadam_lite.recipes import recipe
from datadam_lite.report import Report
from datadam_lite.results.searches import Search
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

# Iterations at which pictures are kept. Earlier ones only of what began as noise: the photographs that the others
# began with, which are not ours to publish, can be made out for some hundred iterations.
STAGES = (500, 1000, 2000, 4000, 8000, 20_000)
FROM_NOISE = (0, 10, 30, 100, 200, *STAGES)


@dataclass(frozen=True)
class Run:
    """A recipe or coreset by name, images per class, how often, and recipe fields or options of the coreset.

    A coreset's own option is zca: whether its images are whitened, as a recipe's can be.

    >>> Run("random", sets=3, networks=2).describe()["sets"]
    3
    """

    method: str
    ipc: int = 1
    sets: int = 1
    networks: int = 5
    protocols: tuple[Protocol, ...] = (PROTOCOLS["fixed"],)
    scale: str = "cpu"
    settings: Settings = field(default_factory=lambda: Settings(precision="mixed", compile=True))
    changes: Mapping = field(default_factory=dict)
    initial: bool = True  # whether to evaluate the images it began with; False if another run has evaluated them
    pictures: bool = True  # whether to keep pictures; False where the photographs it began with still show at the end
    steps: int | None = None  # in which the classes arrive, for class-incremental learning
    search: Search | None = None  # among which networks, for an architecture search
    trained: tuple[int, int] | None = None  # the accuracy, in percent, of the networks that images are compared in
    features: bool = False  # whether sets are looked at in a network's features, and none is trained on them
    untrained: bool = False  # the same in random networks

    def describe(self) -> dict:
        """What decides the numbers, as plain values."""
        decisive = ["method", "ipc", "sets", "networks", "scale", "changes", "initial"]
        decisive += [name for name in ("steps", "trained", "features", "untrained") if getattr(self, name)]
        plain = {name: getattr(self, name) for name in decisive} | {"protocols": [asdict(p) for p in self.protocols]}
        plain |= {"search": asdict(self.search)} if self.search else {}
        return json.loads(json.dumps(plain, default=dict))

    def fingerprint(self, train: ImageSet) -> str:
        """Tells the sets of this run from those of others: other code, data, method or options."""
        decisive = (self.method, self.ipc, dict(self.changes), self.settings.numerics(), train.sha256, code_sha256())
        decisive += tuple(value for value in (self.steps, self.trained) if value)
        return sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


@dataclass
class Made:
    """The sets of a run, what they cost, and pictures of the first one by iteration."""

    sets: list[SyntheticSet]
    seconds: float = 0.0
    steps: list[float] = field(default_factory=list)  # seconds of each step
    peak_bytes: int = 0  # at most in use while one was made; 0: not known
    pictures: dict[str, torch.Tensor] = field(default_factory=dict)


def make(run: Run, train: ImageSet, work: Path) -> Made:
    """Choose or distil the sets of a run, the latter from checkpoints in `work` if there are any."""
    if run.method in CORESETS:  # no picture: real images of a data set are not ours to publish
        options, started = dict(run.changes), time.time()
        preprocess = Preprocess.fit(train, zca=options.pop("zca", False))
        rows_of = [select(run.method, train, run.ipc, seed, **options) for seed in range(run.sets)]
        chosen = [SyntheticSet.from_real(train, rows, preprocess) for rows in rows_of]
        return Made(chosen, time.time() - started)
    made, begin = Made([]), beginner(run, train)
    for seed in range(run.sets):
        stem = work / f"{train.name}-{run.method}-{run.fingerprint(train)}-{seed}"
        with peak_since(run.settings.torch_device()) as peak:
            distil(run, partial(begin, seed=seed), stem, made, peak)
    return made


def beginner(run: Run, train: ImageSet) -> Callable[..., Distiller]:
    """Return what begins a distillation of a run; it takes the seed. All sets share the trained networks, if any."""
    chosen, options = recipe(run.method, **run.changes), {"settings": run.settings}
    if run.trained is None:
        return partial(Distiller, train, run.ipc, chosen, **options)
    networks = trained_networks(train, chosen, run.trained, **options)
    return partial(FromTrained, train, run.ipc, chosen, networks, **options)


def distil(run: Run, begin: Callable[[], Distiller], stem: Path, made: Made, peak: Callable[[], int | None]) -> None:
    """Distil one set, from its checkpoint if there is one, and add it, and what it cost, to what was made."""
    started = time.time()
    distiller = begin()
    checkpoint, beside = (stem.with_name(f"{stem.name}.{ending}") for ending in ("checkpoint", "stages"))
    stages = FROM_NOISE if distiller.recipe.init == "noise" else STAGES
    kept = {"pictures": {}, "seconds": 0.0, "steps": [], "peak": 0}
    if 0 in stages:
        kept["pictures"]["iteration 0"] = to_uint8(distiller.synthetic())
    if checkpoint_exists(checkpoint):
        distiller.load_checkpoint(checkpoint)
        kept = torch.load(beside, weights_only=True)
    before, began = kept["seconds"], time.time()
    for step in bar(distiller, total=distiller.recipe.iterations, initial=distiller.iteration):
        kept["steps"].append(time.time() - began)
        if step.iteration in stages:
            kept["pictures"][f"iteration {step.iteration}"] = to_uint8(distiller.synthetic())
        if step.iteration % run.settings.checkpoint_every == 0 or step.iteration == distiller.recipe.iterations:
            kept |= {"seconds": before + time.time() - started, "peak": max(kept["peak"], peak() or 0)}
            with replacing(beside) as temporary:
                torch.save(kept, temporary)
            distiller.save_checkpoint(checkpoint)
        began = time.time()
    made.sets.append(distiller.synthetic())
    made.seconds += kept["seconds"]
    made.steps += kept["steps"]
    made.peak_bytes = max(made.peak_bytes, kept["peak"])
    made.pictures = made.pictures or kept["pictures"]


def to_uint8(chosen: SyntheticSet) -> torch.Tensor:
    """Return the pictures of a set as uint8 [N, C, H, W]."""
    return (chosen.pixels() * 255).round().to(torch.uint8)


def measure(run: Run, chosen: SyntheticSet, test: ImageSet, protocol: Protocol, *, seed: int, kept: Path) -> dict:
    """Train networks on one set; return their accuracies and the seconds it took, from the file `kept` if known there.

    Every seed has networks of its own; the networks of one seed are the same for every method.
    """
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    key = f"{asdict(protocol)} {seed} {run.networks}"
    if key not in known:
        started = time.time()
        report = evaluate(chosen, test, networks=run.networks, protocol=protocol, seed=seed)
        known[key] = {"accuracies": report.models, "seconds": time.time() - started}
        with replacing(kept) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
    return known[key]


def row(run: Run, dataset: str, method: str, protocol: Protocol, report: Report) -> dict:
    """Return an evaluation with the fields every record has."""
    name = run.method if method == run.method else f"{run.method}, {method}"
    return {
        "dataset": dataset, "method": name, "recipe": run.method, "ipc": run.ipc, "protocol": protocol.name,
        "network": protocol.network, "scale": run.scale, **report.record(),
    }  # fmt: skip


def provenance(run: Run, train: ImageSet) -> dict:
    """Return what a record says of where its numbers come from."""
    return {
        "date": date.today().isoformat(), "scale": run.scale, "run": run.describe(), "seeds": list(range(run.sets)),
        "protocols": [asdict(protocol) for protocol in run.protocols], "classes": train.classes,
        "data_sha256": train.sha256, "code_sha256": code_sha256(), "code_of_files": code_of_files(),
        "versions": versions(), "hardware": hardware(run.settings.torch_device()), "numerics": run.settings.numerics(),
    }  # fmt: skip


def perform(run: Run, name: str, train: ImageSet, test: ImageSet, work: Path) -> tuple[dict, dict]:
    """Perform a run; return its record, and pictures by iteration.

    work: a folder for checkpoints. A run that was interrupted goes on from there.
    """
    about = provenance(run, train)  # of what runs, not of what an editor makes of it meanwhile
    work.mkdir(parents=True, exist_ok=True)
    made = make(run, train, work)
    candidates, distilled = {run.method: made.sets}, run.method not in CORESETS
    if distilled and run.initial:
        candidates["initial"] = [chosen.initial(train) for chosen in made.sets]
    rows, seconds = [], 0.0
    for protocol in run.protocols:
        for method, sets in candidates.items():
            kept = work / f"{train.name}-{run.method}-{run.fingerprint(train)}-{method}.accuracies"
            found = [measure(run, chosen, test, protocol, seed=seed, kept=kept) for seed, chosen in enumerate(sets)]
            rows.append(row(run, train.name, method, protocol, Report([each["accuracies"] for each in found])))
            seconds += sum(each["seconds"] for each in found)
    details = {}
    if distilled:
        details = {
            "recipe": made.sets[0].provenance["recipe"], "moved": [s.provenance["moved"] for s in made.sets],
            "terms": made.sets[0].provenance["terms"], "losses": made.sets[0].losses[::20].tolist(),
            "cost": {"seconds of a step": statistics.median(made.steps), "peak bytes": made.peak_bytes or None},
        }  # fmt: skip
        made.pictures[f"iteration {made.sets[0].provenance['iterations']}"] = to_uint8(made.sets[0])
    seconds = {"to make": made.seconds, "to evaluate": seconds}
    record = about | {"name": name, "rows": rows, **details, "seconds": seconds}
    return record, made.pictures if run.pictures else {}


def write(record: dict, pictures: dict[str, torch.Tensor], folder: Path) -> None:
    """Write a record, and pictures beside it, into a folder."""
    with replacing(folder / f"{record['name']}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if pictures:
        with replacing(folder / f"{record['name']}.safetensors") as temporary:
            temporary.write_bytes(save(pictures))
