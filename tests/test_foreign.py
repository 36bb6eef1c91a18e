"""Files of other toolkits: every layout is read as what it is, and everything else is refused, unrun."""

import hashlib
import os
import pickle
import warnings
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import contents, normal, toy
from torch import nn
from torch.nn import functional as F

from datadam_lite import ConvNet, DataDamError, Preprocess, SyntheticSet
from datadam_lite.datasets import FIELD_STATISTICS
from datadam_lite.foreign import LAYOUTS, decode, describe, into, read, read_network, write
from datadam_lite.foreign_files import find, imports
from datadam_lite.foreign_labels import class_numbers
from datadam_lite.foreign_space import SPACES, certain, state

TRAIN = replace(toy(), name="cifar10")  # noise, but the field has constants for a data set of this name
ROWS = torch.cat([rows[:2] for rows in TRAIN.rows_of_class])
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
FIELD = Preprocess.fit(TRAIN, statistics="field")
REAL = FIELD.apply(TRAIN.images[ROWS])  # what DC-Bench and DataDAM start from
MOVED = REAL + 0.3 * normal(6, 3, 8, 8)  # a distilled set: no longer real images
PIXELS = (TRAIN.images[ROWS] / 255).clamp(0.001, 0.999)


def saved(path, content, **options):
    """Write a torch file; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, **options)
    return path


# ---- every layout


def results(images=MOVED, labels=LABELS):
    """A result dictionary with the accuracies that DC and DM record, which are NumPy numbers."""
    return {"data": [[-images, labels], [images, labels]], "accs_all_exps": {"ConvNet": [np.float64(48.9)]}}


LAYOUT_FILES = {
    "a result dictionary, entry 2 of 2": results(),
    "a result dictionary, entry 1 of 1": {"data": [(MOVED, LABELS)], "accs_all_exps": {}},
    "a result dictionary": {"data": [MOVED, LABELS]},  # DataDAM's released sets
    "a dictionary of images and labels": {"images": MOVED, "labels": LABELS},
    "one pair of images and labels": [MOVED, LABELS],  # IDC, DREAM
    "one pair of images and labels (stored labels first)": (LABELS, MOVED),
}


@pytest.mark.parametrize("layout", LAYOUT_FILES)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "as torch before 1.6"])
def test_torch_files_of_every_layout(tmp_path, layout, zipped):
    file = saved(tmp_path / "res.pt", LAYOUT_FILES[layout], _use_new_zipfile_serialization=zipped)
    chosen = read(file, TRAIN, preprocessing="field")
    assert torch.equal(chosen.images, MOVED)
    assert torch.equal(chosen.labels, LABELS)
    assert chosen.classes == TRAIN.classes
    assert chosen.provenance["layout"] == layout


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("CIFAR10_IPC10_images.pt", "CIFAR10_IPC10_labels.pt"),  # DataDAM's initial images; DC-Bench's k-means
        ("CIFAR10_IPC10_normalize_images.pt", "CIFAR10_IPC10_labels.pt"),  # DC-Bench's random images
        ("CIFAR10_IPC10_normalize_images.pt", "CIFAR10_IPC10_normalize_labels.pt"),
        ("images_best.pt", "labels_best.pt"),  # MTT
        ("images_500.pt", "labels_500.pt"),
    ],
)
def test_images_with_their_labels_beside_them(tmp_path, images, labels):
    saved(tmp_path / labels, LABELS.float())
    chosen = read(saved(tmp_path / images, REAL), TRAIN, preprocessing="field")
    assert torch.equal(chosen.images, REAL)
    assert torch.equal(chosen.labels, LABELS)
    assert set(chosen.provenance["files_sha256"]) == {images, labels}
    assert labels in chosen.provenance["layout"]


def test_images_in_numbered_parts_come_in_the_order_of_their_numbers(tmp_path):
    many = normal(33, 3, 8, 8)
    for i, part in enumerate(many.split(3)):  # 10 comes after 9, not after 1
        saved(tmp_path / f"images_best_{i}.pt", part.clone())
    saved(tmp_path / "labels_best.pt", torch.arange(33) % 3)
    chosen = read(tmp_path / "images_best.pt", TRAIN, preprocessing="field")
    assert torch.equal(chosen.images, many)
    assert chosen.provenance["layout"] == "images in 11 files, labels in labels_best.pt"
    (tmp_path / "images_best_4.pt").unlink()
    with pytest.raises(DataDamError, match=r"there is no file or folder .*images_best\.pt"):
        read(tmp_path / "images_best.pt", TRAIN, preprocessing="field")


def test_iterations_are_not_taken_for_parts(tmp_path):
    for i in (0, 100, 200):
        saved(tmp_path / f"images_{i}.pt", REAL)
    with pytest.raises(DataDamError, match=r"there is no file"):
        find(tmp_path / "images.pt")


def test_parts_of_two_shapes_are_refused(tmp_path):
    saved(tmp_path / "images_0.pt", REAL)
    saved(tmp_path / "images_1.pt", REAL[:, :1].clone())
    with pytest.raises(DataDamError, match=r"images_0\.pt and the parts after it don't hold images of one shape"):
        find(tmp_path / "images.pt")


def test_labels_from_a_file_that_is_named(tmp_path):
    file, labels = saved(tmp_path / "set.pt", MOVED), saved(tmp_path / "classes.pt", LABELS.flip(0))
    assert torch.equal(read(file, TRAIN, preprocessing="field", labels=labels).labels, LABELS.flip(0))
    with pytest.raises(DataDamError, match=r"set\.pt does not hold one tensor of labels") as refused:
        read(file, TRAIN, preprocessing="field", labels=saved(tmp_path / "set.pt", [MOVED, MOVED]))
    assert "expected one label for each image" in str(refused.value)


def test_images_in_class_order_without_labels(tmp_path):
    file = saved(tmp_path / "cifar100.pt", MOVED)
    with pytest.raises(DataDamError, match=r'without labels.*\(--labels FILE, .*, or "class order" for it'):
        read(file, TRAIN, preprocessing="field")
    chosen = read(file, TRAIN, preprocessing="field", labels="class order")
    assert torch.equal(chosen.labels, LABELS)
    assert chosen.provenance["labels"] == "implied by their order; 2 of each of 3 classes, class by class"
    with pytest.raises(DataDamError, match=r"5 images can't be dealt evenly among 3 classes"):
        read(saved(tmp_path / "five.pt", MOVED[:5].clone()), TRAIN, preprocessing="field", labels="class order")


def test_kip_has_its_channels_last_and_regressed_labels(tmp_path):
    scores = F.one_hot(LABELS, 3).float() - 1 / 3 + 0.01
    np.savez(tmp_path / "kip.npz", images=MOVED.permute(0, 2, 3, 1).numpy(), labels=scores.numpy(), name="kip")
    with pytest.raises(DataDamError, match=r"the labels are soft: 3 scores .* give --soft argmax \(soft="):
        read(tmp_path / "kip.npz", TRAIN, preprocessing=FIELD)
    chosen = read(tmp_path / "kip.npz", TRAIN, preprocessing=FIELD, soft="argmax")
    assert torch.equal(chosen.images, MOVED)
    assert torch.equal(chosen.labels, LABELS)
    assert chosen.preprocess is FIELD
    assert "stored as soft" in chosen.provenance["labels"]


def test_an_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "kip.npz", images=np.array([Code(tmp_path / "ran")], dtype=object), labels=np.zeros(1))
    with pytest.raises(DataDamError, match=r"kip\.npz can't be read \(ValueError: Object arrays cannot be loaded"):
        describe(tmp_path / "kip.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("names", [TRAIN.classes, ("00000", "00001", "00002")], ids=["by name", "by number"])
def test_a_folder_of_pictures_is_pixels(tmp_path, names):
    for image, label in zip(TRAIN.images[ROWS], LABELS.flip(0).tolist(), strict=True):
        (tmp_path / "set" / names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "set" / names[label] / f"{image.sum()}.png")
    chosen = read(tmp_path / "set", TRAIN)
    assert chosen.labels.tolist() == LABELS.tolist()
    theirs = {tuple(x.flatten().tolist()) for x in (255 * chosen.images).round().byte()[chosen.labels == 0]}
    assert theirs == {tuple(x.flatten().tolist()) for x in TRAIN.images[ROWS[4:]]}
    assert chosen.provenance["preprocessing"] == "none: certain, its numbers are 8-bit integers"
    with pytest.raises(DataDamError, match=r"pictures of 8-bit pixels had no preprocessing; received field\."):
        read(tmp_path / "set", TRAIN, preprocessing="field")


def test_folders_that_are_not_classes(tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    with pytest.raises(DataDamError, match=r"the folders cat, dog are not classes of cifar10, which are class 0"):
        read(tmp_path, TRAIN)
    Image.new("RGB", (8, 9)).save(tmp_path / name / "1.png")
    with pytest.raises(DataDamError, match=r"holds images of 2 sizes; resize them"):
        read(tmp_path, TRAIN)
    (tmp_path / name / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataDamError, match=r"can't be read \(UnidentifiedImageError"):
        read(tmp_path, TRAIN)


def test_folders_whose_numbers_count_from_one(tmp_path):
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    with pytest.raises(DataDamError, match=r"the folders 1, 2, 3 can't be the 3 classes .* from 00000 to 00002"):
        read(tmp_path, TRAIN)


def test_grey_pictures_have_one_channel(tmp_path):
    train = toy(shape=(1, 8, 8))
    chosen = SyntheticSet.from_real(train, ROWS, Preprocess.fit(train))
    again = read(write(chosen, tmp_path / "set", "folder"), train)
    assert torch.equal((255 * again.images).round().byte(), train.images[ROWS])


def test_our_own_files_answer_for_themselves(tmp_path):
    chosen = SyntheticSet.from_real(TRAIN, ROWS, FIELD, method="random")
    file = chosen.save(tmp_path / "ours")
    assert read(file, TRAIN).provenance["method"] == "random"
    with pytest.raises(DataDamError, match=r"holds its own preprocessing; leave preprocessing='zca' out"):
        read(file, TRAIN, preprocessing="zca")


@pytest.mark.parametrize("label", [-1, 3, 2**40])
@pytest.mark.parametrize("reader", [lambda f: read(f, TRAIN), describe])
def test_our_own_files_with_a_damaged_label(tmp_path, reader, label):
    ours = SyntheticSet(MOVED, LABELS.clone(), TRAIN.classes, FIELD)
    ours.labels[LABELS == 2] = label  # a set that is made so is refused
    file = ours.save(tmp_path / "ours")
    with pytest.raises(DataDamError, match=r"labels must lie in 0 … 2 \(3 classes\)"):
        reader(file)


def test_the_entry_that_is_asked_for(tmp_path):
    file = saved(tmp_path / "res.pt", results())
    assert torch.equal(read(file, TRAIN, preprocessing="field", entry=0).images, -MOVED)
    for entry in (2, -3):
        with pytest.raises(DataDamError, match=rf"holds 2 pairs; expected entry 0 … 1 or -1 .*; received {entry}"):
            read(file, TRAIN, preprocessing="field", entry=entry)


def test_an_entry_and_a_factor_are_whole_numbers(tmp_path, unchecked):
    file = saved(tmp_path / "res.pt", results())
    with pytest.raises(DataDamError, match=r"entry must be a whole number; received '1'"):
        read(file, TRAIN, preprocessing="field", entry="1")
    with pytest.raises(DataDamError, match=r"factor must be a whole number; received 2\.0"):
        decode(SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD), 2.0)


def test_the_provenance_says_what_was_read(tmp_path):
    file = saved(tmp_path / "syn_data_cifar10_ipc_2.pt", {"data": [MOVED, LABELS]})
    made = read(file, TRAIN, preprocessing="field").provenance
    assert made["read_from"] == "syn_data_cifar10_ipc_2.pt"
    assert made["preprocessing"] == "field: stated by the reader"
    assert made["labels"] == "stored as one class number for each image; 2 of each of 3 classes, class by class"
    assert list(made["files_sha256"].values()) == [hashlib.sha256(file.read_bytes()).hexdigest()]
    again = SyntheticSet.load(read(file, TRAIN, preprocessing="field").save(tmp_path / "ours"))
    assert again.provenance == made


# ---- preprocessing


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("none", Preprocess(torch.zeros(3), torch.ones(3))),
        ("field", FIELD),
        ("exact", Preprocess.fit(TRAIN)),
        ("zca", Preprocess.fit(TRAIN, statistics="field", zca=True)),
        ("zca-exact", Preprocess.fit(TRAIN, zca=True)),
        ("zca-pixels", Preprocess.fit(TRAIN, zca=True, zca_space="pixels")),
    ],
)
def test_the_preprocessing_that_is_stated(tmp_path, name, preprocess):
    x = preprocess.apply(TRAIN.images[ROWS]) + (name != "none") * 0.1 * normal(6, 3, 8, 8)
    chosen = read(saved(tmp_path / "res.pt", [x, LABELS]), TRAIN, preprocessing=name)
    assert torch.equal(chosen.images, x)
    stored, expected = chosen.preprocess.tensors(), preprocess.tensors()
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[key], expected[key]) for key in stored)
    torch.testing.assert_close(chosen.preprocess.apply(TRAIN.images), preprocess.apply(TRAIN.images))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (PIXELS, r"values from 0\.001 to 0\.999.*suggest 'none': all values lie in \[0, 1\]"),
        (REAL, r"suggest 'field': undoing this mean and std gives whole numbers of 0 … 255"),
        (Preprocess.fit(TRAIN).apply(TRAIN.images[ROWS]), r"suggest 'exact': undoing this mean"),
        (MOVED, r"don't tell\. State it \(--preprocessing NAME, or preprocessing=NAME in Python\): one of none, fi"),
    ],
    ids=["pixels", "field", "exact", "moved"],
)
def test_what_is_not_stated_is_asked_for(tmp_path, images, says):
    with pytest.raises(DataDamError, match=r"does not say which preprocessing its images had.*" + says):
        read(saved(tmp_path / "res.pt", [images, LABELS]), TRAIN)


@pytest.mark.parametrize(("images", "fits"), [(PIXELS, "none"), (REAL, "field")], ids=["pixels", "real"])
@pytest.mark.parametrize("stated", SPACES)
def test_what_cannot_be_true_is_refused(tmp_path, images, fits, stated):
    file = saved(tmp_path / "res.pt", [images, LABELS])
    if stated == fits:
        assert "certain" in read(file, TRAIN, preprocessing=stated).provenance["preprocessing"]
    else:
        with pytest.raises(DataDamError, match=rf"can't have the preprocessing '{stated}'.*they fit '{fits}'"):
            read(file, TRAIN, preprocessing=stated)


@pytest.mark.filterwarnings("ignore:the preprocessing")  # these are no pixels
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("stated", SPACES)
def test_a_name_that_contradicts_our_own_note_is_refused(tmp_path, space, stated):
    chosen = SyntheticSet(2 * MOVED, LABELS, TRAIN.classes, SPACES[space](TRAIN))
    file = write(chosen, tmp_path / "data.pt", "data")
    with pytest.raises(DataDamError, match=r"says in words alone which .* \(pixel/255 - .*its values alone"):
        read(file, TRAIN)
    if stated == space:
        assert torch.equal(read(file, TRAIN, preprocessing=stated).images, chosen.images)
    else:
        with pytest.raises(DataDamError, match=rf"says that its images had .*; received the preprocessing '{stated}'"):
            read(file, TRAIN, preprocessing=stated)


def test_the_note_of_a_whitened_set_does_not_promise_matrices(tmp_path):
    chosen = SyntheticSet(MOVED, LABELS, TRAIN.classes, Preprocess.fit(TRAIN, zca=True))
    says = describe(write(chosen, tmp_path / "data.pt", "data"))
    assert "then ZCA whitening (fitted to the training images; not in this file)" in says
    assert "matrices in this file" in describe(write(chosen, tmp_path / "ours"))
    older = {"data": [[MOVED, LABELS]], "preprocessing": str(chosen.preprocess)}  # as was written before
    assert read(saved(tmp_path / "older.pt", older), TRAIN, preprocessing="zca-exact").preprocess.zca
    with pytest.raises(DataDamError, match=r"says that its images had .*'exact', which would be .* no ZCA"):
        read(tmp_path / "older.pt", TRAIN, preprocessing="exact")


def test_numbers_that_are_no_pixels():
    levels = TRAIN.images[ROWS].float()
    with pytest.raises(DataDamError, match=r"received whole numbers \(values from 0 to 255.* Divide them by 255"):
        state(levels, TRAIN, "none")
    with pytest.warns(UserWarning, match=r"means pixels in \[0, 1\]; this file has values from -1 to 1, "):
        state(levels / 127.5 - 1, TRAIN, "none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pixels in (levels / 255, 1.2 * levels / 255 - 0.1, (levels > 99).float()):  # distilled ones stray a little
            state(pixels, TRAIN, "none")


def test_one_image_that_moved_leaves_no_certainty():
    many = REAL.repeat(2, 1, 1, 1)
    constants = {"field": FIELD_STATISTICS["cifar10"]}
    assert list(certain(many, constants)) == ["field"]
    many[-1, 0, 0, 0] += 0.01
    assert certain(many, constants) == {}


def test_names_that_do_not_exist(tmp_path):
    file = saved(tmp_path / "res.pt", [MOVED, LABELS])
    with pytest.raises(DataDamError, match=r"unknown preprocessing 'cifar'; the known ones are none, field"):
        read(file, TRAIN, preprocessing="cifar")
    with pytest.raises(DataDamError, match=r"the field has no normalisation constants for 'toy'"):
        read(file, toy(), preprocessing="field")
    with pytest.raises(DataDamError, match=r"unknown treatment of soft labels 'mean'; the known ones are argmax"):
        read(file, TRAIN, preprocessing="field", soft="mean")
    with pytest.raises(DataDamError, match=r"unknown layout 'kip'; the known ones are safetensors, data, pair, folder"):
        write(SyntheticSet.from_real(TRAIN, ROWS, FIELD), tmp_path / "kip", "kip")


# ---- labels and images that do not fit


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.sampled_from([torch.int32, torch.uint8, torch.float64]))
def test_hard_labels_of_any_kind_come_out_the_same(numbers, dtype):
    expected = torch.tensor(numbers)
    assert torch.equal(class_numbers(expected.to(dtype), 7), expected)
    assert torch.equal(class_numbers(F.one_hot(expected, 7).to(dtype), 7), expected)
    logits = F.one_hot(expected, 7) * 3.0 - normal(len(numbers), 7).clamp(-1, 1)
    assert torch.equal(class_numbers(logits, 7, "argmax"), expected)


NAN = torch.tensor([0, 1, 2, 0, 1, float("nan")])


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (MOVED, LABELS + 1, r"labels must lie in 0 … 2 \(3 classes\); received 1 … 3\."),
        (MOVED, LABELS - 1, r"received -1 … 1\."),
        (MOVED, 1e30 * LABELS.float(), r"received 0 … 2e\+30\."),
        (MOVED, LABELS.float() + 0.5, r"one label for each image, 0 … 2, or one score .* torch\.float32"),
        (MOVED, NAN, r"one label for each image"),
        (MOVED, F.one_hot(LABELS, 4), r"one score for each of 3 classes; received labels of shape \[6, 4\]"),
        (MOVED, NAN[:, None].expand(6, 3).clone(), r"received labels of shape \[6, 3\]"),
        (MOVED, LABELS[:5].clone(), r"expected one label for each image; received 6 images, 5 labels"),
        (MOVED, LABELS.clamp(max=1), r"has no image of 1 of 3 classes \(class 2\); was it distilled from cifar10\?"),
        (MOVED[:0].clone(), LABELS[:0].clone(), r"has no image of 3 of 3 classes"),
        (MOVED[:, :, :4].clone(), LABELS, r"expected images \[3, 8, 8\], those of the data set; received \[3, 4, 8\]"),
        (MOVED.where(MOVED < 1, torch.nan), LABELS, r"values of the images are NaN or infinite; the run .* diverged"),
        (MOVED.long(), LABELS, r"expected images of floating point or 8-bit pixels; received torch\.int64"),
    ],
    ids=[
        "one more class", "from -1", "huge", "halves", "nan", "four classes", "nan scores", "one label less",
        "a class less", "empty", "another shape", "nan pixels", "integers",
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, images, labels, says):
    with pytest.raises(DataDamError, match=says):
        read(saved(tmp_path / "res.pt", [images, labels]), TRAIN, preprocessing="field")


def test_classes_may_come_in_any_order(tmp_path):
    mixed = torch.tensor([2, 0, 1, 1, 0, 0])
    chosen = read(saved(tmp_path / "res.pt", [MOVED, mixed]), TRAIN, preprocessing="field")
    assert torch.equal(chosen.labels, mixed)
    assert chosen.provenance["labels"].endswith("1 to 3 of each of 3 classes, classes mixed")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    x = MOVED.to(dtype, copy=True).requires_grad_()
    chosen = read(saved(tmp_path / "res.pt", [x, LABELS]), TRAIN, preprocessing="field")
    assert chosen.images.dtype == torch.float32
    assert not chosen.images.requires_grad
    assert torch.equal(chosen.images, x.detach().float())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"images_train": REAL, "labels_train": LABELS}, r"holds no distilled set \(but a real data set\)"),
        ({"net_parameters": {"features.0.weight": REAL}}, r"but the weights of a network: use read_network"),
        (OrderedDict({"features.0.weight": REAL}), r"but the weights of a network"),
        ([[[REAL], [REAL]], [[REAL], [REAL]]], r"lists of lists of tensors, such as the training trajectories"),
        ({"syn": 3, "lr": 1.0}, r"but a dict with syn, lr"),
        ({"data": []}, r"but a list\)"),
        ("text", r"but a str"),
        (LABELS, r"a tensor of shape \[6\], not \[N, C, H, W\]"),
        ({"data": [LABELS, LABELS]}, r"a tensor of shape \[6\]"),
        ([REAL.to_sparse(), LABELS], r"0 is not a plain tensor of numbers"),
        ([torch.zeros(1).expand(9_000, 3, 32, 32), LABELS], r"0 claims more numbers than the file holds"),
    ],
    ids=[
        "data set", "weights", "state dict", "experts", "dict", "no pairs", "text", "labels", "two labels", "sparse",
        "huge",
    ],
)
def test_what_is_no_distilled_set_is_called_what_it_is(tmp_path, content, says):
    with pytest.raises(DataDamError, match=says):
        read(saved(tmp_path / "file.pt", content), TRAIN)


# ---- files that would run code


class Code:
    """What a pickle could run if it were allowed to: leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


@pytest.mark.parametrize("reader", [lambda f: read(f, TRAIN), describe, lambda f: read_network(f, (3, 8, 8), 3)])
@pytest.mark.parametrize("kind", ["torch zip", "torch before 1.6", "protocol 0", "protocol 2", "protocol 4"])
def test_no_file_can_run_code(tmp_path, reader, kind):
    file, mark = tmp_path / "images.pt", tmp_path / "ran"
    content = {"data": [[MOVED, LABELS]], "extra": Code(mark)}
    if kind.startswith("torch"):
        saved(file, content, _use_new_zipfile_serialization=kind == "torch zip")
    else:
        file.write_bytes(pickle.dumps(Code(mark), protocol=int(kind[-1])))
    before = contents(tmp_path)
    with pytest.raises(DataDamError, match=rf"refused: .* asks to import {os.system.__module__}\.system, and reading"):
        reader(file)
    assert contents(tmp_path) == before


def test_a_plain_pickle_is_refused_by_name(tmp_path):
    (tmp_path / "acc_67.5.pkl").write_bytes(pickle.dumps((MOVED, LABELS)))  # as IDM writes
    with pytest.raises(DataDamError, match=r"import torch\.storage\._load_from_bytes, and reading.*torch\.save\(\[im"):
        read(tmp_path / "acc_67.5.pkl", TRAIN)


def test_all_imports_are_named_once(tmp_path):
    (tmp_path / "many").write_bytes(pickle.dumps([print, OrderedDict(), print, len, OrderedDict()], protocol=4))
    assert imports(tmp_path / "many") == ["builtins.len", "builtins.print", "collections.OrderedDict"]


# ---- damaged files: refused in words, or read as something


@pytest.mark.parametrize("content", [b'{"data": "digits"}', b"something else", b"\0" * 100])
def test_a_file_of_another_type_is_not_blamed_on_an_option_of_pytorch(tmp_path, content):
    (tmp_path / "set.json").write_bytes(content)
    with pytest.raises(DataDamError, match=r"it is no whole file that torch\.save wrote; .* Check which") as error:
        read(tmp_path / "set.json", TRAIN)
    assert "weights_only" not in str(error.value)


def damaged(path, content, data):
    """Cut the file, flip bytes of it, or replace it by noise."""
    content = bytearray(content)
    how = data.draw(st.sampled_from(["cut", "flipped", "noise"]))
    if how == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    elif how == "noise":
        content = data.draw(st.binary(max_size=200))
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, min(len(content), 1500) - 1))  # the headers and the pickle come first
            content[place if data.draw(st.booleans()) else -1 - place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)


def torch_zip(path):
    saved(path, results(REAL[:, :, :2, :2].clone()))


def torch_legacy(path):
    saved(path, results(REAL[:, :, :2, :2].clone()), _use_new_zipfile_serialization=False)


def plain_pickle(path):
    path.write_bytes(pickle.dumps((MOVED, LABELS)))


def npz(path):
    np.savez(path, images=REAL[:, :, :2, :2].numpy(), labels=LABELS.numpy())


def weights(path):
    saved(path, {"net_parameters": theirs().state_dict()})


def ours(path):
    SyntheticSet.from_real(TRAIN, ROWS, FIELD).save(path)


def picture(path):
    path.parent.mkdir(parents=True)
    Image.fromarray(TRAIN.images[0].permute(1, 2, 0).numpy()).save(path)


MAKERS = {
    "set.pt": torch_zip, "old.pt": torch_legacy, "acc.pkl": plain_pickle, "kip.npz": npz, "model.pt": weights,
    "ours.safetensors": ours, "folder/cat/0.png": picture,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One good file of each kind: (path, content)."""
    folder = tmp_path_factory.mktemp("whole")
    for name, make in MAKERS.items():
        make(folder / name)
    return {name: (folder / name, (folder / name).read_bytes()) for name in MAKERS}


@pytest.mark.parametrize("name", MAKERS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(whole, name, data):
    path, content = whole[name]
    damaged(path, content, data)
    before = contents(path.parent)
    target = path.parents[1] if name.endswith("png") else path
    train = replace(TRAIN, images=TRAIN.images[:, :, :2, :2]) if "ours" not in name else TRAIN
    for reader in (lambda: read(target, train, preprocessing="field"), lambda: describe(target),
                   lambda: read_network(target, (3, 8, 8), 3)):  # fmt: skip
        with suppress(DataDamError):
            reader()
    assert contents(path.parent) == before


def test_missing_files(tmp_path):
    for reader in (lambda f: read(f, TRAIN), describe, lambda f: read_network(f, (3, 8, 8), 3)):
        with pytest.raises(DataDamError, match=r"there is no file or folder .*none\.pt; check the path"):
            reader(tmp_path / "none.pt")


# ---- decoding and spaces


def test_decoding_is_enlarging_each_quadrant():
    chosen = SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD)
    decoded = decode(chosen, 2)
    assert (len(decoded), decoded.ipc) == (24, 8)
    assert torch.equal(decoded.labels, LABELS.repeat_interleave(4))
    corners = [(0, 0), (0, 4), (4, 0), (4, 4)]  # row by row
    for i in range(6):
        for j, (y, x) in enumerate(corners):
            tile = MOVED[i : i + 1, :, y : y + 4, x : x + 4]
            expected = F.interpolate(tile, size=(8, 8), mode="bilinear", align_corners=False)
            torch.testing.assert_close(decoded.images[4 * i + j], expected[0])
    assert torch.equal(decode(chosen, 1).images, MOVED)
    assert "2 x 2" in decoded.provenance["decoded"]


@pytest.mark.parametrize("factor", [0, -1, 3, 16])
def test_decoding_into_unequal_tiles_is_refused(factor):
    with pytest.raises(DataDamError, match=rf"8x8 pixels can't be cut into {factor} x {factor} equal tiles"):
        decode(SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD), factor)


@pytest.mark.parametrize("zca", [False, True])
def test_stored_pixels_enter_the_space_of_the_networks(tmp_path, zca):
    preprocess = Preprocess.fit(TRAIN, zca=zca)
    stored = read(saved(tmp_path / "data.pt", [TRAIN.images[ROWS] / 255, LABELS]), TRAIN, preprocessing="none")
    entered = into(stored, preprocess)
    torch.testing.assert_close(entered.images, preprocess.apply(TRAIN.images[ROWS]), atol=1e-4, rtol=0)
    torch.testing.assert_close(entered.pixels(), stored.pixels(), atol=1e-4, rtol=0)
    assert entered.preprocess is preprocess


# ---- writing


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "folder"])
@pytest.mark.parametrize("zca", [False, True])
def test_what_is_written_is_what_is_read(tmp_path, layout, zca):
    preprocess = Preprocess.fit(TRAIN, statistics="field", zca=zca)
    chosen = SyntheticSet(MOVED.clone().requires_grad_(), LABELS, TRAIN.classes, preprocess)
    file = write(chosen, tmp_path / "new/images.pt", layout)
    again = read(file, TRAIN, preprocessing=None if layout == "safetensors" else "zca" if zca else "field")
    assert torch.equal(again.images, MOVED)
    assert torch.equal(again.labels, LABELS)
    assert again.preprocess.tensors().keys() == preprocess.tensors().keys()
    assert sorted(f.name for f in file.parent.iterdir()) == ["images.pt", "labels.pt"][: 1 + (layout == "pair")]


def test_other_toolkits_read_what_is_written(tmp_path):
    chosen = SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD)
    images, labels = torch.load(write(chosen, tmp_path / "res.pt", "data"), weights_only=True)["data"][-1]
    assert torch.equal(images, MOVED)
    assert torch.equal(labels, LABELS)
    assert "it says        (pixel/255 - [0.4914" in describe(tmp_path / "res.pt")
    write(chosen, tmp_path / "images_best.pt", "pair")
    assert torch.equal(torch.load(tmp_path / "labels_best.pt", weights_only=True), LABELS)


def test_a_folder_of_pngs_is_the_pixels(tmp_path):
    chosen = SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD)
    folder = write(chosen, tmp_path / "set", "folder")
    assert sorted(f.name for f in folder.iterdir()) == ["00000", "00001", "00002"]
    again = read(folder, TRAIN)
    assert torch.equal(again.labels, LABELS)
    torch.testing.assert_close(again.images, chosen.pixels(), rtol=0, atol=0.5 / 255 + 1e-6)
    before = contents(tmp_path)
    with pytest.raises(DataDamError, match=r"set exists; choose a folder that does not"):
        write(chosen, folder, "folder")
    assert contents(tmp_path) == before


def test_a_pair_needs_a_name_for_its_labels(tmp_path):
    with pytest.raises(DataDamError, match=r'holds "images", such as images\.pt; received set\.pt'):
        write(SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD), tmp_path / "set.pt", "pair")
    assert not contents(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_full_disk_leaves_what_was_there(tmp_path, full_disk, layout):
    Path.write_bytes(tmp_path / "images", b"old")
    target = tmp_path / ("set" if layout == "folder" else "images")
    with pytest.raises(DataDamError, match=r"could not write .*No space left on device.*Free some space"):
        write(SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD), target, layout)
    assert contents(tmp_path) == {"images": b"old"}
    assert [f.name for f in tmp_path.iterdir()] == ["images"]


# ---- descriptions


def test_a_description_needs_no_data_set(tmp_path):
    saved(tmp_path / "CIFAR10_IPC2_labels.pt", LABELS.float())
    text = describe(saved(tmp_path / "CIFAR10_IPC2_images.pt", REAL))
    assert "one tensor of images, labels in CIFAR10_IPC2_labels.pt" in text
    assert "images         [6, 3, 8, 8] float32, values from -2." in text
    assert "one class number for each image: 2 of each of 3 classes, class by class" in text
    assert "field (as for cifar10) is certain: undoing this mean and std" in text
    assert text.count("sha256 ") == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([MOVED, LABELS], "not certain from the values alone"),
        ([PIXELS.permute(0, 2, 3, 1), LABELS], "none is certain: all values lie in [0, 1]"),
        ([MOVED, normal(6, 3)], "labels         soft\n"),
        ([MOVED, LABELS - 5], "labels         one class number for each image\n"),
        (MOVED, 'not in this file nor beside it; perhaps implied by a "class order"'),
        ([MOVED.where(MOVED < 1, torch.nan), LABELS], "of them NaN or infinite"),
        ([MOVED[:0].clone(), LABELS[:0].clone()], "no images"),
        ({"net_parameters": {"classifier.weight": normal(2, 3)}}, "net_parameters.classifier.weight [2, 3] float32, v"),
        ({"data": "nothing"}, "holds no distilled set"),
    ],
    ids=["moved", "pixels", "soft", "negative", "alone", "nan", "empty", "weights", "text"],
)
def test_descriptions_say_what_is_there(tmp_path, content, says):
    assert says in describe(saved(tmp_path / "file.pt", content))


def test_a_description_of_our_own_file(tmp_path):
    text = describe(SyntheticSet.from_real(TRAIN, ROWS, FIELD).save(tmp_path / "ours"))
    assert "6 images [3, 8, 8], 2 of each of 3 classes, class by class" in text
    assert f"preprocessing  {FIELD}" in text


# ---- networks


def theirs(channels=3, norm="batch", width=4, depth=2, size=8, classes=3):
    """A ConvNet laid out and named as in the field's code, with weights and statistics of its own."""
    norms = {
        "batch": lambda s: [nn.BatchNorm2d(width)], "instance": lambda s: [nn.GroupNorm(width, width)],
        "layer": lambda s: [nn.LayerNorm([width, s, s])], "none": lambda s: [],
    }  # fmt: skip
    layers, inputs = [], channels
    size += 4 * (channels == 1)
    for i in range(depth):
        conv = nn.Conv2d(inputs, width, 3, padding=3 if channels == 1 and i == 0 else 1)
        layers += [conv, *norms[norm](size), nn.ReLU(), nn.AvgPool2d(2)]
        inputs, size = width, size // 2
    network = nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": nn.Linear(width * size**2, classes)})
    for i, (name, tensor) in enumerate(network.state_dict().items()):
        if tensor.is_floating_point():
            tensor.copy_(normal(*tensor.shape, seed=i).abs() if name.endswith("var") else normal(*tensor.shape, seed=i))
    return network.eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "none"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_released_network_computes_the_same_in_ours(tmp_path, channels, norm, prefix):
    network = theirs(channels, norm)
    state = {prefix + name: t for name, t in network.state_dict().items()}
    loaded = read_network(saved(tmp_path / "model_params.pt", {"net_parameters": state}), (channels, 8, 8), 3)
    assert isinstance(loaded, ConvNet)
    assert not loaded.training
    x = normal(5, channels, 8, 8)
    with torch.no_grad():
        embedding = network["features"](x).flatten(1)
        torch.testing.assert_close(loaded(x).embedding, embedding)
        torch.testing.assert_close(loaded(x).logits, network["classifier"](embedding))


def test_width_and_depth_are_read_off_the_tensors(tmp_path):
    network = theirs(width=6, depth=3)
    loaded = read_network(saved(tmp_path / "bare.pt", network.state_dict()), (3, 8, 8), 3)
    assert [conv.out_channels for conv in loaded.convs] == [6, 6, 6]
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in network.parameters())


def without(state, *names):
    return {name: t for name, t in state.items() if name not in names}


def test_weights_that_do_not_fit_are_refused_with_their_keys(tmp_path):
    state = dict(theirs().state_dict())
    for content, says in (
        (without(state, "classifier.weight"), r"holds other weights: features\.0\.weight \[4, 3, 3, 3\], .*…"),
        (state | {"layer1.0.weight": torch.ones(2)}, r"unknown are layer1\.0\.weight\. expected a ConvNet of the DC"),
        (without(state, "features.4.bias"), r"does not fit images.*Missing key.*convs\.1\.bias"),
        (state | {"features.1.extra": torch.ones(1)}, r"Unexpected key.*norms\.0\.extra"),
        (state | {"classifier.bias": torch.full((3,), torch.nan)}, r"classifier\.bias hold NaN or infinite numbers"),
        ({"data": [[MOVED, LABELS]]}, r"unknown are data\.0\.0, data\.0\.1"),
        ([1, 2], r"holds other weights: no tensors"),
    ):
        with pytest.raises(DataDamError, match=says):
            read_network(saved(tmp_path / "model.pt", content), (3, 8, 8), 3)
    file = saved(tmp_path / "model.pt", state)
    for shape, classes in (((3, 16, 16), 3), ((3, 8, 8), 4), ((1, 8, 8), 3)):
        with pytest.raises(DataDamError, match=r"does not fit images.* size mismatch .* Its tensors have the shapes"):
            read_network(file, shape, classes)
    with pytest.raises(DataDamError, match=r"2 blocks halve 2x2 pixels to nothing"):
        read_network(file, (3, 2, 2), 3)


def test_our_own_file_with_other_peoples_options_or_data(tmp_path):
    file = SyntheticSet(MOVED, LABELS, TRAIN.classes, FIELD).save(tmp_path / "ours")
    for option in ({"labels": "class order"}, {"soft": "argmax"}, {"entry": 0}):
        with pytest.raises(DataDamError, match="with its labels; leave labels, soft and entry out"):
            read(file, TRAIN, **option)
    with pytest.raises(DataDamError, match="classes or image size differ"):
        read(file, replace(TRAIN, classes=("x", "y", "z")))
