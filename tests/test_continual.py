"""applications/continual.py: classes arrive once, memories hold what they say, and one step is an evaluation."""

import inspect
from dataclasses import replace

import pytest
import torch
from samples import small, toy

import datadam_lite as dd
from datadam_lite import DataDamError, ImageSet, Preprocess, Protocol, SyntheticSet, results
from datadam_lite.applications import continual
from datadam_lite.applications.continual import accuracies, arrivals, memories, memory, only, together

QUICK = Protocol("quick", epochs=4, width=4)
NAMES = tuple("abcdefghij")


def chosen_by_hand(train, ipc, seed):
    """A function that fills a memory: the first images of each class."""
    return torch.cat([rows[:ipc] for rows in train.rows_of_class])


WAYS = {
    "random": ("random", {}), "k_center": ("k_center", {}), "function": (chosen_by_hand, {}),
    "recipe": (small(), {}), "name": ("dm", {"width": 4, "real_batch": 4, "iterations": 2}),
}  # fmt: skip
ways = pytest.mark.parametrize(("method", "changes"), WAYS.values(), ids=WAYS)


def same(one, other):
    """Whether two memories hold the same images, labels and classes."""
    equal = torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
    return equal and one.classes == other.classes


# ---- which classes arrive when


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("seed", [0, 7])
def test_every_class_arrives_once_and_steps_are_of_equal_size(steps, seed):
    parts = arrivals(NAMES, steps, seed)
    assert sorted(sum(parts, ())) == sorted(NAMES)
    sizes = [len(part) for part in parts]
    assert len(sizes) == steps
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_the_order_depends_on_the_seed_and_not_on_the_number_of_steps():
    orders = {sum(arrivals(NAMES, 5, seed), ()) for seed in range(5)}
    assert len(orders) == 5
    assert sum(arrivals(NAMES, 5, 3), ()) == sum(arrivals(NAMES, 2, 3), ()) == sum(arrivals(list(NAMES), 10, 3), ())


@pytest.mark.parametrize("steps", [0, -1, 11])
def test_a_step_without_classes_is_refused(steps):
    with pytest.raises(DataDamError, match=rf"steps must lie in 1 … 10, the number of classes; received {steps}."):
        arrivals(NAMES, steps)


@pytest.mark.parametrize("given", [{"steps": 2.0}, {"steps": True}, {"steps": 2, "seed": "0"}])
@pytest.mark.usefixtures("unchecked")
def test_numbers_must_be_whole(given):
    with pytest.raises(DataDamError, match="must be a whole number"):
        arrivals(NAMES, **given)


# ---- the images of some classes


def test_only_keeps_the_images_of_the_classes_named_and_renumbers_them(digits):
    train, _ = digits
    part = only(train, ("7", "1", "4"))
    assert part.classes == ("7", "1", "4")
    for new, old in enumerate((7, 1, 4)):
        assert torch.equal(part.images[part.labels == new], train.images[train.labels == old])
    assert (part.name, part.mirror) == (train.name, train.mirror) == ("digits", False)


def test_only_of_all_classes_is_the_data_set_itself(digits):
    assert only(digits[0], digits[0].classes).sha256 == digits[0].sha256


def test_all_steps_together_hold_every_image_once(digits):
    parts = [only(digits[0], classes) for classes in arrivals(digits[0].classes, 4)]
    assert sum(map(len, parts)) == len(digits[0])


@pytest.mark.parametrize(("classes", "says"), [
    ((), "at least one; received none"),
    (("1", "2", "1"), "expected different classes, at least one; received 1, 2, 1"),
    (("1", "one"), "unknown class of digits 'one'; the known ones are 0, 1, 2"),
])  # fmt: skip
def test_only_refuses_classes_that_are_not_there(digits, classes, says):
    with pytest.raises(DataDamError, match=says):
        only(digits[0], classes)


# ---- memories


@ways
@pytest.mark.parametrize("ipc", [1, 3])
def test_a_memory_holds_ipc_images_of_each_class_of_its_step(method, changes, ipc):
    train = toy(8, classes=5)
    parts = memories(train, ipc, method, steps=2, seed=4, **changes)
    assert [part.classes for part in parts] == arrivals(train.classes, 2, 4)
    for part in parts:
        assert part.labels.tolist() == torch.arange(len(part.classes)).repeat_interleave(ipc).tolist()
        assert part.images.shape == (ipc * len(part.classes), *train.shape)


@pytest.mark.parametrize("name", ["random", "k_center", "function"])
def test_real_images_are_those_of_the_class_they_are_labelled_as(digits, name):
    train, _ = digits
    for part in memories(train, 2, WAYS[name][0], steps=3):
        pixels = (part.pixels() * 255).round().to(torch.uint8)
        for image, label in zip(pixels, part.labels, strict=True):
            of_class = train.images[train.labels == train.classes.index(part.classes[label])]
            assert (of_class == image).flatten(1).all(1).any()


@ways
def test_the_memory_of_a_step_does_not_depend_on_other_classes(method, changes):
    """Replace all images but those of the second step: its memory is the same to the bit."""
    train = toy(8, classes=4)
    second = arrivals(train.classes, 2)[1]
    inside = torch.isin(train.labels, torch.tensor([train.classes.index(name) for name in second]))
    other = ImageSet(
        torch.where(inside[:, None, None, None], train.images, 255 - train.images), train.labels, train.classes
    )
    before, after = (memories(data, 2, method, steps=2, **changes) for data in (train, other))
    assert same(before[1], after[1])
    assert not same(before[0], after[0])


@ways
def test_same_seed_same_memory(method, changes):
    train = toy(8, classes=4)
    first, again = (memories(train, 1, method, steps=2, seed=1, **changes) for _ in range(2))
    assert all(same(one, other) for one, other in zip(first, again, strict=True))


def test_all_methods_share_the_class_orders():
    train = toy(8, classes=6)
    for seed in range(3):
        orders = [[part.classes for part in memories(train, 1, method, steps=3, seed=seed, **changes)]
                  for method, changes in WAYS.values()]  # fmt: skip
        assert all(order == orders[0] for order in orders)


def test_one_step_is_an_ordinary_distillation(digits):
    train = only(digits[0], sum(arrivals(digits[0].classes, 1, 5), ()))
    (part,) = memories(digits[0], 1, small(), steps=1, seed=5)
    assert same(part, dd.distill(train, 1, small(), seed=5))


def test_the_recipe_and_its_changes_are_those_of_distill():
    train = toy(8)
    part = memory(train, 1, small(), seed=2, iterations=2, lam=0.5)
    assert same(part, dd.distill(train, 1, small(), seed=2, iterations=2, lam=0.5))
    assert part.provenance["iterations"] == 2


def test_a_memory_says_how_it_was_made():
    train = toy(8)
    made = [memory(train, 1, method, seed=3, **changes).provenance for method, changes in WAYS.values()]
    names = [provenance["method"].partition(" ")[0] for provenance in made]
    assert names == ["random", "k_center", "chosen_by_hand", "datadam", "dm"]
    assert all((p["ipc"], p["seed"], p["data_sha256"]) == (1, 3, train.sha256) for p in made)


@pytest.mark.parametrize(("method", "changes", "says"), [
    ("nothing", {}, "unknown way to fill a memory 'nothing'; the known ones are random, k_center.*datadam"),
    ("random", {"width": 4}, "width: only a recipe has fields to change.*functools.partial"),
    (chosen_by_hand, {"iterations": 4}, "iterations: only a recipe has fields to change"),
    ("datadam", {"breadth": 4}, "unknown recipe field 'breadth'"),
    (lambda train, ipc, seed: torch.zeros(3, dtype=torch.int64), {}, "expected 1 different images of each class"),
    (lambda train, ipc, seed: torch.arange(4), {}, "expected 1 different images of each class"),
])  # fmt: skip
def test_what_fills_no_memory_is_refused(method, changes, says):
    with pytest.raises(DataDamError, match=says):
        memory(toy(8), 1, method, **changes)


@pytest.mark.parametrize("given", [{"ipc": 1.0}, {"ipc": "1"}, {"ipc": 1, "seed": None}])
@pytest.mark.usefixtures("unchecked")
def test_images_per_class_and_seed_are_whole_numbers(given):
    with pytest.raises(DataDamError, match="must be a whole number"):
        memory(toy(8), method="random", **given)


def test_more_images_than_a_class_has_are_refused():
    with pytest.raises(DataDamError, match="9 images per class were asked of toy"):
        memories(toy(8), 9, "random", steps=3)


# ---- memories joined


def test_labels_run_on_in_the_order_of_arrival(digits):
    parts = memories(digits[0], 2, "random", steps=3, seed=1)
    joined = together(parts)
    assert joined.classes == sum((part.classes for part in parts), ())
    assert joined.labels.tolist() == torch.arange(10).repeat_interleave(2).tolist()
    assert [part["data_sha256"] for part in joined.provenance["memories"]] == [
        only(digits[0], part.classes).sha256 for part in parts
    ]


def test_the_images_of_all_memories_are_the_same_pixels_in_the_space_of_the_first():
    parts = memories(toy(8, classes=4), 2, "random", steps=2)
    joined = together(parts)
    assert joined.preprocess is parts[0].preprocess
    torch.testing.assert_close(joined.pixels(), torch.cat([part.pixels() for part in parts]))
    torch.testing.assert_close(joined.images, joined.preprocess.enter(joined.pixels()))


def test_pixels_beyond_black_and_white_are_kept():
    train = toy(8, classes=4)
    first, second = memories(train, 1, "random", steps=2)
    bright = replace(second, images=second.images + 10)
    joined = together([first, bright])
    torch.testing.assert_close(first.preprocess.invert(joined.images[2:]), second.preprocess.invert(bright.images))


def test_a_whitened_memory_joins_one_that_is_not():
    train = toy(40, classes=4, shape=(1, 4, 4))
    first, second = (only(train, classes) for classes in arrivals(train.classes, 2))
    whitened = SyntheticSet.from_real(first, dd.random(first, 2), Preprocess.fit(first, zca=True))
    joined = together([whitened, memory(second, 2, "random")])
    torch.testing.assert_close(joined.pixels()[4:], memory(second, 2, "random").pixels(), atol=1e-4, rtol=1e-4)


def test_a_single_memory_joined_is_itself():
    part = memory(toy(8), 2, "random")
    assert same(together([part]), part)


def test_a_joined_memory_is_a_file_like_any_other(tmp_path):
    joined = together(memories(toy(8, classes=4), 1, "random", steps=2))
    assert same(SyntheticSet.load(joined.save(tmp_path / "memory.safetensors")), joined)


def test_what_can_not_be_joined_is_refused():
    train = toy(8, classes=4)
    first, second = memories(train, 1, "random", steps=2)
    with pytest.raises(DataDamError, match="at least one memory; received none"):
        together([])
    with pytest.raises(DataDamError, match=r"every class arrives once; in more than one memory: class \d. Leave"):
        together([first, memory(only(train, first.classes[:1]), 1, "random")])
    with pytest.raises(DataDamError, match=r"must have one shape; received \[\(1, 4, 4\), \(3, 8, 8\)\]"):
        together([first, memory(only(toy(8, classes=4, shape=(1, 4, 4)), second.classes), 1, "random")])


# ---- accuracies


def test_one_step_equals_the_ordinary_evaluation(digits):
    train, test = digits
    order = sum(arrivals(train.classes, 1, 3), ())
    reordered = only(train, order)
    rows = dd.random(reordered, 1, 3)
    ordinary = SyntheticSet.from_real(reordered, rows, Preprocess.fit(reordered))
    expected = dd.evaluate(ordinary, only(test, order), networks=2, protocol=QUICK, seed=9)
    (found,) = accuracies(memories(train, 1, "random", steps=1, seed=3), test, networks=2, protocol=QUICK, seed=9)
    assert found.accuracies == expected.accuracies


def test_each_step_tests_on_the_images_of_the_classes_seen_and_on_no_others(digits, monkeypatch):
    train, test = digits
    asked = []

    def record(chosen, images, **options):
        asked.append((chosen.classes, images))
        return dd.Report([[0.0]])

    monkeypatch.setattr(continual, "evaluate", record)
    order = arrivals(train.classes, 5, 2)
    accuracies(memories(train, 1, "random", steps=5, seed=2), test)
    for step, (classes, images) in enumerate(asked):
        seen = sum(order[: step + 1], ())
        assert classes == images.classes == seen
        assert len(images) == sum(int((test.labels == test.classes.index(name)).sum()) for name in seen)
    assert len(asked[-1][1]) == len(test)


def test_later_classes_do_not_change_earlier_accuracies(digits):
    train, test = digits
    parts = memories(train, 1, "random", steps=5)
    whole = accuracies(parts, test, networks=2, protocol=QUICK)
    first = accuracies(parts[:2], test, networks=2, protocol=QUICK)
    assert [r.accuracies for r in first] == [r.accuracies for r in whole[:2]]
    assert [(len(r.accuracies), len(r.accuracies[0])) for r in whole] == [(1, 2)] * 5


def test_same_seed_same_accuracies_and_another_seed_others(digits):
    parts = memories(digits[0], 1, "random", steps=2)
    first, again, other = (
        [r.accuracies for r in accuracies(parts, digits[1], networks=1, protocol=QUICK, seed=seed)]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_memory_of_two_classes_teaches_them(digits):
    """Not a golden number: an easy pair, 0 and 1, is learned from five images each."""
    part = memory(only(digits[0], ("0", "1")), 5, "random")
    protocol = Protocol("longer", epochs=60, lr=0.05, width=8)
    (found,) = accuracies([part], digits[1], networks=1, protocol=protocol)
    assert found.mean > 85


def test_test_images_without_a_class_are_refused_before_any_training(digits, monkeypatch):
    parts = memories(digits[0], 1, "random", steps=2)
    monkeypatch.setattr(continual, "evaluate", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataDamError, match="unknown class of digits"):
        accuracies(parts, only(digits[1], parts[0].classes))
    with pytest.raises(DataDamError, match="at least one memory; received none"):
        accuracies([], digits[1])


# ---- what papers print, and the page that lists the functions


def test_published_accuracies_have_their_source_and_are_no_record():
    assert {(e["method"], e["steps"]) for e in results.published_continual()} == {
        (method, steps) for method in ("datadam", "dm", "DSA", "herding", "random") for steps in (5, 10)
    }
    assert all(e["source"] == "DataDAM, Figure 7" and e["ipc"] == 20 for e in results.published_continual())
    assert all(0 < e["mean"] < 100 and e["dataset"] == "CIFAR-100" for e in results.published_continual())
    assert "published-continual" not in results.names()


def test_every_public_function_is_in_the_reference():
    from regenerate import ROOT

    page = (ROOT / "book" / "api.md").read_text()
    functions = [
        name for name, found in vars(continual).items()
        if inspect.isfunction(found) and found.__module__ == continual.__name__ and not name.startswith("_")
    ]  # fmt: skip
    assert len(functions) == 6
    for name in functions:
        assert f".. autofunction:: {continual.__name__}.{name}\n" in page, name
