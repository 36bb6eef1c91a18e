"""The laws of the equations: what follows from them for every power p, whichever way the sum is written.

    spatial: a(h, w) = sum_c |f_c(h, w)|^p      channel: a(c) = sum_{h,w} |f_c(h, w)|^p      then a / ||a||

Each law takes a claim, and most take maps, and returns what is wrong, in words, or None.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.classroom.claim import ENTRIES, EQUATION, Claim, mixtures, read_power
from datadam_lite.classroom.contract import apart, close
from datadam_lite.classroom.findings import Finding, attempt
from datadam_lite.classroom.guard import Guarded, Stumble
from datadam_lite.classroom.probes import LARGER, USUAL, Maps, Power, after_relu, of_both_signs, up_to
from datadam_lite.seeding import generator

ODD = 3.0  # a power that tells signs apart
FRACTION = 2.5  # and one that is none of a loop over range(p)
DOMAINS = {
    "On maps as they come out of a ReLU": after_relu,
    "On maps with negative responses (a ReLU lets none through, other activations do)": of_both_signs,
}


def on_maps_of(*shapes: tuple[int, ...]) -> Callable:
    """Make a law of a claim and maps a law of the claim: it holds on all maps, or is told on which it does not."""

    def on_maps(law):
        @wraps(law)
        def everywhere(claim):
            for shape, (domain, maps) in product(shapes, DOMAINS.items()):
                if sentence := law(claim, maps(*shape)):
                    return f"{domain}, {f'of shape {list(shape)}, ' * (shape != USUAL)}{sentence}"
            return None

        return everywhere

    return on_maps


on_all_maps = on_maps_of(USUAL)


# ---- laws of both equations


def number_of_entries(claim: Claim) -> str | None:
    """Spatial: D == H*W, channel: D == C, mixed: D == H*W + C."""
    b, c, h, w = USUAL
    expected, found = ENTRIES[claim.kind](c, h, w), claim(after_relu(*USUAL)).numel() // b
    if found == expected:
        return None
    known = {c: "C", h * w: "H*W", c * h * w: "C*H*W", c * h: "C*H", c * w: "C*W", h * w + c: "H*W + C", h: "H", w: "W"}
    meaning = f", which is {known[found]}" if found in known else ""
    return (
        f"Maps with C = {c}, H = {h}, W = {w} should give {expected} entries, and {found} came back{meaning}. "
        "Which axes are summed away, and which are left?"
    )


@on_all_maps
def no_negative_entries(claim: Claim, maps: Maps) -> str | None:
    """fn(maps) >= 0: a sum of powers of sizes."""
    lowest = claim(maps).min().item()
    if lowest >= -1e-6:
        return None
    return f"no entry should be negative, and the smallest is {lowest:.2g}. Can responses cancel each other in the sum?"


@on_all_maps
def length_one(claim: Claim, maps: Maps) -> str | None:
    """||fn(maps)[i]|| == 1; for a block of a mixture: the same for every image i."""
    lengths = claim(maps).norm(dim=1)
    if close(lengths, torch.ones_like(lengths)):
        return None
    listed = ", ".join(f"{length:.3g}" for length in lengths.tolist())
    if claim.block:
        return f"the length should be the same for all images, and in units of the first one's they are {listed}."
    return f"each image's vector should have length 1, and the lengths are {listed}. How long is the vector (3, 4)?"


@on_all_maps
def blind_to_scale(claim: Claim, maps: Maps) -> str | None:
    """fn(c * maps) == fn(maps) for c from 0.1 to 10."""
    bright = 10 * maps  # so that an epsilon in a division does not count, even for a tenth of it to the power of 8
    expected = claim(bright)
    for c in (0.1, 0.5, 2, 10):
        if not close(claim(c * bright), expected):
            return (
                f"maps {c} times as bright should give the same vectors, and they differ "
                f"{apart(claim(c * bright), expected)}. What becomes of a factor in each step?"
            )
    return None


# ---- laws of one of them: what becomes of an order


def orders(maps: Maps) -> tuple[Tensor, Tensor, Maps, Maps]:
    """Another order of the channels and of the positions, and the maps in the one and in the other."""
    _, c, h, w = maps.shape
    stream = generator(0, "check_attention", "orders")
    channels, positions = (torch.randperm(n, generator=stream, device="cpu") for n in (c, h * w))
    return channels, positions, maps[:, channels], maps.flatten(2)[:, :, positions].unflatten(2, (h, w))


@on_all_maps
def blind_to_channel_order(claim: Claim, maps: Maps) -> str | None:
    """fn(maps[:, order]) == fn(maps)."""
    _, _, shuffled, _ = orders(maps)
    return _moved(claim(shuffled), claim(maps), "channels change places, nothing should change")


@on_all_maps
def moves_with_the_channels(claim: Claim, maps: Maps) -> str | None:
    """fn(maps[:, order]) == fn(maps)[:, order]."""
    order, _, shuffled, _ = orders(maps)
    return _moved(claim(shuffled), claim(maps)[:, order], "channels change places, entries should change alike")


@on_all_maps
def blind_to_position_order(claim: Claim, maps: Maps) -> str | None:
    """fn(positions of maps in another order) == fn(maps)."""
    _, _, _, shuffled = orders(maps)
    return _moved(claim(shuffled), claim(maps), "positions change places, nothing should change")


@on_all_maps
def moves_with_the_positions(claim: Claim, maps: Maps) -> str | None:
    """fn(positions of maps in another order) == fn(maps)[:, order], counted row by row."""
    _, order, _, shuffled = orders(maps)
    what = "positions change places, entries should change alike (counted row by row)"
    return _moved(claim(shuffled), claim(maps)[:, order], what)


def _moved(found: Tensor, expected: Tensor, what: str) -> str | None:
    if close(found, expected):
        return None
    return f"when {what}, and what comes out is off {apart(found, expected)}. Follow one response through the steps."


# ---- the power


def power(claim: Claim) -> str | None:
    """a = r^p: where one response is all there is to add up, its entry is its power."""
    if claim.power is None:
        return (
            "Where one response is all there is to add up, its entry should be a power of it, 2^p times as large for "
            "twice the response, and no p fits. Try maps that are zero but in one channel (for channel attention: "
            "but at one position), and plot entries over responses."
        )
    for call, expected, found in powers(claim):
        if expected is not None and (found is None or abs(found - expected) > 1e-2):
            return (
                f"{call}, twice the response should count 2^{expected:g} times, and it counts 2^{found or 0:.3g} "
                "times. What does each step do to the power?"
            )
    return None


def powers(claim: Claim) -> list[tuple[str, Power | None, float | None]]:
    """How the function is called, the power it should have then, and the one it has."""
    found = [("Called with the maps alone", claim.expected, claim.power)]
    for p in (2, 3) if claim.takes_power else ():
        found.append((f"Called with p={p}", p, read_power(partial(claim.with_power, p), claim.kind)))
    with suppress(Stumble):  # a power may be for whole numbers only, and say so
        if claim.takes_power and claim.with_power(FRACTION, after_relu(*USUAL)) is not None:
            read = read_power(partial(claim.with_power, FRACTION), claim.kind)
            found.append((f"Called with p={FRACTION}", FRACTION, read))
    return found


@on_all_maps
def large_p(claim: Claim, maps: Maps) -> str | None:
    """fn(maps, p) -> 1 at the largest response of an image and 0 elsewhere, as p grows."""
    maps = up_to(0.5, maps)
    images = torch.arange(len(maps), device=maps.device)
    maps[images, images, images, images + 1] = 1
    places = images * maps.shape[3] + images + 1 if claim.kind == "spatial" else images
    limit = F.one_hot(places, ENTRIES[claim.kind](*maps.shape[1:])).to(maps)
    found = claim.with_power(40, maps)
    if close(found, limit, 1e-3):
        return None
    return (
        "called with p=40, the largest response, twice as large as any other, should outdo all others and its entry "
        f"be 1, and it is {found.gather(1, places[:, None]).min():.2g}. Where does p enter, and what comes after it?"
    )


@on_all_maps
def in_range(claim: Claim, maps: Maps) -> str | None:
    """fn(maps) in float32 == fn(maps) in float64, for responses up to 1000."""
    large = up_to(1000, maps)
    found, expected = claim(large.float()), claim(large)
    if close(found, expected, 1e-2):
        return None
    return (
        f"with responses up to 1000, float32 and float64 should agree, and they differ {apart(found, expected)}. Large "
        "powers leave float32's range, which ends at 3e38, and lengths square them. What could be done to maps first?"
    )


# ---- and the equation itself


TINY = "It keeps all other laws: work the sum out by hand for a tiny map."
NUMBER = "On smaller maps it is right: does a number stand somewhere in place of a size of the maps?"


@on_maps_of(USUAL, *LARGER)
def equation(claim: Claim, maps: Maps) -> str | None:
    """fn(maps) == the equation, for the power that the function has, and fn(maps, p=3) if it takes a power."""
    calls = [("", claim.power, claim(maps))]
    if claim.takes_power:  # negative responses don't show in an even power
        calls.append((", called with p=3,", ODD, claim.with_power(ODD, maps)))
    for call, p, found in calls:
        expected = EQUATION[claim.kind](maps, p)
        if not close(found, expected, 1e-3):
            hint = TINY if tuple(maps.shape) == USUAL else NUMBER
            return _differs(found, expected, p, call + ", in units of the block's length," * claim.block) + hint
    return None


def _differs(found: Tensor, expected: Tensor, p: Power, how: str) -> str:
    i, k = divmod(int((found - expected).abs().argmax()), found.shape[1])
    should = f"entry {k} of image {i}{how} should be {expected[i, k]:.3f} for the power {p:.3g}"
    return f"{should}, and is {found[i, k]:.3f}. "


ALWAYS, POWER = (no_negative_entries, length_one, blind_to_scale), (power, large_p, in_range)
LAWS = {  # in stages: the next makes sense where the one before holds
    "spatial": ((*ALWAYS, blind_to_channel_order, moves_with_the_positions), POWER, (equation,)),
    "channel": ((*ALWAYS, blind_to_position_order, moves_with_the_channels), POWER, (equation,)),
}


def laws_of(fn: Guarded, kind: str, p: Power | None = None) -> list[Finding]:
    """Try the laws of a kind on a function that keeps the basics of the contract."""
    entries = attempt(number_of_entries, Claim(fn, kind))
    if entries.sentence:
        return [entries]
    claims = blocks(fn, p) if kind == "mixed" else (Claim(fn, kind, p),)
    return [entries, *(finding for claim in claims for finding in staged(claim))]


def blocks(fn: Guarded, p: Power | None = None) -> tuple[Claim, Claim]:
    """The spatial and the channel block, in the order in which more of them are blind to what they should be."""
    return min(mixtures(fn, p), key=lambda order: not_blind(*order))


def not_blind(spatial: Claim, channel: Claim) -> int:
    """How many of two blocks are not blind to what they should be blind to: 0, 1 or 2."""
    tried = attempt(blind_to_channel_order, spatial), attempt(blind_to_position_order, channel)
    return sum(bool(found.sentence) for found in tried)


def staged(claim: Claim) -> list[Finding]:
    """Try the laws of a claim, stage by stage, until one does not hold."""
    found = []
    for stage in LAWS[claim.kind]:
        laws = [law for law in stage if law is not large_p or claim.takes_power]
        found += [attempt(law, claim, prefix=f"{claim.kind} block: " * claim.block) for law in laws]
        if any(f.sentence for f in found):
            break
    return found
