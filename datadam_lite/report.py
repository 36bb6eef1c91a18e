"""What an evaluation says: the accuracies of all networks, their spread, and how sure their mean is."""

import statistics
from dataclasses import dataclass

from scipy.stats import t as student_t

from datadam_lite.errors import DataDamError


@dataclass(frozen=True)
class Report:
    """Test accuracies in percent: one row per set, one column per network.

    Raises: DataDamError unless there is a row, and equally many numbers in every row.

    >>> Report([[60.0, 64.0], [62.0, 66.0]])
    63.0 ± 2.6 % (2 sets x 2 networks)
    """

    accuracies: list[list[float]]

    def __post_init__(self):
        if not isinstance(self.accuracies, list | tuple) or not self.accuracies or not all(
            isinstance(row, list | tuple) and row for row in self.accuracies
        ):
            raise DataDamError(
                "expected a list of accuracies for each set, a number for each network, such as [[60.0, 62.0]] for one "
                f"set; received {self.accuracies!r}."
            )
        if len({len(row) for row in self.accuracies}) > 1:
            raise DataDamError(
                "expected as many networks for each set, else sets would count by their networks; received "
                f"{[len(row) for row in self.accuracies]}."
            )

    @property
    def models(self) -> list[float]:
        """The accuracies of all networks of all sets, in one list."""
        return [accuracy for row in self.accuracies for accuracy in row]

    @property
    def mean(self) -> float:
        """Mean over all models."""
        return statistics.fmean(self.models)

    @property
    def std(self) -> float:
        """Standard deviation over all models (n - 1 in the denominator); 0 for a single one."""
        return statistics.stdev(self.models) if len(self.models) > 1 else 0.0

    @property
    def interval(self) -> float | None:
        """Half the width of the 95 % confidence interval over sets; None for a single set.

        t(0.975, n - 1) * std of the n set means / sqrt(n): networks trained on one set don't count as repetitions.

        >>> round(Report([[60.0, 64.0], [62.0, 66.0]]).interval, 1)
        12.7
        """
        means = [statistics.fmean(row) for row in self.accuracies]
        n = len(means)
        return None if n < 2 else float(student_t.ppf(0.975, n - 1)) * statistics.stdev(means) / n**0.5

    def record(self) -> dict:
        """The fields of an evaluation record that come from the accuracies."""
        return {
            "n_sets": len(self.accuracies), "n_networks": len(self.accuracies[0]),
            "mean": round(self.mean, 4), "std": round(self.std, 4),
            "interval": None if self.interval is None else round(self.interval, 4), "accuracies": self.accuracies,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"{self.mean:.1f} ± {self.std:.1f} % ({rests_on(len(self.accuracies), len(self.accuracies[0]))})"


def rests_on(sets: int, networks: int) -> str:
    """Say how many models a number rests on.

    >>> rests_on(1, 5)
    '1 set x 5 networks'
    """
    return f"{sets} set{'s' * (sets != 1)} x {networks} network{'s' * (networks != 1)}"


def table(reports: dict[str, Report]) -> str:
    """Return reports as a Markdown table, a row for each name.

    >>> print(table({"distilled": Report([[60.0, 64.0], [62.0, 66.0]])}))
    |  | mean | std over models | 95 % interval over sets | sets x networks |
    |---|---|---|---|---|
    | distilled | 63.0 | 2.6 | ± 12.7 | 2 x 2 |
    """
    lines = ["|  | mean | std over models | 95 % interval over sets | sets x networks |", "|---|---|---|---|---|"]
    for name, report in reports.items():
        interval = "one set" if report.interval is None else f"± {report.interval:.1f}"
        size = f"{len(report.accuracies)} x {len(report.accuracies[0])}"
        lines.append(f"| {name} | {report.mean:.1f} | {report.std:.1f} | {interval} | {size} |")
    return "\n".join(lines)
