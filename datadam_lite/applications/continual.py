"""Class-incremental learning by replay: classes arrive step by step, and of each a few images are kept.

The setting is GDumb's (Prabhu, Torr and Dokania, ECCV 2020): a network is trained from scratch on all that is kept, and
on nothing else. DM (Zhao and Bilen, WACV 2023) fills the memory with distilled images, and DataDAM follows it (Sajedi
et al., ICCV 2023, Figure 7): CIFAR-100 in 5 or 10 steps, 20 images per class, 3 networks after every step, class orders
from seeds 0 to 4. How the images of a memory are chosen or made is the only thing in which methods differ.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datadam_lite.coresets import CORESETS
from datadam_lite.data import ImageSet
from datadam_lite.distill import distill
from datadam_lite.errors import DataDamError, check_type, known
from datadam_lite.evaluate import evaluate
from datadam_lite.labels import label
from datadam_lite.preprocess import Preprocess
from datadam_lite.protocol import Protocol
from datadam_lite.recipes import RECIPES, Recipe
from datadam_lite.report import Report
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

Choose = Callable[[ImageSet, int, int], Tensor]  # (images, ipc, seed) -> rows, as `herding`


def arrivals(classes: Sequence[str], steps: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Return the classes that arrive at each step: a random order of all, cut into parts of equal size.

    Where they can't be equal, the first parts have one class more. The order depends on the seed alone, so that
    methods can be compared order by order.

    Raises: DataDamError unless there is at least one step, and a class for each.

    >>> arrivals(("cat", "dog", "owl", "fox"), 2)
    [('cat', 'dog'), ('fox', 'owl')]
    """
    check_type("steps", steps, int)
    check_type("seed", seed, int)
    if not 1 <= steps <= len(classes):
        raise DataDamError(f"steps must lie in 1 … {len(classes)}, the number of classes; received {steps}.")
    order = torch.randperm(len(classes), generator=generator(seed, "class order"))
    return [tuple(classes[k] for k in part.tolist()) for part in order.tensor_split(steps)]


def only(data: ImageSet, classes: Sequence[str]) -> ImageSet:
    """Return the images of these classes, whose labels are now 0, 1, … in the order given.

    Raises: DataDamError if a class is named twice, is not in the data, or if none is named.

    >>> from datadam_lite.data import load
    >>> only(load("digits")[1], ("7", "1"))
    ImageSet digits: 101 images of 1x8x8 pixels in 2 classes
    """
    if not classes or len(set(classes)) < len(classes):
        raise DataDamError(f"expected different classes, at least one; received {', '.join(classes) or 'none'}.")
    numbers = {name: k for k, name in enumerate(data.classes)}
    new = torch.full((len(data.classes),), -1)  # of each old label the new one
    new[[known(name, numbers, f"class of {data.name}") for name in classes]] = torch.arange(len(classes))
    labels = new[data.labels]
    rows = labels >= 0
    return ImageSet(data.images[rows], labels[rows], tuple(classes), data.name, data.mirror)


def memory(
    train: ImageSet, ipc: int, method: str | Recipe | Choose = "datadam", *,
    seed: int = 0, settings: Settings | None = None, **changes,
) -> SyntheticSet:
    """Make the memory of one step, ipc images per class, from the images of its classes alone.

    method: a recipe or its name, and then `changes` are fields of it; the name of a coreset; or a function
    (images, ipc, seed) -> rows to keep. Normalisation, too, is fitted to these images alone.

    Raises: DataDamError for an unknown name, changes where there is no recipe, or rows that are not ipc per class.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> memory(only(train, ("7", "1")), 3, "random").labels.tolist()
    [0, 0, 0, 1, 1, 1]
    """
    check_type("ipc", ipc, int)
    check_type("seed", seed, int)
    if isinstance(method, Recipe) or method in RECIPES:
        return distill(train, ipc, method, seed=seed, settings=settings, **changes)
    choose = method if callable(method) else known(method, CORESETS | RECIPES, "way to fill a memory")
    if changes:
        raise DataDamError(
            f"{', '.join(changes)}: only a recipe has fields to change. For the options of a coreset pass a function, "
            "such as functools.partial(herding, width=32)."
        )
    rows = _checked(choose(train, ipc, seed), train, ipc)
    about = {"method": label(method), "ipc": ipc, "seed": seed, "data_sha256": train.sha256}
    return SyntheticSet.from_real(train, rows, Preprocess.fit(train), **about)


def memories(
    train: ImageSet, ipc: int, method: str | Recipe | Choose = "datadam", *, steps: int = 5, seed: int = 0, **changes
) -> list[SyntheticSet]:
    """Let the classes arrive in `steps` steps; return the memory of each, as `memory` makes it.

    seed: decides the class order and whatever the method draws. changes: as for `memory`, `settings` among them.

    Raises: DataDamError as `arrivals` and `memory` do.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> [(each.classes, len(each)) for each in memories(train, 3, "random", steps=3)]
    [(('2', '7', '3', '9'), 12), (('4', '6', '0'), 9), (('1', '5', '8'), 9)]
    """
    order = arrivals(train.classes, steps, seed)
    return [memory(only(train, classes), ipc, method, seed=seed, **changes) for classes in order]


def together(parts: Sequence[SyntheticSet]) -> SyntheticSet:
    """Join memories into one set to train on: labels run on in the order of arrival.

    The images live in the space of the first memory, whose normalisation is all that is known when a network is first
    trained; those of the others are taken there by way of their pixels, which are not clamped.

    Raises: DataDamError if there are none, a class is in two of them, or their images differ in shape.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> together(memories(train, 1, "random")).labels.tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    _check_parts(parts)
    first, classes, labels = parts[0], [], []
    for part in parts:
        labels.append(part.labels + len(classes))
        classes += part.classes
    return SyntheticSet(
        torch.cat([_in_space_of(first, part) for part in parts]), torch.cat(labels), tuple(classes),
        first.preprocess, first.mirror, {"memories": [part.provenance for part in parts]},
    )  # fmt: skip


def accuracies(
    parts: Sequence[SyntheticSet], test: ImageSet, *, networks: int = 3,
    protocol: Protocol | None = None, seed: int = 0, settings: Settings | None = None,
) -> list[Report]:
    """After each step, train networks from scratch on the memory so far and test them on all classes seen so far.

    parts: the memories, in the order of arrival. Returns a report for each step, of one set and `networks` networks.
    The last one is what papers call the final accuracy.

    Raises: DataDamError as `together` does, or if a class is not in the test images.

    >>> from datadam_lite.data import load
    >>> train, test = load("digits")
    >>> quick = Protocol(epochs=2, width=8)
    >>> len(accuracies(memories(train, 1, "random", steps=2), test, networks=1, protocol=quick))
    2
    """
    seen = [together(parts[: step + 1]) for step in range(len(parts))] or [together(parts)]  # together refuses none
    asked = [only(test, chosen.classes) for chosen in seen]  # what is not there says so before any is trained
    return [
        evaluate(chosen, images, networks=networks, protocol=protocol, seed=seed, settings=settings)
        for chosen, images in zip(seen, asked, strict=True)
    ]


def _checked(rows: Int64[Tensor, " n"], train: ImageSet, ipc: int) -> Int64[Tensor, " n"]:
    """Refuse rows that are not ipc different images of every class."""
    found = torch.bincount(train.labels[rows.unique()], minlength=len(train.classes))
    if len(rows) != ipc * len(train.classes) or (found != ipc).any():
        raise DataDamError(f"expected {ipc} different images of each class; received rows of {found.tolist()} images.")
    return rows


def _check_parts(parts: Sequence[SyntheticSet]) -> None:
    if not parts:
        raise DataDamError("expected at least one memory; received none. Make some with `memories`.")
    names = [name for part in parts for name in part.classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataDamError(f"every class arrives once; in more than one memory: {', '.join(twice)}. Leave one out.")
    if len(shapes := {tuple(part.images.shape[1:]) for part in parts}) > 1:
        raise DataDamError(f"the images of all memories must have one shape; received {sorted(shapes)}.")


def _in_space_of(first: SyntheticSet, part: SyntheticSet) -> Float[Tensor, "n c h w"]:
    """The images as networks see them that were trained with the preprocessing of the first memory."""
    if part is first:
        return part.images
    return first.preprocess.enter(part.preprocess.invert(part.images))
