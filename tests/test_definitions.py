"""What is taken out of a submission, and what is said of one that can't be read."""

import json
import os

import pytest
from submissions import notebook

from datadam_lite import DataDamError
from datadam_lite.classroom.definitions import definitions
from datadam_lite.classroom.imports import modules
from datadam_lite.classroom.notebook import LARGEST, LONGEST, SubmissionError

SETUP = "%pip install -q datadam_lite\nimport datadam_lite as dd\nimport torch\nfrom torch.nn import functional as F"
RIGHT = "def attention(maps, p=4):\n    return F.normalize(maps.abs().pow(p).sum(1).flatten(1), dim=1)"


@pytest.fixture
def read(tmp_path):
    """Read a notebook of these cells."""
    return lambda *cells: definitions(notebook(tmp_path / "mine.ipynb", *cells))


@pytest.fixture
def refusal(tmp_path):
    """Write a file, ask for its attention, and return what is said."""

    def refused(content, name="mine.ipynb", wanted="attention"):
        path = tmp_path / name
        if isinstance(content, tuple):
            notebook(path, *content)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(SubmissionError) as raised:
            definitions(path).source(wanted)
        assert len(str(raised.value)) < 600
        return str(raised.value)

    return refused


def run(source, *names):
    """Run a source, and return what it calls so."""
    space = {}
    exec(source, space)
    return [space[name] for name in names]


# ---- what is taken


def test_only_what_is_needed_is_taken(read):
    found = read(
        SETUP,
        "train, test = dd.load('digits')\nEPS = 1e-8\nOTHER = 3",
        "def helper(x):\n    return x + EPS\n\n@helper\ndef unrelated(x): ...",
        "raise SystemExit",
        "def attention(maps):\n    return helper(maps)",
        "distilled = dd.distill(train, 1, attention=attention)",
    )
    source = found.source("attention")
    assert [line for line in source.split("\n") if line] == [
        "EPS = 1e-8", "def helper(x):", "    return x + EPS", "def attention(maps):", "    return helper(maps)",
    ]  # fmt: skip
    assert run(source, "attention")[0](1) == 1 + 1e-8
    assert found.functions == ("helper", "unrelated", "attention")


def test_lines_keep_their_places(read):
    found = read("x = 1\n\ny = 2", "z = 3\ndef attention(maps):\n    a = 1\n    return maps + zz")
    lines = found.source("attention").split("\n")
    line = lines.index("    return maps + zz") + 1
    assert found.where(line) == "line 4 of code cell 2, `return maps + zz`"
    assert found.where(10**6) == "line 1000000"
    assert read("def attention(maps): ...").where(1) == "line 1, `def attention(maps): ...`"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("a = 1; b = -2.5; print(3); c, d = 4, [5]\ndef attention(): return a, b, c, d",), (1, -2.5, 4, [5])),
        (("é = 'ü'; b = 2\ndef attention(): return é, b",), ("ü", 2)),
        (("x: int = 1\nattention = lambda: x",), 1),
        (("def attention(y=3): return y\nprint(attention())",), 3),
        (("def f(): return 1", "def f(): return 2", "def attention(): return f()"), 2),
        (("class A:\n    def f(self): return math.pi", "import math\ndef attention(): return A().f()"), 3.14),
        (("def twice(f): return lambda: 2 * f()", "@twice\n# why?\ndef attention(): return 4"), 8),
        (("from math import *\ndef attention(): return floor(2.5)",), 2),
        (("%%time\n%matplotlib inline\n!ls\nfiles = !ls\nhelp?\ndef attention(): return 5",), 5),
        (("%%bash\ndef attention(): nonsense", "def attention(): return 6"), 6),
        (("this is no Python", "def attention(): return 7"), 7),
        (("def attention(maps=0):\n    train = maps + 8\n    return train", "train = load()"), 8),
        (("def attention():\n    text = '''a\n%b'''\n    return text",), "a\n%b"),
        (("x = (7\n% 4)", "def attention(): return 3"), 3),
        (("from __future__ import annotations\ndef attention(x: str = 9): return x",), 9),
        (("def attention():\r\n    return 10\r\n",), 10),
        (("import os, math as m, torch\ndef attention(): return m.floor(11.5)",), 11),
        (("?" + " " * 10**5 + "=\ndef attention(): return 12",), 12),
    ],
)  # fmt: skip
def test_what_is_taken(read, cells, expected):
    value = run(read(*cells).source("attention"), "attention")[0]()
    assert value == (pytest.approx(expected, abs=0.01) if isinstance(expected, float) else expected)


def test_a_python_file_is_read_too(tmp_path):
    path = tmp_path / "mine.py"
    path.write_bytes(b"\xef\xbb\xbfimport math\r\nprint(1)\r\ndef attention(x=2.5):\r\n    return math.floor(x)\r\n")
    assert run(definitions(path).source("attention"), "attention")[0]() == 2


def test_a_notebook_may_hold_its_source_as_one_text(tmp_path):
    path = tmp_path / "mine.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": "x = 1\ndef attention(): return x"}]}))
    assert run(definitions(path).source("attention"), "attention")[0]() == 1


def test_modules_that_a_source_imports_are_those_of_the_list():
    assert modules("import torch.nn as nn\nimport os\nimport math\nfrom numpy import linalg") == [
        "math", "numpy", "numpy.linalg", "torch.nn",
    ]  # fmt: skip
    assert modules("import torch._inductor\nfrom . import x\nimport datadam_lite\nimport antigravity") == []
    assert modules("def (") == []


# ---- constants


def test_a_literal_constant_is_read(read):
    assert read("RESULTS = {'1.0': [91.5, -2], '2.0': []}").constant("RESULTS") == {"1.0": [91.5, -2], "2.0": []}


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("RESULT = 1", "has no literal 'RESULTS' at the top level of a cell. Is it RESULT?"),
        ("RESULTS = [x for x in range(3)]", "must be written as a literal"),
        ("RESULTS = 2 ** 10_000_000", "must be written as a literal"),
        ("RESULTS = __import__('os').system('ls')", "must be written as a literal"),
        ("RESULTS, x = 1, 2", "must be written as a literal"),
        ("for RESULTS in range(3): pass", "must be written as a literal"),
        ("def RESULTS(): ...", "must be written as a literal"),
        ("RESULTS: dict", "must be written as a literal"),
        (f"RESULTS = [{'1,' * 60_000}]", "has 120,012 characters, and 100,000 are read"),
        ("RESULTS = 1\nRESULTS = 2", "RESULTS is defined 2 times"),
    ],
)
def test_a_constant_that_cannot_be_read_is_refused(read, cell, told):
    with pytest.raises(SubmissionError) as raised:
        read(cell).constant("RESULTS")
    assert told in str(raised.value)


# ---- what is refused


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "isn't JSON"),
        ("{'cells': []}", "isn't JSON"),
        ("[1, 2]", "has no list of cells"),
        ('{"worksheets": [], "nbformat": 3}', "has no list of cells"),
        ('{"cells": 3}', "has no list of cells"),
        ('{"cells": ["x"]}', "has no list of cells"),
        ('{"cells": [{"cell_type": "code", "source": {"a": 1}}]}', "a code cell whose source isn't text"),
        ('{"cells": [{"cell_type": "code", "source": ["a", 1]}]}', "a code cell whose source isn't text"),
        ("[" * 10**6, "nested too deeply"),
        ('{"a":' * 10**5 + "1" + "}" * 10**5, "nested too deeply"),
        (b"\xff\xfe{\x00", "isn't text in UTF-8 (byte 0)"),
        (b"\x80\x04\x95cposix\nsystem\n", "isn't text in UTF-8"),
        (b" " * (LARGEST + 1), "more than 30 MB"),
        (('x = "' + "a" * LONGEST + '"',), "characters of code, and 200,000 are read"),
        (("x = 1",), "has no function 'attention' at the top level of a cell. It defines none"),
        (("def atention(maps): ...",), "Is it atention? Then rename it"),
        (("def f(): ...", "def g(): ..."), "It defines f, g."),
        (("def f():\n    def attention(): ...",), "has no function 'attention'"),
        ((RIGHT, "x = 1\n" + RIGHT), "defined 2 times: in line 1 of code cell 1, `def attention(maps, p=4):` and in "
                                     "line 2 of code cell 2"),
        (("attention = 3",), "must be a function, written with def; what stands in line 1"),
        (("class A: ...\nattention = A()",), "must be a function"),
        (("attention = (m for m in range(3))",), "must be a function"),
        (("async def attention(maps): ...",), "must be a function"),
        (("if True:\n    def attention(maps): ...",), "must be a function"),
        (("ok = 1", "def attention(maps):\n    return maps +* 2"), "Code cell 2 isn't Python: invalid syntax (line 2)"),
        (("def attention(maps):\nreturn maps",), "Code cell 1 isn't Python: expected an indented block"),
        (("def attention(maps): return " + "(" * 5000 + ")" * 5000,), "Code cell 1 isn't Python"),
        (("def attention(maps): return " + "-" * 10**5 + "1",), "Code cell 1 isn't Python"),
        (("def attention(maps): return maps" + ".T" * 90_000,), "Code cell 1 isn't Python"),
        (("def attention(maps): return 1" + "+1" * 90_000,), "Code cell 1 isn't Python"),
        (("def attention(maps): return '\0'",), "Code cell 1 isn't Python"),
        ((SETUP, "def attention(maps):\n    return dd.spatial(maps)"), "the library's own functions aren't there"),
        (("from datadam_lite import spatial as s", "def attention(maps):\n    return s(maps)"), "the library's own"),
        (("def attention(maps):\n    import datadam_lite.attention as a\n    return a.f(maps)",), "the library's own"),
        (("import datadam_lite as torch", "def attention(maps): return torch.spatial(maps)"), "the library's own"),
        (("import os\ndef attention(maps): return os.listdir()",), "uses os, from line 1, `import os`: it isn't"),
        (("def attention(maps):\n    from subprocess import run",), "imports subprocess: it isn't there in grading"),
        (("from .other import f\ndef attention(maps): return f(maps)",), "uses f, from line 1"),
        (("import matplotlib.pyplot as plt", "def f(): plt.plot(x)\ndef attention(maps): f()"), "f uses plt,"),
        (("EPS = torch.finfo().eps\ndef attention(maps): return maps + EPS",), "attention uses EPS, from line 1, `EPS"),
    ],
)  # fmt: skip
def test_what_cannot_be_graded_is_refused_in_words(refusal, content, told):
    assert told in refusal(content)


def test_files_that_are_none_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name, told in (("pipe.ipynb", "no file pipe.ipynb"), ("gone.py", "no file gone.py"), ("a.txt", "a.txt")):
        with pytest.raises(DataDamError, match=told):
            definitions(tmp_path / name)


def test_half_a_letter_is_no_trouble(tmp_path):
    path = tmp_path / "mine.ipynb"
    path.write_text('{"cells": [{"cell_type": "code", "source": "def attention(): return \'\\ud800\'"}]}')
    assert run(definitions(path).source("attention"), "attention")[0]() == "?"
