"""A class is graded with one command, and everybody gets what is due."""

import json
import re
from collections import Counter

import answers
import pytest
from class_of_thirty import CLASS, SAMPLE
from submissions import notebook

from datadam_lite.classroom.evidence import one_result
from datadam_lite.classroom.variant import variant

SEED = "the secret string of a class"
TASK = variant(SEED)


@pytest.mark.parametrize("students", [SAMPLE, pytest.param(CLASS, marks=pytest.mark.slow)], ids=["sample", "thirty"])
def test_everybody_gets_what_is_due(cli, tmp_path, students, monkeypatch):
    folder, out = tmp_path / "class", tmp_path / "results"
    folder.mkdir()
    for student in students:
        student.hand_in(folder)
    monkeypatch.setenv("DATADAM_CLASS_SEED", SEED)
    done = cli("grade", folder, "--assignment", "a0", "--json", out)
    assert (done.status, done.err) == (0, "")
    for student in students:
        found = json.loads((out / f"{student.name}.results.json").read_text())
        about = found["extra_data"]
        assert (student.name, found["score"], about["causes"]) == (
            student.name, student.points, [student.cause] * bool(student.cause)
        )  # fmt: skip
        assert student.message in about["message"]
        assert bool(student.message) == bool(about["message"])
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{student.name}.ipynb" for student in students)
    told = cli("class-report", out).out
    causes = Counter(student.cause for student in students if student.cause)
    assert dict(re.findall(r"^  (.*?) +#+ (\d+)$", told.split("Likely causes")[1], re.M)) == {
        cause: str(count) for cause, count in causes.items()
    }


def test_the_class_has_thirty():
    assert len({student.name for student in CLASS}) == len(CLASS) == 30


@pytest.mark.slow
def test_right_answers_to_every_assignment_get_all_points(cli, tmp_path):
    rows = {value: [one_result(TASK.field, value, seed) for seed in TASK.seeds] for value in TASK.values}
    right = {
        "a0": answers.PLAIN,
        "a1": answers.CHANNEL,
        "a2": answers.mixed(TASK),
        "a3": answers.mended(TASK) + answers.written_test(TASK),
        "a4": answers.IDEAS[TASK.law],
        "a5": answers.INTERVALS + answers.results(TASK, rows),
    }
    for assignment, text in right.items():
        path, out = notebook(tmp_path / f"{assignment}.ipynb", answers.HEAD + text), tmp_path / f"{assignment}.json"
        assert cli("grade", path, "--assignment", assignment, "--class-seed", SEED, "--json", out).status == 0
        found = json.loads(out.read_text())
        assert (assignment, found["score"]) == (assignment, found["extra_data"]["best"]), found
