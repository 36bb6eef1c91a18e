"""Augmentation: each operation against slow arithmetic, pixel by pixel; who shares a draw with whom."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal

from datadam_lite import DataDamError, generator
from datadam_lite.augment import DSA, OPERATIONS, Draw, augment, draw, operations

LAST = 1 - 2**-24  # the largest float32 below 1
SIZES = [(3, 8, 8), (1, 5, 12), (2, 32, 32)]


def empty(image):
    return torch.zeros_like(image)


def slow_color(image, u):
    image = image + (u[0] - 0.5)
    grey = sum(image) / len(image)
    image = torch.stack([(channel - grey) * 2 * u[1] + grey for channel in image])
    mean = image.sum() / image.numel()
    return (image - mean) * (u[2] + 0.5) + mean


def slow_crop(image, u):
    _, h, w = image.shape
    reach_y, reach_x = math.floor(h / 8 + 0.5), math.floor(w / 8 + 0.5)
    down, right = math.floor(u[0] * (2 * reach_y + 1)) - reach_y, math.floor(u[1] * (2 * reach_x + 1)) - reach_x
    out = empty(image)
    for i in range(h):
        for j in range(w):
            if 0 <= i + down < h and 0 <= j + right < w:
                out[:, i, j] = image[:, i + down, j + right]
    return out


def slow_cutout(image, u):
    _, h, w = image.shape
    size_y, size_x = math.floor(h / 2 + 0.5), math.floor(w / 2 + 0.5)
    centre_y = math.floor(u[0] * (h + 1 - size_y % 2))
    centre_x = math.floor(u[1] * (w + 1 - size_x % 2))
    out = image.clone()
    for i in range(centre_y - size_y // 2, centre_y - size_y // 2 + size_y):
        for j in range(centre_x - size_x // 2, centre_x - size_x // 2 + size_x):
            if 0 <= i < h and 0 <= j < w:
                out[:, i, j] = 0
    return out


def slow_flip(image, u):
    return torch.stack(list(image.unbind(2))[::-1], 2) if u[0] < 0.5 else image


def slow_warp(image, matrix):
    """Each pixel looks for its colour at matrix @ (x, y), with x and y in -1 … 1; bilinear, zero outside."""
    _, h, w = image.shape
    out = empty(image)
    for i in range(h):
        for j in range(w):
            x, y = (2 * j + 1) / w - 1, (2 * i + 1) / h - 1
            from_x, from_y = (a * x + b * y for a, b in matrix)
            column, row = ((from_x + 1) * w - 1) / 2, ((from_y + 1) * h - 1) / 2
            for r in (math.floor(row), math.floor(row) + 1):
                for c in (math.floor(column), math.floor(column) + 1):
                    if 0 <= r < h and 0 <= c < w:
                        out[:, i, j] += (1 - abs(row - r)) * (1 - abs(column - c)) * image[:, r, c]
    return out


def slow_scale(image, u):
    x, y = (1 / 1.2 + v * (1.2 - 1 / 1.2) for v in u[:2])
    return slow_warp(image, [(x, 0), (0, y)])


def slow_rotate(image, u):
    angle = math.radians(-15 + 30 * u[0])
    return slow_warp(image, [(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])


SLOW = {
    "color": slow_color, "crop": slow_crop, "cutout": slow_cutout, "flip": slow_flip, "scale": slow_scale,
    "rotate": slow_rotate,
}  # fmt: skip


def same_as_slow(name, images, uniforms):
    fast = OPERATIONS[name](images, uniforms)
    slow = torch.stack([SLOW[name](x, u) for x, u in zip(images, uniforms.tolist(), strict=True)])
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)


def test_every_operation_of_the_field_is_there():
    assert set(OPERATIONS) == set(SLOW) == set(DSA.split("_"))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", SLOW)
def test_operation_agrees_with_slow_arithmetic_at_the_extremes(name, shape):
    edges = torch.tensor([[a, b, c] for a in (0, LAST) for b in (0, LAST) for c in (0, LAST)][:: 1 + shape[1] // 16])
    same_as_slow(name, normal(len(edges), *shape, dtype=torch.float64), edges.double())


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(list(SLOW)),
    st.tuples(st.integers(1, 3), st.integers(4, 12), st.integers(4, 12)),
    st.lists(st.tuples(*[st.floats(0, LAST, width=32)] * 3), min_size=1, max_size=3),
)
def test_operation_agrees_with_slow_arithmetic_anywhere(name, shape, uniforms):
    images = normal(len(uniforms), *shape, dtype=torch.float64)
    same_as_slow(name, images, torch.tensor(uniforms, dtype=torch.float64))


@pytest.mark.parametrize("name", SLOW)
def test_in_float32_too_the_largest_uniform_is_allowed(name):
    images = normal(4, 3, 32, 32)
    exact = OPERATIONS[name](images.double(), torch.full((4, 3), LAST).double())
    torch.testing.assert_close(OPERATIONS[name](images, torch.full((4, 3), LAST)).double(), exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["crop", "cutout"])
def test_a_uniform_that_was_rounded_up_to_one_is_as_good_as_the_largest(name):
    """In bfloat16 one in five hundred is."""
    images = normal(4, 3, 32, 32)
    largest = OPERATIONS[name](images, torch.full((4, 3), LAST))
    assert torch.equal(OPERATIONS[name](images, torch.ones(4, 3)), largest)


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 10)])
def test_the_gradient_flows(name, shape):
    images = normal(2, *shape, dtype=torch.float64).requires_grad_()
    uniforms = torch.tensor([[0.3, 0.6, 0.9], [0.7, 0.2, 0.1]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: OPERATIONS[name](x, uniforms), images)


# ---- the field's strengths, in numbers


def applied(name, image, *u):
    """One image after an operation with these uniform numbers; what is not given is 0.5."""
    return OPERATIONS[name](image[None], torch.tensor([[*u, 0.5, 0.5, 0.5][:3]], dtype=image.dtype))[0]


def test_color_in_the_middle_of_its_range_changes_nothing():
    image = normal(3, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(applied("color", image, 0.5, 0.5, 0.5), image)


def test_brightness_goes_from_minus_to_plus_one_half():
    image = normal(3, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(applied("color", image, 0.0), image - 0.5)
    torch.testing.assert_close(applied("color", image, LAST), image + 0.5, atol=1e-6, rtol=0)


def test_saturation_goes_from_grey_to_twice_the_difference_from_grey():
    image = normal(3, 6, 7, dtype=torch.float64)
    grey = image.mean(0, keepdim=True)
    torch.testing.assert_close(applied("color", image, 0.5, 0.0), grey.expand(3, 6, 7))
    torch.testing.assert_close(applied("color", image, 0.5, LAST), 2 * image - grey, atol=1e-5, rtol=0)


def test_contrast_goes_from_half_to_one_and_a_half():
    image = normal(3, 6, 7, dtype=torch.float64)
    for u, factor in ((0.0, 0.5), (LAST, 1.5)):
        expected = image.mean() + factor * (image - image.mean())
        torch.testing.assert_close(applied("color", image, 0.5, 0.5, u), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("side", "reach"), [(8, 1), (28, 4), (32, 4), (64, 8), (128, 16)])
def test_crop_shifts_by_up_to_an_eighth_of_the_side(side, reach):
    image = torch.arange(1.0, side**2 + 1).view(1, side, side)
    for u, lost in ((0.0, slice(0, reach)), (LAST, slice(side - reach, side))):
        for axis, shifted in ((1, applied("crop", image, u)), (2, applied("crop", image, 0.5, u))):
            blank = (shifted == 0).all(3 - axis)[0].nonzero().flatten().tolist()
            assert blank == list(range(side))[lost]
    assert torch.equal(applied("crop", image), image)


@pytest.mark.parametrize(("side", "hole"), [(8, 4), (28, 14), (32, 16), (64, 32)])
def test_cutout_blanks_a_square_of_half_the_side(side, hole):
    image = torch.ones(1, side, side)
    assert (applied("cutout", image) == 0).sum() == hole**2  # in the middle, all of it
    assert (applied("cutout", image, 0.0, 0.0) == 0).nonzero().amax(0).tolist() == [0, hole // 2 - 1, hole // 2 - 1]
    corner = (applied("cutout", image, LAST, LAST) == 0).nonzero()  # its centre is the first pixel beyond
    assert corner.amin(0).tolist() == [0, side - hole // 2, side - hole // 2]
    assert corner.amax(0).tolist() == [0, side - 1, side - 1]


def test_flip_is_a_mirror_for_one_half_of_the_numbers():
    image = normal(2, 3, 4)
    for u, expected in ((0.0, image.flip(2)), (0.4999, image.flip(2)), (0.5, image), (LAST, image)):
        assert torch.equal(applied("flip", image, u), expected)


def ramps(side=32):
    """Two channels, the coordinates x and y of every pixel in -1 … 1: a warp shows where its colours come from."""
    line = (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1
    return torch.stack([line.expand(side, side), line[:, None].expand(side, side)])


def middle(image):
    """Pixels that no warp of the field takes from outside."""
    side = image.shape[-1]
    return image[:, side // 4 : -side // 4, side // 4 : -side // 4]


@pytest.mark.parametrize(
    ("u", "x", "y"), [((0, LAST), 1 / 1.2, 1.2), ((LAST, 0), 1.2, 1 / 1.2), ((0, 0), 1 / 1.2, 1 / 1.2)]
)
def test_scale_stretches_each_side_by_up_to_1_2(u, x, y):
    expected = torch.stack([x * ramps()[0], y * ramps()[1]])
    torch.testing.assert_close(middle(applied("scale", ramps(), *u)), middle(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("u", "degrees"), [(0.0, -15), (0.5, 0), (0.75, 7.5), (LAST, 15)])
def test_rotate_turns_by_up_to_15_degrees(u, degrees):
    (x, y), angle = ramps(), math.radians(degrees)
    expected = torch.stack([math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y])
    torch.testing.assert_close(middle(applied("rotate", ramps(), u)), middle(expected), atol=1e-6, rtol=0)


# ---- who shares a draw with whom


def siamese(rows=4, seed=0, **options):
    return draw(operations(DSA, **options), rows, generator(seed, "test"), one_operation=False)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_siamese_one_row_serves_a_whole_class_real_and_synthetic(classes, n, m, seed):
    drawn = siamese(classes, seed)
    real, synthetic = normal(classes, n, 3, 8, 8), normal(classes, m, 3, 8, 8, seed=1)
    for images in (real, synthetic):
        out = augment(images.flatten(0, 1), drawn).unflatten(0, (classes, -1))
        for k in range(classes):
            operation = OPERATIONS[drawn.strategy[drawn.operation[k]]]
            for image, augmented in zip(images[k], out[k], strict=True):
                expected = operation(image[None], drawn.uniforms[k : k + 1])[0]
                torch.testing.assert_close(augmented, expected, rtol=0, atol=1e-6)


def test_siamese_classes_differ_in_operation_and_parameters():
    drawn = siamese(200)
    assert set(drawn.operation.tolist()) == set(range(6))
    assert len(set(drawn.uniforms.flatten().tolist())) > 590


def test_evaluation_one_operation_and_parameters_of_each_images_own():
    drawn = draw(operations(DSA), 64, generator(0, "test"), one_operation=True)
    assert len(set(drawn.operation.tolist())) == 1
    assert len(set(drawn.uniforms[:, 0].tolist())) > 60
    images = normal(64, 3, 8, 8)
    alone = OPERATIONS[drawn.strategy[drawn.operation[0]]](images, drawn.uniforms)
    assert torch.equal(augment(images, drawn), alone)


def test_every_operation_has_its_turn_in_evaluation():
    stream = generator(0, "test")
    seen = {int(draw(operations(DSA), 2, stream, one_operation=True).operation[0]) for _ in range(100)}
    assert seen == set(range(6))


def test_a_draw_is_repeated_by_its_generator():
    one, other = siamese(), siamese()
    assert torch.equal(one.operation, other.operation)
    assert torch.equal(one.uniforms, other.uniforms)


def test_uniforms_are_uniform():
    u = siamese(5000).uniforms
    assert 0 <= u.min() <= u.max() < 1
    assert (u.mean(0) - 0.5).abs().max() < 0.02
    assert (u.var(0) - 1 / 12).abs().max() < 0.005


def test_augment_is_differentiable_row_by_row():
    images = normal(6, 3, 8, 8).requires_grad_()
    for k, name in enumerate(operations(DSA)):
        drawn = Draw((name,), torch.zeros(6, dtype=torch.int64), torch.full((6, 3), 0.4))
        (gradient,) = torch.autograd.grad(augment(images, drawn)[k].sum(), images)
        touched = gradient.flatten(1).abs().sum(1) > 0
        assert touched.tolist() == [i == k for i in range(6)]


# ---- the strategy


def test_without_mirror_nothing_is_ever_flipped():
    assert "flip" not in operations(DSA, mirror=False)
    assert operations("flip", mirror=False) == ()
    assert "flip" not in siamese(100, mirror=False).strategy


def test_an_empty_strategy_is_no_augmentation():
    assert operations("") == ()


def test_an_unknown_operation():
    with pytest.raises(DataDamError, match=r"unknown augmentation 'blur'; the known ones are color, crop, cutout"):
        operations("crop_blur")


def test_images_that_do_not_fall_into_groups_are_refused():
    drawn = draw(operations(DSA), 2, generator(0, "groups"), one_operation=False)
    with pytest.raises(DataDamError, match="expected a multiple of 2 images, one group a row; received 5"):
        augment(torch.zeros(5, 3, 8, 8), drawn)
