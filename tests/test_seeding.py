"""Random streams depend on their names and on nothing else."""

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datadam_lite import generator

names = st.lists(st.text("abc1", min_size=1, max_size=3) | st.integers(0, 99), max_size=3)


def first(seed, *names):
    return torch.randint(2**62, (1,), generator=generator(seed, *names)).item()


@example(1, [1], 11, [])
@example(0, ["a", "bc"], 0, ["ab", "c"])
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 9), names, st.integers(0, 9), names)
def test_streams_are_equal_exactly_when_their_names_are(seed, one, other_seed, other):
    same = (str(seed), *map(str, one)) == (str(other_seed), *map(str, other))
    assert (first(seed, *one) == first(other_seed, *other)) == same


def test_a_stream_ignores_the_global_state():
    before = first(0, "x")
    torch.manual_seed(5)
    torch.rand(3)
    assert first(0, "x") == before


def test_the_stream_lives_on_the_device_asked_for():
    assert generator(0, "x", device="cpu").device == torch.device("cpu")
