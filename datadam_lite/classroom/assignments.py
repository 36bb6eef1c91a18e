"""The ladder of assignments: what each asks for, what it is worth, and how long it takes."""

from dataclasses import dataclass

from datadam_lite.classroom import rubric


@dataclass(frozen=True)
class Assignment:
    """An assignment.

    name: as on the command line; functions: names that a submission must define; minutes: of a student's work;
    constants: names that a submission must give a literal value.
    """

    name: str
    title: str
    functions: tuple[str, ...]
    minutes: int
    constants: tuple[str, ...] = ()

    @property
    def points(self) -> float | int:
        """What the grading tool gives at most."""
        return rubric.points(self.name)

    @property
    def by_hand(self) -> float | int:
        """What the teacher gives at most."""
        return rubric.points(self.name, by_hand=True)


ASSIGNMENTS = {
    a.name: a
    for a in (
        Assignment("a0", "Spatial attention", ("spatial_attention",), 30),
        Assignment("a1", "Channel attention", ("channel_attention",), 30),
        Assignment("a2", "Mix the two", ("mixed_attention",), 45),
        Assignment("a3", "Find the bugs", ("test_attention", "mended_attention"), 60),
        Assignment("a4", "An attention of your own", ("my_attention",), 120),
        Assignment("a5", "Evidence", ("interval", "paired_interval"), 150, ("RESULTS",)),
    )
}
