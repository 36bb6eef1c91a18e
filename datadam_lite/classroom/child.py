"""The inner side of a sandbox: it gives up its rights, and then runs a student's code when it is asked to.

It is told the code, and what to call it with, and nothing else. What the code may do to this process, to its modules
or to its answers, reaches nobody: the other side takes answers for claims. This file is read in the sandbox, so it
imports nothing of the package but the two that are read there, too.
"""

import importlib
import inspect
import io
import json
import math
import os
import sys
import types
import warnings
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.classroom import seal, wire

SUBMISSION = "<submission>"  # the name of the student's file in tracebacks
MOST_MESSAGE = 1000  # characters of what an exception says
COMMON_MODULES = (  # there without being asked for
    "numpy", "numpy.linalg", "numpy.fft", "numpy.ma", "numpy.polynomial", "numpy.random", "numpy.testing",
    "functools", "itertools", "typing", "dataclasses", "collections", "collections.abc", "operator", "random",
    "statistics", "textwrap", "torch.func", "torch.fft", "torch.linalg", "torch.special", "torch.testing",
    "encodings.latin_1", "encodings.ascii", "encodings.unicode_escape",
)  # fmt: skip


class Printed(io.StringIO):
    """What the code prints, up to some number of characters; the rest is dropped."""

    def __init__(self, most: int):
        super().__init__()
        self.left = most

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        kept = text[: self.left]
        self.left -= len(kept)
        super().write(kept)
        return len(text)

    def take(self) -> str:
        """Return what was printed since the last time."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


class Pupil:
    """A student's code, and what can be asked of it. Every method but `answer` is a request, and may raise anything."""

    def __init__(self):
        module = types.ModuleType("submission")
        sys.modules["submission"] = module  # where dataclasses look for the module of a class
        self.names = module.__dict__

    def answer(self, request: dict, tensors: list[Tensor]) -> tuple[dict, list[Tensor]]:
        """Do what is asked for; an exception of the code's is an answer, too."""
        try:
            return getattr(self, request.pop("do"))(*tensors, **request)
        except BaseException as error:  # SystemExit and KeyboardInterrupt, too
            return told(error), []

    def define(self, source: str):
        """Run the definitions."""
        exec(compile(source, SUBMISSION, "exec", dont_inherit=True), self.names)
        return {"is": "done"}, []

    def look_up(self, name: str):
        """Return the parameters of a function: name, kind, and its default in a list if it has one."""
        parameters = inspect.signature(self.names[name]).parameters.values()
        return {"is": "signature", "parameters": [parameter(each) for each in parameters]}, []

    def call(self, name: str, arguments: list):
        """Call a function with plain values."""
        return {"is": "value", "value": plain(self.names[name](*arguments))}, []

    def run(self, given: Tensor, name: str, options: dict, wanted: Sequence[bool]):
        """Call a function of maps. wanted: gradients on; the maps require them; the maps are a leaf."""
        before = wire.as_bytes(given)
        vectors, maps, _ = self._run(given, name, options, wanted)
        after = [] if maps.shape == given.shape and wire.as_bytes(maps.detach()) == before else [maps]
        if not isinstance(vectors, Tensor):
            return {"is": "other", "type": type(vectors).__name__, **several(vectors)}, after
        with torch._C.DisableTorchFunctionSubclass():
            if vectors.layout is not torch.strided or vectors.device.type != "cpu":
                name = f"tensor of layout {vectors.layout} on {vectors.device.type}"
                return {"is": "other", "type": name}, after
            return {"is": "tensor", "grad": vectors.requires_grad}, [vectors.as_subclass(Tensor), *after]

    def pull(self, given: Tensor, weights: Tensor, name: str, options: dict, wanted: Sequence[bool]):
        """Return the gradient of the weighted sum of what a function of maps returns; None if there is none."""
        vectors, _, leaf = self._run(given, name, options, wanted)
        gradient = torch.autograd.grad(vectors, leaf, weights, allow_unused=True)[0]
        return {"is": "gradient"}, [] if gradient is None else [gradient]

    def try_on(self, name: str, text: str):
        """Run a test of the student's on a function that the text defines."""
        space = {"torch": torch, "F": F, "math": math}
        exec(compile(text, "<attention>", "exec", dont_inherit=True), space)
        del text
        self.names[name](space["attention"])
        return {"is": "done"}, []

    def _run(self, given: Tensor, name: str, options: dict, wanted: Sequence[bool]):
        enabled, needed, is_leaf = wanted
        leaf = given.clone().requires_grad_(needed)
        with torch.set_grad_enabled(enabled):
            maps = leaf if is_leaf else leaf.clone()
            return self.names[name](maps, **options), maps, leaf


def several(value) -> dict:
    """How many values there are, of several."""
    kind = next((kind.__name__ for kind in (tuple, list) if isinstance(value, kind)), None)
    return {"kind": kind, "n": min(len(value), 1000)} if kind else {}


def plain(value):
    """The value as JSON has it: what holds numbers in an array or a tensor becomes lists."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    json.dumps(value)  # raises TypeError for what can't be sent
    return value


def parameter(each: inspect.Parameter) -> list:
    """A parameter as JSON; of a default that isn't plain only that there is one."""
    if each.default is each.empty:
        return [each.name, int(each.kind)]
    simple = each.default is None or type(each.default) in (int, float, bool, str)
    return [each.name, int(each.kind), each.default if simple else None]


def told(error: BaseException) -> dict:
    """An exception as JSON: its class's name, what it says, and the last line of the submission on its way."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == SUBMISSION else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == SUBMISSION:
            line = trace.tb_lineno
        trace = trace.tb_next
    message = ""
    with suppress(BaseException):  # a class of the student's own
        message = str(error.msg if isinstance(error, SyntaxError) else error)[:MOST_MESSAGE]
    return {"is": "raised", "name": type(error).__name__, "message": message, "line": line}


def warm_up() -> None:
    """Do once what a function may do, so that whatever PyTorch loads at first use is there."""
    for dtype in (torch.float32, torch.float64):
        maps = torch.rand(2, 3, 4, 4, dtype=dtype, requires_grad=True)
        square = maps[0, 0] @ maps[0, 1] + torch.eye(4, dtype=dtype)
        parts = [
            F.normalize(maps.flatten(1), dim=1), maps.softmax(1), maps.sort(1)[0], maps.topk(2, 1)[0], square.inverse(),
            torch.einsum("bchw,bdhw->bcd", maps, maps), torch.linalg.svdvals(square), torch.fft.rfft2(maps).abs(),
            torch.linalg.eigvalsh(square + square.mT), F.conv2d(maps, maps.detach()), F.avg_pool2d(maps, 2),
            F.interpolate(maps, scale_factor=2, mode="bilinear"), torch.func.vmap(torch.sin)(maps), maps.std(1),
            torch.cdist(maps[0, 0], maps[0, 1]), torch.func.grad(lambda x: x.square().sum())(maps.detach()),
        ]  # fmt: skip
        sum(part.sum() for part in parts).backward()
    torch.rand(2, generator=torch.Generator().manual_seed(0))
    torch.autograd.gradcheck(torch.sin, torch.ones(2, dtype=torch.float64, requires_grad=True), fast_mode=True)
    repr(torch.rand(2))


def load(modules: Sequence[str]) -> None:
    """Import what the code will import, since later no file can be read; what isn't there will be missing then."""
    for module in (*COMMON_MODULES, *modules):
        with suppress(Exception, SystemExit):
            importlib.import_module(module)


def own_pipes() -> tuple[int, int]:
    """Take the two pipes aside, and put nothing in their place: what the code prints outside of Python is lost."""
    pipes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    os.close(nothing)
    return pipes


def close_the_door(memory: int, seconds: float) -> tuple[str, ...]:
    """Forget where the libraries are, and give up all rights; return what can't be given up here."""
    sys.path.clear()
    sys.argv = sys.orig_argv = [""]
    for name in [name for name in sys.modules if name.startswith("datadam_lite")]:
        del sys.modules[name]
    with suppress(OSError):
        os.rmdir(os.getcwd())  # the empty folder where it started: now there is nothing to clear away
    # No thread can be started from here on, and a pool of PyTorch 2.11 would wait for its threads for ever
    torch.set_num_threads = torch.set_num_interop_threads = lambda n: None
    missing = seal.limit(memory, seconds)
    return missing if seal.seal() else (*missing, seal.UNSEALED)


def main() -> None:
    """Answer requests until the other side is gone."""
    source, target = own_pipes()

    def read(n: int) -> bytearray:
        data = bytearray()
        while len(data) < n:
            if not (part := os.read(source, min(n - len(data), 2**20))):
                os._exit(0)
            data += part
        return data

    def send(message, tensors=()):
        data = memoryview(wire.pack(message | {"printed": printed.take()}, tensors))
        while data:
            data = data[os.write(target, data) :]

    begin, _ = wire.receive(read)
    warnings.simplefilter("ignore")
    load(begin["modules"])
    warm_up()
    printed = Printed(begin["printed"])
    missing = close_the_door(begin["memory"], begin["seconds"])
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), printed, printed
    send({"is": "ready", "missing": missing})
    pupil = Pupil()
    while True:
        reply = pupil.answer(*wire.receive(read))
        try:
            send(*reply)
        except wire.Garbled as error:
            send(told(TypeError(f"What came back can't be handed on: {error}")))
        except Exception as error:  # such as no memory left to write it
            send(told(error))
