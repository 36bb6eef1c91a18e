"""Labels: functions that compute something else have another description, the same in every process."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from datadam_lite import recipe
from datadam_lite.attention import spatial
from datadam_lite.labels import label


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
    space = {"__name__": "__main__", "torch": torch, "spatial": spatial}
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


def reading_a_container(text):
    """A function that names a global, of this source for every factor."""
    return lambda factor: notebook(f"w = {text.format(factor)}\ndef attention(maps): return weigh(maps, w)")


class Layer(nn.Module):
    """The same source, another parameter or buffer."""

    def __init__(self, **state):
        super().__init__()
        for name, value in state.items():
            (self.register_parameter if isinstance(value, nn.Parameter) else self.register_buffer)(name, value)

    def forward(self, maps):
        return maps.flatten(1)


def of_a_network(factor):
    """A function that closes over a module in another."""
    network = nn.Sequential(Layer(scale=nn.Parameter(torch.tensor(factor))))
    return lambda maps: network(maps)


CONTAINERS = [
    "[1.0, {}]", "(1.0, {})", "dict(a=1.0, b={})", "[[], dict(a=({},))]", "torch.tensor([0.1, {}])",
    "torch.full((2000,), 1e-9).index_fill(0, torch.tensor(1000), {})", "[torch.tensor({})]", "dict(a=[spatial, {}])",
    "torch.ones(4)[::2] * {}", "torch.tensor({}, dtype=torch.bfloat16)", "torch.tensor({} + 1j).conj()",
]  # fmt: skip

MAKERS = [
    *map(reading_a_container, CONTAINERS), lambda p: made(np.full(3, p)), lambda p: given([p]), lambda p: Scaled([p]),
    lambda p: Scaled([p]).vectors, lambda p: partial(spatial, p=torch.tensor(1 + p / 1e6)), of_a_network,
    lambda p: Layer(scale=nn.Parameter(torch.tensor(p))), lambda p: Layer(mask=torch.tensor(p)),
    lambda p: Layer(mask=torch.tensor(p)).forward, lambda p: made(nn.AvgPool2d(int(p))),
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


@pytest.mark.parametrize("value", [torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, dtype=torch.int32)])
def test_shape_and_type_of_a_tensor_count(value):
    assert label(made(value)) != label(made(torch.zeros(1)))


def test_what_holds_no_numbers_does_not_count():
    """The order of a dictionary neither."""
    assert len({label(made(value)) for value in ([], {}, (), [spatial], {"a": spatial}, spatial)}) == 1
    assert label(made({"a": 1.0, "b": 2.0})) == label(made({"b": 2.0, "a": 1.0}))


def test_a_function_that_changes_what_it_holds_has_another_label_afterwards():
    log = []
    before = label(made(log))
    log.append(1)
    assert label(made(log)) != before


def test_running_statistics_count_only_where_they_are_used():
    norm = nn.BatchNorm2d(3)
    before = label(made(norm))
    norm(torch.rand(2, 3, 4, 4))
    assert label(made(norm)) == before
    used = label(made(norm.eval()))
    norm.running_mean += 1
    assert label(made(norm)) != used


FROM_TEXT = """
from functools import partial
import torch
from torch import nn
from datadam_lite import recipe
space = {}
exec("class Typed:\\n def __call__(self, maps): return maps.flatten(1)", space)
exec("def typed(maps, n=1): return [m for m in maps.flatten(1) if str(m) in {'a', 'b', 'c'}]", space)
space["w"] = {"b": torch.arange(3.0), "a": [1, (nn.AvgPool2d(2), 2.0)]}
exec("def weighed(maps): return maps.flatten(1) * w['b']", space)
attentions = [partial(space["typed"], n=2.0), space["typed"], space["Typed"](), space["weighed"]]
print(recipe("datadam", attention=attentions).describe())
"""


def test_a_description_is_the_same_in_every_process(capsys):
    """Of functions that stand in no file, too: a checkpoint must know them again."""
    exec(FROM_TEXT, {})
    seeded = {**os.environ, "PYTHONHASHSEED": "7"}  # which decides the order in a set
    other = subprocess.run([sys.executable, "-c", FROM_TEXT], capture_output=True, text=True, env=seeded)
    assert other.stdout == capsys.readouterr().out, other.stderr
