"""Spatial attention: its formula and the laws that follow; what an attention function must return."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal

from datadam_lite import DataDamError, spatial
from datadam_lite.attention import attend, resolve

powers = pytest.mark.parametrize("p", [1.0, 2.0, 4.0])


def maps_(b=3, c=5, h=4, w=6, seed=0, dtype=torch.float64):
    """What comes out of a ReLU."""
    return normal(b, c, h, w, seed=seed, dtype=dtype).relu()


@powers
def test_spatial_is_its_formula(p):
    """a(h, w) = sum over c of |f_c(h, w)|^p; a / ||a||, image by image."""
    maps = normal(2, 3, 4, 5, dtype=torch.float64)
    for image, result in zip(maps, spatial(maps, p), strict=True):
        a = [sum(abs(image[c, i, j].item()) ** p for c in range(3)) for i in range(4) for j in range(5)]
        norm = sum(v**2 for v in a) ** 0.5
        torch.testing.assert_close(result, torch.tensor([v / norm for v in a], dtype=torch.float64))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.sampled_from([1.0, 2.0, 4.0]), st.floats(0.1, 100))
def test_spatial_is_a_unit_vector_blind_to_scale_and_channel_order(seed, p, factor):
    maps = maps_(seed=seed)
    a = spatial(maps, p)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(spatial(factor * maps, p), a)
    torch.testing.assert_close(spatial(maps[:, torch.randperm(5, generator=_stream(seed))], p), a)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.sampled_from([1.0, 4.0]))
def test_spatial_moves_with_the_pixels(seed, p):
    maps = maps_(seed=seed)
    order = torch.randperm(24, generator=_stream(seed))
    moved = maps.flatten(2)[:, :, order].unflatten(2, (4, 6))
    torch.testing.assert_close(spatial(moved, p), spatial(maps, p)[:, order])


def _stream(seed):
    return torch.Generator().manual_seed(seed)


@powers
def test_spatial_looks_at_one_image_at_a_time(p):
    maps = maps_()
    torch.testing.assert_close(torch.cat([spatial(image[None], p) for image in maps]), spatial(maps, p))


@powers
def test_the_gradient_is_finite_where_all_maps_are_zero(p):
    maps = torch.zeros(2, 3, 4, 4, requires_grad=True)
    a = spatial(maps, p)
    (gradient,) = torch.autograd.grad(a.square().sum(), maps)
    assert torch.equal(a, torch.zeros(2, 16))
    assert gradient.isfinite().all()


@powers
def test_the_gradient_is_right(p):
    maps = maps_().add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: spatial(m, p), maps)


@powers
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-2, 1.0, 1e3])
def test_large_and_low_precision_maps_are_safe(p, dtype, size):
    maps = (maps_(c=128, h=8, w=8).clamp_max(1) * size).to(dtype)
    a = spatial(maps, p)
    assert a.dtype == torch.float32
    torch.testing.assert_close(a.double(), spatial(maps.double(), p), rtol=1e-4, atol=1e-6)


def test_float64_stays_float64():
    assert spatial(maps_()).dtype == torch.float64


# ---- names, functions, and what they return


def test_a_name_or_a_function():
    def mine(maps):
        return maps.flatten(1)

    assert resolve("spatial") is spatial
    assert resolve(mine) is mine
    with pytest.raises(DataDamError, match=r"unknown attention 'spacial'; the known ones are spatial"):
        resolve("spacial")


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
