"""Grading: a submission's functions are taken out, run in a sandbox, and tried by the rubric of the assignment."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from datadam_lite.classroom.assignments import ASSIGNMENTS
from datadam_lite.classroom.behaviour import one_thread
from datadam_lite.classroom.definitions import Definitions, definitions
from datadam_lite.classroom.marks import Earned, Grade, marked
from datadam_lite.classroom.marks_of_equations import of_an_equation
from datadam_lite.classroom.marks_of_evidence import of_evidence
from datadam_lite.classroom.marks_of_ideas import of_an_idea
from datadam_lite.classroom.marks_of_mixtures import of_a_mixture
from datadam_lite.classroom.marks_of_tests import of_a_test
from datadam_lite.classroom.notebook import SubmissionError
from datadam_lite.classroom.proxy import Raised
from datadam_lite.classroom.sandbox import Ended, Sandbox
from datadam_lite.classroom.variant import variant
from datadam_lite.errors import known


def grade(path: str | Path, assignment: str, class_seed: str) -> Grade:
    """Grade a submission, a notebook or a Python file; whatever is wrong with it is in the grade, and not raised.

    assignment: a0 … a5; class_seed: the teacher's secret string, from which tasks and hidden inputs are drawn. It takes
    seconds, most of them to start the sandbox; A4 and A5 distil, too.

    Raises: DataDamError for an unknown assignment, a class seed that is too short, or a system without sandboxes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.py").write_text("def spatial_atention(maps): return maps.sum(1).flatten(1)")
    ...     found = grade(Path(folder, "mine.py"), "a0", "a string of the teacher's")
    >>> found.score, found.message.split(".")[2]
    (0.0, ' Is it spatial_atention? Then rename it')
    """
    known(assignment, ASSIGNMENTS, "assignment")
    variant(class_seed)
    earned, said, remarks = [], [], []
    try:
        with one_thread():
            for each in found_in(definitions(path), assignment, class_seed, said, remarks):
                earned.append(each)
    except (SubmissionError, Ended) as error:
        said.append(str(error))
    except Raised as error:
        said.append(f"The definitions can't be run: {type(error).__name__}: {error}.")
    return Grade(assignment, marked(assignment, earned), " ".join(said), tuple(remarks))


def found_in(
    submission: Definitions, assignment: str, class_seed: str, said: list[str], remarks: list[str]
) -> Iterator[Earned]:
    """What was found for each line of the rubric, one by one: if the sandbox ends, what came before it counts.

    said: takes what is wrong with the submission as a whole; remarks: takes what the sandbox can't limit here.
    """
    names = usable(submission, ASSIGNMENTS[assignment].functions, said)
    if not names:
        return
    with Sandbox(submission.source(*names), where=submission.where) as box:
        remarks += box.unlimited
        yield from MARKERS[assignment](Handed(submission, box, said), class_seed)


def usable(submission: Definitions, names: Sequence[str], said: list[str]) -> list[str]:
    """The functions that are there with all that they need; of the others it is said what is wrong."""
    found = []
    for name in names:
        try:
            submission.source(name)
            found.append(name)
        except SubmissionError as error:
            said.append(str(error))
    return found


class Handed:
    """What was handed in, as the markers see it: functions that run in the sandbox, and constants.

    What isn't there is None, and `said` has it.
    """

    def __init__(self, submission: Definitions, box: Sandbox, said: list[str]):
        self.submission, self.box, self.said = submission, box, said

    def function(self, name: str) -> Callable | None:
        """The function of that name."""
        try:
            return self.box.function(name)
        except Raised as error:
            self.said.append(f"{name} isn't a function of the maps ({type(error).__name__}: {error}).")
            return None

    def constant(self, name: str):
        """The literal of that name."""
        try:
            return self.submission.constant(name)
        except SubmissionError as error:
            self.said.append(str(error))
            return None


def _equation(handed: Handed, class_seed: str, kind: str) -> Iterator[Earned]:
    fn = handed.function(f"{kind}_attention")
    return of_an_equation(fn, kind, 4, class_seed) if fn else iter(())


def _mixture(handed: Handed, class_seed: str) -> Iterator[Earned]:
    fn = handed.function("mixed_attention")
    return of_a_mixture(fn, variant(class_seed), class_seed) if fn else iter(())


def _bugs(handed: Handed, class_seed: str) -> Iterator[Earned]:
    return of_a_test(handed.box.tries, handed.function("mended_attention"), variant(class_seed), class_seed)


def _idea(handed: Handed, class_seed: str) -> Iterator[Earned]:
    fn = handed.function("my_attention")
    return of_an_idea(fn, variant(class_seed)) if fn else iter(())


def _evidence(handed: Handed, class_seed: str) -> Iterator[Earned]:
    return of_evidence(handed.box.call, handed.constant("RESULTS"), variant(class_seed), class_seed)


MARKERS = {
    "a0": partial(_equation, kind="spatial"), "a1": partial(_equation, kind="channel"),
    "a2": _mixture, "a3": _bugs, "a4": _idea, "a5": _evidence,
}  # fmt: skip
