"""Reading a submission: a notebook, or a Python file, from somebody who may have sent anything."""

import json
import re
from pathlib import Path

from datadam_lite.errors import DataDamError

LARGEST = 30 * 2**20  # bytes of a file, with the pictures in it
LONGEST = 200_000  # characters of code
MAGIC = re.compile(r"[%!?]|[\w, ]+=\s*[%!]|[\w.]+\?{1,2}$")  # a line for Jupyter, and not for Python
OF_PYTHON = ("%%time", "%%capture", "%%timeit", "%%prun")  # what follows such a first line is Python


class SubmissionError(DataDamError):
    """A submission that can't be graded as it is: one sentence or two saying what is wrong, and what to do."""


def code_cells(path: str | Path) -> list[str]:
    """Return the code of each code cell of a notebook, in order; a Python file is a single cell.

    Raises: SubmissionError if it isn't a notebook or Python file, is too large, or can't be read.
    """
    path = Path(path)
    text = _text(path)
    cells = [text] if path.suffix == ".py" else _cells(path.name, text)
    if (length := sum(map(len, cells))) > LONGEST:
        raise SubmissionError(f"{path.name} has {length:,} characters of code, and {LONGEST:,} are read at most.")
    return cells


def without_magic(cell: str) -> str:
    """The cell with empty lines in place of those that only Jupyter understands, such as `%pip` and `!ls`.

    >>> without_magic("!ls\\nx = 1\\nx?")
    '\\nx = 1\\n'
    """
    lines = cell.split("\n")
    first = next((line.split()[0] for line in lines if line.strip()), "")
    if first.startswith("%%") and first not in OF_PYTHON:
        return "\n" * (len(lines) - 1)
    return "\n".join("" if MAGIC.match(line.strip()) else line for line in lines)


def _text(path: Path) -> str:
    if path.suffix not in (".ipynb", ".py"):
        raise SubmissionError(f"a submission is a notebook, .ipynb, or a Python file, .py; received {path.name}.")
    if not path.is_file():
        raise SubmissionError(f"there is no file {path.name}.")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise SubmissionError(f"{path.name} can't be read: {error.strerror}.") from None
    if len(data) > LARGEST:
        raise SubmissionError(
            f"{path.name} has more than {LARGEST // 2**20} MB. Clear its outputs, save it, and hand it in again."
        )
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{path.name} isn't text in UTF-8 (byte {error.start:,}). Save it in Jupyter.") from None


def _cells(name: str, text: str) -> list[str]:
    try:
        notebook = json.loads(text)
    except RecursionError:
        raise SubmissionError(f"{name} is nested too deeply for a notebook. Save it from Jupyter.") from None
    except ValueError as error:
        raise SubmissionError(
            f"{name} isn't a notebook, as it isn't JSON ({error}). Hand in the .ipynb file that Jupyter saved."
        ) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise SubmissionError(
            f"{name} is JSON, but not a notebook of today's format, 4: it has no list of cells. Open it in Jupyter and "
            "save it."
        )
    return [_source(name, cell) for cell in cells if cell.get("cell_type") == "code"]


def _source(name: str, cell: dict) -> str:
    lines = cell.get("source", "")
    if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
        lines = "".join(lines)
    if not isinstance(lines, str):
        raise SubmissionError(f"{name} has a code cell whose source isn't text. Open it in Jupyter and save it.")
    lines = lines.encode("utf-8", "replace").decode()  # JSON can write halves of letters
    return lines.replace("\r\n", "\n").replace("\r", "\n")
