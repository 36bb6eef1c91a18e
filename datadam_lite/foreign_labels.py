"""Labels as other toolkits store them (integers, floats, one-hot, soft, implied by order), made class numbers."""

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError

SOFT = ("argmax",)


def kind(labels: Shaped[Tensor, "*shape"]) -> str:
    """Say how labels are stored.

    >>> kind(torch.tensor([0.0, 1.0])), kind(torch.eye(3)), kind(torch.rand(2, 3))
    ('one class number for each image', 'one-hot', 'soft')
    """
    x = labels.double()
    if x.ndim == 1 and bool((x == x.round()).all()):
        return "one class number for each image"
    if x.ndim == 2 and bool(((x == 0) | (x == 1)).all() and (x.sum(1) == 1).all()):
        return "one-hot"
    return "soft" if x.ndim == 2 and bool(x.isfinite().all()) else "not labels"


def class_numbers(labels: Shaped[Tensor, "*shape"], classes: int, soft: str | None = None) -> Int64[Tensor, " n"]:
    """Return labels as class numbers 0 … classes - 1.

    soft: "argmax" for the class that soft labels (scores or logits [N, classes]) favour.

    Raises: DataDamError if they are soft and nothing is said about that, or are no labels of these classes.

    >>> class_numbers(torch.tensor([1.0, 0.0]), 2).tolist(), class_numbers(torch.eye(2), 2).tolist()
    ([1, 0], [0, 1])
    """
    if soft not in (None, *SOFT):
        raise DataDamError(f"unknown treatment of soft labels {soft!r}; the known ones are {', '.join(SOFT)}.")
    stored = kind(labels)
    if stored == "not labels" or (labels.ndim == 2 and labels.shape[1] != classes):
        raise DataDamError(
            f"expected one label for each image, 0 … {classes - 1}, or one score for each of {classes} classes; "
            f"received labels of shape {list(labels.shape)} and type {labels.dtype}."
        )
    if stored == "soft" and soft is None:
        raise DataDamError(
            f"the labels are soft: {classes} scores for each image, which training here does not use. Numbers of "
            "their method need them; to train on the favoured classes instead, give --soft argmax (soft='argmax' in "
            "Python)."
        )
    numbers = labels if labels.ndim == 1 else labels.double().argmax(1)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
        raise DataDamError(
            f"labels must lie in 0 … {classes - 1} ({classes} classes); "
            f"received {numbers.min():g} … {numbers.max():g}."
        )
    return numbers.long()


def of_folders(labels: Int64[Tensor, " n"], names: tuple[str, ...], train: ImageSet) -> Int64[Tensor, " n"]:
    """Turn numbers of folders into numbers of classes: folders are called as classes, or are numbers as 00000.

    Raises: DataDamError if they are neither, or a number is that of no class.
    """
    if set(names) <= set(train.classes):
        numbers = [train.classes.index(name) for name in names]
    elif all(name.isdecimal() for name in names):
        numbers = [int(name) for name in names]
    else:
        raise DataDamError(
            f"the folders {', '.join(names[:6])} are not classes of {train.name}, which are "
            f"{', '.join(train.classes[:6])} …; name each folder as its class, or by its number: 00000, 00001, …"
        )
    if max(numbers) >= len(train.classes):
        raise DataDamError(
            f"the folders {', '.join(names[:6])} can't be the {len(train.classes)} classes of {train.name}: numbers "
            f"count from 00000 to {len(train.classes) - 1:05d}. Rename them so, or by the names of the classes."
        )
    return torch.tensor(numbers)[labels]


def in_class_order(images: int, classes: int) -> Int64[Tensor, " n"]:
    """The labels 0…0, 1…1, … of images that go class by class, the same number of each.

    Raises: DataDamError if the images can't be dealt evenly.

    >>> in_class_order(4, 2).tolist()
    [0, 0, 1, 1]
    """
    if images % classes:
        raise DataDamError(f"{images} images can't be dealt evenly among {classes} classes; give a file of labels.")
    return torch.arange(classes).repeat_interleave(images // classes)


def counts(labels: Int64[Tensor, " n"], classes: int) -> str:
    """Say how many images each class has, and in which order they come.

    >>> counts(torch.tensor([0, 0, 1, 1]), 2)
    '2 of each of 2 classes, class by class'
    """
    held = labels.bincount(minlength=classes)
    least, most = int(held.min()), int(held.max())
    each = f"{most} of each" if least == most else f"{least} to {most} of each"
    order = "class by class" if bool((labels.diff() >= 0).all()) else "classes mixed"
    return f"{each} of {classes} classes, {order}"
