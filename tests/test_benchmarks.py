"""benchmarks/: plain PyTorch computes what the package computes; times and memory are of what they say."""

import doctest
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import arms
import bench
import plain
import pytest
import torch
from samples import image_folder, normal, small, toy
from test_distill import compiling

from datadam_lite import DataDamError, Distiller, Preprocess, Protocol, Settings, SyntheticSet, generator, train_network

FOLDER = Path(__file__).parent.parent / "benchmarks"

METHODS = ["datadam", "atom", "datadam_code"]


@pytest.mark.parametrize("module", [arms, bench, plain])
def test_the_examples_of_its_docstrings(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# ---- plain.py beside the package


def both(method, **settings):
    """The package's distiller and the plain one, from the same images."""
    chosen = small(method, zca=False, statistics="exact", width=8)
    package = Distiller(toy(), 2, chosen, settings=Settings(device="cpu", **settings))
    return package, plain.Distiller(toy(), package.start, chosen, preprocess=package.preprocess)


def gradients(method, iteration, **settings):
    """The gradient of the images by the package and by plain PyTorch."""
    package, simple = both(method, **settings)
    (found,) = torch.autograd.grad(sum(package.loss(iteration).values()), package.images)
    (expected,) = torch.autograd.grad(simple.loss(iteration), simple.images)
    return found, expected


@pytest.mark.parametrize("iteration", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_is_the_packages(method, iteration):
    found, expected = gradients(method, iteration)
    assert expected.norm() > 0
    assert (found - expected).norm() <= 1e-4 * expected.norm()


def assert_same_direction(found, expected):
    assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) >= 0.99


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_has_the_same_direction(method):
    assert_same_direction(*gradients(method, 1, precision="bfloat16"))


@compiling
@pytest.mark.parametrize("method", METHODS)
def test_half_precision_compiled_has_the_same_direction(method):
    assert_same_direction(*gradients(method, 1, precision="bfloat16", compile=True))


@pytest.mark.parametrize("method", METHODS)
def test_the_images_move_as_the_packages(method):
    package, simple = both(method)
    for _ in range(2):  # the second step has momentum
        before = simple.images.detach().clone()
        assert next(simple) == pytest.approx(next(package).loss, rel=1e-4)
        moved = (simple.images - before).norm()
        assert moved > 0
        assert (simple.images - package.images).norm() < 1e-4 * moved


def noise(n=4):
    """Images of two classes to train on."""
    unchanged = Preprocess(torch.zeros(3), torch.ones(3))
    return SyntheticSet(normal(2 * n, 3, 8, 8), torch.arange(2).repeat_interleave(n), ("a", "b"), unchanged)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_training_ends_where_the_packages_does(norm):
    chosen, images = noise(), normal(5, 3, 8, 8, seed=1)
    options = {"augmentation": "", "lr": 0.1, "weight_decay": 0.1}  # one batch: its order is no matter
    protocol = Protocol(epochs=6, width=4, norm=norm, **options)
    found = plain.train_network(chosen, protocol=protocol)(images)
    package = train_network(chosen, generator(0, "evaluation"), protocol=protocol, settings=Settings(device="cpu"))
    untrained = plain.train_network(chosen, protocol=Protocol(epochs=1, width=4, norm=norm, lr=1e-9))(images)
    torch.testing.assert_close(found, package(images).logits, rtol=1e-3, atol=1e-4)
    assert (found - untrained).abs().max() > 0.03


def test_a_training_augments():
    results = []
    for augmentation in ("", "color"):
        protocol = Protocol(epochs=2, width=4, augmentation=augmentation)
        results.append(plain.train_network(noise(), protocol=protocol)(normal(5, 3, 8, 8)))
    assert not torch.allclose(*results, rtol=1e-3)


# ---- processes, in turn


def given(options, size, device, *, seconds):
    """Measurements that are known: those of the plain arm, then those of the other."""
    return iter(seconds[options is not None]).__next__


def keeps(options, size, device, *, mebibytes):
    """Memory that is known, in the arm that isn't plain; from a gibibyte on, malloc would leave it untouched."""
    held = []

    def measure():
        held.append(b"x" * (mebibytes * 2**20 if options is not None else 1))
        return 1.0

    return measure


def dies(options, size, device):
    return lambda: os.kill(os.getpid(), signal.SIGKILL)


def fails(options, size, device):
    raise ZeroDivisionError("seven by nothing")


ARMS = ("plain", "float32")


def test_a_row_is_medians_of_what_comes_after_the_warm_up():
    seconds = [[50, 40, 3.0, 5.0], [70, 60, 2.0, 1.0]]
    found = bench.measure(arms.Row("known", given, {"seconds": seconds}, ARMS), arms.QUICK, "cpu")
    assert found["plain"]["samples"] == [3, 5]
    assert found["float32"]["median"] == 1.5
    assert found["float32"]["spread"] == [1, 2]
    assert found["float32"]["ratio"] == 4 / 1.5
    assert found["float32"]["ratios"] == [1.5, 5]
    assert [found[arm]["first_seconds"] for arm in ARMS] == [50, 70]


def test_once_is_the_first_measurement_alone():
    seconds = [[50, 40], [70, 60]]
    found = bench.measure(arms.Row("known", given, {"seconds": seconds}, ARMS, once=True), arms.QUICK, "cpu")
    assert [found[arm]["samples"] for arm in ARMS] == [[50], [70]]


def test_arms_take_turns():
    asked = []
    ask = {arm: lambda arm=arm: asked.append(arm) or {} for arm in "abc"}
    bench.in_turn(ask, 2)
    assert asked == list("abcabc")


def test_memory_is_that_of_an_arm_alone():
    found = bench.measure(arms.Row("known", keeps, {"mebibytes": 100}, ARMS), arms.QUICK, "cpu")
    measurements = 2 + arms.QUICK.rounds
    assert 0 <= found["plain"]["peak_bytes"] < 100 * 2**20
    assert 0 <= found["float32"]["peak_bytes"] - measurements * 100 * 2**20 < 100 * 2**20


def test_a_process_that_dies_is_named():
    with pytest.raises(DataDamError, match=r"'plain' of 'sad' ended with status -9 .* memory ran out"):
        bench.measure(arms.Row("sad", dies, {}, ARMS), arms.QUICK, "cpu")


def test_a_process_that_fails_says_why():
    with pytest.raises(DataDamError, match=r"(?s)'plain' of 'sad' failed .*ZeroDivisionError: seven by nothing"):
        bench.measure(arms.Row("sad", fails, {}, ARMS), arms.QUICK, "cpu")


# ---- what is measured


def test_steps_are_timed_from_the_first_to_the_last():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])

    def train(pauses=(0.5, 0.1, 0.2), after=0.5):
        for pause in pauses:
            time.sleep(pause)
            optimizer.step()
        time.sleep(after)

    assert 0.15 <= arms.clock_steps(train, "cpu") < 0.25


def test_timing_steps_leaves_nothing_behind():
    from torch.optim.optimizer import _global_optimizer_post_hooks

    def train():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        arms.clock_steps(train, "cpu")
    assert not _global_optimizer_post_hooks


def test_networks_at_once_count_each(monkeypatch):
    trained = []
    monkeypatch.setattr(arms, "train_networks", lambda chosen, streams, **options: trained.append(len(streams)))
    monkeypatch.setattr(arms, "clock_steps", lambda train, device: train() or 60.0)
    seconds = [arms.training(arms.ARMS[arm], arms.QUICK, "cpu", norm="batch")() for arm in ("float32", arms.TWENTY)]
    assert trained == [1, 20]
    assert seconds == [60, 3]


def test_nothing_is_timed_as_compiled_that_is_not(monkeypatch):
    monkeypatch.setattr(Settings, "compiles", lambda self: False)
    assert arms.settings({}, "cpu") == Settings(device="cpu")
    with pytest.raises(DataDamError, match=r"torch\.compile doesn't work here"):
        arms.settings({"compile": True}, "cpu")


def test_rows_are_those_of_the_device():
    names = [row.name for row in arms.rows_for("cpu")]
    assert arms.WHOLE.name not in names
    assert not {arm for row in arms.rows_for("cpu") for arm in row.arms} & set(arms.ONLY_CUDA)
    assert {arm for row in arms.rows_for("cuda") for arm in row.arms} == set(arms.ARMS)
    assert [row.name for row in arms.rows_for("cuda", "a path")] == [*names, arms.WHOLE.name, "loading a data set"]


# ---- the script


def test_every_row_runs_and_is_written(tmp_path):
    folder, out = image_folder(tmp_path / "pets", size=(8, 8)), tmp_path / "speed.json"
    command = [sys.executable, FOLDER / "bench.py", "--quick", "--all-rows", "--data", folder, "--out", out]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}  # compiling would take minutes
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    report = json.loads(out.read_text())
    about = ("claims", "hardware", "device", "threads", "quick", "size", "versions", "date", "code_sha256")
    assert list(report) == [*about, "rows", "computed_minutes_of_8000_steps"]
    assert (report["threads"], report["quick"], report["device"]) == (1, True, "cpu")
    rows = arms.rows_for("cpu", str(folder), everything=True)
    assert {name: tuple(found) for name, found in report["rows"].items()} == {row.name: row.arms for row in rows}
    for row in rows:
        assert row.name in printed
        for result in report["rows"][row.name].values():
            assert len(result["samples"]) == (1 if row.once else arms.QUICK.rounds)
            assert min(result["samples"]) > 0
            assert result["median"] == pytest.approx(sum(result["samples"]) / len(result["samples"]))  # of one or two
            assert {"spread", "ratio", "ratios", "first_seconds", "peak_bytes"} < set(result)
    for name, computed in report["computed_minutes_of_8000_steps"].items():
        assert computed["plain"] == 8000 * report["rows"][name]["plain"]["median"] / 60


@pytest.fixture
def half_as_long(monkeypatch):
    """Every arm but the plain one takes half a second, where that takes one."""

    def measure(row, size, device):
        results = bench.summary({arm: [1.0 if arm == "plain" else 0.5] for arm in row.arms})
        return {arm: result | {"first_seconds": 9.0, "peak_bytes": 2**20} for arm, result in results.items()}

    monkeypatch.setattr(bench, "measure", measure)


def test_only_some_rows(half_as_long, capsys):
    bench.main(only="1 image per class")
    printed = capsys.readouterr().out
    assert "distillation step, 1 image per class" in printed
    assert "training" not in printed


def test_a_claim_that_is_missed_is_said(half_as_long, capsys, monkeypatch):
    monkeypatch.setattr(bench, "CLAIMS", [("distillation step, 10", "float32", 2.0), ("training", "float32", 2.1)])
    bench.main()
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "holds: distillation step, 10 images per class, float32: 2.00 times as fast, claimed 2.0",
        "missed: training step, instance norm, float32: 2.00 times as fast, claimed 2.1",
        "missed: training step, batch norm, float32: 2.00 times as fast, claimed 2.1",
    ]
