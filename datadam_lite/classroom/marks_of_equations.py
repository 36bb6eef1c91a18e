"""Marks for a function that is to be an equation: assignments A0 and A1, and the mended function of A3."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from datadam_lite.classroom.check import check_attention
from datadam_lite.classroom.claim import EQUATION
from datadam_lite.classroom.contract import BASICS, GRADIENT, OTHERS, callable_with_the_maps_alone, close, constant
from datadam_lite.classroom.findings import Feedback
from datadam_lite.classroom.guard import Guarded, Stumble, undisturbed
from datadam_lite.classroom.laws import LAWS, number_of_entries
from datadam_lite.classroom.marks import Earned
from datadam_lite.classroom.probes import Power
from datadam_lite.classroom.variant import one, sample, secret

WHOLE, FRACTIONS = (1.0, 3.0, 5.0, 6.0), (1.5, 2.5)  # powers of which the hidden ones are drawn
SIZES = range(2, 8)  # of hidden maps
LARGE = range(14, 20), range(129, 160)  # the sides, and the channels, of those as a network has them


def names(rules: Sequence[Callable], prefix: str = "") -> list[str]:
    """What the findings of these rules are called."""
    return [prefix + rule.__name__.replace("_", " ") for rule in rules]


SHAPE_RULES = names(BASICS)  # that it can be called is worth nothing by itself, and without it none of them is tried
NOT_TRIED = "Not tried: other checks come first, and failed."
CONSTANT = "This counts when other maps give other vectors."
NO_P = "It can't be called with p=2: keep the parameter p of the task."
CALLABLE = names((callable_with_the_maps_alone,))[0]
CONTRACT_RULES = names((*OTHERS, *GRADIENT))


def laws_by_name(kind: str, prefix: str = "") -> list[str]:
    """The laws of a kind, stage after stage."""
    return [name for stage in LAWS[kind] for name in names(stage, prefix)]


def of_an_equation(fn: Callable, kind: str, p: Power, class_seed: str) -> Iterator[Earned]:
    """Four lines: the shape, the rest of the contract, the laws, and the equation on hidden maps."""
    feedback = check_attention(fn, kind, p=p)
    yield from of_the_contract(feedback)
    laws = of_checks(feedback, names((number_of_entries,)) + laws_by_name(kind))
    yield Earned(0, CONSTANT, feedback.cause) if can_be_compared(feedback) and is_constant(fn) else laws
    if not can_be_compared(feedback):
        yield Earned(0, NOT_TRIED)
    elif not takes_p(fn):
        yield Earned(0, NO_P)
    else:
        yield of_hidden_maps(fn, EQUATION[kind], class_seed, powers=hidden_powers(class_seed))


def can_be_compared(feedback: Feedback) -> bool:
    """Whether it returns one vector per image, so that there is something to compare."""
    kept = {check.name for check in feedback.checks if not check.sentence}
    return kept.issuperset(SHAPE_RULES)


def is_constant(fn: Callable) -> bool:
    """Whether it gives the same for other maps: it would keep most laws, since nothing ever moves."""
    with undisturbed(), suppress(Stumble):  # of which the contract tells
        return constant(Guarded(fn))
    return False


def takes_p(fn: Callable) -> bool:
    """Whether it can be called with p=2, as far as its parameters tell."""
    try:
        inspect.signature(fn).bind(None, p=2)
    except TypeError:
        return False
    except ValueError:  # a function that does not tell its parameters
        pass
    return True


def of_the_contract(feedback: Feedback) -> Iterator[Earned]:
    """Two lines: the shape, and the rest."""
    yield of_checks(feedback, SHAPE_RULES)
    yield of_checks(feedback, CONTRACT_RULES)


def of_checks(feedback: Feedback, rules: Sequence[str]) -> Earned:
    """The share of these checks that did not fail; with what those that failed say."""
    tried = [check for check in feedback.checks if check.name in rules]
    failed = [check for check in tried if check.sentence]
    if not tried:
        first = next((check.sentence for check in feedback.failures[:1] if check.name == CALLABLE), "")
        return Earned(0, first or NOT_TRIED, feedback.cause)
    said = [f"{check.name}: {check.sentence}" for check in failed]
    untried = [name for name in rules if name not in [check.name for check in tried]]
    said += [f"Could not be tried: {', '.join(untried)}."] * bool(untried)
    return Earned((len(tried) - len(failed)) / len(rules), " ".join(said), feedback.cause if failed else None)


def hidden_powers(class_seed: str) -> list[Power]:
    """Two whole powers and a fraction."""
    return sample(class_seed, "hidden powers", WHOLE, 2) + sample(class_seed, "hidden fraction", FRACTIONS, 1)


def hidden_shapes(class_seed: str) -> list[list[int]]:
    """Four small shapes, in which all sides differ, and one as a network has it, of square maps."""
    shapes = [sample(class_seed, f"hidden shape {i}", SIZES, 4) for i in range(4)]
    shapes[0][0] = 1  # a single image among them
    side, channels = (one(class_seed, f"hidden large {i}", sizes) for i, sizes in enumerate(LARGE))
    return [*shapes, [2, channels, side, side]]


def hidden_maps(class_seed: str) -> list[Tensor]:
    """Maps of shapes, sizes and signs that nobody else can draw, [B, C, H, W]; two of them as after a ReLU.

    >>> [maps.ndim for maps in hidden_maps("a string of the teacher's")]
    [4, 4, 4, 4, 4]
    """
    found = []
    for i, shape in enumerate(hidden_shapes(class_seed)):
        stream = secret(class_seed, "hidden maps", i)
        maps = 3 * torch.randn(*shape, generator=stream)
        found.append(maps.relu() if i % 2 else maps)
    return found


def of_hidden_maps(fn: Callable, right: Callable, class_seed: str, *, powers: Sequence[Power] = ()) -> Earned:
    """The share of the hidden maps, with each of these powers as p, on which two functions agree.

    Of what was tried nothing is told, nor what the function says: it could say what it was given.
    """
    options = [{"p": p} for p in powers] or [{}]
    agreed = [agree(fn, right, maps, option) for maps in hidden_maps(class_seed) for option in options]
    return Earned(sum(agreed) / len(agreed), "" if all(agreed) else f"Right on {sum(agreed)} of {len(agreed)}.")


def agree(fn: Callable, right: Callable, maps: Tensor, options: dict) -> bool:
    """Whether two functions agree on these maps."""
    with undisturbed(), suppress(Stumble):
        return close(Guarded(fn)(maps, **options), right(maps, **options), 1e-3)
    return False
