"""Which preprocessing the numbers in a foreign file had: stated by its reader, and checked as far as it can be."""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Shaped
from torch import Tensor

from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, known
from datadam_lite.preprocess import Preprocess


def _pixels(train: ImageSet) -> Preprocess:
    """x = pixel/255."""
    channels = train.shape[0]
    return Preprocess(torch.zeros(channels), torch.ones(channels))


SPACES: dict[str, Callable[[ImageSet], Preprocess]] = {
    "none": _pixels,  # plain pixels in [0, 1]: IDC, DREAM, and every picture file
    "field": lambda train: Preprocess.fit(train, statistics="field"),  # DC, DSA, DM, DataDAM, DC-Bench
    "exact": Preprocess.fit,  # the mean and std that the training images really have
    "zca": lambda train: Preprocess.fit(train, statistics="field", zca=True),  # DataDAM --zca
    "zca-exact": lambda train: Preprocess.fit(train, zca=True),  # this package's recipes, whatever the images
    "zca-pixels": lambda train: Preprocess.fit(train, zca=True, zca_space="pixels"),  # MTT, TESLA, DATM --zca
}
CONSTANTS = tuple[tuple[float, ...], tuple[float, ...]]


def constants(train: ImageSet) -> dict[str, CONSTANTS]:
    """Mean and std that the images of a file may have been normalised with, by the name of the space."""
    exact = tuple(tuple(t.tolist()) for t in train.statistics)
    field = field_constants()
    return ({"field": field[train.name]} if train.name in field else {}) | {"exact": exact}


def field_constants() -> dict[str, CONSTANTS]:
    """The constants of released code, by data set."""
    from datadam_lite.datasets import FIELD_STATISTICS

    return FIELD_STATISTICS


def certain(images: Shaped[Tensor, "n c h w"], candidates: dict[str, CONSTANTS]) -> dict[str, str]:
    """Name the spaces these images are in, each with its evidence; none if there is no certainty.

    Values that all lie in [0, 1] are pixels: normalised images have negative values too. Values that become whole
    numbers of 0 … 255 when a mean and std are undone belong to real images that were normalised with them.

    >>> x = (torch.arange(4.0).reshape(1, 1, 2, 2) / 255 - 0.1307) / 0.3081
    >>> certain(x, {"field": ((0.1307,), (0.3081,))})
    {'field': 'undoing this mean and std gives whole numbers of 0 … 255'}
    """
    if images.dtype == torch.uint8:
        return {"none": "its numbers are 8-bit integers"}
    if images.min() >= 0 and images.max() <= 1:
        return {"none": "all values lie in [0, 1]"}
    why = "undoing this mean and std gives whole numbers of 0 … 255"
    few_then_all = (images[:8], images)  # eight images rule most candidates out
    return {
        name: why for name, (mean, std) in candidates.items()
        if len(mean) == images.shape[1]
        and all(_whole(Preprocess(torch.tensor(mean), torch.tensor(std)).invert(x.float())) for x in few_then_all)
    }  # fmt: skip


def _whole(pixels: Tensor) -> bool:
    """Whether pixels in [0, 1] are 8-bit levels, but for rounding."""
    levels = 255 * pixels
    return bool(levels.min() > -0.5 and levels.max() < 255.5 and (levels - levels.round()).abs().max() < 0.02)


def note(preprocess: Preprocess) -> str:
    """Say which preprocessing the images of a file had, if the file has no room for the matrices.

    >>> note(Preprocess(torch.zeros(1), torch.ones(1)))
    '(pixel/255 - [0.0000]) / [1.0000], no ZCA'
    """
    return str(preprocess).replace("(matrices in this file)", "(fitted to the training images; not in this file)")


def state(
    images: Tensor, train: ImageSet, preprocessing: str | Preprocess | None, told: str | None = None
) -> tuple[Preprocess, str]:
    """Return the preprocessing the reader states, and a sentence for the provenance.

    told: the `note` of the file, if it has one.

    Raises: DataDamError if nothing is stated and the numbers aren't 8-bit, or what is stated can't be true.
    """
    if images.dtype == torch.uint8 and preprocessing not in (None, "none"):
        raise DataDamError(
            f"pictures of 8-bit pixels had no preprocessing; received {preprocessing}. Leave it out; `into` "
            "(--train-in) then takes the images to the space you want to train in."
        )
    if isinstance(preprocessing, Preprocess):
        return preprocessing, f"{preprocessing}: given by the reader"
    seems = certain(images, constants(train))
    says = "; ".join(f"{name!r}: {why}" for name, why in seems.items())
    if preprocessing is None and images.dtype != torch.uint8:
        had = "which preprocessing its images had"
        raise DataDamError(
            f"the file {f'says in words alone {had}, {told}' if told else f'does not say {had}'} ({spread(images)}); "
            + (f"its values suggest {says}. " if seems else "its values alone don't tell. ")
            + f"State it (--preprocessing NAME, or preprocessing=NAME in Python): one of {', '.join(SPACES)}; in "
            "Python also a Preprocess. Ask who made the file."
        )
    name = preprocessing or "none"
    space = known(name, SPACES, "preprocessing")
    if seems and name not in seems:
        raise DataDamError(
            f"the images can't have the preprocessing {name!r} ({spread(images)}): they fit {says}. State that; `into` "
            "(--train-in) then takes the images to the space you want to train in."
        )
    preprocess = space(train)
    if told and _steps(told) != _steps(note(preprocess)):
        raise DataDamError(
            f"the file says that its images had {told}; received the preprocessing {name!r}, which would be "
            f"{note(preprocess)}. State the one they had."
        )
    if name == "none" and images.is_floating_point():
        _check_pixels(images)
    return preprocess, f"{name}: {'certain, ' + seems[name] if name in seems else 'stated by the reader'}"


def _steps(told: str) -> str:
    """What was done to the images, of a note, without where the matrices are."""
    return told.split(" whitening (")[0]


def _check_pixels(images: Tensor) -> None:
    """Refuse numbers that are no pixels in [0, 1]; warn of others, as distilled pixels may stray a little."""
    if images.max() > 1 and bool((images == images.round()).all()):
        raise DataDamError(
            f'expected pixels in [0, 1] for the preprocessing "none"; received whole numbers ({spread(images)}). '
            "Divide them by 255, and write the file again."
        )
    if images.min() < -0.5 or images.max() > 1.5:
        warnings.warn(
            f'the preprocessing "none" means pixels in [0, 1]; this file has {spread(images)}. If its images were '
            "normalised, state that: accuracies of them would be wrong.", stacklevel=4,
        )  # fmt: skip


def spread(values: Tensor) -> str:
    """Describe the range of a tensor in one phrase.

    >>> spread(torch.tensor([0.0, 1.0]))
    'values from 0 to 1, mean 0.5, standard deviation 0.5'
    """
    if not values.numel():
        return "no values"
    x = values.double()
    wrong = int((~x.isfinite()).sum())
    text = f"values from {x.min():.4g} to {x.max():.4g}, mean {x.mean():.4g}, standard deviation "
    return text + f"{x.std(correction=0):.4g}" + (f", {wrong} of them NaN or infinite" if wrong else "")
