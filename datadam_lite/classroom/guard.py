"""Calling a function that may do anything: what it raises becomes a sentence, what it disturbs is put back."""

import inspect
import io
import random
import sysconfig
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PACKAGE = str(Path(__file__).parents[1])
LIBRARIES = (PACKAGE, *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


class Stumble(Exception):
    """What was to be tried could not be: a sentence that says why."""


class Guarded:
    """A function of maps [B, C, H, W] as the checks call it: on a copy, with gradients on.

    Raises: Stumble if the function raises, or returns something that is not a tensor.

    >>> Guarded(lambda maps: maps.sum(1))(torch.ones(1, 2, 1, 1))
    tensor([[[2.]]])
    >>> Guarded(lambda maps: maps / 0 if maps.any() else None)(torch.zeros(1, 2, 1, 1))
    Traceback (most recent call last):
    datadam_lite.classroom.guard.Stumble: a tensor [B, D] was expected, and None came back; does every path end in a `return`?
    """  # noqa: E501

    def __init__(self, fn: Callable):
        self.fn = fn

    def __call__(self, maps: Tensor, **options) -> Tensor:
        return self._run(maps.clone(), options)

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
            raise Stumble(f"the backward pass {raised(error)}") from None

    def _run(self, maps: Tensor, options: dict) -> Tensor:
        try:
            with torch.enable_grad():
                vectors = self.fn(maps, **options)
        except Stumble:
            raise
        except (Exception, SystemExit) as error:
            raise Stumble(f"on {str(maps.dtype)[6:]} maps {list(maps.shape)} it {raised(error)}") from None
        if not isinstance(vectors, Tensor):
            raise Stumble(_no_tensor(vectors))
        return vectors


def raised(error: BaseException) -> str:
    """Say what was raised, and in which line of the student's."""
    message = (str(error).strip().splitlines() or ["no message"])[0][:200]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARIES)]
    line = f", in line {frames[-1].lineno} (`{frames[-1].line}`)" if frames and frames[-1].line else ""
    return f"raised {type(error).__name__}: {message}{line}; call it on such maps in a cell of its own to see more"


def parameters(fn: Callable) -> dict[str, inspect.Parameter]:
    """The parameters by name; none for a function that does not tell."""
    try:
        return dict(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return {}


def _no_tensor(value) -> str:
    """The sentence about a value that is not a tensor."""
    expected = "a tensor [B, D] was expected, and "
    if value is None:
        return expected + "None came back; does every path end in a `return`?"
    if isinstance(value, (tuple, list)):
        return expected + (
            f"a {type(value).__name__} of {len(value)} came back; some operations return values and places together, "
            "and vectors in a list have to become one tensor: print what each step returns"
        )
    return expected + f"{type(value).__name__} came back; print the type after each step to see where it changes"


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
    with (
        torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad(),
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
