"""What `behaviour` found: accuracies, their paired differences, and a verdict that claims no more than they show."""

import html
from dataclasses import dataclass
from statistics import fmean

from datadam_lite.report import Report
from datadam_lite.synthetic import SyntheticSet

START, REFERENCE, YOURS = "initial images", "reference", "yours"


def difference(one: Report, other: Report) -> Report:
    """One report minus another, set by set: its mean, and the interval of the mean difference.

    >>> gain = difference(Report([[80.0], [84.0]]), Report([[70.0], [75.0]]))
    >>> gain.models, gain.mean, round(gain.interval, 2)
    ([10.0, 9.0], 9.5, 6.35)
    """
    pairs = zip(one.accuracies, other.accuracies, strict=True)
    return Report([[fmean(a) - fmean(b)] for a, b in pairs])


def shown(gain: Report, other: str) -> str:
    """Say what a paired difference shows.

    >>> shown(Report([[9.0], [10.0]]), "its initial images")
    'better than its initial images (+9.5 ± 6.4 points)'
    >>> shown(Report([[9.0], [-1.0]]), "spatial")
    'no difference to spatial shown (+4.0 ± 63.5 points)'
    """
    if gain.interval is None:
        return f"in the one set {gain.mean:+.1f} points to {other}, which shows nothing: it takes several sets"
    if not any(gain.models):
        return f"in every set the same accuracy as {other}"
    size = f"({gain.mean:+.1f} ± {gain.interval:.1f} points)"
    if abs(gain.mean) <= gain.interval:
        return f"no difference to {other} shown {size}"
    return f"{'better' if gain.mean > 0 else 'worse'} than {other} {size}"


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of one number of images per class.

    sets: initial images, reference, yours -> the sets, seed by seed; reports: the same -> accuracies in per cent, a
    row for each set; loss_scale: with which yours were distilled.
    """

    ipc: int
    sets: dict[str, list[SyntheticSet]]
    reports: dict[str, Report]
    loss_scale: float

    def gain(self, label: str) -> Report:
        """Yours minus another, set by set."""
        return difference(self.reports[YOURS], self.reports[label])

    def moved(self, label: str) -> float:
        """Root mean square change of a pixel since the start, in the space networks see; mean over sets."""
        return fmean(each.provenance.get("moved", 0.0) for each in self.sets[label])

    @property
    def title(self) -> str:
        """How many images per class."""
        return f"{self.ipc} image{'s' * (self.ipc != 1)} per class"

    def rows(self, reference: str) -> list[tuple[str, str, str, str]]:
        """The lines of the table: what, accuracy, yours minus it, moved."""
        named = {START: START, REFERENCE: f"reference ({reference})", YOURS: YOURS}
        lines = []
        for label, report in self.reports.items():
            gain = "" if label == YOURS else with_interval(self.gain(label), "+.1f")
            moved = "" if label == START else f"{self.moved(label):.2f}"
            lines.append((named[label], with_interval(report, ".1f"), gain, moved))
        return lines


def with_interval(report: Report, form: str) -> str:
    """The mean and, of several sets, half the width of its interval."""
    return f"{report.mean:{form}}" + ("" if report.interval is None else f" ± {report.interval:.1f}")


HEADINGS = ("", "accuracy (%)", "yours minus it", "moved")


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What `behaviour` returns: print it, leave it as the last line of a cell, or `plot()` it."""

    name: str  # of the function
    reference: str  # of the function beside it
    trials: tuple[Trial, ...]  # one for each number of images per class

    @property
    def reports(self) -> dict[int, dict[str, Report]]:
        """Images per class -> initial images, reference, yours -> accuracies."""
        return {trial.ipc: trial.reports for trial in self.trials}

    @property
    def gains(self) -> dict[int, dict[str, Report]]:
        """Images per class -> initial images, reference -> yours minus it, set by set."""
        return {trial.ipc: {label: trial.gain(label) for label in (START, REFERENCE)} for trial in self.trials}

    @property
    def moved(self) -> dict[int, dict[str, float]]:
        """Images per class -> reference, yours -> how far the images moved, in standard deviations of a pixel."""
        return {trial.ipc: {label: trial.moved(label) for label in (REFERENCE, YOURS)} for trial in self.trials}

    @property
    def verdict(self) -> str:
        """A sentence for each number of images per class."""
        return "\n".join(
            f"{trial.title}: {shown(trial.gain(START), 'its initial images')}; "
            f"{shown(trial.gain(REFERENCE), self.reference)}."
            for trial in self.trials
        )

    @property
    def basis(self) -> str:
        """What the numbers rest on."""
        seeds = ", ".join(str(each.provenance.get("seed")) for each in self.trials[0].sets[YOURS])
        scales = ", ".join(f"{trial.loss_scale:.3g} at {trial.title}" for trial in self.trials)
        return (
            f"A set from each of the seeds {seeds}, one network each. ± is a 95 % interval over sets, and differences "
            "are taken set by set. moved: root mean square change of a pixel, in standard deviations. Loss scale of "
            f"yours: {scales}."
        )

    def __str__(self) -> str:
        lines = [f"{self.name} distils digits, beside the images it began with and {self.reference}.", self.verdict]
        for trial in self.trials:
            lines += ["", f"{trial.title:<24}{HEADINGS[1]:>14}{HEADINGS[2]:>18}{HEADINGS[3]:>8}"]
            for what, found, gain, moved in trial.rows(self.reference):
                lines.append(f"{what:<24}{found:>14}{gain:>18}{moved:>8}".rstrip())
        return "\n".join([*lines, "", self.basis])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same as paragraphs and tables."""
        verdict = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.verdict.splitlines())
        about = f"<strong>{html.escape(self.name)}</strong> distils digits, beside the images it began with and "
        parts = [f"<p>{about}{html.escape(self.reference)}.</p>", f"<ul>{verdict}</ul>"]
        for trial in self.trials:
            head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
            body = "".join(_row(cells) for cells in trial.rows(self.reference))
            parts.append(
                f"<table><caption>{trial.title}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            )
        return "\n".join([*parts, f"<p>{html.escape(self.basis)}</p>"])

    def plot(self):
        """Return a figure of every set, pairs joined by lines, and of the paired differences with their intervals."""
        from datadam_lite import plots  # here: nothing that computes waits for matplotlib

        panels = {trial.title: trial.reports for trial in self.trials}
        return plots.paired(panels, {REFERENCE: f"reference\n({self.reference})"})


def _row(cells: tuple[str, ...]) -> str:
    first, *others = map(html.escape, cells)
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{each}</td>" for each in others) + "</tr>"
