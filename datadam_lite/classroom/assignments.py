"""The ladder of assignments: what each asks for, what it is worth, and how long it takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Assignment:
    """An assignment.

    name: as on the command line; functions: names that a submission must define; constants: names it must give a
    literal value; points: what the grading tool gives at most; by_hand: what the teacher gives at most; minutes: of
    a student's work.
    """

    name: str
    title: str
    functions: tuple[str, ...]
    points: int
    by_hand: int = 0
    minutes: int = 45
    constants: tuple[str, ...] = ()
    practice: bool = False  # the book has the answer


ASSIGNMENTS = {
    a.name: a
    for a in (
        Assignment("a0", "Spatial attention", ("spatial_attention",), 10, minutes=30, practice=True),
        Assignment("a1", "Channel attention", ("channel_attention",), 10, minutes=30, practice=True),
        Assignment("a2", "Mix the two", ("mixed_attention",), 20, minutes=45),
        Assignment("a3", "Find the bugs", ("test_attention", "mended_attention"), 30, minutes=60),
        Assignment("a4", "An attention of your own", ("my_attention",), 20, by_hand=10, minutes=120),
        Assignment("a5", "Evidence", ("interval", "paired_interval"), 20, 20, 150, ("RESULTS",)),
    )
}
