"""Recipes: what is in them, what may be changed, and what they refuse."""

import json
from dataclasses import FrozenInstanceError, fields, replace
from functools import cache

import pytest
import torch
from samples import normal, small, toy

from datadam_lite import ATTENTION, RECIPES, DataDamError, Distiller, Features, Recipe, objective, recipe
from datadam_lite.attention import NORMALISE, channel, feature_map, spatial


def mine(maps):
    return maps.flatten(1)


def features():
    maps = [normal(2, 3, 4, 4), normal(2, 3, 2, 2)]
    return Features(maps, normal(2, 12), normal(2, 5))


def test_a_recipe_by_name_is_the_one_of_the_table():
    assert recipe("dm") is not None
    for name, stored in RECIPES.items():
        assert recipe(name) == stored
        assert stored.name == name


def test_changes_change_nothing_else():
    changed = recipe("datadam", iterations=7, zca=False)
    differing = {f.name for f in fields(Recipe) if getattr(changed, f.name) != getattr(RECIPES["datadam"], f.name)}
    assert differing == {"iterations", "zca"}
    assert recipe(changed, width=3) == replace(changed, width=3)


def test_a_recipe_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        recipe("dm").width = 3


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("spatial", ("spatial",)),
        (mine, (mine,)),
        (["spatial", mine], ("spatial", mine)),
        ((mine, mine), (mine, mine)),
        ([], ()),
    ],
)
def test_attention_may_be_a_name_a_function_or_a_list(given, stored):
    assert recipe("datadam", attention=given).attention == stored


def test_dm_matches_the_embedding_and_nothing_else():
    (term,) = objective(recipe("dm"))
    assert (term.name, term.weight) == ("embedding", 1.0)
    assert term.represent(features()) is not None


def test_every_attention_is_a_term_beside_the_embedding():
    terms = objective(recipe("datadam", attention=["spatial", mine, mine], lam=0.5, loss_scale=10.0))
    assert [term.name for term in terms] == ["spatial", "mine", "mine2", "embedding"]
    assert [term.weight for term in terms] == [10.0, 10.0, 10.0, 5.0]
    one = features()
    assert torch.equal(terms[1].represent(one), mine(one.maps[0]))
    assert torch.equal(terms[3].represent(one), one.embedding)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("dm", {"embedding": 1.0}),
        ("datadam", {"spatial": 1.0, "embedding": 0.01}),
        ("datadam_code", {"spatial": 100.0, "embedding": 1.0}),
        ("atom", {"spatial": 1.0, "channel": 1.0, "embedding": 0.01}),
        ("atom_channel", {"channel": 1.0, "embedding": 0.01}),
        ("atom_spatial", {"spatial": 1.0, "embedding": 0.01}),
        ("feature_map", {"feature_map": 1.0}),
    ],
)
def test_the_terms_of_every_recipe(method, names):
    terms = objective(recipe(method).for_images((3, 32, 32), 1))
    assert {term.name: term.weight for term in terms} == pytest.approx(names)
    assert [term.name for term in terms] == list(names)


def test_a_term_of_weight_0_is_left_out():
    terms = objective(recipe("atom", attention_weights=[0.0, 2.0], lam=0.0))
    assert [(term.name, term.weight) for term in terms] == [("channel", 2.0)]


@pytest.mark.parametrize("normalise", list(NORMALISE))
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_power_and_normalisation_are_those_of_the_attentions_by_name(p, normalise):
    one = features()
    chosen = recipe("datadam", attention=[*ATTENTION, spatial], power=p, normalise=normalise, lam=1.0)
    vectors = [term.represent(one) for term in objective(chosen)]
    maps = one.maps[0]
    expected = [spatial(maps, p, normalise), channel(maps, p, normalise), feature_map(maps, normalise), spatial(maps)]
    assert all(torch.equal(a, b) for a, b in zip(vectors[:4], expected, strict=True))
    assert torch.equal(vectors[4], one.embedding)


def test_lambda_must_be_decided_before_there_are_terms():
    with pytest.raises(DataDamError, match=r"lam depends on the images: call recipe.for_images\(shape, ipc\) first"):
        objective(recipe("datadam"))


def test_names_of_terms_are_never_taken_twice():
    def embedding(maps):
        return maps.flatten(1)

    def mine1(maps):
        return maps.flatten(1)

    terms = objective(recipe("datadam", attention=[mine1, mine, mine, embedding, lambda m: m.flatten(1)], lam=1.0))
    assert len({term.name for term in terms}) == len(terms) == 6


# ---- what is refused

BAD = {  # values that a command line or a notebook may pass by mistake
    "name": (3, None),
    "attention": ("spacial", ["spatial", "other"], 3, [["spatial"]], {"spatial": 1.0}, None),
    "attention_weights": ("heavy", [1.0, 2.0], [], [-1.0], [float("nan")], [True]),
    "power": (0, -1.0, "four", float("inf"), None, True),
    "normalise": ("l3", None, 2, ["l2"]),
    "layers": (0, -1, 1.5, "all", [], [1, 0], [4], [True]),
    "lam": (-0.01, "small", float("nan"), False),
    "kernel": ("cosine", None, 1),
    "unbiased": ("yes", 1, None),
    "loss_scale": (0, -1.0, "large", float("inf"), None),
    "iterations": (0, -1, "many", 2.5, True, None),
    "real_batch": (0, -1, 2.0, None),
    "synthetic_batch": (0, -1, 1.5, "all"),
    "image_lr": (0, -1.0, float("inf"), "fast"),
    "image_momentum": (-0.5, float("nan"), "half", None),
    "init": ("nosie", ["random"], None, 3),
    "augmentation": ("blur", "crop flip", 3, None),
    "statistics": ("mine", None, 3),
    "zca": ("maybe", 1),
    "zca_eps": (0, -1.0, "small", None, float("inf")),
    "zca_space": ("colours", None),
    "zca_refit": ("no", 0, None),
    "network": ("resnet", None, 3),
    "width": (0, -1, 1.5, None),
    "depth": (0, -1, "3", 1),
    "norm": ("switch", None),
    "norm_classes": (0, -1, 1.5, "all", 2),  # 2: the norm is another
    "activation": ("gelu", None),
    "pooling": ("min", None),
    "weights": ("zero", None),
}


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_bad_values_of_every_field_are_refused_by_its_name(unchecked, field):
    for value in BAD[field]:
        with pytest.raises(DataDamError, match=rf"\b{field.replace('init', 'initialisation|init')}\b") as caught:
            replace(recipe("datadam", depth=3), **{field: tuple(value) if isinstance(value, list) else value})
        message = str(caught.value)
        assert "received" in message or "the known ones are" in message, message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "spacial"}, r"unknown attention 'spacial'; the known ones are spatial, channel, feature_map"),
        ({"attention": [["spatial"]]}, r"unknown attention"),
        ({"attention_weights": "heavy"}, r"attention_weights must be a finite number; received 'heavy'"),
        ({"layers": "all"}, r"layers must be a whole number; received 'all'"),
        ({"network": "resnet"}, r"unknown network 'resnet'; the known ones are convnet, alexnet, vgg11"),
        ({"init": "nosie"}, r"unknown initialisation .*'nosie'; the known ones are noise, random, k_center"),
        ({"size": 3}, r"unknown recipe field 'size'; the known ones are name, attention, attention_weights"),
        ({"attention": [], "lam": 0.0}, r"nothing to match: lam is 0 and no attention has a weight; give one of them"),
        ({"attention_weights": 0.0, "lam": 0.0}, r"nothing to match"),
        ({"network": "vgg11", "depth": 3}, r"vgg11 has no depth; leave it at None, or use the convnet"),
        ({"network": "resnet18", "pooling": "max"}, r"resnet18 has no pooling; leave it at avg, or use the convnet"),
        ({"network": "vit", "norm": "batch"}, r"vit has no norm; leave it at instance, or use the convnet"),
        ({"depth": 2, "layers": 3}, r"layers must be different numbers of blocks, from 1 to the depth; received \[3\]"),
    ],
)
def test_what_does_not_go_together(unchecked, changes, message):
    with pytest.raises(DataDamError, match=message):
        recipe("datadam", **changes)


def test_an_unknown_recipe():
    with pytest.raises(DataDamError, match=r"unknown recipe 'datadman'; the known ones are dm, datadam, datadam_code"):
        recipe("datadman")


# ---- what the images decide


@pytest.mark.parametrize(
    ("shape", "ipc", "zca", "lam", "image_lr"),
    [
        ((3, 32, 32), 1, True, 0.01, 1.0),
        ((3, 32, 32), 50, True, 0.01, 1.0),
        ((3, 32, 32), 51, True, 0.01, 10.0),
        ((1, 32, 32), 10, False, 0.01, 1.0),
        ((1, 8, 8), 1, False, 0.01, 1.0),
        ((3, 63, 63), 1, False, 0.01, 1.0),
        ((3, 64, 64), 100, False, 0.02, 10.0),
        ((3, 128, 128), 1, False, 0.02, 1.0),
    ],
)
def test_the_images_and_their_number_decide_what_is_open(shape, ipc, zca, lam, image_lr):
    decided = recipe("datadam").for_images(shape, ipc)
    assert (decided.zca, decided.lam, decided.image_lr) == (zca, lam, image_lr)
    assert replace(decided, zca=None, lam=None, image_lr=None) == recipe("datadam")


@pytest.mark.parametrize(("zca", "lam", "image_lr"), [(True, 0.0, 7.0), (False, 3.0, 1.0)])
def test_what_is_decided_stays(zca, lam, image_lr):
    given = recipe("datadam", zca=zca, lam=lam, image_lr=image_lr)
    for shape, ipc in (((3, 32, 32), 1), ((3, 64, 64), 100)):
        assert given.for_images(shape, ipc) == given


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("convnet", {"width": 128, "depth": None, "norm": "instance", "activation": "relu", "pooling": "avg"}),
        ("alexnet", {"norm": "instance"}),
        ("vgg11", {"norm": "instance"}),
        ("resnet18", {"norm": "instance"}),
        ("vit", {"dropout": 0.0}),  # it would draw from the global stream
    ],
)
def test_a_network_is_given_the_options_that_it_has(network, options):
    assert recipe("dm", network=network).network_options() == options


# ---- every field does something

OTHERWISE = {  # another value for every field; and what must be chosen with it, before and after, to see it
    "name": ("mine", {}),
    "attention": ("channel", {}),
    "attention_weights": (2.0, {}),
    "power": (2.0, {}),
    "normalise": ("l1", {}),
    "layers": (1, {}),
    "lam": (0.5, {}),
    "kernel": ("gaussian", {"lam": 1.0}),
    "unbiased": (True, {"lam": 1.0, "kernel": "gaussian"}),
    "loss_scale": (2.0, {}),
    "iterations": (1, {}),
    "real_batch": (3, {}),
    "synthetic_batch": (1, {}),
    "image_lr": (0.2, {}),
    "image_momentum": (0.0, {}),
    "init": ("noise", {}),
    "augmentation": ("crop", {}),
    "statistics": ("field", {}),
    "zca": (True, {}),
    "zca_eps": (1.0, {"zca": True}),
    "zca_space": ("pixels", {"zca": True}),
    "zca_refit": (True, {"zca": True}),
    "network": ("vit", {"attention": (), "width": 128}),
    "width": (8, {}),
    "depth": (2, {}),
    "norm": ("batch", {}),
    "norm_classes": (1, {"norm": "batch"}),
    "activation": ("sigmoid", {}),
    "pooling": ("max", {}),
    "weights": ("normal", {}),
}


@cache
def images_of(**changes):
    """What two iterations of a run come to."""
    distiller = Distiller(replace(toy(classes=2), name="cifar10"), 2, small(**{"iterations": 2, "lam": 0.1} | changes))
    return [distiller.images.detach().clone() for _ in distiller]


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe) if field.name != "name"])
def test_every_field_changes_the_images(field):
    """A field that changed nothing would do nothing."""
    value, with_ = OTHERWISE[field]
    before, after = images_of(**with_), images_of(**with_, **{field: value})
    assert not torch.equal(before[-1], after[-1])


def test_the_name_is_that_of_the_method():
    assert Distiller(toy(), 1, replace(small(), name="mine")).synthetic().provenance["method"] == "mine"


@pytest.mark.parametrize("options", [{}, {"zca": True}], ids=str)
def test_statistics_of_the_field_change_mean_and_deviation_and_nothing_else(options):
    train = replace(toy(), name="cifar10")
    exact, field = (Distiller(train, 1, small(statistics=s, **options)) for s in ("exact", "field"))
    torch.testing.assert_close(field.preprocess.mean, torch.tensor([0.4914, 0.4822, 0.4465]))
    torch.testing.assert_close(field.preprocess.std, torch.tensor([0.2023, 0.1994, 0.2010]))
    assert not torch.allclose(exact.preprocess.mean, field.preprocess.mean)
    assert torch.equal(exact.initial_rows, field.initial_rows)
    assert replace(exact.recipe, statistics="field") == field.recipe
    for distiller in (exact, field):
        restored = distiller.preprocess.invert(distiller.images.detach())
        torch.testing.assert_close(restored, train.images[exact.initial_rows] / 255, rtol=0, atol=1e-4)


def test_a_transformer_is_matched_without_random_numbers_of_its_own():
    """Its dropout takes no generator."""
    chosen, losses = recipe("dm", network="vit", real_batch=2), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        losses.append(Distiller(toy(classes=2), 1, chosen).loss(1))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("depth", [2, 3])
def test_depth_width_norm_activation_and_pooling_reach_the_network(depth):
    chosen = small(depth=depth, width=6, norm="batch", activation="sigmoid", pooling="max")
    network = Distiller(toy(), 1, chosen).network
    kinds = {type(layer) for layer in network.modules()}
    assert len(network.convs) == depth
    assert {conv.out_channels for conv in network.convs} == {6}
    assert {torch.nn.BatchNorm2d, torch.nn.Sigmoid, torch.nn.MaxPool2d} <= kinds
    assert not {torch.nn.GroupNorm, torch.nn.ReLU, torch.nn.AvgPool2d} & kinds


# ---- the description in the provenance


def test_a_description_is_plain_and_complete():
    described = recipe("datadam", attention=["spatial", mine]).describe()
    assert json.loads(json.dumps(described)) == described
    assert set(described) == {f.name for f in fields(Recipe)}


def test_a_layer_counts_once():
    with pytest.raises(DataDamError, match=r"layers must be different numbers of blocks.*received \[1, 1\]"):
        recipe("datadam", layers=[1, 1])


def test_released_code_has_one_learning_rate():
    for name, lr in (("dm", 1.0), ("datadam_code", 1.0), ("datadam", 10.0), ("atom", 10.0)):
        assert recipe(name).for_images((3, 32, 32), ipc=100).image_lr == lr


def test_a_recipe_that_is_no_name(unchecked):
    with pytest.raises(DataDamError, match=r"recipe must be text; received \['dm'\]"):
        recipe(["dm"])
