"""The rubric: what an assignment's points are for, line by line; students may read it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A line of the rubric: what it is for, and the points it is worth; by_hand: the teacher gives them."""

    name: str
    points: int
    by_hand: bool = False


SHAPE = "one vector per image, from a call with the maps alone"
CONTRACT = "the rest of the contract: finite, each image on its own, the input unchanged, a right gradient"
LAWS = "the laws of {} attention"
HIDDEN = "{} attention on maps, and for powers, that only your teacher has"

RUBRIC = {
    "a0": (Line(SHAPE, 2), Line(CONTRACT, 2), Line(LAWS.format("spatial"), 3), Line(HIDDEN.format("spatial"), 3)),
    "a1": (Line(SHAPE, 2), Line(CONTRACT, 2), Line(LAWS.format("channel"), 3), Line(HIDDEN.format("channel"), 3)),
    "a2": (
        Line(SHAPE, 2), Line(CONTRACT, 3), Line("the laws of the two blocks", 4), Line("the order of the blocks", 2),
        Line("the power of the spatial block", 2), Line("the power of the channel block", 2),
        Line("the weights of the blocks", 2), Line("the mixture on maps that only your teacher has", 3),
    ),
    "a3": (
        Line("mended: " + SHAPE, 1), Line("mended: " + CONTRACT, 2), Line("mended: the laws of spatial attention", 3),
        Line("mended: spatial attention on maps that only your teacher has", 3),
        Line("the test notices the broken function", 3), Line("the test notices each of its bugs alone", 9),
        Line("the test notices other bugs, which you haven't seen", 6), Line("the test accepts what is right", 3),
    ),
    "a4": (
        Line(SHAPE, 2), Line(CONTRACT, 3), Line("the law of your class", 5), Line("an attention of your own", 4),
        Line("it distils: the images become better than those they began with", 6),
        Line("the idea, and what you found about it", 10, by_hand=True),
    ),
    "a5": (
        Line("interval", 4), Line("paired_interval", 4), Line("RESULTS has every set of the experiment", 4),
        Line("RESULTS are accuracies of this experiment's test", 2),
        Line("RESULTS hold when some are computed again", 6),
        Line("the page: claim, evidence, and what it doesn't show", 20, by_hand=True),
    ),
}  # fmt: skip


def points(assignment: str, *, by_hand: bool = False) -> int:
    """The points of an assignment: the tool's, or the teacher's.

    >>> points("a5"), points("a5", by_hand=True)
    (20, 20)
    """
    return sum(line.points for line in RUBRIC[assignment] if line.by_hand == by_hand)
