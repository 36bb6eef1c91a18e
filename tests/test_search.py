"""applications/search.py and hold_out.py: the grid, ratings that depend on nothing else, how orders are compared."""

from dataclasses import replace

import pytest
import torch
from samples import toy
from scipy.stats import spearmanr

from datadam_lite import DataDamError, Preprocess, Protocol, SyntheticSet
from datadam_lite.applications.hold_out import hold_out
from datadam_lite.applications.search import SPACE, Candidate, agreement, best, candidates, rate, whole
from datadam_lite.results.searches import Search

QUICK = Protocol("quick", epochs=4, width=4)
GRID = {"depth": (1, 2), "width": (4,), "norm": ("instance", "none")}


# ---- images to choose by


def test_held_out_images_are_of_all_classes_and_in_one_part_only(digits):
    train = digits[0]
    rest, held = hold_out(train, 7)
    assert [len(rows) for rows in held.rows_of_class] == [7] * 10
    pixels = torch.cat([rest.images, held.images]).flatten(1)
    assert sorted(map(bytes, pixels.numpy())) == sorted(map(bytes, train.images.flatten(1).numpy()))
    assert (rest.name, rest.classes, rest.mirror) == (train.name, train.classes, train.mirror)


def test_which_images_are_held_out_depends_on_the_seed_alone(digits):
    one, again, other = (hold_out(digits[0], 5, seed)[1].images for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_labels_stay_with_their_images(digits):
    train = digits[0]
    known = {bytes(image.numpy()): int(label) for image, label in zip(train.images, train.labels, strict=True)}
    for part in hold_out(train, 20):
        assert all(known[bytes(i.numpy())] == int(label) for i, label in zip(part.images, part.labels, strict=True))


@pytest.mark.parametrize(("n", "says"), [(0, "at least 1"), (-1, "at least 1"), (4, "fewer of each"), (99, "99")])
def test_a_class_keeps_images(n, says):
    with pytest.raises(DataDamError, match=says):
        hold_out(toy(4), n)


# ---- the grid


def test_the_grid_of_the_paper_has_720_networks_and_each_can_be_built():
    grid = candidates()
    assert len({each.architecture for each in grid}) == len(grid) == 720
    assert {each.epochs for each in grid} == {200}
    for each in grid[:: 720 // 60]:
        network = each.build((3, 32, 32), 10)
        assert len(network.convs) == each.depth
        assert network.convs[0].out_channels == each.width


def test_a_candidate_is_built_as_its_fields_say():
    network = Candidate(depth=1, width=4, norm="none", activation="sigmoid", pooling="max").build((1, 8, 8), 3)
    kinds = [type(layer).__name__ for layer in (network.norms[0], network.activation, network.pool)]
    assert kinds == ["Identity", "Sigmoid", "MaxPool2d"]
    assert network.head.out_features == 3


def test_what_the_grid_leaves_open_is_as_the_training_has_it():
    training = Protocol("mine", epochs=7, batch=5, lr=0.3, width=16, norm="batch")
    (one, two) = candidates({"depth": (1, 2)}, training)
    assert (one.depth, two.depth) == (1, 2)
    for each in (one, two):
        assert (each.epochs, each.batch, each.lr, each.width, each.norm) == (7, 5, 0.3, 16, "batch")


@pytest.mark.parametrize("field", [{"activation": "relo"}, {"pooling": "mean"}, {"norm": "batchnorm"}, {"depth": 0}])
def test_a_network_that_does_not_exist_is_refused(field):
    with pytest.raises(DataDamError):
        Candidate(**field)
    key, value = next(iter(field.items()))
    with pytest.raises(DataDamError):
        candidates({key: (value,)})


def test_an_unknown_field_is_refused_with_the_known_ones():
    with pytest.raises(DataDamError, match=r"filters.*pooling"):
        candidates({"filters": (3, 5)})


# ---- ratings


@pytest.fixture
def few(digits):
    """A small set of digits, and images to rate on."""
    rest, held = hold_out(digits[0], 10)
    return SyntheticSet.from_real(rest, rest.sample(2, torch.Generator().manual_seed(0)), Preprocess.fit(rest)), held


def test_a_rating_depends_on_the_candidate_and_the_seed_alone(few):
    tried = candidates(GRID, QUICK)
    together = rate(tried, *few)
    assert [rate([each], *few)[0] for each in reversed(tried)] == together[::-1]
    assert rate(tried, *few, seed=1) != together


def test_a_network_that_can_learn_is_rated_above_one_that_can_not(digits):
    rest, held = hold_out(digits[0], 10)
    training = Protocol("longer", epochs=5, batch=64, lr=0.05, width=8, depth=2)
    good = candidates({"norm": ("batch",)}, training)
    bad = [replace(good[0], lr=1e-9)]
    (right,), (wrong,) = rate(good, whole(rest), held), rate(bad, whole(rest), held)
    assert right > 80
    assert wrong < 40


def test_images_of_other_classes_do_not_rate(digits):
    train, test = digits
    turned = replace(test, classes=test.classes[1:] + test.classes[:1])
    with pytest.raises(DataDamError, match="classes 0, 1, 2, …, the images that rate it images of"):
        rate(candidates(GRID, QUICK), whole(train), turned)


def test_a_network_that_diverges_is_not_rated(digits):
    with pytest.raises(DataDamError, match="hold NaN or infinity; expected finite numbers: give the"):
        rate(candidates({"depth": (1,)}, replace(QUICK, lr=1e9)), whole(digits[0]), digits[1])


def test_the_whole_set_holds_every_image(digits):
    everything = whole(digits[0])
    assert len(everything) == len(digits[0])
    assert torch.equal(everything.labels, digits[0].labels)


def test_a_network_that_is_too_deep_is_refused_before_any_is_trained(few, monkeypatch):
    monkeypatch.setattr("datadam_lite.applications.search.train_network", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataDamError, match="depth of at most 3"):
        rate(candidates({"depth": (1, 4), "width": (4,)}), *few)


# ---- orders


def test_agreement_is_the_correlation_of_ranks():
    ratings, truth = [3.0, 1.0, 4.0, 1.0, 5.0], [2.0, 7.0, 1.0, 8.0, 2.0]
    by_hand = torch.corrcoef(torch.tensor([[3, 1.5, 4, 1.5, 5], [2.5, 4, 1, 5, 2.5]]))[0, 1]
    assert agreement(ratings, truth) == pytest.approx(float(by_hand), abs=1e-6)
    assert agreement(ratings, truth) == pytest.approx(spearmanr(ratings, truth).statistic)


def test_only_the_order_counts():
    truth = [90.0, 91.0, 80.0, 95.0]
    assert agreement([0.9, 0.91, 0.1, 0.99], truth) == pytest.approx(1)
    assert agreement([-x for x in truth], truth) == pytest.approx(-1)


def test_among_the_best_fifth_by_truth():
    truth = [float(k) for k in range(20)]
    ratings = [*truth[:16], 19.0, 18.0, 17.0, 16.0]  # the best four in the opposite order
    assert agreement(ratings, truth, 0.2) == pytest.approx(-1)
    assert agreement(ratings, truth) > 0.9


def test_the_best_come_first_and_of_equal_ones_the_earlier():
    assert best([5.0, 9.0, 9.0, 1.0, 7.0], 0.6) == [1, 2, 4]
    assert best([1.0, 2.0], 0.01) == [1]  # at least one
    assert [len(best([0.0] * 100, share / 100)) for share in range(1, 101)] == list(range(1, 101))


@pytest.mark.parametrize(
    ("ratings", "truth", "share", "says"),
    [
        ([1.0], [1.0, 2.0], 1.0, "a rating for each of 2 candidates; received 1"),
        ([1.0, 1.0], [1.0, 2.0], 1.0, "rated alike"),
        ([1.0, 2.0], [1.0, 2.0], 0.0, "a share in"),
        ([1.0, 2.0], [1.0, 2.0], 1.5, "a share in"),
        ([], [], 1.0, "expected ratings"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.2, "rated alike"),
    ],
)  # fmt: skip
def test_orders_that_can_not_be_compared(ratings, truth, share, says):
    with pytest.raises(DataDamError, match=says):
        agreement(ratings, truth, share)


# ---- a search as data


def test_rows_of_a_search_differ_in_how_long_networks_are_trained():
    search = Search(SPACE, QUICK, held=5, epochs={"small": 20, "early": 1, "whole": 10})
    epochs = {row: {each.epochs for each in search.tried(row)} for row in ("dm", "random", "early", "whole")}
    assert epochs == {"dm": {20}, "random": {20}, "early": {1}, "whole": {10}}
    grids = {tuple(each.architecture for each in search.tried(row)) for row in epochs}
    assert len(grids) == 1


def test_every_public_function_is_in_the_reference():
    from regenerate import ROOT

    page = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    for name in ("SPACE", "Candidate", "candidates", "whole", "rate", "best", "agreement"):
        assert f"datadam_lite.applications.search.{name}" in page
    assert "datadam_lite.applications.hold_out.hold_out" in page
