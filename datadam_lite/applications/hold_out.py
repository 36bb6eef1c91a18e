"""Held-out images: a part of the training images to choose by, so that nothing is chosen on test images."""

from dataclasses import replace

import torch

from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, check_type
from datadam_lite.seeding import generator


def hold_out(train: ImageSet, n: int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Return all but n random images of every class, and those n of every class.

    Raises: DataDamError if n is less than 1, or a class would keep no image.

    >>> from datadam_lite.data import load
    >>> rest, held = hold_out(load("digits")[0], 30)
    >>> len(rest), len(held)
    (997, 300)
    """
    check_type("n", n, int)
    train.require(n)
    smallest = min(map(len, train.rows_of_class))
    if n >= smallest:
        raise DataDamError(f"a class has {smallest} images: hold out fewer of each than that; received {n}.")
    rows = train.sample(n, generator(seed, "held out"))
    kept = torch.ones(len(train), dtype=torch.bool)
    kept[rows] = False
    parts = kept.nonzero().flatten(), rows
    return tuple(replace(train, images=train.images[part], labels=train.labels[part]) for part in parts)
