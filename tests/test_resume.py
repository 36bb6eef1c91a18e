"""Long runs survive: every recipe, from every iteration, killed at every moment, with damaged files."""

import builtins
import io
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from samples import contents, small, toy

from datadam_lite import RECIPES, DataDamError, Distiller, Settings, distill, spatial
from datadam_lite.checkpoint import checkpoint_exists, load_checkpoint, save_checkpoint

N = 3  # iterations of a run
RUNS = {name: (name, {}) for name in RECIPES} | {
    "batch norm": ("datadam", {"norm": "batch"}),
    "synthetic batch": ("datadam", {"synthetic_batch": 1}),
}
EVERY_STEP = Settings(checkpoint_every=1)


def toy_():
    """Noise by the name of CIFAR-10: one recipe normalises with the constants that go with the name."""
    return replace(toy(), name="cifar10")


def distiller_(run="datadam", **changes):
    name, own = RUNS[run]
    return Distiller(toy_(), 2, small(name, **own | {"iterations": N} | changes), settings=EVERY_STEP)


def bits(distiller):
    """All that a run has computed, as bytes."""
    momentum = distiller.optimizer.state[distiller.images].get("momentum_buffer")
    tensors = [distiller.images.detach(), *([] if momentum is None else [momentum])]
    return distiller.iteration, [t.numpy().tobytes() for t in tensors], distiller.losses


@cache
def uninterrupted(run):
    """The run that nothing happened to."""
    distiller = distiller_(run)
    for _ in distiller:
        pass
    return bits(distiller)


def steps(distiller, n):
    for _ in range(n):
        next(distiller)


# ---- from any iteration


@pytest.mark.parametrize("run", RUNS)
@hypothesis_settings(deadline=None, max_examples=4)
@given(cuts=st.sets(st.integers(0, N)))
def test_a_run_in_pieces_is_the_whole_run(tmp_path_factory, run, cuts):
    file = tmp_path_factory.mktemp("pieces") / "checkpoint"
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), N], strict=True):
        piece = distiller_(run)
        if checkpoint_exists(file):
            piece.load_checkpoint(file)
        assert piece.iteration == start
        steps(piece, stop - start)
        piece.save_checkpoint(file)
    assert bits(piece) == uninterrupted(run)


@pytest.mark.parametrize("run", RUNS)
@hypothesis_settings(deadline=None, max_examples=3)
@given(saved=st.integers(2, N), where=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path_factory, run, saved, where, flip):
    """One with a flipped byte; or, where nothing is flipped, one that was cut."""
    file = tmp_path_factory.mktemp("damaged") / "checkpoint"
    first, second = distiller_(run), distiller_(run)
    for _ in range(saved):
        next(first)
        first.save_checkpoint(file)
    content = bytearray(file.read_bytes())
    position = int(where * len(content))
    content[position] ^= flip
    file.write_bytes(content if flip else content[:position])
    with pytest.warns(UserWarning, match=rf"the one before it, at iteration {saved - 1}\."):
        second.load_checkpoint(file)
    assert second.iteration == saved - 1
    for _ in second:
        second.save_checkpoint(file)  # over the damaged one
    assert bits(second) == uninterrupted(run)
    distiller_(run).load_checkpoint(file)


def test_distill_goes_on_from_the_one_before(tmp_path):
    """Where somebody was killed between two renames, the last one is missing."""
    file, first = tmp_path / "checkpoint", distiller_()
    for _ in range(2):
        next(first)
        first.save_checkpoint(file)
    file.unlink()
    with pytest.warns(UserWarning, match="is missing; going on from .*, the one before it, at iteration 1"):
        chosen = distill(toy_(), 2, small(iterations=N), checkpoint=file)
    assert chosen.images.numpy().tobytes() == uninterrupted("datadam")[1][0]


# ---- stopped at any moment


class Moments:
    """The moments at which something can happen to a run; at one of them, it does."""

    def __init__(self, at, event):
        self.at, self.event, self.passed, self.happened = at, event, 0, False

    def next(self):
        """One moment later. After a kill nothing more is done, not even cleaning up."""
        first, self.passed = self.passed == self.at, self.passed + 1
        if first or (self.happened and isinstance(self.event, Killed)):
            self.happened = True
            raise self.event

    def before(self, function):
        """The function, with a moment before it."""

        def watched(*args, **options):
            self.next()
            return function(*args, **options)

        return watched


class Halves(io.FileIO):
    """A file whose writes have a moment in the middle."""

    moments: Moments

    def write(self, data):
        if self.moments.happened:
            return super().write(data)
        half = super().write(bytes(data)[: len(data) // 2])
        self.moments.next()
        return half + super().write(bytes(data)[half:])


@contextmanager
def disk(moments):
    """Every call that changes the disk has a moment before it, or in its middle."""
    opened = io.open
    halves = type("Watched", (Halves,), {"moments": moments})

    def open_(file, mode="r", *args, **options):
        if not set(mode) & set("wax+"):
            return opened(file, mode, *args, **options)
        moments.next()
        return halves(file, mode.replace("b", ""))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "unlink"):
            patch.setattr(os, name, moments.before(getattr(os, name)))
        for place in (builtins, io):
            patch.setattr(place, "open", open_)
        yield


class Killed(BaseException):
    """kill -9: no handler runs, and nothing is cleaned up."""


IDENTITY, CPU = {"seed": 0}, torch.device("cpu")


def state(k):
    return {"images": torch.full((3,), float(k)), "losses": [[1.0]] * k}


def quietly_loaded(file):
    """How many iterations a checkpoint holds; whether with a warning is tested elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = load_checkpoint(file, IDENTITY, CPU)
    assert torch.equal(stored["images"], state(len(stored["losses"]))["images"])
    return len(stored["losses"])


def nothing(folder):
    pass


def one(folder):
    save_checkpoint(folder / "c", IDENTITY, state(1))


def two(folder):
    one(folder)
    save_checkpoint(folder / "c", IDENTITY, state(2))


def damaged(folder):
    two(folder)
    os.truncate(folder / "c", 200)


def missing(folder):
    two(folder)
    (folder / "c").unlink()


FILES = {nothing: (), one: (1,), two: (1, 2), damaged: (1,), missing: (1,)}  # the good checkpoints


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("event", [Killed(), KeyboardInterrupt(), OSError(5, "Input/output error")], ids=repr)
def test_at_every_moment_of_saving_there_is_a_good_checkpoint(tmp_path, files, event):
    """All of them leave one; Ctrl-C and a disk that fails leave nothing else behind, either."""
    for moment in count():
        folder, moments = tmp_path / str(moment), Moments(moment, event)
        folder.mkdir()
        files(folder)
        before, saved = contents(folder), False
        with disk(moments), suppress(Killed, KeyboardInterrupt, DataDamError):
            save_checkpoint(folder / "c", IDENTITY, state(3))
            saved = True
        if FILES[files] or saved:
            assert quietly_loaded(folder / "c") in ([3] if saved else [*FILES[files], 3])
        if not isinstance(event, Killed):
            assert set(contents(folder)) <= {"c", "c.previous"}
        if isinstance(event, OSError) and not saved:
            assert contents(folder).get("c") == before.get("c")
        for left in folder.glob(".*.part"):
            os.utime(left, (0, time.time() - 3700))
        save_checkpoint(folder / "c", IDENTITY, state(4))
        assert quietly_loaded(folder / "c") == 4
        assert set(contents(folder)) <= {"c", "c.previous"}
        if not moments.happened:
            break
    assert saved
    assert moment == (8 if files in (one, two) else 7)  # open, write twice, open, sync, rename once or twice, clear up


now = Moments(-1, None)


def watched_spatial(maps):
    """A student's attention, with a moment before it."""
    return now.before(spatial)(maps)


@contextmanager
def computing(moments):
    """Attention, gradients and steps have a moment before them; steps have one after, too."""
    step = torch.optim.SGD.step

    def step_(self):
        moments.before(step)(self)
        moments.next()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "now", moments)
        patch.setattr(torch.Tensor, "backward", moments.before(torch.Tensor.backward))
        patch.setattr(torch.optim.SGD, "step", step_)
        yield


@pytest.mark.parametrize("watched", [computing, disk])
def test_ctrl_c_at_any_moment_costs_one_iteration_at_most(tmp_path, monkeypatch, watched):
    train, recipe = toy(), small(attention=watched_spatial, iterations=2)
    options = {"train": train, "ipc": 1, "method": recipe, "settings": EVERY_STEP}
    whole, taken, step = distill(**options), [], torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: taken.append(step(self)))
    for moment in count():
        file, moments = tmp_path / str(moment), Moments(moment, KeyboardInterrupt())
        taken.clear()
        with watched(moments), suppress(KeyboardInterrupt):
            distill(checkpoint=file, **options)
        left, done = Distiller(train, 1, recipe, settings=EVERY_STEP), len(taken)
        if done > 1 or checkpoint_exists(file):
            left.load_checkpoint(file)
        assert done - 1 <= left.iteration <= done
        resumed = distill(checkpoint=file, **options)
        assert torch.equal(resumed.images, whole.images)
        assert torch.equal(resumed.losses, whole.losses)
        if not moments.happened:
            break
    assert moment >= 14


# ---- killed for real

KILLED = """
import os, signal, sys, time
import torch
from samples import small, toy
from datadam_lite import Distiller, Settings, distill

file, seconds = sys.argv[1], map(float, sys.argv[3:])
torch.set_num_threads(int(sys.argv[2]))

def last_change():
    return os.stat(file).st_mtime_ns if os.path.exists(file) else None

Distiller(toy(), 1, small()).optimizer.step()  # what it imports need not be imported again and again
for after in seconds:
    before, child = last_change(), os.fork()
    if child == 0:
        distill(toy(), 1, small(iterations=10**6), checkpoint=file, settings=Settings(checkpoint_every=1))
    while last_change() == before:
        time.sleep(0.001)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again(tmp_path):
    """At random moments, while it saves after every iteration."""
    file, times = tmp_path / "checkpoint", random.Random(0)
    arguments = [file, torch.get_num_threads(), *(times.uniform(0, 0.05) for _ in range(8))]
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", KILLED, *map(str, arguments)]
    places = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": places}, capture_output=True, text=True)
    assert done.stdout.split() == [str(int(signal.SIGKILL))] * 8, done.stderr
    killed, whole = (Distiller(toy(), 1, small(iterations=10**6)) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kill between the two renames leaves the one before
        killed.load_checkpoint(file)
    assert killed.iteration >= 7
    steps(whole, killed.iteration)
    assert bits(killed) == bits(whole)
