"""How the cost of a distillation step grows: with images, classes, side and depth, one of them at a time.

    python benchmarks/growth.py [--device cuda] [--quick] [--out FILE]

Every step is one of DataDAM's, in mixed precision and compiled, in a process of its own. Images are random: no step
takes longer for another picture. Nothing is whitened, which happens once and not in a step. What the file holds
already, measured by the same code on the same machine, isn't measured again. FILE is growth.json if you name no
other; the one that chapter 8 of the book reads is datadam_lite/results/growth.json.
"""

import hashlib
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import cost
import torch
import typer
from arms import clock
from bench import peak

from datadam_lite import memory, settings
from datadam_lite.data import ImageSet
from datadam_lite.distill import Distiller
from datadam_lite.files import replacing
from datadam_lite.networks import depth_for
from datadam_lite.provenance import code_sha256, hardware, versions
from datadam_lite.recipes import Recipe, recipe
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings


@dataclass(frozen=True)
class Point:
    """One step to measure: images per class, classes, side in pixels, real images per class, network, numbers.

    depth: None for what the package takes at this side: 3 up to 32 pixels, 4 at 64, 5 at 128.

    >>> Point().name, Point(side=64, depth=3).name
    ('base', 'side 64, depth 3')
    """

    ipc: int = 10
    classes: int = 10
    side: int = 32
    real_batch: int = 64
    width: int = 128
    depth: int | None = None
    precision: str = "mixed"
    compile: bool = True

    @property
    def name(self) -> str:
        """What differs from the base point, in words."""
        differs = [f"{field} {value}" for field, value in asdict(self).items() if value != getattr(Point, field)]
        return ", ".join(differs) or "base"

    def recipe(self) -> Recipe:
        """The recipe of the step: DataDAM's."""
        depth = self.depth or depth_for(self.side)
        changes = {"real_batch": self.real_batch, "width": self.width, "depth": depth, "zca": False}
        return recipe("datadam", **changes).for_images((3, self.side, self.side), self.ipc)

    def images(self) -> ImageSet:
        """As many random images as a step takes."""
        each = max(self.real_batch, self.ipc)
        size = (self.classes * each, 3, self.side, self.side)
        pixels = torch.randint(256, size, generator=generator(0, "pixels"), dtype=torch.uint8)
        labels = torch.arange(self.classes).repeat_interleave(each)
        return ImageSet(pixels, labels, tuple(map(str, range(self.classes))), "random")


VARIED = {  # one at a time, all else as in the base point
    "ipc": (1, 50), "real_batch": (16, 256), "classes": (5, 20, 100), "side": (16, 64, 128), "depth": (2, 4),
    "precision": ("float32",),
}  # fmt: skip
POINTS = [
    Point(),
    *(replace(Point(), **{field: value}) for field, values in VARIED.items() for value in values),
    *(Point(side=64, depth=3), Point(side=64, ipc=1)),
    *(Point(classes=classes, side=64, ipc=1, real_batch=8, width=32) for classes in (10, 1000)),
]
BY_BLOCK = (Point(), Point(precision="float32"))  # of these also every block alone, and the machine's rates
QUICK = [Point(ipc=ipc, side=8, real_batch=2, width=8, compile=False) for ipc in (1, 2)]


def measure(point: Point, device: str) -> dict:
    """Take some steps of a point and return their cost: seconds, bytes, operations."""
    how = Settings(device, point.precision, compile=point.compile)
    train, shape = point.images(), (3, point.side, point.side)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder  # the first step compiles, whoever compiled it before
        how.compiles()  # loads the compiler, whose memory isn't the step's
        before = peak(device)
        distiller = Distiller(train, point.ipc, point.recipe(), settings=how)
        first = clock(lambda: next(distiller), device)
        seconds = cost.samples(lambda: next(distiller), device, warm_up=cost.WARM_UP - 1)
        held = peak(device) - before
        detailed = point in (*BY_BLOCK, *QUICK)
        by_block = cost.block_seconds(distiller) if detailed else None
        rates = cost.rates(device, point.precision) if detailed else None  # now, under the same load
    sizes = (distiller.recipe, shape, point.classes, point.ipc)
    return asdict(point) | {
        "depth": distiller.recipe.depth, "chunk": distiller.chunk, "seconds": statistics.median(seconds),
        "samples": seconds, "first_step_seconds": first, "memory_bytes": held,
        "block_seconds": by_block, "rates": rates, "real_bytes": train.images.nbytes,
        "operations": cost.count_operations(*sizes), "least_bytes": cost.least_bytes(*sizes, size=how.dtype().itemsize),
        "synthetic_bytes": distiller.images.nbytes,
    }  # fmt: skip


def alone(function: Callable, *arguments):
    """Call a function in a process of its own, so that neither memory nor compiled code is left from another call."""
    context = get_context("forkserver")  # imports once, and not in a process that has measured anything
    context.set_forkserver_preload(["datadam_lite"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def code() -> str:
    """Fingerprint of all that decides what a step costs: the method, how it computes, and how it is measured."""
    files = [memory.__file__, settings.__file__, cost.__file__, __file__]
    return hashlib.sha256(code_sha256().encode() + b"".join(Path(file).read_bytes() for file in files)).hexdigest()


def surroundings(device: str) -> dict:
    """What two figures must share to stand side by side: machine, versions and code."""
    threads = torch.get_num_threads() if device == "cpu" else None
    where = {"device": device, "hardware": hardware(device), "threads": threads}
    return where | {"versions": versions(), "code_sha256": code()}


def begun(out: Path, where: dict) -> dict:
    """Return what the file holds, if it was measured in these surroundings; else a record without a point."""
    if out.exists():
        record = json.loads(out.read_text(encoding="utf-8"))
        if all(record.get(key) == value for key, value in where.items()):
            return record
    return {**where, "date": date.today().isoformat(), "points": {}}


def write(out: Path, record: dict) -> None:
    """Write the record, all of it or nothing."""
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="two points of tiny images, to try the script")] = False,
    out: Annotated[Path, typer.Option(help="the file of results")] = Path("growth.json"),
):
    """Measure what is missing in the file of results, point by point."""
    record = begun(out, surroundings(device))
    for point in QUICK if quick else POINTS:
        if point.name in record["points"]:
            continue
        try:
            record["points"][point.name] = found = alone(measure, point, device)
        except BrokenProcessPool:
            print(f"{point.name}: the process died, for lack of memory perhaps; no figures", flush=True)
            continue
        write(out, record)
        print(f"{point.name}: {found['seconds']:.3f} s, {found['memory_bytes'] / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    typer.run(main)
