"""A function in a sandbox is the function: values, gradients, errors and what it does to its input."""

import inspect
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import datadam_lite as dd
from datadam_lite.classroom import sandbox, seal
from datadam_lite.classroom.probes import USUAL, of_both_signs
from datadam_lite.classroom.proxy import Raised
from datadam_lite.classroom.sandbox import Ended, Limits, Sandbox

SOURCE = '''
import math
import random
from dataclasses import dataclass
import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

def spatial(maps, p=4):
    return F.normalize(maps.abs().pow(p).sum(1).flatten(1), dim=1)

def over_the_batch(maps, p: float = 2.0):
    return F.normalize(maps.abs().pow(p).sum(1).flatten(1), dim=0)

def soft(maps):
    return torch.softmax(maps.mean(1).flatten(1), dim=1)

def in_place(maps):
    maps *= 2
    return maps.sum(1).flatten(1)

def reshaped(maps):
    maps.unsqueeze_(0)
    return maps.sum((0, 2)).flatten(1)

def detached(maps):
    return maps.detach().sum(1).flatten(1)

def constant(maps):
    return torch.ones(len(maps), 3, requires_grad=True) * 2

def doubled(maps):
    return maps.double().sum(1).flatten(1)

def halved(maps):
    return maps.half().sum(1).flatten(1)

def states(maps):
    print(maps.requires_grad, maps.is_leaf, torch.is_grad_enabled(), maps.is_contiguous())
    return maps.sum(1).flatten(1)

def chatty(maps):
    print("Grüße\\n\\x1b[2J", 1)
    return maps.sum(1).flatten(1)

def wrong(maps):
    x = maps + 1
    return x @ torch.ones(77)

def odd_signature(maps, /, *rest, power=F.relu, text="a", none=None, **more): ...

class WithState(nn.Module):
    def forward(self, maps, scale=1):
        return scale * maps.sum(1).flatten(1)

@dataclass
class Pair:
    low: float
    high: float = 1.0

def interval(means):
    n = len(means)
    half = stats.t.ppf(0.975, n - 1) * np.std(means, ddof=1) / math.sqrt(n)
    return np.mean(means) - half, np.mean(means) + half

def kinds():
    return {"a": [1, 2.5, None, True, "é"], 3: (np.float32(0.5), np.arange(2), torch.ones(1)), "nan": math.nan}

def unsendable():
    return Pair(1.0)

def too_much():
    return "x" * 10**7

def nested():
    x = []
    for _ in range(90):
        x = [x]
    return x

def test_attention(attention):
    maps = torch.rand(2, 3, 4, 5)
    assert torch.allclose(attention(maps), spatial(maps)), "they differ"
    if len(attention(maps)) == 0:
        raise LookupError
'''
LAZY = """
import numpy as np
import torch
def lazy():
    np.testing.assert_allclose(np.polynomial.Polynomial([1, 2])(3), np.ma.sum([3, 4]))
    torch.testing.assert_close(torch.ones(2), torch.ones(2))
    return np.fft.fft([1.0]).real.tolist()
"""
CHANGING = """
import torch
def change():
    torch.allclose = torch.equal = lambda *a, **k: True
    torch.autograd.gradcheck = torch.nn.functional.normalize = None
def same(x, y):
    return torch.equal(torch.tensor(x), torch.tensor(y))
def wrong(maps):
    return maps.sum(1).flatten(1)
def loop(maps):
    while True: pass
"""
RIGHT = "def attention(maps, p=4):\n    return F.normalize(maps.abs().pow(p).sum(1).flatten(1), dim=1)"


@pytest.fixture(scope="module")
def box():
    with Sandbox(SOURCE) as box:
        yield box


@pytest.fixture(scope="module")
def here():
    """The same definitions, in this process."""
    space = {}
    exec(SOURCE, space)
    return space


@pytest.fixture
def maps():
    return of_both_signs(*USUAL).clone()


# ---- values and gradients


@pytest.mark.parametrize("name", ["spatial", "over_the_batch", "soft", "doubled", "halved"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_the_function(box, here, maps, name, dtype):
    found = []
    for fn in (box.function(name), here[name]):
        given = maps.to(dtype, copy=True).requires_grad_()
        vectors = fn(given)
        weights = torch.linspace(0, 1, vectors.numel()).reshape(vectors.shape).to(vectors.dtype)
        found.append((vectors, torch.autograd.grad(vectors, given, weights)[0]))
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_options_arrive(box, here, maps):
    assert torch.equal(box.function("spatial")(maps, p=3), here["spatial"](maps, p=3))
    with pytest.raises(Raised, match="unexpected keyword argument 'q'"):
        box.function("spatial")(maps, q=3)


def test_a_gradient_that_is_not_there_is_not_made_up(box, maps):
    maps.requires_grad_()
    assert not box.function("detached")(maps).requires_grad
    vectors = box.function("constant")(maps)
    assert torch.autograd.grad(vectors.sum(), maps, allow_unused=True) == (None,)
    with torch.no_grad():
        assert not box.function("spatial")(maps).requires_grad


@pytest.mark.parametrize("case", ["plain", "leaf", "not a leaf", "no grad"])
def test_the_function_is_called_as_it_would_be_here(box, here, maps, capsys, case):
    given = maps.requires_grad_(case != "plain")
    given = given * 1 if case == "not a leaf" else given
    before = len(box.printed)
    with torch.set_grad_enabled(case != "no grad"):
        box.function("states")(given)
        here["states"](given)
    assert box.printed[before:] == capsys.readouterr().out


def test_what_it_does_to_its_input_is_done(box, maps):
    given = maps.clone()
    box.function("in_place")(given)
    assert torch.equal(given, 2 * maps)
    box.function("spatial")(given)
    assert torch.equal(given, 2 * maps)
    with pytest.raises(Raised, match=r"leaf Variable that requires grad"):
        box.function("in_place")(maps.clone().requires_grad_())
    with pytest.raises(Raised, match=r"made maps of shape \[1, 3, 5, 4, 6\]"):
        box.function("reshaped")(maps.clone())


def test_gradients_of_gradients_are_refused_rather_than_wrong(box, maps):
    vectors = box.function("spatial")(maps.requires_grad_())
    gradient = torch.autograd.grad(vectors.sum(), maps, create_graph=True)[0]
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        gradient.sum().backward()


# ---- the checks and the method, through the sandbox


@pytest.mark.parametrize("name", ["spatial", "over_the_batch", "soft", "in_place", "detached", "wrong"])
def test_the_checks_say_the_same(box, here, name):
    kind = None if name == "soft" else "spatial"
    far, near = (dd.check_attention(fn, kind) for fn in (box.function(name), here[name]))
    assert far.verdict == near.verdict
    assert [f.name for f in far.findings] == [f.name for f in near.findings]
    assert far.cause == near.cause


def test_distillation_is_the_same_to_the_bit(box, here, digits):
    sets = [
        dd.distill(digits[0], 1, attention=fn, iterations=3, width=8, real_batch=8).images
        for fn in (box.function("soft"), here["soft"])
    ]
    assert torch.equal(*sets)


# ---- signatures, plain values, tests of students


def test_the_signature_is_the_students(box):
    assert str(inspect.signature(box.function("spatial"))) == "(maps, p=4)"
    assert type(inspect.signature(box.function("over_the_batch")).parameters["p"].default) is float
    assert str(inspect.signature(box.function("odd_signature"))) == (
        "(maps, /, *rest, power=None, text='a', none=None, **more)"
    )
    assert box.function("spatial").__name__ == "spatial"
    with pytest.raises(Raised, match="nowhere"):
        box.function("nowhere")


def test_plain_values_go_and_come(box, here):
    assert box.call("interval", [90.0, 91.5, 92.0]) == pytest.approx(here["interval"]([90.0, 91.5, 92.0]))
    value = box.call("kinds")
    assert math.isnan(value.pop("nan"))
    assert value == {"a": [1, 2.5, None, True, "é"], "3": [0.5, [0, 1], [1.0]]}


@pytest.mark.parametrize(
    ("name", "told"), [("unsendable", "not JSON serializable"), ("too_much", "bytes of text"), ("nested", "nested")]
)
def test_what_is_not_plain_is_said_to_be_so(box, name, told):
    with pytest.raises((Raised, TypeError), match=told):
        box.call(name)
    assert box.call("kinds")["3"][0] == 0.5


def test_what_libraries_load_when_it_is_used_is_there_though_no_file_can_be_read():
    with Sandbox(LAZY) as box:
        assert box.call("lazy") == [1.0]


def test_a_students_test_is_tried_on_functions(box):
    texts = [RIGHT, RIGHT.replace("dim=1)", "dim=0)"), RIGHT.replace("return", "nonsense; return"), RIGHT]
    assert box.tries("test_attention", texts) == [
        None, "AssertionError: they differ, in line 85", "NameError: name 'nonsense' is not defined, in line 85", None,
    ]  # fmt: skip


def test_exceptions_keep_name_words_and_line(box, maps):
    with pytest.raises(Raised, match=r"size mismatch.*, in line 50$") as raised:
        box.function("wrong")(maps.float())
    assert type(raised.value).__name__ == "RuntimeError"


def test_what_is_printed_is_kept_and_harmless(box, maps):
    before = len(box.printed)
    box.function("chatty")(maps)
    assert box.printed[before:] == "Grüße\n?[2J 1\n"


# ---- the ends of a sandbox


def test_limits_hold_and_two_sandboxes_do_not_meet(monkeypatch):
    """One changes PyTorch and then loops until it is stopped; the other one goes on, and this side sees nothing."""
    for name in ("allclose", "equal"):
        monkeypatch.setattr(torch, name, getattr(torch, name))  # put back, should a change arrive
    limits = Limits(seconds=1, total=30, printed=10)
    with Sandbox(CHANGING, limits) as one, Sandbox(CHANGING, limits) as other, ThreadPoolExecutor(1) as beside:
        one.call("change")
        assert (one.call("same", 1, 2), other.call("same", 1, 2)) == (True, False)
        assert not torch.allclose(torch.ones(1), torch.zeros(1))
        assert not dd.check_attention(one.function("wrong"), "spatial").passed
        number, began = one._process.number, time.monotonic()
        waiting = beside.submit(dd.check_attention, one.function("loop"))
        assert other.call("same", 1, 1) is True
        assert not waiting.done()
        with pytest.raises(Ended, match="more than 1 seconds for one call"):
            waiting.result()
        assert time.monotonic() - began < 10
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
        with pytest.raises(Ended, match="more than 1 seconds for one call"):
            one.call("same", 1, 1)
        assert other.call("same", 1, 2) is False
        other._spent = 29.9
        with pytest.raises(Ended, match="more than 30 seconds in all"):
            other.function("loop")(torch.ones(1))
    with pytest.raises(Ended):
        other.call("same", 1, 1)


def test_definitions_that_do_not_run_say_so():
    with pytest.raises(Raised, match="invalid syntax, in row 1") as raised, Sandbox("def (", where="row {}".format):
        pass
    assert type(raised.value).__name__ == "SyntaxError"


@pytest.mark.skipif(sys.platform != "linux", reason="what is taken away here is missing elsewhere anyway")
def test_a_system_without_seccomp_is_named_and_still_opens_no_file(monkeypatch):
    without = "from datadam_lite.classroom import seal\nseal.MACHINES.clear()\nmain()"
    monkeypatch.setattr(sandbox, "START", sandbox.START.replace("main()", without))
    with Sandbox("def f(path): return open(path).read()\ndef g(): return 3") as box:
        assert box.unlimited == (seal.UNSEALED,)
        with pytest.raises(Raised, match="Too many open files"):
            box.call("f", "/etc/passwd")
        assert box.call("g") == 3


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_with_seccomp_nothing_is_missing(box):
    assert box.unlimited == ()


def test_a_process_that_does_not_start_is_named():
    with pytest.raises(dd.DataDamError, match=r"did not start within 0.01 seconds"), Sandbox("", Limits(start=0.01)):
        pass
