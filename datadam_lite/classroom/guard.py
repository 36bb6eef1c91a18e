"""Calling a function that may do anything: what it raises becomes a sentence, what it disturbs is put back."""

import inspect
import io
import random
import sysconfig
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datadam_lite.classroom.probes import Power

# Files of no student: this package's, PyTorch's, and Python's own and installed ones.
LIBRARIES = (
    str(Path(__file__).parents[1]), str(Path(torch.__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
)  # fmt: skip


class Stumble(Exception):
    """What was to be tried could not be: a sentence that says why."""


class Guarded:
    """A function of maps [B, C, H, W] as the checks call it: on a copy, with gradients on.

    Raises: Stumble if the function raises, or returns something that is not a tensor.

    >>> Guarded(lambda maps: maps.sum(1))(torch.ones(1, 2, 1, 1))
    tensor([[[2.]]])
    >>> Guarded(lambda maps: None)(torch.ones(1, 2, 1, 1))
    Traceback (most recent call last):
    datadam_lite.classroom.guard.Stumble: A tensor [B, D] was expected, and nothing came back. Is there a `return`?
    """

    def __init__(self, fn: Callable):
        self.fn = fn

    def __call__(self, maps: Tensor, **options) -> Tensor:
        """Call it on a copy of the maps."""
        return self._run(maps.clone(memory_format=torch.contiguous_format), options)

    def unrecorded(self, maps: Tensor) -> Tensor:
        """Call it as networks are evaluated, under `torch.no_grad()`."""
        return self._run(maps.clone(), {}, record=False)

    def changes(self, maps: Tensor) -> bool:
        """Whether the maps are others after the call."""
        given = maps.clone()
        self._run(given, {})
        return not torch.equal(given, maps)

    def gradient(self, maps: Tensor) -> Tensor | None:
        """The gradient of a weighted sum of all entries; None if no gradient reaches the maps.

        The weights differ, because the plain sum of entries that sum to one, say, has no gradient.
        """
        maps = maps.clone().requires_grad_()
        vectors = self(maps)
        if not vectors.requires_grad:
            return None
        weights = torch.arange(1, vectors.numel() + 1, dtype=vectors.dtype, device=vectors.device).cos()
        try:
            return torch.autograd.grad((weights * vectors.flatten()).sum(), maps, allow_unused=True)[0]
        except Exception as error:  # a backward pass of the student's own may raise anything
            raise Stumble(f"The backward pass {raised(error)}") from None

    def _run(self, maps: Tensor, options: dict, record: bool = True) -> Tensor:
        try:
            with torch.set_grad_enabled(record):
                vectors = self.fn(maps, **options)
        except (Exception, SystemExit) as error:
            raise Stumble(f"On {str(maps.dtype)[6:]} maps of shape {list(maps.shape)} it {raised(error)}") from None
        if not isinstance(vectors, Tensor) or vectors.layout is not torch.strided:
            raise Stumble(_no_tensor(vectors))
        return vectors


def raised(error: BaseException) -> str:
    """Say what was raised, and in which line of the student's."""
    message = (str(error).strip().splitlines() or ["no message"])[0][:200]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARIES)]
    line = f", in line {frames[-1].lineno}, `{frames[-1].line}`" if frames and frames[-1].line else ""
    told = f"raised {type(error).__name__}: {message.rstrip('.')}{line}"
    return told + ". Call it on torch.rand of that shape to see all that Python says."


def parameters(fn: Callable) -> dict[str, inspect.Parameter]:
    """The parameters by name; none for a function that does not tell."""
    try:
        return dict(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return {}


def default_power(fn: Callable) -> Power | None:
    """The default of a parameter p, where there is one, it is a number, and `partial` has not fixed it."""
    if isinstance(fn, partial) and "p" in fn.keywords:
        return None
    default = parameters(fn)["p"].default if "p" in parameters(fn) else None
    return default if isinstance(default, (int, float)) and not isinstance(default, bool) else None


def _no_tensor(value) -> str:
    """What to say of a value that is not a tensor."""
    if value is None:
        return "A tensor [B, D] was expected, and nothing came back. Is there a `return`?"
    if isinstance(value, (tuple, list)):
        return (
            f"A tensor [B, D] was expected, and a {type(value).__name__} of {len(value)} came back. Some operations "
            "return values together with their places, and vectors in a list are not one tensor yet: print each step."
        )
    what = f"a tensor of layout {value.layout}" if isinstance(value, Tensor) else type(value).__name__
    return f"A dense tensor [B, D] was expected, and {what} came back. Print what each step returns."


@contextmanager
def undisturbed():
    """Put back random states, default type and gradient mode; keep prints and warnings off the screen.

    >>> with undisturbed():
    ...     torch.set_default_dtype(torch.float64)
    >>> torch.get_default_dtype()
    torch.float32
    """
    before = torch.get_default_dtype(), random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    on_the_cpu = nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    with (
        on_the_cpu, torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad(),
        warnings.catch_warnings(), redirect_stdout(io.StringIO()),
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(0)  # what a random function does is the same every time
        try:
            yield
        finally:
            torch.set_default_dtype(before[0])
            random.setstate(before[1])
            np.random.set_state(before[2])
