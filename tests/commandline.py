"""Fixtures for the tests of the command line: a folder of images, a set distilled from it, a place to work in."""

import shutil

import pytest
from samples import image_folder, small

from datadam_lite import distill, load


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """A small ImageFolder."""
    return image_folder(tmp_path_factory.mktemp("data") / "pets", size=(8, 8))


@pytest.fixture(scope="session")
def distilled(pets, tmp_path_factory):
    """A set distilled from it."""
    chosen = distill(load(pets)[0], 1, small(real_batch=2, zca=False))
    return chosen.save(tmp_path_factory.mktemp("set") / "pets.safetensors")


@pytest.fixture
def here(tmp_path, monkeypatch, distilled):
    """Work in a folder that holds a distilled set, a file of text and half of the set."""
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copy(distilled, folder / "set.safetensors")
    (folder / "text").write_text("something else")
    (folder / "half").write_bytes(distilled.read_bytes()[:-100])
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(cli):
    """Run a command that must fail with status 2 and one sentence on standard error; return the sentence."""

    def run(*arguments):
        done = cli(*arguments)
        assert done.status == 2, done
        assert done.err.startswith("datadam: ")
        assert done.err.count("\n") == 1
        assert done.err.endswith((".\n", ")\n"))
        return done.err

    return run
