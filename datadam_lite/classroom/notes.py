"""Notes: what can be seen of a function that is neither right nor wrong."""

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor

from datadam_lite.classroom import laws
from datadam_lite.classroom.claim import ENTRIES, EQUATION, Claim
from datadam_lite.classroom.contract import close
from datadam_lite.classroom.diagnosis import POWERS, likely
from datadam_lite.classroom.findings import Finding, attempt
from datadam_lite.classroom.guard import Guarded, Stumble
from datadam_lite.classroom.laws import FRACTION, laws_of, number_of_entries
from datadam_lite.classroom.probes import USUAL, after_relu, of_both_signs


def notes(fn: Guarded, kind: str | None) -> tuple[Finding, ...]:
    """What to remark on a function that keeps the basics of the contract."""
    found = []
    with suppress(Exception):  # of a function that fails elsewhere there may be nothing to remark
        found.extend(remarks(fn, kind))
    return tuple(found)


def remarks(fn: Guarded, kind: str | None) -> Iterator[Finding]:
    """All there is to remark, as it is found."""
    if fn(after_relu(*USUAL).float()).dtype == torch.float64:
        yield Finding("type", "Maps in float32 give vectors in float64: right, and twice the memory.")
    if kind is None:
        yield from recognised(fn) or properties(fn)
        if not harmless(fn):
            told = "Not all it returns for them is finite. A ReLU lets none through, other activations do."
            yield Finding("negative responses", told)
    elif kind != "mixed" and (p := Claim(fn, kind).power):
        yield Finding("power", f"Called with the maps alone, it raises responses to the power {p:.3g}.")
        if Claim(fn, kind).takes_power and (told := attempt(whole_powers_only, Claim(fn, kind)).sentence):
            yield Finding("whole powers only", f"With p={FRACTION} it can't be called. {told}")


def whole_powers_only(claim: Claim) -> None:
    """Raise a Stumble if its p can be no fraction."""
    claim.with_power(FRACTION, after_relu(*USUAL))


def properties(fn: Guarded) -> Iterator[Finding]:
    """Which of the laws that can be tried on any function it keeps, and which not."""
    _, c, h, w = USUAL
    claim = Claim(fn, "spatial")
    tried = [laws.no_negative_entries, laws.length_one, laws.blind_to_scale]
    tried += [laws.blind_to_channel_order, laws.blind_to_position_order]
    entries = fn(after_relu(*USUAL)).shape[1]
    tried += [laws.moves_with_the_channels] * (entries == c) + [laws.moves_with_the_positions] * (entries == h * w)
    found = [attempt(law, claim) for law in tried]
    for name, named in (
        ("laws that it keeps", [f.name for f in found if not f.sentence]),
        ("laws that it does not keep, and need not", [f.name for f in found if f.sentence]),
    ):
        if named:
            yield Finding(name, ", ".join(named) + ".")


def recognised(fn: Guarded) -> list[Finding]:
    """Which kind of attention it is, or which it is but for one of the known mistakes, where it may be meant."""
    for kind in ENTRIES:
        claim = Claim(fn, kind)
        if number_of_entries(claim):
            continue
        if not any(f.sentence for f in laws_of(fn, kind)):
            return [Finding("recognised", f"It is {kind} attention.")]
        if mistake := likely(claim)[0]:
            told = f"It is {kind} attention but for one thing, which would be a mistake there: {mistake.name}."
            return [Finding("resembles", told), *properties(fn)]
    return disguised(fn)


def disguised(fn: Guarded) -> list[Finding]:
    """Whether its inner products are those of a known attention, but for a factor: so are its distances, then."""
    maps = after_relu(*USUAL)
    found = products(fn(maps))
    for kind, attention in EQUATION.items():
        for p in POWERS:
            if close(found, products(attention(maps, p=float(p)))):
                told = f"On maps after a ReLU its distances are those of {kind} attention with p = {p:g}: it differs by"
                return [Finding("recognised", f"{told} a factor, by the order or signs of its entries, or by zeros.")]
    return []


def products(vectors: Tensor) -> Tensor:
    """The inner products of all pairs of vectors, [B, B], in units of the mean square length."""
    found = vectors @ vectors.T
    return found / found.diag().mean().clamp_min(1e-30)


def harmless(fn: Guarded) -> bool:
    """Whether what it returns for negative responses is finite."""
    try:
        return bool(fn(of_both_signs(*USUAL)).isfinite().all())
    except Stumble:
        return False
