"""Marks for an attention of one's own, assignment A4: right as far as anything can be right, and does it distil?"""

from collections.abc import Callable, Iterator
from functools import cache
from statistics import fmean

from datadam_lite.classroom import laws
from datadam_lite.classroom.behaviour import OPTIONS, accuracies_of, digits, distil, one_thread, push
from datadam_lite.classroom.check import check_attention
from datadam_lite.classroom.claim import Claim
from datadam_lite.classroom.findings import Feedback, attempt
from datadam_lite.classroom.guard import Guarded, undisturbed
from datadam_lite.classroom.marks import Earned
from datadam_lite.classroom.marks_of_equations import CONSTANT, can_be_compared, is_constant, of_the_contract
from datadam_lite.classroom.measured import difference
from datadam_lite.classroom.variant import Variant
from datadam_lite.errors import DataDamError
from datadam_lite.recipes import recipe
from datadam_lite.report import Report

SETS = 2

# Per cent. The same set made on two machines differs by 1.5 (evidence.TOLERANCE), so the mean of two by 1.1: this is
# three times as much. Nine sensible functions gained 5 to 14, three that keep next to nothing of the maps -6 to 1.2.
MARGIN = 3.0


def of_an_idea(fn: Callable, variant: Variant) -> Iterator[Earned]:
    """The lines of A4 but the one by hand."""
    feedback = check_attention(fn)
    yield from of_the_contract(feedback)
    if can_be_compared(feedback) and is_constant(fn):
        yield from [Earned(0, CONSTANT)] * 2
    else:
        yield of_the_law(fn, variant)
        yield of_its_own(feedback)
    yield of_behaviour(fn, feedback)


def of_the_law(fn: Callable, variant: Variant) -> Earned:
    """The law that the class drew."""
    with undisturbed():
        found = attempt(getattr(laws, variant.law.replace(" ", "_")), Claim(Guarded(fn), "spatial"))
    return Earned(not found.sentence, f"{variant.law}: {found.sentence}" if found.sentence else "")


def of_its_own(feedback: Feedback) -> Earned:
    """Not one of the known attentions; half if it is one but for what would be a mistake there."""
    for note in feedback.notes:
        if note.name == "recognised":
            return Earned(0, f"{note.sentence} Write another one.")
        if note.name == "resembles":
            return Earned(0.5, note.sentence)
    known = any(note.name.startswith("laws") for note in feedback.notes)
    return Earned(1) if known else Earned(0, "It could not be compared with the known ones.")


def of_behaviour(fn: Callable, feedback: Feedback) -> Earned:
    """Whether the sets that it distils are better than the real images they began with: half; by a margin: all."""
    if not feedback.passed:
        return Earned(0, "This counts when it keeps the contract.")
    try:
        gains = gains_over_the_start(fn)
    except DataDamError as error:
        return Earned(0, str(error))
    told = " and ".join(f"{gain:+.1f}" for gain in gains)
    said = f"Its sets became better by {told} points, and {MARGIN:g} were expected on average."
    better = fmean(gains)
    return Earned(1) if better >= MARGIN else Earned(0.5 if better > 0 else 0, said)


def gains_over_the_start(fn: Callable) -> list[float]:
    """How much better each set is than its start, in per cent; as `behaviour` has it, without the reference's sets.

    Raises: DataDamError if there is no gradient at the start, or the loss is not finite.
    """
    with one_thread():
        scale = usual_push() / push(recipe("datadam", attention=fn, **OPTIONS), 1)
        made = distil(recipe("datadam", attention=fn, loss_scale=scale, **OPTIONS), 1, range(SETS))
        return difference(accuracies_of(made), starts()).models


@cache
def usual_push() -> float:
    """The push of spatial attention on the images."""
    with one_thread():
        return push(recipe("datadam", **OPTIONS), 1)


@cache
def starts() -> Report:
    """How good the images are that the sets begin with: those of any attention."""
    unmoved = recipe("datadam", **(OPTIONS | {"iterations": 1}))
    with one_thread():
        return accuracies_of([each.initial(digits()[0]) for each in distil(unmoved, 1, range(SETS))])
