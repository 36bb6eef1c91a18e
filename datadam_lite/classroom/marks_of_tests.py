"""Marks for assignment A3: a test of the student's is tried on right and wrong functions, and the mended function."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch

from datadam_lite.classroom.broken import SLOTS, source
from datadam_lite.classroom.findings import Finding
from datadam_lite.classroom.marks import Earned
from datadam_lite.classroom.marks_of_equations import of_an_equation
from datadam_lite.classroom.variant import Variant, secret

SCALED = '''\
def attention(maps, p={p}):
    """Spatial attention, [B, C, H, W] -> [B, H*W]: scaled first, so that large powers stay in range."""
    largest = maps.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    energy = ((maps / largest).abs() ** p).mean(dim=1)
    return F.normalize(energy.reshape(len(maps), -1), dim=1)
'''
Bugs = tuple[int | None, ...]
Tries = Callable[[str, list[str]], list[str | None]]  # as Sandbox.tries
NOTICED = "AssertionError"
MENDED = 4  # lines of the mended function
REJECTS = Finding(
    "the test rejects what is right",
    "Numbers that are computed in another order differ in their last digits, and a right function may scale its maps. "
    "Which of your assertions asks for more than the equation says?",
)
CRASHES = Finding(
    "the test does not run to its end",
    "An error that is not a failed assertion says nothing about the function. Run the test on a function that you "
    "trust, and read the last line of what Python says.",
)
ACCEPTS = Finding(
    "the test misses a bug",
    "Change one line of a right function, by hand, in a way that the test has to notice. On which maps do the two "
    "differ? Think of negative responses, zeros, several images, and sides that are not alike.",
)


def of_a_test(tries: Tries, mended: Callable | None, variant: Variant, class_seed: str) -> Iterator[Earned]:
    """The lines of A3; the mended function first, before the student's code has seen what the test is tried on."""
    if mended is None:
        yield from [Earned(0, "Not handed in.")] * MENDED
    else:
        yield from of_an_equation(mended, "spatial", variant.p_broken, class_seed)
    right = [source("attention", variant.p_broken, (None,) * len(SLOTS)), SCALED.format(p=variant.p_broken)]
    groups = [right, *([text(variant, bugs) for bugs in group] for group in (all_bugs(variant), *single_bugs(variant)))]
    outcomes = in_hidden_order(tries, groups, class_seed)
    yield from judged(*outcomes)


def text(variant: Variant, bugs: Bugs) -> str:
    """A function with these bugs."""
    return source("attention", variant.p_broken, bugs)


def all_bugs(variant: Variant) -> list[Bugs]:
    """The function that the class was given."""
    return [variant.bugs]


def single_bugs(variant: Variant) -> tuple[list[Bugs], list[Bugs]]:
    """The class's bugs, one at a time; and those that it was not given.

    >>> from datadam_lite.classroom.variant import PUBLIC, variant
    >>> [len(bugs) for bugs in single_bugs(variant(PUBLIC))]
    [3, 6]
    """
    slots, bugs = range(len(SLOTS)), range(len(next(iter(SLOTS.values())).wrong))
    single = {(i, bug): tuple(bug if j == i else None for j in slots) for i, bug in product(slots, bugs)}
    given = [single[key] for key in enumerate(variant.bugs)]
    return given, [each for each in single.values() if each not in given]


def in_hidden_order(tries: Tries, groups: Sequence[list[str]], class_seed: str) -> list[list[str | None]]:
    """Try all functions in an order that a test can't know; return the outcomes, group by group."""
    texts = [text for group in groups for text in group]
    order = torch.randperm(len(texts), generator=secret(class_seed, "order of functions")).tolist()
    found = dict(zip(order, tries("test_attention", [texts[i] for i in order]), strict=True))
    outcomes = iter(found[i] for i in range(len(texts)))
    return [[next(outcomes) for _ in group] for group in groups]


def judged(right: list, broken: list, given: list, others: list) -> Iterator[Earned]:
    """The four lines of the test: it earns nothing by noticing if it rejects what is right, nor the reverse."""
    if all(outcome is not None and outcome.startswith("NotImplementedError") for outcome in right):
        yield from [Earned(0, "Not written yet.")] * 4
        return
    fair, notices = all(outcome is None for outcome in right), noticed(broken)
    for outcomes in (broken, given, others):
        if not fair:
            yield Earned(0, "This counts when the test accepts the right functions.")
        else:
            yield Earned(noticed(outcomes) / len(outcomes), missed(outcomes), ACCEPTS if missed(outcomes) else None)
    if fair and not notices:
        yield Earned(0, "This counts when the test notices the broken function.")
    else:
        yield accepted(right)


def noticed(outcomes: list[str | None]) -> int:
    """How many functions an assertion of the test has failed for."""
    return sum(outcome is not None and outcome.startswith(NOTICED) for outcome in outcomes)


def missed(outcomes: list[str | None]) -> str:
    """Say what the test did with those that it did not notice."""
    silent = sum(outcome is None for outcome in outcomes)
    others = len(outcomes) - silent - noticed(outcomes)
    said = f"Of {len(outcomes)} it let {silent} pass. " * bool(silent)
    said += f"For {others} of {len(outcomes)} it raised something else than AssertionError. " * bool(others)
    return said.strip()


def accepted(outcomes: list[str | None]) -> Earned:
    """The share of the right functions that the test lets pass."""
    rejected = [outcome for outcome in outcomes if outcome is not None]
    if not rejected:
        return Earned(1)
    if crashed := [outcome for outcome in rejected if not outcome.startswith(NOTICED)]:
        said = f"For {len(crashed)} of {len(outcomes)} right functions it ended with {crashed[0].partition(':')[0]}."
        return Earned(1 - len(rejected) / len(outcomes), said, CRASHES)
    said = f"It rejects {len(rejected)} of {len(outcomes)} right functions."
    return Earned(1 - len(rejected) / len(outcomes), said, REJECTS)
