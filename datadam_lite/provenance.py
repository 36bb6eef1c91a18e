"""Where a number or a file comes from: versions, source code and machine."""

import hashlib
import io
import platform
import tokenize
from importlib.metadata import version
from pathlib import Path

import torch

METHOD = (  # the files whose text decides what a run computes
    "data", "imagefolder", "preprocess", "seeding", "networks", "augment", "attention",
    "objectives", "recipes", "coresets", "synthetic", "distill", "evaluate",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of what takes part in the arithmetic."""
    return {name: version(name) for name in ("datadam_lite", "torch", "torchvision", "kornia")}


def code_sha256() -> str:
    """Fingerprint of the code of the method; comments, docstrings and line breaks don't count."""
    digest = hashlib.sha256()
    for name in METHOD:
        digest.update(_code(Path(__file__).with_name(f"{name}.py").read_text()).encode())
    return digest.hexdigest()


def _code(source: str) -> str:
    """The tokens of a source file, without comments and without strings that stand alone.

    >>> _code('def f():\\n    "What it does."\\n    return 1  # one\\n')
    'def f ( ) : return 1'
    """
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    kept, statement_starts = [], True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in layout:
            statement_starts = statement_starts or token.type == tokenize.NEWLINE
        else:
            if not (statement_starts and token.type == tokenize.STRING):
                kept.append(token.string)
            statement_starts = False
    return " ".join(filter(None, kept))


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
