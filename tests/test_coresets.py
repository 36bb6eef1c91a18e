"""Coresets, against brute force, closed forms and the theorem behind one of them."""

import random as python_random
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as setting
from hypothesis import strategies as st
from samples import normal, toy

from datadam_lite import DataDamError, ImageSet, Protocol, Settings, coresets, farthest_first, k_center, random, select
from datadam_lite.coresets import (
    CORESETS,
    embed,
    follow_mean,
    forgetting,
    forgetting_events,
    herding,
    k_means,
    learning_history,
    one_per_cluster,
)
from datadam_lite.networks import build, reset
from datadam_lite.preprocess import Preprocess
from datadam_lite.seeding import generator

SMALL = {name: {"width": 4} for name in CORESETS} | {"random": {}, "forgetting": {"width": 4, "epochs": 2}}


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the rules


def slow_farthest_first(points, n):
    distance = [[(a - b).norm().item() for b in points] for a in points]
    mean = points.mean(0)
    chosen = [min(range(len(points)), key=lambda i: (points[i] - mean).norm().item())]
    while len(chosen) < n:
        left = [i for i in range(len(points)) if i not in chosen]
        chosen.append(max(left, key=lambda i: min(distance[i][j] for j in chosen)))
    return chosen


def radius(points, chosen):
    """How far the worst point is from the nearest chosen one."""
    return torch.cdist(points, points[list(chosen)]).min(1).values.max().item()


@setting(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 3), st.integers(0, 99), st.data())
def test_farthest_first_is_the_greedy_rule(m, d, seed, data):
    points = normal(m, d, seed=seed)
    n = data.draw(st.integers(1, m))
    assert farthest_first(points, n).tolist() == slow_farthest_first(points, n)


@setting(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 99))
def test_farthest_first_covers_within_twice_the_best_radius(n, seed):
    points = normal(8, 2, seed=seed)
    best = min(radius(points, chosen) for chosen in combinations(range(8), n))
    assert radius(points, farthest_first(points, n).tolist()) <= 2 * best + 1e-6


@setting(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.data())
def test_points_are_chosen_once_even_when_some_are_equal(values, data):
    n = data.draw(st.integers(1, len(values)))
    points = torch.tensor(values, dtype=torch.float32)[:, None]
    for chosen in (farthest_first(points, n), follow_mean(points, n), one_per_cluster(points, n, stream())):
        assert len(set(chosen.tolist())) == len(chosen) == n


def slow_follow_mean(points, n):
    mean, chosen = points.mean(0), []
    while len(chosen) < n:
        left = [i for i in range(len(points)) if i not in chosen]
        chosen.append(min(left, key=lambda i: (points[[*chosen, i]].mean(0) - mean).norm().item()))
    return chosen


@setting(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 3), st.integers(0, 99), st.data())
def test_herding_keeps_the_mean_of_all_chosen_nearest_to_the_mean(m, d, seed, data):
    points = normal(m, d, seed=seed, dtype=torch.float64)
    n = data.draw(st.integers(1, m))
    assert follow_mean(points, n).tolist() == slow_follow_mean(points, n)


def test_a_single_choice_is_the_same_for_all_rules():
    for seed in range(5):
        points = normal(20, 3, seed=seed)
        nearest = (points - points.mean(0)).norm(dim=1).argmin()
        for chosen in (farthest_first(points, 1), follow_mean(points, 1), one_per_cluster(points, 1, stream(seed))):
            assert chosen.tolist() == [nearest]


@setting(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_k_means_takes_the_middle_of_every_well_separated_cluster(clusters, size, seed):
    corners = 100 * torch.eye(clusters)
    points = (corners[:, None] + normal(clusters, size, clusters, seed=seed)).flatten(0, 1)
    groups = points.unflatten(0, (clusters, size))
    from_middle = (groups - groups.mean(1, keepdim=True)).norm(dim=2)  # (clusters, size)
    chosen = one_per_cluster(points, clusters, stream(seed)).sort().values
    assert (chosen // size).tolist() == list(range(clusters))
    torch.testing.assert_close(from_middle.flatten()[chosen], from_middle.min(1).values, rtol=1e-3, atol=1e-3)


def test_a_point_that_is_nearest_to_two_centres_is_given_to_one():
    points = torch.tensor([[0.0], [0.0], [0.0], [1.0]])  # two different points, three clusters
    assert 3 in one_per_cluster(points, 3, stream()).tolist()


# ---- in the embedding




def test_k_center_covers_every_class_better_than_random(digits):
    train, _ = digits
    features = embed(train, 0, width=8)
    spread, at_random = k_center(train, 5, 0, width=8), random(train, 5, 0)
    for k, rows in enumerate(train.rows_of_class):
        of_class = slice(5 * k, 5 * k + 5)
        one, other = (torch.cdist(features[rows], features[chosen[of_class]]) for chosen in (spread, at_random))
        assert one.min(1).values.max() <= other.min(1).values.max()


def test_k_center_is_farthest_first_within_each_class():
    train = toy(6)
    features = embed(train, 3, width=4)
    expected = torch.cat([rows[farthest_first(features[rows], 2)] for rows in train.rows_of_class])
    assert torch.equal(k_center(train, 2, 3, width=4), expected)


def mean_error(features, train, rows, ipc):
    """Distance of the mean embedding of the chosen from the class mean, averaged over the classes."""
    means = torch.stack([features[members].mean(0) for members in train.rows_of_class])
    return (features[rows].unflatten(0, (-1, ipc)).mean(1) - means).norm(dim=1).mean().item()


@pytest.mark.parametrize("ipc", [1, 5, 20])
def test_herding_is_nearer_to_the_mean_than_any_random_choice(digits, ipc):
    train, _ = digits
    features = embed(train, 0, width=8)
    errors = [mean_error(features, train, random(train, ipc, seed), ipc) for seed in range(5)]
    assert mean_error(features, train, herding(train, ipc, 0, width=8), ipc) < 0.5 * min(errors)


def test_k_means_is_nearer_to_all_images_than_any_random_choice(digits):
    train, _ = digits
    features = embed(train, 0, width=8)

    def spread(chosen):
        near = [
            torch.cdist(features[members], features[rows]).min(1).values.square().mean()
            for members, rows in zip(train.rows_of_class, chosen.split(5), strict=True)
        ]
        return sum(near).item()

    assert spread(k_means(train, 5, 0, width=8)) < min(spread(random(train, 5, seed)) for seed in range(5))


def nearest_mean_accuracy(features, train):
    means = torch.stack([features[rows].mean(0) for rows in train.rows_of_class])
    return (torch.cdist(features, means).argmin(1) == train.labels).float().mean().item()


def test_a_trained_network_separates_the_classes_better(digits):
    train, _ = digits
    untrained, trained = (embed(train, 0, width=8, epochs=epochs) for epochs in (0, 8))
    assert nearest_mean_accuracy(trained, train) > nearest_mean_accuracy(untrained, train) + 0.05


def test_features_can_be_those_of_a_trained_network():
    train = toy(6)
    trained = embed(train, 3, width=4, epochs=2)
    expected = torch.cat([rows[follow_mean(trained[rows], 2)] for rows in train.rows_of_class])
    assert torch.equal(herding(train, 2, 3, width=4, epochs=2), expected)
    assert torch.equal(embed(train, 3, width=4, epochs=2), trained)
    assert not torch.equal(embed(train, 3, width=4, epochs=1), trained)
    with pytest.raises(DataDamError, match="epochs must be positive; received -1"):
        embed(train, 0, width=4, epochs=-1)


# ---- forgetting


def slow_events(history):
    """As the paper's algorithm goes: image by image, presentation by presentation."""
    counts = []
    for presentations in history.T.tolist():
        before, events = False, 0
        for right in presentations:
            events += before and not right
            before = right
        counts.append(events if any(presentations) else float("inf"))
    return counts


@setting(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 999))
def test_an_event_is_right_when_last_seen_and_now_wrong(epochs, n, seed):
    history = torch.rand(epochs, n, generator=stream(seed)) < 0.5
    assert forgetting_events(history).tolist() == slow_events(history)


def history_of(*images):
    """[epochs, images], from one word of R(ight) and W(rong) for each image."""
    return torch.tensor([[letter == "R" for letter in word] for word in images]).T


def test_forgetting_takes_the_never_learned_then_the_most_forgotten(monkeypatch):
    labels = torch.tensor([0, 1] * 4)
    train = ImageSet(toy(4, classes=2).images, labels, ("even rows", "odd rows"))
    history = history_of("RRRRR", "WRWRW", "WWWWW", "WWWWR", "RWRWR", "WWWWW", "WRRRW", "RWWWW")
    monkeypatch.setattr(coresets, "learning_history", lambda *args, **options: history)
    assert forgetting_events(history).tolist() == [0, 2, float("inf"), 0, 2, float("inf"), 1, 1]
    assert forgetting(train, 3).tolist() == [2, 4, 6, 5, 1, 7]


def test_a_history_asks_before_it_learns(monkeypatch):
    monkeypatch.setattr(coresets, "Protocol", partial(Protocol, lr=10.0))  # a step that is sure to show
    train = toy(8)  # 24 images: one batch
    network = reset(build("convnet", train.shape, 3, width=4), generator(5, "learning history"))
    untrained = network(Preprocess.fit(train).apply(train.images)).logits.argmax(1) == train.labels
    first, second = learning_history(train, 5, width=4, epochs=2)
    assert torch.equal(first, untrained)
    assert not torch.equal(second, untrained)


def test_a_history_is_one_of_learning():
    history = learning_history(toy(8), 5, width=16, epochs=40).float().mean(1)
    assert history.max() > 0.8 > 2 * history[0]


def test_a_history_is_that_of_its_seed_and_of_no_other():
    train = toy(8)
    history = learning_history(train, 0, width=4, epochs=8)
    assert history.shape == (8, 24)
    assert torch.equal(learning_history(train, 0, width=4, epochs=8), history)
    assert not torch.equal(learning_history(train, 1, width=4, epochs=8), history)
    with pytest.raises(DataDamError, match="epochs must be positive; received 0"):
        forgetting(train, 1, epochs=0)


# ---- all of them


@setting(deadline=None, max_examples=10)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99), st.data())
@pytest.mark.parametrize("name", CORESETS)
def test_a_coreset_is_class_major_unique_and_repeatable(name, classes, ipc, different, seed, data):
    """With as few as one image different from the others, over and over."""
    n = data.draw(st.integers(ipc, 7))
    train = toy(n, classes=classes, shape=(1, 8, 8), seed=seed)
    train.images.copy_(train.images[torch.arange(len(train)) % different])
    rows = select(name, train, ipc, seed, **SMALL[name])
    assert train.labels[rows].tolist() == [k for k in range(classes) for _ in range(ipc)]
    assert len(set(rows.tolist())) == classes * ipc
    assert torch.equal(select(name, train, ipc, seed, **SMALL[name]), rows)


@pytest.mark.parametrize("name", CORESETS)
def test_equal_images_are_chosen_between_at_random(name):
    train = toy(20, classes=2)
    train.images.copy_(train.images[:1].expand_as(train.images))
    chosen = {select(name, train, 1, seed, **SMALL[name])[0].item() for seed in range(6)}
    assert len(chosen) > 2


@pytest.mark.parametrize("name", CORESETS)
def test_nothing_touches_the_global_random_states(name, unchecked):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), python_random.getstate()

    before = states()
    select(name, toy(6), 2, **SMALL[name])
    assert states() == before


def test_another_seed_is_another_choice():
    train = toy(50)
    assert not torch.equal(random(train, 5, 0), random(train, 5, 1))
    assert not torch.equal(embed(train, 0, width=4), embed(train, 1, width=4))


@pytest.mark.parametrize("name", CORESETS)
@pytest.mark.parametrize("ipc", [0, 7])
def test_too_few_or_too_many_are_refused(name, ipc):
    with pytest.raises(DataDamError, match=f"at least 1 image per class; received 0|{ipc} images per class were asked"):
        select(name, toy(6), ipc)


def test_an_unknown_coreset():
    with pytest.raises(DataDamError, match=r"unknown coreset 'craig'; the known ones are random, k_center, herding"):
        select("craig", toy(2), 1)


def test_embedding_in_parts_is_embedding_at_once():
    train = toy(200, shape=(1, 8, 8))  # 600 images: more than one part
    features = embed(train, 0, width=4)
    assert features.shape == (600, 4)
    few = toy(200, shape=(1, 8, 8))
    few.images.copy_(train.images.flip(0))
    torch.testing.assert_close(embed(few, 0, width=4).flip(0), features, rtol=1e-4, atol=1e-5)


def test_settings_say_where_and_how_precisely():
    train = toy(8)
    half = Settings(device="cpu", precision="bfloat16")
    exact, rough = (embed(train, 0, width=4, settings=settings) for settings in (None, half))
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 0.1 * exact.abs().max()
    for name in set(CORESETS) - {"random"}:
        with pytest.raises(DataDamError, match="unknown device 'tpu'"):
            select(name, train, 1, settings=Settings(device="tpu"))


@pytest.mark.gpu
def test_a_gpu_chooses_too():
    train = toy(8)
    on_cpu, on_gpu = (embed(train, 0, width=4, settings=Settings(device=device)) for device in ("cpu", "cuda"))
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-2, atol=1e-2)  # TF32
    for name in set(CORESETS) - {"random"}:
        for options in (SMALL[name], SMALL[name] | {"epochs": 2}):
            rows = select(name, train, 2, settings=Settings(device="cuda"), **options)
            assert train.labels[rows].tolist() == [0, 0, 1, 1, 2, 2]
