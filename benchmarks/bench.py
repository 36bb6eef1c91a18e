"""How fast `datadam_lite` is beside plain PyTorch, and in how much memory.

    python benchmarks/bench.py [--device cuda] [--quick] [--only TEXT] [--data PATH] [--out FILE]

Claim, for 2 CPU cores: a distillation step at 10 images per class is at least 2.5 times as fast as benchmarks/plain.py
in float32, and 5 times in mixed precision; a training step of an evaluation network 3 times in mixed precision.
Hardware, threads, versions, date and all n samples of every arm stand in the file that `--out` names.

Every arm of a row lives in a process of its own, with its own memory and threads. They are asked for one measurement
each, in turn and never at the same time, so that what slows the machine for a while slows all of them.
"""

import json
import os
import platform
import resource
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from arms import ARMS, FULL, KEPT, QUICK, Row, Size, rows_for

from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing
from datadam_lite.memory import keep_pages
from datadam_lite.provenance import code_sha256, hardware, versions

CLAIMS = [  # of 2 CPU cores: (beginning of the row's name, arm, how many times as fast as plain)
    ("distillation step, 10", "float32, compiled", 2.5),
    ("distillation step, 10", "mixed, compiled", 5.0),
    ("training step", "mixed, compiled", 3.0),
]
STEPS = 8000  # of a distillation, by DataDAM's recipe


# ---- in the process of an arm


def serve(pipe: Connection, row: Row, arm: str, size: Size, device: str) -> None:
    """Answer every request with one measurement: its seconds, and the peak of memory in bytes until then.

    What torch.compile writes goes to a folder of this process alone: it always starts from nothing.
    """
    try:
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
            if arm == KEPT:
                keep_pages()
            before = peak(device)
            measure = row.make(ARMS[arm], size, device, **row.options)
            while pipe.recv():
                pipe.send({"seconds": measure(), "peak": peak(device) - before})
    except Exception:
        pipe.send({"error": traceback.format_exc()})


def peak(device: str) -> int:
    """Most bytes held so far: of the GPU by PyTorch, or of main memory by this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---- in the process that asks


class Worker:
    """The process of one arm; `ask` for a measurement.

    Raises: DataDamError if it dies, or anything goes wrong in it.
    """

    def __init__(self, row: Row, arm: str, size: Size, device: str):
        context = get_context("forkserver")  # imports once, and not in a process that has measured anything
        context.set_forkserver_preload(["datadam_lite"])
        self.name, (self.pipe, other) = f"{arm!r} of {row.name!r}", context.Pipe()
        self.process = context.Process(target=serve, args=(other, row, arm, size, device), daemon=True)
        self.process.start()
        other.close()  # so that the end of that process is the end of the pipe

    def ask(self) -> dict:
        """Return {"seconds", "peak"} of one measurement."""
        try:
            self.pipe.send(True)
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise DataDamError(
                f"the process of {self.name} ended with status {self.process.exitcode} (expected a measurement). "
                "Status -9 mostly means that memory ran out: close other programs, or measure fewer rows with --only."
            ) from error
        if "error" in answer:
            raise DataDamError(f"{self.name} failed (expected a measurement); mend this first:\n{answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):  # it has ended already
            self.pipe.send(False)
        self.process.join()
        self.pipe.close()


def in_turn(ask: dict[str, Callable[[], dict]], rounds: int) -> dict[str, list[dict]]:
    """Ask every arm for one measurement, then every arm for another, and so on.

    >>> in_turn({"a": lambda: {"seconds": 2}, "b": lambda: {"seconds": 1}}, 2)
    {'a': [{'seconds': 2}, {'seconds': 2}], 'b': [{'seconds': 1}, {'seconds': 1}]}
    """
    answers = {arm: [] for arm in ask}
    for _ in range(rounds):
        for arm, measure in ask.items():
            answers[arm].append(measure())
    return answers


def summary(samples: dict[str, list[float]]) -> dict[str, dict]:
    """Per arm its samples in seconds, their median and spread; how many times as fast as the first arm it is.

    "ratio" is that of the medians, "ratios" the smallest and largest of the rounds, each within its own round.

    >>> found = summary({"plain": [3.0, 4.0, 9.0], "fast": [1.0, 1.0, 3.0]})["fast"]
    >>> found["median"], found["spread"], found["ratio"], found["ratios"]
    (1.0, [1.0, 3.0], 4.0, [3.0, 4.0])
    """
    first = next(iter(samples.values()))
    results = {}
    for arm, seconds in samples.items():
        ratios = [a / b for a, b in zip(first, seconds, strict=True)]
        results[arm] = {
            "samples": seconds, "median": median(seconds), "spread": [min(seconds), max(seconds)],
            "ratio": median(first) / median(seconds), "ratios": [min(ratios), max(ratios)],
        }  # fmt: skip
    return results


def measure(row: Row, size: Size, device: str) -> dict[str, dict]:
    """Measure all arms of a row: `summary`, seconds of the first measurement, and the peak of memory in bytes."""
    workers = {}
    try:
        workers |= {arm: Worker(row, arm, size, device) for arm in row.arms}
        ask = {arm: worker.ask for arm, worker in workers.items()}
        first = in_turn(ask, 1)
        answers = first if row.once else in_turn(ask, 1) and in_turn(ask, size.rounds)  # one more to warm up
    finally:
        for worker in workers.values():
            worker.close()
    results = summary({arm: [answer["seconds"] for answer in given] for arm, given in answers.items()})
    for arm, result in results.items():
        result |= {"first_seconds": first[arm][0]["seconds"], "peak_bytes": answers[arm][-1]["peak"]}
    return results


# ---- what is reported


def about(device: str, size: Size, quick: bool) -> dict:
    """Where and with what this was measured."""
    return {
        "claims": [f"{row}, {arm}: {least} times as fast as plain" for row, arm, least in CLAIMS],
        "hardware": hardware(device), "device": device, "threads": torch.get_num_threads(), "quick": quick,
        "size": size._asdict(), "versions": {"python": platform.python_version(), **versions()},
        "date": date.today().isoformat(), "code_sha256": code_sha256(), "rows": {},
        "computed_minutes_of_8000_steps": {},
    }  # fmt: skip


def continued(report: dict, out: Path | None) -> dict:
    """Return the report of `out`, to go on with, if it is of this machine, these versions and this code; else this one.

    >>> continued({"rows": {}}, None)
    {'rows': {}}
    """
    if out is None or not out.exists():
        return report
    stored = json.loads(out.read_text())
    measured = ("rows", "computed_minutes_of_8000_steps", "date")
    same = all(stored.get(key) == value for key, value in report.items() if key not in measured)
    return stored if same else report


def minutes(arms: dict[str, dict]) -> dict[str, float]:
    """Minutes of a whole distillation, computed from the median of its step.

    >>> minutes({"plain": {"median": 0.75}})
    {'plain': 100.0}
    """
    return {arm: STEPS * result["median"] / 60 for arm, result in arms.items()}


def verdicts(rows: dict[str, dict]) -> list[str]:
    """One line for each claim and row it speaks of: what was claimed, what was measured.

    >>> verdicts({"training step, batch norm": {"mixed, compiled": {"ratio": 2.0}}})
    ['missed: training step, batch norm, mixed, compiled: 2.00 times as fast, claimed 3.0']
    """
    return [
        f"{'holds' if arms[arm]['ratio'] >= least else 'missed'}: {name}, {arm}: "
        f"{arms[arm]['ratio']:.2f} times as fast, claimed {least}"
        for start, arm, least in CLAIMS
        for name, arms in rows.items()
        if name.startswith(start)
    ]


def lines(name: str, arms: dict[str, dict]) -> str:
    """The part of the table that shows one row."""
    text = [f"\n{name}"]
    for arm, r in arms.items():
        low, high = r["spread"]
        text.append(
            f"  {arm:36} {1000 * r['median']:9.1f} ms ({1000 * low:.1f} … {1000 * high:.1f})  "
            f"x{r['ratio']:5.2f} ({r['ratios'][0]:.2f} … {r['ratios'][1]:.2f})  "
            f"first {r['first_seconds']:6.1f} s  peak {r['peak_bytes'] / 2**20:6.0f} MiB"
        )
    return "\n".join(text)


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="tiny sizes: does it run at all?")] = False,
    all_rows: Annotated[bool, typer.Option("--all-rows", help="also what is meant for a GPU alone")] = False,
    only: Annotated[str, typer.Option(help="rows whose name contains this text, measured anew")] = "",
    data: Annotated[str | None, typer.Option(help="a folder or zip of images, whose loading is measured too")] = None,
    out: Annotated[
        Path | None, typer.Option(help="a JSON file of all samples; rows it holds already are not measured again")
    ] = None,
) -> None:
    """Time the package beside plain PyTorch."""
    size = QUICK if quick else FULL
    report = continued(about(device, size, quick), out)
    print(f"{report['hardware']}; PyTorch {report['versions']['torch']}; medians of {size.rounds} (least … most)")
    for row in rows_for(device, data, everything=all_rows):
        if only not in row.name or (not only and row.name in report["rows"]):
            continue
        arms = report["rows"][row.name] = measure(row, size, device)
        print(lines(row.name, arms), flush=True)
        if row.name.startswith("distillation step"):
            computed = report["computed_minutes_of_8000_steps"][row.name] = minutes(arms)
            print("  8,000 steps, computed: " + "; ".join(f"{arm} {m:.1f} min" for arm, m in computed.items()))
        if out:
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(report, indent=1) + "\n")
    if device == "cpu" and not quick:
        print("\n" + "\n".join(verdicts(report["rows"])))


if __name__ == "__main__":
    typer.run(main)
