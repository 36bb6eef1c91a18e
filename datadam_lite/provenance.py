"""Where a number or a file comes from: versions, source code and machine."""

import ast
import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from datadam_lite.labels import label as label  # recipes.py asks for it here

METHOD = (  # the files whose text decides what a run computes
    "data", "datasets", "readers", "imagefolder", "preprocess", "seeding", "layers", "backbones", "networks", "augment",
    "attention", "mmd", "objectives", "coresets", "initial", "recipes", "chunks", "synthetic", "distill", "protocol",
    "stacked", "evaluate", "report",
)  # fmt: skip
REFUSALS = ("datadam_lite.errors", "datadam_lite.checks")  # their functions return what came, or raise


def versions() -> dict[str, str]:
    """Versions of what takes part in the arithmetic."""
    return {name: version(name) for name in ("datadam_lite", "torch", "torchvision", "kornia")}


def code_sha256() -> str:
    """Fingerprint of the code of the method, the same under every version of Python.

    Comments, docstrings and layout don't count, nor does what only refuses bad input: an `if` that does nothing but
    raise, and a call of a function of errors.py or checks.py whose result isn't used. A run that ends has passed them,
    and would have ended so without them.
    """
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
    """What decides, of a source file: its syntax tree as text, the same under every version of Python.

    >>> _code("def f(x):\\n    'What it does.'\\n    if x < 0: raise ValueError\\n    return 1  # one")
    "Module(body=[FunctionDef(name='f', args=arguments(args=[arg(arg='x')]), body=[Return(value=Constant(value=1))])])"
    """
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module in REFUSALS]
    checks = {alias.name for node in imports for alias in node.names}
    return _text(_Deciding(checks).visit(tree))


class _Deciding(ast.NodeTransformer):
    """Takes out of a syntax tree what no number depends on: docstrings, and what only refuses bad input."""

    def __init__(self, checks: set[str]):
        self.checks = checks

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if node.module in REFUSALS else node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        check = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", None) in self.checks
        return None if check or isinstance(node.value, ast.Constant) else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef | None:
        self.generic_visit(node)
        return node if node.body else None  # one that did nothing but refuse

    def visit_If(self, node: ast.If) -> ast.If | None:
        self.generic_visit(node)
        refuses = all(isinstance(each, ast.Raise) for each in node.body) and not node.orelse
        names = any(isinstance(each, ast.NamedExpr) for each in ast.walk(node.test))  # what follows may use the name
        return None if refuses and not names else node


def _text(node) -> str:
    """A syntax tree as text, without fields that are empty: newer versions of Python have more of them."""
    if isinstance(node, list):
        return f"[{', '.join(map(_text, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{name}={_text(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({', '.join(fields)})"


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
