"""applications/trained.py: networks that have learned something replace random ones, and nothing else changes."""

import pytest
import torch
from samples import small

from datadam_lite import DataDamError, Distiller, distill
from datadam_lite.applications import trained
from datadam_lite.applications.hold_out import hold_out
from datadam_lite.applications.trained import FromTrained, trained_networks
from datadam_lite.evaluate import accuracy
from datadam_lite.networks import build
from datadam_lite.preprocess import Preprocess

OPTIONS = {"width": 8, "real_batch": 8, "iterations": 3}


@pytest.fixture(scope="module")
def networks(digits):
    return trained_networks(digits[0], small(**OPTIONS), (30, 60), 3)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


# ---- finding them


def test_each_network_is_right_as_often_as_asked(digits, networks):
    chosen = small(**OPTIONS).for_images(digits[0].shape, 1)
    network = build("convnet", digits[0].shape, 10, **chosen.network_options())
    _, held = hold_out(digits[0], 19)
    pixels = Preprocess.fit(digits[0], zca=chosen.zca, eps=chosen.zca_eps).apply(held.images)
    for state in networks:
        network.load_state_dict(state)
        assert 30 <= accuracy(network, pixels, held.labels) < 60


def test_they_differ_and_come_again(digits, networks):
    assert not same(networks[0], networks[1])
    again = trained_networks(digits[0], small(**OPTIONS), (30, 60), 3)
    assert all(map(same, networks, again))
    other = trained_networks(digits[0], small(**OPTIONS), (30, 60), 1, seed=1)
    assert not same(networks[0], other[0])


def test_a_network_that_jumps_over_the_interval_is_dropped(digits, monkeypatch):
    rights = iter([50.0, 35.0, 60.0, 31.0])
    monkeypatch.setattr(trained, "_train_to", lambda *_: next(rights))
    assert len(trained_networks(digits[0], small(**OPTIONS), (30, 40), 2)) == 2
    assert list(rights) == []


def test_an_interval_without_networks_says_so(digits, monkeypatch):
    monkeypatch.setattr(trained, "_train_to", lambda *_: 99.0)
    with pytest.raises(DataDamError, match=r"of 20 networks 0 had an accuracy in \[30, 40\) %, expected 2; widen"):
        trained_networks(digits[0], small(**OPTIONS), (30, 40), 2)


def test_a_network_that_learns_nothing_comes_to_an_end(digits, monkeypatch):
    monkeypatch.setattr(trained, "LR", 0.0)
    monkeypatch.setattr(trained, "AT_MOST", 3)
    with pytest.raises(DataDamError, match="of 10 networks 0"):
        trained_networks(digits[0], small(**OPTIONS), (90, 100), 1)


@pytest.mark.parametrize(("between", "n"), [((60, 60), 2), ((60, 30), 2), ((30, 60), 0)])
def test_what_can_not_be_asked(digits, between, n):
    with pytest.raises(DataDamError):
        trained_networks(digits[0], small(**OPTIONS), between, n)


# ---- distilling with them


def test_every_iteration_uses_one_of_them(digits, networks):
    distiller, seen = FromTrained(digits[0], 1, small(**OPTIONS), networks), set()
    for iteration in range(1, 30):
        distiller.draw(iteration)
        (which,) = [k for k, state in enumerate(networks) if same(state, distiller.network.state_dict())]
        seen.add(which)
    assert seen == {0, 1, 2}


def test_real_images_and_augmentation_are_those_of_random_networks(digits, networks):
    random = Distiller(digits[0], 1, small(**OPTIONS)).draw(5)
    other = FromTrained(digits[0], 1, small(**OPTIONS), networks).draw(5)
    assert torch.equal(random.real, other.real)
    assert torch.equal(random.siamese.uniforms, other.siamese.uniforms)


def test_the_images_are_others(digits, networks):
    chosen = small(**OPTIONS)
    distiller = FromTrained(digits[0], 1, chosen, networks)
    losses = [step.loss for step in distiller]
    assert len(losses) == 3
    found = distiller.synthetic()
    assert not torch.equal(found.images, distill(digits[0], 1, chosen).images)
    assert found.provenance["trained_networks"] == 3


def test_a_killed_run_goes_on_and_only_with_the_same_networks(digits, networks, tmp_path):
    start = lambda of=networks: FromTrained(digits[0], 1, small(**OPTIONS), of)  # noqa: E731
    whole = start()
    list(whole)
    killed = start()
    next(killed)
    killed.save_checkpoint(tmp_path / "half")
    again = start()
    again.load_checkpoint(tmp_path / "half")
    list(again)
    assert torch.equal(again.images, whole.images)
    with pytest.raises(DataDamError, match="networks"):
        start(networks[:2]).load_checkpoint(tmp_path / "half")


def test_none_is_refused(digits):
    with pytest.raises(DataDamError, match="at least one trained network; received none"):
        FromTrained(digits[0], 1, small(**OPTIONS), [])
