"""The larger networks: what they return, what they are made of, and that one can distil through them."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal
from torch import nn
from torch.nn import functional as F

from datadam_lite import DataDamError, generator
from datadam_lite.backbones import Chain, ResNet18, ViT, alexnet, vgg11
from datadam_lite.networks import NETWORKS, build, reset

CONVOLUTIONAL = ("convnet", "alexnet", "vgg11", "resnet18")
MAPS = {  # (width, how often the side is halved) of every map
    "convnet": [(128, 0), (128, 1), (128, 2)],
    "alexnet": [(128, 0), (192, 1), (192, 2)],
    "vgg11": [(64, 0), (128, 1), (256, 2), (512, 3), (512, 4)],
    "resnet18": [(64, 0), (128, 1), (256, 2), (512, 3)],
    "vit": [],
}


def drawn(name, shape=(3, 20, 20), **options):
    """A network drawn from a generator; the large ones at full width, the transformer small."""
    small = {"convnet": {"width": 16}, "vit": {"width": 16, "depth": 2}}.get(name, {})
    return reset(build(name, shape, 5, **small | options), generator(0, "test"))


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes(name, side):
    network = build(name, (3, side, side), 7)
    maps, embedding, logits = network.eval()(torch.zeros(1, 3, side, side))
    expected = MAPS[name] + [(128, 3)] * (name == "convnet" and side == 64)
    assert [m.shape for m in maps] == [(1, width, side >> halved, side >> halved) for width, halved in expected]
    assert embedding.shape == (1, network.head.in_features)
    assert logits.shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "side", "dimensions"),
    [
        ("alexnet", 28, 192 * 4 * 4), ("alexnet", 32, 192 * 4 * 4), ("alexnet", 128, 192 * 16 * 16),
        ("vgg11", 28, 512), ("vgg11", 32, 512), ("vgg11", 128, 512 * 4 * 4),
        ("resnet18", 28, 512), ("resnet18", 32, 512), ("resnet18", 128, 512),
        ("vit", 28, 512), ("vit", 32, 512), ("vit", 128, 512),
    ],
)  # fmt: skip
def test_dimensions_of_the_embedding(name, side, dimensions):
    assert build(name, (1, side, side), 10).head.in_features == dimensions


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
def test_a_chain_fits_any_size(height, side, channels):
    chain = Chain((channels, height, side), 5, [[(4, 5)], [(8, 3), (8, 3)], [(8, 3)]], norm="none")
    maps, embedding, logits = chain(normal(2, channels, height, side))
    assert [m.shape[2:] for m in maps] == [(-(-height // n), -(-side // n)) for n in (1, 2, 4)]  # rounded up
    assert torch.equal(embedding, F.max_pool2d(maps[-1], 2, ceil_mode=True).flatten(1))
    assert logits.shape == (2, 5)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_features_fit_together(name, norm):
    """Maps are what the activation left, the embedding is pooled from the last, the logits linear in it."""
    network = drawn(name, norm=norm)
    maps, embedding, logits = network(normal(3, 3, 20, 20))
    assert all((m >= 0).all() and (m == 0).any() and (m > 0).any() for m in maps)
    pooled = maps[-1].mean((2, 3)) if name == "resnet18" else F.max_pool2d(maps[-1], 2, ceil_mode=True).flatten(1)
    torch.testing.assert_close(embedding, pooled)
    torch.testing.assert_close(logits, network.head(embedding))


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
def test_maps_are_what_each_stage_said_when_it_said_it(name):
    """No later layer changes them: the stages run one by one, on copies, say the same."""
    network = drawn(name)
    x = normal(3, 3, 20, 20)
    maps = network(x).maps
    x = network.stem(x) if name == "resnet18" else x
    for stage, kept in zip(network.stages, maps, strict=True):
        said = stage(x.clone())
        assert torch.equal(said, kept)
        x = said if name == "resnet18" else network.pool(said)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_gradients_of_every_map_reach_the_images(name, norm):
    network = drawn(name, norm=norm).requires_grad_(False)
    images = normal(3, 3, 20, 20).requires_grad_()
    features = network(images)
    for said in [*features.maps, features.embedding, features.logits]:
        (gradient,) = torch.autograd.grad(said.square().sum(), images, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient.flatten(1).norm(dim=1) > 0).all()


def test_gradients_of_a_transformer_reach_the_images():
    images = normal(3, 3, 20, 20).requires_grad_()
    drawn("vit")(images).embedding.square().sum().backward()
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
def test_batch_norm_sees_the_batch_while_training_and_one_image_after(name):
    network = drawn(name)
    images = normal(4, 3, 20, 20)
    together = network(images).embedding
    assert not torch.allclose(network(images[:2]).embedding, together[:2], atol=1e-3)
    network.eval()
    torch.testing.assert_close(network(images[:2]).embedding, network(images).embedding[:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
def test_instance_norm_sees_one_image_at_a_time(name):
    network = drawn(name, norm="instance")
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    images = normal(3, 3, 20, 20)
    torch.testing.assert_close(network(images[:1]).embedding, network(images).embedding[:1], rtol=1e-3, atol=1e-4)


def test_dropout_of_a_transformer_is_for_training_only():
    network, images = drawn("vit"), normal(2, 3, 20, 20)
    with torch.random.fork_rng():
        assert not torch.equal(network(images).embedding, network(images).embedding)
    network.eval()
    assert torch.equal(network(images).embedding, network(images).embedding)
    assert drawn("vit", dropout=0.0)(images).embedding.isfinite().all()


def test_a_transformer_sees_where_patches_are_and_every_one_of_them():
    network, images = drawn("vit").eval(), normal(1, 3, 20, 20)
    before = network(images).embedding
    swapped = images.roll(4, dims=3)
    assert not torch.allclose(network(swapped).embedding, before)
    for row in range(0, 20, 4):
        for column in range(0, 20, 4):
            other = images.clone()
            other[:, :, row : row + 4, column : column + 4] += 5
            assert not torch.equal(network(other).embedding, before)


# Parameters, counted by hand for 32 pixels, 3 channels, 10 classes


def convolutions(layers, *, bias=True):
    """Sum over (inputs, outputs, kernel) of weights and biases."""
    return sum(i * o * k * k + bias * o for i, o, k in layers)


def test_parameters_of_alexnet():
    layers = [(3, 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)]
    norms = 2 * (128 + 192 + 256 + 192 + 192)
    expected = convolutions(layers) + 192 * 4 * 4 * 10 + 10
    assert count(alexnet((3, 32, 32), 10, norm="none")) == expected
    assert count(alexnet((3, 32, 32), 10)) == count(alexnet((3, 32, 32), 10, norm="instance")) == expected + norms


def test_parameters_of_vgg11():
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    layers = [(i, o, 3) for i, o in pairwise(widths)]
    expected = convolutions(layers) + 2 * sum(widths[1:]) + 512 * 10 + 10
    assert count(vgg11((3, 32, 32), 10)) == expected


def test_parameters_of_resnet18():
    """Two blocks of two 3x3 convolutions in every stage, and a 1x1 shortcut where the width changes."""
    expected = convolutions([(3, 64, 3)], bias=False) + 2 * 64
    inputs = 64
    for width in (64, 128, 256, 512):
        layers = [(inputs, width, 3)] + 3 * [(width, width, 3)] + [(inputs, width, 1)] * (inputs != width)
        expected += convolutions(layers, bias=False) + 2 * width * len(layers)
        inputs = width
    assert count(ResNet18((3, 32, 32), 10)) == expected + 512 * 10 + 10


@pytest.mark.parametrize(("width", "depth"), [(512, 6), (16, 2)])
def test_parameters_of_vit(width, depth):
    patches = 4 * 4 * 3 * width + width + width + (8 * 8 + 1) * width  # projection, class token, positions
    linear = width * width + width
    block = 3 * linear + linear + 2 * linear + 2 * 2 * width  # queries, keys, values; output; hidden layers; norms
    expected = patches + depth * block + 2 * width + width * 10 + 10
    assert count(ViT((3, 32, 32), 10, width=width, depth=depth)) == expected


# Where they are used


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16(name):
    """Under autocast the convolutions' precision is lost, not the result."""
    network = drawn(name).eval()
    images = normal(2, 3, 20, 20)
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(images)
    assert rough.logits.dtype == torch.bfloat16
    for a, b in zip([*rough.maps, rough.embedding], [*exact.maps, exact.embedding], strict=True):
        assert a.shape == b.shape
        assert (a.float() - b).norm() < 0.05 * b.norm()


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
def test_images_too_small(name):
    message = rf"{name} needs images of at least 17x17 pixels; received {{}}: use the convnet\."
    for height, side in [(8, 8), (16, 32), (32, 16)]:
        with pytest.raises(DataDamError, match=message.format(f"{height}x{side}")):
            build(name, (1, height, side), 10)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
def test_the_smallest_images_still_make_a_difference_in_the_last_maps(name, norm):
    """No norm of a single value, which would be zero whatever the image."""
    network = drawn(name, (1, 17, 17), norm=norm)
    last = network(normal(2, 1, 17, 17)).maps[-1]
    assert min(last.shape[2:]) >= 2
    assert last.std() > 0.1


@pytest.mark.parametrize("size", [(32, 28), (30, 30)])
def test_a_transformer_takes_whole_patches_of_square_images(size):
    message = rf"square images whose side is a multiple of 4 pixels; received {size[0]}x{size[1]}: use the convnet\."
    with pytest.raises(DataDamError, match=message):
        ViT((3, *size), 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 12}, r"a width that is a multiple of its 8 heads; received 12\."),
        ({"width": 0}, r"width must be positive; received 0\."),
        ({"depth": 0}, r"depth must be positive; received 0\."),
        ({"dropout": 1.5}, r"dropout must be a probability below 1; received 1\.5\."),
        ({"dropout": -0.1}, r"dropout must be a probability below 1; received -0\.1\."),
    ],
)
def test_options_a_transformer_refuses(options, message):
    with pytest.raises(DataDamError, match=message):
        ViT((3, 32, 32), 10, **options)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
def test_an_unknown_norm(name):
    with pytest.raises(DataDamError, match=r"unknown norm 'layer'; the known ones are batch, instance, none\."):
        build(name, (3, 32, 32), 10, norm="layer")
