"""Submissions that are hostile, or broken badly: each comes to a clear end, and leaves nothing behind."""

import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from regenerate import ROOT
from submissions import ENDING, IMPORTS, QUIET, notebook

from datadam_lite.classroom.definitions import definitions
from datadam_lite.classroom.probes import USUAL, after_relu
from datadam_lite.classroom.proxy import Raised
from datadam_lite.classroom.sandbox import Ended, Limits, Sandbox

SECRET = "a string that only the teacher has"
CALLS = {  # open, socket, clone, fork, vfork, execve, kill, ptrace, prctl, mount, unshare, process_vm_readv, seccomp, …
    "x86_64": (2, 41, 56, 57, 58, 59, 62, 101, 157, 165, 257, 272, 310, 317, 321, 425, 435, 437),
    "aarch64": (56, 198, 220, 221, 129, 117, 167, 40, 97, 270, 277, 280, 425, 435, 437),
}
STRICT = Limits(seconds=2, total=200, memory=2**29)
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in CALLS, reason="elsewhere not all limits can be had"
)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """What an attack aims at: a folder, a port that listens, and a secret; what each word in an attack stands for."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "canary").write_text("alive")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        server.settimeout(0)
        patch.setenv("CLASS_SEED", SECRET)
        yield {"OUTSIDE": folder, "PORT": server.getsockname()[1], "REPOSITORY": ROOT, "TERCES": SECRET[::-1],
               "CALLS": CALLS[platform.machine()]}  # fmt: skip
        with pytest.raises(BlockingIOError):  # nobody came
            server.accept()
    assert [path.name for path in folder.iterdir()] == ["canary"]


@pytest.fixture
def submission(target, tmp_path):
    """Write a hostile submission as a notebook; return its source, and the function that says where a line stands."""

    def write(hostile):
        code = hostile.code
        for word, value in target.items():
            code = code.replace(word, str(value))
        read = definitions(notebook(tmp_path / "mine.ipynb", code))
        return read.source("attention"), read.where

    return write


def outcome(box) -> str:
    """Call the function as a check does, twice, and ask for the gradient; say in a line what came of it."""
    maps = after_relu(*USUAL).float().requires_grad_()
    try:
        result = box.function("attention")(maps)
    except Raised as error:
        return f"raised {type(error).__name__}: {error}"
    except Ended as error:
        return f"ended {error}"
    if not isinstance(result, torch.Tensor):
        return f"other {type(result).__name__}" + (f" {len(result)}" if isinstance(result, (list, tuple)) else "")
    told = f"tensor {list(result.shape)}"
    try:
        if result.requires_grad:
            torch.autograd.grad(result.abs().sum(), maps)
        box.function("attention")
    except Ended as error:
        told += f"; ended {error}"
    return told


def processes():
    """The processes that this one, or one of its children, has started."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = status.read_text().split(" ", 1)
            parents[int(number)] = int(rest.rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
    return {number for number, parent in parents.items() if parent == os.getpid()}


@pytest.fixture
def nothing_left(tmp_path, monkeypatch):
    """No process and no folder is there after the test that was not there before."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    before = processes()
    yield
    assert processes() <= before
    assert not list((tmp_path / "tmp").iterdir())


@pytest.fixture(scope="module")
def boxes():
    """Sandboxes for all attacks that do not end theirs: one, if all is well."""
    boxes = []
    yield boxes
    for box in boxes:
        box.close()


@pytest.fixture
def shared(boxes):
    """The last of them, if it is still there, or a new one."""
    if not boxes or boxes[-1]._end:
        boxes.append(Sandbox("", replace(STRICT, seconds=30)).__enter__())
    boxes[-1]._spent = 0
    return boxes[-1]


@pytest.mark.parametrize("hostile", QUIET, ids=str)
def test_an_attack_comes_to_nothing_and_the_sandbox_goes_on(hostile, submission, shared):
    source, where = submission(hostile)
    shared.where = where
    shared._ask({"do": "define", "source": source})
    assert re.search(hostile.outcome, outcome(shared), re.DOTALL)
    shared._ask({"do": "define", "source": IMPORTS + "def attention(maps): return maps.sum(1).flatten(1)"})
    assert outcome(shared) == "tensor [3, 24]"


@pytest.mark.parametrize(
    "hostile", [pytest.param(h, marks=[] if h.always else pytest.mark.slow, id=h.name) for h in ENDING]
)
def test_an_attack_ends_its_sandbox_with_a_sentence(hostile, submission, nothing_left):
    source, where = submission(hostile)
    began = time.monotonic()
    box = Sandbox(source, STRICT, where=where)
    try:
        with box:
            began = time.monotonic()
            told = outcome(box)
    except Ended as error:
        told = f"ended {error}"
    assert re.search(hostile.outcome, told, re.DOTALL), told
    assert time.monotonic() - began < 30
    if "ended" in told:
        with pytest.raises(Ended):
            box.function("attention")


@pytest.mark.slow
def test_a_sandbox_ends_with_the_process_that_asked_for_it(tmp_path):
    asking = (
        "from datadam_lite.classroom.sandbox import Sandbox\n"
        "with Sandbox('def f():\\n    while True: pass') as box:\n"
        "    print(box._process.number, flush=True)\n"
        "    box.call('f')"
    )
    there = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", asking], stdout=subprocess.PIPE, env=there) as process:
        number = int(process.stdout.readline())
        os.kill(number, 0)
        process.kill()
    end = time.monotonic() + 5
    while Path(f"/proc/{number}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{number}").exists()
    assert not list(tmp_path.iterdir())
