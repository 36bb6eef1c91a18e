"""Labels: functions that compute something else have another description, the same in every process."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from datadam_lite import recipe
from datadam_lite.attention import spatial


def mine(maps):
    return maps.flatten(1)


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


def keyword_only(default):
    """The same source, another default that only a keyword sets."""

    def function(maps, *, factor=default):
        return maps.flatten(1) * factor

    return function


def notebook(cells, name="attention"):
    """A function as cells of a notebook define it: what it names are globals."""
    space = {"__name__": "__main__", "torch": torch}
    exec(cells, space)
    return space[name]


def reading_a_global(factor):
    return notebook(f"factor = {factor}\ndef attention(maps): return maps.flatten(1) * factor")


def reading_a_global_inside(factor):
    return notebook(f"factor = {factor}\ndef attention(maps): return [m * factor for m in maps.flatten(1)]")


def calling_a_helper(factor):
    return notebook(f"def h(x): return x * {factor}\ndef attention(maps): return h(maps.flatten(1))")


def calling_itself(factor):
    return notebook(f"def attention(maps, n=1): return attention(maps, 0) if n else maps.flatten(1) * {factor}")


class Scaled:
    """The same source, another attribute."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, maps):
        return maps.flatten(1) * self.factor

    vectors = __call__


MAKERS = [
    made, given, keyword_only, lambda p: partial(spatial, p=p), lambda p: partial(made(p)), reading_a_global,
    reading_a_global_inside, calling_a_helper, calling_itself, Scaled, lambda p: Scaled(p).vectors,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_functions_that_hold_other_values_have_another_description(make):
    one, again, other = (recipe("datadam", attention=make(value)).describe() for value in (1.0, 1.0, 2.0))
    assert one == again
    assert one != other


def test_globals_that_a_function_does_not_name_do_not_count():
    cells = "def attention(maps): return maps.flatten(1)"
    assert recipe("datadam", attention=notebook(cells)).describe() == (
        recipe("datadam", attention=notebook(cells + "\nflatten = 2")).describe()  # an attribute has that name
    )


FROM_TEXT = """
from functools import partial
from datadam_lite import recipe
space = {}
exec("class Typed:\\n def __call__(self, maps): return maps.flatten(1)", space)
exec("def typed(maps, n=1): return [m for m in maps.flatten(1) if str(m) in {'a', 'b', 'c'}]", space)
attentions = [partial(space["typed"], n=2.0), space["typed"], space["Typed"]()]
print(recipe("datadam", attention=attentions).describe())
"""


def test_a_description_is_the_same_in_every_process(capsys):
    """Of functions that stand in no file, too: a checkpoint must know them again."""
    exec(FROM_TEXT, {})
    seeded = {**os.environ, "PYTHONHASHSEED": "7"}  # which decides the order in a set
    other = subprocess.run([sys.executable, "-c", FROM_TEXT], capture_output=True, text=True, env=seeded)
    assert other.stdout == capsys.readouterr().out, other.stderr
