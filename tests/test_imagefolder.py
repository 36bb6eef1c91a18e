"""A user's own images: what is read, what is refused, and what is kept for next time."""

import shutil
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import contents, image_folder, zipped
from torchvision.transforms.functional import resize as resize_tensor

from datadam_lite import DataDamError, load
from datadam_lite.imagefolder import cache_folder, load_imagefolder

DEFLATED = zipfile.ZIP_DEFLATED


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "own cache"))
    return tmp_path / "own cache"


@pytest.fixture
def folder(tmp_path):
    """A small ImageFolder."""
    return image_folder(tmp_path / "pets")


def pixels(file):
    """The image in a file, [3, H, W]."""
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def slow_load(folder, split):
    """(images, labels) read one file after the other, class by class."""
    files = sorted((folder / split).rglob("*.png"))
    classes = sorted({file.parent.name for file in files})
    return torch.stack([pixels(file) for file in files]), torch.tensor(
        [classes.index(file.parent.name) for file in files]
    )


def assert_same(one, other):
    """Both (train, test) pairs hold the same."""
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert (a.classes, a.name, a.mirror) == (b.classes, b.name, b.mirror)


# ---- what is read


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_folder_gives_its_pixels_and_labels(tmp_path, held_out):
    folder = image_folder(tmp_path / "pets", splits=("train", held_out))
    for part, split in zip(load(folder), ("train", held_out), strict=True):
        images, labels = slow_load(folder, split)
        assert torch.equal(part.images, images)
        assert torch.equal(part.labels, labels)
        assert (part.classes, part.name, part.mirror) == (("cat", "dog"), "pets", True)


def test_test_is_preferred_to_val(tmp_path):
    folder = image_folder(tmp_path / "pets", splits=("train", "val", "test"))
    assert torch.equal(load(folder)[1].images, slow_load(folder, "test")[0])


@pytest.mark.parametrize("top", ["", "pets/", "a/b/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, DEFLATED])
def test_a_zip_gives_what_the_folder_gives(folder, tmp_path, top, compression):
    assert_same(load(zipped(folder, tmp_path / "pets.zip", top=top, compression=compression)), load(folder))


def test_hidden_files_and_those_beside_the_splits_do_not_matter(folder):
    expected = load(folder)
    for name in ("train/.DS_Store", "train/cat/.thumb.png", "__MACOSX/train/cat/0.png", "README.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no image")
    (folder / "train/.ipynb_checkpoints").mkdir()
    assert_same(load(folder), expected)


def test_grey_images_keep_one_channel(tmp_path):
    train, test = load(image_folder(tmp_path / "grey", mode="L"))
    images, _ = slow_load(tmp_path / "grey", "train")
    assert torch.equal(train.images, images[:, :1])
    assert train.shape == test.shape == (1, 6, 8)


def test_one_coloured_pixel_keeps_three_channels(tmp_path):
    folder = image_folder(tmp_path / "nearly", mode="L")
    nearly_grey = pixels(folder / "test/dog/2.png").permute(1, 2, 0).numpy()
    nearly_grey[0, 0] = (1, 2, 3)
    Image.fromarray(nearly_grey).save(folder / "test/dog/2.png")
    assert load(folder)[0].shape == (3, 6, 8)


@pytest.mark.parametrize(("mode", "suffix"), [("P", ".gif"), ("RGBA", ".webp"), ("CMYK", ".jpeg")])
def test_other_formats_and_modes_become_rgb(folder, mode, suffix):
    for file in list(folder.rglob("*.png")):
        Image.open(file).convert(mode).save(file.with_suffix(suffix))
        file.unlink()
    expected = pixels(folder / f"train/cat/0{suffix}")
    assert torch.equal(load(folder)[0].images[0], expected)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_chosen_classes_in_a_chosen_order_under_other_names(tmp_path, kind):
    folder = image_folder(tmp_path / "pets", classes=("cat", "dog", "emu"))
    path = folder if kind == "folder" else zipped(folder, tmp_path / "pets.zip")
    train, test = load_imagefolder(path, classes={"emu": "big bird", "cat": "small cat"}, name="two")
    expected = slow_load(folder, "train")[0]
    assert torch.equal(train.images, torch.cat([expected[6:], expected[:3]]))
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 0, 1, 1, 1],) * 2
    assert (train.classes, train.name) == (("big bird", "small cat"), "two")


def test_classes_that_are_not_chosen_are_not_looked_at(folder):
    (folder / "train/dog/deeper").mkdir()
    (folder / "train/dog/deeper/0.png").write_text("no image")
    assert len(load_imagefolder(folder, classes={"cat": "cat"})[0]) == 3


def test_a_chosen_class_that_is_not_there(folder):
    with pytest.raises(DataDamError, match="class 'emu' has no images in its train part"):
        load_imagefolder(folder, classes={"cat": "cat", "emu": "emu"})


# ---- sizes


def of_many_sizes(folder):
    """Give every image of the folder a size of its own."""
    for i, file in enumerate(sorted(folder.rglob("*.png"))):
        Image.open(file).resize((8 + i, 20 - i)).save(file)
    return folder


@pytest.mark.parametrize("resize", [None, "crop", "squash"])
@pytest.mark.parametrize("size", [1, 5, 30])
def test_images_of_many_sizes_become_one(folder, size, resize):
    train, test = load(of_many_sizes(folder), size=size, resize=resize)
    assert train.shape == test.shape == (3, size, size)
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("given", "middle"), [((9, 5), np.s_[:, :, 2:7]), ((5, 11), np.s_[:, 3:8, :])])
def test_a_crop_keeps_the_middle(tmp_path, given, middle):
    folder = image_folder(tmp_path / "pets", size=given)
    assert torch.equal(load(folder, size=5)[0].images, slow_load(folder, "train")[0][:, *middle])


def stripes(folder, width):
    """Make every image of the folder black and white columns, each `width` pixels wide."""
    columns = np.arange(64) // width % 2 * 255
    for file in folder.rglob("*.png"):
        Image.fromarray(np.broadcast_to(columns[None, :, None], (64, 64, 3)).astype(np.uint8)).save(file)
    return folder


def test_a_crop_smooths_what_is_too_fine_and_squashing_does_not(folder):
    fine = stripes(folder, 1)
    smooth = load(fine, size=20)[0].images.float()
    assert (smooth - 127.5).abs().max() < 10
    assert load(fine, size=20, resize="squash")[0].images.float().std() > 40


def test_squashing_is_what_the_released_code_does_to_normalised_images(tmp_path):
    """Resize([8, 8]) of tensors without antialiasing, after normalisation."""
    folder = image_folder(tmp_path / "pets", size=(21, 13))
    x = (slow_load(folder, "train")[0] / 255 - 0.4) / 0.2
    expected = resize_tensor(x, [8, 8], antialias=False) * 0.2 + 0.4
    found = load(folder, size=8, resize="squash")[0].images / 255
    assert (found - expected).abs().max() < 0.51 / 255


def test_every_size_has_a_cache_of_its_own(folder, own_cache):
    options = [{}, {"size": 4}, {"size": 5}, {"size": 5, "resize": "squash"}]
    first = [load(folder, **option) for option in options]
    assert len(contents(own_cache)) == 4
    for option, expected in zip(options, first, strict=True):
        assert_same(load(folder, **option), expected)
    assert not torch.equal(first[2][0].images, first[3][0].images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"size must be positive; received 0\."),
        ({"size": 8, "resize": "stretch"}, r"unknown way to resize 'stretch'; the known ones are crop, squash"),
        ({"resize": "crop"}, r"resize='crop' needs the size to resize to; give it as in size=64"),
    ],
)
def test_sizes_that_are_none(folder, own_cache, options, message):
    with pytest.raises(DataDamError, match=message):
        load(folder, **options)
    assert not own_cache.exists()


# ---- the cache


def test_the_second_time_no_image_is_opened(folder, own_cache, monkeypatch):
    first = load(folder)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("an image was decoded again"))
    assert_same(load(folder), first)


def test_a_changed_image_is_decoded_again(folder, own_cache):
    load(folder)
    shutil.copy(folder / "train/cat/1.png", folder / "train/cat/0.png")
    assert torch.equal(load(folder)[0].images, slow_load(folder, "train")[0])


def test_a_changed_zip_is_decoded_again(folder, tmp_path, own_cache):
    load(zipped(folder, tmp_path / "pets.zip"))
    shutil.copy(folder / "train/cat/1.png", folder / "train/cat/0.png")
    changed = load(zipped(folder, tmp_path / "pets.zip"))
    assert torch.equal(changed[0].images, slow_load(folder, "train")[0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-5]),
        lambda file: file.write_bytes(b"something else"),
        lambda file: file.write_bytes(file.read_bytes().replace(b"train_images", b"brain_images")),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["empty", "truncated", "foreign", "other names", "a folder"],
)
@pytest.mark.filterwarnings("ignore:the decoded images were not kept")
def test_a_damaged_cache_is_as_good_as_none(folder, own_cache, damage):
    first = load(folder)
    (file,) = own_cache.iterdir()
    damage(file)
    assert_same(load(folder), first)


def test_a_cache_that_cannot_be_written_is_a_warning(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "file/cache"))
    with pytest.warns(UserWarning, match=r"images were not kept for next time: could not write .*choose a folder"):
        train, _ = load(folder)
    assert torch.equal(train.images, slow_load(folder, "train")[0])


def test_a_cache_on_a_full_disk_is_a_warning_and_leaves_nothing(folder, own_cache, full_disk):
    with pytest.warns(UserWarning, match="No space left on device"):
        load(folder)
    assert contents(own_cache) == {}


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv("DATADAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "datadam_lite"
    monkeypatch.setenv("DATADAM_CACHE", "~/mine")
    assert cache_folder() == Path("~/mine").expanduser()


# ---- what is refused: (what to do to the folder, what the message says)


def lone_file(folder):
    shutil.copy(folder / "train/cat/0.png", folder / "train/lost.png")


def empty_class(folder):
    for file in (folder / "train/dog").iterdir():
        file.unlink()


def class_without_test(folder):
    shutil.copytree(folder / "train/dog", folder / "train/emu")


def class_without_train(folder):
    shutil.copytree(folder / "train/dog", folder / "test/emu")


def no_image(folder):
    (folder / "train/dog/1.png").write_text("no image")


def half_an_image(folder):
    file = folder / "test/dog/1.png"
    file.write_bytes(file.read_bytes()[:-60])


def another_size(folder):
    Image.new("RGB", (9, 7)).save(folder / "test/dog/1.png")


def no_train(folder):
    shutil.rmtree(folder / "train")


def no_test(folder):
    shutil.rmtree(folder / "test")


def no_splits(folder):
    no_train(folder)
    (folder / "test").rename(folder / "elsewhere")


def a_folder_too_deep(folder):
    (folder / "train/cat/young").mkdir()
    shutil.copy(folder / "train/cat/0.png", folder / "train/cat/young/0.png")


REFUSED = {
    lone_file: r"train/lost.png lies outside a class folder; expected train/<class>/<image>",
    empty_class: r"class 'dog' has no images in its train part; add some, or remove the class folder",
    class_without_test: r"class 'emu' has no images in its test part",
    class_without_train: r"class 'emu' has no images in its train part",
    no_image: r"train/dog/1.png can't be read as an image .*Replace or remove the file",
    half_an_image: r"test/dog/1.png can't be read as an image",
    another_size: r"every image to be 8x6 pixels like the first one; test/dog/1.png is 9x7\. .* or give size=",
    no_train: r"is not an ImageFolder: expected train/<class>/<image> .*; found test/",
    no_test: r"is not an ImageFolder: expected .*; found train/",
    no_splits: r"is not an ImageFolder: expected .*; found no such folders",
    a_folder_too_deep: r"train/cat/young/0.png",
}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_is_no_image_folder_is_refused(folder, tmp_path, own_cache, change, kind):
    change(folder)
    path = folder if kind == "folder" else zipped(folder, tmp_path / "pets.zip")
    with pytest.raises(DataDamError, match=REFUSED[change]) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert not own_cache.exists()


@pytest.mark.parametrize("end", [0, 10, 500, -1, -30])
def test_a_truncated_zip_is_refused(folder, tmp_path, end):
    file = zipped(folder, tmp_path / "pets.zip")
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(DataDamError, match=r"is not a complete zip file .*Copy or download it again"):
        load(file)


def test_an_empty_zip_is_refused(tmp_path):
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    with pytest.raises(DataDamError, match=r"is not an ImageFolder: .*found no such folders"):
        load(tmp_path / "empty.zip")


LOCAL, CENTRAL = b"PK\3\4", b"PK\1\2"  # where zip members and their entries in the table of contents start


def overwrite(file, start, offset, value):
    """Change one byte of the first member, counted from its signature."""
    data = bytearray(file.read_bytes())
    data[data.index(start) + offset] = value
    file.write_bytes(data)


@pytest.mark.parametrize(
    "changes",
    [
        [(CENTRAL, 6, 99)],  # the version needed to unpack
        [(LOCAL, 8, 99), (CENTRAL, 10, 99)],  # the compression method
        [(LOCAL, 6, 1), (CENTRAL, 8, 1)],  # a password is needed
        [(LOCAL, 45, 255), (LOCAL, 46, 255), (LOCAL, 47, 255)],  # in the deflated data
        [(CENTRAL, 20, 1)],  # the size of the packed data
        [(CENTRAL, 24, 1)],  # the size of the unpacked data
    ],
    ids=["version", "method", "password", "data", "packed size", "size"],
)
def test_a_zip_that_cannot_be_unpacked_is_refused(folder, tmp_path, own_cache, changes):
    file = zipped(folder, tmp_path / "pets.zip", compression=DEFLATED)
    for start, offset, value in changes:
        overwrite(file, start, offset, value)
    with pytest.raises(DataDamError, match=r"is not a complete zip|can't be read as an image"):
        load(file)


@pytest.fixture(scope="module")
def zips():
    """The bytes of a stored and of a deflated zip."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = image_folder(Path(temporary) / "pets", n=1, size=(3, 3))
        file = Path(temporary) / "pets.zip"
        return [zipped(folder, file, compression=c).read_bytes() for c in (zipfile.ZIP_STORED, DEFLATED)]


def loads_or_is_refused(data, path):
    """Load these bytes as a zip, past the cache."""
    path.write_bytes(data)
    shutil.rmtree(cache_folder(), ignore_errors=True)
    with suppress(DataDamError):
        assert all(len(part) > 0 for part in load(path))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_zip_with_flipped_bytes_loads_or_is_refused(zips, tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(zips)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    loads_or_is_refused(bytes(content), tmp_path_factory.getbasetemp() / "fuzzed.zip")


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_zip_cut_anywhere_is_refused(zips, tmp_path_factory, data):
    content = data.draw(st.sampled_from(zips))
    file = tmp_path_factory.getbasetemp() / "cut.zip"
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DataDamError, match="is not a complete zip file"):
        load(file)


def test_a_member_of_a_zip_without_a_name_is_passed_over(tmp_path):
    folder = image_folder(tmp_path / "pets")
    (folder / "a.txt").write_text("a note")
    whole = zipped(folder, tmp_path / "pets.zip")
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(whole.read_bytes().replace(b"a.txt", b"\0.txt"))  # names end at a zero byte
    for (found, expected) in zip(load(damaged), load(whole), strict=True):
        assert torch.equal(found.images, expected.images)
