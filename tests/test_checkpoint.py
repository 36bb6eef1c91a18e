"""Checkpoint files: whole, refused, or as good as none; which run they belong to is tested with the loop."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import contents, normal

from datadam_lite import DataDamError
from datadam_lite.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
IDENTITY = {"seed": 0, "recipe": {"lam": 0.01, "attention": ["spatial"]}}
STATE = {"images": normal(3, 2, 2), "momentum": None, "losses": [[1.0, 2.0]]}


@pytest.fixture
def file(tmp_path):
    """A checkpoint."""
    save_checkpoint(tmp_path / "own/run.checkpoint", IDENTITY, STATE)
    return tmp_path / "own/run.checkpoint"


def test_what_is_saved_comes_back(file):
    stored = load_checkpoint(file, IDENTITY, CPU)
    assert torch.equal(stored["images"], STATE["images"])
    assert stored["momentum"] is None
    assert stored["losses"] == STATE["losses"]


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ({"seed": 1}, r"recipe is \{.*\} there and None here; seed is 0 there and 1 here\. Use another output name"),
        (IDENTITY | {"recipe": IDENTITY["recipe"] | {"lam": 1}}, r"recipe\.lam is 0\.01 there and 1 here\."),
        (IDENTITY | {"recipe": {"lam": 0.01}}, r"recipe\.attention is \['spatial'\] there and None here"),
        (IDENTITY | {"threads": 2}, r"threads is None there and 2 here"),
    ],
)
def test_what_differs_is_named_and_nothing_is_written(file, identity, message):
    before = contents(file.parent)
    with pytest.raises(DataDamError, match=message):
        load_checkpoint(file, identity, CPU)
    assert contents(file.parent) == before


NOT_READABLE = r"is not a readable checkpoint \(.*\); move it away to start from the beginning"


@pytest.mark.parametrize(
    "content",
    [b"", b"something else", {"format": 2, "identity": IDENTITY}, {"seed": 0}, [1, 2], {"format": 1, "identity": 3}],
    ids=["empty", "foreign", "another format", "no format", "a list", "no identity"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    file = tmp_path / "run.checkpoint"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(DataDamError, match=NOT_READABLE):
        load_checkpoint(file, IDENTITY, CPU)


class Code:
    """What a pickle could run if it were allowed to."""

    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


def test_a_checkpoint_cannot_run_code(tmp_path):
    torch.save({"format": 1, "identity": IDENTITY, "images": Code()}, tmp_path / "run.checkpoint")
    with pytest.raises(DataDamError, match=NOT_READABLE):
        load_checkpoint(tmp_path / "run.checkpoint", IDENTITY, CPU)


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1, exclude_max=True))
def test_a_checkpoint_cut_anywhere_is_refused(tmp_path_factory, share):
    file = tmp_path_factory.getbasetemp() / "cut.checkpoint"
    save_checkpoint(file, IDENTITY, STATE)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataDamError, match=NOT_READABLE):
        load_checkpoint(file, IDENTITY, CPU)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_checkpoint_with_flipped_bytes_loads_or_is_refused(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "flipped.checkpoint"
    save_checkpoint(file, IDENTITY, STATE)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with suppress(DataDamError):
        load_checkpoint(file, IDENTITY, CPU)


def test_a_full_disk_leaves_the_old_checkpoint(file, full_disk):
    before = contents(file.parent)
    with pytest.raises(DataDamError, match=r"could not write .*No space left on device.*Free some space"):
        save_checkpoint(file, IDENTITY, STATE | {"losses": [[3.0]]})
    assert contents(file.parent) == before
