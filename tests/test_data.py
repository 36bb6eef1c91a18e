"""Data sets in memory, and where they come from."""


from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import image_folder, toy, zipped
from sklearn.datasets import load_digits

from datadam_lite import DataDamError, ImageSet, generator, load

# ---- image sets


def test_statistics_are_those_of_all_pixels():
    train = toy(5, shape=(3, 7, 4))
    x = train.images.double() / 255
    torch.testing.assert_close(train.statistics[0].double(), x.mean((0, 2, 3)), rtol=1e-7, atol=0)
    plain = x.var((0, 2, 3), unbiased=False).sqrt()
    torch.testing.assert_close(train.statistics[1].double(), plain, rtol=1e-7, atol=0)


def test_a_constant_channel_has_no_statistics():
    train = toy(4)
    train.images[:, 1] = 7
    with pytest.raises(DataDamError, match="a channel of toy is constant"):
        _ = train.statistics


def test_rows_of_class_are_a_partition():
    train = toy(5)
    assert sorted(torch.cat(train.rows_of_class).tolist()) == list(range(len(train)))
    for k, rows in enumerate(train.rows_of_class):
        assert set(train.labels[rows].tolist()) == {k}


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_a_sample_is_class_major_and_without_replacement(n, classes, seed):
    train = toy(6, classes=classes, shape=(1, 2, 2))
    rows = train.sample(n, generator(seed))
    assert train.labels[rows].tolist() == [k for k in range(classes) for _ in range(n)]
    assert len(set(rows.tolist())) == n * classes


def test_every_image_can_be_drawn():
    train = toy(4, classes=2, shape=(1, 2, 2))
    drawn = torch.cat([train.sample(1, generator(seed)) for seed in range(60)])
    assert set(drawn.tolist()) == set(range(8))


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (4, r"4 images per class were asked of toy, but class 'class 1' has 3; ask for at most 3\."),
        (0, r"expected at least 1 image per class; received 0\."),
        (-2, r"received -2\."),
    ],
)
def test_too_many_or_too_few_images_asked_for(n, message):
    labels = torch.tensor([0] * 5 + [1] * 3)
    train = ImageSet(torch.zeros(8, 1, 2, 2, dtype=torch.uint8), labels, ("class 0", "class 1"), "toy")
    for ask in (train.require, lambda n: train.sample(n, generator(0))):
        with pytest.raises(DataDamError, match=message):
            ask(n)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2).long(), r"must be uint8 .* received torch.float32"),
        (torch.zeros(2, 4, 4).byte(), torch.zeros(2).long(), r"shape \[N, C, H, W\]; .* shape \[2, 4, 4\]"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(3).long(), r"each of the 2 images; .* shape \[3\]"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2), r"one int64 label .* received torch.float32"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0, 2]), r"lie in 0 … 1 \(2 classes\); received 0 … 2"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([-1, 0]), r"received -1 … 0"),
    ],
)
def test_images_and_labels_that_do_not_fit(unchecked, images, labels, message):
    with pytest.raises(DataDamError, match=message):
        ImageSet(images, labels, ("a", "b"))


def test_the_fingerprint_tells_images_labels_and_classes_apart():
    one, labels = toy(2), toy(2).labels.roll(1)
    changed = one.images.clone()
    changed[0, 0, 0, 0] ^= 1
    others = [
        ImageSet(changed, one.labels, one.classes),
        ImageSet(one.images, labels, one.classes),
        ImageSet(one.images, one.labels, (*one.classes[:-1], "another")),
        ImageSet(one.images.reshape(6, 3, 4, 16), one.labels, one.classes),
    ]
    assert one.sha256 == toy(2).sha256
    assert len({one.sha256, *(other.sha256 for other in others)}) == 5


# ---- by name and by path


def test_digits_are_all_of_sklearns_split_once_and_for_all(digits):
    train, test = digits
    given = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    both = torch.cat([train.images, test.images]).squeeze(1).numpy()
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in given)
    assert [part.sha256 for part in load("digits")] == [train.sha256, test.sha256]
    assert not train.mirror


def test_digits_have_the_same_share_of_every_class_in_both_parts(digits):
    counts = torch.stack([part.labels.bincount(minlength=10) for part in digits]).double()
    expected = counts.sum(0) * torch.tensor([[1297], [500]]) / 1797
    assert (counts - expected).abs().max() <= 1


@pytest.mark.parametrize("name", ["digit", "imagenet"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(DataDamError, match=rf"unknown data set .*'{name}'; the known ones are digits, cifar10"):
        load(name)


@pytest.mark.parametrize("path", ["missing.zip", "some/where"])
def test_a_path_that_does_not_exist(path):
    with pytest.raises(DataDamError, match=rf"no file or folder {path}; expected an ImageFolder directory or zip"):
        load(path)


@pytest.mark.parametrize(
    ("file", "name"),
    [("cifar10.zip", "cifar10"), ("imagenette-64.zip", "imagenette-64"), ("a.b.zip", "a.b"), ("pets.v1", "pets.v1")],
)
def test_images_of_a_path_are_named_after_it(tmp_path, file, name):
    folder = image_folder(tmp_path / "folder")
    if file.endswith(".zip"):
        zipped(folder, tmp_path / file)
    else:
        folder.rename(tmp_path / file)
    assert [part.name for part in load(tmp_path / file)] == [name, name]


def test_the_folder_one_stands_in_has_a_name_too(tmp_path, monkeypatch):
    monkeypatch.chdir(image_folder(tmp_path / "pets"))
    assert load(".")[0].name == "pets"


def test_a_name_may_be_a_path_object():
    assert load(Path("digits"))[0].name == "digits"


@pytest.mark.parametrize("options", [{"size": 16}, {"resize": "crop"}])
def test_images_of_one_size_are_not_resized(options):
    with pytest.raises(DataDamError, match=r"images of digits are 8x8 pixels; received .*Leave size and resize out"):
        load("digits", **options)
