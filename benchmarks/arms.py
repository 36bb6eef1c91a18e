"""What is timed: the rows of the table, the arms of a row, and how to take one measurement of an arm.

Images are random and of CIFAR-10's number and shape: no step takes longer for another picture. Nothing is whitened,
which happens once and not in a step.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import plain
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from datadam_lite.data import ImageSet, load
from datadam_lite.distill import Distiller, distill
from datadam_lite.errors import DataDamError
from datadam_lite.evaluate import train_networks
from datadam_lite.preprocess import Preprocess
from datadam_lite.protocol import Protocol
from datadam_lite.recipes import Recipe, recipe
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

CLASSES = 10


class Size(NamedTuple):
    """How large everything is: real images per class, their side, width of the networks, steps of a training."""

    per_class: int
    side: int
    width: int
    steps: int  # of each training that is timed
    iterations: int  # of the run that is timed from beginning to end
    rounds: int


FULL = Size(per_class=5000, side=32, width=128, steps=6, iterations=8000, rounds=7)
QUICK = Size(per_class=256, side=8, width=8, steps=3, iterations=3, rounds=2)


class Row(NamedTuple):
    """One row of the table; ratios are to its first arm.

    make: (settings of the arm, Size, device, **options) -> a function that takes one measurement, in seconds;
    once: nothing is warmed up, and the first measurement is the only one.
    """

    name: str
    make: Callable[..., Callable[[], float]]
    options: dict
    arms: tuple[str, ...]
    once: bool = False


# ---- what is measured on


def real_images(size: Size) -> ImageSet:
    """Random uint8 images, equally many of every class.

    >>> real_images(QUICK)
    ImageSet random: 2560 images of 3x8x8 pixels in 10 classes
    """
    shape = (CLASSES * size.per_class, 3, size.side, size.side)
    images = torch.randint(256, shape, generator=generator(0, "benchmark"), dtype=torch.uint8)
    labels = torch.arange(CLASSES).repeat_interleave(size.per_class)
    return ImageSet(images, labels, tuple(map(str, range(CLASSES))), "random")


def synthetic_images(size: Size, ipc: int) -> SyntheticSet:
    """A set of noise to train networks on.

    >>> len(synthetic_images(QUICK, 3))
    30
    """
    noise = torch.randn(CLASSES * ipc, 3, size.side, size.side, generator=generator(0, "benchmark"))
    unchanged = Preprocess(torch.zeros(3), torch.ones(3))
    return SyntheticSet(noise, torch.arange(CLASSES).repeat_interleave(ipc), tuple(map(str, range(CLASSES))), unchanged)


def unwhitened(method: str, size: Size, **changes) -> Recipe:
    """A recipe of this size for random images, which have statistics of their own."""
    return recipe(method, width=size.width, zca=False, statistics="exact", **changes)


# ---- one measurement


def synchronise(device: str) -> None:
    """Wait until a GPU has done what it was asked for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def clock(work: Callable[[], object], device: str) -> float:
    """Seconds that `work` takes.

    >>> 0.01 <= clock(partial(time.sleep, 0.01), "cpu") < 1
    True
    """
    synchronise(device)
    begin = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - begin


def clock_steps(train: Callable[[], object], device: str) -> float:
    """Mean seconds of a step of a training, from the end of its first step to the end of its last.

    A step is whatever ends in a step of an optimiser; what happens before and after the loop doesn't count.
    """
    moments = []

    def note(*_):
        synchronise(device)
        moments.append(time.perf_counter())

    hook = register_optimizer_step_post_hook(note)
    try:
        train()
    finally:
        hook.remove()
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def settings(options: dict, device: str) -> Settings:
    """The settings of an arm.

    Raises: DataDamError if they say to compile and that doesn't work here: it would be timed under a wrong name.
    """
    found = Settings(device=device, **options)
    if found.compile and not found.compiles():
        raise DataDamError(
            "torch.compile doesn't work here, as the warning above says, and what it speeds up can't be measured; "
            "expected a C++ compiler such as g++ (on a GPU also Triton): install one."
        )
    return found


# ---- what is measured


def distillation(
    options: dict | None, size: Size, device: str, *, ipc: int, method: str = "datadam", real_batch: int = 64
) -> Callable[[], float]:
    """One step of a distillation."""
    train, chosen = real_images(size), unwhitened(method, size, real_batch=real_batch)
    if options is None:
        preprocess = Preprocess.fit(train)
        start = preprocess.apply(train.images[train.sample(ipc, generator(0, "start"))])
        steps = plain.Distiller(train, start, chosen, preprocess=preprocess, device=device)
    else:
        steps = Distiller(train, ipc, chosen, settings=settings(options, device))
    return partial(clock, partial(next, steps), device)


def whole_distillation(options: dict, size: Size, device: str, *, ipc: int) -> Callable[[], float]:
    """A distillation from beginning to end, compilation and all."""
    train, chosen = real_images(size), unwhitened("datadam", size, iterations=size.iterations)
    return partial(clock, partial(distill, train, ipc, chosen, settings=settings(options, device)), device)


def training(options: dict | None, size: Size, device: str, *, norm: str) -> Callable[[], float]:
    """One step of the training of a network on 10 images per class, all in one batch.

    Of networks trained at once, the time is that of a step of all of them divided by their number.
    """
    chosen, protocol = synthetic_images(size, 10), Protocol(epochs=size.steps, width=size.width, norm=norm)
    if options is None:
        return partial(clock_steps, partial(plain.train_network, chosen, protocol=protocol, device=device), device)
    how = settings(options, device)
    networks = how.networks_at_once or 1

    def train():
        streams = [generator(0, "evaluation", j) for j in range(networks)]
        train_networks(chosen, streams, protocol=protocol, settings=how)

    return lambda: clock_steps(train, device) / networks


def loading(options: dict, size: Size, device: str, *, path: str) -> Callable[[], float]:
    """Loading a data set of one's own; the first time, which counts as the first step, it is stored for the next."""
    return partial(clock, partial(load, path), device)


# ---- the table

KEPT = "plain, memory kept"  # the same without the C library's habit that datadam_lite.memory breaks
TWENTY = "mixed, compiled, 20 networks at once"
ARMS = {  # settings of the package; None: benchmarks/plain.py
    "plain": None,
    KEPT: None,
    "float32": {},
    "float32, compiled": {"compile": True},
    "mixed, compiled": {"precision": "mixed", "compile": True},
    "mixed, CUDA graphs": {"precision": "mixed", "compile": True, "cuda_graphs": True},
    TWENTY: {"precision": "mixed", "compile": True, "networks_at_once": 20},
}
ONLY_CUDA = ("mixed, CUDA graphs", TWENTY)
STEP = tuple(arm for arm in ARMS if arm != TWENTY)
ROWS = [
    Row("distillation step, 10 images per class", distillation, {"ipc": 10}, STEP),
    Row("distillation step, 1 image per class", distillation, {"ipc": 1}, STEP),
    Row("distillation step, 50 images per class", distillation, {"ipc": 50}, STEP),
    Row("distillation step, batch norm", distillation, {"ipc": 10, "method": "datadam_code"}, STEP),
    Row("distillation step, 256 real images per class", distillation, {"ipc": 10, "real_batch": 256}, STEP),
    Row("training step, instance norm", training, {"norm": "instance"}, tuple(ARMS)),
    Row("training step, batch norm", training, {"norm": "batch"}, tuple(ARMS)),
]
WHOLE = Row("whole distillation, 10 images per class", whole_distillation, {"ipc": 10}, ("mixed, compiled",), once=True)


def rows_for(device: str, data: str | None = None, *, everything: bool = False) -> list[Row]:
    """Return the rows to measure on this device, each with its arms.

    data: the path of a data set, whose loading is then measured too; everything: also what is meant for a GPU alone.

    >>> [row.arms for row in rows_for("cpu")][0]
    ('plain', 'plain, memory kept', 'float32', 'float32, compiled', 'mixed, compiled')
    """
    gpu = everything or device.startswith("cuda")
    rows = [row._replace(arms=tuple(arm for arm in row.arms if gpu or arm not in ONLY_CUDA)) for row in ROWS]
    rows += [WHOLE] if gpu else []
    return rows + ([Row("loading a data set", loading, {"path": data}, ("float32",))] if data else [])
