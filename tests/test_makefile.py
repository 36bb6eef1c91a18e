"""The Makefile: its table in the README, and a set-up that survives a failure."""

import os
import re
import shutil
import subprocess

import pytest
from regenerate import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.search(r"^\.PHONY: (.*)", MAKEFILE, re.M)[1].split()) - {"help"}


def table():
    """The README's table for machines without make: {target: [command, ...]}."""
    rows = re.findall(r"^\| `make ?([a-z-]*)` \|[^|]*\|(.*)\|$", (ROOT / "README.md").read_text(), re.M)
    return {target or "all": re.findall(r"`([^`]*)`", commands) for target, commands in rows}


def expand(target):
    """The commands of a row, with `make other` replaced by the row of `other`."""
    for command in table()[target]:
        if command.startswith("make "):
            yield from expand(command.removeprefix("make "))
        else:
            yield command


def test_the_table_has_every_target():
    assert set(table()) == TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_table_says_what_make_runs(target):
    installed = ["-W", "pyproject.toml"] if target in ("all", "setup") else ["-o", ".venv/.installed"]
    dry_run = subprocess.run(["make", "-n", *installed, target], cwd=ROOT, capture_output=True, text=True)
    runs = re.findall(r"^.*(?:\.venv/bin/|venv --clear|rm -rf).*$", dry_run.stdout, re.M)
    assert [command for command, line in zip(expand(target), runs, strict=True) if command not in line] == []


@pytest.fixture
def machine(tmp_path):
    """A folder with the Makefile and a `python3` that makes environments whose pip fails the first time."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "pip").write_text("#!/bin/sh\necho pip >> log\ntest $(grep -c pip log) -gt 1\n")
    (tmp_path / "python3").write_text(
        "#!/bin/sh\n"
        "test $1 = -m || exit 0\n"
        "echo venv >> log; rm -rf .venv; mkdir -p .venv/bin; cp pip .venv/bin/python\n"
    )
    for name in ("pip", "python3"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


def setup(folder, **env):
    """`make setup` in a folder, with its python3."""
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **env}
    return subprocess.run(["make", "setup"], cwd=folder, env=env, capture_output=True, text=True)


def test_setup_starts_again_after_a_failure_and_then_has_nothing_to_do(machine):
    assert setup(machine).returncode != 0
    assert setup(machine).returncode == 0
    assert setup(machine).returncode == 0
    assert (machine / "log").read_text().split() == ["venv", "pip", "venv", "pip"]


def test_setup_says_what_is_wrong_with_an_old_python(machine):
    (machine / "python3").write_text("#!/bin/sh\nexit 1\n")
    done = setup(machine)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer, and 'python3' isn't" in done.stdout
