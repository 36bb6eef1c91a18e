"""Chunks: how many classes go through the network at once. The gradients of all chunks add up to the whole.

The loss is a sum over classes, so that a chunk of classes at a time gives the same gradient in less memory. Batch
norm is the exception: it averages over all images that go through the network together, and so the recipe decides.
"""

import math

import torch
from torch import nn

from datadam_lite.distributed import least_over_ranks, ranks
from datadam_lite.errors import DataDamError
from datadam_lite.memory import budget, bytes_per_image
from datadam_lite.networks import averages_over_batch
from datadam_lite.recipes import Recipe


def chunk_size(
    network: nn.Module, recipe: Recipe, shape: tuple[int, int, int], classes: int, ipc: int, *, asked: int | None = None
) -> int:
    """Return how many classes to take at once: those batch norm averages over, else as many as fit the budget.

    If several processes share the run, no more than leave a chunk for each.

    network: on the device it will run on; shape: (C, H, W) of the images; asked: at most so many, whatever fits.

    Raises: DataDamError if what was asked for would change what batch norm computes.

    >>> from datadam_lite.networks import ConvNet
    >>> from datadam_lite.recipes import recipe
    >>> network, shape = ConvNet((3, 64, 64), 1000), (3, 64, 64)
    >>> chunk_size(network, recipe("datadam"), shape, 1000, 1), chunk_size(network, recipe("dm"), shape, 1000, 1)
    (1, 1)
    """
    if averages_over_batch(network):
        together = min(recipe.norm_classes or classes, classes)
        _check_asked(asked or together, together)
        return together
    if asked:
        return even(classes, asked)
    fit = least_over_ranks(classes_at_once(network, shape, recipe.real_batch, ipc))
    return even(per_process(classes, ranks()), fit)


def even(classes: int, most: int) -> int:
    """Return the size of the fewest chunks of at most `most` classes that are as equal as they can be.

    >>> even(10, 6), even(10, 4), even(10, 100)
    (5, 4, 10)
    """
    return math.ceil(classes / math.ceil(classes / most))


def per_process(classes: int, processes: int) -> int:
    """Return the largest chunk that leaves one for each process, at most its equal share; 1 if there is none.

    >>> per_process(10, 1), per_process(10, 4), per_process(9, 4)  # 3 + 3 + 3 would leave the fourth without any
    (10, 3, 2)
    """
    most = math.ceil(classes / processes)
    return next((chunk for chunk in range(most, 0, -1) if math.ceil(classes / chunk) >= processes), 1)


def slices(classes: int, chunk: int) -> list[slice]:
    """Return the classes of each chunk.

    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(first, min(first + chunk, classes)) for first in range(0, classes, chunk)]


def _check_asked(asked: int, together: int) -> None:
    if asked != together:
        raise DataDamError(
            f"batch norm averages over the {together} classes that go through the network together, so that "
            f"chunk={asked} would change the result. If that is what you want, set the recipe's norm_classes={asked}; "
            "else leave chunk out, or use the norm instance."
        )


def check_work(chunks: int, classes: int, processes: int) -> None:
    """Raise DataDamError if there are fewer chunks than processes: some would wait for the others, for ever.

    >>> check_work(5, 10, 2)
    """
    if chunks < processes:
        raise DataDamError(
            f"{processes} processes can't share {chunks} chunk(s) of the {classes} classes; expected a chunk for each. "
            f"Start {chunks} process(es), or a run of a chunk of at most {per_process(classes, processes)}. Batch "
            "norm averages over a chunk: there set the recipe's norm_classes, or use the norm instance."
        )


def halved(chunk: int, network: nn.Module, error: torch.OutOfMemoryError) -> int:
    """Return half the chunk, after the memory of a GPU was too small for all of it.

    Raises: DataDamError if it can't be halved.
    """
    if chunk == 1 or averages_over_batch(network):
        raise DataDamError(
            f"the GPU ran out of memory with {chunk} classes at once, and can't take fewer: use a smaller real_batch "
            "or width, mixed precision, or with batch norm a recipe of fewer norm_classes."
        ) from error
    return math.ceil(chunk / 2)


def classes_at_once(network: nn.Module, shape: tuple[int, int, int], real: int, synthetic: int) -> int:
    """How many classes fit the budget: at least 1.

    Real images need no gradient, so that about three maps are alive at a time; of synthetic images all that the
    backward pass reads stays, about a dozen maps of the largest size.

    real, synthetic: images per class that take part in a step.

    >>> from datadam_lite.networks import ConvNet
    >>> classes_at_once(ConvNet((1, 8, 8), 10, width=32), (1, 8, 8), 64, 1)
    80
    """
    device = next(network.parameters()).device
    each = bytes_per_image(network, shape) * (3 * real + 12 * synthetic)
    return max(1, budget(device) // each)
