"""The ConvNet: what it returns, how deep it is, and how it is drawn."""

import pytest
import torch
from samples import normal
from scipy.stats import ks_2samp
from torch import nn
from torch.nn import functional as F

from datadam_lite import ConvNet, DataDamError, generator
from datadam_lite.networks import build, depth_for


def slow_normalise(x, norm, eps=1e-5):
    """Instance norm one image and channel at a time; batch norm one channel at a time."""
    if norm == "none":
        return x
    groups = [x[:, c : c + 1] for c in range(x.shape[1])]
    if norm == "instance":
        groups = [part for group in groups for part in group.unbind(0)]
    scaled = [(g - g.mean()) / (g.var(unbiased=False) + eps).sqrt() for g in groups]
    if norm == "batch":
        return torch.cat(scaled, 1)
    return torch.stack(scaled).reshape(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)


def slow_pool(x, pooling):
    """2x2 pooling of the whole squares, the rest left out."""
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    corners = torch.stack([x[:, :, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)])
    return corners.mean(0) if pooling == "avg" else corners.amax(0)


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 11, 9)])
def test_features_are_block_by_block_what_they_are_said_to_be(norm, pooling, shape):
    """Maps after ReLU and before pooling, the embedding the flattened last pooling, logits linear in it."""
    network = ConvNet(shape, 5, width=6, norm=norm, pooling=pooling).double().reset(generator(0, "test"))
    x = images = normal(4, *shape, dtype=torch.float64)
    features = network(images)
    for conv, maps in zip(network.convs, features.maps, strict=True):
        expected = slow_normalise(F.conv2d(x, conv.weight, conv.bias, padding=1), norm).clamp_min(0)
        torch.testing.assert_close(maps, expected)
        x = slow_pool(expected, pooling)
    torch.testing.assert_close(features.embedding, x.reshape(4, -1))
    torch.testing.assert_close(features.logits, x.reshape(4, -1) @ network.head.weight.T + network.head.bias)


def test_instance_norm_sees_one_image_at_a_time():
    network = ConvNet((3, 8, 8), 5, width=6)
    images = normal(4, 3, 8, 8)
    alone = torch.cat([network(image[None]).embedding for image in images])
    torch.testing.assert_close(network(images).embedding, alone)


@pytest.mark.parametrize(("size", "depth"), [(8, 3), (16, 3), (28, 3), (32, 3), (33, 4), (64, 4), (128, 5), (224, 6)])
def test_depth_goes_with_resolution(size, depth):
    assert depth_for(size) == depth


def test_the_shorter_side_decides_the_depth():
    assert len(ConvNet((1, 64, 32), 2, width=2).convs) == len(ConvNet((1, 32, 64), 2, width=2).convs) == 3


def test_a_depth_can_be_given():
    assert len(ConvNet((1, 8, 8), 2, width=2, depth=2)(torch.zeros(1, 1, 8, 8)).maps) == 2


def test_parameters_at_cifar10_are_as_many_as_counted_by_hand():
    convolutions = (3 + 128 + 128) * 9 * 128 + 3 * 128
    norms = 3 * 2 * 128
    linear = 128 * 4 * 4 * 10 + 10
    count = sum(p.numel() for p in ConvNet((3, 32, 32), 10).parameters())
    assert count == convolutions + norms + linear == 320_010


def state(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_reset_depends_on_the_generator_and_on_nothing_before(norm):
    network = ConvNet((3, 8, 8), 5, width=6, norm=norm)
    first = state(network.reset(generator(0, "a")))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    network(normal(4, 3, 8, 8))  # moves the running statistics of batch norm
    assert not torch.equal(state(network.reset(generator(0, "b"))), first)
    assert torch.equal(state(network.reset(generator(0, "a"))), first)
    fresh = ConvNet((3, 8, 8), 5, width=6, norm=norm).reset(generator(0, "a"))
    for key, value in network.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key])


def test_reset_leaves_the_global_stream_alone():
    network = ConvNet((3, 8, 8), 5, width=6)
    before = torch.get_rng_state()
    network.reset(generator(0, "a"))
    assert torch.equal(torch.get_rng_state(), before)


def test_reset_draws_from_pytorchs_own_distribution():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        own = ConvNet((3, 16, 16), 10, width=32)
    drawn = ConvNet((3, 16, 16), 10, width=32).reset(generator(0, "a"))
    for (name, a), b in zip(own.named_parameters(), drawn.parameters(), strict=True):
        if "norms" in name:
            assert torch.equal(a, b)
        else:
            assert ks_2samp(a.detach().flatten(), b.detach().flatten()).pvalue > 1e-3, name


def test_reset_fills_the_interval_of_one_over_the_root_of_the_fan_in():
    network = ConvNet((3, 16, 16), 10, width=64).reset(generator(0, "a"))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            assert 0.98 * bound < layer.weight.abs().max() <= bound
            assert layer.bias.abs().max() <= bound


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
        ({"norm": "layer"}, r"unknown norm 'layer'; the known ones are instance, batch, none\."),
        ({"pooling": "min"}, r"unknown pooling 'min'; the known ones are avg, max\."),
        ({"depth": 0}, r"depth\b.* received 0\."),
        ({"depth": -1}, r"depth\b.* received -1\."),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(DataDamError, match=message):
        ConvNet((3, 8, 8), 10, width=4, **options)


def test_an_unknown_network():
    with pytest.raises(DataDamError, match=r"unknown network 'resnet'; the known ones are convnet\."):
        build("resnet", (3, 8, 8), 10)
