"""Where the synthetic images start: real images, noise, other people's or one's own distilled sets."""

import pytest
import torch
from samples import normal, toy

from datadam_lite import DataDamError, ImageSet, Settings, SyntheticSet, load, random
from datadam_lite.coresets import CORESETS
from datadam_lite.initial import check_init, reexpress, start
from datadam_lite.preprocess import Preprocess


@pytest.fixture
def train():
    return toy(6)


@pytest.fixture
def plain(train):
    return Preprocess.fit(train)


@pytest.fixture
def white(train):
    return Preprocess.fit(train, zca=True)


@pytest.fixture
def saved(train, plain, tmp_path):
    """(file, set): no pictures, but numbers far outside of the colours, two for each class."""
    made = SyntheticSet(
        5 * normal(6, *train.shape), torch.tensor([0, 0, 1, 1, 2, 2]), train.classes, plain, train.mirror
    )
    return made.save(tmp_path / "made.safetensors"), made


@pytest.mark.parametrize("init", [*CORESETS, "noise", "a.safetensors", "~/somewhere/a b.safetensors"])
def test_known_starts(init):
    check_init(init)


@pytest.mark.parametrize("init", ["", "Noise", "herd", "made.pt", "safetensors"])
def test_unknown_starts(init, train, plain):
    with pytest.raises(DataDamError, match=rf"no .safetensors file\) '{init}'; the known ones are noise, random, k_c"):
        check_init(init)
    with pytest.raises(DataDamError, match="unknown initialisation"):
        start(init, train, 1, 0, plain)


@pytest.mark.parametrize("init", CORESETS)
def test_real_images_are_preprocessed_rows_of_the_coreset(init, train, white):
    images, rows = start(init, train, 2, 1, white)
    assert torch.equal(rows, CORESETS[init](train, 2, 1))
    assert torch.equal(images, white.apply(train.images[rows]))


def test_noise_is_standard_normal_and_of_no_image(plain, white):
    train, _ = load("digits")
    images, rows = start("noise", train, 10, 0, Preprocess.fit(train))
    assert rows is None
    assert images.shape == (100, 1, 8, 8)
    assert abs(images.mean()) < 0.05
    assert abs(images.std() - 1) < 0.05
    assert not torch.equal(start("noise", train, 10, 1, Preprocess.fit(train))[0], images)


def test_noise_is_noise_in_the_space_networks_see(train, plain, white):
    assert torch.equal(start("noise", train, 2, 0, plain)[0], start("noise", train, 2, 0, white)[0])


@pytest.mark.parametrize("init", ["random", "noise"])
@pytest.mark.parametrize("ipc", [0, 7])
def test_too_few_or_too_many_are_refused(init, ipc, train, plain):
    with pytest.raises(DataDamError, match=f"at least 1 image per class; received 0|{ipc} images per class were asked"):
        start(init, train, ipc, 0, plain)


def test_coresets_compute_where_the_settings_say(train, plain):
    for init in set(CORESETS) - {"random"}:
        with pytest.raises(DataDamError, match="unknown device 'tpu'"):
            start(init, train, 1, 0, plain, Settings(device="tpu"))


# ---- from a file


def test_a_distilled_set_of_the_same_preprocessing_goes_on_to_the_bit(saved, train):
    path, made = saved
    images, rows = start(str(path), train, 2, 0, Preprocess.fit(train))
    assert rows is None
    assert torch.equal(images, made.images)


def test_another_preprocessing_is_undone_first(saved, train, plain, white):
    path, made = saved
    images, _ = start(str(path), train, 2, 0, white)
    torch.testing.assert_close(white.invert(images), plain.invert(made.images), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(images, made.images, atol=0.1)


@pytest.mark.parametrize("zca", [False, True])
def test_reexpressed_real_images_are_preprocessed_real_images(train, zca):
    other = toy(6, seed=1)
    before, after = Preprocess.fit(other, zca=not zca), Preprocess.fit(train, zca=zca)
    x = reexpress(before.apply(train.images), before, after)
    torch.testing.assert_close(x, after.apply(train.images), rtol=1e-3, atol=1e-3)


def test_a_file_in_another_order_becomes_class_major(train, plain, tmp_path):
    rows = random(train, 2)[torch.tensor([4, 0, 2, 5, 1, 3])]
    path = SyntheticSet.from_real(train, rows, plain).save(tmp_path / "mixed.safetensors")
    images, _ = start(str(path), train, 2, 0, plain)
    in_order = torch.tensor([rows[i] for i in (1, 4, 2, 5, 0, 3)])
    assert torch.equal(images, plain.apply(train.images[in_order]))


def test_a_file_at_home(saved, train, plain, monkeypatch):
    path, made = saved
    monkeypatch.setenv("HOME", str(path.parent))
    assert torch.equal(start("~/made.safetensors", train, 2, 0, plain)[0], made.images)


@pytest.mark.parametrize(
    ("other", "ipc"),
    [
        (toy(6), 1),
        (toy(6), 3),
        (toy(6, classes=4), 2),
        (toy(6, shape=(1, 8, 8)), 2),
        (toy(6, shape=(3, 8, 6)), 2),
        (ImageSet(toy(6).images, toy(6).labels, ("cat", "dog", "frog")), 2),
    ],
)
def test_a_file_that_does_not_fit(saved, other, ipc):
    path, _ = saved
    with pytest.raises(DataDamError, match=f"can't be the start: expected {ipc} images .* it holds 6 of size"):
        start(str(path), other, ipc, 0, Preprocess.fit(other))


def test_a_file_with_uneven_classes(train, plain, tmp_path):
    rows = torch.cat([train.rows_of_class[0][:3], train.rows_of_class[1][:2], train.rows_of_class[2][:1]])
    path = SyntheticSet.from_real(train, rows, plain).save(tmp_path / "uneven.safetensors")
    with pytest.raises(DataDamError, match="differ from class to class"):
        start(str(path), train, 2, 0, plain)


def test_no_file_and_no_such_file(train, plain, tmp_path):
    with pytest.raises(DataDamError, match=r"there is no file .*lost\.safetensors"):
        start(str(tmp_path / "lost.safetensors"), train, 2, 0, plain)
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(DataDamError, match="not a complete distilled set"):
        start(str(tmp_path / "text.safetensors"), train, 2, 0, plain)
