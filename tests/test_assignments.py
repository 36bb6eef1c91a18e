"""The assignments: students get no answers, nothing fails before it is written, and the solutions pass every check."""

import re
from contextlib import redirect_stdout
from functools import cache, partial
from io import StringIO

import assignments
import jupytext
import nbformat
import pytest
import regenerate
import torch
from assignments import BLOCK, MASTERS, PUBLISHED, SOLUTION_TAG, STUDENT_TAG
from regenerate import ROOT, code_cells, tags
from test_book import soup

import datadam_lite as dd
from conftest import EXAMPLE
from datadam_lite import profiles
from datadam_lite.classroom import broken, evidence, laws
from datadam_lite.classroom.assignments import ASSIGNMENTS
from datadam_lite.classroom.claim import Claim
from datadam_lite.classroom.findings import attempt
from datadam_lite.classroom.grade import grade
from datadam_lite.classroom.guard import Guarded
from datadam_lite.classroom.rubric import points
from datadam_lite.classroom.variant import LAWS, PUBLIC, variant
from datadam_lite.classroom.written import when_written
from datadam_lite.cli_classroom import read_seed
from datadam_lite.profiles import Profile
from datadam_lite.protocol import Protocol

SEEDS = (PUBLIC, "the class of a spring term", "the class of an autumn term")
MARKS = re.compile("BEGIN SOLUTION|# STUB|# END|«|»")

master = pytest.mark.parametrize("name", assignments.masters())
seeds = pytest.mark.parametrize("seed", SEEDS)


def assemble(name, seed=PUBLIC, **options):
    """An assignment as it is made here."""
    return assignments.assemble(name, seed, **regenerate.repository() | options)


@cache
def written(name):
    """The master's cells that hold answers."""
    cells = jupytext.read(MASTERS / f"{name}.md", fmt="md:myst").cells
    return [cell for cell in cells if SOLUTION_TAG in tags(cell)]


def lines(text):
    """The lines that say something."""
    return {line.strip() for line in text.splitlines() if len(line.strip()) > 12}


def answers(name):
    """The lines of a master that no student may see, but for those that stand in the stubs as well."""
    found = set()
    for cell in written(name):
        texts = [block["answer"] for block in BLOCK.finditer(cell.source)] or [cell.source]
        found |= set().union(*map(lines, texts))
    return found


# ---- what is handed out


def test_there_is_a_notebook_for_every_assignment_and_no_other():
    assert [name.partition("-")[0] for name in assignments.masters()] == list(ASSIGNMENTS)
    assert sorted(path.stem for path in PUBLISHED.iterdir()) == assignments.masters()


@master
def test_published_notebook_is_what_its_master_says(name):
    found, expected = nbformat.read(PUBLISHED / f"{name}.ipynb", as_version=4), assemble(name)
    assert found == expected
    nbformat.validate(found)
    assert not [cell for cell in code_cells(found) if cell.outputs or cell.execution_count]


@master
@seeds
def test_no_answer_and_no_class_seed_reaches_a_student(name, seed):
    text = "\n".join(cell.source for cell in assemble(name, seed).cells)
    assert answers(name)
    assert not lines(text) & answers(name)
    assert not MARKS.search(text)
    assert not [cell for cell in assemble(name, seed).cells if SOLUTION_TAG in tags(cell)]
    assert seed not in text


@master
def test_stubs_and_solutions_are_alike_outside_of_what_is_to_be_written(name, monkeypatch):
    monkeypatch.setattr(assignments, "results", lambda tasks: "{}")
    student, solution = assemble(name, url=""), assemble(name, url="", solved=True)  # no badge on either
    to_write = [cell for cell in student.cells if STUDENT_TAG in tags(cell)]
    assert len(to_write) == len(written(name))
    for cell, source in zip(to_write, written(name), strict=True):
        kept = assignments.fill(BLOCK.sub("", source.source), assignments.values(name, variant(PUBLIC)))
        assert cell.source == assignments.EMPTY or (cell.cell_type == "code" and lines(kept) <= lines(cell.source))
    pairs = zip(student.cells, solution.cells, strict=True)
    assert [one.source for one, other in pairs if one.source != other.source and one not in to_write] == []


def shown(path):
    """What a file of the book shows: the text of a page, the cells of a notebook."""
    if path.suffix == ".ipynb":
        return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    return soup(path).get_text() if path.suffix == ".html" else path.read_text(encoding="utf-8")


def test_nothing_the_book_builds_has_an_answer(book):
    """The book offers the published notebooks and no others. (Of A0 and A1 the chapters have the answers.)"""
    hidden = {line for name in assignments.masters()[2:] for line in answers(name) if len(line) > 30}  # no commonplace
    files = [path for path in book.rglob("*") if path.suffix in (".html", ".ipynb", ".md", ".txt")]
    downloads = {path.stem: path.read_bytes() for path in files if "_downloads" in path.parts}
    assert downloads == {name: (PUBLISHED / f"{name}.ipynb").read_bytes() for name in assignments.masters()}
    for path in files:
        assert not lines(shown(path)) & hidden, path
        assert "BEGIN SOLUTION" not in path.read_text(encoding="utf-8")


def test_an_answer_in_the_book_would_be_noticed(tmp_path):
    master = MASTERS / "a3-find-the-bugs.md"
    page = tmp_path / "page.html"
    page.write_text(f"<html><pre>{master.read_text().replace('<', '&lt;')}</pre></html>")
    assert len(lines(shown(page)) & answers(master.stem)) > 20


def test_classes_have_tasks_of_their_own():
    for name in assignments.masters()[2:]:
        assert len({str(assemble(name, seed)) for seed in SEEDS}) > 1


@master
def test_only_published_notebooks_have_a_badge(name):
    first = assemble(name, url=EXAMPLE).cells[0].source
    assert first.endswith(f"/blob/main/notebooks/assignments/{name}.ipynb)")
    assert "colab" not in assemble(name, SEEDS[1], url=EXAMPLE).cells[0].source


# ---- they run


FEW = {"iterations": 1, "real_batch": 4, "width": 4}


@pytest.fixture
def short(monkeypatch):
    """Whatever distils, or computes results, does next to nothing."""
    monkeypatch.setitem(profiles.PROFILES, "quick", Profile("quick", "digits", Protocol(epochs=1, width=4), FEW, 1))
    monkeypatch.setattr(evidence, "OPTIONS", FEW)
    monkeypatch.setattr(evidence, "QUICK", profiles.PROFILES["quick"])
    for name, fewer in {"distill": {}, "behaviour": {"sets": 1, "ipcs": (1,)}, "redraw": {"sets": 1}}.items():
        monkeypatch.setattr(dd, name, shortened(getattr(dd, name), FEW | fewer))


def shortened(function, less):
    """The function with fewer of everything, whatever it is asked for."""
    return lambda *arguments, **options: function(*arguments, **options | less)


@pytest.fixture
def run(short, figures, threads):
    """Run a notebook's code cells here, with short computations: (its variables, what each cell printed)."""

    def run(name, seed=PUBLIC, solved=False):
        names, printed = {"display": print, "__name__": "notebook"}, []
        for cell in code_cells(assemble(name, seed, solved=solved)):
            with redirect_stdout(StringIO()) as out:
                exec(compile(cell.source, name, "exec"), names)
            printed.append(out.getvalue())
        return names, printed

    return run


@master
def test_a_notebook_in_which_nothing_is_written_says_so_and_fails_nowhere(name, run):
    names, printed = run(name)
    assert len([text for text in printed if text.startswith("Not yet: write ")]) >= 2
    for function in ASSIGNMENTS[name[:2]].functions:
        with pytest.raises(NotImplementedError, match=f"write {function} first"):
            names[function](*[None] * names[function].__code__.co_argcount)


def keeps(fn, law):
    """Whether a function keeps a law."""
    return not attempt(getattr(laws, law.replace(" ", "_")), Claim(Guarded(fn), "spatial")).sentence


def refuses(test, text):
    """Whether a test of a student's refuses a function that is given as text."""
    names = {"F": torch.nn.functional}
    exec(text, names)
    try:
        test(names["attention"])
    except AssertionError:
        return True
    return False


@seeds
def test_solutions_are_right(seed, run):
    """All but the last, whose results take time to make."""
    tasks = variant(seed)
    found = {}
    for name in assignments.masters()[:5]:
        names, printed = run(name, seed, solved=True)
        assert not [text for text in printed if "Not yet" in text]
        found |= {function: names[function] for function in ASSIGNMENTS[name[:2]].functions}
    assert dd.check_attention(found["spatial_attention"], "spatial", p=4).passed
    assert dd.check_attention(found["channel_attention"], "channel", p=4).passed
    assert dd.check_attention(found["mixed_attention"], "mixed").passed
    maps = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found["mixed_attention"](maps), tasks.mixture(maps))
    assert dd.check_attention(found["mended_attention"], "spatial", p=tasks.p_broken).passed
    feedback = dd.check_attention(found["my_attention"])
    assert feedback.passed
    assert not {note.name for note in feedback.notes} & {"recognised", "resembles"}
    assert keeps(found["my_attention"], tasks.law)


def test_a_function_for_every_law():
    block = next(filter(None, (BLOCK.search(cell.source) for cell in written("a4-an-attention-of-your-own"))))
    for law in LAWS:
        names = {"F": torch.nn.functional}
        exec("def mine(maps):\n" + block["answer"].replace("«law»", law), names)
        assert keeps(names["mine"], law)
        assert dd.check_attention(names["mine"]).passed


@seeds
def test_the_test_of_a3_refuses_every_bug_alone_and_accepts_what_is_right(seed, run):
    test, p = run("a3-find-the-bugs", seed, solved=True)[0]["test_attention"], variant(seed).p_broken
    assert not refuses(test, broken.source("attention", p, (None, None, None)))
    for i, slot in enumerate(broken.SLOTS.values()):
        for bug in range(len(slot.wrong)):
            bugs = [bug if j == i else None for j in range(3)]
            assert refuses(test, broken.source("attention", p, bugs)), slot.wrong[bug]


def test_the_mixture_of_a2_is_two_terms(run):
    for seed in SEEDS:
        _, printed = run("a2-mix-the-two", seed, solved=True)
        (told,) = (text for text in printed if "two terms" in text)
        mixture, terms = re.search(r"your mixture (\S+), two terms (\S+)", told).groups()
        assert float(mixture) == pytest.approx(float(terms), rel=1e-5)  # not every machine adds in the same order


def test_the_intervals_and_results_of_a5(run):
    names, printed = run("a5-evidence", solved=True)
    values = [70.3, 81.2, 77.7, 64.0]
    assert names["interval"](values) == pytest.approx(evidence.interval(values), abs=1e-3)
    after = [71.0, 80.0, 79.9, 66.6]
    assert names["paired_interval"](after, values) == pytest.approx(evidence.paired_interval(after, values), abs=1e-3)
    assert any("as measured: True" in text for text in printed)
    assert {len(row) for row in names["RESULTS"].values()} == {len(variant(PUBLIC).seeds)}
    assert set(names["T"]) == set(range(2, 31))


@pytest.mark.slow
@master
def test_solutions_run_in_full(name, tmp_path):
    notebook = assemble(name, solved=True)
    regenerate.execute(notebook)
    assert "Not yet" not in str([cell.outputs for cell in code_cells(notebook)])


@pytest.mark.slow
@master
@seeds
def test_solutions_have_all_points(name, seed, tmp_path):
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(assemble(name, seed, solved=True), path)
    found = grade(path, name[:2], seed)
    assert found.score == points(name[:2]), found


# ---- the command line, and the page


def generate(monkeypatch, *arguments):
    """Run the command line."""
    monkeypatch.setattr("sys.argv", ["assignments.py", *map(str, arguments)])
    assignments.main()


def test_a_class_gets_a_folder_of_its_own(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(assignments, "results", lambda tasks: "{}")
    generate(monkeypatch, "--class-seed", SEEDS[1], "--out", tmp_path / "class", "--solutions")
    for name in assignments.masters():
        folders = (tmp_path / "class", tmp_path / "class" / "solutions")
        student, solution = (nbformat.read(folder / f"{name}.ipynb", as_version=4) for folder in folders)
        assert student == assemble(name, SEEDS[1])
        assert len([cell for cell in solution.cells if SOLUTION_TAG in tags(cell)]) == len(written(name))
    monkeypatch.setenv("DATADAM_CLASS_SEED", SEEDS[1])
    generate(monkeypatch, "--out", tmp_path / "again")
    assert nbformat.read(tmp_path / "again" / f"{name}.ipynb", 4) == student


def test_the_class_is_the_one_that_is_graded_however_its_seed_was_saved(monkeypatch, tmp_path, capsys):
    file = tmp_path / "seed"
    file.write_bytes(f" {SEEDS[1]}\r\n".encode())
    generate(monkeypatch, "--class-seed-file", file, "--out", tmp_path)
    (name,) = [name for name in assignments.masters() if name.startswith("a2")]
    assert nbformat.read(tmp_path / f"{name}.ipynb", 4) == assemble(name, read_seed(None, file))
    monkeypatch.setenv("DATADAM_CLASS_SEED", "")  # $(cat of nothing)
    with pytest.raises(SystemExit):
        generate(monkeypatch, "--out", tmp_path / "empty")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--solutions",), "name a folder for them by --out"),
        (("--class-seed", SEEDS[1]), "name a folder for them by --out"),
        (("--class-seed", "short", "--out", "folder"), "12 characters at least"),
        (("--class-seed", "", "--out", "folder"), "12 characters at least"),
        (("--class-seed-file", "no such file", "--out", "folder"), "can't be read from no such file"),
        (("--class-seed", SEEDS[1], "--class-seed-file", "seed", "--out", "folder"), "given twice"),
    ],
)
def test_what_would_publish_a_class_is_refused(monkeypatch, tmp_path, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assignments, "write", partial(_checked, assignments.write))
    with pytest.raises(SystemExit):
        generate(monkeypatch, *arguments)
    assert said in capsys.readouterr().err


def _checked(write, seed, folder, solved=False):
    """Write nothing into the tree."""
    assert not folder.resolve().is_relative_to(ROOT)
    write(seed, folder, solved)


def test_a_mark_without_a_meaning_is_an_error():
    assert assignments.fill("«one»«two»", {"one": "«two»", "two": lambda: 2}) == "22"
    with pytest.raises(KeyError):
        assignments.fill("«three»", {"one": 1})


def test_the_page_says_what_the_assignments_are():
    row = r"^\| (A\d) \| (.*?) \{download\}.*?\| (\d+) minutes \| (.*?) \| (.*?) \|$"
    rows = re.findall(row, (ROOT / "book" / "assignments.md").read_text(), re.M)
    assert [row[0].lower() for row in rows] == list(ASSIGNMENTS)
    for (_, title, minutes, said, handed_in), assignment in zip(rows, ASSIGNMENTS.values(), strict=True):
        by_hand = f", and {assignment.by_hand} by the teacher" * bool(assignment.by_hand)
        assert (title, int(minutes), said) == (assignment.title, assignment.minutes, f"{assignment.points}{by_hand}")
        assert tuple(re.findall("`(.*?)`", handed_in)) == assignment.functions + assignment.constants


@master
def test_sections_that_a_master_names_exist(name):
    text = " ".join((MASTERS / f"{name}.md").read_text().split())
    for number, section in re.findall(r"[Cc]hapter (\d)(?:,| does in| up to) \*([^*]+)\*", text):
        (source,) = regenerate.SOURCES.glob(f"0{number}-*.md")
        assert f"\n## {section}\n" in source.read_text(), section


def test_when_written_lets_other_errors_pass():
    with pytest.raises(LookupError), when_written():
        raise LookupError
