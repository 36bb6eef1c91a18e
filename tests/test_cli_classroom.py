"""grade and class-report, as a teacher uses them."""

import json
from importlib import import_module

import answers
import pytest
from submissions import notebook

from datadam_lite.classroom.marks import Earned, Grade, marked
from datadam_lite.cli_classroom import VARIABLE

SEED = "the secret string of a class"
module = import_module("datadam_lite.classroom.grade")


@pytest.fixture(autouse=True)
def _no_seed(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def folder(tmp_path):
    """Three submissions, one of them in a folder of its own, and what Jupyter left there."""
    for name in ("ann.ipynb", "bob/a0.ipynb", "cy.ipynb", ".ipynb_checkpoints/ann-checkpoint.ipynb"):
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        notebook(path, answers.HEAD, answers.PLAIN)
    return tmp_path / "class"


@pytest.fixture
def graded(monkeypatch):
    """Grade nothing: full points, and an error of ours for cy. Collect what was asked."""
    seen = []

    def pretend(path, assignment, seed):
        seen.append((path.name, assignment, seed))
        if path.name == "cy.ipynb":
            raise RuntimeError("no memory\x1b[2J")
        return Grade(assignment, marked(assignment, [Earned(1)] * 4))

    monkeypatch.setattr(module, "grade", pretend)
    return seen


def test_a_submission_from_the_notebook_to_the_results(cli, folder, tmp_path):
    wrong = answers.PLAIN.replace("maps = maps / maps.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)", "")
    notebook(folder / "dan.ipynb", answers.HEAD, wrong.replace("dim=1)", "dim=0)"))
    done = cli("grade", folder / "dan.ipynb", "--assignment", "a0", "--class-seed", SEED, "--json", tmp_path / "r.json")
    assert (done.status, done.err) == (0, "")
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["score"] == 5
    assert found["extra_data"]["causes"] == ["normalised over the batch"]
    assert done.out.startswith("**a0: 5 of 10 points**\n")
    assert "Likely cause: normalised over the batch." in done.out
    assert SEED not in done.out + json.dumps(found)


def test_results_are_replaced_only_if_asked(cli, refused, folder, graded, tmp_path):
    given = ["grade", folder / "ann.ipynb", "--assignment", "a0", "--class-seed", SEED, "--json", tmp_path / "r.json"]
    (tmp_path / "r.json").write_text("old")
    assert "r.json exists; choose another --json, or give --overwrite" in refused(*given)
    assert (graded, (tmp_path / "r.json").read_text()) == ([], "old")
    assert cli(*given, "--overwrite").status == 0
    assert json.loads((tmp_path / "r.json").read_text())["score"] == 10


# ---- the class seed


def test_the_seed_from_the_environment_or_a_file(cli, folder, graded, tmp_path, monkeypatch):
    (tmp_path / "seed").write_text(f"{SEED} 2\n")
    monkeypatch.setenv(VARIABLE, f"{SEED} 1")
    for options in ([], ["--class-seed-file", tmp_path / "seed"], ["--class-seed", f"{SEED} 3"]):
        assert cli("grade", folder / "ann.ipynb", "--assignment", "a0", *options).status == 0
    assert [seed for _, _, seed in graded] == [f"{SEED} {i}" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "which class? Give the secret string"),
        (["--class-seed", SEED, "--class-seed-file", "x"], "given twice"),
        (["--class-seed-file", "no such file"], "can't be read from no such file"),
        (["--class-seed", "short"], "12 characters"),
    ],
)
def test_a_seed_that_is_missing_or_wrong(refused, folder, graded, options, said):
    assert said in refused("grade", folder / "ann.ipynb", "--assignment", "a0", *options)
    assert not graded


def test_bad_input(refused, folder, tmp_path):
    assert "unknown assignment 'a9'" in refused("grade", folder, "--assignment", "a9", "--class-seed", SEED)
    missing = tmp_path / "x.ipynb"
    assert "there is no" in refused("grade", missing, "--assignment", "a0", "--class-seed", SEED)
    (tmp_path / "empty").mkdir()
    assert "there is no notebook" in refused("grade", tmp_path / "empty", "--assignment", "a0", "--class-seed", SEED)
    assert "no results of grading" in refused("class-report", folder)


# ---- a folder


def test_a_folder_is_graded_beside_the_notebooks_and_one_error_stops_no_other(cli, folder, graded):
    done = cli("grade", folder, "--assignment", "a0", "--class-seed", SEED)
    assert (done.status, done.err) == (1, "")
    assert done.out.splitlines() == [
        "ann.ipynb       10 of 10",
        "bob/a0.ipynb    10 of 10",
        "cy.ipynb      not graded: RuntimeError: no memory?[2J",
        "",
        f"2 of 3 graded; an overview of the class: datadam class-report {folder}",
    ]
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.results.*"))
    assert written == ["ann.results.json", "ann.results.md", "bob/a0.results.json", "bob/a0.results.md"]


def test_a_folder_for_the_results(cli, folder, graded, tmp_path):
    (folder / "cy.ipynb").unlink()
    out = tmp_path / "results"
    assert cli("grade", folder, "--assignment", "a0", "--class-seed", SEED, "--json", out).status == 0
    assert sorted(path.name for path in out.rglob("*.json")) == ["a0.results.json", "ann.results.json"]
    assert list(folder.rglob("*.results.*")) == []


def test_no_result_in_a_folder_is_replaced_unasked(refused, folder, graded):
    for name in ("cy.results.json", "cy.results.md"):  # either of them alone
        (folder / name).write_text("old")
        assert "--overwrite" in refused("grade", folder, "--assignment", "a0", "--class-seed", SEED)
        assert (graded, (folder / name).read_text()) == ([], "old")
        (folder / name).unlink()


def test_the_report_of_a_class(cli, refused, folder, graded, tmp_path):
    cli("grade", folder, "--assignment", "a0", "--class-seed", SEED)
    done = cli("class-report", folder, "--csv", tmp_path / "grades.csv")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("a0: 2 submissions, of 10 points\n")
    assert (tmp_path / "grades.csv").read_text().splitlines()[1:] == ["ann,a0,10,10,0,,", "bob/a0,a0,10,10,0,,"]
    assert "--csv, or give --overwrite" in refused("class-report", folder, "--csv", tmp_path / "grades.csv")
