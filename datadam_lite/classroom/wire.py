"""How the two sides of a sandbox write to each other: a line of JSON, and tensors as plain bytes.

Nothing that is read here is ever run: no pickle, no names of classes. All sizes are checked before anything is made.
This file is read in the sandbox, too, so it imports nothing of the package.
"""

import json
import struct
from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

FRAME = struct.Struct("<4sII")  # a mark, then the number of bytes of JSON, then of tensors
MARK = b"ddl1"
MOST_TEXT = 2**20  # bytes of JSON in a message
DEEPEST = 20  # lists in lists in it
MOST_AXES = 16
DTYPES = {
    str(dtype)[6:]: dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    )
}  # fmt: skip


class Garbled(Exception):
    """What came isn't a message."""


def pack(message: dict, tensors: Sequence[Tensor] = ()) -> bytes:
    """A message as bytes.

    Raises: Garbled if it is too large, or holds what is neither JSON nor a dense tensor of a common type.

    >>> data = pack({"a": 1}, [torch.ones(2)])
    >>> stream = iter(data)
    >>> receive(lambda n: bytearray(next(stream) for _ in range(n)), most=8)
    ({'a': 1}, [tensor([1., 1.])])
    """
    tensors = [tensor.detach().cpu() for tensor in tensors]
    if wrong := [t for t in tensors if t.dtype not in DTYPES.values() or t.ndim > MOST_AXES]:
        raise Garbled(f"a tensor of type {wrong[0].dtype} with {wrong[0].ndim} axes can't be sent")
    shapes = [[str(tensor.dtype)[6:], list(tensor.shape)] for tensor in tensors]
    try:
        text = json.dumps([clean(message), shapes]).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Garbled(f"it can't be written as JSON: {error}") from None
    body = b"".join(as_bytes(tensor) for tensor in tensors)
    if len(text) > MOST_TEXT or len(body) >= 2**32:
        raise Garbled(f"it has {len(text):,} bytes of text, and {len(body):,} of numbers")
    return FRAME.pack(MARK, len(text), len(body)) + text + body


def receive(read: Callable[[int], bytearray], most: int = 2**32) -> tuple[dict, list[Tensor]]:
    """Read a message; `read(n)` returns the next n bytes, and `most` bytes of tensors are let in.

    Raises: Garbled if it isn't one, or too large.
    """
    mark, length, size = FRAME.unpack(read(FRAME.size))
    if mark != MARK or length > MOST_TEXT:
        raise Garbled("it isn't a message")
    if size > most:
        raise Garbled(f"it has {size:,} bytes, and {most:,} are let in")
    try:
        message, shapes = clean(json.loads(bytes(read(length))))
        plan = [(DTYPES[dtype], checked(shape)) for dtype, shape in shapes]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Garbled(f"it isn't a message: {type(error).__name__}") from None
    if not isinstance(message, dict) or sum(prod(shape) * dtype.itemsize for dtype, shape in plan) != size:
        raise Garbled("its parts don't fit together")
    return message, [from_bytes(read(prod(shape) * dtype.itemsize), dtype, shape) for dtype, shape in plan]


def checked(shape) -> list[int]:
    """Return a shape, or raise ValueError for what can't be one."""
    fine = isinstance(shape, list) and len(shape) <= MOST_AXES
    if not fine or not all(type(n) is int and 0 <= n < 2**32 for n in shape):
        raise ValueError("not a shape")
    return shape


def clean(value, depth: int = 0):
    """The same JSON, with every text one that can be written to a file, and shown on a terminal without harm.

    Raises: ValueError if it is nested too deeply.

    >>> clean({"a": ["\\ud800\\x1b[31m", 1.5]})
    {'a': ['??[31m', 1.5]}
    """
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in value)
    if isinstance(value, (list, tuple)):
        return [clean(part, depth + 1) for part in value]
    if isinstance(value, dict):
        return {clean(key): clean(part, depth + 1) for key, part in value.items()}
    return value


def as_bytes(tensor: Tensor) -> bytes:
    """The entries of a tensor, row by row."""
    flat = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def from_bytes(data: bytearray, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """The tensor of these entries."""
    return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
