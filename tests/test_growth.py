"""benchmarks/growth.py and cost.py: what is counted is what a hand counts, and every field is written."""

import doctest
import json
import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from datadam_lite import DataDamError, Distiller, Settings, recipe, results
from datadam_lite.attention import spatial
from datadam_lite.networks import ConvNet
from datadam_lite.plots import small_multiples

SCRIPTS = Path(__file__).parents[1] / "benchmarks"
POINT = {
    "ipc", "classes", "side", "real_batch", "width", "depth", "precision", "compile", "chunk", "seconds", "samples",
    "first_step_seconds", "memory_bytes", "block_seconds", "rates", "operations", "least_bytes", "real_bytes",
    "synthetic_bytes",
}  # fmt: skip


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts can be imported, as when one of them is run."""
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.mark.parametrize("name", ["cost", "growth"])
def test_examples_in_the_scripts(name):
    assert doctest.testmod(import_module(name)) == (0, 1)


def tiny(**changes):
    """DataDAM with networks of width 4, for 8x8 images of 3 channels."""
    return recipe("datadam", width=4, real_batch=2, zca=False, **changes).for_images((3, 8, 8), 3)


def test_operations_are_those_of_the_equation():
    """2 * 9 c w H W of a forward pass; the same again backward, for synthetic images alone."""
    from cost import count_operations

    passes = 5 * (2 + 2 * 3)  # 5 classes: 2 real images forward, 3 synthetic ones forward and backward
    expected = [2 * 9 * c * 4 * side**2 * passes for c, side in ((3, 8), (4, 4), (4, 2))]
    assert count_operations(tiny(), (3, 8, 8), 5, 3) == expected


@pytest.mark.parametrize("chunk", [None, 2])
def test_operations_are_those_of_a_step(chunk):
    """A real step on real tensors, counted from outside; the head's logits are the one thing on top."""
    from cost import count_operations
    from growth import Point

    train = Point(classes=5, side=8, real_batch=2, ipc=3).images()
    distiller = Distiller(train, 3, tiny(), settings=Settings("cpu", chunk=chunk))
    with FlopCounterMode(display=False) as counter:
        next(distiller)
    logits = 2 * 4 * 5 * len(train.classes) * (2 + 3)  # embedding of 4, 5 logits, of every image forward
    assert counter.get_total_flops() - logits == sum(count_operations(tiny(), (3, 8, 8), 5, 3))


def test_bytes_are_those_of_a_hand_count():
    """Every map is written and read: forward of 2 real and 3 synthetic images per class, and 3 gradients."""
    from cost import least_bytes

    maps = [4 * 8 * 8, 4 * 4 * 4, 4 * 2 * 2]
    written = [sum([size] * 2 + [size] * 3 + [size] * 3) for size in maps]
    assert least_bytes(tiny(), (3, 8, 8), 5, 3, size=2) == [5 * 2 * 2 * numbers for numbers in written]


def test_pooling_to_odd_sides_is_counted_as_it_is():
    from cost import least_bytes

    of_7 = recipe("datadam", width=4, real_batch=1, depth=2, zca=False).for_images((3, 7, 7), 1)
    assert least_bytes(of_7, (3, 7, 7), 1, 1, size=4) == [2 * 4 * 3 * 4 * 7 * 7, 2 * 4 * 3 * 4 * 3 * 3]


def test_one_block_after_another_is_the_network():
    """The blocks that are timed alone compute what the network computes."""
    from cost import Block

    network, images = ConvNet((3, 8, 8), 5, width=4), torch.randn(2, 3, 8, 8)
    expected, pooled = network(images), images
    for block, maps in enumerate(expected.maps):
        pooled, *vectors = Block(network, block)(pooled)
        assert [torch.equal(vector, spatial(maps)) for vector in vectors] == [True] * (block < 2)
    assert torch.equal(pooled.flatten(1), expected.embedding)


def test_points_vary_one_thing_at_a_time_and_can_be_built():
    from growth import POINTS, Point

    assert len({point.name for point in POINTS}) == len(POINTS)
    single = [point for point in POINTS if "," not in point.name]
    for point in single:
        assert sum(a != b for a, b in zip(vars(point).values(), vars(Point()).values(), strict=True)) <= 1
    for point in POINTS:
        assert point.recipe().depth <= math.log2(point.side)


def run(out):
    """Run the script as a user does; return what it printed."""
    command = [sys.executable, SCRIPTS / "growth.py", "--quick", "--out", out]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_field_is_written_and_what_is_there_is_skipped(tmp_path):
    out = tmp_path / "growth.json"
    first, other = (line.partition(": ")[0] for line in run(out).splitlines())
    record = json.loads(out.read_text())
    assert {"device", "hardware", "threads", "versions", "code_sha256", "date"} <= set(record)
    for point in record["points"].values():
        assert set(point) == POINT
        assert min(point["samples"]) <= point["seconds"] <= max(point["samples"])
        assert len(point["operations"]) == len(point["least_bytes"]) == len(point["block_seconds"]) == point["depth"]
        assert point["memory_bytes"] >= 0
        assert set(point["rates"]) == {"product", "convolution", "copy"}
        assert min(point["rates"].values()) > 1e6

    del record["points"][other]
    record["points"][first]["seconds"] = "kept"
    out.write_text(json.dumps(record))
    assert run(out).startswith(other)
    again = json.loads(out.read_text())
    assert again["points"][first]["seconds"] == "kept"
    assert again["points"][other]["seconds"] > 0


@pytest.mark.parametrize("differs", ["code_sha256", "hardware", "versions", "threads"])
def test_figures_of_other_code_or_another_machine_are_not_kept(tmp_path, differs):
    from growth import begun, surroundings

    out, here = tmp_path / "growth.json", surroundings("cpu")
    out.write_text(json.dumps(here | {"points": {"base": {}}}))
    assert begun(out, here)["points"] == {"base": {}}
    assert begun(out, here | {differs: "another"})["points"] == {}


def test_the_record_of_the_book_holds_every_point():
    from growth import POINTS

    record = results.growth()
    assert {point.name for point in POINTS} == set(record["points"])
    assert all(set(point) == POINT for point in record["points"].values())
    assert [point["side"] for point in results.varied(record["points"], "side")] == [16, 32, 64, 128]


def test_no_recorded_block_is_faster_than_its_arithmetic():
    """Else the rates are no bound: too slow a kernel, or a machine that was busier when they were measured."""
    detailed = [point for point in results.growth()["points"].values() if point["block_seconds"]]
    assert len(detailed) == 2
    for point in detailed:
        possible = max(point["rates"]["product"], point["rates"]["convolution"])
        for operations, seconds in zip(point["operations"], point["block_seconds"], strict=True):
            assert operations / seconds < 1.1 * possible  # timings vary


def test_varied_takes_the_points_that_differ_in_one_thing(tmp_path):
    points = {"base": {"ipc": 10, "side": 32}, "ipc 50": {"ipc": 50, "side": 32}, "side 64": {"ipc": 10, "side": 64}}
    points |= {"ipc 1": {"ipc": 1, "side": 32}, "ipc 1, side 64": {"ipc": 1, "side": 64}}
    (tmp_path / "growth.json").write_text(json.dumps({"points": points}))
    mine = results.growth(tmp_path / "growth.json")["points"]
    assert results.varied(mine, "ipc") == [points["ipc 1"], points["base"], points["ipc 50"]]
    assert results.varied(mine, "side") == [points["base"], points["side 64"]]
    with pytest.raises(DataDamError, match=r"unknown field of the points 'width'; the known ones are ipc, side"):
        results.varied(mine, "width")


def test_small_multiples_draw_every_point_and_what_proportional_would_be(figures):
    drawn = small_multiples({"classes": [(5, 1.0, 80), (20, 3.0, 90)], "side": [(32, 2.0, 70)]}, ("seconds", "MB"))
    (seconds, _), (memory, side) = [[axis.lines for axis in drawn.axes[row : row + 2]] for row in (0, 2)]
    assert [line.get_xydata().tolist() for line in seconds] == [[[5, 1], [20, 3]], [[5, 1], [20, 4]]]
    assert [line.get_xydata().tolist() for line in memory] == [[[5, 80], [20, 90]], [[5, 80], [20, 320]]]
    assert side[0].get_xydata().tolist() == [[32, 70]]
    assert [axis.get_xlabel() for axis in drawn.axes] == ["", "", "classes", "side"]
    assert [axis.get_ylabel() for axis in drawn.axes] == ["seconds", "", "MB", ""]
    assert all(axis.get_xscale() == axis.get_yscale() == "log" for axis in drawn.axes)
