"""The class report: how an assignment went, and which misconceptions are behind what is wrong."""

import csv
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datadam_lite.classroom.gradescope import read
from datadam_lite.classroom.marks import BY_HAND
from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing

WIDEST = 30  # characters of a bar
SUFFIX = ".results.json"


@dataclass(frozen=True)
class Result:
    """The results of a submission: whose, and what `gradescope.read` returned."""

    name: str
    found: dict

    @property
    def about(self) -> dict:
        """Our part of the results."""
        return self.found["extra_data"]

    @property
    def score(self) -> float:
        """The points that the tool gave."""
        return self.found["score"]


def collect(folder: Path) -> dict[str, list[Result]]:
    """Read all results in a folder, and in those in it: assignment -> results, by name.

    Raises: DataDamError if there is none, or one can't be read.
    """
    paths = sorted(path for path in folder.rglob("*.json") if not path.name.startswith("."))
    found = [Result(named(path, folder), results) for path in paths if (results := read(path))]
    if not found:
        raise DataDamError(
            f"no results of grading in {folder}; expected files as 'datadam grade FOLDER --json DIR' writes them."
        )
    assignments = sorted({result.about["assignment"] for result in found})
    return {a: [result for result in found if result.about["assignment"] == a] for a in assignments}


def named(path: Path, folder: Path) -> str:
    """What a submission is called: where its results stand in the folder, without the ending.

    >>> named(Path("class/ann/a1.results.json"), Path("class"))
    'ann/a1'
    """
    name = path.relative_to(folder).as_posix()
    return name.removesuffix(SUFFIX if name.endswith(SUFFIX) else ".json")


def report(results: Sequence[Result]) -> str:
    """The report of one assignment, as text.

    Raises: DataDamError if they were graded by different rubrics.
    """
    if len({tuple(test["name"] for test in result.found["tests"]) for result in results}) > 1:
        raise DataDamError(
            f"the results of {results[0].about['assignment']} were made with different rubrics; grade them all again."
        )
    parts = [overview(results), "", *scores(results), "", *lines(results)]
    if causes := Counter(cause for result in results for cause in result.about["causes"]):
        parts += ["", "Likely causes of what is wrong", *bars(causes.most_common())]
    if stuck := [result for result in results if result.about["message"]]:
        parts += ["", "Could not be graded, or not all of it"]
        parts += [f"  {result.name}: {result.about['message']}" for result in stuck]
    return "\n".join(parts)


def overview(results: Sequence[Result]) -> str:
    """Number, mean, median and range of the scores."""
    found, about = [result.score for result in results], results[0].about
    by_hand = f"; {about['by_hand']:g} more by hand" * bool(about["by_hand"])
    middle = f"mean {statistics.fmean(found):.1f}, median {statistics.median(found):g}"
    count = f"{len(found)} submission{'s' * (len(found) != 1)}"
    return (
        f"{about['assignment']}: {count}, of {about['best']:g} points{by_hand}\n"
        f"{middle}, from {min(found):g} to {max(found):g}"
    )


def scores(results: Sequence[Result]) -> list[str]:
    """How many submissions got how many tenths of the points."""
    best = results[0].about["best"]
    tenths = Counter(min(int(10 * result.score / best), 9) for result in results)
    return ["Points", *bars([(f"{i * best / 10:g} to {(i + 1) * best / 10:g}", tenths[i]) for i in range(10)])]


def lines(results: Sequence[Result]) -> list[str]:
    """For each line of the rubric the mean points, and how many got all of them."""
    found = ["Lines of the rubric: mean points, and how many submissions got all"]
    for same in zip(*(result.found["tests"] for result in results), strict=True):
        if same[0]["output"] == BY_HAND:
            continue
        mean, best = statistics.fmean(test["score"] for test in same), same[0]["max_score"]
        full = sum(test["score"] == best for test in same)
        found.append(f"  {mean:4.1f} of {best:<3g} {full:4} of {len(same)}   {same[0]['name']}")
    return found


def bars(counts: Sequence[tuple[str, int]]) -> list[str]:
    """A bar for each name, as long as its count; the longest fits.

    >>> print("\\n".join(bars([("a", 1), ("long", 2)])))
      a     # 1
      long  ## 2
    """
    width, most = max(len(name) for name, _ in counts), max(count for _, count in counts)
    unit = min(1, WIDEST / most) if most else 0
    return [f"  {name:<{width}}  {'#' * round(count * unit)} {count}" for name, count in counts]


def write_csv(results: Sequence[Result], path: Path) -> None:
    """Write a line for each submission: name, points, what is left to the teacher, causes, message.

    Raises: DataDamError if the disk refuses.
    """
    header = ["submission", "assignment", "points", "of", "by hand up to", "likely causes", "message"]
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        for result in results:
            about = result.about
            row = [result.name, about["assignment"], f"{result.score:g}", f"{about['best']:g}", f"{about['by_hand']:g}"]
            table.writerow([plain(cell) for cell in (*row, "; ".join(about["causes"]), about["message"])])


def plain(cell: str) -> str:
    """Text that no spreadsheet takes for a formula: file names come from students.

    >>> plain("=1+1"), plain("ann")
    ("'=1+1", 'ann')
    """
    return f"'{cell}" if cell[:1] in tuple("=+-@\t\r") else cell
