"""What people pass by mistake is refused, with a sentence that says what to do instead of it."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from samples import image_folder, normal, zipped

import datadam_lite as dd
from datadam_lite import DataDamError
from datadam_lite.attention import attend
from datadam_lite.cli_options import alone, refuse_existing
from datadam_lite.coresets import CORESETS, farthest_first, follow_mean
from datadam_lite.errors import positive
from datadam_lite.files import replacing

SMALL = {"width": 8, "real_batch": 8, "iterations": 2}


@pytest.fixture(scope="module")
def digits():
    return dd.load("digits")


@pytest.fixture(scope="module")
def chosen(digits):
    """One real image per class, as a set to train on."""
    return dd.SyntheticSet.from_real(digits[0], dd.random(digits[0], 1), dd.Preprocess.fit(digits[0]))


def refused(message):
    return pytest.raises(DataDamError, match=re.escape(message))


# ---- objects of another kind


OTHER_KINDS = {
    "both sets": (lambda d, c: dd.distill(d, 1), "train must be of type ImageSet, not tuple; dd.load returns two"),
    "a name of data": (lambda d, c: dd.distill("digits", 1), "train must be of type ImageSet, not str"),
    "a name of a recipe": (lambda d, c: dd.Distiller(d[0], 1, "datadam"), "recipe must be of type Recipe, not str; of"),
    "a path of a set": (lambda d, c: dd.evaluate(["a"], d[1]), "a set must be of type SyntheticSet, not str; read"),
    "both as test": (lambda d, c: dd.evaluate(c, d), "test must be of type ImageSet, not tuple; dd.load returns two"),
    "protocol": (lambda d, c: dd.evaluate(c, d[1], protocol="fixed"), "protocol must be of type Protocol, not str; of"),
    "settings": (lambda d, c: dd.evaluate(c, d[1], settings="cpu"), "settings must be of type Settings, not str; of"),
    "no sets": (lambda d, c: dd.evaluate(None, d[1]), "expected a SyntheticSet, or a list of them; received NoneType"),
    "images as sets": (lambda d, c: dd.evaluate(d, d[1]), "a set must be of type SyntheticSet, not ImageSet; read"),
    "nothing to test": (lambda d, c: dd.evaluate(c, None), "test must be of type ImageSet, not NoneType; dd.load"),
    "settings of a run": (
        lambda d, c: dd.distill(d[0], 1, settings="cpu"), "settings must be of type Settings, not str; of a device",
    ),
    "a function as method": (
        lambda d, c: dd.distill(d[0], 1, lambda maps: maps), "received a function. Pass it as the attention: distill(",
    ),
    "no architectures": (lambda d, c: dd.cross_architecture(c, d[1], None), 'a list of names, such as ["convnet"]'),
    "both to cross": (lambda d, c: dd.cross_architecture(c, d, ["convnet"]), "test must be of type ImageSet, not tup"),
    "no sets to cross": (
        lambda d, c: dd.cross_architecture(None, d[1], ["convnet"]), "expected a SyntheticSet, or a list of them",
    ),
    "protocol to cross": (
        lambda d, c: dd.cross_architecture(c, d[1], ["convnet"], protocol="fixed"), "protocol must be of type Protocol",
    ),
    "protocol of a network": (
        lambda d, c: dd.train_network(c, dd.generator(0), protocol="fixed"), "protocol must be of type Protocol, not",
    ),
    "seed of a network": (lambda d, c: dd.train_network(c, 0), "generator must be of type Generator, not int; of a"),
    "images of a network": (
        lambda d, c: dd.train_network(d[0], dd.generator(0)), "a set must be of type SyntheticSet, not ImageSet",
    ),
    "both to choose from": (lambda d, c: dd.select("random", d, 1), "train must be of type ImageSet, not tuple; dd.lo"),
    **{
        f"both to {choose.__name__}": (lambda d, c, choose=choose: choose(d, 1), "train must be of type ImageSet, not")
        for choose in CORESETS.values()
    },
    "both to fit": (lambda d, c: dd.Preprocess.fit(d), "train must be of type ImageSet, not tuple; dd.load returns"),
    "both to copy": (
        lambda d, c: dd.SyntheticSet.from_real(d, torch.arange(2), c.preprocess), "train must be of type ImageSet, not",
    ),
    "space": (
        lambda d, c: dd.SyntheticSet.from_real(d[0], torch.arange(2), "exact"), "preprocess must be of type Preprocess",
    ),
    "both as origin": (lambda d, c: c.initial(d), "train must be of type ImageSet, not tuple; dd.load returns two"),
    "one row": (lambda d, c: dd.Report([60.0, 62.0]), "such as [[60.0, 62.0]] for one set; received [60.0, 62.0]."),
    "no rows": (lambda d, c: dd.Report([]), "such as [[60.0, 62.0]] for one set; received []."),
    "no list": (lambda d, c: dd.Report(60.0), "such as [[60.0, 62.0]] for one set; received 60.0."),
    "empty rows": (lambda d, c: dd.Report([[60.0], []]), "for one set; received [[60.0], []]."),
    "networks": (lambda d, c: dd.evaluate(c, d[1], networks=1.5), "networks must be a whole number; received 1.5"),
    "one architecture": (
        lambda d, c: dd.cross_architecture(c, d[1], "convnet"), "a list of names, such as ['convnet']",
    ),
    "images per class": (lambda d, c: dd.herding(d[0], 2.5), "images per class must be a whole number; received 2.5"),
    "mirror": (lambda d, c: dd.load("digits", mirror=0), "mirror must be true or false; received 0"),
    "size": (lambda d, c: dd.load("digits", size="8"), "size must be a whole number; received '8'"),
    "power": (lambda d, c: positive(p="4"), "p must be positive; received '4'"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER_KINDS)
def test_an_object_of_another_kind(unchecked, digits, chosen, case):
    call, message = OTHER_KINDS[case]
    with refused(message):
        call(digits, chosen)


def test_arrays_and_lists_are_not_tensors(unchecked):
    images, labels = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1])
    with refused("images must be of type Tensor, not ndarray; of a NumPy array: torch.from_numpy(array)"):
        dd.ImageSet(images.numpy(), labels, ("a", "b"))
    with refused("labels must be of type Tensor, not list"):
        dd.ImageSet(images, [0, 1], ("a", "b"))
    with refused("classes must be of type tuple, not list; of a list: tuple(classes)"):
        dd.ImageSet(images, labels, ["a", "b"])


def test_a_set_holds_preprocessed_images_with_a_label_each(unchecked, chosen):
    for dtype in (torch.uint8, torch.float64):
        with refused(f"must be float32 of shape [N, C, H, W], preprocessed; received {dtype} of shape [10, 1, 8, 8]"):
            replace(chosen, images=chosen.images.to(dtype))
    with refused("expected one int64 label for each of the 10 images; received torch.int64 of shape [5]"):
        replace(chosen, labels=chosen.labels[:5])
    with refused("expected one int64 label for each of the 10 images; received torch.int32 of shape [10]"):
        replace(chosen, labels=chosen.labels.int())
    with refused("labels must lie in 0 … 9 (10 classes); received 4 … 13"):
        replace(chosen, labels=chosen.labels + 4)


def test_points_of_other_shapes_are_not_compared(unchecked):
    points = normal(2, 5, 3)
    with refused("real must be float of shape [classes, points, dimensions]; received torch.float32 of shape [5, 3]"):
        dd.mmd(points[0], points[1])
    with refused("synthetic must be float of shape [classes, points, dimensions]"):
        dd.mmd(points, points[..., None])
    with refused("the same classes and dimensions; received shapes [2, 5, 3] and [2, 5, 2]"):
        dd.mmd(points, points[..., :2])


def test_a_kernel_of_ones_own_gets_a_name(unchecked, monkeypatch):
    with refused('dd.KERNELS["mine"] = function'):
        dd.recipe("dm", kernel=lambda points: points @ points.mT)
    monkeypatch.setitem(dd.KERNELS, "mine", lambda points: points @ points.mT)
    assert dd.recipe("dm", kernel="mine").kernel == "mine"


def test_only_uint8_images_of_the_same_channels_are_preprocessed(unchecked, digits):
    preprocess = dd.Preprocess.fit(digits[0])
    with refused("expected uint8 images of 1 channels; received torch.float32"):
        preprocess.apply(digits[0].images[:2] / 255)
    with refused("expected uint8 images of 1 channels; received torch.uint8 of shape [2, 3, 8, 8]"):
        preprocess.apply(digits[0].images[:2].expand(2, 3, 8, 8))


@pytest.mark.parametrize("rule", [farthest_first, follow_mean])
def test_points_are_not_pixels_as_they_are_stored(unchecked, rule, digits):
    with refused("received torch.uint8 of shape [9, 1, 8, 8]; of images: images.flatten(1).float()"):
        rule(digits[0].images[:9], 2)


@pytest.mark.parametrize("rule", [farthest_first, follow_mean])
@pytest.mark.parametrize("n", [0, 4])
def test_no_more_points_than_there_are(rule, n):
    with refused(f"between 1 and all of the 3 points; received n = {n}"):
        rule(torch.tensor([[0.0], [1.0], [2.0]]), n)


# ---- functions and numbers that would silently do nothing


WITHOUT_GRADIENT = {
    "detached": lambda maps: maps.detach().mean(1).flatten(1),
    "by numpy": lambda maps: torch.from_numpy(maps.detach().numpy().mean(1)).flatten(1),
    "counted": lambda maps: (maps > 0).float().mean(1).flatten(1),
}


@pytest.mark.parametrize("case", WITHOUT_GRADIENT)
def test_an_attention_that_no_gradient_passes(digits, case):
    with refused("returned a result without a gradient, so it could not move any pixel"):
        dd.distill(digits[0], 1, attention=WITHOUT_GRADIENT[case], **SMALL)


def test_real_images_need_no_gradient():
    maps = torch.ones(2, 3, 4, 4)
    assert attend(WITHOUT_GRADIENT["detached"], maps).shape == (2, 16)
    with torch.no_grad():
        assert attend(WITHOUT_GRADIENT["detached"], maps.requires_grad_()).shape == (2, 16)


def test_an_attention_that_looks_at_nothing():
    with refused("must return one vector per image"):
        attend(lambda maps: maps.flatten(1)[:, :0], torch.ones(2, 3, 4, 4))


def test_a_training_that_diverges_has_no_accuracy(digits, chosen):
    far = dd.Protocol(epochs=20, width=8, lr=1e6)
    with refused("trained on the set hold NaN or infinity; expected finite numbers: the training diverged"):
        dd.evaluate(chosen, digits[1], networks=1, protocol=far)


def test_images_that_are_not_numbers_have_no_accuracy(digits, chosen):
    with refused("the images of a set hold NaN or infinity"):
        dd.evaluate(replace(chosen, images=chosen.images * torch.nan), digits[1], networks=1)


def test_nothing_to_test_on(digits, chosen):
    nothing = replace(digits[1], images=digits[1].images[:0], labels=digits[1].labels[:0])
    with refused("images to train on and to test on; received 10 and 0"):
        dd.evaluate(chosen, nothing, networks=1)


# ---- files


@pytest.mark.parametrize(
    ("dtype", "suffix"), [(np.uint16, "png"), (np.uint16, "tiff"), (np.int32, "tiff"), (np.float32, "tiff")]
)
def test_pixels_of_more_than_eight_bits(tmp_path, dtype, suffix):
    folder = image_folder(tmp_path / "lungs")
    file = folder / f"train/cat/1.{suffix}"
    Image.fromarray(np.full((6, 8), 300, dtype)).save(file)
    for path in (folder, zipped(folder, tmp_path / "lungs.zip")):
        with refused(f"train/cat/1.{suffix} has more than 8 bits for each pixel and colour"):
            dd.load(path)


@pytest.mark.parametrize("top", ["", "all/"])
def test_two_data_sets_in_one_folder(tmp_path, top):
    for version in ("v1", "v2"):
        image_folder(tmp_path / f"pets/{top}{version}")
    for path in (tmp_path / "pets", zipped(tmp_path / "pets", tmp_path / "pets.zip")):
        with refused(f"{path} holds several data sets, in {top}v1 and {top}v2; give the path of one"):
            dd.load(path)


def test_hidden_folders_are_no_second_data_set(tmp_path):
    folder = image_folder(tmp_path / "pets")
    for hidden in ("__MACOSX", ".backup"):
        shutil.copytree(folder, folder / hidden)
    assert len(dd.load(folder)[0]) == 6


def test_links_to_nothing_and_to_folders(tmp_path):
    folder = image_folder(tmp_path / "pets")
    link = folder / "train/cat/9.png"
    link.symlink_to(tmp_path / "not fetched")
    with refused("9.png is a link to a file that is not there; fetch the file, or remove the link"):
        dd.load(folder)
    link.unlink()
    (folder / "train/dog").rename(tmp_path / "dogs")
    (folder / "train/dog").symlink_to(tmp_path / "dogs")
    with refused("train/dog is a link to a folder, which is not followed; put the folder itself there"):
        dd.load(folder)


def test_links_to_pictures_and_to_the_whole_are_followed(tmp_path):
    folder = image_folder(tmp_path / "pets")
    (folder / "train/cat/9.png").symlink_to(folder / "train/cat/0.png")
    (tmp_path / "elsewhere").symlink_to(folder)
    assert len(dd.load(folder)[0]) == len(dd.load(tmp_path / "elsewhere")[0]) == 7


def test_two_runs_never_write_to_one_file(tmp_path):
    with alone(tmp_path / "a/set"):
        assert (tmp_path / "a").is_dir()
        with refused("another run is writing to "), alone(tmp_path / "a/set"):
            raise AssertionError
    with alone(tmp_path / "a/set"):
        pass
    assert not list((tmp_path / "a").iterdir())


def test_what_can_not_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with refused("exists as a folder, and is never replaced by a file; choose another --out"):
        refuse_existing(tmp_path, overwrite=True)
    with refused("is no folder you can write to; choose another."):
        refuse_existing(tmp_path / "file/below/set", overwrite=False)
    refuse_existing(tmp_path / "new/below/set", overwrite=False)


# ---- what would be something else without a word


def test_a_seed_is_a_whole_number(unchecked, digits):
    for seed in (1.0, "1", True, torch.tensor(1)):
        with refused("a seed must be a whole number"):
            dd.random(digits[0], 1, seed)
    assert torch.equal(dd.random(digits[0], 1, np.int64(3)), dd.random(digits[0], 1, 3))


def test_mirror_is_true_or_false(unchecked, digits, chosen):
    with refused("mirror must be true or false; received 'no'"):
        replace(digits[0], mirror="no")
    with refused("mirror must be true or false; received 0"):
        replace(chosen, mirror=0)


def test_sets_have_equally_many_networks(unchecked):
    with refused("expected as many networks for each set, else sets would count by their networks; received [2, 1]"):
        dd.Report([[60.0, 62.0], [90.0]])


def test_a_path_is_not_taken_for_the_data_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / "digits")
    with refused("digits could be the data set of that name or a folder"):
        dd.load(tmp_path.__class__("./digits"))
    assert len(dd.load(tmp_path.__class__("digits").resolve())[0].classes) != 10


@pytest.mark.parametrize("held", [{"counts": {1: 2}}, {"path": {1, 2}}, {"seed": np.float32(1)}])
def test_a_provenance_that_a_file_does_not_hold_is_not_saved(chosen, held, tmp_path):
    file = tmp_path / "set.safetensors"
    with refused("a file can't hold this provenance as it is"):
        replace(chosen, provenance=held).save(file)
    assert not file.exists()
    held = {"pair": (1, 2), "text": "é", "none": None, "nested": {"a": [1.5, {"b": (True,)}]}}
    assert dd.SyntheticSet.load(replace(chosen, provenance=held).save(file)).images.equal(chosen.images)


def test_a_run_does_not_go_on_with_another_kernel_of_the_same_name(digits, tmp_path, monkeypatch):
    options = {"kernel": "mine", "checkpoint": tmp_path / "run.checkpoint", **SMALL}
    monkeypatch.setitem(dd.KERNELS, "mine", lambda points: points @ points.mT)
    distiller = dd.Distiller(digits[0], 1, dd.recipe("dm", kernel="mine", **SMALL))
    next(distiller)
    distiller.save_checkpoint(options["checkpoint"])
    assert len(dd.distill(digits[0], 1, "dm", **options).losses) == 2
    distiller.save_checkpoint(options["checkpoint"])
    monkeypatch.setitem(dd.KERNELS, "mine", lambda points: -2 * points @ points.mT)
    with refused("belongs to another run"):
        dd.distill(digits[0], 1, "dm", **options)


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "set.safetensors.lock").mkdir()
    with refused("set.safetensors.lock can't be locked"), alone(tmp_path / "set.safetensors"):
        pass


def test_two_writers_of_one_path_have_files_of_their_own(tmp_path):
    target = tmp_path / "note.txt"
    with replacing(target) as first, replacing(target) as second:
        assert first != second
        first.write_text("first"), second.write_text("second")
    assert target.read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]
