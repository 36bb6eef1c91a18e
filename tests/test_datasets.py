"""The data sets by name, from small real files of each layout and a server on this machine that has its moods."""

import gzip
import hashlib
import http.server
import io
import pickle
import random
import re
import shutil
import socket
import struct
import tarfile
import threading
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import contents, image_folder
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST, Imagenette, utils

from datadam_lite import DataDamError, downloads, load
from datadam_lite.datasets import DATASETS, FIELD_STATISTICS, listing, verify
from datadam_lite.imagefolder import load_imagefolder
from datadam_lite.readers import PHOTOGRAPHS, ArraysOnly

TRAIN, TEST = [3, 0, 9, 9], [1, 9]  # labels of most of the small data sets
WNIDS = ["n02", "n01", "n03"]  # of the small Tiny ImageNet


def md5(data):
    return hashlib.md5(data).hexdigest()


def noise(n, *shape):
    return np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)


def jpeg(seed, mode="RGB", size=(64, 64)):
    """The bytes of a small photograph."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).resize(size).save(buffer, "JPEG")
    return buffer.getvalue()


def decoded(data):
    return np.array(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)


def tar_gz(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zip_(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


# ---- small files of each layout: (files to serve, what torchvision and the table are told, what to expect)


def idx(array):
    """The MNIST format: a magic number, the lengths, the bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def mnist(name, url, patch):
    kind, (train, test) = {"mnist": MNIST, "fashion_mnist": FashionMNIST}[name], (noise(4, 28, 28), noise(2, 28, 28))
    arrays = [train, np.array(TRAIN, np.uint8), test, np.array(TEST, np.uint8)]
    files = {file: gzip.compress(idx(a)) for (file, _), a in zip(kind.resources, arrays, strict=True)}
    patch.setattr(kind, "mirrors", [url])
    patch.setattr(kind, "resources", [(file, md5(data)) for file, data in files.items()])
    classes = tuple("0123456789") if name == "mnist" else tuple(FashionMNIST.classes)
    return files, (train[:, None], test[:, None], TRAIN, TEST, classes)


def svhn(name, url, patch):
    files, parts, split_list = {}, {"train": noise(4, 3, 32, 32), "test": noise(2, 3, 32, 32)}, {}
    for (split, images), labels in zip(parts.items(), (TRAIN, TEST), strict=True):
        buffer, file = io.BytesIO(), f"{split}_32x32.mat"
        savemat(buffer, {"X": images.transpose(2, 3, 1, 0), "y": np.array([[k or 10] for k in labels], np.uint8)})
        files[file] = buffer.getvalue()
        split_list[split] = [url + file, file, md5(files[file])]
    patch.setattr(SVHN, "split_list", split_list)
    return files, (parts["train"], parts["test"], TRAIN, TEST, tuple("0123456789"))


def cifar(name, url, patch):
    kind, key = (CIFAR10, "labels") if name == "cifar10" else (CIFAR100, "fine_labels")
    classes = [f"label {k}" for k in range(10)]
    members, parts = {kind.meta["filename"]: pickle.dumps({kind.meta["key"]: classes})}, {}
    for part, labels in (("train_list", TRAIN), ("test_list", TEST)):
        listed = getattr(kind, part)
        parts[part] = noise(len(labels), 3, 32, 32)
        for file, _ in listed:
            members[file] = pickle.dumps({"data": parts[part].reshape(-1, 3072), key: labels})
        patch.setattr(kind, part, [[file, md5(members[file])] for file, _ in listed])
    archive, times = tar_gz({f"{kind.base_folder}/{f}": data for f, data in members.items()}), len(kind.train_list)
    patch.setattr(kind, "meta", kind.meta | {"md5": md5(members[kind.meta["filename"]])})
    patch.setattr(kind, "url", url + kind.filename)
    patch.setattr(kind, "tgz_md5", md5(archive))
    train = np.concatenate([parts["train_list"]] * times)
    return {kind.filename: archive}, (train, parts["test_list"], TRAIN * times, TEST, tuple(classes))


def tiny_files():
    """{name: bytes} of a Tiny ImageNet with three classes, two training images and one test image of each."""
    top = "tiny-imagenet-200"
    files = {f"{top}/wnids.txt": "\n".join(WNIDS).encode() + b"\n"}
    files[f"{top}/words.txt"] = b"n01\tgoldfish, Carassius auratus\nn02\tbee\nn03\tpole\nn04\tnot among them\n"
    for k, wnid in enumerate(WNIDS):
        files[f"{top}/train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
        for i in range(2):
            mode = "L" if (k, i) == (1, 0) else "RGB"
            files[f"{top}/train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(10 * k + i, mode)
        files[f"{top}/val/images/val_{2 - k}.JPEG"] = jpeg(100 + k)
    lines = [f"val_{2 - k}.JPEG\t{wnid}\t0\t32\t44\t62\n" for k, wnid in enumerate(WNIDS)]
    files[f"{top}/val/val_annotations.txt"] = "".join(lines).encode()
    files[f"{top}/test/images/test_0.JPEG"] = jpeg(7)
    return files


def tiny(name, url, patch):
    files = tiny_files()
    archive = zip_(files)
    patch.setitem(DATASETS, name, replace(DATASETS[name], url=f"{url}tiny-imagenet-200.zip", md5=md5(archive)))
    train = [[data for file, data in files.items() if f"/train/{wnid}/images" in file] for wnid in sorted(WNIDS)]
    test = [files[f"tiny-imagenet-200/val/images/val_{i}.JPEG"] for i in range(3)]
    rows = np.stack([decoded(data) for part in train for data in part]), np.stack([decoded(data) for data in test])
    return {"tiny-imagenet-200.zip": archive}, (*rows, [1, 1, 0, 0, 2, 2], [2, 1, 0], ("bee", "goldfish", "pole"))


def photographs(name, url, patch):
    source = DATASETS[name]
    folder = source.url.split("/")[-1].removesuffix(".tgz")
    files = {
        f"{folder}/{split}/{wnid}/{wnid}_{i}.JPEG": jpeg(10 * k + i, size=(150 + 5 * k, 140))
        for k, wnid in enumerate(PHOTOGRAPHS[name]) for split, n in (("train", 2), ("val", 1)) for i in range(n)
    }  # fmt: skip
    archive = tar_gz(files)
    known = md5(archive) if source.md5 else None
    patch.setitem(DATASETS, name, replace(source, url=f"{url}{folder}.tgz", md5=known))
    labels = [k for k in range(10) for _ in range(2)], list(range(10))
    return {f"{folder}.tgz": archive}, (None, None, *labels, tuple(PHOTOGRAPHS[name].values()))


SMALL = {
    "mnist": mnist, "fashion_mnist": mnist, "svhn": svhn, "cifar10": cifar, "cifar100": cifar, "tinyimagenet": tiny,
    "imagenette": photographs, "imagewoof": photographs,
}  # fmt: skip


# ---- the server


class Moody(http.server.SimpleHTTPRequestHandler):
    """Sends files, or what its mood lets it send."""

    def log_message(self, *_):
        pass

    def send_head(self):
        if self.server.mood == "silent":
            self.server.leaving.wait(5)
        return super().send_head()

    def copyfile(self, source, out):
        data, mood, leaving = source.read(), self.server.mood, self.server.leaving
        if mood == "damaging":
            data = data[:-9] + bytes([data[-9] ^ 255]) + data[-8:]
        if mood == "asking to log in":
            data = b"<html>Welcome! Please log in.</html>".ljust(len(data))
        half = len(data) // 2
        with suppress(OSError):
            out.write(data[:half])
            if mood == "stalling":
                leaving.wait(5)
            if mood not in ("stalling", "cutting short"):
                out.write(data[half:])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine; server.offer(name) makes a small data set that is taken for the real one."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Moody, directory=folder))
    server.daemon_threads = False  # so that closing it waits for them
    server.mood, server.leaving, server.folder = "well", threading.Event(), folder
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))

    def offer(name):
        files, expected = SMALL[name](name, f"http://127.0.0.1:{server.server_port}/", monkeypatch)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        return expected

    def stop():
        server.leaving.set()
        server.shutdown()
        server.server_close()
        thread.join()

    server.offer, server.stop = offer, stop
    yield server
    if thread.is_alive():
        stop()


@pytest.mark.parametrize("name", SMALL)
def test_a_data_set_is_downloaded_once(server, tmp_path, name):
    train_images, test_images, train_labels, test_labels, classes = server.offer(name)
    train, test = load(name, tmp_path / "data")
    assert (train.labels.tolist(), test.labels.tolist()) == (train_labels, test_labels)
    assert (train.classes, train.name, test.name) == (classes, name, name)
    assert train.mirror == test.mirror == (name not in ("mnist", "svhn"))
    if train_images is not None:
        assert torch.equal(train.images, torch.from_numpy(train_images))
        assert torch.equal(test.images, torch.from_numpy(test_images))
    server.stop()
    assert [part.sha256 for part in load(name, tmp_path / "data")] == [train.sha256, test.sha256]


PLACES = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}


@pytest.mark.parametrize("name", SMALL)
def test_files_put_there_by_hand_need_no_network(server, tmp_path, name):
    expected = server.offer(name)
    server.stop()
    shutil.copytree(server.folder, tmp_path / "data" / PLACES.get(name, ""))
    assert load(name, tmp_path / "data")[0].labels.tolist() == expected[2]


@pytest.mark.parametrize("mood", ["silent", "stalling", "cutting short", "damaging", "asking to log in"])
@pytest.mark.parametrize("name", SMALL)
def test_a_server_that_is_not_well_does_no_harm(server, tmp_path, monkeypatch, name, mood):
    """One sentence says what to do, and when the server is well again so are we."""
    expected = server.offer(name)
    server.mood, root, started = mood, tmp_path / "data", time.monotonic()
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    advice = rf"\(.*\); put {re.escape(DATASETS[name].files)} into .*data, or"
    with pytest.raises(DataDamError, match=f"^{name} could not be downloaded or read {advice}"):
        load(name, root)
    assert time.monotonic() - started < 5
    assert socket.getdefaulttimeout() is None
    assert not (tmp_path / "cache").exists()
    server.mood = "well"
    monkeypatch.setattr(downloads, "TIMEOUT", 30)
    assert load(name, root)[0].labels.tolist() == expected[2]


def test_a_server_that_has_the_file_no_more(server, tmp_path):
    server.offer("cifar10")
    (server.folder / CIFAR10.filename).unlink()
    with pytest.raises(DataDamError, match=r"cifar10 could not be downloaded or read \(HTTP Error 404: File not"):
        load("cifar10", tmp_path / "data")


@pytest.mark.parametrize("name", SMALL)
def test_no_server_at_all(server, tmp_path, name):
    server.offer(name)
    server.stop()
    with pytest.raises(DataDamError, match=rf"^{name} could not be downloaded or read .*refused"):
        load(name, tmp_path / "data")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_a_file_that_a_killed_process_was_unpacking_is_unpacked_again(server, tmp_path, name):
    expected = server.offer(name)
    load(name, tmp_path / "data")
    server.stop()
    for file in (tmp_path / "data" / PLACES[name]).glob("*ubyte"):
        file.write_bytes(file.read_bytes()[:-3])
    assert torch.equal(load(name, tmp_path / "data")[0].images, torch.from_numpy(expected[0]))


@pytest.mark.parametrize("name", ["imagenette", "imagewoof"])
def test_an_interrupt_while_unpacking_leaves_no_half_folder(server, tmp_path, monkeypatch, name):
    expected = server.offer(name)
    extract = utils.extract_archive

    def interrupted(packed, folder):
        extract(packed, folder)
        shutil.rmtree(next(Path(folder).glob("*/train/*")))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(utils, "extract_archive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(name, tmp_path / "data")
    assert load(name, tmp_path / "data")[0].labels.tolist() == expected[2]
    assert not list((tmp_path / "data").glob(".*"))


def test_a_damaged_archive_of_ones_own_is_refused_and_kept(server, tmp_path):
    server.offer("imagewoof")
    (tmp_path / "data").mkdir()
    mine = tmp_path / "data/imagewoof2-160.tgz"
    mine.write_bytes((server.folder / mine.name).read_bytes()[:-500])
    with pytest.raises(DataDamError, match="imagewoof could not be downloaded or read"):
        load("imagewoof", tmp_path / "data")
    assert list(contents(tmp_path / "data")) == [mine.name]


# ---- photographs


@pytest.mark.parametrize("options", [{}, {"size": 32}, {"size": 32, "resize": "squash"}])
def test_photographs_are_those_of_the_folder_at_128_pixels(server, tmp_path, options):
    server.offer("imagewoof")
    train, test = load("imagewoof", tmp_path, **options)
    expected = load_imagefolder(tmp_path / "imagewoof2-160", **{"size": 128, **options})
    assert torch.equal(train.images, expected[0].images)
    assert torch.equal(test.images, expected[1].images)


def test_imagenette_is_torchvisions():
    url, known = Imagenette._ARCHIVES["160px"]
    assert (DATASETS["imagenette"].url, DATASETS["imagenette"].md5) == (url, known)
    names = {wnid: names[0] for wnid, names in Imagenette._WNID_TO_CLASS.items()}
    assert list(PHOTOGRAPHS["imagenette"].items()) == sorted(names.items())


def test_imagesquawk_is_ten_birds_of_ones_own_imagenet(tmp_path):
    wnids = PHOTOGRAPHS["imagesquawk"]
    image_folder(tmp_path / "imagenet", splits=("train", "val"), classes=(*wnids, "n01440764"), n=1, size=(20, 30))
    train, test = load("imagesquawk", tmp_path, size=24)
    expected, _ = load_imagefolder(tmp_path / "imagenet", size=24)
    order = [sorted([*wnids, "n01440764"]).index(wnid) for wnid in wnids]
    assert torch.equal(train.images, expected.images[order])
    assert (train.labels.tolist(), test.labels.tolist()) == (list(range(10)),) * 2
    assert (train.classes[0], train.classes[9], train.name) == ("peacock", "cockatoo", "imagesquawk")


@pytest.mark.parametrize("name", ["imagesquawk", "imagenet64"])
def test_what_can_not_be_downloaded_says_which_files_to_put_where(tmp_path, name):
    with pytest.raises(DataDamError) as told:
        load(name, tmp_path)
    assert f"put {DATASETS[name].files} into {tmp_path.resolve()}, or give the path" in str(told.value)


# ---- Tiny ImageNet


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "own cache"))
    return tmp_path / "own cache"


def put(files, root, kind):
    """Write a Tiny ImageNet as a folder or zip."""
    root.mkdir(exist_ok=True)
    if kind == "zip":
        (root / "tiny-imagenet-200.zip").write_bytes(zip_(files))
        return
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def test_the_folder_and_the_zip_of_tinyimagenet_are_the_same(tmp_path):
    for kind in ("folder", "zip"):
        put(tiny_files(), tmp_path / kind, kind)
    folder, zipped = (load("tinyimagenet", tmp_path / kind) for kind in ("folder", "zip"))
    assert [part.sha256 for part in folder] == [part.sha256 for part in zipped]


def test_tinyimagenet_is_decoded_once(tmp_path, own_cache, monkeypatch):
    put(tiny_files(), tmp_path / "data", "zip")
    first = load("tinyimagenet", tmp_path / "data")
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("an image was decoded again"))
    assert [part.sha256 for part in load("tinyimagenet", tmp_path / "data")] == [part.sha256 for part in first]


TOP = "tiny-imagenet-200/"
NOTES = TOP + "val/val_annotations.txt"
TINY_REFUSED = {
    "no wnids": (lambda f: f.pop(TOP + "wnids.txt"), r"tiny-imagenet-200/wnids.txt can't be read"),
    "no words": (lambda f: f.pop(TOP + "words.txt"), r"words.txt can't be read"),
    "no annotations": (lambda f: f.pop(NOTES), r"val_annotations.txt can't be read"),
    "empty wnids": (lambda f: f.update({TOP + "wnids.txt": b"\n"}), r"wnids.txt is empty"),
    "no text": (lambda f: f.update({TOP + "words.txt": b"\xff\xfe"}), r"words.txt can't be read"),
    "a line less": (lambda f: f.update({NOTES: f[NOTES].split(b"\n", 1)[1]}), r"val/images/val_2.JPEG is of no class"),
    "half a line": (lambda f: f.update({NOTES: f[NOTES][:-22]}), r"val_0.JPEG is of no class"),
    "a wrong label": (lambda f: f.update({NOTES: f[NOTES].replace(b"n01", b"n09")}), r"val_1.JPEG is of no class"),
    "a line more": (lambda f: f.update({NOTES: f[NOTES] + b"val_9.JPEG\tn01\n"}), r"val/images/val_9.JPEG is missing"),
    "no test image": (lambda f: f.pop(TOP + "val/images/val_1.JPEG"), r"val/images/val_1.JPEG is missing"),
    "no training images": (
        lambda f: [f.pop(f"{TOP}train/n01/images/n01_{i}.JPEG") for i in range(2)], r"class n01 has no train images"
    ),
    "a class too many": (lambda f: f.update({TOP + "train/n7/images/a.JPEG": b""}), r"n7/images/a.JPEG is of no class"),
    "no image": (lambda f: f.update({TOP + "val/images/val_1.JPEG": b"no"}), r"val_1.JPEG can't be read as an image"),
    "another size": (
        lambda f: f.update({TOP + "val/images/val_1.JPEG": jpeg(1, size=(32, 32))}), r"64x64 .*val_1.JPEG is 32x32"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(("change", "message"), TINY_REFUSED.values(), ids=TINY_REFUSED)
def test_what_is_no_tinyimagenet_is_refused(tmp_path, own_cache, change, message, kind):
    files = tiny_files()
    change(files)
    put(files, tmp_path / "data", kind)
    with pytest.raises(DataDamError, match=message):
        load("tinyimagenet", tmp_path / "data")
    assert not own_cache.exists()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_annotations_that_someone_typed_into_load_or_are_refused(tmp_path_factory, seed):
    draw, files = random.Random(seed), tiny_files()
    notes = bytearray(files[NOTES])
    for _ in range(draw.randint(1, 3)):
        notes[draw.randrange(len(notes))] = draw.choice(b"\t\n 0129nva\xff")
    put(files | {NOTES: bytes(notes)}, tmp_path_factory.getbasetemp() / "typed", "zip")
    with suppress(DataDamError):
        assert len(load("tinyimagenet", tmp_path_factory.getbasetemp() / "typed")[1]) == 3


# ---- ImageNet-64


def batch(n=2, seed=0, **changes):
    data = np.random.default_rng(seed).integers(0, 256, (n, 12288), dtype=np.uint8)
    return {"data": data, "labels": [1000 - seed, 1, *range(2, n)][:n], "mean": data.sum(0)} | changes


@pytest.fixture
def imagenet64(tmp_path):
    """A folder with the eleven batches, of two images each."""
    folder = tmp_path / "imagenet64"
    folder.mkdir()
    for i, name in enumerate([*(f"train_data_batch_{k}" for k in range(1, 11)), "val_data"]):
        (folder / name).write_bytes(pickle.dumps(batch(seed=i)))
    return folder


def test_imagenet64_is_all_batches_in_order_with_labels_from_0(imagenet64):
    train, test = load("imagenet64", imagenet64.parent)
    expected = np.concatenate([batch(seed=i)["data"] for i in range(10)]).reshape(-1, 3, 64, 64)
    assert torch.equal(train.images, torch.from_numpy(expected))
    assert train.labels.tolist() == [k for i in range(10) for k in (999 - i, 0)]
    assert test.labels.tolist() == [989, 0]
    assert (len(train.classes), train.classes[0], train.name) == (1000, "1", "imagenet64")


def test_a_missing_batch_is_named(imagenet64):
    (imagenet64 / "train_data_batch_7").unlink()
    with pytest.raises(DataDamError, match=r"imagenet64 lacks train_data_batch_7; put .* into"):
        load("imagenet64", imagenet64.parent)


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol_and_numpy_are_unpickled(protocol, core):
    given_ = batch()
    data = pickle.dumps(given_, protocol=protocol)
    for other in (b"numpy.core.", b"numpy._core."):
        if protocol < 4:  # names are lines of text there, and behind a length later
            data = data.replace(other, core)
    found = ArraysOnly(io.BytesIO(data), encoding="latin1").load()
    assert np.array_equal(found["data"].numpy(), given_["data"])
    assert found["labels"] == given_["labels"]


def test_arrays_that_python_2_pickled_are_unpickled():
    """Their bytes are text to Python 3."""
    rows = bytes(range(256)) * 2
    text = b"".join(b"\\x%02x" % byte for byte in rows)
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nI256\ntcnumpy\ndtype\n"
    data = head + b"(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'" + text + b"'\ntb."
    found = ArraysOnly(io.BytesIO(data), encoding="latin1").load().numpy()
    assert np.array_equal(found, np.frombuffer(rows, np.uint8).reshape(2, 256))


@pytest.mark.parametrize("labels", [np.array([989, 0], ">i4") + 1, np.array([990, 1], "<u2")])
def test_labels_may_be_an_array_and_images_in_any_order(imagenet64, labels):
    columns = np.asfortranarray(batch(seed=10)["data"])
    (imagenet64 / "val_data").write_bytes(pickle.dumps(batch(data=columns, labels=labels)))
    test = load("imagenet64", imagenet64.parent)[1]
    assert torch.equal(test.images.flatten(1), torch.from_numpy(batch(seed=10)["data"]))
    assert test.labels.tolist() == [989, 0]


class Harm:
    """What a pickle may do when it is read."""

    def __init__(self, call, *arguments):
        self.made = call, arguments

    def __reduce__(self):
        return self.made


HARM = [Harm(exec, "import os; os.mkdir('harm')"), Harm(np.load, "x"), Harm(print)]


@pytest.mark.parametrize("harm", HARM)
def test_a_pickle_that_would_run_a_program_is_refused(imagenet64, tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    (imagenet64 / "val_data").write_bytes(pickle.dumps(batch(mean=harm)))
    with pytest.raises(DataDamError, match=r"val_data is not a batch .*only arrays are safe to unpickle"):
        load("imagenet64", tmp_path)
    assert not (tmp_path / "harm").exists()


NO_BATCH = {
    "empty": b"",
    "text": b"no pickle",
    "half": pickle.dumps(batch())[:100],
    "cut short": pickle.dumps(batch())[:-40],
    "a list": pickle.dumps([1, 2]),
    "no labels": pickle.dumps({"data": batch()["data"]}),
    "no images": pickle.dumps(batch(0)),
    "a label less": pickle.dumps(batch(labels=[1])),
    "labels from 0": pickle.dumps(batch(labels=[0, 1])),
    "labels to 1001": pickle.dumps(batch(labels=[1, 1001])),
    "fractions": pickle.dumps(batch(labels=[1.5, 2])),
    "words": pickle.dumps(batch(labels=["1", "2"])),
    "columns": pickle.dumps(batch(labels=[[1], [2]])),
    "32 pixels": pickle.dumps(batch(data=batch()["data"][:, :3072])),
    "floats": pickle.dumps(batch(data=batch()["data"] / 255)),
    "lists": pickle.dumps(batch(data=[[1]])),
}


@pytest.mark.parametrize("content", NO_BATCH.values(), ids=NO_BATCH)
def test_what_is_no_batch_is_refused(imagenet64, content):
    (imagenet64 / "train_data_batch_3").write_bytes(content)
    with pytest.raises(DataDamError, match=r"train_data_batch_3 is not a batch of .*Download it again"):
        load("imagenet64", imagenet64.parent)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_batch_with_flipped_bytes_loads_or_is_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "flipped/imagenet64"
    folder.mkdir(parents=True, exist_ok=True)
    for name in [*(f"train_data_batch_{k}" for k in range(1, 11)), "val_data"]:
        if not (folder / name).exists():
            (folder / name).write_bytes(pickle.dumps(batch(1)))
    content = bytearray(pickle.dumps(batch(1)))
    frame = [*range(200), *range(len(content) - 200, len(content))]  # what lies between is pixels
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.sampled_from(frame))] = data.draw(st.integers(0, 255))
    (folder / "val_data").write_bytes(content)
    with suppress(DataDamError):
        assert load("imagenet64", folder.parent)[1].shape == (3, 64, 64)


# ---- the table


def test_the_table_knows_the_digits():
    train, test = load("digits")
    DATASETS["digits"].check(train, test)


@pytest.mark.parametrize("change", [{"train": 1298}, {"test": 499}, {"classes": 9}, {"shape": (3, 8, 8)}])
def test_a_data_set_that_is_not_what_the_table_says(monkeypatch, change):
    monkeypatch.setitem(DATASETS, "digits", replace(DATASETS["digits"], **change))
    with pytest.raises(DataDamError, match=r"digits should be .*; found 1,297 training and 500 test images of 1x8"):
        verify("digits")


def test_an_incomplete_data_set_loads_but_is_not_verified(server, tmp_path):
    server.offer("mnist")
    load("mnist", tmp_path)
    with pytest.raises(DataDamError, match=r"mnist should be 60,000 training .*; found 4 training .* get them again"):
        verify("mnist", tmp_path)


def test_a_report_counts_classes_and_repeated_images(tmp_path):
    folder = image_folder(tmp_path / "pets", n=4)
    (folder / "test/dog/3.png").unlink()
    for name in ("0.png", "1.png"):
        shutil.copy(folder / "train/cat/0.png", folder / "test/cat" / name)
    train, test = load(folder)
    report = verify(folder).splitlines()
    assert report[0] == "pets: 8 training and 7 test images of 3x6x8 in 2 classes"
    assert report[1].startswith(f"train    4 to 4 images of a class, mean {train.statistics[0][0]:.4f} ")
    assert report[3].startswith("test     3 to 4 images of a class, ")
    assert (train.sha256 in report[2], test.sha256 in report[4]) == (True, True)
    assert report[5] == "both     2 of the test images are training images too"


def test_the_listing_names_every_data_set_its_files_and_its_licence():
    text = listing()
    assert max(map(len, text.splitlines())) <= 120
    for source in DATASETS.values():
        for words in (source.name, source.what, source.files, source.citation, source.obtained):
            assert words in text


def test_no_checksum_is_said_to_be_checked_where_none_is_known():
    for source in DATASETS.values():
        if source.url:
            assert ("no checksum known" in source.obtained) == (source.md5 is None)


def test_the_fields_statistics_fit_the_channels():
    for name, (mean, std) in FIELD_STATISTICS.items():
        assert len(mean) == len(std) == DATASETS[name].shape[0]
    assert FIELD_STATISTICS.keys() == DATASETS.keys() - {"digits"}
