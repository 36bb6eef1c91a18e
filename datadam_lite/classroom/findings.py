"""What a check says: one sentence for each thing that is wrong, the likely cause, and notes."""

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from datadam_lite.classroom.guard import Stumble


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what there is to say about it; None: nothing, all is well."""

    name: str
    sentence: str | None = None


def attempt(rule: Callable, *arguments, prefix: str = "") -> Finding:
    """Try a rule, a function that returns the sentence about what is wrong, or None.

    >>> def odd(number):
    ...     return None if number % 2 else f"{number} is even"
    >>> attempt(odd, 4)
    Finding(name='odd', sentence='4 is even')
    """
    try:
        sentence = rule(*arguments)
    except Stumble as stumble:
        sentence = str(stumble)
    except Exception as error:  # a student never sees a traceback of ours, whatever came back
        sentence = f"What came back could not be compared ({type(error).__name__}: {error}). Print it for several maps."
    return Finding(prefix + rule.__name__.replace("_", " "), sentence)


def in_turn(rules: Iterable[Callable], *arguments) -> list[Finding]:
    """Try rules until one does not hold."""
    found = []
    for rule in rules:
        found.append(attempt(rule, *arguments))
        if found[-1].sentence:
            break
    return found


@dataclass(frozen=True)
class Feedback:
    """What `check_attention` returns: print it, or leave it as the last line of a cell.

    >>> feedback = Feedback("spatial attention", (Finding("finite"), Finding("length one", "It is 2.")))
    >>> feedback.passed, [finding.name for finding in feedback.failures]
    (False, ['length one'])
    >>> print(feedback)
    NOT YET: 1 of 2 checks of spatial attention failed.
    - length one: It is 2.
    Kept: finite.
    """

    title: str  # what was checked
    checks: tuple[Finding, ...]  # those with a sentence failed
    cause: Finding | None = None  # the mistake of the catalogue that it looks like, and the hint
    notes: tuple[Finding, ...] = ()  # observations, never failures

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.sentence)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that there is to say: failures, the likely cause, notes."""
        return (*self.failures, *((self.cause,) if self.cause else ()), *self.notes)

    @property
    def verdict(self) -> str:
        """The first line."""
        count = len(self.checks)
        if self.passed:
            return f"PASSED: all {count} checks of {self.title}."
        return f"NOT YET: {len(self.failures)} of {count} check{'s' * (count != 1)} of {self.title} failed."

    def sections(self) -> list[tuple[str, list[Finding]]]:
        """The findings below the first line: heading -> its findings."""
        cause = [self.cause] if self.cause else []
        headed = [("", list(self.failures)), ("Likely cause", cause), ("Notes, not failures", list(self.notes))]
        return [(heading, found) for heading, found in headed if found]

    @property
    def kept(self) -> str:
        """The names of the checks that did not fail."""
        return "; ".join(check.name for check in self.checks if not check.sentence)

    def __str__(self) -> str:
        lines = [self.verdict]
        for heading, found in self.sections():
            lines += [f"{heading}:"] * bool(heading) + [f"- {f.name}: {f.sentence}" for f in found]
        return "\n".join(lines + [f"Kept: {self.kept}."] * bool(self.kept))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same as paragraphs and lists, which need no colour; a student's text is never taken for HTML."""
        parts = [f"<p><strong>{html.escape(self.verdict)}</strong></p>"]
        for heading, found in self.sections():
            items = "".join(f"<li><strong>{escape(f.name)}:</strong> {escape(f.sentence)}</li>" for f in found)
            parts += [f"<p>{heading}:</p>"] * bool(heading) + [f"<ul>{items}</ul>"]
        return "\n".join(parts + [f"<p>Kept: {self.kept}.</p>"] * bool(self.kept))


def escape(text: str) -> str:
    """Text for HTML; what stands between two ` is code.

    >>> escape("a `<lambda>`, and 1 < 2")
    'a <code>&lt;lambda&gt;</code>, and 1 &lt; 2'
    """
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))
