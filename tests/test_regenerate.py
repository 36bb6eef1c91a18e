"""book/regenerate.py: what is kept, what runs again, and what the setup cell does."""

import importlib.util
import inspect
import subprocess
import sys
import types

import nbformat
import pytest
import regenerate

EXAMPLE = "https://github.com/example-owner/example-name"

CHAPTER = """\
# A title

```{code-cell} ipython3
:tags: [setup]
```

```{code-cell} ipython3
:tags: ["source:regenerate.chapters"]
```

```{code-cell} ipython3
:tags: [nbval-check-output]
print("one")
```
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one chapter; calling it writes the source, regenerates, and returns the notebook."""
    monkeypatch.setattr(regenerate, "ROOT", tmp_path)
    monkeypatch.setattr(regenerate, "SOURCES", tmp_path / "book")
    monkeypatch.setattr(regenerate, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(regenerate, "TIMES", tmp_path / "times.json")
    (tmp_path / "times.json").write_text('{"quick": {"seconds": {}}, "colab": {"seconds": {}}}')
    for folder in ("book", "notebooks"):
        (tmp_path / folder).mkdir()

    runs = []
    monkeypatch.setattr(regenerate, "execute", lambda notebook: runs.append(number(notebook)))

    def number(notebook):
        for i, cell in enumerate(regenerate.code_cells(notebook)):
            cell.execution_count = i + 1

    def write(text, url="", **options):
        (tmp_path / "_config.yml").write_text(f'repository: {{url: "{url}", branch: main}}\n')
        (tmp_path / "book" / "01-one.md").write_text(text)
        regenerate.regenerate("01-one", **options)
        return nbformat.read(tmp_path / "notebooks" / "01-one.ipynb", as_version=4)

    write.runs = runs
    return write


def test_prose_tags_and_address_do_not_run_the_code_again(project):
    project(CHAPTER)
    changed = CHAPTER.replace("# A title", "# Another").replace("nbval-check-output", "nbval-ignore-output")
    notebook = project(changed, url=EXAMPLE)
    assert len(project.runs) == 1
    assert [c.execution_count for c in regenerate.code_cells(notebook)] == [1, 2]
    assert "# Another" in [c.source for c in notebook.cells]
    assert notebook.cells[-1].metadata.tags == ["nbval-ignore-output"]


def test_changed_code_runs_again_and_so_does_force(project):
    project(CHAPTER)
    project(CHAPTER.replace("one", "two"))
    project(CHAPTER.replace("one", "two"), force=True)
    assert len(project.runs) == 3


def test_marked_cells_are_filled(project):
    _, setup, listing, _ = project(CHAPTER).cells
    assert "import datadam_lite as dd" in setup.source
    assert inspect.getsource(regenerate.chapters) in listing.source
    assert listing.source.startswith("```python\n# regenerate.py\n")


def test_the_card_says_how_long_a_chapter_takes_as_far_as_that_was_measured(project):
    text = f"> **Time** {{times}}\n\n{'word ' * 10 * regenerate.WORDS_PER_MINUTE}\n\n{CHAPTER}"
    card = project(text).cells[0].source
    assert "> **Time** 10 minutes to read. To run: " in card
    assert "with the digits, not measured yet; on a Colab T4, with CIFAR-10, not measured yet." in card
    regenerate.write_down("01-one", 41.2)
    notebook = nbformat.read(regenerate.NOTEBOOKS / "01-one.ipynb", as_version=4)
    assert "with the digits, about 45 seconds; on a Colab T4" in notebook.cells[0].source
    assert len(project.runs) == 1


def test_widgets_run_but_neither_their_output_nor_their_state_is_kept(monkeypatch):
    live = "import ipywidgets\nfor _ in range(2):\n    ipywidgets.interact(lambda p: print(p), p=(0, 1))"
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell(live, metadata={"tags": ["live"]}), nbformat.v4.new_code_cell("print(1)")
    ])
    monkeypatch.setattr(regenerate, "NOTEBOOKS", regenerate.ROOT)
    regenerate.execute(notebook)
    assert [len(cell.outputs) for cell in notebook.cells] == [0, 1]
    assert [cell.execution_count for cell in notebook.cells] == [1, 2]
    assert "widgets" not in notebook.metadata


def test_the_badge_opens_the_notebook(project):
    assert "colab" not in project(CHAPTER).cells[0].source
    badge = project(CHAPTER, url=EXAMPLE).cells[0]
    assert "google.com/github/example-owner/example-name/blob/main/notebooks/01-one.ipynb" in badge.source
    assert badge.metadata.tags == ["remove-cell"]           # the page has a button instead


def run_setup(monkeypatch, installed, url):
    """Run the setup cell where only `installed` can be found; return the commands it ran."""
    commands = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    monkeypatch.setitem(sys.modules, "datadam_lite", types.ModuleType("datadam_lite"))
    exec(regenerate.SETUP_CELL.substitute(address=repr(url)), {})
    return commands


def test_setup_does_nothing_where_the_package_is(monkeypatch):
    assert run_setup(monkeypatch, {"datadam_lite"}, EXAMPLE) == []


def test_setup_installs_only_what_is_missing(monkeypatch):
    (command,) = run_setup(monkeypatch, {"kornia", "kornia_rs", "jaxtyping"}, EXAMPLE)
    assert command[-3:] == ["--no-deps", "wadler_lindig", f"git+{EXAMPLE}"]


def test_setup_without_an_address_says_what_to_do(monkeypatch):
    with pytest.raises(ModuleNotFoundError, match="in a clone of the project, run `make setup`"):
        run_setup(monkeypatch, set(), "")
