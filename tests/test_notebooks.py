"""The notebooks are their sources, executed, and keep the rules that every chapter follows."""

import re
from functools import cache

import nbformat
import pytest
import regenerate
from regenerate import SETUP_TAG, code_cells, tags
from samples import image_folder

from datadam_lite import results

chapter = pytest.mark.parametrize("name", regenerate.chapters())

PROGRESS_BAR = re.compile(r"\d+%\|| \[\d\d:\d\d<|(it/s|s/it)\b")
MACHINE_PATH = re.compile(r"/(home|root|tmp|work|Users|usr|opt|content)/|[A-Z]:\\|site-packages")


@cache
def read(name):
    """The notebook of a chapter."""
    return nbformat.read(regenerate.NOTEBOOKS / f"{name}.ipynb", as_version=4)


def outputs(notebook):
    """All outputs of all cells."""
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def text(output):
    """What an output shows as text."""
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")


def test_there_is_a_notebook_for_every_source_and_no_other():
    assert sorted(path.stem for path in regenerate.NOTEBOOKS.glob("*.ipynb")) == regenerate.chapters() != []


@chapter
def test_notebook_is_what_its_source_says(name):
    expected = regenerate.assemble(name, **regenerate.repository())
    for key in ("cell_type", "source", "metadata", "id"):
        assert [cell[key] for cell in read(name).cells] == [cell[key] for cell in expected.cells]
    assert read(name).metadata == expected.metadata
    nbformat.validate(read(name))


@chapter
def test_notebook_was_run_from_top_to_bottom(name):
    counts = [cell.execution_count for cell in code_cells(read(name))]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for output in outputs(read(name)) if output.output_type == "error"]


@chapter
def test_first_code_cell_is_the_setup(name):
    assert [SETUP_TAG in tags(cell) for cell in code_cells(read(name))].index(True) == 0
    assert sum(SETUP_TAG in tags(cell) for cell in code_cells(read(name))) == 1


@chapter
def test_no_shell_commands(name):
    """nbval calls a failed `!command` a success."""
    sources = [cell.source for cell in code_cells(read(name))]
    assert not [source for source in sources if re.search(r"^\s*(!|%%|%sx|%pip)", source, re.M)]


@chapter
def test_outputs_hold_no_progress_bars_machine_paths_or_messages(name):
    for output in outputs(read(name)):
        assert output.get("name") != "stderr", text(output)
        assert not PROGRESS_BAR.search(text(output)), text(output)
        assert not MACHINE_PATH.search(text(output)), text(output)


@chapter
def test_pictures_have_a_caption_and_say_what_they_show(name):
    for cell in code_cells(read(name)):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            mystnb = cell.metadata.get("mystnb", {})
            assert len(mystnb.get("image", {}).get("alt", "")) > 30, cell.source
            assert mystnb.get("figure", {}).get("caption"), cell.source
            assert mystnb["figure"].get("name", "").startswith("fig-"), cell.source


@pytest.mark.parametrize("name", regenerate.chapters()[1:])
def test_all_but_the_opening_have_five_outputs_compared(name):
    checked = [cell for cell in code_cells(read(name)) if "nbval-check-output" in tags(cell)]
    assert sum(any(text(output) for output in cell.outputs) for cell in checked) >= 5


def test_notebooks_whose_printed_outputs_are_all_compared_are_also_run_strictly():
    """Strict also notices an output where there was none before; the list can't shrink by oversight."""
    def all_compared(name):
        printing = [cell for cell in code_cells(read(name)) if any(text(output) for output in cell.outputs)]
        return all("nbval-check-output" in tags(cell) or "image/png" in str(cell.outputs) for cell in printing)

    listed = (regenerate.ROOT / "tests" / "nbval_strict.txt").read_text().split()
    assert listed == [f"notebooks/{name}.ipynb" for name in regenerate.chapters() if all_compared(name)]


SMALL_COLAB = """
import dataclasses
from datadam_lite import profiles
profiles.PROFILES["colab"] = dataclasses.replace(
    profiles.PROFILES["colab"], data={data!r}, protocol=dd.Protocol(epochs=3, width=8),
    changes={{"iterations": 8, "real_batch": 4, "width": 8}},
)
"""


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """An ImageFolder with the classes and shapes of CIFAR-10, and 70 images of each class."""
    folder = tmp_path_factory.mktemp("photographs") / "small-cifar10"
    return image_folder(folder, classes=results.read("cpu/cifar10-ipc1-datadam")["classes"], n=70, size=(32, 32))


@chapter
@pytest.mark.slow
def test_cells_run_with_colour_images_in_the_profile_for_gpus(name, photographs, monkeypatch):
    """All the code of a chapter, on images like CIFAR-10's, in less time and with narrower networks."""
    notebook = regenerate.assemble(name, **regenerate.repository())
    place = next(i for i, cell in enumerate(notebook.cells) if SETUP_TAG in tags(cell))
    small = nbformat.v4.new_code_cell(SMALL_COLAB.format(data=str(photographs)))
    notebook.cells.insert(place + 1, small)
    monkeypatch.setitem(regenerate.QUICK, "DATADAM_PROFILE", "colab")
    regenerate.execute(notebook)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]


@chapter
@pytest.mark.slow
def test_solutions_of_the_exercises_run(name):
    """The Python blocks in a chapter's text are code that a reader pastes into its end."""
    notebook = regenerate.assemble(name, **regenerate.repository())
    blocks = [
        block
        for cell in notebook.cells
        if cell.cell_type == "markdown" and "<summary>Solution" in cell.source
        for block in re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    ]
    notebook.cells += [nbformat.v4.new_code_cell(block) for block in blocks]
    regenerate.execute(notebook)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
