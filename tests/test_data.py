"""Data sets in memory, and where they come from."""

import hashlib
import http.server
import io
import pickle
import tarfile
import threading
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import toy
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10

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


# ---- CIFAR-10, from a server on this machine


def small_cifar10():
    """{file name: what is pickled in it}, three images a file."""
    noise = np.random.default_rng(0)
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    batch = {
        name: {"data": noise.integers(0, 256, (3, 3072), dtype=np.uint8), "labels": [i, 9, 3]}
        for i, name in enumerate(names)
    }
    return batch | {"batches.meta": {"label_names": [f"label {k}" for k in range(10)]}}


def packed(files):
    """The bytes of a .tar.gz of CIFAR-10's layout, and the md5 of each file."""
    buffer, md5 = io.BytesIO(), {}
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            data = pickle.dumps(content)
            md5[name] = hashlib.md5(data).hexdigest()
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue(), md5


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine with a small CIFAR-10, which torchvision takes for the real one."""
    files = small_cifar10()
    archive, md5 = packed(files)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / CIFAR10.filename).write_bytes(archive)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{CIFAR10.filename}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive).hexdigest())
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(CIFAR10, part, [[name, md5[name]] for name, _ in getattr(CIFAR10, part)])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    server.files, server.folder = files, folder
    server.stop = lambda: (server.shutdown(), server.server_close(), thread.join())
    yield server
    if thread.is_alive():
        server.stop()


def test_cifar10_is_downloaded_once(server, tmp_path):
    train, test = load("cifar10", tmp_path / "data")
    server.stop()
    again, _ = load("cifar10", tmp_path / "data")
    first = torch.from_numpy(server.files["data_batch_1"]["data"]).reshape(3, 3, 32, 32)
    assert torch.equal(train.images[:3], first)
    assert train.labels.tolist() == [label for i in range(5) for label in (i, 9, 3)]
    assert (len(train), len(test), train.classes[9], train.mirror) == (15, 3, "label 9", True)
    assert again.sha256 == train.sha256


def test_cifar10_without_a_network_says_where_to_put_the_file(server, tmp_path):
    server.stop()
    expected = r"could not be downloaded .*put cifar-10-python.tar.gz into .*data, or give the path"
    with pytest.raises(DataDamError, match=expected):
        load("cifar10", tmp_path / "data")


def test_cifar10_put_there_by_hand_needs_no_network(server):
    server.stop()
    assert len(load("cifar10", server.folder)[0]) == 15


def test_cifar10_that_arrives_damaged_is_refused(server, tmp_path):
    (server.folder / CIFAR10.filename).write_bytes(b"half of it")
    with pytest.raises(DataDamError, match=r"could not be downloaded .*corrupted"):
        load("cifar10", tmp_path / "data")
