"""Evaluation: the fixed protocol, step by step; honest reports."""

import math
import statistics
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal, toy
from torch.nn import functional as F

from datadam_lite import (
    ConvNet,
    DataDamError,
    ImageSet,
    Preprocess,
    Protocol,
    Report,
    SyntheticSet,
    accuracy,
    evaluate,
    generator,
    random,
    train_network,
)

module = import_module("datadam_lite.evaluate")  # `datadam_lite.evaluate` is the function


def protocol_(**changes):
    return Protocol(**{"epochs": 2, "width": 4} | changes)


def real(train, **options):
    return SyntheticSet.from_real(train, random(train, 2), Preprocess.fit(train, **options))


# ---- training


def slow_train(chosen, stream, protocol):
    """v = m v + (gradient + decay w), w = w - rate v; the rate a tenth from half of the epochs on."""
    images, labels = chosen.images, chosen.labels
    network = ConvNet(tuple(images.shape[1:]), 3, width=protocol.width, norm=protocol.norm).reset(stream)
    weights = list(network.parameters())
    velocity = [torch.zeros_like(w) for w in weights]
    for epoch in range(protocol.epochs):
        rate = protocol.lr if epoch < max(1, protocol.epochs // 2) else 0.1 * protocol.lr
        order = torch.randperm(len(images), generator=stream)
        for i in range(0, len(images), protocol.batch):
            rows = order[i : i + protocol.batch]
            logits = network(images[rows]).logits
            loss = -F.log_softmax(logits, 1)[range(len(rows)), labels[rows]].mean()
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, v, g in zip(weights, velocity, gradients, strict=True):
                    v.mul_(protocol.momentum).add_(g + protocol.weight_decay * w)
                    w.sub_(rate * v)
    return network.eval()


@pytest.mark.parametrize("epochs", [1, 2, 4, 5, 7])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_training_is_sgd_with_momentum_and_one_drop_at_half(epochs, norm):
    """In one check: rate, drop, momentum kept over the drop, weight decay, batches, and the final iterate."""
    chosen = real(toy())
    protocol = protocol_(epochs=epochs, batch=4, lr=0.1, weight_decay=0.01, augmentation="", norm=norm)
    fast = train_network(chosen, generator(5, "test"), protocol=protocol)
    slow = slow_train(chosen, generator(5, "test"), protocol)
    for (name, a), b in zip(fast.state_dict().items(), slow.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=name)
    assert not fast.training


def test_the_protocol_is_the_fields():
    protocol = Protocol()
    assert (protocol.epochs, protocol.batch, protocol.width, protocol.norm) == (1000, 256, 128, "instance")
    assert (protocol.lr, protocol.momentum, protocol.weight_decay) == (0.01, 0.9, 5e-4)
    assert protocol.augmentation == "color_crop_cutout_flip_scale_rotate"


def draws_of(monkeypatch, *, mirror=True):
    """All draws of a training."""
    drawn, draw = [], module.draw
    monkeypatch.setattr(module, "draw", lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1])
    train_network(real(toy(mirror=mirror)), generator(0, "test"), protocol=protocol_(epochs=20, batch=4))
    return drawn


def test_every_batch_has_one_operation_and_every_image_parameters_of_its_own(monkeypatch):
    drawn = draws_of(monkeypatch)
    assert [len(d.operation) for d in drawn] == [4, 2] * 20
    assert all(len(set(d.operation.tolist())) == 1 for d in drawn)
    assert all(len(set(d.uniforms[:, 0].tolist())) == len(d.operation) for d in drawn)
    assert {d.strategy[d.operation[0]] for d in drawn} == set(drawn[0].strategy)


@pytest.mark.parametrize("mirror", [False, True])
def test_only_what_may_be_mirrored_is_flipped(monkeypatch, mirror):
    assert ("flip" in draws_of(monkeypatch, mirror=mirror)[0].strategy) == mirror


def test_a_network_depends_on_its_generator_alone():
    chosen, weights = real(toy()), []
    for seed in (0, 0, 1):
        torch.manual_seed(len(weights))
        network = train_network(chosen, generator(seed, "test"), protocol=protocol_())
        weights.append(network.head.weight.tolist())
    assert weights[0] == weights[1] != weights[2]


def halves(n, seed):
    """Dark images with a bright left or right half, and noise: a problem that can be learned."""
    stream = generator(seed, "halves")
    images = torch.randint(0, 80, (2 * n, 1, 8, 8), generator=stream, dtype=torch.uint8)
    labels = torch.arange(2).repeat_interleave(n)
    images[:n, :, :, :4] += 100
    images[n:, :, :, 4:] += 100
    return ImageSet(images, labels, ("left", "right"), "halves", mirror=False)


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_a_separable_problem_is_learned(norm):
    train, test = halves(20, 0), halves(100, 1)
    report = evaluate(real(train), test, networks=2, protocol=protocol_(epochs=60, width=8, lr=0.05, norm=norm))
    assert min(report.accuracies[0]) > 95


def test_what_may_not_be_mirrored_is_not():
    """With flips, left and right would be the same thing."""
    train, test = halves(20, 0), halves(50, 1)
    sets = [replace(real(train), mirror=mirror) for mirror in (False, True)]
    protocol = protocol_(epochs=60, width=8, lr=0.05, augmentation="flip")
    (kept,), (mixed,) = evaluate(sets, test, networks=1, protocol=protocol).accuracies
    assert kept > 95
    assert mixed < 80


# ---- testing


def test_accuracy_is_the_share_of_right_answers():
    network = ConvNet((3, 8, 8), 4, width=4).reset(generator(0, "test"))
    images, labels = normal(1100, 3, 8, 8), torch.arange(1100) % 4
    right = 0
    for image, label in zip(images, labels.tolist(), strict=True):
        logits = network(image[None]).logits[0].tolist()
        right += logits.index(max(logits)) == label
    assert accuracy(network, images, labels) == pytest.approx(100 * right / 1100)


@pytest.mark.parametrize("zca", [False, True])
def test_test_images_go_through_the_sets_own_preprocessing(monkeypatch, zca):
    """Not through one fitted on them."""
    train, test, seen = toy(), toy(5, seed=1), []
    monkeypatch.setattr(module, "accuracy", lambda network, images, labels: seen.append((images, labels)) or 0.0)
    chosen = real(train, zca=zca)
    evaluate(chosen, test, networks=1, protocol=protocol_())
    ((images, labels),) = seen
    assert torch.equal(images, chosen.preprocess.apply(test.images))
    assert torch.equal(labels, test.labels)
    assert not torch.allclose(images, Preprocess.fit(test, zca=zca).apply(test.images))


def test_the_test_set_is_looked_at_once_and_last(monkeypatch):
    events = []
    step, measure = torch.optim.SGD.step, module.accuracy
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *a, **k: events.append("step") or step(*a, **k))
    monkeypatch.setattr(module, "accuracy", lambda *a: events.append("test") or measure(*a))
    evaluate(real(toy()), toy(5, seed=1), networks=2, protocol=protocol_(epochs=3))
    assert events == ["step"] * 3 + ["test"] + ["step"] * 3 + ["test"]


def test_every_set_and_every_network_has_a_seed_of_its_own(monkeypatch):
    seeds, train = [], module.train_network

    def noted(chosen, stream, **options):
        seeds.append(stream.initial_seed())
        return train(chosen, stream, **options)

    monkeypatch.setattr(module, "train_network", noted)
    sets = [real(toy())] * 2
    first = evaluate(sets, toy(5, seed=1), networks=2, protocol=protocol_())
    assert len(set(seeds)) == 4
    again = evaluate(sets, toy(5, seed=1), networks=2, protocol=protocol_())
    assert seeds[:4] == seeds[4:]
    assert first == again
    evaluate(sets, toy(5, seed=1), networks=2, protocol=protocol_(), seed=1)
    assert len(set(seeds)) == 8


def test_more_networks_do_not_change_the_first_ones():
    chosen, test = real(toy()), toy(30, seed=1)
    one, three = (evaluate(chosen, test, networks=n, protocol=protocol_()) for n in (1, 3))
    assert three.accuracies[0][:1] == one.accuracies[0]


# ---- reports


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.floats(0, 100), min_size=2, max_size=2), min_size=1, max_size=4))
def test_a_report_is_mean_and_standard_deviation_of_all_models(rows):
    report = Report(rows)
    models = [a for row in rows for a in row]
    mean = sum(models) / len(models)
    assert report.mean == pytest.approx(mean)
    assert report.std == pytest.approx(math.sqrt(sum((a - mean) ** 2 for a in models) / (len(models) - 1)), abs=1e-9)
    record = report.record()
    assert (record["n_sets"], record["n_networks"], record["accuracies"]) == (len(rows), 2, rows)
    assert record["mean"] == pytest.approx(mean, abs=1e-4)
    rests_on = "1 set x 2 networks" if len(rows) == 1 else f"{len(rows)} sets x 2 networks"
    assert repr(report) == f"{statistics.fmean(models):.1f} ± {report.std:.1f} % ({rests_on})"


def test_one_model_has_no_deviation():
    assert Report([[50.0]]).std == 0


# ---- what does not fit


def toy_with(**options):
    return toy(5, **options)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (toy_with(shape=(3, 16, 16)), r"images \[3, 8, 8\] of 3 classes, but the test images of toy are \[3, 16, 16\]"),
        (toy_with(shape=(1, 8, 8)), r"are \[1, 8, 8\] in 3 classes"),
        (toy_with(classes=4), r"are \[3, 8, 8\] in 4 classes"),
        (ImageSet(toy().images, toy().labels, ("x", "y", "z")), r"or the class names differ; evaluate it on"),
    ],
)
def test_sets_and_test_images_that_do_not_fit(test, message):
    with pytest.raises(DataDamError, match=message):
        evaluate(real(toy()), test, networks=1, protocol=protocol_())


@pytest.mark.parametrize(("sets", "networks"), [(0, 1), (1, 0), (1, -1)])
def test_nothing_to_evaluate(sets, networks):
    with pytest.raises(DataDamError, match=f"at least one set and one network; received {sets} and {networks}"):
        evaluate([real(toy())] * sets, toy(), networks=networks)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"epochs": -1}, {"width": 0}, {"width": -3}, {"batch": 0}])
def test_a_protocol_that_trains_nothing(changes):
    ((field, value),) = changes.items()
    with pytest.raises(DataDamError, match=rf"\b{field}\b.*; received {value}"):
        evaluate(real(toy()), toy(), networks=1, protocol=protocol_(**changes))


def test_an_unknown_norm():
    with pytest.raises(DataDamError, match="unknown norm 'layer'"):
        evaluate(real(toy()), toy(), networks=1, protocol=protocol_(norm="layer"))
