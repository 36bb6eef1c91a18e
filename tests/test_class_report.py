"""The class report: what it counts, from the files that grading writes."""

import csv
import json
from pathlib import Path

import pytest

from datadam_lite import DataDamError
from datadam_lite.classroom.class_report import bars, collect, report, write_csv
from datadam_lite.classroom.findings import Finding
from datadam_lite.classroom.gradescope import write
from datadam_lite.classroom.marks import Earned, Grade, marked

ROOT = Finding("a root too many", "Read the equation.")
BATCH = Finding("normalised over the batch", "Which axis?")


def grade(assignment, *shares, cause=None, message=""):
    return Grade(assignment, marked(assignment, [Earned(share, "", cause) for share in shares]), message)


@pytest.fixture
def folder(tmp_path):
    """A class of four, one of whom handed in another assignment, too."""
    write(grade("a0", 1, 1, 1, 1), tmp_path / "ann" / "a0.results.json")
    write(grade("a0", 1, 1, 0.5, 0, cause=ROOT), tmp_path / "bob.results.json")
    write(grade("a0", 1, 0.5, 0, 0, cause=ROOT), tmp_path / "=cy.results.json")
    write(grade("a0", message="It isn't a notebook."), tmp_path / "dan.results.json")
    write(grade("a5", 1, 0.5, 1, 1, 0.5, cause=BATCH), tmp_path / "ann" / "a5.results.json")
    (tmp_path / "notes.json").write_text('{"score": 3}')
    (tmp_path / ".hidden.json").write_text("{")
    return tmp_path


def test_results_are_collected_by_assignment(folder):
    found = collect(folder)
    assert {name: [result.name for result in results] for name, results in found.items()} == {
        "a0": ["=cy", "ann/a0", "bob", "dan"],
        "a5": ["ann/a5"],
    }


def test_the_report_in_full(folder):
    assert report(collect(folder)["a0"]) == """\
a0: 4 submissions, of 10 points
mean 4.6, median 4.25, from 0 to 10

Points
  0 to 1   # 1
  1 to 2    0
  2 to 3    0
  3 to 4   # 1
  4 to 5    0
  5 to 6   # 1
  6 to 7    0
  7 to 8    0
  8 to 9    0
  9 to 10  # 1

Lines of the rubric: mean points, and how many submissions got all
   1.5 of 2      3 of 4   one vector per image, from a call with the maps alone
   1.2 of 2      2 of 4   the rest of the contract: finite, each image on its own, the input unchanged, a right gradient
   1.1 of 3      1 of 4   the laws of spatial attention
   0.8 of 3      1 of 4   spatial attention on maps, and for powers, that only your teacher has

Likely causes of what is wrong
  a root too many  ## 2

Could not be graded, or not all of it
  dan: It isn't a notebook."""


def test_what_is_marked_by_hand_is_announced_and_not_averaged(folder):
    found = report(collect(folder)["a5"])
    assert found.startswith("a5: 1 submission, of 20 points; 20 more by hand\nmean 15.0, ")
    assert "the page" not in found


def test_the_table(folder, tmp_path):
    write_csv([result for results in collect(folder).values() for result in results], tmp_path / "grades.csv")
    with open(tmp_path / "grades.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["submission", "assignment", "points", "of", "by hand up to", "likely causes", "message"]
    assert rows == [
        ["'=cy", "a0", "3", "10", "0", "a root too many", ""],  # no spreadsheet takes it for a formula
        ["ann/a0", "a0", "10", "10", "0", "", ""],
        ["bob", "a0", "5.5", "10", "0", "a root too many", ""],
        ["dan", "a0", "0", "10", "0", "", "It isn't a notebook."],
        ["ann/a5", "a5", "15", "20", "20", "normalised over the batch", ""],
    ]


def test_long_bars_are_scaled():
    assert bars([("a", 300), ("b", 100), ("c", 0)]) == [f"  a  {'#' * 30} 300", f"  b  {'#' * 10} 100", "  c   0"]


def test_a_folder_without_results(tmp_path):
    with pytest.raises(DataDamError, match="no results of grading"):
        collect(tmp_path)


def test_results_that_are_half_written_or_of_another_rubric(folder):
    path = folder / "bob.results.json"
    changed = json.loads(Path(path).read_text())
    changed["tests"].pop()
    path.write_text(json.dumps(changed))
    with pytest.raises(DataDamError, match="different rubrics; grade them all again"):
        report(collect(folder)["a0"])
    path.write_text("{")
    with pytest.raises(DataDamError, match=r"bob.results.json can't be read .* grade it again"):
        collect(folder)
