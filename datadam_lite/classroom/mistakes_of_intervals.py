"""Ways in which a 95 % t-interval goes wrong, each as a function that does it.

    mean ± t(0.975, n - 1) * s / sqrt(n),  s with n - 1 in the denominator
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.stats import t as student_t
from scipy.stats import ttest_ind

Power = float | int
Values = Sequence[float | int]
Interval = tuple[float, float]


@dataclass(frozen=True)
class IntervalMistake:
    """A mistake: its name, what a tutor would say, and the functions that make it."""

    name: str
    hint: str
    variants: tuple[Callable[..., Sequence[float]], ...]


def around(mean: float, half: float) -> Interval:
    """The interval of this half width."""
    return mean - half, mean + half


def with_parts(
    values: Values, *, level: float = 0.975, freedom: int = -1, spread: Callable = statistics.stdev, root: Power = 0.5
) -> Interval:
    """The interval with one of its parts changed: the quantile, the degrees of freedom, s, or the root of n."""
    n = len(values)
    quantile = float(student_t.ppf(level, n + freedom))
    return around(statistics.fmean(values), quantile * spread(values) / n**root)


def normal(values: Values) -> Interval:
    """With the quantile of the normal distribution."""
    return around(statistics.fmean(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5)


def differences(after: Values, before: Values) -> list[float]:
    """After minus before, pair by pair."""
    return [one - other for one, other in zip(after, before, strict=True)]


def unpaired(after: Values, before: Values, equal: bool) -> Interval:
    """The interval of the difference of two means, as if no set had a partner."""
    low, high = ttest_ind(after, before, equal_var=equal).confidence_interval(0.95)
    return float(low), float(high)


SINGLE = (
    IntervalMistake(
        "no root of n", "The mean of many sets is surer than a single one. Where does the number of sets enter?",
        (lambda v: with_parts(v, root=0), lambda v: with_parts(v, root=1)),
    ),
    IntervalMistake(
        "n in place of n - 1", "The mean was computed from the same numbers, so their spread around it is a little too "
        "small. What is in the denominator of the standard deviation that you use, by default?",
        (lambda v: with_parts(v, spread=statistics.pstdev), lambda v: with_parts(v, freedom=0)),
    ),
    IntervalMistake(
        "the row above in the table", "The table is read by the number of sets, n: it has taken one off already. "
        "Which row did you read?",
        (lambda v: with_parts(v, freedom=-2),),
    ),
    IntervalMistake(
        "normal in place of t", "1.96 is right for very many sets. What does the t distribution say for so few?",
        (normal, lambda v: around(statistics.fmean(v), 2 * statistics.stdev(v) / len(v) ** 0.5)),
    ),
    IntervalMistake(
        "one side only", "95 % between two ends leaves 2.5 % beyond each. Which quantile is that?",
        (lambda v: with_parts(v, level=0.95),),
    ),
    IntervalMistake(
        "variance in place of standard deviation", "Double all numbers: how much wider should the interval become?",
        (lambda v: with_parts(v, spread=statistics.variance),),
    ),
    IntervalMistake(
        "half width in place of the two ends", "What is asked for is where the interval begins and where it ends.",
        (
            lambda v: (statistics.fmean(v), with_parts(v)[1] - statistics.fmean(v)),
            lambda v: tuple(end - statistics.fmean(v) for end in with_parts(v)),
        ),
    ),
    IntervalMistake("ends the wrong way round", "The low end comes first.", (lambda v: with_parts(v)[::-1],)),
)  # fmt: skip
PAIRED = (
    IntervalMistake(
        "pairs not used", "The two results of a pair share their seed, and what they share cancels in the difference. "
        "Take differences first: how wide is their interval?",
        (
            lambda a, b: unpaired(a, b, equal=True),
            lambda a, b: unpaired(a, b, equal=False),
            lambda a, b: tuple(one - other for one, other in zip(with_parts(a), with_parts(b), strict=True)),
        ),
    ),
    IntervalMistake(
        "before minus after", "A positive difference should mean that it became better.",
        (lambda a, b: with_parts(differences(b, a)),),
    ),
    *(
        IntervalMistake(
            single.name, single.hint,
            tuple(lambda a, b, variant=variant: variant(differences(a, b)) for variant in single.variants),
        )
        for single in SINGLE
    ),
)  # fmt: skip
