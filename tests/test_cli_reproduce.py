"""reproduce, as a reader uses it."""

import json
from dataclasses import replace

import pytest

from datadam_lite.protocol import Protocol
from datadam_lite.results import reproduce, scales
from datadam_lite.results.experiments import EXPERIMENTS
from datadam_lite.results.scales import SCALES
from datadam_lite.results.searches import Search


@pytest.fixture
def tiny(monkeypatch, threads):
    """The smallest scale takes a second."""
    short = {name: Protocol(name, epochs=1, width=4) for name in ("fixed", "datadam_code")}
    changes = {"width": 4, "real_batch": 4}
    epochs = {"small": 2, "early": 1, "whole": 1}
    grid = {"depth": (1, 2), "norm": ("batch", "instance", "none"), "pooling": ("avg", "max")}
    small = replace(
        SCALES["quick"], sets=2, networks=1, protocols=short, share=1 / 2000, changes=changes,
        search=Search(grid, Protocol("search", width=4, lr=0.05), held=5, epochs=epochs, sets=2),
    )  # fmt: skip
    monkeypatch.setitem(scales.SCALES, "quick", small)


def test_the_list_names_every_experiment_and_scale(cli):
    done = cli("reproduce", "--list")
    assert (done.status, done.err) == (0, "")
    for name, experiment in EXPERIMENTS.items():
        assert f"\n{name} ({experiment.source}): {experiment.asks}\n" in done.out
    for scale in SCALES:
        assert done.out.count(f"  {scale:<8}") == len(EXPERIMENTS)
    assert cli("reproduce").out == done.out


def test_an_experiment_from_the_command_to_the_table(cli, tiny, here):
    done = cli("reproduce", "table6")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("table6 (DataDAM, Table 6): Which layers?\nprinted: Attention of one block alone")
    for row in ("datadam", "block1", "block2"):
        assert json.loads((here / f"results/quick/digits-ipc1-{row}.json").read_text())["rows"]
    assert "\n| attention of block 2 | " in done.out
    assert "not available" not in done.out  # nothing is printed of digits, so there is no column for it
    assert "left to other processes" not in done.out


def test_an_architecture_search(cli, tiny, here):
    done = cli("reproduce", "table8")
    assert (done.status, done.err) == (0, "")
    assert "results/quick/digits-ipc10-dm-search.json: 12 networks rated, " in done.out
    assert "| all images, stopped early | not available | not available | not available | " in done.out


def test_results_that_are_there_are_kept(cli, refused, tiny, here):
    cli("reproduce", "table6")
    before = (here / "results/quick/digits-ipc1-block1.json").read_bytes()
    assert "results/quick/digits-ipc1-datadam.json exists; give --resume" in refused("reproduce", "table6")
    done = cli("reproduce", "table6", "--resume")
    assert done.status == 0
    assert (here / "results/quick/digits-ipc1-block1.json").read_bytes() == before


def test_ctrl_c_says_how_to_go_on(cli, tiny, here, monkeypatch):
    original, seen = reproduce.perform, []

    def interrupted(*run):
        seen.append(run)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(*run)

    monkeypatch.setattr(reproduce, "perform", interrupted)
    done = cli("reproduce", "table6")
    assert (done.status, done.err) == (130, "stopped; the same command goes on with --resume\n")
    done = cli("reproduce", "table6", "--resume")
    assert done.status == 0
    assert len(seen) == 4  # the first run was not performed again


def test_fewer_sets(cli, tiny, here):
    assert cli("reproduce", "table6", "--sets", "1").out.count("| 1 x 1 |") == 3


def test_bad_input(cli, refused, tiny, here):
    assert "unknown experiment 'table9'; the known ones are table1" in refused("reproduce", "table9")
    assert "unknown scale 'big'; the known ones are quick, cpu" in refused("reproduce", "table6", "--scale", "big")
    assert "expected --data NAME=PATH" in refused("reproduce", "table6", "--data", "cifar10")
    assert "sets must be" in refused("reproduce", "table6", "--sets", "0")
    paths = ("--scale", "cpu", "--data", "imagenette64=none.zip")
    assert "there is no file or folder none.zip" in refused("reproduce", "table2", *paths)
    assert "data set of table6 (--data) 'cifar10'; the known ones are digits" in refused(
        "reproduce", "table6", "--data", "cifar10=one.zip"
    )
