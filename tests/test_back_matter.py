"""Notation, glossary, API reference, teachers' page and the page of results: complete, and true of package and book."""

import ast
import builtins
import dataclasses
import html
import importlib
import inspect
import re
from importlib.util import find_spec

import nbformat
import pytest
import regenerate
from regenerate import ROOT, SOURCES

import datadam_lite as dd
from datadam_lite import results

CODE_CELL = re.compile(r"```\{code-cell\}.*?```", re.DOTALL)
MATH = re.compile(r"\$\$(.*?)\$\$|\$([^$]+)\$", re.DOTALL)
GREEK = r"theta|psi|varphi|mu|lambda|eta|sigma|Delta|nabla|mathcal|mathbb|lVert|langle|bar"


def page(name):
    """The text of a page that is not a notebook."""
    return (ROOT / "book" / f"{name}.md").read_text()


def chapter(number):
    """The text of the chapter of that number."""
    (path,) = SOURCES.glob(f"{number:02d}-*.md")
    return path.read_text()


# ---- notation


def named(path):
    """What `Class.field`, `function(argument)`, `module.function` or a public name stands for, or an error."""
    path, _, argument = path.rstrip(")").partition("(")
    first, *rest = path.split(".")
    found = getattr(dd, first, None)
    if found is None or (rest and not hasattr(found, rest[0]) and find_spec(f"datadam_lite.{first}")):
        found = importlib.import_module(f"datadam_lite.{first}")
    for name in rest:
        if hasattr(found, "__path__") and not hasattr(found, name):  # a module that nobody has imported yet
            importlib.import_module(f"{found.__name__}.{name}")
        fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else ()
        found = name if name in fields else getattr(found, name)
    if argument:
        assert argument in inspect.signature(found).parameters, f"{path} has no argument {argument}"
    return found


def symbols(text):
    """The letters and Greek names in the formulas of a text; words in \\text{} and operators don't count."""
    found = set()
    for display, inline in MATH.findall(CODE_CELL.sub("", text)):
        formula = re.sub(r"\\(text|operatorname\*?|begin|end)\{[^}]*\}", "", display or inline)
        found |= set(re.findall(rf"\\({GREEK})(?![A-Za-z])", formula))
        found |= set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", re.sub(r"\\[A-Za-z]+", " ", formula)))
    return found


def code_column():
    """The names in the column "In the code" of every table of the notation."""
    names, place = [], None
    for line in page("notation").splitlines():
        cells = line.split("|")
        if "In the code" in line:
            place = [cell.strip() for cell in cells].index("In the code")
        elif not line.startswith("|"):
            place = None
        elif place is not None:
            names += re.findall(r"`([^`]+)`", cells[place])
    return sorted(set(names))


def test_the_notation_names_much_of_the_package():
    assert len(code_column()) > 40


@pytest.mark.parametrize("name", code_column())
def test_every_name_in_the_notation_is_in_the_package(name):
    assert named(name) is not None


@pytest.mark.parametrize("wrong", ["Recipe.lambda_", "distill(images_per_class)", "nothing", "coresets.nothing"])
def test_a_name_that_is_not_in_the_package_would_be_found(wrong):
    with pytest.raises((AttributeError, AssertionError, ModuleNotFoundError)):
        named(wrong)


@pytest.mark.parametrize("name", regenerate.chapters())
def test_every_symbol_of_a_chapter_is_in_the_notation(name):
    assert symbols((SOURCES / f"{name}.md").read_text()) <= symbols(page("notation"))


def test_symbols_are_found_in_formulas():
    assert symbols(r"$\psi_\theta(x)$ and a $word$ and $\text{SAM} + c_l$") == {"psi", "theta", "x", "c", "l"}


# ---- glossary


def entries():
    """The terms of the glossary, in order, and what each says."""
    block = re.search(r"```\{glossary\}\n:sorted:\n\n(.*?)```", page("glossary"), re.DOTALL)[1]
    return [entry.split("\n", 1) for entry in block.strip().split("\n\n")]


def test_the_glossary_is_sorted_and_has_every_term_once():
    terms = [term.lower() for term, _ in entries()]
    assert terms == sorted(terms, key=lambda term: term.replace("-", " "))
    assert len(set(terms)) == len(terms) > 40


def test_every_term_is_explained_in_a_sentence_or_two_with_its_chapter():
    for term, text in entries():
        assert 1 <= len(re.findall(r"[.:!?](?=\s|$)", text)) <= 5, term
        assert re.search(r"\((\d+)(, \d+)*\)$", text) or "](" in text or "{py:func}" in text, term


@pytest.mark.parametrize(("term", "number"), [
    (term, int(number)) for term, text in entries() for number in re.findall(r"\d+", text.rsplit("(", 1)[-1])
    if re.search(r"\(\d+(, \d+)*\)$", text)
])  # fmt: skip
def test_a_term_is_in_the_chapter_that_the_glossary_names(term, number):
    """The word itself, or its stem: "Chunk" in "chunks", "Attention map" in "attention maps"."""
    words = re.split(r"[ -]", term.lower())
    text = re.sub(r"[\W_]+", " ", chapter(number).lower())
    assert all(word[:5] in text for word in words), f"{term} is not in chapter {number}"


# ---- API reference


DIRECTIVE = re.compile(r"^\.\. (?:auto\w+|py:data):: (\w+)(?:\((.*)\))?$", re.MULTILINE)


def test_every_public_name_is_in_the_reference_exactly_once():
    assert sorted(name for name, _ in DIRECTIVE.findall(page("api"))) == sorted(dd.__all__)


@pytest.mark.parametrize(("name", "given"), [found for found in DIRECTIVE.findall(page("api")) if found[1]])
def test_a_signature_that_is_written_out_has_the_real_arguments(name, given):
    real = inspect.signature(getattr(dd, name)).parameters
    assert [argument.partition("=")[0] for argument in given.split(", ")] == list(real)


def test_members_that_are_listed_exist():
    for name, members in re.findall(r":: (\w+).*\n   :members: (.*)", page("api")):
        for member in members.split(", "):
            assert hasattr(getattr(dd, name), member), f"{name}.{member}"


def test_the_built_reference_shows_shapes_and_examples(book):
    built = (book / "book" / "api.html").read_text()
    for name in dd.__all__:
        assert f'id="datadam_lite.{name}"' in built, name
    text = html.unescape(re.sub(r"<[^>]+>", "", built))
    assert "Float[Tensor, 'b c h w']" in text
    assert "~" not in text                                      # a type that Sphinx could not read
    assert "[round(float(norm), 4) for norm in a.norm(dim=1)]" in text
    assert "sum |f_c|^p over the channels" in text              # the bars of a formula, not a substitution


# ---- teachers


def test_every_experiment_stands_on_its_own():
    """It needs the cells before the first experiment, and its own: no name that another experiment defines."""
    before, *experiments = re.split(r'^### "', (SOURCES / "91-experiments.md").read_text(), flags=re.MULTILINE)
    given = assigned(before) | set(dir(builtins)) | {"dd"}
    for experiment in experiments:
        missing = used(experiment) - assigned(experiment) - given
        assert not missing, (experiment.partition("\n")[0], missing)


def assigned(text):
    """The names that the code cells of a text bind, at any depth."""
    nodes = [node for cell in CODE_CELL.findall(text) for node in ast.walk(ast.parse(code(cell)))]
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    return bound | {alias.asname or alias.name for node in imports for alias in node.names}


def used(text):
    """The names that the code cells of a text read."""
    nodes = [node for cell in CODE_CELL.findall(text) for node in ast.walk(ast.parse(code(cell)))]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def code(cell):
    """The lines of a code cell that are Python."""
    lines = re.sub(r"(?s)^---.*?^---$", "", "\n".join(cell.splitlines()[1:-1]), flags=re.MULTILINE)
    return re.sub(r"(?m)^:tags:.*", "", lines)


def test_every_experiment_asks_twice_and_names_a_place_that_exists():
    """Every section and exercise that the five-minute experiments name is in the chapter they name."""
    source = (regenerate.SOURCES / "91-experiments.md").read_text()
    experiments = re.split(r'^### "', source, flags=re.MULTILINE)[1:]
    assert len(experiments) == 21, "the page, and the one for teachers, say twenty-one"
    for experiment in experiments:
        assert "**Ask.**" in experiment
        then = experiment.partition("**Then.**")[2].partition("\n")[0]
        places = re.findall(r"[Cc]hapter (\d), ([^;]*)", then)
        assert places, experiment.partition("\n")[0]
        for number, where in places:
            text = chapter(int(number))
            for heading in re.findall(r"\*([^*]+)\*", where):
                pattern = rf"^##.*{re.escape(heading)}|<b>{re.escape(heading)}\.</b>"
                assert re.search(pattern, text, re.MULTILINE), f"chapter {number}: {heading}"
            for exercise in re.findall(r"exercise (\d)", where):
                assert f"**{exercise}.**" in text, f"chapter {number}: exercise {exercise}"


def test_the_lessons_have_the_length_they_say():
    parts = re.split(r"^\*\*(\d+) minutes: ", page("for-teachers"), flags=re.MULTILINE)[1:]
    lessons = dict(zip(map(int, parts[::2]), parts[1::2], strict=True))
    assert list(lessons) == [50, 80, 170]
    for minutes, plan in lessons.items():
        assert sum(map(int, re.findall(r"^\| (\d+) \|", plan.partition("\n## ")[0], re.MULTILINE))) == minutes


# ---- results


def markdown_outputs():
    """All tables of the page of results, as Markdown."""
    notebook = nbformat.read(regenerate.NOTEBOOKS / "90-results.ipynb", as_version=4)
    outputs = [output for cell in regenerate.code_cells(notebook) for output in cell.outputs]
    return "\n".join(o.get("data", {}).get("text/markdown", o.get("text", "")) for o in outputs)


RECORDED = results.names() + results.names("cpu") + results.names("paper")


@pytest.mark.parametrize("name", RECORDED)
def test_the_page_of_results_shows_every_recorded_run(name):
    """If a record is newer: `python book/regenerate.py --force 90-results`."""
    shown = markdown_outputs()
    for row in results.read(name)["rows"]:
        assert f"{row['mean']:.1f}" in shown
    _, _, command = shown.partition(f"results/{name}.json\n  ")
    assert command.startswith("datadam reproduce " if "/" in name else f"python -m datadam_lite.results.record {name} ")
    assert f"| `{results.read(name)['code_sha256'][:8]}` |" in shown


def test_blocks_of_the_page_have_one_scale_each():
    titles = re.findall(r"\*\*([\w-]+), \d+ per class, scale (\w+), protocol (.+)\*\*", markdown_outputs())
    rows = [row for name in RECORDED for row in results.read(name)["rows"]]
    assert {title[1] for title in titles} == {row["scale"] for row in rows}
    assert len(titles) == len({(r["dataset"], r["ipc"], r["scale"], r["protocol"]) for r in rows})


def test_what_papers_print_side_by_side_agrees_with_what_they_print_alone():
    names = {(e["dataset"], e["method"], e["ipc"]): e for e in results.published_table() if "Table 1" in e["source"]}
    both = 0
    for (dataset, method, ipc), entry in names.items():
        alone = results.published(method, ipc, dataset)
        if alone != "not available":
            assert alone.startswith(f"{entry['mean']:.1f}"), (dataset, method, ipc)
            both += 1
    assert both > 8
    assert all(entry["source"] for entry in results.published_table())
