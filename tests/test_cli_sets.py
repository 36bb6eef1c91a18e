"""The commands that make, read and write sets: coreset, convert, show."""

import pytest
import torch
from samples import contents

from datadam_lite import CORESETS, Preprocess, SyntheticSet, load, select
from datadam_lite.foreign import LAYOUTS, describe, read

SMALL = {"random": {}, "forgetting": {"width": 4, "epochs": 2}}  # and what the others take:
EMBED = {"width": 4, "epochs": 0}


# ---- coreset


@pytest.mark.parametrize("name", CORESETS)
def test_a_coreset_is_real_images_chosen_by_select(cli, here, pets, name):
    options = SMALL.get(name, EMBED)
    flags = [part for key, value in options.items() if value for part in (f"--{key}", value)]
    done = cli("coreset", name, "--data", pets, "--ipc", 2, "--seed", 3, *flags)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"coreset.safetensors: 4 real images of pets, chosen by {name}\n"
    train, _ = load(pets)
    chosen = SyntheticSet.load("coreset.safetensors")
    rows = select(name, train, 2, 3, **options)
    assert torch.equal(chosen.initial_rows, rows)
    assert torch.equal(chosen.images, Preprocess.fit(train).apply(train.images[rows]))
    assert chosen.provenance == {
        "data": "pets", "data_sha256": train.sha256, "method": name, "ipc": 2, "seed": 3, "coreset": options
    }  # fmt: skip


@pytest.mark.parametrize("name", ["k_center", "herding", "k_means"])
def test_features_can_be_trained(cli, here, pets, name, monkeypatch):
    asked = []
    monkeypatch.setattr("datadam_lite.cli_sets.select", lambda *_, **options: asked.append(options) or torch.arange(2))
    assert cli("coreset", name, "--data", pets, "--features", "trained", "--out", "a").status == 0
    assert cli("coreset", name, "--data", pets, "--features", "trained", "--epochs", 3, "--out", "b").status == 0
    assert cli("coreset", name, "--data", pets, "--features", "random", "--device", "cpu", "--out", "c").status == 0
    assert [(options["epochs"], options["width"]) for options in asked] == [(20, 128), (3, 128), (0, 128)]
    assert asked[-1]["settings"].device == "cpu"


def test_a_coreset_can_be_kept_whitened(cli, here, pets):
    assert cli("coreset", "random", "--data", pets, "--zca").status == 0
    chosen, train = SyntheticSet.load("coreset.safetensors"), load(pets)[0]
    expected = Preprocess.fit(train, zca=True).apply(train.images[chosen.initial_rows])
    torch.testing.assert_close(chosen.images, expected)


CORESET = {
    "no such coreset": (["randon"], "unknown coreset 'randon'; the known ones are random, k_center"),
    "too many": (["random", "--ipc", 4], "4 images per class were asked of pets, but class 'cat' has 3"),
    "none": (["random", "--ipc", 0], "expected at least 1 image per class; received 0"),
    "features of random": (["random", "--features", "random"], "random takes no --features; leave it out"),
    "width of random": (["random", "--width", 4], "random takes no --width"),
    "features of forgetting": (["forgetting", "--features", "trained"], "forgetting takes no --features"),
    "no such features": (["herding", "--features", "good"], "unknown features 'good'; the known ones are random"),
    "epochs of random features": (["herding", "--epochs", 3], "random features are not trained"),
    "exists": (["random", "--out", "text"], "text exists; choose another --out, or give --overwrite"),
    "no such data": (["random", "--data", "missing.zip"], "there is no file or folder missing.zip"),
    "no epochs": (["forgetting", "--epochs", 0], "epochs must be positive"),
    "no training": (["herding", "--features", "trained", "--epochs", 0], "epochs must be positive"),
    "no width": (["herding", "--width", 0], "width must be positive"),
}


@pytest.mark.parametrize("case", CORESET)
def test_coreset_refuses(refused, here, pets, case):
    options, message = CORESET[case]
    before = contents(here)
    data = [] if "--data" in options else ["--data", pets]
    assert message in refused("coreset", *options, *data)
    assert contents(here) == before


# ---- convert


def test_other_peoples_files_become_ours(cli, here, pets):
    own = SyntheticSet.load("set.safetensors")
    torch.save([own.images, own.labels.float()], "theirs.pt")
    done = cli("convert", "theirs.pt", "--out", "ours.safetensors", "--data", pets, "--preprocessing", "exact")
    assert (done.status, done.err) == (0, "")
    ours, train = SyntheticSet.load("ours.safetensors"), load(pets)[0]
    assert torch.equal(ours.images, own.images)
    assert torch.equal(ours.labels, own.labels)
    assert torch.equal(ours.preprocess.std, Preprocess.fit(train).std)
    assert ours.provenance["preprocessing"] == "exact: stated by the reader"
    assert done.out.endswith("written to     ours.safetensors\n")
    assert "known from     exact: stated by the reader\n" in done.out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_and_back(cli, here, pets, layout):
    own, train = SyntheticSet.load("set.safetensors"), load(pets)[0]
    out = "images" if layout == "folder" else "images.pt"
    done = cli("convert", "set.safetensors", "--out", out, "--to", layout)  # no data set is needed
    assert (done.status, done.err) == (0, "")
    stated = {"safetensors": None, "folder": None}.get(layout, "exact")
    back = read(out, train, preprocessing=stated)
    assert torch.equal(back.labels, own.labels)
    torch.testing.assert_close(back.pixels(), own.pixels(), rtol=0, atol=0.51 / 255 if layout == "folder" else 1e-5)


def test_a_converted_pair_says_where_the_labels_are(cli, here):
    done = cli("convert", "set.safetensors", "--out", "images.pt", "--to", "pair")
    assert done.out.endswith("written to     images.pt and labels.pt\n")


def test_options_of_reading_reach_the_reader(cli, here, pets):
    images = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(0.1, 0.9)
    torch.save({"data": [[part, torch.tensor([[0.9, 0.1], [0.2, 0.8]])] for part in images]}, "theirs.pt")
    options = ["--preprocessing", "none", "--soft", "argmax", "--entry", 0, "--factor", 2, "--train-in", "exact"]
    assert cli("convert", "theirs.pt", "--out", "ours", "--data", pets, *options).status == 0
    ours = SyntheticSet.load("ours")
    assert len(ours) == 8
    torch.testing.assert_close(ours.pixels()[0, :, 0, 0], images[0, 0, :, 0, 0])
    assert torch.equal(ours.preprocess.mean, Preprocess.fit(load(pets)[0]).mean)
    assert "cut into 2 x 2" in ours.provenance["decoded"]

    torch.save(images[0], "bare.pt")
    torch.save(torch.tensor([1, 0]), "elsewhere.pt")
    for labels, expected in {"class order": [0, 1], "elsewhere.pt": [1, 0]}.items():
        done = cli("convert", "bare.pt", "--out", "bare", "--data", pets, "--labels", labels, "--overwrite",
                   "--preprocessing", "none")  # fmt: skip
        assert done.status == 0
        assert SyntheticSet.load("bare").labels.tolist() == expected


CONVERT = {
    "missing": (["missing"], "there is no file or folder missing"),
    "unstated": (["theirs.pt"], "the file does not say which preprocessing"),
    "damaged": (["text"], "text can't be read"),
    "truncated": (["half"], "half is not a complete distilled set"),
    "no such layout": (["set.safetensors", "--to", "zip"], "unknown layout 'zip'; the known ones are safetensors"),
    "exists": (["set.safetensors", "--out", "text"], "text exists; choose another --out"),
    "labels exist": (["set.safetensors", "--out", "images.pt", "--to", "pair"], "labels.pt exists; choose another"),
    "no name for labels": (["set.safetensors", "--out", "x.pt", "--to", "pair"], 'a file name that holds "images"'),
    "folder exists": (["set.safetensors", "--out", "full", "--to", "folder", "--overwrite"], "full exists"),
    "no tiles": (["set.safetensors", "--factor", 3], "can't be cut into 3 x 3 equal tiles"),
    "out is in a file": (["set.safetensors", "--out", "text/x"], "text/x can't be written"),
}


@pytest.mark.parametrize("case", CONVERT)
def test_convert_refuses(refused, here, pets, case):
    options, message = CONVERT[case]
    options = options if "--out" in options else [*options, "--out", "x"]
    torch.save([3 * torch.ones(2, 3, 8, 8), torch.tensor([0, 1])], "theirs.pt")
    (here / "labels.pt").write_text("mine")
    (here / "full").mkdir()
    (here / "full/file").write_text("mine")
    before = contents(here)
    assert message in refused("convert", *options, "--data", pets)
    assert contents(here) == before


def test_convert_says_when_it_needs_the_data_set(refused, here):
    torch.save([torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])], "theirs.pt")
    for options in (["theirs.pt"], ["set.safetensors", "--train-in", "exact"]):
        assert "give the data set it was distilled from, --data" in refused("convert", *options, "--out", "x")


# ---- show


def test_show_says_what_a_set_is_and_draws_it(cli, here):
    done = cli("show", "set.safetensors")
    assert (done.status, done.err) == (0, "")
    for text in (
        "made by datadam from pets, seed 0", "2 of [3, 8, 8], 1 of each of 2 classes", "no ZCA",
        "  real_batch         2\n", "iterations     3, the images moved ",
    ):  # fmt: skip
        assert text in done.out
    assert done.out.endswith("picture        set.png\n")
    assert (here / "set.png").read_bytes().startswith(b"\x89PNG")


def test_show_keeps_a_picture_that_is_there(cli, here, refused):
    (here / "set.png").write_text("mine")
    done = cli("show", "set.safetensors")
    assert done.status == 0
    assert done.out.endswith("set.png is there already (--overwrite draws it again)\n")
    assert "set.png exists; choose another --out" in refused("show", "set.safetensors", "--out", "set.png")
    assert (here / "set.png").read_text() == "mine"
    assert cli("show", "set.safetensors", "--overwrite").status == 0
    assert (here / "set.png").read_bytes().startswith(b"\x89PNG")


def test_show_draws_beside_a_name_without_an_ending_of_ours(cli, here):
    for name in ("runs_lr0.1", "runs_lr0.2"):
        (here / name).write_bytes((here / "set.safetensors").read_bytes())
        assert cli("show", name).out.endswith(f"picture        {name}.png\n")


def test_show_of_real_images(cli, here, pets):
    cli("coreset", "random", "--data", pets)
    done = cli("show", "coreset.safetensors")
    assert done.status == 0
    assert "made by random from pets, seed 0" in done.out


def test_show_describes_other_peoples_files(cli, here):
    torch.save([torch.rand(2, 3, 8, 8), torch.tensor([0, 1])], "theirs.pt")
    done = cli("show", "theirs.pt")
    assert (done.status, done.out) == (0, describe("theirs.pt") + "\n")
    assert not (here / "theirs.png").exists()


def test_the_card_counts_each_class_of_an_uneven_set(cli, here, pets):
    torch.save([torch.rand(3, 3, 8, 8).clamp(0.1, 0.9), torch.tensor([0, 1, 1])], "theirs.pt")
    done = cli("convert", "theirs.pt", "--out", "ours", "--data", pets, "--preprocessing", "none")
    assert "per class      cat 1, dog 2\n" in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing"], "there is no file or folder missing"),
        (["text"], "text can't be read"),
        (["half"], "half is not a complete distilled set"),
        (["set.safetensors", "--out", "picture.xyz"], "xyz"),
        (["set.safetensors", "--out", "set.safetensors"], "set.safetensors exists"),
        (["set.safetensors", "--out", "text/picture.png"], "text/picture.png can't be written"),
        (["theirs.pt", "--out", "picture.png"], "theirs.pt can't be drawn"),
    ],
)
def test_show_refuses(refused, here, options, message):
    torch.save([torch.rand(2, 3, 8, 8), torch.tensor([0, 1])], "theirs.pt")
    before = contents(here)
    assert message in refused("show", *options)
    assert contents(here) == before
