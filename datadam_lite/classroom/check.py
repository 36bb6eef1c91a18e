"""`check_attention`: is an attention function right, and if not, which mistake is it?"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from datadam_lite.attention import Attention
from datadam_lite.classroom.claim import ENTRIES, EQUATION, Claim
from datadam_lite.classroom.contract import BASICS, GRADIENT, OTHERS, callable_with_the_maps_alone, close, constant
from datadam_lite.classroom.diagnosis import likely
from datadam_lite.classroom.findings import Feedback, Finding, attempt, in_turn
from datadam_lite.classroom.guard import Guarded, Stumble, undisturbed
from datadam_lite.classroom.laws import ODD, blocks, laws_of, number_of_entries
from datadam_lite.classroom.mistake import BOTH
from datadam_lite.classroom.notes import notes
from datadam_lite.classroom.probes import USUAL, Power, after_relu
from datadam_lite.errors import known, positive

UNWRITTEN = Finding("not written yet", "It raises NotImplementedError, as the stub does.")
IGNORED = Finding("p not used", "It gives the same for p = 2 and for p = 3. Where should p enter?")
LATER = Finding("not tried yet", "The other checks make sense when this one holds.")


def check_attention(fn: Attention, kind: str | None = None, *, p: int | float | None = None) -> Feedback:
    """Try an attention function, [B, C, H, W] -> [B, D], and say within seconds what is wrong with it, and why.

    Any function has to keep the contract: one float vector for each image, from that image alone, finite for zeros
    and for responses up to 1000, the same at every call, whether or not a gradient is wanted, with the right gradient,
    and the maps left as they were.

    kind: the equation that the function claims to be; then the laws that follow from it are tried, too, on maps of
    both signs, and the equation itself also on maps as large as a network has them.
    "spatial", "channel": a(h, w) = sum_c |f_c(h, w)|^p or a(c) = sum_{h,w} |f_c(h, w)|^p, then a / ||a||.
    "mixed": these two laid end to end in either order, each times a weight that is the same for all images.
    None: a function of your own. Which laws it keeps is noted, and never held against it.
    p: the power that it should have; None: the default of its parameter p or, if it has none, any power.

    Powers above 6 of responses of 1000 leave float32's range unless the maps are scaled first: that is a failure. A
    function that behaves like a known mistake is told its name. What the function prints is not shown, and what it
    does to random states and default types is undone. The feedback has `passed`, `failures`, `cause`, `notes` and
    `findings`, which is all of them; each finding has a `name` and a `sentence`.

    Raises: DataDamError for an unknown kind, or unless p > 0. Whatever the function does is a finding, not an error.

    >>> from torch.nn import functional as F
    >>> def mine(maps):
    ...     return F.normalize(maps.pow(4).sum(1).flatten(1), dim=0)
    >>> feedback = check_attention(mine, "spatial")
    >>> feedback.passed, [failure.name for failure in feedback.failures], feedback.cause.name
    (False, ['each image on its own', 'length one'], 'normalised over the batch')
    """
    if kind is not None:
        known(kind, ENTRIES, "kind of attention")
    if p is not None:
        positive(p=p)
    with undisturbed():
        return _examined(fn, kind, p)


def _examined(fn: Attention, kind: str | None, p: Power | None) -> Feedback:
    title = f"{kind} attention" if kind else "the contract of attention functions"
    guarded = Guarded(fn)
    checks = [attempt(callable_with_the_maps_alone, fn)]
    if not checks[0].sentence:
        checks += in_turn(BASICS, guarded)
    if checks[-1].sentence:
        return Feedback(title, tuple(checks), _cause(guarded, kind, p), (LATER,))
    checks += [attempt(rule, guarded) for rule in OTHERS] + in_turn(GRADIENT, guarded)
    checks += laws_of(guarded, kind, p) if kind else ()
    cause = _cause(guarded, kind, p) if any(check.sentence for check in checks) else None
    return Feedback(title, tuple(checks), cause, notes(guarded, kind))


def _cause(fn: Guarded, kind: str | None, p: Power | None) -> Finding | None:
    """The known mistake that a function makes, if it can be called at all; of a mixture, and in which block."""
    found = []
    with suppress(Exception):
        if _unwritten(fn):
            return UNWRITTEN
        if kind in EQUATION and _ignores_p(Claim(fn, kind)):
            return IGNORED
        found = [(*likely(claim), claim) for claim in _claims(fn, kind, p)]
    found = [(mistake, gain, claim) for mistake, gain, claim in found if mistake]
    if not found:
        return None
    mistake, most, claim = max(found, key=lambda each: each[1])
    everywhere = sum(each[:2] == (mistake, most) for each in found) > 1  # then it can't be told which block it is
    return Finding(f"{claim.kind} block: " * (claim.block and not everywhere) + mistake.name, mistake.hint)


def _unwritten(fn: Guarded) -> bool:
    """Whether it is a stub still.

    Raises: Stumble if it can't be called for another reason.
    """
    try:
        fn(after_relu(*USUAL).float())
    except Stumble as stumble:
        if "raised NotImplementedError: write " in str(stumble):  # PyTorch raises it, too, with other words
            return True
        raise
    return False


def _ignores_p(claim: Claim) -> bool:
    """Whether it has a parameter p, and depends on the maps but not on p."""
    if not claim.takes_power or constant(claim.fn):
        return False
    return close(*(claim.with_power(p, after_relu(*USUAL)) for p in (2, 3)))


def _claims(fn: Guarded, kind: str | None, p: Power | None) -> Iterator[Claim]:
    if kind is None:  # what it may have been meant to be
        fitting = [kind for kind in BOTH if not number_of_entries(Claim(fn, kind))]
        yield from (Claim(fn, kind, p) for kind in fitting or BOTH)
    else:
        yield Claim(fn, kind, p)
        if Claim(fn, kind).takes_power:  # a mistake that no even power shows
            yield Claim(Guarded(partial(Claim(fn, kind).with_power, ODD)), kind, ODD)
    if kind == "mixed" and not number_of_entries(Claim(fn, kind)):
        yield from blocks(fn, p)
