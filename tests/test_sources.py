"""Sources: every constant of every recipe has one, and no source is of nothing."""

from dataclasses import fields

import pytest

from datadam_lite import RECIPES, DataDamError, Recipe
from datadam_lite.sources import DATADAM, OTHERS, describe, source

FIELDS = [field.name for field in fields(Recipe) if field.name != "name"]
recipes = pytest.mark.parametrize("name", list(RECIPES))


@recipes
def test_every_field_of_every_recipe_has_a_source(name):
    for field in FIELDS:
        assert source(name, field).strip(), field


def test_every_source_is_of_a_field_and_a_recipe_that_exist():
    assert set(DATADAM) == set(FIELDS)
    assert set(OTHERS) == set(RECIPES) - {"datadam"}
    assert all(set(sources) <= set(FIELDS) for sources in OTHERS.values())


@recipes
def test_what_differs_from_datadam_has_a_source_of_its_own(name):
    """Else a changed constant would be said to come from DataDAM."""
    differing = {field for field in FIELDS if getattr(RECIPES[name], field) != getattr(RECIPES["datadam"], field)}
    assert differing <= set(OTHERS.get(name, {}))


@pytest.mark.parametrize("name", ["atom", "atom_channel", "atom_spatial"])
def test_what_no_code_was_released_for_is_said_to_be_inferred(name):
    documented = {"attention", "layers", "zca", "zca_eps", "augmentation", "init"}
    assert {field for field in FIELDS if "inferred" not in source(name, field)} == documented


@recipes
def test_a_description_has_a_line_for_every_field(name):
    title, *lines = describe(name).splitlines()
    assert title == name
    assert [line.split()[0] for line in lines] == FIELDS
    for field, line in zip(FIELDS, lines, strict=True):
        assert line.endswith(source(name, field))
        value = getattr(RECIPES[name], field)
        shown = ", ".join(value) if field == "attention" else str(value)
        assert line.removeprefix(field).strip().startswith(shown)


@pytest.mark.parametrize(
    ("name", "field", "message"),
    [
        ("datadman", "power", "unknown recipe 'datadman'; the known ones are dm, datadam"),
        ("atom", "powers", "unknown recipe field 'powers'; the known ones are attention"),
    ],
)
def test_unknown_names(name, field, message):
    with pytest.raises(DataDamError, match=message):
        source(name, field)
