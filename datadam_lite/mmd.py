"""The maximum mean discrepancy: how far apart two samples are, as seen through a kernel.

A kernel k(x, y) is an inner product of features, perhaps infinitely many. MMD is the distance between
the mean features of two samples, and needs only values of the kernel (Gretton et al., JMLR 2012):

    MMD^2 = mean k(x, x') + mean k(s, s') - 2 mean k(x, s)      over pairs of real x and synthetic s
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from datadam_lite.checks import check_points
from datadam_lite.errors import DataDamError, known

Points = Float[Tensor, "k n d"]  # n points for each of K classes
Gram = Float[Tensor, "k n n"]  # the kernel of every pair of them


def linear(points: Points) -> Gram:
    """k(x, y) = x·y. The features are the points: MMD is the distance of their means."""
    return points @ points.mT


def polynomial(points: Points, degree: int = 3) -> Gram:
    """k(x, y) = (x·y / D + 1)^degree, as in the kernel inception distance (Bińkowski et al., ICLR 2018)."""
    return (points @ points.mT / points.shape[-1] + 1).pow(degree)


def gaussian(points: Points) -> Gram:
    """k(x, y) = exp(-||x - y||^2 / 2 sigma^2), with sigma of each class the median distance of its points.

    The median heuristic of Gretton et al. (2012), over the points of both samples. Sigma counts as a
    constant: no gradient flows through it.
    """
    squares = points.square().sum(-1)  # (K, n)
    distances = squares[:, :, None] + squares[:, None, :] - 2 * points @ points.mT  # ||x - y||^2
    i, j = torch.triu_indices(*distances.shape[1:], offset=1, device=points.device)
    median = distances.detach()[:, i, j].median(1).values  # (K,)
    return (-distances.clamp_min(0) / (2 * median[:, None, None]).clamp_min(1e-12)).exp()


KERNELS: dict[str, Callable[[Points], Gram]] = {"linear": linear, "polynomial": polynomial, "gaussian": gaussian}


def mmd(
    real: Float[Tensor, "k n d"], synthetic: Float[Tensor, "k m d"],
    kernel: str | Callable[[Points], Gram] = "linear", *, unbiased: bool = False,
) -> Float[Tensor, " k"]:
    """Return MMD^2 of each class; the kernel is a name or a function of all points at once.

    The biased estimate averages over all pairs; the unbiased one leaves out pairs of a point with itself,
    needs at least two points on either side, and may be negative. (It is unbiased for points that are drawn. Those
    that are moved by its gradient, two per class, repel each other twice as hard as under the biased one.)

    Raises: DataDamError for points of other shapes, an unknown kernel, or a single point with `unbiased`.

    >>> x, s = torch.zeros(1, 4, 3), torch.ones(1, 2, 3)
    >>> mmd(x, s), mmd(x, s, "gaussian") > 0                 # linear: ||0 - 1||^2 in 3 dimensions
    (tensor([3.]), tensor([True]))
    """
    check_points("classes, points, dimensions", "of one class: points[None].", real=real, synthetic=synthetic)
    if real.shape[::2] != synthetic.shape[::2]:
        raise DataDamError(
            "expected real and synthetic points of the same classes and dimensions; received shapes "
            f"{list(real.shape)} and {list(synthetic.shape)}."
        )
    n, m = real.shape[1], synthetic.shape[1]
    if unbiased and min(n, m) < 2:
        raise DataDamError(
            f"the unbiased estimate needs at least 2 images per class; received {n} real and {m} synthetic. "
            "Use the biased one, which is the default, or more images per class."
        )
    points = torch.cat([real, synthetic], 1)  # (K, n+m, D)
    gram = (kernel if callable(kernel) else known(kernel, KERNELS, "kernel"))(points)
    within_real, within_synthetic = _average(gram[:, :n, :n], unbiased), _average(gram[:, n:, n:], unbiased)
    return within_real + within_synthetic - 2 * gram[:, :n, n:].mean((1, 2))


def _average(gram: Gram, unbiased: bool) -> Float[Tensor, " k"]:
    """Mean over all pairs; unbiased: over pairs of two different points."""
    if not unbiased:
        return gram.mean((1, 2))
    n = gram.shape[1]
    return (gram.sum((1, 2)) - gram.diagonal(dim1=1, dim2=2).sum(1)) / (n * (n - 1))
