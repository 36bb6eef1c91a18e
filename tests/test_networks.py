"""The ConvNet: what it returns, how deep it is; and how any network is built and drawn."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal
from scipy.stats import ks_2samp, kstest
from torch import nn
from torch.nn import functional as F

from datadam_lite import ConvNet, DataDamError, generator
from datadam_lite.layers import ACTIVATIONS, NORMS, POOLINGS, group_norm
from datadam_lite.networks import NETWORKS, build, depth_for, reset

DEPTHS, WIDTHS = (1, 2, 3, 4), (32, 64, 128, 256)
GRID = list(product(DEPTHS, WIDTHS, ACTIVATIONS, NORMS, ("none", "max", "avg")))  # of DataDAM's architecture search
SMALL = {"convnet": {"width": 8}, "vit": {"width": 16, "depth": 2}}  # options that make a network small


def build_small(name, shape=(3, 20, 20), **options):
    return build(name, shape, 5, **SMALL.get(name, {}), **options)


def slow_normalise(x, norm, eps=1e-5):
    """Subtract the mean and divide by the standard deviation of everything that belongs together."""
    if norm == "none":
        return x
    b, c = x.shape[:2]
    together = {"batch": c, "layer": b, "instance": b * c, "group": b * 4}[norm]
    ordered = x.transpose(0, 1) if norm == "batch" else x
    parts = ordered.reshape(together, -1)
    scaled = (parts - parts.mean(1, keepdim=True)) / (parts.var(1, unbiased=False, keepdim=True) + eps).sqrt()
    scaled = scaled.reshape(ordered.shape)
    return scaled.transpose(0, 1) if norm == "batch" else scaled


def slow_scale(x, layer):
    """Scale and shift: per channel, or per element for layer norm."""
    if isinstance(layer, nn.Identity):
        return x
    weight, bias = (p if p.ndim == 3 else p[:, None, None] for p in (layer.weight, layer.bias))
    return x * weight + bias


def slow_pool(x, pooling):
    """Pool by adding up shifted copies; 2x2 pooling leaves out what is no whole square."""
    if pooling == "none":
        return x
    if pooling == "avg3":
        h, w = (n + n % 2 for n in x.shape[2:])
        shifts = [(slice(i, i + h, 2), slice(j, j + w, 2)) for i in range(3) for j in range(3)]
        totals = [F.pad(values, (1, 2, 1, 2)) for values in (x, torch.ones_like(x))]
        total, count = (sum(padded[:, :, rows, columns] for rows, columns in shifts) for padded in totals)
        return total / count  # beyond the border there is nothing to count
    h, w = (n // 2 * 2 for n in x.shape[2:])
    corners = torch.stack([x[:, :, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)])
    return corners.mean(0) if pooling == "avg" else corners.amax(0)


SLOW_ACTIVATIONS = {
    "relu": lambda x: x.clamp_min(0),
    "leaky_relu": lambda x: x.clamp_min(0) + 0.01 * x.clamp_max(0),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
}


def random_convnet(shape, **options):
    """Every parameter random, so that none can be left out or mixed up unnoticed."""
    network = ConvNet(shape, 5, width=8, **options).double()
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=i, dtype=torch.float64) / 2)
    return network


@pytest.mark.parametrize(
    ("norm", "activation", "pooling"),
    [*product(NORMS, ["relu"], POOLINGS), *product(["instance"], ["leaky_relu", "sigmoid"], ["avg"])],
)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 11, 9)])
def test_features_are_block_by_block_what_they_are_said_to_be(norm, activation, pooling, shape):
    """Maps after activation and before pooling, the embedding the flattened last pooling, logits linear in it."""
    network = random_convnet(shape, norm=norm, activation=activation, pooling=pooling)
    x = images = normal(4, *shape, dtype=torch.float64)
    features = network(images)
    assert len(features.maps) == 3
    for conv, layer, maps in zip(network.convs, network.norms, features.maps, strict=True):
        x = slow_scale(slow_normalise(F.conv2d(x, conv.weight, conv.bias, padding=1), norm), layer)
        torch.testing.assert_close(maps, SLOW_ACTIVATIONS[activation](x))
        x = slow_pool(maps, pooling)
    torch.testing.assert_close(features.embedding, x.reshape(4, -1))
    torch.testing.assert_close(features.logits, x.reshape(4, -1) @ network.head.weight.T + network.head.bias)


def test_the_grid_holds_the_720_networks_of_the_paper():
    assert len(set(GRID)) == 4 * 4 * 3 * 5 * 3 == 720


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(GRID))
def test_every_network_of_the_grid_says_what_it_should(point):
    depth, width, activation, norm, pooling = point
    options = {"depth": depth, "width": width, "activation": activation, "norm": norm, "pooling": pooling}
    network = build("convnet", (3, 16, 16), 7, **options)
    maps, embedding, logits = reset(network, generator(0, *point))(normal(2, 3, 16, 16))
    sides = [16 >> (0 if pooling == "none" else block) for block in range(depth + 1)]
    assert [m.shape for m in maps] == [(2, width, side, side) for side in sides[:-1]]
    assert torch.equal(embedding, network.pool(maps[-1]).flatten(1))
    assert embedding.shape == (2, width * sides[-1] ** 2)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize("norm", ["instance", "layer", "group"])
def test_these_norms_see_one_image_at_a_time(norm):
    network = ConvNet((3, 8, 8), 5, width=8, norm=norm)
    images = normal(4, 3, 8, 8)
    alone = torch.cat([network(image[None]).embedding for image in images])
    torch.testing.assert_close(network(images).embedding, alone)


def test_batch_norm_sees_the_batch_while_training_and_running_statistics_after():
    network = reset(ConvNet((3, 8, 8), 5, width=8, norm="batch"), generator(0, "test"))
    images = normal(4, 3, 8, 8)
    together = network(images).embedding
    assert not torch.allclose(network(images[:2]).embedding, together[:2], atol=1e-3)
    network.eval()
    torch.testing.assert_close(network(images[:2]).embedding, network(images).embedding[:2])


@pytest.mark.parametrize(("size", "depth"), [(8, 3), (16, 3), (28, 3), (32, 3), (33, 4), (64, 4), (128, 5), (224, 6)])
def test_depth_goes_with_resolution(size, depth):
    assert depth_for(size) == depth


def test_the_shorter_side_decides_the_depth():
    assert len(ConvNet((1, 64, 32), 2, width=2).convs) == len(ConvNet((1, 32, 64), 2, width=2).convs) == 3


def test_a_depth_can_be_given():
    assert len(ConvNet((1, 8, 8), 2, width=2, depth=2)(torch.zeros(1, 1, 8, 8)).maps) == 2


@pytest.mark.parametrize(
    ("pooling", "sides", "left"), [("avg", [28, 14, 7], 3), ("avg3", [28, 14, 7], 4), ("none", [28, 28, 28], 28)]
)
def test_28_pixels(pooling, sides, left):
    maps, embedding, _ = ConvNet((1, 28, 28), 10, width=4, pooling=pooling)(normal(2, 1, 28, 28))
    assert [m.shape[-1] for m in maps] == sides
    assert embedding.shape == (2, 4 * left * left)


def test_parameters_at_cifar10_are_as_many_as_counted_by_hand():
    convolutions = (3 + 128 + 128) * 9 * 128 + 3 * 128
    norms = 3 * 2 * 128
    linear = 128 * 4 * 4 * 10 + 10
    count = sum(p.numel() for p in ConvNet((3, 32, 32), 10).parameters())
    assert count == convolutions + norms + linear == 320_010


def test_layer_norm_has_a_scale_and_a_shift_for_every_element():
    norms = ConvNet((3, 32, 16), 10, width=8, norm="layer").norms
    assert sum(p.numel() for p in norms.parameters()) == 2 * 8 * (32 * 16 + 16 * 8 + 8 * 4)


# How networks are drawn


@pytest.mark.parametrize("norm", NORMS)
def test_reset_draws_block_by_block_and_the_head_last(norm):
    """Weight, then bias, uniform on ±1/sqrt(fan in): recorded results rest on this order of the draws."""
    network = reset(ConvNet((3, 8, 8), 5, width=8, norm=norm), generator(0, "a"))
    stream = generator(0, "a")
    for layer in [*network.convs, network.head]:
        bound = layer.weight[0].numel() ** -0.5
        for parameter in (layer.weight, layer.bias):
            assert torch.equal(parameter, torch.empty_like(parameter).uniform_(-bound, bound, generator=stream))


EVERY_NORM = [*((name, {}) for name in NETWORKS), *(("convnet", {"norm": norm}) for norm in NORMS)]


@pytest.mark.parametrize("weights", ["uniform", "normal"])
@pytest.mark.parametrize(("name", "options"), EVERY_NORM)
def test_reset_decides_every_parameter_and_buffer(name, options, weights):
    """No trace is left of what was there before, not even of values that are no numbers."""
    network = build_small(name, **options)
    first = {key: value.clone() for key, value in reset(network, generator(0, "a"), weights).state_dict().items()}
    with torch.no_grad():
        for value in network.state_dict().values():
            value.fill_(torch.nan if value.is_floating_point() else 7)
    assert reset(network, generator(0, "a"), weights) is network
    for key, value in network.state_dict().items():
        assert value.isfinite().all(), key
        assert torch.equal(value, first[key]), key


@pytest.mark.parametrize("weights", ["uniform", "normal"])
@pytest.mark.parametrize(("name", "options"), EVERY_NORM)
def test_another_generator_draws_another_network(name, options, weights):
    """Everything differs but what is constant by definition: norms, and the biases of normal weights."""
    network = build_small(name, **options)
    first = {key: value.clone() for key, value in reset(network, generator(0, "a"), weights).named_parameters()}
    reset(network, generator(0, "b"), weights)
    for path, layer in network.named_modules():
        norm = isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm)
        for key, parameter in layer.named_parameters(prefix=path, recurse=False):
            if norm or (weights == "normal" and key.endswith("bias")):
                assert (parameter == float(norm and key.endswith("weight"))).all(), key
            else:
                assert (parameter != first[key]).float().mean() > 0.99, key


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("weights", ["uniform", "normal"])
def test_weights_have_the_distribution_they_are_said_to_have(name, weights):
    """Scaled by the root of the fan in: uniform on ±1, or normal with standard deviation sqrt(2)."""
    network = reset(build_small(name), generator(0, "a"), weights)
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    tensors = [layer.weight for layer in linear]
    tensors += [layer.in_proj_weight for layer in network.modules() if isinstance(layer, nn.MultiheadAttention)]
    for weight in tensors:
        values = (weight * weight[0].numel() ** 0.5).detach().flatten()[:5000]
        expected = ("uniform", (-1, 2)) if weights == "uniform" else ("norm", (0, 2**0.5))
        assert kstest(values, *expected).pvalue > 1e-4
    for bias in (layer.bias * layer.weight[0].numel() ** 0.5 for layer in linear if layer.bias is not None):
        assert bias.abs().max() <= (1.0001 if weights == "uniform" else 0)


def test_uniform_weights_are_distributed_as_pytorchs_own():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        own = ConvNet((3, 16, 16), 10, width=32)
    drawn = reset(ConvNet((3, 16, 16), 10, width=32), generator(0, "a"))
    for (name, a), b in zip(own.named_parameters(), drawn.parameters(), strict=True):
        if "norms" in name:
            assert torch.equal(a, b)
        else:
            assert ks_2samp(a.detach().flatten(), b.detach().flatten()).pvalue > 1e-3, name


def test_class_token_and_positions_of_a_transformer_are_small():
    network = reset(build_small("vit", (3, 64, 64)), generator(0, "a"))
    drawn = torch.cat([network.body.class_token.flatten(), network.body.encoder.pos_embedding.flatten()]).detach()
    assert kstest(drawn, "norm", (0, 0.02)).pvalue > 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_neither_building_nor_reset_touches_the_global_stream(name):
    before = torch.get_rng_state()
    reset(build_small(name), generator(0, "a"))
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_weights():
    with pytest.raises(DataDamError, match=r"unknown weights 'xavier'; the known ones are uniform, normal\."):
        reset(build_small("convnet"), generator(0, "a"), "xavier")


# Functions of the parameters


def test_two_networks_at_once():
    """vmap over two sets of parameters is the two networks, one after the other."""
    networks = [reset(ConvNet((3, 8, 8), 5, width=8), generator(0, i)) for i in range(2)]
    images = normal(2, 4, 3, 8, 8)
    parameters, buffers = torch.func.stack_module_state(networks)

    def forward(parameters, buffers, x):
        return torch.func.functional_call(networks[0], (parameters, buffers), (x,))

    both = torch.func.vmap(forward)(parameters, buffers, images)
    for i, network in enumerate(networks):
        alone = network(images[i])
        torch.testing.assert_close(both.logits[i], alone.logits)
        torch.testing.assert_close(both.embedding[i], alone.embedding)
        torch.testing.assert_close([m[i] for m in both.maps], alone.maps)


# What is refused


@pytest.mark.parametrize(
    ("shape", "depth", "message"),
    [
        ((3, 4, 4), None, r"3 blocks halve 4x4 pixels to nothing; use a depth of at most 2\."),
        ((3, 7, 64), None, r"3 blocks halve 7x64 pixels to nothing; use a depth of at most 2\."),
        ((3, 8, 8), 4, r"4 blocks halve 8x8 pixels to nothing; use a depth of at most 3\."),
    ],
)
def test_images_too_small_for_the_depth(shape, depth, message):
    with pytest.raises(DataDamError, match=message):
        ConvNet(shape, 10, depth=depth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "layers"}, r"unknown norm 'layers'; the known ones are none, batch, layer, instance, group\."),
        ({"pooling": "min"}, r"unknown pooling 'min'; the known ones are avg, max, none, avg3\."),
        ({"activation": "tanh"}, r"unknown activation 'tanh'; the known ones are relu, leaky_relu, sigmoid\."),
        ({"depth": 0}, r"depth\b.* received 0\."),
        ({"depth": -1}, r"depth\b.* received -1\."),
        ({"width": 6, "norm": "group"}, r"group norm needs a width that is a multiple of 4; received 6\."),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(DataDamError, match=message):
        ConvNet((3, 8, 8), 10, **{"width": 4} | options)


@pytest.mark.parametrize(("norm", "width"), [("instance", 8), ("group", 4)])
def test_a_norm_of_single_values_is_refused_as_it_is_zero_whatever_the_image(norm, width):
    """3x3 pooling makes 8 pixels 4, 2, 1 and 1: the fourth maps are one pixel."""
    message = rf"more than one value to normalise over; received {width} maps of one pixel in {width} groups"
    ConvNet((3, 8, 8), 10, width=width, depth=3, norm=norm, pooling="avg3")
    with pytest.raises(DataDamError, match=message):
        ConvNet((3, 8, 8), 10, width=width, depth=4, norm=norm, pooling="avg3")


def test_group_norm_of_two_values_is_allowed():
    assert group_norm(4, 8, 1, 1).num_channels == 8


def test_an_unknown_network():
    message = r"unknown network 'resnet'; the known ones are convnet, alexnet, vgg11, resnet18, vit\."
    with pytest.raises(DataDamError, match=message):
        build("resnet", (3, 8, 8), 10)


@pytest.mark.parametrize(
    ("name", "option", "takes"),
    [
        ("convnet", "dropout", "width, depth, norm, activation, pooling"),
        ("alexnet", "width", "norm"),
        ("vgg11", "depth", "norm"),
        ("resnet18", "pooling", "norm"),
        ("vit", "norm", "width, depth, dropout"),
    ],
)
def test_an_option_the_network_does_not_take(name, option, takes):
    with pytest.raises(DataDamError, match=rf"{name} takes the options {takes}; received {option}: leave it out\."):
        build(name, (3, 32, 32), 10, **{option: 1})
