"""Fingerprints of code, versions, and the machine."""

import ast
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from datadam_lite import provenance
from datadam_lite.provenance import code_sha256, hardware, versions

CODE = """\
from datadam_lite.errors import positive
def f(x):
    if x:
        x = 1
        x = 2
    return "x"
"""


@pytest.fixture
def fingerprint(tmp_path, monkeypatch):
    """The fingerprint of a package whose every file has this source."""
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))

    def of(source):
        for name in provenance.METHOD:
            (tmp_path / f"{name}.py").write_text(source)
        return code_sha256()

    return of


@pytest.mark.parametrize(
    "same",
    [
        "# A comment.\n" + CODE,
        '"""What it does."""\n' + CODE,
        CODE.replace("x = 1", "x = 1  # one"),
        CODE.replace("    if", '    """What it\n    does."""\n\n    if'),
        CODE.replace("def f(x):", "def f(\n    x\n):"),
        CODE.replace("    ", "  "),
        CODE.replace("    if", "    if x < 0:\n        raise ValueError(f'{x} is negative')\n    if"),
        CODE.replace("    if", "    positive(x=x)\n    if"),
        CODE.replace("import positive", "import DataDamError, positive"),
        "from datadam_lite.checks import check_kind\n" + CODE,
        CODE + "def check(x):\n    if x:\n        raise ValueError\n",
    ],
)
def test_comments_docstrings_layout_and_refusals_do_not_count(fingerprint, same):
    assert same != CODE
    assert fingerprint(same) == fingerprint(CODE)


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("x = 1", "x = 3"),
        CODE.replace('"x"', '"y"'),
        CODE.replace("        x = 2", "    x = 2"),  # no longer part of the `if`
        CODE + CODE,
        CODE.replace("    if x:", "    if x < 0:\n        x = 0\n        raise ValueError\n    if x:"),
        CODE.replace("    if x:", "    if x < 0:\n        raise ValueError\n    else:\n        x = 3\n    if x:"),
        CODE.replace("    if x:", "    if (x := x + 1) < 0:\n        raise ValueError\n    if x:"),
        CODE.replace("    if", "    negative(x=x)\n    if"),
        CODE.replace("return", "return positive(x=x) or"),
    ],
    ids=["value", "text", "indentation", "more", "body", "else", "name", "call", "result"],
)
def test_everything_else_counts(fingerprint, other):
    assert fingerprint(other) != fingerprint(CODE)


@pytest.mark.parametrize("name", provenance.METHOD)
def test_every_file_of_the_method_counts(fingerprint, tmp_path, name):
    before = fingerprint(CODE)
    (tmp_path / f"{name}.py").write_text("x = 1\n")
    assert code_sha256() != before


def test_versions_are_those_installed():
    assert versions()["torch"] == version("torch")
    assert set(versions()) == {"datadam_lite", "torch", "torchvision", "kornia"}


def test_hardware_names_a_processor_and_the_threads():
    name, threads = hardware("cpu").rsplit(", ", 1)
    assert name
    assert threads == f"{torch.get_num_threads()} threads"


def test_hardware_without_cpuinfo(monkeypatch):
    def missing(*_):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert hardware("cpu").endswith("threads")


def imported(name):
    """The files of the package that one of them imports."""
    folder, found = Path(provenance.__file__).parent, set()
    for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "datadam_lite":
            found |= {*node.module.split(".")[1:], *(alias.name for alias in node.names)}  # the file, or files
    return {file for file in found if (folder / f"{file}.py").exists()}


def test_whatever_takes_part_in_a_run_is_in_the_fingerprint():
    """But for what computes nothing, and for settings, which have an entry of their own: numerics."""
    nothing = {
        "checkpoint", "checks", "distributed", "downloads", "errors", "files", "labels", "memory",
        "progress", "provenance", "settings",
    }
    open_, seen = {"distill", "evaluate"}, set()
    while open_:
        name = open_.pop()
        seen.add(name)
        open_ |= imported(name) - seen
    assert seen - nothing == set(provenance.METHOD)


def test_the_fingerprint_is_the_same_under_every_version_of_python():
    """What differs between them: f-strings are one token or many, and trees have more empty fields."""
    assert provenance._code("def f(x, /, *y): return f'{x!r:>{y}}' 'b'") == (
        "Module(body=[FunctionDef(name='f', args=arguments(posonlyargs=[arg(arg='x')], vararg=arg(arg='y')), "
        "body=[Return(value=JoinedStr(values=[FormattedValue(value=Name(id='x', ctx=Load()), conversion=114, "
        "format_spec=JoinedStr(values=[Constant(value='>'), FormattedValue(value=Name(id='y', ctx=Load()), "
        "conversion=-1)])), Constant(value='b')]))])])"
    )
