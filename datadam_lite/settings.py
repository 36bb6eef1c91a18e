"""How to compute, as opposed to what: device, precision, compilation, chunks, checkpoints."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, wraps

import torch
from torch.utils._pytree import tree_map

from datadam_lite.errors import DataDamError, check_type, known, positive
from datadam_lite.memory import keep_pages
from datadam_lite.provenance import versions

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "mixed": None}
FLOAT16_SCALE = 2.0**12  # lifts gradients above the smallest float16 numbers; a power of two rounds nothing


@dataclass(frozen=True)
class Settings:
    """How a run computes; not part of a recipe, but a checkpoint is only continued under the same.

    device: None for a GPU if there is one; precision: of the convolutions, "float32", "bfloat16", "float16" or
    "mixed", the fastest of them that is right for the device (see `dtype`); compile: fuse the step with torch.compile;
    checkpoint_every: iterations between checkpoints; chunk: classes that go through the network at once, None for as
    many as fit; networks_at_once: of the networks trained in an evaluation, None for 1 on a CPU, on a GPU as many as
    fit; cuda_graphs: launch what was compiled as a whole.

    >>> Settings(device="cpu", precision="bfloat16").dtype()
    torch.bfloat16
    """

    device: str | None = None
    precision: str = "float32"
    compile: bool = False
    checkpoint_every: int = 100
    chunk: int | None = None
    networks_at_once: int | None = None
    cuda_graphs: bool = False

    def __post_init__(self):
        for field in fields(self):
            check_type(field.name, getattr(self, field.name), field.type)
        known(self.precision, PRECISIONS, "precision")
        numbers = ("chunk", "networks_at_once", "checkpoint_every")
        positive(**{name: getattr(self, name) for name in numbers if getattr(self, name) is not None})

    def torch_device(self) -> torch.device:
        """The device to compute on."""
        name = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if name.split(":")[0] not in ("cpu", "cuda"):
            raise DataDamError(f"unknown device {name!r}; the known ones are cpu, cuda.")
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise DataDamError(f"device {name!r} was asked for, but PyTorch finds no GPU here; use cpu.")
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise DataDamError(f"unknown device {name!r}; expected cpu, cuda, or cuda:0 and so on.") from error

    def prepare(self) -> None:
        """Get this process ready for steps of one shape, over and over."""
        if self.torch_device().type == "cuda":
            torch.backends.cudnn.benchmark = True  # try the algorithms once, keep the fastest
        else:
            keep_pages()

    def dtype(self) -> torch.dtype:
        """Number format of the convolutions; "mixed" is bfloat16 where the device multiplies in it.

        Else it is float16 on a GPU, a T4 say, and float32 on a CPU without AVX-512, which would take a hundred times
        as long in bfloat16.
        """
        if self.precision != "mixed":
            return PRECISIONS[self.precision]
        if self.torch_device().type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32

    def autocast(self):
        """Context in which convolutions run in `precision`; statistics, attention and means stay in float32."""
        dtype = self.dtype()
        return torch.autocast(self.torch_device().type, dtype=dtype, enabled=dtype != torch.float32)

    def gradient_scale(self) -> float:
        """Factor on the loss before the backward pass, taken out of the gradient after it."""
        return FLOAT16_SCALE if self.dtype() == torch.float16 else 1.0

    def compiles(self) -> bool:
        """Whether torch.compile was asked for and works here; if it doesn't, one line says so."""
        problem = self.compile and _compiler_problem(self.torch_device().type)
        return self.compile and not problem

    def compiled(self, function: Callable) -> Callable:
        """Return the function compiled by torch.compile; or as it is, if that wasn't asked for or doesn't work."""
        if not self.compiles():
            return function
        torch._dynamo.config.recompile_limit = 64  # shapes of one function in one process, before it gives up
        if not (self.cuda_graphs and self.torch_device().type == "cuda"):
            return torch.compile(function, dynamic=False)
        replayed = torch.compile(function, dynamic=False, mode="reduce-overhead")

        @wraps(function)
        def call(*args):
            return tree_map(torch.clone, replayed(*args))  # the next replay writes over what this one returned

        return call

    def numerics(self) -> dict:
        """What a bit-for-bit continuation depends on."""
        device = self.torch_device().type
        return {
            "device": device, "threads": torch.get_num_threads() if device == "cpu" else None,
            "precision": str(self.dtype()).removeprefix("torch."), "compile": self.compiles(), "versions": versions(),
        }  # fmt: skip


@cache
def _compiler_problem(device: str) -> str | None:
    """Why torch.compile doesn't work on this type of device, or None; found out by using it, once in a process."""
    moment = time.time()  # a constant never compiled before: no stored result answers
    try:
        torch.compile(lambda x: x + moment, dynamic=False)(torch.ones(2, device=device))
    except Exception as error:  # dynamo, inductor, triton and the C++ compiler raise their own
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        warnings.warn(f"torch.compile doesn't work here ({reason}); going on without it, slower.", stacklevel=2)
        return reason
    return None
