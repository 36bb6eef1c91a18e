"""The artefact: what is written is what is read, byte for byte, or it is refused."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from samples import contents, small, toy

from datadam_lite import DataDamError, Preprocess, SyntheticSet, distill, random


@pytest.fixture(scope="module")
def chosen():
    """A distilled set, with everything in it."""
    return distill(toy(), 2, small())


@pytest.fixture
def file(chosen, tmp_path):
    """The same, saved alone in a folder."""
    return chosen.save(tmp_path / "own/set.safetensors")


def real(train=None, **options):
    train = train or toy()
    return SyntheticSet.from_real(train, random(train, 2), Preprocess.fit(train, **options))


def assert_equal(one, other):
    """Two sets hold the same."""
    for name in ("images", "labels", "initial_rows", "losses"):
        a, b = getattr(one, name), getattr(other, name)
        assert a is b is None or torch.equal(a, b), name
    for name in ("classes", "mirror", "ipc", "provenance"):
        assert getattr(one, name) == getattr(other, name)
    tensors, others = one.preprocess.tensors(), other.preprocess.tensors()
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


def test_what_is_saved_comes_back(chosen, file):
    assert_equal(SyntheticSet.load(file), chosen)


@pytest.mark.parametrize("zca", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_real_images_come_back_too(tmp_path, zca, mirror):
    chosen = real(toy(mirror=mirror), zca=zca)
    assert_equal(SyntheticSet.load(chosen.save(tmp_path / "real")), chosen)


def test_equal_sets_are_equal_files_whatever_wrote_them(chosen, file, tmp_path):
    again = SyntheticSet.load(file).save(tmp_path / "again")
    anew = distill(toy(), 2, small()).save(tmp_path / "anew")
    assert file.read_bytes() == again.read_bytes() == anew.read_bytes()


def test_the_order_of_the_provenance_does_not_matter(chosen, file, tmp_path):
    backwards = dict(reversed(chosen.provenance.items()))
    assert list(backwards) != list(chosen.provenance)
    assert replace(chosen, provenance=backwards).save(tmp_path / "backwards").read_bytes() == file.read_bytes()


def test_the_file_says_how_it_was_made_and_needs_no_clock(file):
    with safe_open(file, framework="pt") as stored:
        assert list(stored.metadata()) == ["datadam_lite"]
        about = json.loads(stored.metadata()["datadam_lite"])
    provenance = about["provenance"]
    assert set(provenance) == {
        "init_sha256",
        "method", "recipe", "ipc", "seed", "iterations", "data", "data_sha256", "moved", "terms", "numerics",
        "code_sha256",
    }  # fmt: skip
    assert provenance["data_sha256"] == toy().sha256
    assert set(provenance["numerics"]["versions"]) >= {"torch", "kornia", "datadam_lite"}


def test_moved_is_the_distance_from_the_initial_images(chosen):
    moved = (chosen.images - chosen.initial(toy()).images).square().mean().sqrt().item()
    assert chosen.provenance["moved"] == pytest.approx(moved)
    assert chosen.provenance["moved"] > 0


def test_pixels_are_the_real_ones_for_real_images():
    train = toy()
    chosen = real(train, zca=True)
    expected = train.images[chosen.initial_rows] / 255
    torch.testing.assert_close(chosen.pixels(), expected, rtol=0, atol=1e-5)


def test_pixels_are_colours(chosen):
    bright = SyntheticSet(10 * chosen.images, chosen.labels, chosen.classes, chosen.preprocess)
    assert bright.pixels().min() == 0
    assert bright.pixels().max() == 1


def test_ipc_is_images_per_class(chosen):
    assert (len(chosen), chosen.ipc) == (6, 2)


def test_the_initial_images_are_the_real_start(chosen, file):
    train = toy()
    start = SyntheticSet.load(file).initial(train)
    rows = random(train, 2, chosen.provenance["seed"])
    assert torch.equal(start.images, chosen.preprocess.apply(train.images[rows]))
    assert torch.equal(start.labels, chosen.labels)
    assert start.mirror == chosen.mirror


@pytest.mark.parametrize("other", [toy(seed=1), toy(9)], ids=["other images", "more images"])
def test_initial_images_of_another_data_set_are_refused(chosen, other):
    with pytest.raises(DataDamError, match=r"rows of the training set with .*; received toy .*Load the data set"):
        chosen.initial(other)


# ---- files that are no such files


def test_a_missing_file(tmp_path):
    with pytest.raises(DataDamError, match=r"there is no file .*missing; expected a distilled set"):
        SyntheticSet.load(tmp_path / "missing")
    with pytest.raises(DataDamError, match=r"there is no file"):
        SyntheticSet.load(tmp_path)


NO_SET = r"is not a complete distilled set \(.*\); expected a safetensors file written by 'datadam distill'"


@pytest.mark.parametrize("end", [0, 4, 100, -1, -1000])
def test_a_truncated_file(file, end):
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(DataDamError, match=NO_SET):
        SyntheticSet.load(file)


def about(**changes):
    """Metadata such as `save` writes, with changes; a value None takes the entry out."""
    given = {"format": 1, "classes": ["a"], "mirror": True, "provenance": {}, "sha256": ""} | changes
    return {"datadam_lite": json.dumps({k: v for k, v in given.items() if v is not None})}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"other": "1"},
        {"datadam_lite": "{"},
        {"datadam_lite": "[]"},
        {"datadam_lite": "3"},
        about(format=None),
        about(sha256=None),
        about(classes=None),
    ],
    ids=str,
)
def test_a_foreign_file(file, metadata):
    save_file(load_file(file), file, metadata)
    with pytest.raises(DataDamError, match=NO_SET):
        SyntheticSet.load(file)


def test_a_file_without_preprocessing(file):
    """Somebody took it out: an image without it is of no use."""
    tensors = {name: t for name, t in load_file(file).items() if not name.startswith("preprocess")}
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    save_file(tensors, file, metadata)
    with pytest.raises(DataDamError, match="is damaged"):
        SyntheticSet.load(file)


def test_something_else_altogether(tmp_path):
    (tmp_path / "text").write_text("something else")
    with pytest.raises(DataDamError, match=NO_SET):
        SyntheticSet.load(tmp_path / "text")


def test_a_file_of_a_later_format(file):
    save_file(load_file(file), file, about(format=2))
    with pytest.raises(DataDamError, match=r"has format 2; this version reads format 1"):
        SyntheticSet.load(file)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_flipped_bytes_are_noticed(chosen, tmp_path_factory, data):
    """Anywhere in the file: what is read is refused, or means what was written."""
    file = chosen.save(tmp_path_factory.getbasetemp() / "flipped.safetensors")
    whole = file.read_bytes()
    content = bytearray(whole)
    last = data.draw(st.sampled_from([len(whole), 8 + int.from_bytes(whole[:8], "little")])) - 1  # often: the header
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, last))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with suppress(DataDamError):
        assert SyntheticSet.load(file).save(file).read_bytes() == whole


@pytest.mark.parametrize("tensor", ["images", "labels", "preprocess.mean"])
def test_a_damaged_number_is_noticed(chosen, file, tensor):
    tensors = load_file(file)
    tensors[tensor].flatten()[0] += 1
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    save_file(tensors, file, metadata)
    with pytest.raises(DataDamError, match=r"is damaged: its checksum is not that of its content"):
        SyntheticSet.load(file)


def test_a_full_disk_leaves_the_old_file(chosen, file, full_disk):
    before = contents(file.parent)
    with pytest.raises(DataDamError, match=r"could not write .*No space left on device.*Free some space"):
        real().save(file)
    assert contents(file.parent) == before
