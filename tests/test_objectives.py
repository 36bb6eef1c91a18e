"""The loss, against loops over terms, layers, classes and images in float64."""

import pytest
import torch
from samples import normal

from datadam_lite import ConvNet, class_means, generator, matching_loss, objective, recipe, spatial
from datadam_lite.objectives import Term, attended, embedding

CLASSES = 3
norms = pytest.mark.parametrize("norm", ["instance", "batch"])
methods = pytest.mark.parametrize(
    "given",
    [
        recipe("dm"),
        recipe("datadam"),
        recipe("datadam", power=1.0, lam=0.02, loss_scale=100.0),
    ],
    ids=["dm", "datadam", "released"],
)


def network_(norm="instance", width=4, shape=(3, 8, 8)):
    return ConvNet(shape, CLASSES, width=width, norm=norm).double().reset(generator(0, "test"))


def batches(n=4, m=2):
    """Real and synthetic images, class-major."""
    return normal(CLASSES * n, 3, 8, 8, dtype=torch.float64), normal(CLASSES * m, 3, 8, 8, seed=1, dtype=torch.float64)


def loss(given, network, real, synthetic, classes=CLASSES):
    terms = objective(given)
    return matching_loss(terms, *(class_means(network, terms, x, classes) for x in (real, synthetic)))


def slow_attention(image, p):
    """One image's maps [C, H, W] of one layer: sum of |f|^p over the channels, divided by its length."""
    a = torch.zeros(image.shape[1:], dtype=torch.float64)
    for channel in image:
        a = a + channel.abs() ** p
    return a / (a**2).sum().sqrt()


def slow_mean(vectors):
    return sum(vectors) / len(vectors)


def slow_loss(given, network, real, synthetic):
    """DataDAM's equations, one class, layer and image at a time."""
    features = [network(x) for x in (real, synthetic)]
    sizes = [len(x) // CLASSES for x in (real, synthetic)]
    of_class = [[range(k * n, (k + 1) * n) for k in range(CLASSES)] for n in sizes]
    attention = torch.zeros((), dtype=torch.float64)
    mmd = torch.zeros((), dtype=torch.float64)
    for k in range(CLASSES):
        for layer in range(len(features[0].maps) - 1):
            a, b = (
                slow_mean([slow_attention(f.maps[layer][i], given.power) for i in rows[k]])
                for f, rows in zip(features, of_class, strict=True)
            )
            attention = attention + ((a - b) ** 2).sum()
        a, b = (slow_mean([f.embedding[i] for i in rows[k]]) for f, rows in zip(features, of_class, strict=True))
        mmd = mmd + ((a - b) ** 2).sum()
    terms = {"embedding": given.loss_scale * given.lam * mmd}
    return terms | ({"spatial": given.loss_scale * attention} if given.attention else {})


@norms
@methods
def test_the_loss_is_the_papers_equations(norm, given):
    network, (real, synthetic) = network_(norm), batches()
    expected = slow_loss(given, network, real, synthetic)
    found = loss(given, network, real, synthetic)
    assert set(found) == set(expected)
    for name, term in found.items():
        torch.testing.assert_close(term.double(), expected[name], rtol=1e-6, atol=0)


@norms
@methods
def test_the_gradient_is_that_of_finite_differences(norm, given):
    network = network_(norm, width=2).requires_grad_(False)
    real, synthetic = batches(m=1)
    assert torch.autograd.gradcheck(
        lambda x: sum(loss(given, network, real, x).values()), synthetic.requires_grad_(), eps=1e-7
    )


@norms
@methods
def test_the_loss_is_zero_when_synthetic_equals_real(norm, given):
    real, _ = batches()
    assert all(term == 0 for term in loss(given, network_(norm), real, real.clone()).values())


@methods
def test_copies_of_the_real_images_match_too(given):
    """Means do not know how often all images of a class are repeated."""
    real, _ = batches()
    repeated = real.unflatten(0, (CLASSES, -1)).repeat(1, 2, 1, 1, 1).flatten(0, 1)
    for term in loss(given, network_(), real, repeated).values():
        torch.testing.assert_close(term.double(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12)


@methods
def test_order_within_a_class_does_not_matter_and_between_classes_it_does(given):
    network, (real, synthetic) = network_(), batches()
    total = sum(loss(given, network, real, synthetic).values())
    within = real.unflatten(0, (CLASSES, -1)).flip(1).flatten(0, 1)
    torch.testing.assert_close(sum(loss(given, network, within, synthetic).values()), total)
    between = real.unflatten(0, (CLASSES, -1)).roll(1, 0).flatten(0, 1)
    assert (sum(loss(given, network, between, synthetic).values()) - total).abs() > 1e-3 * total


@methods
def test_under_instance_norm_classes_may_be_taken_one_by_one(given):
    network, (real, synthetic) = network_(), batches()
    together = loss(given, network, real, synthetic)
    parts = zip(real.chunk(CLASSES), synthetic.chunk(CLASSES), strict=True)
    apart = [loss(given, network, a, b, classes=1) for a, b in parts]
    for name, term in together.items():
        torch.testing.assert_close(term, sum(part[name] for part in apart))


def test_class_means_are_class_means():
    network, (real, _) = network_(), batches()
    terms = [Term("embedding", 1.0, embedding), Term("spatial", 1.0, attended(spatial))]
    features = network(real)
    means = class_means(network, terms, real, CLASSES)
    for term, mean in zip(terms, means, strict=True):
        r = term.represent(features)
        for k in range(CLASSES):
            torch.testing.assert_close(mean[k], r[4 * k : 4 * k + 4].sum(0) / 4, check_dtype=False)


def test_float64_is_not_rounded():
    network, (real, _) = network_(), batches()
    (mean,) = class_means(network, [Term("embedding", 1.0, embedding)], real, CLASSES)
    assert mean.dtype == torch.float64


def test_low_precision_is_averaged_in_float32():
    """The mean of 4097 ones: bfloat16 cannot even count that far."""
    term = Term("ones", 1.0, lambda features: torch.ones(4097, 1, dtype=torch.bfloat16))
    (mean,) = class_means(torch.nn.Identity(), [term], torch.zeros(4097, 1, 1, 1), 1)
    assert mean.dtype == torch.float32
    assert mean.item() == 1


def test_attended_lays_all_blocks_but_the_last_end_to_end():
    features = network_()(batches()[0])
    vectors = attended(spatial)(features)
    assert torch.equal(vectors, torch.cat([spatial(maps) for maps in features.maps[:-1]], 1))
    assert vectors.shape == (CLASSES * 4, 8 * 8 + 4 * 4)


def test_weights_multiply_their_terms():
    network, (real, synthetic) = network_(), batches()
    plain = loss(recipe("datadam", lam=1.0), network, real, synthetic)
    weighted = loss(recipe("datadam", lam=0.25, loss_scale=3.0), network, real, synthetic)
    torch.testing.assert_close(weighted["spatial"], 3 * plain["spatial"])
    torch.testing.assert_close(weighted["embedding"], 0.75 * plain["embedding"])
