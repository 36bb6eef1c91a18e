"""Marks for the mixture of assignment A2: what is right of it, the order, the powers or the weights, and what not."""

from collections.abc import Callable, Iterator

import torch

from datadam_lite.classroom.catalogue import MISTAKES
from datadam_lite.classroom.check import check_attention
from datadam_lite.classroom.claim import Claim, mixtures, part
from datadam_lite.classroom.contract import close
from datadam_lite.classroom.findings import Finding, attempt
from datadam_lite.classroom.guard import Guarded, Stumble, undisturbed
from datadam_lite.classroom.laws import not_blind, number_of_entries
from datadam_lite.classroom.marks import Earned
from datadam_lite.classroom.marks_of_equations import (
    NOT_TRIED,
    can_be_compared,
    hidden_maps,
    laws_by_name,
    names,
    of_checks,
    of_hidden_maps,
    of_the_contract,
)
from datadam_lite.classroom.variant import Variant

KINDS = ("spatial", "channel")
NUMBER = names((number_of_entries,))[0]
MIXTURE_LAWS = [NUMBER] + [
    name for kind in KINDS for name in laws_by_name(kind, f"{kind} block: ") if not name.endswith("large p")
]
AS_ONE = next(Finding(each.name, each.hint) for each in MISTAKES if each.name == "both blocks normalised as one")
NO_BLOCKS = "The two blocks can't be told apart: neither is blind to what it should be blind to."


def of_a_mixture(fn: Callable, variant: Variant, class_seed: str) -> Iterator[Earned]:
    """The lines of A2."""
    feedback = check_attention(fn, "mixed")
    yield from of_the_contract(feedback)
    laws = of_checks(feedback, MIXTURE_LAWS)
    yield laws
    if not can_be_compared(feedback) or NUMBER in [check.name for check in feedback.failures]:
        yield from [Earned(0, NOT_TRIED)] * 5
        return
    with undisturbed():
        order = found_order(fn)
        yield same_order(order, variant)
        for kind, p in zip(KINDS, (variant.p_spatial, variant.p_channel), strict=True):
            yield same_power(fn, order, kind, p)
        yield same_weights(fn, order, variant, class_seed)
    yield of_hidden_maps(fn, variant.mixture, class_seed)


def found_order(fn: Callable) -> bool | None:
    """Whether the spatial block stands first; None if there are no two such blocks."""
    if attempt(number_of_entries, Claim(Guarded(fn), "mixed")).sentence:
        return None
    first, last = (not_blind(*order) for order in mixtures(Guarded(fn), None))
    return None if first == last == 2 else first <= last


def same_order(found: bool | None, variant: Variant) -> Earned:
    """The blocks stand as the class's variant has it."""
    if found is None:
        return Earned(0, NO_BLOCKS)
    if found == variant.spatial_first:
        return Earned(1)
    return Earned(0, "The order differs.", Finding("blocks in another order", "Which block did your task put first?"))


def same_power(fn: Callable, order: bool | None, kind: str, p: float) -> Earned:
    """The power of a block, read off what the function returns."""
    if order is None:
        return Earned(0, NO_BLOCKS)
    claim = mixtures(Guarded(fn), None)[not order][KINDS.index(kind)]
    if claim.power is not None and abs(claim.power - p) < 1e-2:
        return Earned(1)
    asked = "Compare the power of each block with those of your task; are they the right way round?"
    return Earned(0, "The power differs.", Finding("another power than the task's", asked))


def same_weights(fn: Callable, order: bool | None, variant: Variant, class_seed: str) -> Earned:
    """How long the blocks are, on hidden maps: that is their weights, if they are unit vectors before."""
    if order is None:
        return Earned(0, NO_BLOCKS)
    try:
        found, right = lengths(fn, order, class_seed), lengths(variant.mixture, variant.spatial_first, class_seed)
    except Stumble:
        return Earned(0, "It could not be called with maps of every shape.")
    if close(found, right, 1e-3):
        return Earned(1)
    if alike(found.norm(dim=0)) and not alike(found):
        return Earned(0, "The weights differ.", AS_ONE)
    asked = "How long is each block, and how long should it be by the rule of your task? Print both."
    return Earned(0, "The weights differ.", Finding("other weights than the task's", asked))


def alike(found: torch.Tensor) -> bool:
    """Whether all images have the same lengths, [images] or [2, images]."""
    return close(found, found[..., :1].expand(found.shape))


def lengths(fn: Callable, spatial_first: bool, class_seed: str) -> torch.Tensor:
    """The lengths of the spatial and the channel blocks, [2, images].

    Raises: Stumble if the function can't be called.
    """
    fn = Guarded(fn)
    blocks = part(fn, "spatial", spatial_first), part(fn, "channel", not spatial_first)
    maps = hidden_maps(class_seed)
    return torch.stack([torch.cat([block(each).norm(dim=1) for each in maps]) for block in blocks])
