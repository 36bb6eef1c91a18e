"""Recipes: what is in them, what may be changed, and what they refuse."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from functools import partial

import pytest
import torch
from samples import normal

from datadam_lite import DataDamError, Features, Recipe, objective, recipe, spatial
from datadam_lite.recipes import RECIPES


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


def test_the_power_is_that_of_the_spatial_attention():
    one = features()
    for p in (1.0, 2.0):
        term = objective(recipe("datadam", power=p))[0]
        assert torch.equal(term.represent(one), spatial(one.maps[0], p))


def test_names_of_terms_are_never_taken_twice():
    def embedding(maps):
        return maps.flatten(1)

    def mine1(maps):
        return maps.flatten(1)

    terms = objective(recipe("datadam", attention=[mine1, mine, mine, embedding, lambda m: m.flatten(1)]))
    assert len({term.name for term in terms}) == len(terms) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "spacial"}, r"unknown attention 'spacial'; the known ones are spatial"),
        ({"attention": ["spatial", "other"]}, r"unknown attention 'other'"),
        ({"network": "resnet"}, r"unknown network 'resnet'; the known ones are convnet"),
        ({"norm": "layer"}, r"unknown norm 'layer'"),
        ({"pooling": "min"}, r"unknown pooling 'min'"),
        ({"init": "noise"}, r"unknown initialisation 'noise'; the known ones are random, k_center"),
        ({"augmentation": "blur"}, r"unknown augmentation 'blur'"),
        ({"size": 3}, r"unknown recipe field 'size'; the known ones are name, attention, power"),
    ],
)
def test_unknown_names(changes, message):
    with pytest.raises(DataDamError, match=message):
        recipe("datadam", **changes)


def test_an_unknown_recipe():
    with pytest.raises(DataDamError, match=r"unknown recipe 'datadman'; the known ones are dm, datadam"):
        recipe("datadman")


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("field", ["iterations", "real_batch", "image_lr", "loss_scale", "power", "width", "depth"])
def test_what_must_be_positive(unchecked, field, value):
    with pytest.raises(DataDamError, match=rf"\b{field}\b.*; received {value}"):
        recipe("datadam", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", "many"),
        ("iterations", 2.5),
        ("width", 1.5),
        ("depth", "3"),
        ("real_batch", None),
        ("lam", "small"),
        ("lam", float("nan")),
        ("image_lr", float("inf")),
        ("image_momentum", -0.5),
        ("zca", "maybe"),
        ("zca_eps", -1.0),
        ("augmentation", 3),
        ("attention", 3),
        ("init", ["random"]),
    ],
)
def test_a_value_that_makes_no_sense_names_its_field(unchecked, field, value):
    with pytest.raises(DataDamError, match=rf"\b{field}\b"):
        recipe("datadam", **{field: value})


@pytest.mark.parametrize(
    ("shape", "whitened"), [((3, 32, 32), True), ((1, 32, 32), False), ((3, 64, 64), False), ((1, 8, 8), False)]
)
def test_whitening_goes_with_the_images_unless_it_is_decided(shape, whitened):
    assert recipe("datadam").for_images(shape).zca is whitened
    for decided in (False, True):
        assert recipe("datadam", zca=decided).for_images(shape).zca is decided
    assert replace(recipe("datadam").for_images(shape), zca=None) == recipe("datadam")


# ---- the description in the provenance


def test_a_description_is_plain_and_complete():
    described = recipe("datadam", attention=["spatial", mine]).describe()
    assert json.loads(json.dumps(described)) == described
    assert set(described) == {f.name for f in fields(Recipe)}


def test_functions_with_other_source_have_another_description():
    def one(maps):
        return maps.flatten(1)

    def two(maps):
        return maps.flatten(1).abs()

    two.__name__, two.__qualname__ = one.__name__, one.__qualname__
    first, second = (recipe("datadam", attention=f).describe() for f in (one, two))
    assert first != second
    assert "mine" in recipe("datadam", attention=mine).describe()["attention"][0]


def made(factor):
    """The same source, another function for every factor."""
    return lambda maps: maps.flatten(1) * factor


def given(default):
    """The same source, another default."""

    def function(maps, factor=default):
        return maps.flatten(1) * factor

    return function


@pytest.mark.parametrize("make", [made, given, lambda p: partial(spatial, p=p)])
def test_functions_that_hold_other_values_have_another_description(make):
    one, again, other = (recipe("datadam", attention=make(value)).describe() for value in (1.0, 1.0, 2.0))
    assert one == again
    assert one != other


FROM_TEXT = """
from functools import partial
from datadam_lite import recipe, spatial
space = {}
exec("class Typed:\\n def __call__(self, maps): return maps.flatten(1)", space)
exec("def typed(maps): return [m for m in maps.flatten(1)]", space)
attentions = [partial(spatial, p=2.0), space["typed"], space["Typed"]()]
print(recipe("datadam", attention=attentions).describe())
"""


def test_a_description_is_the_same_in_every_process(capsys):
    """Of functions that stand in no file, too: a checkpoint must know them again."""
    exec(FROM_TEXT, {})
    other = subprocess.run([sys.executable, "-c", FROM_TEXT], capture_output=True, text=True)
    assert other.stdout == capsys.readouterr().out, other.stderr
