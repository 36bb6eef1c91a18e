"""What a submission defines: functions, classes, imports and literal constants. Nothing is run here, and no cell is.

A notebook has cells that train, draw and print. Grading takes from it what the functions asked for need, and leaves
the rest.
"""

import ast
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from datadam_lite.classroom.imports import CANT_PARSE, imported, refused_import
from datadam_lite.classroom.notebook import SubmissionError, code_cells, without_magic

LONGEST_CONSTANT = 100_000  # characters of a literal
FUNCTIONS = (ast.FunctionDef, ast.ClassDef)
ANY_FUNCTION = (*FUNCTIONS, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell: the names it gives, those it needs, and where it stands."""

    node: ast.stmt
    text: str
    line: int  # of the first character, counted through all cells, from 1
    gives: frozenset[str]
    needs: frozenset[str]
    refused: str = ""  # why it isn't taken

    @property
    def is_function(self) -> bool:
        """Whether it defines a function or a class, or what may stand for one."""
        return isinstance(self.node, FUNCTIONS) or _is_lambda(self.node)

    @property
    def is_star_import(self) -> bool:
        """Whether it gives names that only running it would tell."""
        return isinstance(self.node, ast.ImportFrom) and self.node.names[0].name == "*"


@dataclass(frozen=True)
class Definitions:
    """The definitions of a submission, as `definitions` returns them."""

    name: str
    cells: tuple[str, ...]
    statements: tuple[Statement, ...]
    broken: dict[int, str] = field(default_factory=dict)  # cells that aren't Python: their number, and the message

    @cached_property
    def _giving(self) -> dict[str, list[int]]:
        """Each name, and the places of the statements that give it."""
        found = {}
        for i, statement in enumerate(self.statements):
            for name in statement.gives:
                found.setdefault(name, []).append(i)
        return found

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of functions, each once, in order."""
        return tuple(dict.fromkeys(name for s in self.statements if s.is_function for name in sorted(s.gives)))

    def source(self, *names: str) -> str:
        """Return the definitions of these functions, and of all that they need, each in its own line: see `where`.

        Raises: SubmissionError if one is missing or defined twice, or needs what isn't there in grading.
        """
        taken = {self._only(name, wanted="function") for name in names}
        taken |= {i for i, s in enumerate(self.statements) if s.is_star_import and not s.refused}
        waiting = list(taken)
        while waiting:
            for needed in self._needed(waiting.pop()):
                if needed not in taken:
                    taken.add(needed)
                    waiting.append(needed)
        lines = [""] * sum(cell.count("\n") + 1 for cell in self.cells)
        for i in sorted(taken):
            for n, text in enumerate(self.statements[i].text.split("\n"), self.statements[i].line - 1):
                lines[n] = f"{lines[n]}; {text}" if lines[n] else text
        return "\n".join(lines).rstrip() + "\n"

    def where(self, line: int) -> str:
        """Say where a line of the source stands in the submission."""
        first = 1
        for number, cell in enumerate(self.cells, 1):
            lines = cell.split("\n")
            if line < first + len(lines):
                text = lines[line - first].strip()[:80] if line >= first else ""
                which = f"line {line - first + 1}" + f" of code cell {number}" * (len(self.cells) > 1)
                return f"{which}, `{text}`" if text else which
            first += len(lines)
        return f"line {line}"

    def constant(self, name: str):
        """Return the value of a literal constant, such as a dict of numbers.

        Raises: SubmissionError if there is none, if there are two, or if it is long or no literal.
        """
        statement = self.statements[self._only(name, wanted="literal")]
        value = getattr(statement.node, "value", None)
        if len(statement.text) > LONGEST_CONSTANT:
            raise SubmissionError(
                f"{name} has {len(statement.text):,} characters, and {LONGEST_CONSTANT:,} are read at most."
            )
        targets = getattr(statement.node, "targets", [getattr(statement.node, "target", None)])
        if not _is_literal(value) or not all(isinstance(target, ast.Name) for target in targets):
            raise SubmissionError(
                f"{name} must be written as a literal, numbers and texts in brackets, as in {name} = [1.5, 2.5]; what "
                f"stands in {self.where(statement.line)} has to be computed, and no cell is run in grading."
            )
        return ast.literal_eval(value)

    def _only(self, name: str, wanted: str) -> int:
        """The place of the one statement that gives the name."""
        found = self._giving.get(name, [])
        if wanted == "function":
            found = [i for i in found if self.statements[i].is_function] or found
        if not found:
            raise SubmissionError(self._missing(name, wanted))
        if len(found) > 1:
            places = " and in ".join(self.where(self.statements[i].line) for i in found[:5])
            raise SubmissionError(
                f"{name} is defined {len(found)} times: in {places}. Which one counts? Delete the others, or rename "
                "them."
            )
        statement = self.statements[found[0]]
        if wanted == "function" and not statement.is_function:
            raise SubmissionError(
                f"{name} must be a function, written with def; what stands in {self.where(statement.line)} is none."
            )
        return found[0]

    def _missing(self, name: str, wanted: str) -> str:
        for number, message in self.broken.items():
            if name in self.cells[number - 1]:
                return f"{message} {name} is in this cell, so it can't be read."
        names = self.functions if wanted == "function" else sorted(self._giving)
        close = get_close_matches(name, names, n=1)
        told = f" Is it {close[0]}? Then rename it." if close else f" It defines {', '.join(names[:20]) or 'none'}."
        return f"{self.name} has no {wanted} {name!r} at the top level of a cell.{told}"

    def _needed(self, i: int) -> Iterator[int]:
        """The statements that a statement needs: of each name the last one that gives it, and can be taken."""
        for name in sorted(self.statements[i].needs):
            found = self._giving.get(name, [])
            usable = [j for j in found if not self.statements[j].refused]
            if usable:
                yield from usable[-9:]  # the last one counts; what stands between may need one before
            elif found:
                last = self.statements[found[-1]]
                raise SubmissionError(f"{self._user(i)} uses {name}, from {self.where(last.line)}: {last.refused}")
        for node in ast.walk(self.statements[i].node):
            if isinstance(node, (ast.Import, ast.ImportFrom)) and (why := refused_import(node)):
                raise SubmissionError(f"{self._user(i)} imports {', '.join(imported(node))}: {why}")

    def _user(self, i: int) -> str:
        return ", ".join(sorted(self.statements[i].gives)) or "The code"


def definitions(path: str | Path) -> Definitions:
    """Read a submission, a notebook or a Python file, and return what it defines. None of its code is run.

    Raises: SubmissionError if it can't be read. A cell that isn't Python is an error when something in it is needed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.py").write_text("import torch\\ntorch.ones(9**9)\\ndef f(x): return torch.abs(x)")
    ...     print(definitions(Path(folder, "mine.py")).source("f"), end="")
    import torch
    <BLANKLINE>
    def f(x): return torch.abs(x)
    """
    cells = code_cells(path)
    statements, broken, line = [], {}, 1
    for number, cell in enumerate(cells, 1):
        try:
            statements += _statements(cell, line)
        except CANT_PARSE as error:
            broken[number] = f"Code cell {number} isn't Python: {_syntax(error)}."
        line += cell.count("\n") + 1
    return Definitions(Path(path).name, tuple(cells), tuple(statements), broken)


def _statements(cell: str, first: int) -> list[Statement]:
    """The statements of a cell whose first line has this number."""
    try:
        tree = ast.parse(cell)
    except SyntaxError:
        cell = without_magic(cell)
        tree = ast.parse(cell)
    lines = [line.encode() for line in cell.split("\n")]  # columns count bytes
    found = []
    for node in tree.body:
        start, text = _cut(node, lines)
        for part, words in _one_by_one(node, text):
            found.append(Statement(part, words, first + start - 1, *_gives_and_needs(words), _refused(part)))
    return found


def _one_by_one(node: ast.stmt, text: str) -> list[tuple[ast.stmt, str]]:
    """The statement; `import a, b` as two, since one may be refused and the other not."""
    if not isinstance(node, ast.Import) or len(node.names) == 1:
        return [(node, text)]
    return [(part, ast.unparse(part)) for part in (ast.Import([alias]) for alias in node.names)]


def _cut(node: ast.stmt, lines: list[bytes]) -> tuple[int, str]:
    """The line where a statement starts, and its text."""
    decorators = [decorator.lineno for decorator in getattr(node, "decorator_list", ())]
    start = min([node.lineno, *decorators])
    part = lines[start - 1 : node.end_lineno]
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = part[0][0 if decorators else node.col_offset :]
    return start, b"\n".join(part).decode()


def _gives_and_needs(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a statement gives the top level, and those that it takes from there, or its functions do."""
    top = symtable.symtable(text, "submission", "exec")
    gives = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    needs = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    waiting = top.get_children()
    while waiting:
        table = waiting.pop()
        needs |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
        waiting += table.get_children()
    return frozenset(gives), frozenset(needs)


def _refused(node: ast.stmt) -> str:
    """Why a statement isn't taken, or nothing."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return refused_import(node)
    if isinstance(node, ANY_FUNCTION) or _is_lambda(node):
        return ""
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and _is_literal(node.value):
        return ""
    return (
        "only imports, functions, classes and literal constants are taken from a notebook, and no other line of it is "
        "run. Make it inside the function, or hand it over as an argument with a literal default."
    )


def _is_lambda(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Lambda)


def _is_literal(value: ast.expr | None) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _syntax(error: BaseException) -> str:
    """What Python says about text that it can't read, and in which line."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.msg} (line {error.lineno})"
    return "it is nested too deeply, or holds what isn't text" if not str(error) else str(error)
