"""The package against the oracle: losses and image gradients, by the papers' equations in float64."""

import pytest
import torch
from oracle import draw_weights, forward
from oracle import loss as slow_loss
from oracle import mmd as slow_mmd
from samples import normal, small, toy
from test_augment import SLOW

from datadam_lite import ConvNet, Distiller, class_vectors, generator, matching_loss, mmd, objective, recipe, reset
from datadam_lite.augment import DSA, augment, draw, operations

CLASSES = 2
WIDTH = 3

CASES = {
    "dm": recipe("dm"),
    "dm, polynomial": recipe("dm", kernel="polynomial"),
    "dm, gaussian": recipe("dm", kernel="gaussian"),
    "datadam": recipe("datadam"),
    "datadam, lambda": recipe("datadam", lam=0.3, loss_scale=7.0),
    "datadam, no embedding": recipe("datadam", lam=0.0),
    "datadam, root": recipe("datadam", power=0.5),
    "datadam, l1": recipe("datadam", normalise="l1", power=1.5),
    "datadam, none": recipe("datadam", normalise="none", power=2.0),
    "datadam, first and last": recipe("datadam", layers=(1, 3)),
    "datadam_code": recipe("datadam_code"),
    "atom": recipe("atom"),
    "atom, weights": recipe("atom", attention_weights=(0.25, 3.0), layers=2, lam=2.0),
    "atom_channel": recipe("atom_channel"),
    "atom_channel, l1": recipe("atom_channel", normalise="l1", power=2.0),
    "atom_channel, none": recipe("atom_channel", normalise="none", power=1.0),
    "feature_map": recipe("feature_map"),
    "feature_map, all": recipe("feature_map", layers=(1, 2, 3), normalise="none", lam=0.5),
}
norms = pytest.mark.parametrize("norm", ["instance", "batch"])


def network_(norm, side=8):
    """A ConvNet whose norms have scales and shifts, as after training."""
    network = reset(ConvNet((3, side, side), CLASSES, width=WIDTH, norm=norm).double(), generator(0, "oracle"))
    for i, layer in enumerate(network.norms):
        layer.weight.data = 1 + 0.2 * normal(WIDTH, seed=i, dtype=torch.float64)
        layer.bias.data = 0.2 * normal(WIDTH, seed=9 + i, dtype=torch.float64)
    return network.requires_grad_(False)


def batches(ipc, n):
    """Synthetic and real images, class-major."""
    real = normal(CLASSES * n, 3, 8, 8, dtype=torch.float64)
    return normal(CLASSES * ipc, 3, 8, 8, seed=1, dtype=torch.float64).requires_grad_(), real


def fast_loss(chosen, network, real, synthetic):
    terms = objective(chosen)
    return matching_loss(terms, *(class_vectors(network, terms, x, CLASSES) for x in (real, synthetic)))


def assert_same(found, expected, synthetic, *, rtol=1e-6):
    """Every term, and the gradient of their sum with respect to the images."""
    assert set(found) == set(expected)
    for name, term in found.items():
        torch.testing.assert_close(term.double(), expected[name], rtol=rtol, atol=0, msg=lambda m, n=name: f"{n}: {m}")
    totals = [sum(terms.values()) for terms in (found, expected)]
    one, other = (torch.autograd.grad(total, synthetic, retain_graph=True)[0] for total in totals)
    assert other.abs().max() > 0
    torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * float(other.abs().max()))


@norms
@pytest.mark.parametrize("side", [8, 13])
def test_the_network_is_convolution_norm_relu_and_pooling(norm, side):
    network, images = network_(norm, side), normal(3, 3, side, side, dtype=torch.float64)
    features, (maps, embedding) = network(images), forward(dict(network.named_parameters()), images, norm)
    for found, expected in zip([*features.maps, features.embedding], [*maps, embedding], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@norms
@pytest.mark.parametrize(("ipc", "n"), [(1, 3), (3, 2)])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_the_papers_equations(case, ipc, n, norm):
    chosen = recipe(CASES[case], norm=norm).for_images((3, 8, 8), ipc)
    network, (synthetic, real) = network_(norm), batches(ipc, n)
    weights = dict(network.named_parameters())
    expected = slow_loss(chosen, weights, real, synthetic, CLASSES)
    assert_same(fast_loss(chosen, network, real, synthetic), expected, synthetic)


@norms
@pytest.mark.parametrize("kernel", ["linear", "polynomial", "gaussian"])
def test_the_unbiased_loss_too(kernel, norm):
    chosen = recipe("datadam", norm=norm, kernel=kernel, unbiased=True).for_images((3, 8, 8), 3)
    network, (synthetic, real) = network_(norm), batches(3, 2)
    expected = slow_loss(chosen, dict(network.named_parameters()), real, synthetic, CLASSES)
    assert_same(fast_loss(chosen, network, real, synthetic), expected, synthetic)


@pytest.mark.parametrize("seed", range(6))
def test_after_siamese_augmentation_too(seed):
    """One draw for both sides, with gradients through the augmentation."""
    chosen = recipe("atom").for_images((3, 8, 8), 3)
    network, (synthetic, real) = network_("instance"), batches(3, 2)
    drawn = draw(operations(DSA), CLASSES, generator(seed, "oracle"), one_operation=False)
    pair = [augment(x, drawn) for x in (real, synthetic)]
    expected = slow_loss(chosen, dict(network.named_parameters()), *pair, CLASSES)
    assert_same(fast_loss(chosen, network, *pair), expected, synthetic)


# ---- an iteration of the loop, from its named generators alone


def iteration_of(distiller, iteration):
    """The loss of an iteration of a `Distiller` with a ConvNet-3, derived from data, recipe and seed."""
    train, given, seed, classes = distiller.train, distiller.recipe, distiller.seed, len(distiller.train.classes)
    weights = draw_weights(train.shape, classes, given.width, generator(seed, "network", iteration))
    stream, rows = generator(seed, "real batch", iteration), []
    for k in range(classes):
        of_class = [i for i, label in enumerate(train.labels.tolist()) if label == k]
        rows += [of_class[i] for i in torch.randperm(len(of_class), generator=stream)[: given.real_batch]]
    x = train.images.double() / 255
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True, unbiased=False)
    stream, names = generator(seed, "augmentation", iteration), given.augmentation.split("_")
    chosen = torch.randint(len(names), (classes,), generator=stream)
    uniforms = torch.rand(classes, 3, generator=stream)

    def augmented(images):
        n = len(images) // classes
        return torch.stack([SLOW[names[chosen[i // n]]](x, uniforms[i // n].tolist()) for i, x in enumerate(images)])

    real, synthetic = augmented(((x - mean) / std)[rows]), augmented(distiller.images.double())
    return slow_loss(given, weights, real, synthetic, classes)


@pytest.mark.parametrize("iteration", [1, 5])
@pytest.mark.parametrize(("method", "norm"), [("datadam", "instance"), ("datadam_code", "batch"), ("atom", "instance")])
def test_an_iteration_is_derived_from_its_named_generators(method, norm, iteration):
    options = {"width": 3, "norm": norm, "lam": 0.1, "statistics": "exact"}
    distiller = Distiller(toy(classes=2), 2, small(method, **options), seed=iteration)
    expected = iteration_of(distiller, iteration)
    assert_same(distiller.loss(iteration), expected, distiller.images, rtol=1e-4)


# ---- the maximum mean discrepancy by itself


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("kernel", ["linear", "polynomial", "gaussian"])
@pytest.mark.parametrize(("n", "m"), [(4, 2), (3, 3), (2, 5)])
def test_mmd_is_its_double_sums(kernel, unbiased, n, m):
    real, synthetic = normal(2, n, 5, dtype=torch.float64), normal(2, m, 5, seed=1, dtype=torch.float64) + 1
    synthetic.requires_grad_()
    found = mmd(real, synthetic, kernel, unbiased=unbiased)
    expected = torch.stack([slow_mmd(real[k], synthetic[k], kernel, unbiased) for k in range(2)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    one, other = (torch.autograd.grad(x.sum(), synthetic)[0] for x in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-12)
