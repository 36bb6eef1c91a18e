"""The catalogue of mistakes: each is named where it differs from the equation, and no hint gives the line away."""

import functools
import re

import pytest
import torch
from torch.nn import functional as F

from datadam_lite import channel, check_attention, spatial
from datadam_lite.classroom.catalogue import MISTAKES
from datadam_lite.classroom.mistake import AXES, right
from datadam_lite.classroom.probes import of_both_signs

ATTENTION = {"spatial": spatial, "channel": channel}
VARIANTS = [
    pytest.param(mistake, variant, kind, id=f"{mistake.name}, {number}, {kind}")
    for mistake in MISTAKES for number, variant in enumerate(mistake.variants) for kind in mistake.kinds
]  # fmt: skip
BLOCKS = [case for case in VARIANTS if case.values[2] != "mixed"]
# Variants that are the equation itself for that power, or another mistake of it.
SAME = {("normalised before the power", "spatial", 2), ("normalised before the power", "channel", 2)}


def cause(feedback):
    """The name of the mistake."""
    return feedback.cause.name if feedback.cause else None


def at(variant, p, kind):
    """A variant as a student's function."""
    return lambda f: variant(f, p, kind)


# ---- what is in it


def test_it_holds_many_mistakes_each_with_a_name_of_its_own():
    names = [mistake.name for mistake in MISTAKES]
    assert len(set(names)) == len(names) >= 30
    assert all(re.fullmatch(r"[a-z].*[a-z0-9]", name) for name in names)
    for kind in ("spatial", "channel"):
        assert sum(kind in mistake.kinds for mistake in MISTAKES) >= 30


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_hint_is_plain_words_and_not_the_line(mistake):
    assert re.fullmatch(r"[A-Z].*[.?]", mistake.hint)
    assert 60 < len(mistake.hint) < 300
    code = r"dim\b|keepdim|\beps|F\.|\babs\b|normalize|flatten\(|sum\(|pow\b|clamp|\*\*|=\d"
    assert not re.search(code, mistake.hint)


@pytest.mark.parametrize("kind", ATTENTION)
@pytest.mark.parametrize("p", [1.0, 3.0, 4.0])
def test_its_equation_is_the_packages(kind, p):
    maps = of_both_signs(3, 5, 4, 6)
    torch.testing.assert_close(right(maps, p, kind), ATTENTION[kind](maps, p))
    assert set(AXES) == set(ATTENTION)


# ---- each is named


@pytest.mark.parametrize(("mistake", "variant", "kind"), VARIANTS)
def test_a_mistake_is_named(mistake, variant, kind):
    """With an odd power, which hides no signs."""
    feedback = check_attention(at(variant, 3, kind), kind, p=3 if mistake.of_p else None)
    assert not feedback.passed
    assert (cause(feedback), feedback.cause.sentence) == (mistake.name, mistake.hint)


@pytest.mark.parametrize("p", [2, 5.0])
@pytest.mark.parametrize(("mistake", "variant", "kind"), BLOCKS[::2])
def test_it_is_named_for_other_powers_or_is_the_equation_there(mistake, variant, kind, p):
    if (mistake.name, kind, p) in SAME or (mistake.name == "power off by one" and p <= 2):
        return
    feedback = check_attention(at(variant, p, kind), kind, p=p if mistake.of_p else None)
    if feedback.passed:
        maps = of_both_signs(3, 5, 4, 6)
        torch.testing.assert_close(variant(maps.clone(), p, kind), right(maps, p, kind))
    else:
        assert cause(feedback) == mistake.name


WHOLE = ("not flattened", "all axes of length one removed", "summed over the images")  # then there are no blocks
SHARED = ("slope at zero",)  # the gradient of the other block is spoilt in the same way


@pytest.mark.parametrize(("mistake", "variant", "kind"), [
    case for number, case in enumerate(BLOCKS)
    if number % 3 == 0 and case.values[0].name not in (*WHOLE, "input overwritten")
])  # fmt: skip
def test_it_is_named_in_a_block_of_a_mixture(mistake, variant, kind):
    def mixed(f):
        wrong, other = 3 * variant(f, 3, kind), 0.5 * right(f, 3, {"spatial": "channel", "channel": "spatial"}[kind])
        return torch.cat([wrong, other] if kind == "channel" else [other, wrong], 1)

    feedback = check_attention(mixed, "mixed", p=3 if mistake.of_p else None)
    assert not feedback.passed
    if "number of entries" not in {failure.name for failure in feedback.failures}:
        assert cause(feedback) == f"{kind} block: " * (mistake.name not in SHARED) + mistake.name


def test_what_a_student_writes():
    """The same mistakes in lines that are not the catalogue's."""

    def batch(f):
        a = torch.einsum("bchw->bhw", f**4).reshape(f.shape[0], -1)
        return a / (torch.linalg.vector_norm(a, dim=0, keepdim=True) + 1e-9)

    def whole(f):
        a = (f * f).sum(dim=1).view(len(f), -1)
        return a / (a**2).sum().sqrt()

    def no_root(f):
        a = f.abs().pow(4).mean(1).flatten(1)
        return a / (a.pow(2).sum(1, keepdim=True) + 1e-8)

    def sum_first(f):
        a = f.sum(1).pow(4).flatten(1)
        return F.normalize(a)

    def by_channel(f):
        a = sum(F.normalize(f[:, c].abs().pow(4).flatten(1)) for c in range(f.shape[1]))
        return F.normalize(a)

    def data(f):
        return F.normalize(f.data.pow(4).sum(1).flatten(1))

    def columns(f):
        return F.normalize(f.pow(4).sum(1).permute(0, 2, 1).reshape(len(f), -1))

    def trap(f):
        a = f.pow(4).sum(1).flatten(1)
        n = a.norm(dim=1, keepdim=True)
        return torch.where(n > 0, a / n, torch.zeros_like(a))

    assert {fn.__name__: cause(check_attention(fn, "spatial")) for fn in (
        batch, whole, no_root, sum_first, by_channel, data, columns, trap
    )} == {
        "batch": "normalised over the batch",
        "whole": "normalised over the whole tensor",
        "no_root": "divided by the squared length",
        "sum_first": "summed before the absolute value",
        "by_channel": "normalised before the sum",
        "data": "gradient cut",
        "columns": "positions in another order",
        "trap": "slope at zero",
    }  # fmt: skip


# ---- what is not named


def test_a_factor_is_no_mistake():
    for factor in (1e-3, 1 / 7, 50):
        for kind in ATTENTION:
            assert check_attention(lambda f, k=kind, c=factor: F.normalize(c * right(f, 4, k)), kind).passed


def test_an_unknown_mistake_is_not_given_a_name():
    """It fails a law, and no cause is made up for it."""
    for fn in (
        lambda f: spatial(f).flip(1),
        lambda f: spatial(f).roll(1, 0),
        lambda f: F.normalize(spatial(f) + 1),
        lambda f: F.normalize(f.abs().pow(4).topk(2, 1).values.sum(1).flatten(1)),
        lambda f: 2 * spatial(f),
    ):
        feedback = check_attention(fn, "spatial")
        assert not feedback.passed
        assert feedback.cause is None


def test_without_a_kind_a_mistake_is_a_note_unless_the_contract_is_broken():
    largest = functools.partial(F.normalize, p=torch.inf)
    feedback = check_attention(lambda f: largest(f.pow(4).sum((2, 3))))
    assert feedback.passed
    assert {note.name: note.sentence for note in feedback.notes}["resembles"] == (
        "It is channel attention but for one thing, which would be a mistake there: scaled by its largest entry."
    )
    broken = check_attention(lambda f: F.normalize(f.pow(4).sum((2, 3)), dim=0))
    assert cause(broken) == "normalised over the batch"


def test_of_two_mistakes_that_agree_on_relu_maps_the_details_decide():
    """Without bars and before the sum: |sum f|^p and (sum |f|)^p differ for negative responses only."""
    assert cause(check_attention(lambda f: F.normalize(f.sum(1).abs().pow(3).flatten(1)), "spatial")) == (
        "summed before the absolute value"
    )
    assert cause(check_attention(lambda f: F.normalize(f.abs().sum(1).pow(3).flatten(1)), "spatial")) == (
        "summed before the power"
    )
