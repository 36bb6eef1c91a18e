"""One row of an architecture search: all networks of a grid, rated on small sets of one kind."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from datadam_lite.applications.hold_out import hold_out
from datadam_lite.applications.search import Candidate, rate, whole
from datadam_lite.data import ImageSet
from datadam_lite.files import replacing
from datadam_lite.report import Report
from datadam_lite.results.run import Run, make, provenance, row
from datadam_lite.results.searches import ON_ALL
from datadam_lite.synthetic import SyntheticSet

AT_ONCE = 10  # networks between two savings


def perform_search(run: Run, name: str, train: ImageSet, test: ImageSet, work: Path) -> tuple[dict, dict]:
    """Perform a run in which all networks of `run.search` are rated; return its record, and no pictures.

    The record's accuracies have a row for each set and a column for each network of the grid: of held-out images,
    which no set was made of, but of test images where networks were trained on all others ("whole").
    """
    about = provenance(run, train)  # of what runs, not of what an editor makes of it meanwhile
    work.mkdir(parents=True, exist_ok=True)
    rest, held = hold_out(train, run.search.held)
    sets, seconds = _sets(run, rest, work)
    asked, tried = test if run.method == "whole" else held, run.search.tried(run.method)
    stem = f"{train.name}-{run.method}-{run.fingerprint(rest)}-{_key(tried)}"
    found = [_rated(tried, chosen, asked, seed, work / f"{stem}-{seed}.ratings") for seed, chosen in enumerate(sets)]
    report = Report([each["accuracies"] for each in found])
    seconds = {"to make": seconds, "to rate": sum(each["seconds"] for each in found)}
    rows = [row(run, train.name, run.method, run.protocols[0], report)]
    return about | {"name": name, "rows": rows, "seconds": seconds}, {}


def _sets(run: Run, rest: ImageSet, work: Path) -> tuple[list[SyntheticSet], float]:
    """The sets of a row, and the seconds it took to make them."""
    if run.method in ON_ALL:
        return [whole(rest)] * run.sets, 0.0
    made = make(run, rest, work)
    return made.sets, made.seconds


def _key(tried: Sequence[Candidate]) -> str:
    return sha256(json.dumps([asdict(each) for each in tried]).encode()).hexdigest()[:8]


def _rated(tried: Sequence[Candidate], chosen: SyntheticSet, images: ImageSet, seed: int, kept: Path) -> dict:
    """The ratings of all networks on one set, and the seconds they took; those in the file `kept` are read there."""
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"accuracies": [], "seconds": 0.0}
    while (done := len(known["accuracies"])) < len(tried):
        started = time.time()
        known["accuracies"] += rate(tried[done : done + AT_ONCE], chosen, images, seed=seed)
        known["seconds"] += time.time() - started
        with replacing(kept) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
    return known
