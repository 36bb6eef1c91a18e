"""With the package versions of Colab, the setup cell changes none of them and every chapter runs."""

import os
import re
import shutil
import subprocess

import nbformat
import pytest
import regenerate

# What Colab publishes for its default runtime, as far as the package uses it, and what runs a notebook.
COLAB = [
    "torch==2.11.*", "torchvision==0.26.*", "numpy==2.1.3", "scipy==1.16.3", "scikit-learn==1.6.1",
    "matplotlib==3.10.*", "seaborn==0.13.2", "ipywidgets==7.7.1", "safetensors==0.8.*", "tqdm==4.67.*",
    "typer==0.27.*", "ipykernel", "nbclient",
]
PYTHONS = ("python3.13", "python3.12", "python3.11")        # Colab's first
ADDED = {"datadam_lite", "kornia", "kornia_rs", "jaxtyping", "wadler_lindig"}


def run(*command, **options):
    """Run a command and return what it printed; fail with what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def works(python):
    """Whether there is such a Python; a version manager's stand-in for a missing one fails."""
    return shutil.which(python) and subprocess.run([python, "--version"], capture_output=True).returncode == 0


def freeze(bin):
    """{package: what `pip freeze` says of it}."""
    lines = run(bin / "python", "-m", "pip", "freeze").splitlines()
    return {re.split(" @ |==", line)[0].replace("-", "_").lower(): line for line in lines}


@pytest.fixture
def colab(tmp_path):
    """The programs of a fresh environment with Colab's versions; removed afterwards, it takes gigabytes."""
    environment = tmp_path / "environment"
    run(next(filter(works, PYTHONS)), "-m", "venv", environment)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "-q", *COLAB]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"Colab's versions can't be installed here: {done.stderr}")
    yield environment / "bin"
    shutil.rmtree(environment)


@pytest.mark.slow
def test_chapters_run_on_colab_and_change_no_version(colab, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    run("git", "clone", "-q", regenerate.ROOT, clone)
    monkeypatch.setattr(regenerate, "SOURCES", clone / "book" / "chapters")

    before = freeze(colab)
    for chapter in regenerate.chapters():
        notebook = tmp_path / f"{chapter}.ipynb"
        nbformat.write(regenerate.assemble(chapter, f"file://{clone}"), notebook)
        run(colab / "jupyter-execute", "--timeout=300", notebook, env={**os.environ, **regenerate.QUICK})
    after = freeze(colab)
    assert {name: line for name, line in after.items() if name in before} == before
    assert set(after) - set(before) == ADDED
