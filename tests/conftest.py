"""Fixtures for all tests: nothing outside a temporary folder is read or written."""

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import pytest
import yaml
from filelock import FileLock
from regenerate import ROOT

mpl.use("agg")  # before anything imports pyplot

EXAMPLE = "https://github.com/example-owner/example-name"


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory):
    """A cache of the tests' own, no progress bars, and the profile that is the default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATADAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TQDM_DISABLE", "1")
        patch.delenv("DATADAM_PROFILE", raising=False)
        yield


@pytest.fixture(scope="session")
def digits():
    """(train, test) of scikit-learn's digits."""
    from datadam_lite import load

    return load("digits")


@pytest.fixture
def unchecked():
    """No checks of types and shapes but the package's own, where those are what is tested."""
    from jaxtyping import config

    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)


@pytest.fixture
def threads():
    """Restore the number of threads, which a profile may set."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def short():
    """`behaviour` and `redraw` test networks that are trained for a fraction of a second; their protocol."""
    from dataclasses import replace

    from datadam_lite.classroom.behaviour import QUICK, yardsticks

    module = sys.modules["datadam_lite.classroom.behaviour"]  # the package has the function under that name
    protocol = replace(QUICK.protocol, epochs=20, width=8)
    yardsticks.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUICK", replace(QUICK, protocol=protocol))
        yield protocol
    yardsticks.cache_clear()


@pytest.fixture
def figures():
    """Close what a test draws."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture
def cli(monkeypatch, capsys, figures, threads):
    """Run the command line in this process: cli("show", path) has .status, .out and .err."""
    from datadam_lite.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["datadam", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return SimpleNamespace(status=left.value.code, **capsys.readouterr()._asdict())

    return run


@pytest.fixture
def full_disk(monkeypatch):
    """From now on a file takes ten bytes, and then there is no space left on the device."""
    opened = io.open

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > 10:
                super().write(bytes(data)[: 10 - self.tell()])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def open_(file, mode="r", *args, **kwargs):
        if not set(mode) & set("wax+"):
            return opened(file, mode, *args, **kwargs)
        full = Full(file, "".join(sorted(set(mode) - set("bt"), reverse=True)))
        return full if "b" in mode else io.TextIOWrapper(full, write_through=True)

    for place in ("io.open", "builtins.open"):
        monkeypatch.setattr(place, open_)


# ---- for the command line


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """A small ImageFolder."""
    from samples import image_folder

    return image_folder(tmp_path_factory.mktemp("data") / "pets", size=(8, 8))


@pytest.fixture(scope="session")
def distilled(pets, tmp_path_factory):
    """A set distilled from it."""
    from samples import small

    from datadam_lite import distill, load

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


# ---- for the book


def run(*command, cwd):
    """Run a command; fail with what it said."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build(source, output):
    """Build the book from scratch, as `make book` does; return the folder of its pages."""
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    run(jupyter_book, "build", source, "--path-output", output, "-W", "-n", "--keep-going", cwd=source)
    return output / "_build" / "html"


@pytest.fixture(scope="session")
def book(tmp_path_factory, testrun_uid):
    """The pages of the book as it is; the processes of a test run share them."""
    shared = tmp_path_factory.getbasetemp().parent / f"book-{testrun_uid}"
    built = shared / "built"
    with FileLock(f"{shared}.lock"):
        if not built.exists():
            build(ROOT, shared)
            built.touch()
    return shared / "_build" / "html"


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A copy of the book with a public address, its notebooks regenerated, and its pages in `_build/html`."""
    copy = tmp_path_factory.mktemp("published")
    for folder in ("book", "notebooks"):
        shutil.copytree(ROOT / folder, copy / folder)
    shutil.copy(ROOT / "_toc.yml", copy)
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["repository"]["url"] = EXAMPLE
    (copy / "_config.yml").write_text(yaml.safe_dump(config))
    run(sys.executable, "book/regenerate.py", cwd=copy)
    build(copy, copy)
    return copy
