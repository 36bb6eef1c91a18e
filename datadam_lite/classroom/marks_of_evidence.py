"""Marks for assignment A5: two intervals, and results of which some are computed again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import isfinite

import torch

from datadam_lite.classroom.evidence import TEST_IMAGES, TOLERANCE, interval, one_result, paired_interval
from datadam_lite.classroom.findings import Finding
from datadam_lite.classroom.marks import Earned
from datadam_lite.classroom.mistakes_of_intervals import PAIRED, SINGLE, IntervalMistake
from datadam_lite.classroom.variant import Variant, sample, secret

Call = Callable[..., object]  # call(name, *lists), as Sandbox.call
TRIALS = 4


def of_evidence(call: Call, results: object, variant: Variant, class_seed: str) -> Iterator[Earned]:
    """The lines of A5; results: the submission's RESULTS, or None."""
    yield of_intervals(call, "interval", interval, SINGLE, [(after,) for after, _ in hidden_lists(class_seed)])
    yield of_intervals(call, "paired_interval", paired_interval, PAIRED, hidden_lists(class_seed))
    complete = every_set(results, variant)
    yield complete
    if complete.share < 1:
        yield from [Earned(0, "RESULTS isn't complete.")] * 2
        return
    yield of_this_test([results[str(value)] for value in variant.values])
    yield computed_again(results, variant, class_seed)


# ---- the intervals


def hidden_lists(class_seed: str) -> list[tuple[list[float], list[float]]]:
    """Pairs of lists of accuracies, after and before, of different lengths."""
    found = []
    for i, n in enumerate(sample(class_seed, "hidden lists", range(3, 12), TRIALS)):
        noise = torch.randn(3, n, generator=secret(class_seed, "hidden list", i), dtype=torch.float64)
        before = 70 + 5 * noise[0] + noise[1]
        after = before + 1 + 2 * noise[2]
        found.append((after.tolist(), before.tolist()))
    return found


def of_intervals(
    call: Call, name: str, right: Callable, mistakes: Sequence[IntervalMistake], lists: list[tuple]
) -> Earned:
    """The share of the hidden lists for which the student's interval is right."""
    found = [asked(call, name, values) for values in lists]
    agreed = sum(same(each, right(*values)) for each, values in zip(found, lists, strict=True))
    if agreed == len(lists):
        return Earned(1)
    return Earned(agreed / len(lists), f"Right on {agreed} of {len(lists)} lists.", likely(found, lists, mistakes))


def asked(call: Call, name: str, values: tuple) -> object:
    """What the student's function returns, or None if it raises."""
    with suppress(Exception):
        return call(name, *values)
    return None


def same(found: object, right: Sequence[float | int]) -> bool:
    """Whether two numbers came, and the right ones."""
    if not isinstance(found, (list, tuple)) or len(found) != 2 or not all(map(number, found)):
        return False
    return all(abs(one - other) <= 1e-3 for one, other in zip(found, right, strict=True))


def number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def likely(found: list, lists: list[tuple], mistakes: Sequence[IntervalMistake]) -> Finding | None:
    """The known mistake that gives what was found for every list."""
    for mistake in mistakes:
        for variant in mistake.variants:
            if all(same(each, variant(*values)) for each, values in zip(found, lists, strict=True)):
                return Finding(mistake.name, mistake.hint)
    return None


# ---- the results


def every_set(results: object, variant: Variant) -> Earned:
    """RESULTS has both values of the class, and as many accuracies for each as there are seeds."""
    wanted, n = [str(value) for value in variant.values], len(variant.seeds)
    if not isinstance(results, dict):
        return Earned(0, "RESULTS was expected to be a dictionary, written out: {'value': [accuracies], ...}.")
    missing = [value for value in wanted if value not in results]
    if missing:
        listed = " and ".join(map(repr, missing))
        return Earned(0, f"RESULTS has no key {listed}; the keys are the two values of your task, as text.")
    short = [v for v in wanted if not isinstance(results[v], (list, tuple)) or len(results[v]) != n]
    if short:
        return Earned((2 - len(short)) / 4, f"Expected a list of {n} accuracies, one for each seed, for {short[0]!r}.")
    if not all(number(each) and 0 <= each <= 100 for value in wanted for each in results[value]):
        return Earned(0.5, "All entries should be numbers from 0 to 100.")
    return Earned(1)


def of_this_test(rows: list[list[float | int]]) -> Earned:
    """All entries are shares of the test images, and sets of one value differ.

    >>> of_this_test([[83.4, 82.0], [81.7, 80.2]]).why
    'There are 500 test images, of which 81.7 % is no whole number.'
    """
    step = 100 / TEST_IMAGES
    off = [entry for row in rows for entry in row if abs(entry - step * round(entry / step)) > 0.051]
    if off:
        return Earned(0, f"There are {TEST_IMAGES} test images, of which {off[0]} % is no whole number.")
    if all(len(set(row)) == 1 for row in rows):
        return Earned(0, "All sets of a value have the same accuracy, and seeds don't do that.")
    return Earned(1)


def computed_again(results: dict, variant: Variant, class_seed: str) -> Earned:
    """One entry of each value, drawn by the class's secret, is within the tolerance of what comes out here.

    This finds results that were made up, or made with something else than what the task says, where they are far from
    the truth. Who makes up numbers near the truth is not found.
    """
    held, said = 0, []
    for i, value in enumerate(variant.values):
        k = sample(class_seed, f"computed again {i}", range(len(variant.seeds)), 1)[0]
        here = one_result(variant.field, value, variant.seeds[k])
        if abs(here - results[str(value)][k]) <= TOLERANCE:
            held += 1
        else:
            said.append(f"{variant.field}={value}: one of the sets is more than {TOLERANCE:g} points off.")
    return Earned(held / len(variant.values), " ".join(said))
