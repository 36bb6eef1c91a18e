"""One run of class-incremental learning: memories for several class orders, and the accuracy after every step."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from datadam_lite.applications.continual import accuracies, arrivals, memory, only
from datadam_lite.coresets import CORESETS
from datadam_lite.data import ImageSet
from datadam_lite.files import replacing
from datadam_lite.protocol import Protocol
from datadam_lite.report import Report
from datadam_lite.results.run import Run, provenance, row
from datadam_lite.synthetic import SyntheticSet


def perform_continual(run: Run, name: str, train: ImageSet, test: ImageSet, work: Path) -> tuple[dict, dict]:
    """Perform a run whose classes arrive in `run.steps` steps; return its record, and no pictures.

    A seed is a class order; the accuracies in the record's rows are those after the last step, `by_step` has all.
    """
    about = provenance(run, train)  # of what runs, not of what an editor makes of it meanwhile
    work.mkdir(parents=True, exist_ok=True)
    orders = [one_order(run, train, test, seed, work) for seed in range(run.sets)]
    rows = [
        row(run, train.name, run.method, protocol, Report([order["accuracies"][k][-1] for order in orders]))
        for k, protocol in enumerate(run.protocols)
    ]
    seconds = {"in all": sum(order["seconds"] for order in orders)}
    return about | {
        "name": name, "rows": rows, "by_step": [order["accuracies"] for order in orders], "seconds": seconds
    }, {}  # fmt: skip


def one_order(run: Run, train: ImageSet, test: ImageSet, seed: int, work: Path) -> dict:
    """Return the accuracies of one class order, protocol by protocol, step by step, network by network.

    What is in a file in `work`, measured under the same protocols, is read there.
    """
    protocols = [asdict(protocol) for protocol in run.protocols]
    stem = f"{train.name}-{run.method}-{run.fingerprint(train)}-{run.networks}-order{seed}"
    kept = work / f"{stem}.json"
    if kept.exists() and (found := json.loads(kept.read_text(encoding="utf-8")))["protocols"] == protocols:
        return found
    started = time.time()
    parts = [
        _memory(run, only(train, classes), seed, work / f"{stem}-{step}.checkpoint")
        for step, classes in enumerate(arrivals(train.classes, run.steps, seed))
    ]
    found = {"accuracies": [_accuracies(run, parts, test, seed, protocol) for protocol in run.protocols]}
    found |= {"seconds": time.time() - started, "protocols": protocols}
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")
    return found


def _memory(run: Run, images: ImageSet, seed: int, checkpoint: Path) -> SyntheticSet:
    if run.method in CORESETS:
        return memory(images, run.ipc, lambda *asked: CORESETS[run.method](*asked, **run.changes), seed=seed)
    return memory(
        images, run.ipc, run.method, seed=seed, settings=run.settings, checkpoint=checkpoint, **run.changes
    )  # fmt: skip


def _accuracies(
    run: Run, parts: Sequence[SyntheticSet], test: ImageSet, seed: int, protocol: Protocol
) -> list[list[float]]:
    reports = accuracies(parts, test, networks=run.networks, protocol=protocol, seed=seed)
    return [report.models for report in reports]
