"""Recorded results: every number the book quotes and does not compute, with its whole provenance.

A record is a JSON file, made by `run.py` and by nothing else. Its `rows` are evaluations with the fields dataset,
method, recipe, ipc, protocol, scale, n_sets, n_networks, mean and std (accuracies in percent). Pictures stand in a
safetensors file of the same name. The runs of the chapters (`record.py`) lie beside this file, those of the papers'
tables and figures (`reproduce.py`) in a folder for each scale, which is a part of their names. What the papers print
stands in published….json, with its source, what a step costs in growth.json, and how fast it is beside plain PyTorch
in speed.json, both written by the programs in benchmarks/.
"""

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from datadam_lite.errors import DataDamError, known
from datadam_lite.provenance import code_of_files
from datadam_lite.report import rests_on

FOLDER = Path(__file__).parent
# Files beside the records of runs.
NOT_RUNS = (
    "published", "published-baselines", "published-steps", "published-experiments", "published-continual", "growth",
    "speed",
)  # fmt: skip


def names(scale: str = "") -> list[str]:
    """Return the names of the records of the chapters' runs, or of all runs of the papers' experiments at a scale.

    >>> names("quick")[0], names()[0]
    ('quick/digits-ipc1-atom', 'cifar10-ipc1-bfloat16')
    """
    files = (FOLDER / scale).glob("*.json")
    found = sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in files)
    return [name for name in found if name not in NOT_RUNS]


def read(name: str) -> dict:
    """Return a record.

    Raises: DataDamError if there is none of that name.
    """
    recorded = names(name.rpartition("/")[0])
    if name not in recorded:
        raise DataDamError(f"there is no recorded result {name!r}; the recorded ones are {', '.join(recorded)}.")
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def pictures(name: str) -> dict[str, Tensor]:
    """Return the uint8 pictures of a record: for every stage, [N, C, H, W]."""
    read(name)
    return load_file(FOLDER / f"{name}.safetensors")


def published(method: str, ipc: int | None, dataset: str = "CIFAR-10") -> str:
    """Return what a paper prints for a method, or "not available"; ipc None: trained on the whole training set.

    >>> published("datadam", 1)
    '32.0 ± 1.2 % (DataDAM, Table 1)'
    >>> published("atom", 1)
    'not available'
    """
    for entry in json.loads((FOLDER / "published.json").read_text(encoding="utf-8")):
        if (entry["method"], entry["ipc"], entry["dataset"]) == (method, ipc, dataset):
            spread = "" if entry["std"] is None else f" ± {entry['std']:.1f}"
            return f"{entry['mean']:.1f}{spread} % ({entry['source']})"
    return "not available"


def published_table() -> list[dict]:
    """Return the accuracies that papers print side by side, the methods that are not implemented here included.

    Each has dataset, method, ipc (None: the whole training set), mean and std in percent (None: not known to us) and
    source. None of them was run here.

    >>> [entry["mean"] for entry in published_table() if entry["method"] == "DSA" and entry["dataset"] == "CIFAR-10"]
    [28.8, 52.1, 60.6]
    """
    return json.loads((FOLDER / "published-baselines.json").read_text(encoding="utf-8"))


def published_step(ipc: int) -> dict:
    """Return what DataDAM's paper prints of a step for CIFAR-10: its seconds and megabytes on an A100, and the source.

    Raises: DataDamError if it prints nothing for so many images per class.

    >>> published_step(10)["seconds"]
    0.08
    """
    entries = json.loads((FOLDER / "published-steps.json").read_text(encoding="utf-8"))
    by_ipc = {str(entry["ipc"]): entry for entry in entries}
    return known(str(ipc), by_ipc, "number of images per class of a published step")


def published_continual() -> list[dict]:
    """Return the final accuracies of class-incremental learning that DataDAM's paper prints.

    Each has method, steps, ipc, dataset, mean (percent) and source.

    >>> [entry["mean"] for entry in published_continual() if entry["method"] == "datadam"]
    [39.7, 39.7]
    """
    return json.loads((FOLDER / "published-continual.json").read_text(encoding="utf-8"))


def row(name: str, method: str | None = None, protocol: str | None = None) -> dict:
    """Return the evaluation of a method in a record, by default the first: the method the record is named for.

    protocol: the name of an evaluation protocol; by default the record's first.

    Raises: DataDamError if the record has no such method or protocol.
    """
    rows = read(name)["rows"]
    protocol = protocol or rows[0]["protocol"]
    known(protocol, [r["protocol"] for r in rows], f"protocol of {name}")
    methods = {r["method"]: r for r in rows if r["protocol"] == protocol}
    return known(method or next(iter(methods)), methods, f"method of {name}")


def table(rows: dict[str, tuple]) -> str:
    """Return recorded accuracies as text, a line for each label -> (record, method or None, protocol or None)."""
    width = max(map(len, rows)) + 2
    lines = []
    for label, which in rows.items():
        r = row(*which)
        lines.append(f"{label:<{width}}{r['mean']:.1f} ± {r['std']:.1f} % ({rests_on(r['n_sets'], r['n_networks'])})")
    return "\n".join(lines)


def machine(record: dict) -> str:
    """Return what a record was made on: the processor, or the GPU, and the threads that ran.

    >>> machine({"hardware": "AMD EPYC, 2 threads", "numerics": {"threads": 1}})
    'AMD EPYC, 1 thread'
    """
    threads = record["numerics"]["threads"]
    return record["hardware"].split(",")[0] + (f", {threads} thread{'s' * (threads != 1)}" if threads else "")


def source(name: str) -> str:
    """Return where the numbers of a record come from, in a few short lines."""
    record = read(name)
    numerics, where = record["numerics"], machine(record)
    protocols = " and ".join(protocol["name"] for protocol in record["protocols"])
    lines = [
        f"{name}:",
        f"recorded {record['date']} on {where}; seeds {record['seeds']}, protocol {protocols},",
        f"datadam_lite {record['versions']['datadam_lite']} (code {record['code_sha256'][:8]}), "
        f"PyTorch {record['versions']['torch']}" + ("," if "losses" in record else ""),
    ]
    if "losses" in record:
        lines.append(f"distilled in {numerics['precision']}{', compiled' * numerics['compile']}")
    if changed := stale(name):
        files = f"{len(changed)} of {len(code_of_files())} files"
        lines.append(f"! OLDER CODE: of the method, {files} differ from today's")
    return "\n  ".join(lines)


def stale(name: str) -> list[str]:
    """Return the files of the method that are not known to be as they were when the record was made.

    Comments, docstrings and what only refuses bad input don't count. A record without fingerprints of single files
    names them all.
    """
    return stale_files(read(name))


def stale_files(record: dict) -> list[str]:
    """As `stale`, of a record that was read from elsewhere."""
    then, now = record.get("code_of_files", {}), code_of_files()
    return sorted(file for file in then.keys() | now.keys() if then.get(file) != now.get(file))


def growth(file: str | Path = FOLDER / "growth.json") -> dict:
    """Return what a step costs, as recorded: `points` by name, with machine and versions.

    A point has seconds, bytes and operations of a step, the last two block by block. file: the book's, or one that
    benchmarks/growth.py wrote on a machine of yours.

    >>> growth()["points"]["base"]["ipc"]
    10
    """
    return json.loads(Path(file).read_text(encoding="utf-8"))


def speed() -> dict:
    """Return how fast the package is beside plain PyTorch, as recorded: `rows` of arms, with machine and versions.

    An arm has all its samples in seconds, their median, and the ratio to the plain one; benchmarks/bench.py made them.

    >>> sorted(speed()["rows"])[0]
    'distillation step, 1 image per class'
    """
    return json.loads((FOLDER / "speed.json").read_text(encoding="utf-8"))


def varied(points: dict[str, dict], field: str) -> list[dict]:
    """Return those of the points of `growth` that differ from its base in one field alone, and the base, in order.

    Raises: DataDamError if there are none.

    >>> [point["ipc"] for point in varied(growth()["points"], "ipc")]
    [1, 10, 50]
    """
    alone = [name.split()[0] for name in points if name != "base" and "," not in name]
    known(field, dict.fromkeys(alone), "field of the points")
    chosen = [point for name, point in points.items() if name == "base" or name.split()[:-1] == [field]]
    return sorted(chosen, key=lambda point: point[field])
