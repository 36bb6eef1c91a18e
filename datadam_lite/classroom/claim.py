"""A claim: a function, and the equation that it is to be; the power that it has is read off what it returns."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.attention import channel, spatial
from datadam_lite.classroom.contract import close
from datadam_lite.classroom.guard import Guarded, Stumble, default_power
from datadam_lite.classroom.probes import USUAL, Maps, Power, after_relu, without_zeros

EQUATION = {"spatial": spatial, "channel": channel}
ENTRIES = {  # how many entries a vector has
    "spatial": lambda c, h, w: h * w,
    "channel": lambda c, h, w: c,
    "mixed": lambda c, h, w: h * w + c,
}


@dataclass(frozen=True)
class Claim:
    """A function that claims to be an equation, or a block of one that claims it.

    p: the power it should have; None: whichever. block: its length may be any, but the same for all images.
    """

    fn: Guarded
    kind: str
    p: Power | None = None
    block: bool = False

    def __call__(self, maps: Maps, **options) -> Tensor:
        """What the function returns."""
        return self.fn(maps, **options)

    @cached_property
    def power(self) -> float | None:
        """The power that the function has, as read off what it returns; None if it has none."""
        return read_power(self, self.kind)

    def with_power(self, p: Power, maps: Maps) -> Tensor:
        """Call it with its parameter p, a whole number as an int if its default is one."""
        return self(maps, p=type(default_power(self.fn.fn))(p) if p == int(p) else p)

    @cached_property
    def takes_power(self) -> bool:
        """Whether it has a parameter p that is the power, and not the order of the norm, which changes lengths only."""
        if default_power(self.fn.fn) is None:
            return False
        try:
            two, three = (self.with_power(p, after_relu(*USUAL)) for p in (2, 3))
        except Stumble:
            return False
        return close(two, three) or not close(F.normalize(two, dim=1), F.normalize(three, dim=1))

    @property
    def expected(self) -> Power | None:
        """The power it should have: as asked for, or as its own default says."""
        return default_power(self.fn.fn) if self.p is None and self.takes_power else self.p


def read_power(fn: Callable, kind: str) -> float | None:
    """The p of a = r^p, where responses r at one channel (spatial), or at one position (channel), are all there are.

    The slope of log a over log r; both are sorted, so that the order of the entries doesn't matter.

    >>> round(read_power(spatial, "spatial"), 3), read_power(lambda maps: maps.sum(1).flatten(1).softmax(1), "spatial")
    (4.0, None)
    """
    _, c, h, w = USUAL
    maps = torch.zeros(1, c, h, w, dtype=torch.float64, device="cpu")
    place = (0, 0) if kind == "spatial" else (0, slice(None), 0, 0)
    maps[place] = 1 + without_zeros(1, c, h, w)[place]  # well above any epsilon, also to the power of 8
    try:
        entries, responses = fn(maps).detach().flatten().sort()[0], maps[place].flatten().sort()[0]
    except Stumble:
        return None
    if entries.shape != responses.shape or not entries.min() > 0:
        return None
    x, y = responses.log().diff(), entries.double().log().diff()
    slope = float((x * y).sum() / x.square().sum())
    return slope if slope > 0.01 and close(slope * x, y, 1e-2) else None


def scaled(fn: Callable) -> Guarded:
    """A function in units of the length that it gives the first of the usual images."""
    unit = 0.0
    with suppress(Stumble):  # which is told elsewhere
        unit = float(Guarded(fn)(after_relu(*USUAL))[0].norm())
    unit = unit if 0 < unit < torch.inf else 1.0
    return Guarded(lambda maps: fn(maps) / unit)


def part(fn: Callable, kind: str, first: bool) -> Callable:
    """The block of a mixture that is of that kind and stands first, or last."""

    def block(maps):
        vectors, n = fn(maps), ENTRIES[kind](*maps.shape[1:])
        return vectors[:, :n] if first else vectors[:, -n:]

    return block


def mixtures(fn: Guarded, p: Power | None) -> list[tuple[Claim, Claim]]:
    """The two ways in which a function may be a mixture: a spatial block and a channel block, or the reverse."""

    def block(kind, first):
        return Claim(scaled(part(fn.fn, kind, first)), kind, p, block=True)

    return [(block("spatial", first), block("channel", not first)) for first in (True, False)]
