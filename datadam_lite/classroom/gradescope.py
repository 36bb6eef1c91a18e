"""Results of grading as files: in the format that Gradescope reads, which holds all that a class report needs."""

import json
from pathlib import Path

from datadam_lite.classroom.marks import BY_HAND, Grade, Mark
from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing
from datadam_lite.provenance import versions


def results(grade: Grade) -> dict:
    """A grade in the words of Gradescope's results.json.

    `extra_data` is ours: the assignment, the likely causes by name, whether it could be graded, and the versions.

    >>> from datadam_lite.classroom.marks import Earned, marked
    >>> found = results(Grade("a0", marked("a0", [Earned(1)] * 4)))
    >>> found["score"], found["tests"][0]["status"]
    (10.0, 'passed')
    """
    said = [grade.message, *(f"Likely cause: {cause.name}. {cause.sentence}" for cause in grade.causes), *grade.remarks]
    return {
        "score": grade.score, "output": "\n\n".join(filter(None, said)), "output_format": "text",
        "tests": [line(mark) for mark in grade.marks],
        "extra_data": {
            "assignment": grade.assignment, "causes": [cause.name for cause in grade.causes], "best": grade.best,
            "by_hand": grade.by_hand, "message": grade.message, "versions": versions(),
        },
    }  # fmt: skip


def line(mark: Mark) -> dict:
    """A line of the rubric as a test of Gradescope's. One by hand isn't shown as failed."""
    by_hand = mark.line.by_hand
    return {
        "name": mark.line.name, "score": mark.points, "max_score": mark.line.points,
        "status": "passed" if mark.full or by_hand else "failed", "output": BY_HAND if by_hand else mark.earned.why,
    }  # fmt: skip


def write(grade: Grade, path: Path) -> None:
    """Write the results, all of them or none.

    Raises: DataDamError if the disk refuses.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(results(grade), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict | None:
    """Read results that `write` wrote; None for another JSON file.

    Raises: DataDamError if it can't be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataDamError(f"{path} can't be read as results of grading ({error}); grade it again.") from None
    about = found.get("extra_data") if isinstance(found, dict) else None
    return found if isinstance(about, dict) and {"assignment", "causes", "best", "by_hand"} <= about.keys() else None
