"""Recorded results: complete, consistent with themselves, and made by one function."""

import json
import statistics

import pytest
import torch
from samples import contents

from datadam_lite import DataDamError, Settings, load, recipe, results
from datadam_lite.distill import Distiller
from datadam_lite.protocol import Protocol
from datadam_lite.provenance import code_of_files
from datadam_lite.results import names, pictures, published, read, record, row, run, source, table
from datadam_lite.results.run import Run

SHORT = (Protocol("short", epochs=1, width=4), Protocol("other", epochs=2, width=4))
FIELDS = {"dataset", "method", "recipe", "ipc", "protocol", "scale", "n_sets", "n_networks", "mean", "std"}


def check(name):
    """A record has every field, and its means are those of its accuracies."""
    stored = read(name)
    assert {"date", "seeds", "versions", "hardware", "code_sha256", "data_sha256", "seconds"} <= set(stored)
    assert stored["rows"]
    for evaluated in stored["rows"]:
        assert set(evaluated) >= FIELDS
        models = [a for accuracies in evaluated["accuracies"] for a in accuracies]
        assert len(models) == evaluated["n_sets"] * evaluated["n_networks"]
        assert evaluated["n_sets"] == len(stored["seeds"])
        assert evaluated["mean"] == pytest.approx(statistics.fmean(models), abs=1e-3)
        assert evaluated["std"] == pytest.approx(statistics.stdev(models) if len(models) > 1 else 0, abs=1e-3)


def test_every_record_is_complete():
    for name in names() + names("cpu") + names("paper"):
        check(name)


def test_every_record_has_the_pictures_it_should_have():
    for name in names() + names("quick") + names("cpu") + names("paper"):
        if (results.FOLDER / f"{name}.safetensors").exists():
            shown = pictures(name)
            assert shown
            assert all(images.dtype == torch.uint8 and images.ndim == 4 for images in shown.values())


def test_a_record_of_an_experiment_has_its_scale_in_its_name():
    name = "quick/digits-ipc1-datadam"
    assert name in names("quick")
    assert name not in names()
    assert read(name)["scale"] == "quick"
    assert f"{row(name)['mean']:.1f}" in table({"DataDAM": (name,)})
    assert source(name).startswith(f"{name}:")
    assert pictures(name)


def test_an_unknown_record():
    with pytest.raises(DataDamError, match=r"no recorded result 'none'; the recorded ones are"):
        read("none")
    with pytest.raises(DataDamError, match=r"no recorded result 'none'"):
        pictures("none")
    with pytest.raises(DataDamError, match=r"no recorded result 'quick/none'; .* quick/digits-ipc1-atom"):
        read("quick/none")
    with pytest.raises(DataDamError, match=r"no recorded result 'published'"):
        read("published")


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Write a copy of a record that was made with this code; changes to its fingerprints can be given."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    stored = json.loads((record.FOLDER / "cpu/cifar10-ipc1-dm.json").read_text())

    def write(**changes):
        stored["code_of_files"] = code_of_files() | changes
        (tmp_path / "one.json").write_text(json.dumps(stored))

    return write


def test_a_record_of_this_code_is_not_stale(made):
    made()
    assert results.stale("one") == []
    assert "OLDER CODE" not in source("one")


def test_a_record_of_other_code_says_so_where_it_is_shown(made):
    made(attention="another", removed="a file that is no more")
    assert results.stale("one") == ["attention", "removed"]
    assert f"! OLDER CODE: of the method, 2 of {len(code_of_files())} files" in source("one")


def test_a_record_without_fingerprints_is_not_known_to_be_of_this_code(made, tmp_path):
    made()
    stored = json.loads((tmp_path / "one.json").read_text())
    del stored["code_of_files"]
    (tmp_path / "one.json").write_text(json.dumps(stored))
    assert results.stale("one") == sorted(code_of_files())


def test_what_papers_print_has_a_source():
    entries = json.loads((results.FOLDER / "published.json").read_text())
    assert entries
    for entry in entries:
        text = published(entry["method"], entry["ipc"], entry["dataset"])
        assert text.startswith(f"{entry['mean']:.1f}")
        assert entry["source"] in text
        assert entry["source"]


@pytest.mark.parametrize("asked", [("nothing", 1), ("datadam", 12345), ("datadam", 1, "MNIST")])
def test_what_no_paper_prints_is_not_available(asked):
    assert published(*asked) == "not available"


# ---- performing a run


@pytest.fixture
def recording(tmp_path, monkeypatch):
    """Short runs on the digits, recorded in a folder of their own."""
    changes = {"width": 4, "real_batch": 4, "iterations": 25}
    settings = Settings(checkpoint_every=10)
    few = {"sets": 2, "networks": 1, "protocols": SHORT[:1]}
    runs = {"random": Run("random", **few), "datadam": Run("datadam", **few, settings=settings, changes=changes)}
    monkeypatch.setattr(record, "RUNS", runs)
    monkeypatch.setattr(run, "STAGES", (10, 20))
    for module in (record, results):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return tmp_path


def perform(name, folder):
    record.main([name], "digits", folder / "work")
    return read(name)


@pytest.mark.parametrize("name", ["random", "datadam"])
def test_a_performed_run_is_a_record(recording, name):
    given = perform(name, recording)
    assert names() == [name]
    check(name)
    assert name in source(name)
    assert given["code_sha256"][:8] in source(name)
    evaluated = row(name)
    assert evaluated["method"] == name
    assert f"{evaluated['mean']:.1f} ± {evaluated['std']:.1f} %" in table({"label": (name, None)})


def test_a_distillation_is_recorded_with_its_start_and_its_pictures(recording):
    given = perform("datadam", recording)
    assert [evaluated["method"] for evaluated in given["rows"]] == ["datadam", "datadam, initial"]
    assert len(given["moved"]) == 2
    assert set(pictures("datadam")) == {"iteration 10", "iteration 20", "iteration 25"}  # the last one always
    assert pictures("datadam")["iteration 10"].shape == (10, 1, 8, 8)


@pytest.mark.parametrize("seed", [0, 1])
def test_whitened_real_images_are_what_a_whitened_distillation_begins_with(tmp_path, seed):
    train, _ = load("digits")
    chosen = run.make(Run("random", sets=2, changes={"zca": True}), train, tmp_path).sets[seed]
    begun = Distiller(train, 1, recipe("datadam", zca=True, width=4), seed=seed).synthetic()
    assert chosen.preprocess.zca is not None
    assert torch.equal(chosen.images, begun.images)
    assert torch.equal(chosen.labels, begun.labels)


def test_real_images_are_not_published(recording):
    perform("random", recording)
    assert list(contents(recording / "results")) == ["random.json"]


def test_a_run_performed_in_pieces_is_the_same_record(recording, monkeypatch):
    whole = perform("datadam", recording)
    shown = pictures("datadam")
    pieces = recording / "pieces"

    def stop(self, path):
        original(self, path)
        raise KeyboardInterrupt

    original = Distiller.save_checkpoint
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(Distiller, "save_checkpoint", stop)
            with pytest.raises(KeyboardInterrupt):
                record.main(["datadam"], "digits", pieces)
    record.main(["datadam"], "digits", pieces)
    again = read("datadam")
    for key in ("rows", "moved", "losses"):
        assert again[key] == whole[key]
    kept = torch.load(next(pieces.glob("digits-datadam-*-0.stages")), weights_only=True)["seconds"]
    assert again["seconds"]["to make"] > kept > 0  # of all pieces
    for stage, images in pictures("datadam").items():
        assert torch.equal(images, shown[stage])


def test_a_run_of_other_code_starts_anew(recording, monkeypatch):
    first = perform("datadam", recording)
    monkeypatch.setattr(run, "code_sha256", lambda: "0" * 64)
    monkeypatch.setitem(record.RUNS["datadam"].changes, "iterations", 20)  # would be refused by the old checkpoint
    assert len(perform("datadam", recording)["losses"]) < len(first["losses"])


def test_a_run_is_evaluated_under_all_its_protocols(recording, monkeypatch):
    monkeypatch.setitem(record.RUNS, "both", Run("random", networks=1, protocols=SHORT))
    given = perform("both", recording)
    assert [protocol["epochs"] for protocol in given["protocols"]] == [1, 2]
    assert [evaluated["protocol"] for evaluated in given["rows"]] == ["short", "other"]
    assert row("both") == given["rows"][0] == row("both", "random", "short")
    assert row("both", protocol="other") == given["rows"][1]
    assert "protocol short and other" in source("both")
    with pytest.raises(DataDamError, match=r"unknown protocol of both 'none'; the known ones are short, other"):
        row("both", protocol="none")


def test_an_unknown_experiment(recording):
    with pytest.raises(DataDamError, match="unknown experiment 'none'; the known ones are random, datadam"):
        perform("none", recording)


def test_a_method_that_a_record_lacks_is_refused_with_the_ones_it_has():
    name = names()[0]
    with pytest.raises(DataDamError, match=r"unknown method of .*the known ones are"):
        row(name, "magic")


def test_what_a_published_step_took_is_known_for_three_sizes():
    assert [results.published_step(ipc)["megabytes"] for ipc in (1, 10, 50)] == [3452, 3561, 3724]
    with pytest.raises(DataDamError, match="images per class of a published step '5'; the known ones are 1, 10, 50"):
        results.published_step(5)
