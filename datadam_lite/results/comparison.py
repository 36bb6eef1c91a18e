"""Ours beside theirs: what came of an experiment, row by row, with what the papers print for the same."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean

from safetensors.torch import load_file
from torch import Tensor

from datadam_lite.applications.search import agreement, best
from datadam_lite.coresets import CORESETS
from datadam_lite.report import Report
from datadam_lite.results import FOLDER, machine, published_continual, published_step, published_table, stale_files
from datadam_lite.results.experiments import EXPERIMENTS, VARIANTS
from datadam_lite.results.reproduce import Planned, plan

NOT_AVAILABLE = "not available"
STAR = "\N{NO-BREAK SPACE}*"
PAPER_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "tinyimagenet": "Tiny ImageNet"}


@cache
def _printed() -> dict[tuple, dict]:
    """What papers print, by experiment, row, data set, images per class, network and steps."""
    own = json.loads((FOLDER / "published-experiments.json").read_text(encoding="utf-8"))
    names = {paper: name for name, paper in PAPER_NAMES.items()}
    own += [{"experiment": "table1", "row": e["method"]} | e for e in published_table()]
    own += [{"experiment": "figure7", "row": e["method"]} | e for e in published_continual()]
    return {
        (e["experiment"], e["row"], names.get(e["dataset"], e["dataset"]), e["ipc"], e.get("network", "convnet"),
         e.get("steps")): e
        for e in own
    }  # fmt: skip


def printed(
    experiment: str, row: str, data: str, ipc: int, network: str = "convnet", steps: int | None = None
) -> dict | None:  # fmt: skip
    """Return what a paper prints for a row of an experiment: mean, std (None: not known) and source; None if nothing.

    >>> printed("table5", "attention", "cifar10", 10)["mean"]
    49.8
    >>> printed("table5", "attention", "digits", 1) is None
    True
    """
    return _printed().get((experiment, row, data, ipc, network, steps))


def compare(name: str, scale: str, folder: Path = FOLDER, *, sets: int | None = None) -> list[dict]:
    """Return the evaluations of an experiment that are recorded in a folder, in the order of its rows.

    sets: of each row, as in `plan`. Each has `says`, the row in words; `published`, as `printed`; `report`, ours;
    `gain`, a Report of the differences, set by set, to the experiment's first row under the same conditions (None for
    that row itself, or without it);
    `iterations` of the distillation, and `moved`, how far the images moved on average, the root mean square change
    of a pixel in the space that networks see (None: they are real images, or it was not kept);
    `cost`, `protocol`, `precision` of the distillation (None: real images), `file` and `stale`, the files of the
    method that have changed since.

    >>> [found["says"] for found in compare("table6", "quick")]
    ['DataDAM', 'attention of block 1', 'attention of block 2']
    """
    planned = [(each, each.result(folder)) for each in plan(name, scale, sets=sets)]
    found = [(each, record, row) for each, record in planned if record for row in record["rows"]]
    first = EXPERIMENTS[name].rows_at(scale)[0]
    reference = {_place(each, row): row for each, _, row in found if each.row == first}
    return [
        _comparison(name, each, record, row, None if each.row == first else reference.get(_place(each, row)))
        for each, record, row in found
    ]


def _place(planned: Planned, row: dict) -> tuple:
    """What two evaluations must share to be compared."""
    return planned.data, planned.run.ipc, planned.run.steps, row["protocol"]


def _comparison(name: str, planned: Planned, record: dict, row: dict, reference: dict | None) -> dict:
    moved = record.get("moved")
    return {
        "row": planned.row, "says": VARIANTS[planned.row].says, "data": planned.data, "ipc": planned.run.ipc,
        "protocol": row["protocol"], "scale": planned.run.scale, "steps": planned.run.steps,
        "published": printed(name, planned.row, planned.data, planned.run.ipc, row["network"], planned.run.steps),
        "report": Report(row["accuracies"]), "gain": _gain(row, reference) if reference else None,
        "iterations": (record.get("recipe") or {}).get("iterations"),
        "moved": fmean(moved) if moved else None, "cost": record.get("cost"), "hardware": machine(record),
        "precision": None if planned.run.method in CORESETS else record["numerics"]["precision"],
        "file": f"{planned.run.scale}/{planned.name}.json", "stale": stale_files(record),
    }  # fmt: skip


def _gain(row: dict, reference: dict) -> Report:
    """The differences of set means, pair by pair: sets of one seed began with the same real images."""
    pairs = zip(row["accuracies"], reference["accuracies"], strict=False)  # of one of them more sets may be recorded
    return Report([[fmean(ours) - fmean(theirs)] for ours, theirs in pairs])


def ranks(name: str, scale: str, folder: Path = FOLDER, *, sets: int | None = None) -> list[dict]:
    """Return what is recorded of an architecture search, row by row: how well each orders the networks.

    The truth is the test accuracy after training on all images, averaged over the sets (for the row "whole" itself,
    over the other sets, so that it says what the best of orders can reach; with one set alone it is 1 by definition).
    Each row has `says`, `published`, as `printed`; Reports over sets of `agreement`, Spearman's correlation, and of
    `top`, the same among the best fifth; `best`, a Report of the test accuracies, after training on all images, of the
    networks it rates best; `minutes` to rate all networks on one set; `file` and `stale`. Empty without the truth.

    >>> [found["row"] for found in ranks("table8", "quick")]
    ['datadam', 'random', 'dm', 'early', 'whole']
    """
    planned = [(each, each.result(folder)) for each in plan(name, scale, sets=sets)]
    found = [(each, record) for each, record in planned if record]
    truth = {each.data: record["rows"][0]["accuracies"] for each, record in found if each.row == "whole"}
    return [_ranked(name, each, record, truth[each.data]) for each, record in found if each.data in truth]


def _ranked(name: str, planned: Planned, record: dict, of_sets: Sequence[Sequence[float]]) -> dict:
    (row,) = record["rows"]
    truths = [_truth(of_sets, k if planned.row == "whole" else None) for k in range(len(row["accuracies"]))]
    pairs = list(zip(row["accuracies"], truths, strict=True))
    return {
        "row": planned.row, "says": VARIANTS[planned.row].says, "data": planned.data, "ipc": planned.run.ipc,
        "protocol": row["protocol"], "scale": planned.run.scale, "steps": None,
        "published": printed(name, planned.row, planned.data, planned.run.ipc),
        "agreement": Report([[agreement(*pair)] for pair in pairs]),
        "top": Report([[agreement(*pair, 0.2)] for pair in pairs]),
        "best": Report([[truth[best(ratings)[0]]] for ratings, truth in pairs]),
        "minutes": record["seconds"]["to rate"] / 60 / len(pairs), "hardware": machine(record),
        "file": f"{planned.run.scale}/{planned.name}.json", "stale": stale_files(record),
    }  # fmt: skip


def _truth(of_sets: Sequence[Sequence[float]], left_out: int | None) -> list[float]:
    """The mean over sets, network by network; without one of the sets, if others are left."""
    chosen = [each for k, each in enumerate(of_sets) if k != left_out] or of_sets
    return [fmean(values) for values in zip(*chosen, strict=True)]


def pictures(name: str, scale: str, folder: Path = FOLDER) -> dict[tuple[str, str, int], Tensor]:
    """Return the images that were kept of an experiment: (row in words, data set, ipc) -> uint8 [N, C, H, W].

    Of a run that kept several stages, the last.
    """
    found = {}
    for each in plan(name, scale):
        file = each.file(folder).with_suffix(".safetensors")
        if file.exists() and each.result(folder):
            stages = load_file(file)
            last = max(stages, key=lambda stage: int(stage.split()[1]))
            found[VARIANTS[each.row].says, each.data, each.run.ipc] = stages[last]
    return found


def cost(name: str, scale: str) -> str:
    """Return what an experiment took where it was recorded: minutes, all sets one after the other, and memory.

    >>> cost("table6", "quick").startswith("3 recorded: ")
    True
    """
    records = [record for each in plan(name, scale) if (record := each.result(FOLDER))]
    if not records:
        return "not measured yet"
    minutes = sum(sum(record["seconds"].values()) for record in records) / 60
    peak = max((record["cost"]["peak bytes"] or 0 for record in records if "cost" in record), default=0)
    memory = f"{peak / 1e9:.1f} GB" if peak else "memory not known"
    return f"{len(records)} recorded: {minutes:.0f} minutes, {memory}"


# ---- as text


def describe(entry: dict | None) -> str:
    """A published accuracy as text.

    >>> describe({"mean": 54.2, "std": 0.8}), describe(None)
    ('54.2 ± 0.8', 'not available')
    """
    if entry is None:
        return NOT_AVAILABLE
    return f"{entry['mean']:.1f}" + (f" ± {entry['std']:.1f}" if entry.get("std") else "")


def clear(gain: Report) -> bool:
    """Whether a difference is larger than its 95 % interval over sets.

    >>> clear(Report([[1.0], [1.1], [0.9]])), clear(Report([[1.0], [-1.1], [0.9]]))
    (True, False)
    """
    return gain.interval is not None and abs(gain.mean) > gain.interval


def tables(name: str, scale: str, folder: Path = FOLDER, *, sets: int | None = None) -> dict[str, str]:
    """Return Markdown tables of what is recorded of an experiment, by a title that says what they share."""
    shows = EXPERIMENTS[name].shows
    found = (ranks if shows == "ranks" else compare)(name, scale, folder, sets=sets)
    write = {"cost": _cost, "ranks": _ranks}.get(shows, _accuracy)
    groups = {}
    for each in found:
        arriving = f" in {each['steps']} steps" if each["steps"] else ""
        title = f"{each['data']}{arriving}, {each['ipc']} per class, scale {scale}, protocol: {each['protocol']}"
        groups.setdefault(title, []).append(each)
    return {title: write(rows) for title, rows in groups.items()}


def _accuracy(rows: Sequence[dict]) -> str:
    lines = [("", "published", "ours", "95 % over sets", f"minus {rows[0]['says']}", "iterations", "moved",
              "sets x networks")]  # fmt: skip
    for each in rows:
        report, gain = each["report"], each["gain"]
        lines.append((
            each["says"] + " (older code)" * bool(each["stale"]), describe(each["published"]),
            f"{report.mean:.1f} ± {report.std:.1f}", _interval(report),
            "" if gain is None else f"{round(gain.mean, 1) + 0.0:+.1f} {_interval(gain)}" + STAR * clear(gain),
            "" if each["iterations"] is None else f"{each['iterations']:,}",
            "" if each["moved"] is None else f"{each['moved']:.2f}",
            f"{len(report.accuracies)} x {len(report.accuracies[0])}",
        ))  # fmt: skip
    # A column that no row fills says nothing
    filled = [column for column in zip(*lines, strict=True) if not set(column[1:]) <= {"", NOT_AVAILABLE}]
    return markdown(list(zip(*filled, strict=True)))


def _interval(report: Report, digits: int = 1) -> str:
    return "(one set)" if report.interval is None else f"± {report.interval:.{digits}f}"


def _cost(rows: Sequence[dict]) -> str:
    lines = [("", "published: s", "published: MB", "ours: s", "ours: MB", "on")]
    for each in rows:
        known = (each["row"], each["data"]) == ("datadam", "cifar10")
        theirs = published_step(each["ipc"]) if known else {"seconds": NOT_AVAILABLE, "megabytes": NOT_AVAILABLE}
        peak = each["cost"]["peak bytes"]
        lines.append((
            each["says"], str(theirs["seconds"]), str(theirs["megabytes"]), f"{each['cost']['seconds of a step']:.3f}",
            "not known" if peak is None else f"{peak / 1e6:.0f}", each["hardware"],
        ))  # fmt: skip
    return markdown(lines)


def _ranks(rows: Sequence[dict]) -> str:
    header = (
        "", "published: accuracy", "Spearman", "best fifth", "ours: accuracy of the best", "Spearman", "best fifth",
        "minutes", "sets",
    )  # fmt: skip
    lines = [header]
    for each in rows:
        theirs = each["published"] or {}
        lines.append((
            each["says"] + " (older code)" * bool(each["stale"]), describe(each["published"]),
            *(NOT_AVAILABLE if theirs.get(key) is None else f"{theirs[key]:.2f}" for key in ("spearman", "top")),
            f"{each['best'].mean:.1f} {_interval(each['best'])}",
            *(f"{each[key].mean:.2f} {_interval(each[key], 2)}" for key in ("agreement", "top")),
            f"{each['minutes']:.1f}", str(len(each["best"].accuracies)),
        ))  # fmt: skip
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its header. An accuracy and its ± are kept on one line.

    >>> print(markdown([("method", "%"), ("DM", "26.0")]))
    | method | % |
    |---|---|
    | DM | 26.0 |
    """
    header, *rest = ("| " + " | ".join(line) + " |" for line in lines)
    text = "\n".join([header, "|" + "---|" * len(lines[0]), *rest])
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
