"""The command line, as a stranger uses it: distil, interrupted, and with bad input; recipes and data.

evaluate and cross-architecture are tested in test_cli_evaluate.py; coreset, convert and show in test_cli_sets.py.
"""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
from regenerate import ROOT
from samples import contents, zipped

from datadam_lite import RECIPES, Distiller, Settings, SyntheticSet, distill, load
from datadam_lite.cli import COMMANDS
from datadam_lite.cli_options import THEIRS
from datadam_lite.datasets import DATASETS, verify
from datadam_lite.sources import describe

QUICK = ["--set", "width=4", "--set", "real_batch=2", "--set", "iterations=3"]
SET = {"set.safetensors", "text", "half"}  # what is there from the beginning


# ---- help


MENTIONS = {
    "demo": ["--out", "--overwrite"],
    "distill": ["--data", "--ipc", "--out", "--recipe", *RECIPES, "--set", "--seed", "--config", "--overwrite",
                "it replaces all constants of that file"],
    "evaluate": ["FILE", "--networks", "--protocol", "--epochs", "--no-baselines", "--json", "--frozen", THEIRS,
                 "--depth", "--no-mirror"],
    "cross-architecture": ["--architectures", "convnet,alexnet,vgg11,resnet18", "--json", "--depth"],
    "coreset": ["real images", "--features", "--epochs", "k_means, forgetting", "--overwrite"],
    "convert": ["--to", "pair", "--preprocessing", "zca-exact, zca-pixels", "--labels", "--entry", "--overwrite",
                "--no-mirror"],
    "show": ["--out", "--overwrite"],
    "recipes": ["NAME"],
    "data": ["NAME|PATH", "--verify"],
    "reproduce": ["NAME", "--list", "--scale", "--resume", "--sets", "NAME=PATH", "--out", "--work"],
    "grade": ["FILE|FOLDER", "a0, a1, a2", "--class-seed-file", "DATADAM_CLASS_SEED", "--json", "--overwrite"],
    "class-report": ["FOLDER", "--csv", "--overwrite"],
}


@pytest.fixture
def wide(monkeypatch):
    """A terminal that breaks no line, without colours."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")


def test_help_lists_the_commands(cli, wide):
    done = cli("--help")
    assert done.status == 0
    assert re.findall(r"^│ ([a-z][a-z-]*) ", done.out, re.M) == list(MENTIONS) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(cli, wide, command):
    done = cli(command, "--help")
    assert done.status == 0
    assert [mention for mention in MENTIONS[command] if mention not in done.out] == []
    options = re.findall(r"^│[ *]+--.*", done.out, re.M)
    says = r"(<\w+>|FIELD=VALUE|NAME=PATH) +\w.{9}"
    assert [line for line in options if not re.search(says, line)] == []  # all say what for


def test_the_readme_lists_the_commands():
    rows = re.findall(r"^\| `datadam ([a-z-]+)[^`]*` \|", (ROOT / "README.md").read_text(), re.M)
    assert rows == list(COMMANDS)


# ---- end to end


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_distil(cli, here, pets, kind):
    data = pets if kind == "folder" else zipped(pets, here / "pets.zip")
    done = cli("distill", "--data", data, "--ipc", 2, "--out", "two.safetensors", *QUICK)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("two.safetensors: 4 images, moved ")
    expected = distill(load(data)[0], 2, width=4, real_batch=2, iterations=3)
    assert (here / "two.safetensors").read_bytes() == expected.save(here / "expected").read_bytes()
    assert not list(here.glob("*.checkpoint*"))


def test_the_file_beside_the_set_repeats_it(cli, here, pets):
    done = cli("distill", "--data", pets, "--recipe", "atom", *QUICK, "--set", "layers=[1]", "--seed", 5, "--ipc", 2)
    assert "to repeat it: datadam distill --config distilled.safetensors.json --out ANOTHER" in done.out
    written = json.loads((here / "distilled.safetensors.json").read_text())
    assert (written["data"], written["seed"], written["ipc"]) == (str(pets), 5, 2)
    assert (written["recipe"]["name"], written["recipe"]["layers"], written["recipe"]["width"]) == ("atom", [1], 4)
    assert cli("distill", "--config", "distilled.safetensors.json", "--out", "again").status == 0
    for name in ("{}", "{}.json"):
        again, first = here / name.format("again"), here / name.format("distilled.safetensors")
        assert again.read_bytes() == first.read_bytes()


def test_options_beside_a_configuration_change_it(cli, here, pets):
    (here / "run.json").write_text(
        json.dumps({"data": "elsewhere", "ipc": 2, "seed": 5, "recipe": {"name": "dm", "width": 4, "real_batch": 2},
                    "settings": {"checkpoint_every": 7}})
    )  # fmt: skip
    changes = ["--set", "iterations=2", "--seed", 0, "--checkpoint-every", 1]
    done = cli("distill", "--config", "run.json", "--data", pets, *changes)
    assert (done.status, done.err) == (0, "")
    written = json.loads((here / "distilled.safetensors.json").read_text())
    assert (written["data"], written["ipc"], written["seed"]) == (str(pets), 2, 0)
    assert written["settings"] == asdict(Settings(checkpoint_every=1))
    recipe = written["recipe"]
    assert (recipe["name"], recipe["width"], recipe["real_batch"], recipe["iterations"]) == ("dm", 4, 2, 2)
    cli("distill", "--config", "run.json", "--data", pets, "--recipe", "datadam", *QUICK, "--out", "b")
    assert json.loads((here / "b.json").read_text())["recipe"] == written["recipe"] | {
        "name": "datadam", "attention": ["spatial"], "lam": None, "image_lr": None, "iterations": 3, "zca": None,
    }  # fmt: skip


def test_photographs_are_resized(cli, here, pets):
    assert cli("distill", "--data", pets, "--size", 16, "--resize", "squash", *QUICK).status == 0
    assert SyntheticSet.load("distilled.safetensors").images.shape[2:] == (16, 16)


def test_set_changes_recipe_fields(cli, here, pets):
    cli("distill", "--data", pets, "--recipe", "dm", *QUICK, "--set", "zca=true", "--set", "norm=batch", "--seed", 5)
    provenance = SyntheticSet.load("distilled.safetensors").provenance
    changed = {"width": 4, "real_batch": 2, "iterations": 3, "zca": True, "norm": "batch"}
    assert provenance["recipe"] == RECIPES["dm"].for_images((3, 8, 8), 1).describe() | changed
    assert provenance["seed"] == 5


def test_the_demo_is_a_command(cli, here, monkeypatch):
    monkeypatch.setattr("datadam_lite.demo.demo", lambda folder: f"the table for {folder}")
    done = cli("demo", "--out", "mine")
    assert done.status == 0
    assert "the table for mine" in done.out
    assert "mine/distilled.png" in done.out


def test_the_demo_overwrites_only_when_asked(cli, here, refused, monkeypatch):
    monkeypatch.setattr("datadam_lite.demo.demo", lambda folder: "the table")
    (here / "demo").mkdir()
    (here / "demo/table.txt").write_text("mine")
    assert "demo/table.txt exists; choose another --out, or give --overwrite" in refused("demo")
    assert cli("demo", "--overwrite").status == 0


# ---- recipes and data


def test_recipes_shows_where_they_differ(cli):
    head, *rows = cli("recipes").out.split("\n\n")[0].splitlines()
    assert head.split() == ["name", *RECIPES]
    for row in rows:
        field, *values = row.split()
        assert len(values) == len(RECIPES)
        assert len(set(values)) > 1, field
    table = {row.split()[0]: dict(zip(RECIPES, row.split()[1:], strict=True)) for row in rows}
    assert table["attention"]["atom"] == "spatial+channel"
    assert (table["norm"]["datadam_code"], table["norm"]["datadam"]) == ("batch", "instance")
    assert (table["lam"]["dm"], table["lam"]["datadam"]) == ("1.0", "-")
    assert "kernel" not in table  # the same in all of them


def test_one_recipe_comes_with_its_sources(cli, refused):
    done = cli("recipes", "atom")
    assert (done.status, done.out) == (0, describe("atom") + "\n")
    assert "unknown recipe 'atoms'; the known ones are dm" in refused("recipes", "atoms")


def test_data_lists_the_data_sets(cli):
    done = cli("data")
    assert done.status == 0
    assert [name for name in DATASETS if name not in done.out] == []


def test_data_describes_one_data_set_without_loading_it(cli, monkeypatch):
    monkeypatch.setattr("datadam_lite.cli.load", None)
    done = cli("data", "cifar10")
    assert "10 classes of 3x32x32 pixels, 50,000 to train on and 10,000 to test on" in done.out
    assert "cifar-10-python.tar.gz" in done.out


def test_data_looks_at_a_folder(cli, pets):
    done = cli("data", pets)
    assert done.out == (
        "train  ImageSet pets: 6 images of 3x8x8 pixels in 2 classes\n"
        "test   ImageSet pets: 6 images of 3x8x8 pixels in 2 classes\n"
    )


@pytest.mark.parametrize("what", ["digits", "pets"])
def test_data_is_verified(cli, pets, what):
    name = pets if what == "pets" else what
    done = cli("data", name, "--verify")
    assert (done.status, done.out) == (0, verify(name) + "\n")


def test_data_refuses(cli, here, refused):
    assert "which data set should be verified?" in refused("data", "--verify")
    assert "unknown data set (and no such folder) 'digit'" in refused("data", "digit")
    assert "is not a complete zip file" in refused("data", "text", "--verify")


# ---- existing files, and going on


@pytest.mark.parametrize("name", ["set.safetensors", "set.safetensors.json"])
def test_an_existing_file_is_replaced_only_when_asked(cli, here, pets, refused, name):
    (here / "set.safetensors").unlink()
    (here / name).write_text("mine")
    before = contents(here)
    said = refused("distill", "--data", pets, "--out", "set.safetensors", *QUICK)
    assert said == f"datadam: {name} exists; choose another --out, or give --overwrite to replace it.\n"
    assert contents(here) == before
    assert cli("distill", "--data", pets, "--out", "set.safetensors", *QUICK, "--overwrite").status == 0
    assert contents(here).keys() == before.keys() | {"set.safetensors", "set.safetensors.json"}
    assert (here / name).read_bytes() != b"mine"


@pytest.fixture
def interrupted(cli, here, pets, monkeypatch):
    """The arguments of a distillation that somebody stopped with Ctrl-C in its second iteration."""
    draw = Distiller.draw

    def until_the_second(self, iteration):
        if iteration == 2:
            raise KeyboardInterrupt
        return draw(self, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(Distiller, "draw", until_the_second)
        stopped = cli("distill", "--data", pets, *QUICK)
    assert stopped.status == 130
    assert stopped.err == "stopped; the same command goes on from distilled.safetensors.checkpoint\n"
    return ["distill", "--data", pets, *QUICK]


def test_an_interrupted_command_goes_on(cli, here, interrupted):
    assert set(contents(here)) == SET | {"distilled.safetensors.checkpoint"}
    done = cli(*interrupted)
    assert done.status == 0
    assert done.out.startswith("going on from distilled.safetensors.checkpoint\n")
    assert set(contents(here)) == SET | {"distilled.safetensors", "distilled.safetensors.json"}
    cli(*interrupted, "--out", "whole")
    assert (here / "distilled.safetensors").read_bytes() == (here / "whole").read_bytes()


def test_kill_9_and_the_same_command_give_the_same_file(cli, pets, tmp_path):
    """Byte for byte the file of an uninterrupted run, made in another process; on the CPU."""
    data, out = zipped(pets, tmp_path / "pets.zip"), tmp_path / "killed/set.safetensors"
    changes = ["width=4", "real_batch=2", "zca=false", "image_lr=0.1", "iterations=100"]
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
    "no checkpoints": (["--checkpoint-every", 0], "checkpoint_every must be positive; received 0"),
    "too fast": (["--set", "image_lr=1e38", "--set", "loss_scale=1e6"], "Try a smaller image_lr or loss_scale"),
    "out is a folder": (["--out", "."], "exists; choose another --out"),
    "out is in a file": (["--out", "set.safetensors/x"], "set.safetensors/x can't be written"),
}


@pytest.mark.parametrize("case", BAD)
def test_distill_refuses(refused, unchecked, here, pets, case):
    options, message = BAD[case]
    data = [] if "--data" in options else ["--data", pets]
    before = contents(here)
    assert message in refused("distill", *data, *QUICK, *options)
    assert contents(here) == before


def test_distill_refuses_the_checkpoint_of_another_run(refused, here, interrupted):
    before = contents(here)
    for options, message in {
        ("--seed", 1): "seed is 0 there and 1 here",
        ("--ipc", 2): "ipc is 1 there and 2 here",
        ("--set", "lam=0.5"): "recipe.lam is 0.01 there and 0.5 here",
        ("--precision", "bfloat16"): "numerics.precision is float32 there and bfloat16 here",
        ("--data", "digits"): "data.name is pets there and digits here",
    }.items():
        assert message in refused(*interrupted, *options)
        assert contents(here) == before


def test_distill_refuses_a_damaged_checkpoint(refused, here, pets):
    (here / "distilled.safetensors.checkpoint").write_bytes(b"PK half of it")
    before = contents(here)
    assert "is not a readable checkpoint" in refused("distill", "--data", pets, *QUICK)
    assert contents(here) == before


BAD_CONFIG = {
    "missing": ("missing.json", "could not read missing.json"),
    "no JSON": ("text", "text: a configuration must be JSON"),
    "a set": ("set.safetensors", "set.safetensors is no text; expected a configuration"),
    "unknown key": ("key.json", "key.json: unknown key of a configuration 'sead'"),
    "wrong type": ("type.json", "type.json: ipc must be a whole number; received 'two'"),
}


@pytest.mark.parametrize("case", BAD_CONFIG)
def test_distill_refuses_a_configuration(refused, unchecked, here, case):
    file, message = BAD_CONFIG[case]
    (here / "key.json").write_text('{"data": "digits", "sead": 1}')
    (here / "type.json").write_text('{"data": "digits", "ipc": "two"}')
    before = contents(here)
    assert message in refused("distill", "--config", file)
    assert contents(here) == before


def test_distill_needs_a_data_set(refused, here):
    assert "which data set? Give --data, or --config" in refused("distill")


@pytest.mark.filterwarnings("default")
def test_a_damaged_checkpoint_is_told_in_one_line_and_the_one_before_used(cli, here, pets, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    options = ["distill", "--data", pets, *QUICK, "--checkpoint-every", 1]
    with monkeypatch.context() as patch:
        patch.setattr(Distiller, "synthetic", interrupt)
        assert cli(*options).status == 130
    (here / "distilled.safetensors.checkpoint").write_bytes(b"half of it")
    done = cli(*options)
    assert done.status == 0
    assert re.fullmatch(r"datadam: distilled.safetensors.checkpoint is not a readable .* at iteration 2.*\n", done.err)
    assert not list(here.glob("*.checkpoint*"))
    assert cli("distill", "--data", pets, *QUICK, "--out", "whole").status == 0
    assert (here / "distilled.safetensors").read_bytes() == (here / "whole").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["distill", "--out", "set.safetensors", "--overwrite", *QUICK],
        ["distill", "--out", "set.safetensors", "--overwrite", "--checkpoint-every", 1, *QUICK],
        ["evaluate", "set.safetensors", "--epochs", 1, "--networks", 1, "--json", "old.json", "--overwrite"],
        ["show", "set.safetensors", "--out", "old.png", "--overwrite"],
        ["coreset", "random", "--out", "set.safetensors", "--overwrite"],
        ["convert", "set.safetensors", "--out", "old.png", "--to", "data", "--overwrite"],
    ],
    ids=["the set", "a checkpoint", "accuracies", "a picture", "a coreset", "a converted file"],
)
def test_a_full_disk_leaves_what_was_there(refused, here, pets, options, full_disk):
    for name in ("old.json", "old.png"):
        (here / name).touch()
    before = contents(here)
    data = [] if options[0] == "show" else ["--data", pets]
    assert "No space left on device; nothing was changed there. Free some space" in refused(*options, *data)
    assert contents(here) == before


def test_python_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "datadam_lite", "distill", "--data", "missing.zip"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("datadam: there is no file or folder missing.zip")


def test_a_field_is_set_once(refused, pets):
    message = refused("distill", "--data", pets, "--set", "layers=1", "--set", "layers=2")
    assert "layers is --set twice; several values are a list" in message


def test_images_that_may_not_be_mirrored(cli, pets, tmp_path):
    options = ["--data", pets, "--set", "width=4", "--set", "iterations=1", "--set", "real_batch=2"]
    for flag, mirror in ((), True), (("--no-mirror",), False):
        out = tmp_path / f"{mirror}.safetensors"
        assert cli("distill", *options, *flag, "--out", out).status == 0
        assert SyntheticSet.load(out).mirror is mirror
