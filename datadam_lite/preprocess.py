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

from datadam_lite.data import ImageSet


@dataclass(frozen=True, eq=False)
class Zca:
    """Whitening x -> (x - mean) T with T = U (S + eps)^(-1/2) U', for the covariance U S U' of the data.

    mean: [1, D]; matrix and inverse: [D, D], D = C*H*W.
    """

    mean: Float[Tensor, "1 d"]
    matrix: Float[Tensor, "d d"]
    inverse: Float[Tensor, "d d"]


@dataclass(frozen=True, eq=False)
class Preprocess:
    """Normalise each channel, then whiten if `zca` is given (the order of the released DataDAM code).

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
    def fit(cls, train: ImageSet, *, zca: bool = False, eps: float = 0.1) -> "Preprocess":
        """Fit to the training images; eps is added to the eigenvalues of the covariance (field: 0.1)."""
        normalise = cls(*train.statistics)
        if not zca:
            return normalise
        matrix, mean, inverse = zca_mean(normalise.apply(train.images), eps=float(eps), return_inverse=True)
        return cls(normalise.mean, normalise.std, Zca(mean, matrix, inverse))

    def apply(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Map uint8 pixels to the space the networks see."""
        x = (images / 255 - self.mean[:, None, None]) / self.std[:, None, None]
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


def _rounded(values: Tensor) -> str:
    return "[" + " ".join(f"{v:.4f}" for v in values.tolist()) + "]"
