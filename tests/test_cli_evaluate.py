"""The commands that train networks on sets: n sets x m networks, honest baselines, other people's files."""

import json
from importlib import import_module

import pytest
import torch
from samples import contents, small

from datadam_lite import Preprocess, Report, SyntheticSet, accuracy, distill, evaluate, load, random
from datadam_lite.foreign_space import SPACES
from datadam_lite.networks import build
from datadam_lite.protocol import PROTOCOLS, Protocol

module = import_module("datadam_lite.cli_evaluate")

QUICK = ["--networks", 1, "--epochs", 1]


@pytest.fixture
def two(here, pets):
    """Two sets of one method, from two seeds."""
    for seed in (0, 1):
        distill(load(pets)[0], 1, small(real_batch=2, zca=False), seed=seed).save(f"{seed}.safetensors")
    return ["0.safetensors", "1.safetensors"]


@pytest.fixture
def spy(monkeypatch):
    """Train nothing; collect the (sets, architectures, options) that would have been evaluated."""
    seen = []

    def pretend(sets, test, names, **options):
        seen.append((sets, names, options))
        return dict.fromkeys(names, Report([[50.0 + i] * options["networks"] for i in range(len(sets))]))

    monkeypatch.setattr(module, "cross_architecture", pretend)
    return seen


# ---- what is evaluated, and how


def test_accuracies_are_those_of_evaluate(cli, here, pets):
    options = ["--data", pets, "--networks", 2, "--epochs", 3, "--json", "a.json"]
    done = cli("evaluate", "set.safetensors", *options)
    assert (done.status, done.err) == (0, "")
    train, test = load(pets)
    protocol = Protocol("fixed, 3 epochs, width 4", epochs=3, width=4)
    chosen = SyntheticSet.load("set.safetensors")
    real = SyntheticSet.from_real(train, random(train, 1, seed=1), chosen.preprocess)
    expected = {"distilled": chosen, "its initial images": chosen.initial(train), "random real images": real}
    record = json.loads((here / "a.json").read_text())
    assert [row["method"] for row in record["rows"]] == list(expected)
    for row in record["rows"]:
        report = evaluate(expected[row["method"]], test, networks=2, protocol=protocol)
        assert row["accuracies"] == report.accuracies
        assert f"| {row['method']} | {report.mean:.1f} | {report.std:.1f} | one set | 1 x 2 |" in done.out
        assert {"dataset", "recipe", "ipc", "protocol", "scale", "n_sets", "n_networks", "mean", "std"} <= row.keys()
        assert (row["dataset"], row["ipc"], row["protocol"]) == ("pets", 1, protocol.name)
    assert record["protocol"]["epochs"] == 3
    assert record["test_sha256"] == test.sha256
    assert record["files"][0]["sha256 of"].keys() == {"set.safetensors"}


def test_several_files_are_several_sets(cli, two, pets, spy):
    done = cli("evaluate", *two, "--data", pets, "--networks", 3)
    assert [len(sets) for sets, _, _ in spy] == [2, 2, 2]
    for row in ("distilled", "its initial images", "random real images"):
        assert f"| {row} | 50.5 | 0.5 | ± 6.4 | 2 x 3 |" in done.out


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_protocol_is_the_one_of_that_name(cli, here, pets, spy, name):
    done = cli("evaluate", "set.safetensors", "--data", pets, "--protocol", name, "--width", PROTOCOLS[name].width)
    assert spy[0][2]["protocol"] == PROTOCOLS[name]
    assert spy[0][1] == ["convnet"]
    assert f"protocol: {name}\n" in done.out


def test_a_changed_protocol_has_another_name(cli, here, pets, spy):
    done = cli("evaluate", "set.safetensors", "--data", pets, "--protocol", "datadam_code", "--epochs", 7)
    protocol = spy[0][2]["protocol"]
    assert (protocol.epochs, protocol.width, protocol.batch, protocol.norm) == (7, 4, 64, "batch")  # the recipe's width
    assert protocol.name == "datadam_code, 7 epochs, width 4"
    assert protocol.drops() == [3]  # at the same share of the epochs
    assert f"protocol: {protocol.name}\n" in done.out
    cli("evaluate", "set.safetensors", "--data", pets, "--norm", "batch")
    protocol = spy[-1][2]["protocol"]
    assert (protocol.norm, protocol.name) == ("batch", "fixed, width 4, norm batch")


def test_small_images_are_evaluated_with_fewer_blocks(cli, here, refused, digits, spy):
    distill(digits[0], 1, small(iterations=1, zca=False)).save("digits.safetensors")
    for command in (["evaluate"], ["cross-architecture", "--architectures", "convnet"]):
        assert cli(*command, "digits.safetensors", "--data", "digits", "--depth", 2).status == 0
        assert (spy[-1][2]["protocol"].depth, spy[-1][2]["protocol"].name) == (2, "fixed, width 4, depth 2")
        assert "depth must be positive" in refused(*command, "digits.safetensors", "--data", "digits", "--depth", 0)


def test_settings_reach_the_evaluation(cli, here, pets, spy):
    cli("evaluate", "set.safetensors", "--data", pets, "--device", "cpu", "--precision", "bfloat16", "--compile")
    settings = spy[0][2]["settings"]
    assert (settings.device, settings.precision, settings.compile) == ("cpu", "bfloat16", True)


def test_ctrl_c_leaves_with_its_own_status_and_writes_nothing(cli, here, pets, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "cross_architecture", interrupt)
    done = cli("evaluate", "set.safetensors", "--data", pets, "--json", "a.json")
    assert (done.status, done.err) == (130, "")
    assert not (here / "a.json").exists()


# ---- baselines


def test_baselines_can_be_left_out(cli, here, pets, spy):
    assert cli("evaluate", "set.safetensors", "--data", pets, "--no-baselines").status == 0
    assert len(spy) == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_random_baseline_is_not_the_sets_own_start(cli, here, digits, spy, seed):
    distill(digits[0], 1, small(iterations=1, zca=False), seed=seed).save("digits.safetensors")
    assert cli("evaluate", "digits.safetensors", "--data", "digits").status == 0
    _, (start,), (at_random,) = [sets for sets, _, _ in spy]
    assert not torch.equal(start.images, at_random.images)


def test_random_baselines_of_several_sets_differ(cli, two, pets, spy):
    cli("evaluate", *two, "--data", pets)
    one, other = spy[2][0]
    assert not torch.equal(one.images, other.images)


def test_random_images_are_as_many_of_each_class_as_the_set_has(digits):
    train, _ = digits
    rows = torch.cat([train.rows_of_class[k][: 1 + k % 3] for k in range(10)])
    chosen = SyntheticSet.from_real(train, rows, Preprocess.fit(train))
    drawn = module.random_like(chosen, train, 0)
    assert drawn.labels.bincount().tolist() == [1 + k % 3 for k in range(10)]
    assert len({image.numpy().tobytes() for image in drawn.images}) == len(rows)


def test_a_coreset_is_no_distilled_set_and_its_own_start(cli, here, pets, spy):
    assert cli("coreset", "random", "--data", pets).status == 0
    done = cli("evaluate", "coreset.safetensors", "--data", pets)
    assert "| random (real images) | " in done.out
    assert "initial" not in done.out
    assert "distilled" not in done.out
    assert len(spy) == 2


# ---- other people's files


def test_a_foreign_file_is_evaluated_in_the_stated_space(cli, here, pets, spy):
    own = SyntheticSet.load("set.safetensors")
    torch.save({"data": [[own.images, own.labels]]}, "res_DM.pt")
    done = cli("evaluate", "res_DM.pt", "--data", pets, "--preprocessing", "exact")
    assert (done.status, done.err) == (0, "")
    for line in (
        "file           res_DM.pt",
        "what           of unknown origin from pets; a result dictionary, entry 1 of 1",
        "images         2 of [3, 8, 8], 1 of each of 2 classes, class by class",
        "known from     exact: stated by the reader",
    ):
        assert f"{line}\n" in done.out
    (theirs,), (real,) = [sets for sets, _, _ in spy]
    assert torch.equal(theirs.images, own.images)
    assert torch.equal(theirs.preprocess.mean, Preprocess.fit(load(pets)[0]).mean)
    assert torch.equal(real.preprocess.mean, theirs.preprocess.mean)
    assert "| as in the file | " in done.out


def test_a_foreign_set_of_letters_is_not_mirrored(cli, here, pets, spy):
    torch.save([torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])], "data.pt")
    for given, expected in {(): True, ("--no-mirror",): False}.items():
        options = ["--data", pets, "--preprocessing", "exact", *given]
        assert cli("evaluate", "data.pt", *options).status == 0
        assert [sets[0].mirror for sets, _, _ in spy[-2:]] == [expected] * 2
        assert cli("convert", "data.pt", "--out", "ours", "--overwrite", *options).status == 0
        assert SyntheticSet.load("ours").mirror == expected


def test_images_are_cut_and_carried_where_they_are_trained(cli, here, pets, spy):
    torch.save([torch.rand(2, 3, 8, 8).clamp(0.1, 0.9), torch.tensor([0, 1])], "data.pt")
    options = ["--preprocessing", "none", "--factor", 2, "--train-in", "exact", "--no-baselines"]
    assert cli("evaluate", "data.pt", "--data", pets, *options).status == 0
    ((theirs,),) = [sets for sets, _, _ in spy]
    assert len(theirs) == 8
    assert torch.equal(theirs.preprocess.mean, Preprocess.fit(load(pets)[0]).mean)


def test_a_frozen_network_is_tested_as_it_is(cli, here, pets):
    train, test = load(pets)
    network = build("convnet", train.shape, 2, width=4, norm="batch").eval()
    layers = [layer for i in range(3) for layer in (network.convs[i], network.norms[i], torch.nn.ReLU(), network.pool)]
    theirs = torch.nn.ModuleDict({"features": torch.nn.Sequential(*layers), "classifier": network.head})
    torch.save({"net_parameters": theirs.state_dict()}, "model_params.pt")
    options = ["--data", pets, "--frozen", "--preprocessing", "exact", "--json", "a.json"]
    done = cli("evaluate", "model_params.pt", *options)
    expected = accuracy(network, SPACES["exact"](train).apply(test.images), test.labels)
    assert (done.status, done.err) == (0, "")
    assert f"| model_params.pt | {expected:.1f} | 0.0 | one set | 1 x 1 |" in done.out
    assert json.loads((here / "a.json").read_text())["rows"][0]["mean"] == round(expected, 4)


def test_options_without_effect_are_refused(refused, here, pets):
    assert "leave --mirror out: a set of this package says itself" in refused(
        "evaluate", "set.safetensors", "--data", pets, "--no-mirror"
    )
    assert "leave --epochs out: a frozen network is tested as it is" in refused(
        "evaluate", "model_params.pt", "--data", pets, "--frozen", "--epochs", 5
    )


# ---- other architectures


def test_cross_architecture_evaluates_with_every_network(cli, here, digits, spy):
    distill(digits[0], 1, small(iterations=1, zca=False)).save("digits.safetensors")
    done = cli("cross-architecture", "digits.safetensors", "--data", "digits", "--architectures", "convnet, vit",
               "--json", "a.json")  # fmt: skip
    assert (done.status, done.err) == (0, "")
    rows = [f"{label}, {name}" for label in ("distilled", "its initial images", "random real images")
            for name in ("convnet", "vit")]  # fmt: skip
    assert [line.split(" | ")[0].lstrip("| ") for line in done.out.splitlines() if "1 x 5" in line] == rows
    written = json.loads((here / "a.json").read_text())["rows"]
    assert [f"{row['method']}, {row['network']}" for row in written] == rows
    assert [names for _, names, _ in spy] == [["convnet", "vit"]] * 3


def test_cross_architecture_really_trains_them(cli, here, digits):
    chosen = distill(digits[0], 1, small(iterations=1, zca=False))
    chosen.save("digits.safetensors")
    options = ["--networks", 2, "--epochs", 3, "--architectures", "convnet", "--no-baselines", "--json", "a.json"]
    assert cli("cross-architecture", "digits.safetensors", "--data", "digits", *options).status == 0
    expected = evaluate(chosen, digits[1], networks=2, protocol=Protocol(epochs=3, width=4))
    assert json.loads((here / "a.json").read_text())["rows"][0]["accuracies"] == expected.accuracies


def test_an_architecture_that_does_not_fit_is_refused_before_anything_is_trained(refused, here, pets, monkeypatch):
    monkeypatch.setattr(import_module("datadam_lite.evaluate"), "train_network", None)
    for names, message in {
        "convnet,alexnet": "alexnet needs images of at least 17x17 pixels; received 8x8",
        "convnet,lenet": "unknown network 'lenet'; the known ones are convnet, alexnet",
        " ,": "--architectures names no network",
    }.items():
        assert message in refused("cross-architecture", "set.safetensors", "--data", pets, "--architectures", names)


def test_cross_architecture_takes_sets_of_this_package(refused, here, pets):
    assert "text is not a complete distilled set" in refused("cross-architecture", "text", "--data", pets)


# ---- refusals


EVALUATE = {
    "missing": (["missing"], "there is no file or folder missing"),
    "foreign": (["text"], "text can't be read"),
    "truncated": (["half"], "half is not a complete distilled set"),
    "other data": (["set.safetensors", "--data", "digits"], "Load the data set it was distilled from"),
    "other classes": (["set.safetensors", "--data", "digits", "--no-baselines"], "classes or image size differ"),
    "no networks": (["set.safetensors", "--networks", 0], "at least one set and one network; received 1 and 0"),
    "no epochs": (["set.safetensors", "--epochs", 0], "epochs"),
    "no width": (["set.safetensors", "--width", 0], "width"),
    "negative width": (["set.safetensors", "--width", -3], "width"),
    "no such protocol": (["set.safetensors", "--protocol", "mine"], "unknown protocol 'mine'; the known ones"),
    "no such device": (["set.safetensors", "--device", "gpu"], "'gpu'"),
    "no such precision": (["set.safetensors", "--precision", "half"], "unknown precision 'half'"),
    "json exists": (["set.safetensors", "--json", "text"], "text exists; choose another --json"),
    "json is in a file": (["set.safetensors", "--json", "text/x"], "text/x can't be written"),
    "one file twice": (["set.safetensors", "set.safetensors"], "hold the same images"),
    "two methods": (["set.safetensors", "dm.safetensors"], "they are no two sets of one method"),
    "unstated": (["theirs.pt"], "the file does not say which preprocessing"),
    "stated for ours": (["set.safetensors", "--preprocessing", "none"], "holds its own preprocessing"),
    "stated wrongly": (["theirs.pt", "--preprocessing", "zac"], "unknown preprocessing 'zac'"),
    "no such space": (["set.safetensors", "--train-in", "zac"], "unknown space to train in 'zac'"),
    "soft": (["soft.pt", "--preprocessing", "exact"], "the labels are soft"),
    "unstated network": (["theirs.pt", "--frozen"], "state it as --preprocessing, one of none, field"),
    "no network": (["theirs.pt", "--frozen", "--preprocessing", "exact"], "holds other weights"),
}


@pytest.mark.parametrize("case", EVALUATE)
def test_evaluate_refuses(refused, here, pets, case):
    options, message = EVALUATE[case]
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.save([images, torch.tensor([0, 1])], "theirs.pt")
    torch.save([images, torch.rand(2, 2)], "soft.pt")
    if "dm.safetensors" in options:
        distill(load(pets)[0], 1, small("dm", real_batch=2), seed=1).save("dm.safetensors")
    before = contents(here)
    data = [] if "--data" in options else ["--data", pets]
    epochs = [] if {"--epochs", "--frozen"} & set(options) else ["--epochs", 1]
    assert message in refused("evaluate", *options, *data, *epochs)
    assert contents(here) == before


def test_accuracies_are_replaced_only_when_asked(cli, here, pets, spy):
    options = ["evaluate", "set.safetensors", "--data", pets, "--json", "text"]
    assert cli(*options).status == 2
    assert spy == []
    assert cli(*options, "--overwrite").status == 0
    assert json.loads((here / "text").read_text())["rows"]
