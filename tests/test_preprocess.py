"""Normalisation and whitening, against their formulas in float64."""

import pytest
import torch
from samples import toy

from datadam_lite import Preprocess


@pytest.fixture(scope="module")
def train():
    """Images whose pixels are correlated, so that there is something to whiten."""
    train = toy(60, shape=(3, 4, 5))
    train.images[:, 1] = (train.images[:, 0] // 2 + train.images[:, 1] // 2).clone()
    train.images[:, :, 1:] = (train.images[:, :, 1:] // 2 + train.images[:, :, :-1] // 2).clone()
    return train


def normalised(train):
    x = train.images.double() / 255
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, unbiased=False)


def test_normalisation_is_that_of_the_training_pixels(train):
    x = Preprocess.fit(train).apply(train.images).double()
    torch.testing.assert_close(x, normalised(train), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("eps", [0.01, 0.1, 1.0])
def test_whitening_is_the_formula(train, eps):
    """x -> (x - mean) U (S + eps)^(-1/2) U', on top of the normalisation."""
    x = normalised(train).flatten(1)
    values, vectors = torch.linalg.eigh(x.T.cov())
    expected = (x - x.mean(0)) @ vectors @ torch.diag((values + eps).rsqrt()) @ vectors.T
    whitened = Preprocess.fit(train, zca=True, eps=eps).apply(train.images)
    assert whitened.shape == train.images.shape
    torch.testing.assert_close(whitened.flatten(1).double(), expected, rtol=1e-3, atol=1e-4)


def test_whitened_variances_are_s_over_s_plus_eps_along_the_eigenvectors(train):
    values, vectors = torch.linalg.eigh(normalised(train).flatten(1).T.cov())
    whitened = Preprocess.fit(train, zca=True, eps=0.1).apply(train.images).flatten(1).double()
    covariance = vectors.T @ whitened.T.cov() @ vectors
    torch.testing.assert_close(covariance, torch.diag(values / (values + 0.1)), rtol=0, atol=1e-4)


def test_an_eps_without_a_decimal_point_is_a_number_too(unchecked, train):
    one, other = (Preprocess.fit(train, zca=True, eps=eps).apply(train.images) for eps in (1, 1.0))
    assert torch.equal(one, other)


@pytest.mark.parametrize("zca", [False, True])
def test_invert_undoes_apply_for_unseen_images_too(train, zca):
    preprocess = Preprocess.fit(train, zca=zca)
    images = toy(3, shape=(3, 4, 5), seed=1).images
    torch.testing.assert_close(preprocess.invert(preprocess.apply(images)), images / 255, rtol=0, atol=1e-5)


@pytest.mark.parametrize("zca", [False, True])
def test_moving_and_rebuilding_change_nothing(train, zca):
    preprocess = Preprocess.fit(train, zca=zca)
    expected = preprocess.apply(train.images)
    assert torch.equal(preprocess.to("cpu").apply(train.images), expected)
    assert torch.equal(Preprocess.from_tensors(preprocess.tensors()).apply(train.images), expected)


def test_it_says_what_it_does(train):
    mean, std = train.statistics
    for zca, end in ((False, ", no ZCA"), (True, ", then ZCA whitening (matrices in this file)")):
        text = str(Preprocess.fit(train, zca=zca))
        assert text.endswith(end)
        assert f"{mean[0]:.4f}" in text
        assert f"{std[2]:.4f}" in text
