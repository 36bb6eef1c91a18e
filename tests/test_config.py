"""The object behind a run, and the file that repeats it."""

import json
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datadam_lite import RECIPES, DataDamError, Recipe, Settings, recipe, spatial
from datadam_lite.config import Config

SMALL = recipe("atom", width=4, real_batch=4, iterations=2, layers=[1], attention_weights=[1.0, 0.5])


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_the_round_trip(name):
    computed = Settings("cpu", "bfloat16", True, 7)
    config = Config("digits", ipc=3, recipe=RECIPES[name], seed=5, size=8, settings=computed)
    text = config.to_json()
    assert Config.from_json(text) == config
    assert Config.from_json(text).to_json() == text


def test_the_file_spells_out_every_constant():
    written = json.loads(Config("digits").to_json())
    assert written.keys() == {field.name for field in fields(Config)}
    assert written["recipe"].keys() == {field.name for field in fields(Recipe)}
    assert written["settings"].keys() == {field.name for field in fields(Settings)}


def test_a_recipe_can_be_a_name_or_the_fields_that_differ():
    assert Config.from_json('{"data": "x", "recipe": "dm"}').recipe == RECIPES["dm"]
    written = {"data": "x", "recipe": {"name": "dm", "iterations": 5, "attention": "channel", "layers": [1, 2]}}
    changed = recipe("dm", iterations=5, attention="channel", layers=(1, 2))
    assert Config.from_json(json.dumps(written)).recipe == changed


def test_a_complete_recipe_may_have_a_name_of_its_own():
    config = Config("digits", recipe=replace(SMALL, name="mine"))
    assert Config.from_json(config.to_json()) == config


def test_what_is_left_out_has_the_default():
    assert Config.from_json('{"data": "x"}') == Config("x")
    assert Config.from_json('{"data": "x", "settings": {"device": "cpu"}}').settings == Settings("cpu")


def test_a_run_repeats_to_the_same_bytes(tmp_path):
    config = Config("digits", ipc=2, recipe=SMALL, seed=3)
    (tmp_path / "run.json").write_text(config.to_json())
    torch.rand(3)  # the global stream has no part in it
    one, other = config.run(), Config.load(tmp_path / "run.json").run()
    assert one.save(tmp_path / "one").read_bytes() == other.save(tmp_path / "other").read_bytes()
    assert replace(config, seed=4).run().save(tmp_path / "third").read_bytes() != (tmp_path / "one").read_bytes()


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    Config("digits", recipe=SMALL, settings=Settings(checkpoint_every=1)).run(checkpoint)
    assert checkpoint.exists()
    with pytest.raises(DataDamError, match="seed is 0 there and 1 here"):
        Config("digits", recipe=SMALL, seed=1, settings=Settings(checkpoint_every=1)).run(checkpoint)


def test_size_reaches_the_images():
    with pytest.raises(DataDamError, match="size"):
        Config("digits", recipe=SMALL, size=16).run()


def test_a_function_is_not_written():
    with pytest.raises(DataDamError, match="holds attentions by name; received a function, <function spatial"):
        Config("digits", recipe=recipe("datadam", attention=spatial)).to_json()


BAD = {
    "": "must be JSON",
    '{"data": "x"': "must be JSON",
    "[]": r"a configuration must be a JSON object, {…}; received \[\]",
    "{}": 'needs "data"',
    '{"data": 3}': "data must be text; received 3",
    '{"data": "x", "sead": 1}': "unknown key of a configuration 'sead'; the known ones are data, root",
    '{"data": "x", "ipc": 1.5}': "ipc must be a whole number; received 1.5",
    '{"data": "x", "seed": true}': "seed must be a whole number; received True",
    '{"data": "x", "seed": NaN}': "seed must be a whole number; received nan",
    '{"data": "x", "recipe": "dn"}': "unknown recipe 'dn'",
    '{"data": "x", "recipe": 3}': "a recipe must be a JSON object",
    '{"data": "x", "recipe": {"width": 3}}': 'a recipe needs a "name": dm, datadam',
    '{"data": "x", "recipe": {"name": ["dm"]}}': "name must be text",
    '{"data": "x", "recipe": {"name": "dm", "widht": 3}}': "unknown key of a recipe 'widht'",
    '{"data": "x", "recipe": {"name": "dm", "width": "3"}}': "width must be a whole number; received '3'",
    '{"data": "x", "recipe": {"name": "dm", "attention": "spacial"}}': "unknown attention 'spacial'",
    '{"data": "x", "settings": {"devise": "cpu"}}': "unknown key of settings 'devise'",
    '{"data": "x", "settings": {"compile": "no"}}': "compile must be true or false; received 'no'",
    '{"data": "x", "settings": {"precision": "half"}}': "unknown precision 'half'",
    '{"data": "x", "settings": null}': "settings must be a JSON object",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_files_are_refused_in_one_sentence(text, tmp_path, unchecked):
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(DataDamError, match=BAD[text]) as refusal:
        Config.load(file)
    assert str(refusal.value).startswith(f"{file}: ")
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataDamError, match=r"could not read .*missing: No such file"):
        Config.load(tmp_path / "missing")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataDamError, match="bytes is no text; expected a configuration"):
        Config.load(tmp_path / "bytes")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["dm", "spatial"]),
    lambda inner: st.lists(inner, max_size=3), max_leaves=4,
)  # fmt: skip
KEYS = {
    "": [field.name for field in fields(Config)], "recipe": [field.name for field in fields(Recipe)],
    "settings": [field.name for field in fields(Settings)],
}  # fmt: skip


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_json_is_a_configuration_or_is_refused(unchecked, data):
    where = data.draw(st.sampled_from(list(KEYS)))
    bad = {data.draw(st.sampled_from(KEYS[where])): data.draw(VALUES)}
    written = {"data": "x", "recipe": {"name": "dm"}, "settings": {}}
    written = written | bad if not where else written | {where: written[where] | bad}
    try:
        config = Config.from_json(json.dumps(written))
    except DataDamError:
        return
    assert Config.from_json(config.to_json()) == config
