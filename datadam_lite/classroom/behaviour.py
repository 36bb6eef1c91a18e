"""Behaviour: an attention function distils digits, and what comes of it stands beside its start and a reference.

Right or wrong is one question (`check_attention`), what a function is worth to a distillation another. Everything is
paired: set by set the same initial images, random networks, real batches and augmentations, and the same networks
tested on them, so that in the difference of two accuracies what they share cancels.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache

import torch

from datadam_lite.attention import Attention
from datadam_lite.classroom.check import check_attention
from datadam_lite.classroom.measured import REFERENCE, START, YOURS, Behaviour, Trial
from datadam_lite.data import ImageSet, load
from datadam_lite.distill import Distiller
from datadam_lite.errors import DataDamError, check_type
from datadam_lite.evaluate import evaluate
from datadam_lite.profiles import PROFILES
from datadam_lite.progress import bar
from datadam_lite.recipes import Recipe, recipe
from datadam_lite.report import Report
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

QUICK = PROFILES["quick"]
OPTIONS = QUICK.changes | {"iterations": 100, "real_batch": 16}  # short, and good and bad still differ
CPU = Settings(device="cpu")  # where a repetition gives the same to the bit


def behaviour(
    fn: Attention, *, ipcs: int | Sequence[int] = (1, 10), sets: int = 4, seed: int = 0,
    reference: str | Attention = "spatial", loss_scale: float | None = None, **changes,
) -> Behaviour:  # fmt: skip
    """Distil digits with an attention function, several times; compare with the initial images and with a reference.

    fn: any attention function, [B, C, H, W] -> [B, D]; ipcs: the numbers of images per class; sets: how many sets of
    each, from the seeds seed, seed + 1, …; reference: another attention function or a name; changes: recipe fields of
    both, such as `iterations=50`. (An image has the share 1/ipc in the mean of its class: image_lr = ipc makes up.)
    loss_scale: of the function's runs. None: the one at which its push on the images equals the reference's, because
    at one scale for both the comparison would be one of step sizes (chapter 4).

    The initial images are random real ones. A minute and a half on one core; what belongs to the reference is
    kept, so that the next call with the same reference and sets takes less than half of it. For a first look:
    `ipcs=(1,), sets=2`, some seconds, and intervals that show nothing yet.

    Raises: DataDamError if `check_attention` finds that the function breaks the contract, before anything is
    distilled; for no sets, or bad recipe fields; or if the loss is not finite.

    >>> from datadam_lite.attention import channel
    >>> found = behaviour(channel, ipcs=(1,), sets=1, iterations=2, real_batch=4, width=4)
    >>> list(found.reports[1]), len(found.reports[1]["yours"].accuracies)
    (['initial images', 'reference', 'yours'], 1)
    """
    check_type("sets", sets, int)
    check_type("seed", seed, int)
    ipcs = (ipcs,) if isinstance(ipcs, int) else tuple(ipcs)
    if sets < 1 or not ipcs:
        raise DataDamError(f"expected at least one set and one number of images per class; received {sets}, {ipcs}.")
    name, seeds = name_of(fn), range(seed, seed + sets)
    keep_the_contract(fn, name)
    changes = {field: tuple(given) if isinstance(given, list) else given for field, given in changes.items()}
    trials = []
    with one_thread():
        for ipc in ipcs:
            options = tuple({**OPTIONS, "image_lr": float(ipc), **changes}.items())
            trials.append(trial(fn, ipc, seeds, reference, loss_scale=loss_scale, options=options))
    return Behaviour(name, reference if isinstance(reference, str) else name_of(reference), tuple(trials))


def name_of(fn: Callable) -> str:
    """What a function is called."""
    return getattr(fn, "__name__", type(fn).__name__)


def keep_the_contract(fn: Attention, name: str) -> None:
    """Raise DataDamError with the first thing that `check_attention` finds wrong."""
    for failure in check_attention(fn).failures:
        raise DataDamError(
            f"{name} breaks the contract of attention functions, so nothing was distilled: {failure.name}: "
            f"{failure.sentence} dd.check_attention({name}) says all there is to say."
        )


def trial(
    fn: Attention, ipc: int, seeds: range, reference: str | Attention, *, loss_scale: float | None, options: tuple
) -> Trial:
    """Distil and test everything for one number of images per class."""
    own = recipe("datadam", attention=fn, **dict(options))
    strength = push(own, ipc)  # first: what can't be distilled says so at once
    sets, reports, target = yardsticks(reference, ipc, seeds, options)
    scale = target / strength if loss_scale is None else loss_scale
    yours = distil(replace(own, loss_scale=scale), ipc, seeds)
    return Trial(ipc, sets | {YOURS: yours}, reports | {YOURS: accuracies_of(yours, seeds.start)}, scale)


@lru_cache(maxsize=8)
def yardsticks(
    reference: str | Attention, ipc: int, seeds: range, options: tuple
) -> tuple[dict[str, list[SyntheticSet]], dict[str, Report], float]:
    """The sets of the reference and those they began with, how good they are, and the reference's push."""
    plain = recipe("datadam", attention=reference, **dict(options))
    made = distil(plain, ipc, seeds)
    sets = {START: [each.initial(digits()[0]) for each in made], REFERENCE: made}
    return sets, {label: accuracies_of(each, seeds.start) for label, each in sets.items()}, push(plain, ipc)


def distil(chosen: Recipe, ipc: int, seeds: range) -> list[SyntheticSet]:
    """A set for each seed: all that is random in it depends on the seed and the iteration, not on the attention."""
    made = []
    for seed in bar(seeds, desc=f"distilling, {ipc} per class", unit="set"):
        distiller = Distiller(digits()[0], ipc, chosen, seed=seed, settings=CPU)
        for _ in distiller:
            pass
        made.append(distiller.synthetic())
    return made


def accuracies_of(sets: list[SyntheticSet], seed: int = 0) -> Report:
    """One network for each set: the i-th is the same network, whatever the sets."""
    return evaluate(sets, digits()[1], networks=1, protocol=QUICK.protocol, seed=seed, settings=CPU)


def push(chosen: Recipe, ipc: int) -> float:
    """Root mean square gradient of a pixel at the start of a run, over ten networks.

    Raises: DataDamError if it is zero or not finite.
    """
    distiller, squares = Distiller(digits()[0], ipc, chosen, settings=CPU), 0.0
    for iteration in range(1, 11):
        loss = sum(distiller.loss(iteration).values())
        (gradient,) = torch.autograd.grad(loss, distiller.images)
        squares += gradient.square().mean().item() / 10
    if not 0 < squares < math.inf:
        raise DataDamError(
            f"the mean square gradient of the images is {squares} at the start; expected a positive number. Call your "
            f"function on maps of shape [10, {chosen.width}, 8, 8] and look at the size of what comes back."
        )
    return squares**0.5


@cache
def digits() -> tuple[ImageSet, ImageSet]:
    """(train, test)."""
    return load("digits")


@contextmanager
def one_thread():
    """On images of 8x8 pixels a second thread only waits for the first, and it would change the rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
