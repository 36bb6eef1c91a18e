"""A chunk of classes at a time: the same gradient in less memory."""

import subprocess
import sys
import warnings
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samples import small, toy

from datadam_lite import DataDamError, Distiller, Settings, class_vectors, distill
from datadam_lite.chunks import chunk_size, classes_at_once, even, slices
from datadam_lite.memory import bytes_per_image
from datadam_lite.networks import NETWORKS, ConvNet, build
from datadam_lite.recipes import recipe

CLASSES = 5


def distiller_(chunk=None, *, ipc=2, **changes):
    return Distiller(toy(classes=CLASSES), ipc, small(**changes), settings=Settings(device="cpu", chunk=chunk))


@given(st.integers(1, 1000), st.integers(1, 2000))
def test_chunks_hold_every_class_once_and_are_nearly_equal(classes, most):
    size = even(classes, most)
    parts = slices(classes, size)
    assert [k for part in parts for k in range(part.start, part.stop)] == list(range(classes))
    assert size <= most
    assert len(parts) == -(-classes // min(most, classes))  # no more of them than need be
    assert all(a.stop - a.start >= b.stop - b.start for a, b in pairwise(parts))


# ---- the gradient


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"method": "dm"}, {"method": "atom"}, {"norm": "none"}, {"norm": "layer"}, {"norm": "group"},
        {"augmentation": ""}, {"synthetic_batch": 1}, {"kernel": "gaussian"}, {"zca": True}, {"loss_scale": 100.0},
    ],
    ids=str,
)  # fmt: skip
def test_chunks_add_up_to_the_gradient_of_all_classes(changes):
    together = distiller_(CLASSES, **changes)
    shares, gradient = together.gradient(3)
    for chunk in (1, 2, 3):
        found = distiller_(chunk, **changes)
        assert len(found.chunks) == -(-CLASSES // chunk)
        its_shares, its_gradient = found.gradient(3)
        torch.testing.assert_close(its_gradient, gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item())
        torch.testing.assert_close(its_shares.sum(0), shares.sum(0), rtol=1e-5, atol=0)
        for name, term in found.loss(3).items():
            torch.testing.assert_close(term, together.loss(3)[name], rtol=1e-5, atol=0)
    assert gradient.flatten(1).norm(dim=1).count_nonzero() >= CLASSES


def test_the_gradient_of_the_chunks_is_that_of_the_loss():
    distiller = distiller_(2)
    _, gradient = distiller.gradient(1)
    (expected,) = torch.autograd.grad(sum(distiller.loss(1).values()), distiller.images)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=0)


def test_a_run_in_chunks_ends_where_a_whole_one_does():
    train = toy(classes=CLASSES)
    one, whole = (distill(train, 1, small(), settings=Settings(chunk=chunk)) for chunk in (1, CLASSES))
    torch.testing.assert_close(one.images, whole.images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.losses, whole.losses, rtol=1e-5, atol=0)
    assert not torch.equal(one.images, one.initial(train).images)
    assert (one.provenance["numerics"]["chunk"], whole.provenance["numerics"]["chunk"]) == (1, CLASSES)


# ---- batch norm


def test_batch_norm_goes_through_in_one_chunk():
    assert distiller_(norm="batch").chunks == [slice(0, CLASSES)]
    assert distiller_(CLASSES, norm="batch").chunk == CLASSES
    with pytest.raises(DataDamError, match=r"averages over the 5 classes .* norm_classes=2"):
        distiller_(2, norm="batch")


def test_the_recipe_may_let_batch_norm_average_over_fewer_classes():
    """Then a class doesn't see the others outside its chunk, and the result is another."""
    pairs, all_ = distiller_(norm="batch", norm_classes=2), distiller_(norm="batch")
    assert pairs.chunks == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert not torch.allclose(pairs.gradient(1)[1], all_.gradient(1)[1], rtol=1e-2)
    before = pairs.gradient(1)[1]
    with torch.no_grad():
        pairs.images[0] += 1  # of class 0: class 1 sees it, class 2 doesn't
    after = pairs.gradient(1)[1]
    assert not torch.equal(after[2:4], before[2:4])
    assert torch.equal(after[4:], before[4:])


def test_norm_classes_is_of_batch_norm_alone():
    with pytest.raises(DataDamError, match="norm_classes needs the norm batch; received the norm instance"):
        small(norm_classes=2)
    assert distiller_(norm="batch", norm_classes=99).chunk == CLASSES


# ---- how large


def test_as_many_classes_as_fit():
    network = ConvNet((3, 32, 32), 10)
    assert bytes_per_image(network, (3, 32, 32)) == 128 * 32 * 32 * 4
    assert classes_at_once(network, (3, 32, 32), 64, 10) == 1
    assert chunk_size(network, recipe("datadam"), (3, 32, 32), 10, 10) == 1
    assert chunk_size(ConvNet((1, 8, 8), 10, width=32), recipe("datadam"), (1, 8, 8), 10, 1) == 10
    many, few = (classes_at_once(ConvNet((1, 8, 8), 10, width=8), (1, 8, 8), n, 1) for n in (8, 80))
    assert 5 < many / few < 11


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_size(name):
    network = build(name, (3, 32, 32), 10)
    assert 2**10 < bytes_per_image(network, (3, 32, 32)) < 2**22


def test_a_chunk_is_a_positive_number():
    for wrong in (0, -1):
        with pytest.raises(DataDamError, match="chunk must be positive"):
            Settings(chunk=wrong)
    assert distiller_(10**6).chunk == CLASSES


# ---- a run goes on with the chunk it began with


def test_the_chunk_of_a_checkpoint_is_used_again(tmp_path):
    first = distiller_(2)
    next(first)
    first.save_checkpoint(tmp_path / "c")
    resumed = distiller_()
    assert resumed.chunk != 2
    resumed.load_checkpoint(tmp_path / "c")
    assert resumed.chunk == 2
    next(first), next(resumed)
    assert torch.equal(resumed.images, first.images)
    distiller_(2).load_checkpoint(tmp_path / "c")  # the same command
    with pytest.raises(DataDamError, match=r"chunk is 2 there and 3 here"):
        distiller_(3).load_checkpoint(tmp_path / "c")


# ---- too little memory


def short_of_memory(distiller, most):
    """From now on the network takes `most` classes; more raise what CUDA raises."""

    def vectors(network, terms, images, classes):
        if classes > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return class_vectors(network, terms, images, classes)

    distiller.class_vectors = vectors
    return distiller


def test_out_of_memory_halves_the_chunk_and_says_so():
    short, expected = short_of_memory(distiller_(CLASSES), 2), distiller_(2)
    with pytest.warns(UserWarning, match=r"out of memory on cpu; going on with \d classes at once") as said:
        next(short)
    assert [str(w.message).split()[-4] for w in said] == ["3", "2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the smaller chunk stays
        next(short)
    next(expected), next(expected)
    assert torch.equal(short.images, expected.images)
    assert short.losses == expected.losses


def test_the_same_command_goes_on_after_the_chunk_was_halved(tmp_path):
    short = short_of_memory(distiller_(CLASSES), 2)
    with pytest.warns(UserWarning, match="going on with"):
        next(short)
    short.save_checkpoint(tmp_path / "c")
    resumed = distiller_(CLASSES)
    resumed.load_checkpoint(tmp_path / "c")
    assert resumed.chunk == 2


def test_a_single_class_that_does_not_fit_is_an_error_that_helps():
    with pytest.raises(DataDamError, match=r"1 classes at once, and can't take fewer: use a smaller real_batch"):
        next(short_of_memory(distiller_(1), 0))


def test_batch_norm_is_not_halved_behind_your_back():
    with pytest.raises(DataDamError, match=r"5 classes at once, .* fewer norm_classes"):
        next(short_of_memory(distiller_(norm="batch"), 2))


# Not ru_maxrss: a process inherits that from the one that started it, here one in which hundreds of tests have run.
PEAK = """
import pathlib, re, sys, torch
from datadam_lite import Distiller, ImageSet, Settings, recipe
classes, chunk = map(int, sys.argv[1:])
images = torch.zeros(classes * 4, 3, 64, 64, dtype=torch.uint8)
images.random_(256, generator=torch.Generator().manual_seed(0))
train = ImageSet(images, torch.arange(len(images)) // 4, tuple(map(str, range(classes))))
small = recipe("datadam", width=16, real_batch=4, iterations=1)
next(Distiller(train, 1, small, settings=Settings(device="cpu", chunk=chunk)))
status = pathlib.Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) // 1024)
"""


def peak(classes, chunk):
    """MiB at most of a process that takes one step, 64-pixel images."""
    command = [sys.executable, "-c", PEAK, str(classes), str(chunk)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it in /proc")
def test_memory_is_bounded_by_the_chunk_not_by_the_number_of_classes():
    """Hundreds of classes of 64 pixels: beside the images themselves they need what ten need."""
    ten, many, at_once = peak(10, 10), peak(300, 10), peak(300, 300)
    data = 300 * 3 * 64 * 64 * (4 + 6 * 4) / 2**20  # 4 real images in bytes; the synthetic one, its start, momentum, …
    assert many - ten < data + 50
    assert at_once - ten > 3 * (data + 50)  # without chunks it would be far more
