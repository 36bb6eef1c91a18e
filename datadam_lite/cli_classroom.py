"""Commands for the classroom: grade, class-report."""

import io
import os
from contextlib import redirect_stderr
from pathlib import Path
from typing import Annotated

import typer

from datadam_lite import cli_options as option
from datadam_lite.classroom.assignments import ASSIGNMENTS
from datadam_lite.classroom.variant import PUBLIC, variant
from datadam_lite.errors import DataDamError, known

VARIABLE = "DATADAM_CLASS_SEED"
RESULTS, READABLE = ".results.json", ".results.md"  # in place of .ipynb


def grade_command(
    submission: Annotated[
        Path, typer.Argument(metavar="FILE|FOLDER", help="A notebook, or a folder: then every notebook in it.")
    ],
    assignment: Annotated[str, typer.Option(help=f"Which assignment: {', '.join(ASSIGNMENTS)}.")],
    class_seed: Annotated[
        str | None,
        typer.Option(
            help="The secret string that the notebooks of your class were made with. Others on the machine can read a "
            f"command line: better put it into {VARIABLE} or a file. Notebooks that everybody has: '{PUBLIC}'.",
        ),
    ] = None,
    class_seed_file: Annotated[Path | None, typer.Option(help="A file that holds the secret string.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="File for the results, as Gradescope reads them; of a folder: the folder for them, by default beside "
            "each notebook.",
        ),
    ] = None,
    overwrite: option.Overwrite = False,
):  # fmt: skip
    """Grade a student's notebook, or a folder of them: points for each line of the rubric, and the likely mistakes.

    Imports, functions and constants are taken out of the notebook, and run in a process without rights; no cell is run.
    """
    known(assignment, ASSIGNMENTS, "assignment")
    secret = read_seed(class_seed, class_seed_file)
    if submission.is_dir():
        grade_folder(submission, assignment, secret, out or submission, overwrite=overwrite)
        return
    if not submission.exists():
        raise DataDamError(f"there is no {submission}; expected a notebook, or a folder of notebooks.")
    option.refuse_existing(out, overwrite=overwrite, option="--json")
    from datadam_lite.classroom.gradescope import write

    found = quietly(submission, assignment, secret)
    if out:
        write(found, out)
    print(printable(str(found)))


def read_seed(given: str | None, file: Path | None) -> str:
    """The class seed: as given, from a file, or from the environment; spaces around it don't count.

    Raises: DataDamError if there is none, there are two, or it is too short.
    """
    if given is not None and file is not None:
        raise DataDamError("the class seed is given twice; leave --class-seed or --class-seed-file out.")
    if file is not None:
        try:
            given = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataDamError(f"the class seed can't be read from {file} ({type(error).__name__}).") from None
    given = os.environ.get(VARIABLE) if given is None else given
    if given is None:
        raise DataDamError(
            f"which class? Give the secret string of your class in {VARIABLE}, in a file (--class-seed-file) or as "
            f"--class-seed; for notebooks that everybody has: --class-seed '{PUBLIC}'."
        )
    variant(given.strip())
    return given.strip()


def grade_folder(folder: Path, assignment: str, secret: str, out: Path, *, overwrite: bool) -> None:
    """Grade every notebook in a folder, and say in a line for each what came of it; none stops the others.

    Raises: DataDamError if there is none, or results are there already; Exit with status 1 if some weren't graded.
    """
    paths = notebooks(folder)
    if not paths:
        raise DataDamError(f"there is no notebook in {folder}; expected files that end with .ipynb.")
    targets = {path: out / path.relative_to(folder) for path in paths}
    for target in targets.values():
        written = target.with_suffix(RESULTS), target.with_suffix(READABLE)
        option.refuse_existing(*written, overwrite=overwrite, option="--json")
    width, failed = max(len(str(path.relative_to(folder))) for path in paths), 0
    for path, target in targets.items():
        try:
            told = graded_into(path, target, assignment, secret)
        except Exception as error:  # the others must be graded, whatever this one did
            told, failed = f"not graded: {type(error).__name__}: {error}", failed + 1
        print(printable(f"{path.relative_to(folder)!s:<{width}}  {told}"), flush=True)
    print(f"\n{len(paths) - failed} of {len(paths)} graded; an overview of the class: datadam class-report {out}")
    if failed:
        raise typer.Exit(1)


def notebooks(folder: Path) -> list[Path]:
    """The notebooks in a folder and in those in it, without Jupyter's own copies."""
    found = (path.relative_to(folder) for path in folder.rglob("*.ipynb"))
    return [folder / path for path in sorted(found) if not any(part.startswith(".") for part in path.parts)]


def graded_into(path: Path, target: Path, assignment: str, secret: str) -> str:
    """Grade a notebook; write the results and a readable report; return a line that says what came of it."""
    from datadam_lite.classroom.gradescope import write
    from datadam_lite.files import replacing

    found = quietly(path, assignment, secret)
    with replacing(target.with_suffix(READABLE)) as temporary:
        temporary.write_text(f"{found}\n", encoding="utf-8")
    write(found, target.with_suffix(RESULTS))
    why = found.message or "; ".join(cause.name for cause in found.causes)
    return f"{found.score:4g} of {found.best:g}  {why}".rstrip()


def quietly(path: Path, assignment: str, secret: str):
    """Grade, without progress bars."""
    from datadam_lite.classroom.grade import grade

    with redirect_stderr(io.StringIO()):
        return grade(path, assignment, secret)


def printable(text: str) -> str:
    r"""The text without characters that a terminal obeys: names and messages come from students.

    >>> printable("a\x1b[2Jb\n")
    'a?[2Jb\n'
    """
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def class_report_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the results of grading are.")],
    csv: Annotated[Path | None, typer.Option(help="Also write a table of all submissions, for a spreadsheet.")] = None,
    overwrite: option.Overwrite = False,
):
    """How a class did: points, line by line of the rubric, and which misconceptions are behind what is wrong."""
    from datadam_lite.classroom.class_report import collect, report, write_csv

    option.refuse_existing(csv, overwrite=overwrite, option="--csv")
    found = collect(folder)
    print(printable("\n\n".join(report(results) for results in found.values())))
    if csv:
        write_csv([result for results in found.values() for result in results], csv)
        print(f"\ntable   {csv}")
