"""Make the book's notebooks from their sources: book/chapters/NN-name.md becomes notebooks/NN-name.ipynb.

A source is a MyST notebook: plain text, easy to review. The notebook is what readers open, with its outputs.
Where no code changed, the outputs are kept and nothing runs, so a mended sentence takes a second.

Two kinds of cells are written here and stand in a source as empty code cells with a tag: `setup` becomes the
setup cell, and `source:datadam_lite.coresets.farthest_first` the source of that function. In the text, {times}
becomes the time a chapter takes. A cell with the tag `live` holds widgets, which need a kernel: it runs, and its
output, which a page would show as a hole, is not kept.

    python book/regenerate.py                   every chapter
    python book/regenerate.py 02-coresets       one chapter
    python book/regenerate.py --force           run the code even where it didn't change (the package did)
    python book/regenerate.py --measure         the same on an idle machine, and write down how long it took
"""

import argparse
import inspect
import json
import math
import os
import pkgutil
import textwrap
import time
from datetime import date
from pathlib import Path
from string import Template

import jupytext
import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from datadam_lite.provenance import hardware

ROOT = Path(__file__).resolve().parents[1]
SOURCES, NOTEBOOKS = ROOT / "book" / "chapters", ROOT / "notebooks"

TIMES = ROOT / "book" / "times.json"                            # seconds that the chapters took, by profile
WORDS_PER_MINUTE = 130                                          # of a text with equations and code

CELL_TIMEOUT = 300                                              # seconds
INLINE = "module://matplotlib_inline.backend_inline"            # figures as in a notebook, whatever the shell says
QUICK = {"DATADAM_PROFILE": "quick", "TQDM_DISABLE": "1", "MPLBACKEND": INLINE}
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}

SETUP_TAG, SOURCE_TAG, LIVE_TAG = "setup", "source:", "live"

# The first code cell of every chapter. --no-deps, because torch and the rest are there already on Colab
# and must stay as they are; kornia needs kornia_rs, and jaxtyping needs wadler_lindig.
SETUP_CELL = Template('''\
# @title Setup: run this cell first
# If datadam_lite is missing (on Colab, say), this installs it with the few packages it needs.
# What is installed already stays as it is.
import importlib.util
import subprocess
import sys

ADDRESS = $address  # where the project is published


def missing(package):
    return importlib.util.find_spec(package) is None


if missing("datadam_lite"):
    if not ADDRESS:
        raise ModuleNotFoundError(
            "datadam_lite is not installed here and has no public address to install it from: "
            "in a clone of the project, run `make setup` (or `pip install -e .`) and use that Python."
        )
    packages = [p for p in ("kornia", "kornia_rs", "jaxtyping", "wadler_lindig") if missing(p)]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, *packages, f"git+{ADDRESS}"], check=True)
    importlib.invalidate_caches()

import datadam_lite as dd''')


def chapters():
    """The names of all chapters, in order: "00-opening", "01-tiny-training-sets", …"""
    return sorted(path.stem for path in SOURCES.glob("*.md"))


def repository():
    """`repository:` of _config.yml: `url`, empty until the project has a public address, and `branch`."""
    given = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    return given | {"url": given["url"].rstrip("/").removesuffix(".git")}


def tags(cell):
    """A cell's tags, in order."""
    return cell.metadata.get("tags", [])


def code_cells(notebook):
    """The code cells of a notebook, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def listing(name):
    """A cell that shows the source of an object of the package, which is what the other cells run."""
    shown = pkgutil.resolve_name(name)
    code = f"# {shown.__module__.replace('.', '/')}.py\n\n{textwrap.dedent(inspect.getsource(shown))}"
    return nbformat.v4.new_markdown_cell(f"```python\n{code}```", metadata={"tags": [SOURCE_TAG + name]})


def times(name, notebook):
    """How long a chapter takes to read, and to run where that was measured."""
    words = sum(len(cell.source.partition("## Exercises")[0].split()) for cell in notebook.cells)
    minutes = max(5, 5 * round(words / WORDS_PER_MINUTE / 5))
    measured = json.loads(TIMES.read_text())
    run = []
    for profile, where in (("quick", "two processor cores, with the digits"), ("colab", "a Colab T4, with CIFAR-10")):
        seconds = measured[profile]["seconds"].get(name)
        run.append(f"on {where}, " + (f"about {5 * math.ceil(seconds / 5)} seconds" if seconds else "not measured yet"))
    return f"{minutes} minutes to read. To run: {'; '.join(run)}."


def fill(cell, url):
    """The cell itself, or what belongs in its place if its tag says so: the setup cell, a listing."""
    if LIVE_TAG in tags(cell):
        cell.metadata["tags"] = [*tags(cell), "nbval-ignore-output"]
    for tag in tags(cell):
        if tag == SETUP_TAG:
            code = SETUP_CELL.substitute(address=json.dumps(url))
            return nbformat.v4.new_code_cell(code, metadata={"tags": [SETUP_TAG, "hide-input"]})
        if tag.startswith(SOURCE_TAG):
            return listing(tag.removeprefix(SOURCE_TAG))
    return cell


def badge(name, url, branch):
    """The cell that opens a chapter on Colab; pages of the book leave it out, they have a launch button."""
    page = f"https://colab.research.google.com/github/{url.removeprefix('https://github.com/')}"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    text = f"[![Open in Colab]({image})]({page}/blob/{branch}/notebooks/{name}.ipynb)"
    return nbformat.v4.new_markdown_cell(text, metadata={"tags": ["remove-cell"]})


def assemble(name, url, branch="main"):
    """The notebook of a chapter without outputs, a pure function of source, package and address."""
    notebook = jupytext.read(SOURCES / f"{name}.md", fmt="md:myst")
    notebook.cells = [fill(cell, url) for cell in notebook.cells]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "{times}" in cell.source:
            cell.source = cell.source.replace("{times}", times(name, notebook))
    return finish(notebook, name, url, branch)


def finish(notebook, name, url, branch):
    """Give a notebook its badge, and the ids and metadata that every notebook here has."""
    if url.startswith("https://github.com/"):           # Colab opens notebooks from GitHub only
        notebook.cells.insert(0, badge(name, url, branch))
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02d}"
    language = {"name": "python", "pygments_lexer": "ipython3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": language})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def keep_outputs(notebook, previous):
    """Copy the outputs of `previous` if its code is the same and was run; return whether they were copied.

    The setup cell is not compared: it has no output, and its address alone should not run a chapter again.
    """
    def code(nb):
        return [cell.source for cell in code_cells(nb) if SETUP_TAG not in tags(cell)]

    pairs = list(zip(code_cells(notebook), code_cells(previous), strict=False))
    if code(notebook) != code(previous) or not all(old.execution_count for _, old in pairs):
        return False
    for new, old in pairs:
        new.outputs, new.execution_count = old.outputs, old.execution_count
    return True


def execute(notebook):
    """Run all cells, in the folder of the notebooks, and keep nothing that depends on when or where."""
    NotebookClient(notebook, timeout=CELL_TIMEOUT, kernel_name=KERNEL["name"], record_timing=False,
                   coalesce_streams=True, extra_arguments=["--log-level=ERROR"],
                   resources={"metadata": {"path": str(NOTEBOOKS)}}).execute(env={**os.environ, **QUICK})
    notebook.metadata.pop("widgets", None)
    for cell in code_cells(notebook):
        if LIVE_TAG in tags(cell):
            cell.outputs = []
    notebook.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}


def regenerate(name, force=False):
    """Write one chapter's notebook; return the seconds it took to run, or None if the outputs were kept."""
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = assemble(name, **repository())
    seconds = None
    if force or not path.exists() or not keep_outputs(notebook, nbformat.read(path, as_version=4)):
        start = time.perf_counter()
        try:
            execute(notebook)
        except CellExecutionError as error:
            raise SystemExit(f"{path} is not written: {error}") from None
        seconds = time.perf_counter() - start
    NOTEBOOKS.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return seconds


def write_down(name, seconds):
    """Keep how long a chapter took in the quick profile, and on what; its notebook then says so."""
    measured = json.loads(TIMES.read_text())
    measured["quick"]["seconds"][name] = round(seconds)
    measured["quick"] |= {"hardware": hardware("cpu"), "date": date.today().isoformat()}
    TIMES.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
    regenerate(name)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chapter", nargs="*", help="names such as 02-coresets; all chapters if none is given")
    parser.add_argument("--force", action="store_true", help="run the code even where it didn't change")
    parser.add_argument("--measure", action="store_true", help="run it, and write down how long it took")
    options = parser.parse_args()
    if unknown := set(options.chapter) - set(chapters()):
        parser.error(f"no chapter {', '.join(sorted(unknown))}; the chapters are {', '.join(chapters())}")
    for name in options.chapter or chapters():
        seconds = regenerate(name, options.force or options.measure)
        print(f"notebooks/{name}.ipynb:", f"run in {seconds:.0f} s" if seconds else "outputs kept", flush=True)
        if options.measure:
            write_down(name, seconds)


if __name__ == "__main__":
    main()
