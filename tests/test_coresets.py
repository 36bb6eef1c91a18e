"""Coresets, against brute force and the theorem behind them."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal, toy

from datadam_lite import DataDamError, farthest_first, k_center, random, select
from datadam_lite.coresets import CORESETS, embed


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


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 3), st.integers(0, 99), st.data())
def test_farthest_first_is_the_greedy_rule(m, d, seed, data):
    points = normal(m, d, seed=seed)
    n = data.draw(st.integers(1, m))
    assert farthest_first(points, n).tolist() == slow_farthest_first(points, n)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 99))
def test_farthest_first_covers_within_twice_the_best_radius(n, seed):
    points = normal(8, 2, seed=seed)
    best = min(radius(points, chosen) for chosen in combinations(range(8), n))
    assert radius(points, farthest_first(points, n).tolist()) <= 2 * best + 1e-6


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.data())
def test_points_are_chosen_once_even_when_some_are_equal(values, data):
    n = data.draw(st.integers(1, len(values)))
    chosen = farthest_first(torch.tensor(values, dtype=torch.float32)[:, None], n).tolist()
    assert len(set(chosen)) == n


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


@pytest.mark.parametrize("name", CORESETS)
def test_a_coreset_is_class_major_unique_and_repeatable(name):
    train = toy(6)
    rows = select(name, train, 4, 0)
    assert train.labels[rows].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(set(rows.tolist())) == 12
    assert torch.equal(select(name, train, 4, 0), rows)


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
    with pytest.raises(DataDamError, match=r"unknown coreset 'herding'; the known ones are random, k_center"):
        select("herding", toy(2), 1)


def test_embedding_in_parts_is_embedding_at_once():
    train = toy(200, shape=(1, 8, 8))  # 600 images: more than one part
    features = embed(train, 0, width=4)
    assert features.shape == (600, 4)
    few = toy(200, shape=(1, 8, 8))
    few.images.copy_(train.images.flip(0))
    torch.testing.assert_close(embed(few, 0, width=4).flip(0), features, rtol=1e-4, atol=1e-5)
