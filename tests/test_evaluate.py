"""Evaluation: the fixed protocol, step by step; honest reports."""

import math
import statistics
from dataclasses import replace
from importlib import import_module
from shutil import which

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal, toy
from scipy.stats import sem
from scipy.stats import t as student_t
from torch.nn import functional as F

from datadam_lite import (
    PROTOCOLS,
    ConvNet,
    DataDamError,
    ImageSet,
    Preprocess,
    Protocol,
    Report,
    SyntheticSet,
    accuracy,
    cross_architecture,
    evaluate,
    generator,
    random,
    reset,
    train_network,
)
from datadam_lite.evaluate import train_networks
from datadam_lite.report import table
from datadam_lite.settings import Settings
from datadam_lite.stacked import Stacked, bytes_of_step, networks_at_once

module = import_module("datadam_lite.evaluate")  # `datadam_lite.evaluate` is the function


def protocol_(**changes):
    return Protocol(**{"epochs": 2, "width": 4} | changes)


def real(train, **options):
    return SyntheticSet.from_real(train, random(train, 2), Preprocess.fit(train, **options))


# ---- training


def slow_train(chosen, stream, protocol):
    """v = m v + (gradient + decay w), w = w - rate v; the rate falls before some epochs, and then perhaps v is lost."""
    images, labels = chosen.images, chosen.labels
    network = reset(ConvNet(tuple(images.shape[1:]), 3, width=protocol.width, norm=protocol.norm), stream)
    weights, rate = list(network.parameters()), protocol.lr
    velocity = [torch.zeros_like(w) for w in weights]
    for epoch in range(protocol.epochs):
        if epoch in slow_drops(protocol):
            rate *= protocol.decay
            velocity = [v * (not protocol.forget_momentum) for v in velocity]
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


def slow_drops(protocol):
    """The epochs before which the rate falls, from 0, never before the first."""
    if protocol.decay_every:
        return [epoch for epoch in range(1, protocol.epochs) if epoch % protocol.decay_every == 0]
    return [protocol.drop_after or max(1, protocol.epochs // 2)]


SCHEDULES = {
    "one epoch": {"epochs": 1},
    "two": {"epochs": 2},
    "an odd number": {"epochs": 7},
    "after a number": {"epochs": 6, "drop_after": 2, "decay": 0.3},
    "momentum lost": {"epochs": 6, "forget_momentum": True},
    "after a number, momentum lost": {"epochs": 7, "drop_after": 4, "forget_momentum": True},
    "every two": {"epochs": 7, "decay_every": 2, "decay": 0.5},
    "every two, momentum lost": {"epochs": 5, "decay_every": 2, "decay": 0.5, "forget_momentum": True},
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_training_is_sgd_with_momentum_and_a_falling_rate(schedule, norm):
    """In one check: rate, drops, momentum kept over them or lost, weight decay, batches, and the final iterate."""
    chosen = real(toy())
    options = {"batch": 4, "lr": 0.1, "weight_decay": 0.01, "augmentation": "", "norm": norm}
    protocol = protocol_(**options | SCHEDULES[schedule])
    fast = train_network(chosen, generator(5, "test"), protocol=protocol)
    slow = slow_train(chosen, generator(5, "test"), protocol)
    for (name, a), b in zip(fast.state_dict().items(), slow.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=name)
    assert not fast.training


@pytest.mark.parametrize(
    ("changes", "drops"),
    [
        ({}, [500]),
        ({"epochs": 1}, [1]),
        ({"epochs": 7}, [3]),
        ({"epochs": 10, "drop_after": 8}, [8]),
        ({"epochs": 60, "decay_every": 15}, [15, 30, 45]),
        ({"epochs": 61, "decay_every": 15}, [15, 30, 45, 60]),
        ({"epochs": 10, "decay_every": 15}, []),
    ],
)
def test_the_epochs_before_which_the_rate_drops(changes, drops):
    assert Protocol(**changes).drops() == drops


def rates_of(monkeypatch, protocol):
    """The learning rate of every epoch of a training, of one batch each, and whether there was momentum."""
    seen, step = [], torch.optim.SGD.step

    def noted(self):
        seen.append((self.param_groups[0]["lr"], bool(self.state)))
        return step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    train_network(real(toy()), generator(0, "test"), protocol=protocol)
    return [rate for rate, _ in seen], [momentum for _, momentum in seen]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epochs": 4}, [0.01, 0.01, 0.001, 0.001]),
        ({"epochs": 4, "drop_after": 3, "decay": 0.5}, [0.01, 0.01, 0.01, 0.005]),
        ({"epochs": 5, "decay_every": 2, "decay": 0.5}, [0.01, 0.01, 0.005, 0.005, 0.0025]),
    ],
)
@pytest.mark.parametrize("forget", [False, True])
def test_the_rate_of_every_epoch(monkeypatch, changes, expected, forget):
    protocol = protocol_(forget_momentum=forget, **changes)
    rates, momentum = rates_of(monkeypatch, protocol)
    assert rates == pytest.approx(expected)
    lost = [0, *(protocol.drops() if forget else [])]
    assert momentum == [epoch not in lost for epoch in range(protocol.epochs)]


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_protocol_by_name_is_the_one_of_the_table(name):
    assert PROTOCOLS[name].name == name


def test_the_released_codes_protocol():
    """902 epochs at 0.01, then 899 at 0.001 by a new optimiser."""
    protocol = PROTOCOLS["datadam_code"]
    assert (protocol.epochs, protocol.drops(), protocol.decay, protocol.forget_momentum) == (1801, [902], 0.1, True)
    assert (protocol.batch, protocol.norm, protocol.depth) == (64, "batch", 3)


def test_the_schedule_of_the_hyper_parameter_table():
    protocol = PROTOCOLS["datadam_table"]
    assert protocol.drops()[:3] == [15, 30, 45]
    assert (protocol.decay, protocol.forget_momentum) == (0.5, False)


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


def test_a_transformer_too_and_the_global_stream_is_as_it_was():
    """Its dropout takes no generator."""
    chosen, weights = real(toy()), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        network = train_network(chosen, generator(0, "test"), protocol=protocol_(network="vit", epochs=2))
        weights.append(network.head.weight.tolist())
        assert torch.equal(torch.get_rng_state(), before)
    assert weights[0] == weights[1]


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


# ---- several networks at once


def streams(n=3):
    return [generator(0, "several", j) for j in range(n)]


def agree(many, alone, **tolerance):
    assert len(many) == len(alone)
    for a, b in zip(many, alone, strict=True):
        assert not a.training
        for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            torch.testing.assert_close(x, y, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


SEVERAL = {
    "the default": {},
    "more than one batch": {"batch": 4},
    "no augmentation": {"augmentation": ""},
    "momentum lost": {"batch": 4, "forget_momentum": True, "weight_decay": 0.1},
    "several drops": {"epochs": 5, "decay_every": 2},
}


@pytest.mark.parametrize("case", SEVERAL)
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_several_networks_at_once_are_each_as_if_alone(case, norm):
    """Weights, and under batch norm the running statistics; each has its own start, order and augmentation."""
    chosen, protocol = real(toy()), protocol_(**{"epochs": 4, "lr": 0.05, "norm": norm} | SEVERAL[case])
    many = train_networks(chosen, streams(), protocol=protocol)
    alone = [train_network(chosen, stream, protocol=protocol) for stream in streams()]
    agree(many, alone, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(many[0].head.weight, many[1].head.weight, atol=1e-2)


def test_a_network_does_not_depend_on_those_beside_it():
    chosen, protocol = real(toy()), protocol_(batch=4)
    four, two = (train_networks(chosen, streams(n), protocol=protocol) for n in (4, 2))
    agree(four[:2], two)


def test_networks_with_dropout_are_trained_one_by_one():
    """And are the same to the bit."""
    chosen, protocol = real(toy()), protocol_(network="vit")
    many = train_networks(chosen, streams(2), protocol=protocol)
    agree(many, [train_network(chosen, stream, protocol=protocol) for stream in streams(2)], rtol=0, atol=0)


@pytest.mark.parametrize("network", ["alexnet", "vgg11", "resnet18"])
def test_other_networks_can_be_stacked_too(network):
    networks = [reset(protocol_(network=network).build((3, 17, 17), 4), stream) for stream in streams(2)]
    x = normal(2, 3, 3, 17, 17)
    expected = torch.cat([one.train()(part).logits for one, part in zip(networks, x, strict=True)])
    for one, stream in zip(networks, streams(2), strict=True):
        reset(one, stream)  # the running statistics too
    torch.testing.assert_close(Stacked(networks).logits(x.flatten(0, 1)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at_once", [2, 3, 8])
def test_an_evaluation_is_the_same_however_many_are_trained_at_once(at_once):
    sets, test = [real(toy(seed=seed)) for seed in (0, 1)], toy(30, seed=2)
    one_by_one, grouped = (
        evaluate(sets, test, networks=3, protocol=protocol_(), settings=Settings(device="cpu", networks_at_once=n))
        for n in (1, at_once)
    )
    for a, b in zip(one_by_one.accuracies, grouped.accuracies, strict=True):
        assert a == pytest.approx(b, abs=100 / 90 + 1e-3)  # one image at most


def sizes_of(monkeypatch, *, fail=lambda n: False, **options):
    """How many networks each training of an evaluation takes at once; it runs out of memory if `fail` says so."""
    sizes, train = [], module.train_networks

    def noted(chosen, streams, **options):
        sizes.append(len(streams))
        if fail(len(streams)):
            raise torch.OutOfMemoryError("out of memory")
        return train(chosen, streams, **options)

    monkeypatch.setattr(module, "train_networks", noted)
    settings = Settings(device="cpu", **options)
    return sizes, evaluate(real(toy()), toy(30, seed=1), networks=7, protocol=protocol_(), settings=settings)


def test_on_a_cpu_one_network_is_trained_at_a_time(monkeypatch):
    assert sizes_of(monkeypatch)[0] == [1] * 7


def test_as_many_as_asked_for_are_trained_at_once(monkeypatch):
    assert sizes_of(monkeypatch, networks_at_once=3)[0] == [3, 3, 1]


def test_half_as_many_where_memory_runs_out(monkeypatch):
    """And no random number is lost by it."""
    expected = sizes_of(monkeypatch)[1]
    with pytest.warns(UserWarning, match="^out of memory on cpu; going on with 2 networks at once$"):
        sizes, report = sizes_of(monkeypatch, fail=lambda n: n > 2, networks_at_once=5)
    assert sizes == [5, 2, 2, 2, 1]
    assert report.accuracies[0] == pytest.approx(expected.accuracies[0], abs=100 / 90 + 1e-3)


def test_memory_that_runs_out_in_the_middle_of_a_training(monkeypatch):
    """After some draws, that is."""
    chosen, test, step, left = real(toy()), toy(30, seed=1), torch.optim.SGD.step, [3]

    def fails_once(self):
        left[0] -= 1
        if left[0] == 0:
            raise torch.OutOfMemoryError("out of memory")
        return step(self)

    options = {"networks": 4, "protocol": protocol_(epochs=4)}
    expected = evaluate(chosen, test, settings=Settings(device="cpu", networks_at_once=2), **options)
    monkeypatch.setattr(torch.optim.SGD, "step", fails_once)
    with pytest.warns(UserWarning, match="going on with 2 networks at once"):
        found = evaluate(chosen, test, settings=Settings(device="cpu", networks_at_once=4), **options)
    assert found == expected


def test_memory_too_small_for_a_single_network(monkeypatch):
    message = "out of memory with a single network: use a protocol of a smaller batch or width"
    with pytest.warns(UserWarning, match="with 1 net"), pytest.raises(DataDamError, match=message):
        sizes_of(monkeypatch, fail=lambda n: True, networks_at_once=2)


def test_on_a_gpu_as_many_are_trained_at_once_as_fit(monkeypatch):
    network, batch, settings = ConvNet((3, 8, 8), 3, width=4), torch.zeros(5, 3, 8, 8), Settings(device="cpu")
    step = 12 * (5 * 4 * 8 * 8 * 4) + 3 * 4 * sum(w.numel() for w in network.parameters())  # maps; weights
    assert bytes_of_step(network, batch) == step
    network, batch = network.to("meta"), batch.to("meta")  # no GPU, but no CPU either
    for budget, expected in ((4 * step, 4), (4 * step - 1, 3), (1, 1)):
        monkeypatch.setattr("datadam_lite.stacked.budget", lambda device, budget=budget: budget)
        assert networks_at_once(network, batch, settings) == expected


def test_where_there_is_dropout_one_is_trained_at_a_time():
    network, batch = protocol_(network="vit").build((3, 8, 8), 3).to("meta"), torch.zeros(5, 3, 8, 8, device="meta")
    assert networks_at_once(network, batch, Settings(device="cpu", networks_at_once=7)) == 1
    assert networks_at_once(network, batch, Settings(device="cpu")) == 1


def test_the_global_stream_is_as_it_was():
    before = torch.get_rng_state()
    train_networks(real(toy()), streams(), protocol=protocol_())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.skipif(not (which("c++") or which("g++") or which("clang++")), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("n", "norm"), [(1, "instance"), (3, "instance"), (3, "batch")])
def test_compiled_is_the_same_as_eager(n, norm):
    chosen, protocol = real(toy()), protocol_(batch=4, norm=norm)
    compiled = train_networks(chosen, streams(n), protocol=protocol, settings=Settings(device="cpu", compile=True))
    agree(compiled, train_networks(chosen, streams(n), protocol=protocol), rtol=1e-3, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_gpu_draws_and_trains_the_same_networks(norm):
    chosen, protocol = real(toy()), protocol_(norm=norm)
    on_gpu, on_cpu = (
        train_networks(chosen, streams(), protocol=protocol, settings=Settings(device)) for device in ("cuda", "cpu")
    )
    agree([network.cpu() for network in on_gpu], on_cpu, rtol=1e-2, atol=1e-3)


# ---- precision


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_gives_nearly_the_same_networks(digits, precision, n):
    """Each weight moves as far as in float32, but for a tenth; and the scale of the loss is taken out again."""
    chosen, protocol = real(digits[0]), protocol_(epochs=3, width=8)
    start = reset(protocol.build((1, 8, 8), 10), streams()[0]).head.weight
    exact, rough = (
        train_networks(chosen, streams(n), protocol=protocol, settings=Settings("cpu", p))[0].head.weight
        for p in ("float32", precision)
    )
    assert not torch.equal(exact, rough)
    assert (rough - exact).norm() < 0.1 * (exact - start).norm()


def test_accuracy_of_float16_is_that_of_float32(digits):
    train, test = digits
    chosen, protocol = real(train), protocol_(epochs=60, width=8, norm="batch", lr=0.03)
    exact, rough = (
        evaluate(chosen, test, networks=2, protocol=protocol, settings=Settings("cpu", precision)).mean
        for precision in ("float32", "float16")
    )
    assert exact > 50
    assert rough == pytest.approx(exact, abs=4)


def test_the_scale_of_the_loss_is_on_the_gradients_and_then_off_again(monkeypatch):
    chosen, protocol, largest, unscale = real(toy()), protocol_(epochs=1), [], module._unscale

    def noted(weights, scale):
        largest.append(max(w.grad.abs().max().item() for w in weights))
        unscale(weights, scale)

    monkeypatch.setattr(module, "_unscale", noted)
    plain = train_network(chosen, generator(0, "test"), protocol=protocol)
    monkeypatch.setattr(Settings, "gradient_scale", lambda self: 8.0)  # a power of two rounds nothing
    scaled = train_network(chosen, generator(0, "test"), protocol=protocol)
    assert largest[1] == 8 * largest[0]
    agree([scaled], [plain], rtol=0, atol=0)


def test_gradients_beyond_float16_count_as_zero_for_one_step():
    weight = torch.zeros(4, requires_grad=True)
    weight.grad = torch.tensor([math.inf, -math.inf, math.nan, 16.0])
    module._unscale([weight], 8.0)
    assert weight.grad.tolist() == [0, 0, 0, 2]


# ---- testing


def test_accuracy_is_the_share_of_right_answers():
    network = reset(ConvNet((3, 8, 8), 4, width=4), generator(0, "test"))
    images, labels = normal(1100, 3, 8, 8), torch.arange(1100) % 4
    right = 0
    for image, label in zip(images, labels.tolist(), strict=True):
        logits = network(image[None]).logits[0].tolist()
        right += logits.index(max(logits)) == label
    assert accuracy(network, images, labels) == pytest.approx(100 * right / 1100)


def test_one_label_is_not_compared_with_every_image(unchecked):
    network = reset(ConvNet((3, 8, 8), 4, width=4), generator(0, "test"))
    images = normal(2, 3, 8, 8)
    for labels in (torch.tensor([0]), torch.tensor([[0], [1]])):  # both would be compared with every image
        with pytest.raises(DataDamError, match=r"one label for each of the images, .* received 2 images"):
            accuracy(network, images, labels)


def test_no_images_have_no_accuracy():
    network = reset(ConvNet((3, 8, 8), 4, width=4), generator(0, "test"))
    with pytest.raises(DataDamError, match=r"one of them at least; received 0 images"):
        accuracy(network, torch.zeros(0, 3, 8, 8), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize(
    "options", [{}, {"zca": True}, {"zca": True, "zca_space": "pixels", "eps": 1.0}, {"statistics": "field"}], ids=str
)
def test_test_images_go_through_the_sets_own_preprocessing(monkeypatch, options):
    """Not through one fitted on them."""
    train, test, seen = replace(toy(), name="cifar10"), toy(5, seed=1), []
    monkeypatch.setattr(module, "accuracy", lambda network, images, labels: seen.append((images, labels)) or 0.0)
    chosen = real(train, **options)
    evaluate(chosen, test, networks=1, protocol=protocol_())
    ((images, labels),) = seen
    assert torch.equal(images, chosen.preprocess.apply(test.images))
    assert torch.equal(labels, test.labels)
    assert not torch.allclose(images, Preprocess.fit(test, zca="zca" in options).apply(test.images))


def test_an_odd_preprocessing_is_no_hindrance():
    """A set in a space of its own, of negated and shifted pixels, is learned as well as any other."""
    train, test = halves(20, 0), halves(50, 1)
    odd = Preprocess(torch.tensor([3.0]), torch.tensor([-0.05]))
    chosen = SyntheticSet.from_real(train, random(train, 2), odd)
    assert evaluate(chosen, test, networks=1, protocol=protocol_(epochs=60, width=8, lr=0.05)).mean > 95


def test_the_test_set_is_looked_at_once_and_last(monkeypatch):
    events = []
    step, measure = torch.optim.SGD.step, module.accuracy
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *a, **k: events.append("step") or step(*a, **k))
    monkeypatch.setattr(module, "accuracy", lambda *a: events.append("test") or measure(*a))
    evaluate(real(toy()), toy(5, seed=1), networks=2, protocol=protocol_(epochs=3))
    assert events == ["step"] * 3 + ["test"] + ["step"] * 3 + ["test"]


def test_every_set_and_every_network_has_a_seed_of_its_own(monkeypatch):
    seeds, train = [], module.train_networks

    def noted(chosen, streams, **options):
        seeds.extend(stream.initial_seed() for stream in streams)
        return train(chosen, streams, **options)

    monkeypatch.setattr(module, "train_networks", noted)
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


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 99))
def test_the_interval_is_students_over_the_means_of_the_sets(n, networks, seed):
    rows = (50 + 10 * normal(n, networks, seed=seed, dtype=torch.float64)).tolist()
    means = [sum(row) / networks for row in rows]
    low, high = student_t.interval(0.95, n - 1, loc=statistics.fmean(means), scale=sem(means))
    assert Report(rows).interval == pytest.approx((high - low) / 2)
    assert Report(rows).record()["interval"] == pytest.approx((high - low) / 2, abs=1e-4)
    again = [row * 3 for row in rows]  # more networks of the same accuracy make no set more
    assert Report(again).interval == pytest.approx(Report(rows).interval)


def test_one_set_has_no_interval_however_many_networks():
    assert Report([[50.0, 60.0, 70.0]]).interval is None
    assert Report([[50.0, 60.0, 70.0]]).record()["interval"] is None


def test_a_table_has_a_row_for_every_report():
    reports = {"distilled": Report([[60.0, 64.0], [62.0, 66.0]]), "random | real": Report([[50.0]])}
    header, rule, *rows = table(reports).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, rule, rows[0])]
    assert len({len(row) for row in cells}) == 1
    assert cells[2] == ["distilled", "63.0", "2.6", "± 12.7", "2 x 2"]
    assert rows[1].endswith("| 50.0 | 0.0 | one set | 1 x 1 |")


# ---- several architectures


def test_cross_architecture_is_one_evaluation_after_another():
    chosen, test = [real(toy(shape=(3, 20, 20)), zca=False)] * 2, toy(4, shape=(3, 20, 20), seed=1)
    protocol = protocol_(epochs=1)
    found = cross_architecture(chosen, test, ["convnet", "alexnet"], networks=1, protocol=protocol)
    assert list(found) == ["convnet", "alexnet"]
    for name, report in found.items():
        assert report == evaluate(chosen, test, networks=1, protocol=replace(protocol, network=name))
        assert len(report.accuracies) == 2


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("resnet", r"unknown network 'resnet'; the known ones are convnet, alexnet"),
        ("vgg11", r"vgg11 needs images of at least 17x17 pixels; received 8x8"),
    ],
)
def test_an_architecture_that_cannot_be_built_says_so_before_any_is_trained(monkeypatch, architecture, message):
    monkeypatch.setattr(module, "train_networks", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataDamError, match=message):
        cross_architecture(real(toy()), toy(5, seed=1), ["convnet", architecture], networks=1, protocol=protocol_())


def test_other_networks_come_as_they_are_with_batch_norm():
    """The protocol's width, depth and norm are the ConvNet's."""
    network = protocol_(network="alexnet", depth=2).build((3, 32, 32), 3)
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules()) == 5
    convnet = protocol_(depth=2, width=6).build((3, 32, 32), 3)
    assert [conv.out_channels for conv in convnet.convs] == [6, 6]


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


def test_a_set_that_does_not_fit_says_so_before_any_is_trained_on(monkeypatch):
    monkeypatch.setattr(module, "train_networks", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataDamError, match=r"in 3 classes"):
        evaluate([real(toy()), real(toy(classes=4))], toy(5, seed=1), networks=1, protocol=protocol_())


@pytest.mark.parametrize(("sets", "networks"), [(0, 1), (1, 0), (1, -1)])
def test_nothing_to_evaluate(sets, networks):
    with pytest.raises(DataDamError, match=f"at least one set and one network; received {sets} and {networks}"):
        evaluate([real(toy())] * sets, toy(), networks=networks)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("epochs", -1), ("width", 0), ("width", -3), ("batch", 0), ("lr", 0.0), ("decay", 0.0),
        ("drop_after", 0), ("decay_every", 0), ("depth", 0), ("momentum", -0.1), ("weight_decay", -1.0),
    ],
)  # fmt: skip
def test_a_protocol_that_trains_nothing(field, value):
    with pytest.raises(DataDamError, match=rf"\b{field}\b.*; received {value}"):
        protocol_(**{field: value})


def test_a_protocol_whose_learning_rate_would_never_drop():
    for changes in ({"epochs": 10, "drop_after": 10}, {"epochs": 40, "drop_after": 10, "decay_every": 15}):
        with pytest.raises(DataDamError, match="drop_after is 10: it must be less than the"):
            protocol_(**changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", "many"), ("epochs", 2.5), ("lr", "small"), ("lr", math.nan), ("norm", 3), ("forget_momentum", 1)],
)
def test_a_protocol_of_wrong_types(unchecked, field, value):
    with pytest.raises(DataDamError, match=rf"^{field} must be .*; received"):
        protocol_(**{field: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "switch"}, "unknown norm 'switch'; the known ones are none, batch, layer, instance, group"),
        ({"network": "resnet"}, "unknown network 'resnet'; the known ones are convnet"),
    ],
)
def test_a_protocol_of_unknown_names(changes, message):
    with pytest.raises(DataDamError, match=message):
        protocol_(**changes)

