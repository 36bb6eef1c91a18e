"""The loss: what must hold of any of them. test_oracle.py has its equations, term by term."""

import pytest
import torch
from samples import normal

from datadam_lite import (
    KERNELS,
    RECIPES,
    ConvNet,
    DataDamError,
    Features,
    channel,
    class_vectors,
    generator,
    matching_loss,
    objective,
    recipe,
    reset,
    spatial,
)
from datadam_lite.objectives import Term, attended, embedding

CLASSES = 3
norms = pytest.mark.parametrize("norm", ["instance", "batch"])
methods = pytest.mark.parametrize("method", list(RECIPES))


def network_(norm="instance", width=4, shape=(3, 8, 8), **options):
    return reset(ConvNet(shape, CLASSES, width=width, norm=norm, **options).double(), generator(0, "test"))


def batches(n=4, m=2):
    """Real and synthetic images, class-major."""
    return normal(CLASSES * n, 3, 8, 8, dtype=torch.float64), normal(CLASSES * m, 3, 8, 8, seed=1, dtype=torch.float64)


def loss(given, network, real, synthetic, classes=CLASSES):
    terms = objective(given.for_images((3, 8, 8), 1))
    return matching_loss(terms, *(class_vectors(network, terms, x, classes) for x in (real, synthetic)))


def assert_zero(terms):
    assert terms
    for term in terms.values():
        torch.testing.assert_close(term, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-10)


def by_class(images):
    return images.unflatten(0, (CLASSES, -1))


# ---- equivalences


@norms
def test_dm_is_datadam_of_lambda_1_without_attention(norm):
    network, (real, synthetic) = network_(norm), batches()
    one = loss(recipe("dm"), network, real, synthetic)
    other = loss(recipe("datadam", attention=[], lam=1.0), network, real, synthetic)
    assert one == other
    assert list(one) == ["embedding"]


@norms
def test_atom_is_the_sum_of_its_parts(norm):
    network, (real, synthetic) = network_(norm), batches()
    atom, of_channel, of_space, datadam = (
        loss(recipe(name), network, real, synthetic) for name in ("atom", "atom_channel", "atom_spatial", "datadam")
    )
    assert atom == of_channel | of_space
    assert of_space == datadam


@norms
@methods
def test_the_loss_is_zero_when_synthetic_equals_real(method, norm):
    """Exactly so for the means of the same vectors; other kernels round."""
    real, _ = batches()
    assert all(term == 0 for term in loss(recipe(method), network_(norm), real, real.clone()).values())
    for kernel in KERNELS:
        assert_zero(loss(recipe(method, lam=1.0, kernel=kernel), network_(norm), real, real.clone()))


@norms
@pytest.mark.parametrize("kernel", list(KERNELS))
@methods
def test_copies_and_order_within_a_class_do_not_matter(method, kernel, norm):
    real, _ = batches()
    repeated = by_class(real).flip(1).repeat(1, 2, 1, 1, 1).flatten(0, 1)
    assert_zero(loss(recipe(method, lam=1.0, kernel=kernel), network_(norm), real, repeated))


@methods
def test_the_order_of_the_classes_does(method):
    network, (real, synthetic) = network_(), batches()
    total = sum(loss(recipe(method), network, real, synthetic).values())
    between = by_class(real).roll(1, 0).flatten(0, 1)
    assert (sum(loss(recipe(method), network, between, synthetic).values()) - total).abs() > 1e-3 * total


def together_and_apart(given, network):
    """The terms of all classes in one pass, and the sum of those of each class in a pass of its own."""
    real, synthetic = batches()
    parts = zip(real.chunk(CLASSES), synthetic.chunk(CLASSES), strict=True)
    apart = [loss(given, network, a, b, classes=1) for a, b in parts]
    together = loss(given, network, real, synthetic)
    return together, {name: sum(part[name] for part in apart) for name in together}


@pytest.mark.parametrize("norm", ["instance", "layer", "group", "none"])
@methods
def test_classes_may_be_taken_one_by_one(method, norm):
    together, apart = together_and_apart(recipe(method), network_(norm))
    for name, term in together.items():
        torch.testing.assert_close(term, apart[name])


@methods
def test_but_not_under_batch_norm(method):
    """Each class would be measured by statistics of its own."""
    together, apart = together_and_apart(recipe(method), network_("batch"))
    for name, term in together.items():
        assert (term - apart[name]).abs() > 1e-3 * term


@norms
@methods
def test_the_gradient_is_that_of_finite_differences(method, norm):
    network = network_(norm, width=2).requires_grad_(False)
    real, synthetic = batches(n=2, m=1)
    given = recipe(method, lam=0.5, loss_scale=10.0)
    directions = normal(3, *synthetic.shape, seed=2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(
        sum(loss(given, network, real, synthetic.requires_grad_()).values()), synthetic
    )
    with torch.no_grad():
        for direction in directions:
            ahead, behind = (sum(loss(given, network, real, synthetic + s * direction).values()) for s in (1e-6, -1e-6))
            torch.testing.assert_close((gradient * direction).sum(), (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-7)


# ---- weights and names


def test_weights_multiply_their_terms():
    network, (real, synthetic) = network_(), batches()
    plain = loss(recipe("atom", lam=1.0), network, real, synthetic)
    weighted = loss(
        recipe("atom", lam=0.25, loss_scale=3.0, attention_weights=[2.0, 0.5]), network, real, synthetic
    )
    for name, factor in {"spatial": 6.0, "channel": 1.5, "embedding": 0.75}.items():
        torch.testing.assert_close(weighted[name], factor * plain[name])


def test_the_kernel_is_that_of_the_embedding_alone():
    network, (real, synthetic) = network_(), batches()
    linear, other = (loss(recipe("atom", kernel=k), network, real, synthetic) for k in ("linear", "gaussian"))
    assert linear["embedding"] != other["embedding"]
    assert all(linear[name] == other[name] for name in ("spatial", "channel"))


def test_a_term_may_have_a_distance_of_its_own():
    def largest(real, synthetic):
        return (real.mean(1) - synthetic.mean(1)).abs().amax(1)

    real, synthetic = [torch.zeros(2, 3, 4)], [torch.ones(2, 1, 4)]
    found = matching_loss([Term("largest", 0.5, embedding, largest)], real, synthetic)
    assert {name: term.item() for name, term in found.items()} == {"largest": 1.0}


def test_every_term_needs_its_vectors():
    with pytest.raises(ValueError, match="shorter"):
        matching_loss([Term("embedding", 1.0, embedding)], [], [])


# ---- representations


def test_class_vectors_are_the_vectors_of_each_class():
    network, (real, _) = network_(), batches()
    terms = [Term("embedding", 1.0, embedding), Term("spatial", 1.0, attended(spatial))]
    features = network(real)
    for term, vectors in zip(terms, class_vectors(network, terms, real, CLASSES), strict=True):
        r = term.represent(features)
        for k in range(CLASSES):
            assert torch.equal(vectors[k], r[4 * k : 4 * k + 4])


def test_float64_is_not_rounded():
    network, (real, _) = network_(), batches()
    (vectors,) = class_vectors(network, [Term("embedding", 1.0, embedding)], real, CLASSES)
    assert vectors.dtype == torch.float64


def test_low_precision_is_averaged_in_float32():
    """The mean of 4097 ones: bfloat16 cannot even count that far."""
    term = Term("ones", 1.0, lambda features: torch.ones(4097, 1, dtype=torch.bfloat16))
    (vectors,) = class_vectors(torch.nn.Identity(), [term], torch.zeros(4097, 1, 1, 1), 1)
    assert vectors.dtype == torch.float32
    assert matching_loss([term], [vectors], [torch.zeros(1, 1, 1)])["ones"].item() == 1


def test_attended_lays_all_blocks_but_the_last_end_to_end():
    features = network_()(batches()[0])
    vectors = attended(spatial)(features)
    assert torch.equal(vectors, torch.cat([spatial(maps) for maps in features.maps[:-1]], 1))
    assert vectors.shape == (CLASSES * 4, 8 * 8 + 4 * 4)


@pytest.mark.parametrize("layers", [(1,), (3,), (1, 3), (2, 1), (1, 2, 3)])
def test_attended_takes_the_layers_it_is_given_from_1(layers):
    features = network_()(batches()[0])
    expected = torch.cat([channel(features.maps[layer - 1]) for layer in layers], 1)
    assert torch.equal(attended(channel, layers)(features), expected)


@pytest.mark.parametrize(
    ("maps", "layers", "message"),
    [
        (2, (3,), r"of layers \[3\], but this network has 2; "),
        (2, (1, 5), r"of layers \[1, 5\], but this network has 2; "),
        (1, None, r"of all layers but the last, but this network has 1; "),
        (0, None, r"but this network has 0; a transformer has none: match its embedding \(recipe dm\)"),
    ],
)
def test_layers_that_a_network_does_not_have(maps, layers, message):
    features = Features([normal(2, 3, 4, 4)] * maps, normal(2, 5), normal(2, 3))
    with pytest.raises(DataDamError, match=message):
        attended(spatial, layers)(features)
