"""Normalisation and whitening, against their formulas in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import normal, small, toy

from datadam_lite import DataDamError, Distiller, Preprocess, generator
from datadam_lite.preprocess import whiten_by_themselves

spaces = pytest.mark.parametrize("space", ["normalised", "pixels"])


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


def unwhitened(train, space):
    """What is whitened: normalised pixels, or plain ones; one row for each image."""
    return (normalised(train) if space == "normalised" else train.images.double() / 255).flatten(1)


@spaces
@pytest.mark.parametrize("eps", [0.01, 0.1, 1.0])
def test_whitening_is_the_formula(train, eps, space):
    """x -> (x - mean) U (S + eps)^(-1/2) U', on top of the normalisation or instead of it."""
    x = unwhitened(train, space)
    values, vectors = torch.linalg.eigh(x.T.cov())
    expected = (x - x.mean(0)) @ vectors @ torch.diag((values + eps).rsqrt()) @ vectors.T
    whitened = Preprocess.fit(train, zca=True, eps=eps, zca_space=space).apply(train.images)
    assert whitened.shape == train.images.shape
    torch.testing.assert_close(whitened.flatten(1).double(), expected, rtol=1e-3, atol=1e-4)


@spaces
@pytest.mark.parametrize("eps", [0.1, 1e-3])
def test_whitened_variances_are_s_over_s_plus_eps_along_the_eigenvectors(train, eps, space):
    values, vectors = torch.linalg.eigh(unwhitened(train, space).T.cov())
    whitened = Preprocess.fit(train, zca=True, eps=eps, zca_space=space).apply(train.images).flatten(1).double()
    covariance = vectors.T @ whitened.T.cov() @ vectors
    torch.testing.assert_close(covariance, torch.diag(values / (values + eps)), rtol=0, atol=1e-3)


@spaces
def test_with_a_small_eps_the_whitened_covariance_is_the_identity(train, space):
    whitened = Preprocess.fit(train, zca=True, eps=1e-6, zca_space=space).apply(train.images).flatten(1).double()
    torch.testing.assert_close(whitened.T.cov(), torch.eye(60).double(), rtol=0, atol=2e-3)


def test_the_same_eps_is_stronger_on_plain_pixels(train):
    """Their variance is the smaller one."""
    strong, weak = (
        Preprocess.fit(train, zca=True, zca_space=space).apply(train.images).var() for space in ("pixels", "normalised")
    )
    assert strong < 0.7 * weak


def test_plain_pixels_are_not_normalised_before(train):
    preprocess = Preprocess.fit(train, zca=True, zca_space="pixels")
    assert (preprocess.mean.tolist(), preprocess.std.tolist()) == ([0, 0, 0], [1, 1, 1])
    assert Preprocess.fit(train, zca_space="pixels").mean.tolist() == train.statistics[0].tolist()  # without whitening


@pytest.mark.parametrize("eps", [0.0, -0.1])
def test_directions_without_variance_need_an_eps(train, eps):
    with pytest.raises(DataDamError, match=f"eps must be positive; received {eps}"):
        Preprocess.fit(train, zca=True, eps=eps)


def test_an_eps_without_a_decimal_point_is_a_number_too(unchecked, train):
    one, other = (Preprocess.fit(train, zca=True, eps=eps).apply(train.images) for eps in (1, 1.0))
    assert torch.equal(one, other)


@spaces
@pytest.mark.parametrize("zca", [False, True])
def test_invert_undoes_apply_for_unseen_images_too(train, zca, space):
    preprocess = Preprocess.fit(train, zca=zca, zca_space=space)
    images = toy(3, shape=(3, 4, 5), seed=1).images
    torch.testing.assert_close(preprocess.invert(preprocess.apply(images)), images / 255, rtol=0, atol=1e-5)


@spaces
def test_apply_undoes_invert(train, space):
    """For what no pixel is, too."""
    preprocess, x = Preprocess.fit(train, zca=True, zca_space=space), 3 * normal(5, 3, 4, 5)
    raw = preprocess.invert(x)
    plain = Preprocess(preprocess.mean, preprocess.std)
    again = (raw - plain.mean[:, None, None]) / plain.std[:, None, None]
    again = (again.flatten(1) - preprocess.zca.mean) @ preprocess.zca.matrix
    torch.testing.assert_close(again.unflatten(1, (3, 4, 5)), x, rtol=0, atol=1e-3)


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


# ---- the field's constants


def test_the_fields_statistics_are_those_of_the_name(train):
    named = replace(train, name="cifar10")
    found = Preprocess.fit(named, statistics="field").apply(train.images).double()
    mean, std = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
    for c in range(3):
        expected = (train.images[:, c].double() / 255 - mean[c]) / std[c]
        torch.testing.assert_close(found[:, c], expected, atol=1e-5, rtol=0)


def test_a_data_set_that_the_field_has_no_constants_for(train):
    with pytest.raises(DataDamError, match=r"no normalisation constants for 'toy', only for .*; take the exact ones"):
        Preprocess.fit(train, statistics="field")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistics": "mine"}, "unknown statistics 'mine'; the known ones are exact, field"),
        ({"zca": True, "zca_space": "colours"}, "unknown zca_space 'colours'; the known ones are normalised, pixels"),
    ],
)
def test_unknown_names(train, options, message):
    with pytest.raises(DataDamError, match=message):
        Preprocess.fit(train, **options)


# ---- the released code's second whitening


def whitened_by_numpy(x, eps):
    """By the eigenvectors of the images' own covariance; one row for each image, float64."""
    centred = x - x.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / (len(x) - 1))
    return centred @ vectors / np.sqrt(values + eps) @ vectors.T


@pytest.mark.parametrize("n", [5, 100])
@pytest.mark.parametrize("eps", [0.1, 1.0])
def test_whitening_by_themselves_is_the_formula(n, eps):
    """Fewer images than numbers in one, as in the released code, or more."""
    x = normal(n, 3, 4, 5) + normal(1, 3, 4, 5, seed=1)
    found = whiten_by_themselves(x, eps).flatten(1).numpy()
    np.testing.assert_allclose(found, whitened_by_numpy(x.flatten(1).double().numpy(), eps), rtol=0, atol=1e-4)


def test_zca_refit_whitens_the_start_once_more_and_nothing_else():
    train, options = toy(30, shape=(3, 8, 8)), {"zca": True, "zca_eps": 0.2}
    plain, refit = (Distiller(train, 3, small(zca_refit=again, **options)) for again in (False, True))
    expected = whitened_by_numpy(plain.images.detach().flatten(1).double().numpy(), 0.2)
    np.testing.assert_allclose(refit.images.detach().flatten(1).numpy(), expected, rtol=0, atol=1e-3)
    rows = train.sample(4, generator(0, "test"))
    assert torch.equal(plain.real(rows), refit.real(rows))
    unwhitened = Distiller(train, 3, small(zca=False, zca_refit=True))
    assert torch.equal(unwhitened.images, Distiller(train, 3, small(zca=False)).images)


def test_the_fields_constants_of_other_channels_are_refused():
    with pytest.raises(DataDamError, match=r"constants for 'mnist' have 1 channels, these images 3"):
        Preprocess.fit(replace(toy(), name="mnist"), statistics="field")
