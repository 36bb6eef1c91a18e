"""Attention: its formulas and the laws that follow; what an attention function must return."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal

from datadam_lite import ATTENTION, DataDamError, channel, spatial
from datadam_lite.attention import NORMALISE, attend, feature_map, resolve

powers = pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
any_power = pytest.mark.parametrize("p", [0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0])
both = pytest.mark.parametrize("attention", [spatial, channel])
normalisations = pytest.mark.parametrize("normalise", list(NORMALISE))
seeds, exponents = st.integers(0, 99), st.sampled_from([0.25, 1.0, 2.0, 4.0])


def maps_(b=3, c=5, h=4, w=6, seed=0, dtype=torch.float64):
    """What comes out of a ReLU."""
    return normal(b, c, h, w, seed=seed, dtype=dtype).relu()


def same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def length(vectors, normalise):
    return vectors.norm(dim=1) if normalise == "l2" else vectors.abs().sum(1)


# ---- the formulas

SUMS = {
    spatial: lambda image, p: [sum(abs(v) ** p for v in image[:, i, j].tolist()) for i in range(4) for j in range(5)],
    channel: lambda image, p: [sum(abs(v) ** p for v in plane.flatten().tolist()) for plane in image],
}
LENGTHS = {
    "l2": lambda a: sum(v**2 for v in a) ** 0.5,
    "l1": lambda a: sum(abs(v) for v in a),
    "none": lambda a: 1,
}


@any_power
@both
@normalisations
def test_attention_is_its_formula(attention, p, normalise):
    """a(h, w) = sum over c of |f_c(h, w)|^p, or a(c) = sum over h, w; a / ||a||, image by image; signs don't matter."""
    maps = normal(2, 3, 4, 5, dtype=torch.float64)
    for image, result in zip(maps, attention(maps, p, normalise), strict=True):
        a = SUMS[attention](image, p)
        same(result, torch.tensor([v / LENGTHS[normalise](a) for v in a], dtype=torch.float64))


@normalisations
def test_feature_maps_are_the_maps_end_to_end(normalise):
    maps = normal(2, 3, 4, 5, dtype=torch.float64)
    for image, result in zip(maps, feature_map(maps, normalise), strict=True):
        values = image.flatten().tolist()
        same(result, torch.tensor([v / LENGTHS[normalise](values) for v in values], dtype=torch.float64))


@both
def test_by_default_the_power_is_4_and_the_length_1(attention):
    assert torch.equal(attention(maps_()), attention(maps_(), 4.0, "l2"))


# ---- laws


@both
@settings(deadline=None, max_examples=20)
@given(seeds, exponents, st.floats(1e-3, 1e3), st.sampled_from(["l1", "l2"]))
def test_what_is_normalised_has_length_one_and_is_blind_to_scale(attention, seed, p, factor, normalise):
    maps = maps_(seed=seed)
    a = attention(maps, p, normalise)
    same(length(a, normalise), torch.ones(3, dtype=torch.float64))
    same(attention(factor * maps, p, normalise), a)


@both
@settings(deadline=None, max_examples=20)
@given(seeds, exponents, st.floats(0.1, 10))
def test_what_is_not_normalised_grows_with_the_power_of_the_scale(attention, seed, p, factor):
    maps = maps_(seed=seed)
    found = attention(factor * maps, p, "none")
    torch.testing.assert_close(found, factor**p * attention(maps, p, "none"), rtol=1e-9, atol=0)


def permuted(maps, seed):
    """Maps with channels in another order, maps with pixels in another order, and the two orders."""
    stream = torch.Generator().manual_seed(seed)
    channels, pixels = torch.randperm(5, generator=stream), torch.randperm(24, generator=stream)
    return maps[:, channels], maps.flatten(2)[:, :, pixels].unflatten(2, (4, 6)), channels, pixels


@normalisations
@settings(deadline=None, max_examples=15)
@given(seeds, exponents)
def test_spatial_moves_with_the_pixels_and_is_blind_to_channel_order(normalise, seed, p):
    maps = maps_(seed=seed)
    channels_moved, pixels_moved, _, order = permuted(maps, seed)
    a = spatial(maps, p, normalise)
    same(spatial(channels_moved, p, normalise), a)
    same(spatial(pixels_moved, p, normalise), a[:, order])


@normalisations
@settings(deadline=None, max_examples=15)
@given(seeds, exponents)
def test_channel_moves_with_the_channels_and_is_blind_to_pixel_order(normalise, seed, p):
    maps = maps_(seed=seed)
    channels_moved, pixels_moved, order, _ = permuted(maps, seed)
    a = channel(maps, p, normalise)
    same(channel(channels_moved, p, normalise), a[:, order])
    same(channel(pixels_moved, p, normalise), a)


@pytest.mark.parametrize("p", [1000.0, 50_000.0])
@pytest.mark.parametrize("normalise", ["l1", "l2"])
def test_the_limit_of_large_p_is_the_largest_response(p, normalise):
    """One at the position, or the channel, that holds it, and zero elsewhere; in float32, too."""
    maps = maps_(dtype=torch.float32)
    where, which = maps.amax(1).flatten(1).argmax(1), maps.amax((2, 3)).argmax(1)
    torch.testing.assert_close(spatial(maps, p, normalise), torch.nn.functional.one_hot(where, 24).float())
    torch.testing.assert_close(channel(maps, p, normalise), torch.nn.functional.one_hot(which, 5).float())


@both
@powers
def test_it_looks_at_one_image_at_a_time(attention, p):
    maps = maps_() * torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64)[:, None, None, None]
    same(torch.cat([attention(image[None], p) for image in maps]), attention(maps, p))


# ---- numbers of every size, and their gradients


@any_power
@both
@pytest.mark.parametrize("normalise", ["l1", "l2"])
@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-30, 1.0, 1e3, 6e4])
def test_values_and_gradients_are_finite_whatever_the_size(attention, p, normalise, size):
    """Of an image that is zero, one with a channel and a pixel that are, and one without zeros."""
    maps = torch.rand(3, 4, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    maps[0], maps[1, 0], maps[1, :, 0, 0] = 0, 0, 0
    maps = (size * maps).requires_grad_()
    a = attention(maps, p, normalise)
    (gradient,) = torch.autograd.grad((a * torch.arange(1, a.shape[1] + 1)).sum(), maps)
    assert a.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[0].abs().max() == 0
    if size > 1e-38:  # else float32 has no number for the gradient, and the image counts as zero
        torch.testing.assert_close(length(a, normalise), torch.tensor([0.0, 1.0, 1.0]))
        assert gradient[1:].abs().max() > 0


@pytest.mark.parametrize("p", [0.25, 1.0, 4.0])
@both
def test_what_is_not_normalised_has_finite_gradients_at_zero(attention, p):
    maps = torch.zeros(2, 3, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(attention(maps, p, "none").sum(), maps)
    assert torch.equal(gradient, torch.zeros_like(gradient))


@any_power
@both
@normalisations
def test_the_gradient_is_right(attention, p, normalise):
    """Away from zero, for either sign; scaling by the largest response leaves no trace in it."""
    maps = normal(2, 3, 2, 3, dtype=torch.float64)
    maps = (maps + maps.sign()).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: attention(m, p, normalise), maps)


@powers
@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-2, 1.0, 1e3])
def test_low_precision_maps_are_safe(attention, p, dtype, size):
    maps = (maps_(c=128, h=8, w=8).clamp_max(1) * size).to(dtype)
    a = attention(maps, p)
    assert a.dtype == torch.float32
    torch.testing.assert_close(a.double(), attention(maps.double(), p), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attention", list(ATTENTION.values()))
def test_float64_stays_float64(attention):
    assert attention(maps_()).dtype == torch.float64


# ---- what is refused


@both
@pytest.mark.parametrize("p", [0.0, -1.0, float("nan")])
def test_a_power_that_is_not_positive(attention, p):
    with pytest.raises(DataDamError, match="p must be positive; received"):
        attention(maps_(), p)


@pytest.mark.parametrize("attention", list(ATTENTION.values()))
def test_an_unknown_normalisation(attention):
    with pytest.raises(DataDamError, match="unknown normalisation 'max'; the known ones are l2, l1, none"):
        attention(maps_(), normalise="max")


# ---- names, functions, and what they return


def test_a_name_or_a_function():
    def mine(maps):
        return maps.flatten(1)

    assert {name: resolve(name) for name in ATTENTION} == ATTENTION
    assert resolve("spatial") is spatial
    assert resolve(mine) is mine


@pytest.mark.parametrize("unknown", ["spacial", 3, None, ["spatial"]])
def test_what_is_neither_a_name_nor_a_function(unchecked, unknown):
    with pytest.raises(DataDamError, match=r"unknown attention .*; the known ones are spatial, channel, feature_map"):
        resolve(unknown)


def test_a_function_of_the_right_shape_passes_through():
    maps = maps_(dtype=torch.float32)
    assert torch.equal(attend(lambda m: m.mean((2, 3)), maps), maps.mean((2, 3)))


WRONG = {
    "maps": (lambda m: m, r"must return one vector per image, a float tensor \[3, D\] for maps \[3, 5, 4, 6\]; it"),
    "image": (lambda m: m.mean(1), r"must .*it returned torch.float32 \[3, 4, 6\]\. Did you forget flatten\(1\)\?"),
    "number each": (lambda m: m.mean((1, 2, 3)), r"must .*it returned torch.float32 \[3\]"),
    "one number": (lambda m: m.mean(), r"must .*it returned torch.float32 \[\]"),
    "batch lost": (lambda m: m.mean(0).flatten(1), r"must .*it returned torch.float32 \[5, 24\]"),
    "integers": (lambda m: m.flatten(1).long(), r"must .*it returned torch.int64 \[3, 120\]"),
    "list": (lambda m: [m.flatten(1)], r"must return a tensor \[B, D\]; it returned list"),
    "nothing": (lambda m: None, r"must return a tensor .*it returned NoneType"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_function_of_the_wrong_shape_is_told_so(case):
    function, message = WRONG[case]
    with pytest.raises(DataDamError, match=r"attention '<lambda>' " + message):
        attend(function, maps_(dtype=torch.float32))
