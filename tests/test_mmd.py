"""The maximum mean discrepancy: what must hold of any estimate, and what the two differ in."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal

from datadam_lite import KERNELS, DataDamError, mmd
from datadam_lite.mmd import gaussian
from datadam_lite.objectives import distance_of_means

kernels = pytest.mark.parametrize("kernel", list(KERNELS))
estimates = pytest.mark.parametrize("unbiased", [False, True])


def samples_(n=5, m=4, d=3, *, classes=2, seed=0, shift=1.0):
    """Real and synthetic points, the synthetic ones of another mean."""
    real = normal(classes, n, d, seed=seed, dtype=torch.float64)
    return real, normal(classes, m, d, seed=seed + 1, dtype=torch.float64) + shift


def test_the_linear_one_is_the_distance_of_means():
    real, synthetic = samples_()
    torch.testing.assert_close(mmd(real, synthetic), distance_of_means(real, synthetic))


@kernels
def test_the_biased_estimate_of_equal_samples_is_zero_whatever_their_order(kernel):
    real, _ = samples_()
    for synthetic in (real, real.flip(1), real.repeat(1, 3, 1)):
        torch.testing.assert_close(mmd(real, synthetic, kernel), torch.zeros(2).double(), rtol=0, atol=1e-12)


@kernels
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 5))
def test_the_biased_estimate_is_never_negative(kernel, seed, n, m):
    assert mmd(*samples_(n, m, seed=seed), kernel).min() > -1e-12


@kernels
@estimates
def test_classes_do_not_know_of_each_other_and_order_does_not_matter(kernel, unbiased):
    real, synthetic = samples_(classes=3)
    found = mmd(real, synthetic, kernel, unbiased=unbiased)
    alone = [mmd(real[k : k + 1], synthetic[k : k + 1], kernel, unbiased=unbiased) for k in range(3)]
    torch.testing.assert_close(found, torch.cat(alone))
    torch.testing.assert_close(mmd(synthetic.flip(1), real.flip(1), kernel, unbiased=unbiased), found)


@kernels
def test_of_equal_distributions_the_unbiased_estimate_is_zero_in_the_mean_and_the_biased_one_is_not(kernel):
    """Over 4,000 pairs of samples; the median of a pair's points does not know which sample they are of."""
    pairs = samples_(4, 3, classes=4000, shift=0.0)
    for unbiased in (True, False):
        found = mmd(*pairs, kernel, unbiased=unbiased)
        errors = abs(float(found.mean())) / float(found.std() / 4000**0.5)
        assert errors < 3 if unbiased else errors > 20


@kernels
def test_of_different_distributions_the_unbiased_estimate_is_positive(kernel):
    assert mmd(*samples_(40, 40, classes=50), kernel, unbiased=True).min() > 0


@pytest.mark.parametrize("kernel", ["polynomial", "gaussian"])
def test_other_kernels_see_more_than_the_mean(kernel):
    real = normal(1, 200, 2, dtype=torch.float64)
    real = real - real.mean(1, keepdim=True)
    wider = 3 * real
    torch.testing.assert_close(mmd(real, wider), torch.zeros(1).double(), rtol=0, atol=1e-12)
    assert mmd(real, wider, kernel) > 0.05


def test_the_gaussian_kernel_measures_in_median_distances():
    """So that the unit of the points does not matter; and no gradient flows through the median."""
    real, synthetic = samples_()
    torch.testing.assert_close(mmd(1e3 * real, 1e3 * synthetic, "gaussian"), mmd(real, synthetic, "gaussian"))
    three = torch.tensor([[[0.0], [1.0], [3.0]]], dtype=torch.float64, requires_grad=True)  # distances 1, 2, 3
    gram = gaussian(three)
    torch.testing.assert_close(gram[0, 0], torch.tensor([0.0, -1 / 8, -9 / 8]).double().exp())
    (gradient,) = torch.autograd.grad(gram[0, 0, 1], three)
    torch.testing.assert_close(gradient[0, :, 0], torch.tensor([1.0, -1.0, 0.0]).double() * gram[0, 0, 1].item() / 4)


@estimates
@kernels
def test_points_that_are_all_the_same_have_finite_gradients(kernel, unbiased):
    real = torch.ones(1, 3, 2)
    synthetic = torch.ones(1, 3, 2, requires_grad=True)
    found = mmd(real, synthetic, kernel, unbiased=unbiased)
    assert found.abs().max() < 1e-5
    assert torch.autograd.grad(found.sum(), synthetic)[0].isfinite().all()


@estimates
@pytest.mark.parametrize("kernel", ["linear", "polynomial"])
def test_the_gradient_is_that_of_finite_differences(kernel, unbiased):
    """The Gaussian's is not, as its bandwidth counts as a constant: test_oracle.py has it."""
    real, synthetic = samples_()
    synthetic.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: mmd(real, s, kernel, unbiased=unbiased), synthetic)


def test_a_kernel_may_be_a_function():
    real, synthetic = samples_()
    torch.testing.assert_close(mmd(real, synthetic, lambda points: 2 * points @ points.mT), 2 * mmd(real, synthetic))


def test_an_unknown_kernel():
    with pytest.raises(DataDamError, match="unknown kernel 'cosine'; the known ones are linear, polynomial, gaussian"):
        mmd(*samples_(), "cosine")


@pytest.mark.parametrize(("n", "m"), [(1, 3), (3, 1)])
def test_the_unbiased_estimate_needs_two_images(n, m):
    with pytest.raises(DataDamError, match=rf"at least 2 images per class; received {n} real and {m} synth"):
        mmd(*samples_(n, m), unbiased=True)
    assert mmd(*samples_(n, m)).isfinite().all()
