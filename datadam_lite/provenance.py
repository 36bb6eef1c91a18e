"""Where a number or a file comes from: versions, source code and machine."""

import hashlib
import io
import platform
import tokenize
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from inspect import getsource, unwrap
from pathlib import Path
from types import CodeType

import torch

METHOD = (  # the files whose text decides what a run computes
    "data", "datasets", "readers", "imagefolder", "preprocess", "seeding", "layers", "backbones", "networks", "augment",
    "attention", "mmd", "objectives", "coresets", "initial", "recipes", "chunks", "synthetic", "distill", "protocol",
    "stacked", "evaluate", "report",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of what takes part in the arithmetic."""
    return {name: version(name) for name in ("datadam_lite", "torch", "torchvision", "kornia")}


def code_sha256() -> str:
    """Fingerprint of the code of the method; comments, docstrings and layout don't count."""
    return hashlib.sha256("".join(code_of_files().values()).encode()).hexdigest()


def code_of_files() -> dict[str, str]:
    """Fingerprint of each file of the method, as in `code_sha256`: to tell which one has changed.

    >>> len(code_of_files()["attention"])
    64
    """
    folder = Path(__file__).parent
    texts = {name: _code((folder / f"{name}.py").read_text(encoding="utf-8")) for name in METHOD}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


@cache
def _code(source: str) -> str:
    """The tokens of a source file, without comments and without strings that stand alone.

    >>> _code('def f():\\n    "What it does."\\n    return 1  # one\\n')
    'def f ( ) : ; { return 1 ; }'
    """
    marks = {tokenize.NEWLINE: ";", tokenize.INDENT: "{", tokenize.DEDENT: "}"}
    kept = [";"]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        starts = kept[-1] in marks.values()  # a statement; a string that starts one is a docstring
        if token.type == tokenize.COMMENT or (starts and token.type in (tokenize.STRING, tokenize.NEWLINE)):
            continue
        if word := marks.get(token.type, token.string.strip()):
            kept.append(word)
    return " ".join(kept[1:])


def hardware(device: str | torch.device) -> str:
    """Name the processor or GPU, for records only: a run never depends on this text.

    >>> "thread" in hardware("cpu")
    True
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def label(function: str | Callable) -> str:
    """Name a function, with a fingerprint of its source and of the numbers it holds; a name stays as it is.

    >>> label("spatial")
    'spatial'
    """
    if isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{name} (source sha256 {hashlib.sha256(_source(function).encode()).hexdigest()[:16]})"


def _source(function) -> str:
    """The text of a function, and the values it holds; the same in every process."""
    function = unwrap(function)  # as getsource does
    if isinstance(function, partial):
        return f"{_source(function.func)} {function.args} {sorted(function.keywords.items())}"
    held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    held += getattr(function, "__defaults__", None) or ()
    plain = [value for value in held if isinstance(value, int | float | str | bool | None)]
    text = function if hasattr(function, "__code__") else type(function)
    try:
        return f"{getsource(text)} {plain}"
    except (OSError, TypeError):
        return f"{_bytecode(text.__code__) if text is function else text} {plain}"


def _bytecode(code) -> str:
    constants = [_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"
