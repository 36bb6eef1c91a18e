"""Naming the mistake: which variant of the catalogue behaves as the student's function does?"""

from collections.abc import Callable
from functools import lru_cache, partial

from torch import Tensor

from datadam_lite.classroom.catalogue import MISTAKES
from datadam_lite.classroom.claim import Claim, scaled
from datadam_lite.classroom.contract import CLOSE, close, precision, same_twice
from datadam_lite.classroom.guard import Guarded, Stumble
from datadam_lite.classroom.mistake import Mistake, right
from datadam_lite.classroom.probes import SHAPES, USUAL, Maps, Power, after_relu, extremes, of_both_signs, without_zeros

POWERS = (4, 1, 2, 3, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5)  # tried beside those that are read off or asked for
EQUATION = Mistake("none", "", (right,))
ZEROS = "an image of zeros beside others"
VALUES = {f"values {shape}": lambda fn, shape=shape: fn(after_relu(*shape)) for shape in SHAPES}
DETAILS = {  # what sets functions apart whose values agree on maps after a ReLU
    "signs": lambda fn: fn(of_both_signs(*USUAL)),
    "zeros": lambda fn: fn(extremes()[ZEROS]),
    "slope": lambda fn: slope(fn, without_zeros(*USUAL)),
    "slope at zeros": lambda fn: slope(fn, extremes()[ZEROS]),
    "input": lambda fn: fn.changes(of_both_signs(*USUAL)),
    "type": lambda fn: str(fn(after_relu(*USUAL)).dtype),
    "precision": precision,
}
RANDOM = {"random": lambda fn: same_twice(fn) is not None}  # then nothing else can be compared
RESPECTS = VALUES | DETAILS | RANDOM


def slope(fn: Guarded, maps: Maps) -> Tensor:
    """The gradient, or zeros if there is none."""
    gradient = fn.gradient(maps)
    return maps.new_zeros(maps.shape) if gradient is None else gradient


class Behaviour:
    """What a function does in each respect, found out when it is asked for."""

    def __init__(self, fn: Guarded):
        self.fn, self.seen = fn, {}

    def __getitem__(self, respect: str):
        if respect not in self.seen:
            try:
                self.seen[respect] = RESPECTS[respect](self.fn)
            except Stumble:
                self.seen[respect] = object()  # like nothing else
        return self.seen[respect]

    def agreement(self, other: "Behaviour") -> int:
        """In how many details two functions agree; -1 if their values differ."""
        tolerance = 1e-2 if self["precision"] in ("float16", "bfloat16") else CLOSE
        agree = partial(_agree, tolerance=tolerance)
        if not all(agree(self[name], other[name]) for name in (RANDOM if self["random"] else VALUES)):
            return -1
        return sum(agree(self[name], other[name]) for name in DETAILS)


def _agree(one, other, tolerance: float) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return close(one, other, tolerance)
    return type(one) is type(other) and one == other


def likely(claim: Claim) -> tuple[Mistake | None, int]:
    """Return the mistake that explains most of what a function does, and in how many details more than the equation.

    Its variant has the function's values on maps after a ReLU. None if there is no such variant, or if the equation
    itself, with any power, agrees in as many details.
    """
    student = Behaviour(claim.fn)
    equation = -1 if claim.kind == "mixed" else agreement(student, EQUATION, claim)
    best, most = None, equation
    for mistake in MISTAKES:
        if claim.kind in mistake.kinds and not mistake.of_p:
            found = agreement(student, mistake, claim)
            best, most = (mistake, found) if found > most else (best, most)
    return (best, most - equation) if best else (wrong_power(student, claim), 0)


def wrong_power(student: Behaviour, claim: Claim) -> Mistake | None:
    """Return the mistake of the power, where it is known which power should be there."""
    if claim.expected is None or claim.kind == "mixed":
        return None
    found = (m for m in MISTAKES if m.of_p and agreement(student, m, claim, (claim.expected,)) >= 0)
    return next(found, None)


def agreement(student: Behaviour, mistake: Mistake, claim: Claim, powers: tuple[Power, ...] = ()) -> int:
    """The agreement with the variant, and for the power, that agree best."""
    found = [-1]
    for variant in mistake.variants:
        for p in powers or candidates(claim):
            found.append(student.agreement(of_variant(variant, p, claim.kind, claim.block)))
    return max(found)


@lru_cache(10_000)
def of_variant(variant: Callable, p: Power, kind: str, block: bool) -> Behaviour:
    """The behaviour of a variant, which is the same whoever is compared with it."""
    fn = partial(variant, p=p, kind=kind)
    return Behaviour(scaled(fn) if block else Guarded(fn))


def candidates(claim: Claim) -> tuple[Power, ...]:
    """Powers to try: the one that is asked for, the one that is read off with its relatives, and usual ones."""
    read = claim.power
    near = (read, read + 1, read - 1, 2 * read) if read else ()
    return tuple(dict.fromkeys(round(p, 4) for p in (claim.expected, *near, *POWERS) if p and p > 0))
