"""Marks for an attention of one's own, assignment A4: right as far as anything can be right, and does it distil?"""

from collections.abc import Callable, Iterator

from datadam_lite.classroom import laws
from datadam_lite.classroom.behaviour import behaviour
from datadam_lite.classroom.check import check_attention
from datadam_lite.classroom.claim import Claim
from datadam_lite.classroom.findings import Feedback, attempt
from datadam_lite.classroom.guard import Guarded, undisturbed
from datadam_lite.classroom.marks import Earned
from datadam_lite.classroom.marks_of_equations import of_the_contract
from datadam_lite.classroom.measured import START
from datadam_lite.classroom.variant import Variant
from datadam_lite.errors import DataDamError

SETS = 2
MARGIN = 3.0  # per cent


def of_an_idea(fn: Callable, variant: Variant) -> Iterator[Earned]:
    """The lines of A4 but the one by hand."""
    feedback = check_attention(fn)
    yield from of_the_contract(feedback)
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
    """Of the sets that it distils, those that are better by a margin than the images they began with.

    The same set, distilled on two machines, differs by some 1.5 per cent (evidence.TOLERANCE says more): the margin is
    twice that.
    """
    if not feedback.passed:
        return Earned(0, "This counts when it keeps the contract.")
    try:
        found = behaviour(fn, ipcs=(1,), sets=SETS)
    except DataDamError as error:
        return Earned(0, str(error))
    gains = found.gains[1][START].models
    told = " and ".join(f"{gain:+.1f}" for gain in gains)
    better = sum(gain >= MARGIN for gain in gains)
    said = f"Two sets became better by {told} points; {MARGIN:g} were expected of each." if better < SETS else ""
    return Earned(better / SETS, said)
