"""A mark: the points that each line of the rubric got, and why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import floor

from datadam_lite.classroom.findings import Finding
from datadam_lite.classroom.rubric import RUBRIC, Line

BY_HAND = "Marked by your teacher."


@dataclass(frozen=True)
class Earned:
    """What was found for a line of the rubric: the share of its points, why, and the likely cause of what is wrong."""

    share: float | int
    why: str = ""
    cause: Finding | None = None


@dataclass(frozen=True)
class Mark:
    """A line of the rubric with what was found.

    >>> Mark(Line("the test notices each bug alone", 3), Earned(2 / 3)).points
    2.0
    """

    line: Line
    earned: Earned

    @property
    def points(self) -> float:
        """The share of the points, down to the next half."""
        return floor(2 * self.earned.share * self.line.points + 1e-9) / 2

    @property
    def full(self) -> bool:
        """Whether nothing is missing."""
        return self.points == self.line.points

    def __str__(self) -> str:
        if self.line.by_hand:
            return f"- {self.line.name}: {BY_HAND} (of {self.line.points:g})"
        why = f". {self.earned.why}" if self.earned.why else ""
        return f"- {self.line.name}: {self.points:g} of {self.line.points:g}{why}"


@dataclass(frozen=True)
class Grade:
    """What `grade` returns: print it as a report in Markdown.

    message: why a submission couldn't be graded, or only in part; remarks: what the system that graded it can't do.

    >>> half = Grade("a0", marked("a0", [Earned(1), Earned(1), Earned(0, "Too long.")], "It took too long."))
    >>> half.score, half.best, half.by_hand
    (4.0, 10, 0)
    """

    assignment: str
    marks: tuple[Mark, ...]
    message: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The points got so far."""
        return sum(mark.points for mark in self.marks)

    @property
    def best(self) -> int:
        """The points that the tool gives at most."""
        return sum(mark.line.points for mark in self.marks if not mark.line.by_hand)

    @property
    def by_hand(self) -> int:
        """The points that are left to the teacher."""
        return sum(mark.line.points for mark in self.marks if mark.line.by_hand)

    @property
    def causes(self) -> tuple[Finding, ...]:
        """The likely causes of what is wrong, each once."""
        found = [mark.earned.cause for mark in self.marks if mark.earned.cause]
        return tuple({cause.name: cause for cause in found}.values())

    def __str__(self) -> str:
        left = f", and up to {self.by_hand:g} from your teacher" if self.by_hand else ""
        lines = [f"**{self.assignment}: {self.score:g} of {self.best:g} points**{left}"]
        lines += [self.message] * bool(self.message)
        lines.append("\n".join(map(str, self.marks)))
        lines += [f"Likely cause: {cause.name}. {cause.sentence}" for cause in self.causes]
        return "\n\n".join([*lines, *self.remarks])


def marked(assignment: str, earned: Iterable[Earned], message: str = "") -> tuple[Mark, ...]:
    """Give what was found to the lines of the rubric, in order.

    The lines that it doesn't reach get nothing; message: why it doesn't. Those by hand are left open.
    """
    found: Iterator[Earned] = iter(earned)
    nothing = Earned(0, message or "Not reached.")
    lines = RUBRIC[assignment]
    return tuple(Mark(line, Earned(0, BY_HAND) if line.by_hand else next(found, nothing)) for line in lines)
