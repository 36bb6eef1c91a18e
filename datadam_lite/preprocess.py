"""From pixels to the space the networks see, and back: normalisation and ZCA whitening.

"Which preprocessing does this file need?" is the question most often asked of released distilled
sets. Here the answer is an object: it is fitted once on the real training images, applied to
training and test images alike, and saved inside every distilled set.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from kornia.enhance import linear_transform, zca_mean
from torch import Tensor

from datadam_lite.checks import check_images
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, known, positive


@dataclass(frozen=True, eq=False)
class Zca:
    """Whitening x -> (x - mean) T with T = U (S + eps)^(-1/2) U', for the covariance U S U' of the data.

    mean: [1, D]; matrix and inverse: [D, D], D = C*H*W.
    """

    mean: Float[Tensor, "1 d"]
    matrix: Float[Tensor, "d d"]
    inverse: Float[Tensor, "d d"]


def _of_the_field(train: ImageSet) -> tuple[Tensor, Tensor]:
    from datadam_lite.datasets import FIELD_STATISTICS

    if train.name not in FIELD_STATISTICS:
        raise DataDamError(
            f"the field has no normalisation constants for {train.name!r}, only for {', '.join(FIELD_STATISTICS)}; "
            "take the exact ones: statistics='exact' (--set statistics=exact) of a recipe, 'exact' of a file."
        )
    mean, std = (torch.tensor(values) for values in FIELD_STATISTICS[train.name])
    if len(mean) != train.shape[0]:
        raise DataDamError(
            f"the field's constants for {train.name!r} have {len(mean)} channels, these images {train.shape[0]}; "
            "take the exact ones: statistics='exact' (--set statistics=exact) of a recipe, 'exact' of a file."
        )
    return mean, std


STATISTICS = {"exact": lambda train: train.statistics, "field": _of_the_field}
ZCA_SPACES = ("normalised", "pixels")


@dataclass(frozen=True, eq=False)
class Preprocess:
    """Normalise each channel, then whiten if `zca` is given.

    mean, std: [C], in units of [0, 1] pixels.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> preprocess = Preprocess.fit(train, zca=True)
    >>> x = preprocess.apply(train.images[:5])
    >>> back = preprocess.invert(x) * 255
    >>> x.shape, bool((back - train.images[:5]).abs().max() < 0.01)
    (torch.Size([5, 1, 8, 8]), True)
    """

    mean: Float[Tensor, " c"]
    std: Float[Tensor, " c"]
    zca: Zca | None = None

    @classmethod
    def fit(
        cls, train: ImageSet, *,
        statistics: str = "exact", zca: bool = False, eps: float = 0.1, zca_space: str = "normalised",
    ) -> "Preprocess":  # fmt: skip
        """Fit to the training images.

        statistics: "exact", those of all training pixels, or "field", the constants that released code has for the
        data set of this name; zca: whiten; eps: added to the eigenvalues of the covariance;
        zca_space: what is whitened, "normalised" pixels (DataDAM's code) or plain "pixels" in [0, 1] (MTT's: then
        nothing is normalised). An eps of 0.1 is much stronger on plain pixels, whose variance is some 16 times smaller.

        Raises: DataDamError for what is no ImageSet, an unknown name, a data set the field has no constants for, or an
        eps of 0 or below.
        """
        check_images("train", train)
        normalise = cls(*known(statistics, STATISTICS, "statistics")(train))
        if not zca:
            return normalise
        plain = cls(torch.zeros_like(normalise.mean), torch.ones_like(normalise.std))
        known(zca_space, ZCA_SPACES, "zca_space")
        positive(eps=eps)  # directions without variance would be divided by nothing
        before = plain if zca_space == "pixels" else normalise
        matrix, mean, inverse = zca_mean(before.apply(train.images), eps=float(eps), return_inverse=True)
        return cls(before.mean, before.std, Zca(mean, matrix, inverse))

    def apply(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Map uint8 pixels to the space the networks see.

        Raises: DataDamError for other pixels, or another number of channels than this was fitted to.
        """
        if images.dtype != torch.uint8 or images.shape[-3] != len(self.mean):
            raise DataDamError(
                f"expected uint8 images of {len(self.mean)} channels; received {images.dtype} of shape "
                f"{list(images.shape)}. For colours in [0, 1] there is `enter`."
            )
        return self.enter(images / 255)

    def enter(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Map pixels in units of [0, 1], clamped or not, to the space the networks see: undoes `invert`."""
        x = (pixels - self.mean[:, None, None]) / self.std[:, None, None]
        return x if self.zca is None else linear_transform(x, self.zca.matrix, self.zca.mean)

    def invert(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Map back to pixels in units of [0, 1], not clamped."""
        if self.zca is not None:
            x = (x.flatten(1) @ self.zca.inverse + self.zca.mean).reshape(x.shape)
        return x * self.std[:, None, None] + self.mean[:, None, None]

    def to(self, device: torch.device | str) -> "Preprocess":
        """Move the matrices to a device."""
        return Preprocess.from_tensors({name: t.to(device) for name, t in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All that is needed to rebuild this object, for saving."""
        tensors = {"mean": self.mean, "std": self.std}
        if self.zca is not None:
            tensors |= {"zca_mean": self.zca.mean, "zca_matrix": self.zca.matrix, "zca_inverse": self.zca.inverse}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Preprocess":
        """Rebuild from `tensors()`."""
        zca = None
        if "zca_matrix" in tensors:
            zca = Zca(tensors["zca_mean"], tensors["zca_matrix"], tensors["zca_inverse"])
        return cls(tensors["mean"], tensors["std"], zca)

    def __str__(self) -> str:
        steps = f"(pixel/255 - {_rounded(self.mean)}) / {_rounded(self.std)}"
        return steps + (", then ZCA whitening (matrices in this file)" if self.zca else ", no ZCA")


def whiten_by_themselves(x: Float[Tensor, "n c h w"], eps: float) -> Float[Tensor, "n c h w"]:
    """Whiten images by their own covariance.

    The released DataDAM code does this to the initial synthetic images, which are whitened real ones already: a side
    effect of calling the fitted whitening once more, and in no paper. Recipe field `zca_refit`.
    """
    matrix, mean, _ = zca_mean(x, eps=float(eps))
    return linear_transform(x, matrix, mean)


def _rounded(values: Tensor) -> str:
    return "[" + " ".join(f"{v:.4f}" for v in values.tolist()) + "]"
