"""The command line, as a stranger uses it: end to end, interrupted, and with bad input."""

import json
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module

import pytest
import torch
from samples import contents, image_folder, small, zipped

from datadam_lite import Distiller, Preprocess, Report, SyntheticSet, distill, load, random
from datadam_lite.recipes import RECIPES

module = import_module("datadam_lite.cli")

QUICK = ["--set", "width=4", "--set", "real_batch=2", "--set", "iterations=3"]


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
    """Work in a folder that holds a distilled set."""
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copy(distilled, folder / "set.safetensors")
    monkeypatch.chdir(folder)
    return folder


# ---- help


@pytest.mark.parametrize(
    ("command", "mentions"),
    [
        ([], ["demo", "distill", "evaluate", "show"]),
        (["demo"], ["--out"]),
        (["distill"], ["--data", "digits, cifar10", "--ipc", "--out", "--recipe", *RECIPES, "--seed", "--overwrite"]),
        (["evaluate"], ["--data", "--networks", "--epochs", "--width", "--json", "--no-baselines"]),
        (["show"], ["--out", "distilled set"]),
    ],
    ids=lambda part: " ".join(part)[:8],
)
def test_help(cli, monkeypatch, command, mentions):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    done = cli(*command, "--help")
    assert done.status == 0
    assert all(mention in done.out for mention in mentions)


# ---- end to end


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_distil_evaluate_and_show(cli, here, pets, kind):
    data = pets if kind == "folder" else zipped(pets, here / "pets.zip")
    done = cli("distill", "--data", data, "--ipc", 2, "--out", "two.safetensors", *QUICK)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("two.safetensors: 4 images, moved ")
    expected = distill(load(data)[0], 2, width=4, real_batch=2, iterations=3)
    assert (here / "two.safetensors").read_bytes() == expected.save(here / "expected").read_bytes()

    done = cli("evaluate", "two.safetensors", "--data", data, "--networks", 2, "--epochs", 1, "--json", "two.json")
    assert (done.status, done.err) == (0, "")
    accuracies = json.loads((here / "two.json").read_text())
    assert list(accuracies) == ["distilled", "its initial images", "random real images"]
    for name, record in accuracies.items():
        assert len(record["accuracies"][0]) == record["n_networks"] == 2
        assert f"{name:<20} {record['mean']:.1f} ± " in done.out
    assert "protocol: fixed, 1 epochs, width 4" in done.out

    done = cli("show", "two.safetensors")
    assert (done.status, done.err) == (0, "")
    for text in ("4 of [3, 8, 8], 2 for each of 2 classes", "from pets, seed 0", "no ZCA", "real_batch       2"):
        assert text in done.out
    assert (here / "two.png").read_bytes().startswith(b"\x89PNG")
    assert not list(here.glob("*.checkpoint"))


def test_set_changes_recipe_fields(cli, here, pets):
    cli("distill", "--data", pets, "--recipe", "dm", *QUICK, "--set", "zca=true", "--set", "norm=batch", "--seed", 5)
    provenance = SyntheticSet.load("distilled.safetensors").provenance
    changed = {"width": 4, "real_batch": 2, "iterations": 3, "zca": True, "norm": "batch"}
    assert provenance["recipe"] == RECIPES["dm"].describe() | changed
    assert provenance["seed"] == 5


def test_the_demo_is_a_command(cli, here, monkeypatch):
    monkeypatch.setattr("datadam_lite.demo.demo", lambda folder: f"the table for {folder}")
    done = cli("demo", "--out", "mine")
    assert done.status == 0
    assert "the table for mine" in done.out
    assert "mine/distilled.png" in done.out


def test_baselines_can_be_left_out(cli, here, pets):
    done = cli("evaluate", "set.safetensors", "--data", pets, "--networks", 1, "--epochs", 1, "--no-baselines")
    assert done.status == 0
    assert "distilled" in done.out
    assert "random" not in done.out


def test_real_images_that_were_saved_can_be_evaluated(cli, here, pets):
    train, _ = load(pets)
    SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train)).save("real.safetensors")
    done = cli("evaluate", "real.safetensors", "--data", pets, "--networks", 1, "--epochs", 1, "--no-baselines")
    assert done.status == 0
    assert cli("show", "real.safetensors").status == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_random_baseline_is_not_the_sets_own_start(cli, here, digits, monkeypatch, seed):
    distill(digits[0], 1, small(iterations=1, zca=False), seed=seed).save("digits.safetensors")
    evaluated = []
    monkeypatch.setattr(module, "evaluate", lambda chosen, *_, **__: evaluated.append(chosen) or Report([[1.0]]))
    assert cli("evaluate", "digits.safetensors", "--data", "digits").status == 0
    _, start, at_random = evaluated
    assert not torch.equal(start.images, at_random.images)


# ---- existing files, and going on


def test_an_existing_file_is_replaced_only_when_asked(cli, here, pets):
    before = contents(here)
    done = cli("distill", "--data", pets, "--out", "set.safetensors", *QUICK)
    assert done.status == 2
    assert done.err == ("datadam: set.safetensors exists; choose another --out, or give --overwrite to replace it.\n")
    assert contents(here) == before
    assert cli("distill", "--data", pets, "--out", "set.safetensors", *QUICK, "--overwrite").status == 0
    assert contents(here).keys() == before.keys()
    assert contents(here) != before


@pytest.fixture
def interrupted(cli, here, pets, monkeypatch):
    """The arguments of a distillation that somebody stopped with Ctrl-C in its second iteration."""
    loss = Distiller.loss

    def until_the_second(self, iteration):
        if iteration == 2:
            raise KeyboardInterrupt
        return loss(self, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(Distiller, "loss", until_the_second)
        stopped = cli("distill", "--data", pets, *QUICK)
    assert stopped.status == 130
    assert stopped.err == "stopped; the same command goes on from distilled.safetensors.checkpoint\n"
    return ["distill", "--data", pets, *QUICK]


def test_an_interrupted_command_goes_on(cli, here, interrupted):
    assert set(contents(here)) == {"set.safetensors", "distilled.safetensors.checkpoint"}
    done = cli(*interrupted)
    assert done.status == 0
    assert done.out.startswith("going on from distilled.safetensors.checkpoint\n")
    assert set(contents(here)) == {"set.safetensors", "distilled.safetensors"}
    cli(*interrupted, "--out", "whole")
    assert (here / "distilled.safetensors").read_bytes() == (here / "whole").read_bytes()


def test_kill_9_and_the_same_command_give_the_same_file(cli, pets, tmp_path):
    """Byte for byte the file of an uninterrupted run, made in another process; on the CPU."""
    data, out = zipped(pets, tmp_path / "pets.zip"), tmp_path / "killed/set.safetensors"
    changes = ["width=4", "real_batch=2", "zca=false", "image_lr=0.1", "iterations=300"]
    arguments = ["distill", "--data", data, "--checkpoint-every", 7]
    arguments += [part for change in changes for part in ("--set", change)]
    command = [sys.executable, "-m", "datadam_lite", *map(str, arguments), "--out", out]

    checkpoint = out.with_name("set.safetensors.checkpoint")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < patience:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # it was in the middle
    assert checkpoint.exists()
    assert not out.exists()

    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"going on from {checkpoint}")
    assert not checkpoint.exists()
    assert cli(*arguments, "--out", tmp_path / "whole").status == 0
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


# ---- bad input: one line on standard error, status 2, nothing written


def refused(cli, *arguments):
    """Run a command that must fail; return its one sentence."""
    done = cli(*arguments)
    assert done.status == 2, done
    assert done.err.startswith("datadam: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith((".\n", ")\n"))
    return done.err


BAD = {
    "no such name": (["--data", "digit"], "unknown data set (and no such folder) 'digit'; the known ones are digits"),
    "no such path": (["--data", "missing.zip"], "there is no file or folder missing.zip"),
    "no ImageFolder": (["--data", "."], "is not an ImageFolder"),
    "no zip": (["--data", "set.safetensors"], "is not a complete zip file"),
    "no such recipe": (["--recipe", "datadman"], "unknown recipe 'datadman'; the known ones are dm, datadam"),
    "no such attention": (["--set", "attention=spacial"], "unknown attention 'spacial'; the known ones are spatial"),
    "no such network": (["--set", "network=vgg"], "unknown network 'vgg'; the known ones are convnet"),
    "no such field": (["--set", "colour=3"], "unknown recipe field 'colour'"),
    "no value": (["--set", "width"], "--set expects FIELD=VALUE, such as --set iterations=2000; received 'width'"),
    "no number": (["--set", "iterations=many"], "iterations"),
    "no whole number": (["--set", "width=4.5"], "width"),
    "no such precision": (["--precision", "float8"], "unknown precision 'float8'; the known ones are float32"),
    "no such device": (["--device", "gpu"], "'gpu'"),
    "ipc zero": (["--ipc", 0], "expected at least 1 image per class; received 0"),
    "ipc negative": (["--ipc", -1], "expected at least 1 image per class; received -1"),
    "ipc too large": (["--ipc", 4], "4 images per class were asked of pets, but class 'cat' has 3"),
    "real batch too large": (["--set", "real_batch=4"], "real_batch"),
    "images too small": (["--set", "depth=4"], "4 blocks halve 8x8 pixels to nothing; use a depth of at most 3"),
    "one block": (["--set", "depth=1"], "depth"),
    "no checkpoints": (["--checkpoint-every", 0], "checkpoint_every must be at least 1; received 0"),
    "too fast": (["--set", "image_lr=1e38", "--set", "loss_scale=1e6"], "Try a smaller image_lr or loss_scale"),
    "out is a folder": (["--out", "."], "exists; choose another --out"),
    "out is in a file": (["--out", "set.safetensors/x"], "could not write set.safetensors/x"),
}


@pytest.mark.parametrize("case", BAD)
def test_distill_refuses(cli, unchecked, here, pets, case):
    options, message = BAD[case]
    data = [] if "--data" in options else ["--data", pets]
    before = contents(here)
    assert message in refused(cli, "distill", *data, *QUICK, *options)
    assert contents(here) == before


def test_distill_refuses_the_checkpoint_of_another_run(cli, here, interrupted):
    before = contents(here)
    for options, message in {
        ("--seed", 1): "seed is 0 there and 1 here",
        ("--ipc", 2): "ipc is 1 there and 2 here",
        ("--set", "lam=0.5"): "recipe.lam is 0.01 there and 0.5 here",
        ("--precision", "bfloat16"): "numerics.precision is float32 there and bfloat16 here",
        ("--data", "digits"): "data.name is pets there and digits here",
    }.items():
        assert message in refused(cli, *interrupted, *options)
        assert contents(here) == before


def test_distill_refuses_a_damaged_checkpoint(cli, here, pets):
    (here / "distilled.safetensors.checkpoint").write_bytes(b"PK half of it")
    before = contents(here)
    assert "is not a readable checkpoint" in refused(cli, "distill", "--data", pets, *QUICK)
    assert contents(here) == before


EVALUATE = {
    "missing": (["missing"], "there is no file missing; expected a distilled set written by 'datadam distill'"),
    "foreign": (["text"], "text is not a complete distilled set"),
    "truncated": (["half"], "half is not a complete distilled set"),
    "other data": (["set.safetensors", "--data", "digits"], "Load the data set it was distilled from"),
    "other classes": (["set.safetensors", "--data", "digits", "--no-baselines"], "but the test images of digits are"),
    "no networks": (["set.safetensors", "--networks", 0], "at least one set and one network; received 1 and 0"),
    "no epochs": (["set.safetensors", "--epochs", 0], "epochs"),
    "no width": (["set.safetensors", "--width", 0], "width"),
    "negative width": (["set.safetensors", "--width", -3], "width"),
    "json is a folder": (["set.safetensors", "--json", "folder"], "could not write folder"),
}


@pytest.mark.parametrize("case", EVALUATE)
def test_evaluate_refuses(cli, here, pets, case):
    options, message = EVALUATE[case]
    (here / "text").write_text("something else")
    (here / "half").write_bytes((here / "set.safetensors").read_bytes()[:-100])
    (here / "folder").mkdir()
    before = contents(here)
    data = [] if "--data" in options else ["--data", pets]
    assert message in refused(cli, "evaluate", *options, *data, *(["--epochs", 1] if "--epochs" not in options else []))
    assert contents(here) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing"], "there is no file missing"),
        (["text"], "text is not a complete distilled set"),
        (["set.safetensors", "--out", "picture.xyz"], "xyz"),
        (["set.safetensors", "--out", "set.safetensors"], "safetensors"),
        (["set.safetensors", "--out", "text/picture.png"], "could not write text/picture.png"),
    ],
)
def test_show_refuses(cli, here, options, message):
    (here / "text").write_text("something else")
    before = contents(here)
    assert message in refused(cli, "show", *options)
    assert contents(here) == before


@pytest.mark.parametrize(
    "options",
    [
        ["distill", "--out", "set.safetensors", "--overwrite", *QUICK],
        ["distill", "--out", "set.safetensors", "--overwrite", "--checkpoint-every", 1, *QUICK],
        ["evaluate", "set.safetensors", "--epochs", 1, "--networks", 1, "--json", "old.json"],
        ["show", "set.safetensors", "--out", "old.png"],
    ],
    ids=["the set", "a checkpoint", "accuracies", "a picture"],
)
def test_a_full_disk_leaves_what_was_there(cli, here, pets, options, full_disk):
    for name in ("old.json", "old.png"):
        (here / name).touch()
    before = contents(here)
    data = [] if options[0] == "show" else ["--data", pets]
    assert "No space left on device; nothing was changed there. Free some space" in refused(cli, *options, *data)
    assert contents(here) == before


def test_python_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "datadam_lite", "distill", "--data", "missing.zip"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("datadam: there is no file or folder missing.zip")
