"""Checkpoint files: whole, damaged, or somebody else's; that runs go on from them is tested in test_resume.py."""

import hashlib
import os
from io import BytesIO
from pathlib import Path

import pytest
import torch
from samples import contents, normal

from datadam_lite import DataDamError
from datadam_lite.checkpoint import checkpoint_exists, discard_checkpoint, load_checkpoint, save_checkpoint
from datadam_lite.provenance import code_sha256

CPU = torch.device("cpu")
IDENTITY = {"seed": 0, "recipe": {"lam": 0.01, "attention": ["spatial"]}}
STATE = {"images": normal(3, 2, 2), "momentum": None, "losses": [[1.0, 2.0]]}
LATER = STATE | {"losses": [[1.0, 2.0], [3.0, 4.0]]}


@pytest.fixture
def file(tmp_path):
    """A checkpoint."""
    save_checkpoint(tmp_path / "own/run.checkpoint", IDENTITY, STATE)
    return tmp_path / "own/run.checkpoint"


@pytest.fixture
def two(file):
    """Two checkpoints of a run; the path of the last one."""
    save_checkpoint(file, IDENTITY, LATER)
    return file


def before(file):
    """Where the checkpoint before it is."""
    return file.with_name(f"{file.name}.previous")


def losses(file, identity=IDENTITY):
    return load_checkpoint(file, identity, CPU)["losses"]


def assert_refused(file, message, identity=IDENTITY):
    """It can't be loaded, for that reason, and no file is touched."""
    files = contents(file.parent)
    with pytest.raises(DataDamError, match=message):
        load_checkpoint(file, identity, CPU)
    assert contents(file.parent) == files


def test_what_is_saved_comes_back(file):
    stored = load_checkpoint(file, IDENTITY, CPU)
    assert torch.equal(stored["images"], STATE["images"])
    assert stored["momentum"] is None
    assert stored["losses"] == STATE["losses"]


def test_the_last_two_are_kept(two):
    first = before(two).read_bytes()
    assert losses(two) == LATER["losses"]
    assert losses(before(two)) == STATE["losses"]
    save_checkpoint(two, IDENTITY, LATER)
    assert set(contents(two.parent)) == {two.name, before(two).name}
    assert before(two).read_bytes() != first


# ---- of another run


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ({"seed": 1}, r"recipe is \{.*\} there and None here; seed is 0 there and 1 here\. Use another output name"),
        (IDENTITY | {"recipe": IDENTITY["recipe"] | {"lam": 1}}, r"recipe\.lam is 0\.01 there and 1 here\."),
        (IDENTITY | {"recipe": {"lam": 0.01}}, r"recipe\.attention is \['spatial'\] there and None here"),
        (IDENTITY | {"threads": 2}, r"threads is None there and 2 here"),
    ],
)
def test_what_differs_is_named(file, identity, message):
    assert_refused(file, message, identity)


def test_the_one_before_is_no_way_around_another_run(file):
    save_checkpoint(file, IDENTITY | {"seed": 1}, STATE)
    assert losses(before(file)) == STATE["losses"]
    assert_refused(file, r"run\.checkpoint belongs to another run: seed is 1 there and 0 here")


def test_the_one_before_must_be_of_this_run_too(two):
    two.write_bytes(b"")
    assert_refused(two, r"previous belongs to another run: seed is 0 there and 1 here", IDENTITY | {"seed": 1})


# ---- damage


def format_1():
    """What earlier versions wrote."""
    buffer = BytesIO()
    torch.save({"format": 1, "identity": IDENTITY, **STATE}, buffer)
    return buffer.getvalue()


DAMAGE = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[:-1],
    "longer": lambda whole: whole + b"x",
    "two flipped bytes": lambda whole: whole[:300] + bytes(reversed(whole[300:302])) + whole[302:],
    "zeros": lambda whole: bytes(len(whole)),
    "foreign": lambda whole: b"something else",
    "format 1": lambda whole: format_1(),
}


def damage(file, kind):
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[kind](whole))
    assert file.read_bytes() != whole


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_refused_where_there_is_none_before_it(file, kind):
    damage(file, kind)
    assert_refused(
        file,
        r"no checkpoint to go on from: .*run\.checkpoint is not a readable checkpoint \(its first line is not the .*\);"
        r" .*run\.checkpoint\.previous is missing\. Move away what is there to start from the beginning\.",
    )


@pytest.mark.parametrize("kind", [*DAMAGE, "missing"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before_it(two, kind):
    two.unlink() if kind == "missing" else damage(two, kind)
    files = contents(two.parent)
    what = "is missing" if kind == "missing" else r"is not a readable checkpoint \(.*\)"
    text = rf"run\.checkpoint {what}; going on from .*\.previous, the one before it, at iteration 1\. What came after"
    with pytest.warns(UserWarning, match=text):
        assert losses(two) == STATE["losses"]
    assert contents(two.parent) == files


def test_format_1_is_named(file):
    damage(file, "format 1")
    assert_refused(file, "unless it is one of format 1, which earlier versions wrote")


def test_both_are_damaged(two):
    damage(two, "cut")
    damage(before(two), "empty")
    assert_refused(two, r"checkpoint is not a readable .*; .*previous is not a readable .*\. Move away what is there")


def test_a_path_where_nothing_ever_was(tmp_path):
    assert_refused(tmp_path / "typo", r"no checkpoint to go on from: .*typo is missing; .*typo\.previous is missing")


def test_a_damaged_checkpoint_does_not_push_out_a_good_one(two):
    damage(two, "cut")
    save_checkpoint(two, IDENTITY, LATER)
    assert losses(two) == LATER["losses"]
    assert losses(before(two)) == STATE["losses"]


def test_a_flipped_bit_is_seen_in_every_byte(file):
    """torch.load alone would read many of these files, and some with other numbers."""
    whole = file.read_bytes()
    with file.open("r+b", buffering=0) as opened:
        for i, byte in enumerate(whole):
            os.pwrite(opened.fileno(), bytes([byte ^ 1 << i % 8]), i)
            with pytest.raises(DataDamError, match="not the checksum"):
                load_checkpoint(file, IDENTITY, CPU)
            os.pwrite(opened.fileno(), bytes([byte]), i)
    assert file.read_bytes() == whole


def test_a_cut_is_seen_at_every_length(file):
    for length in reversed(range(file.stat().st_size)):
        os.truncate(file, length)
        with pytest.raises(DataDamError, match="not the checksum"):
            load_checkpoint(file, IDENTITY, CPU)


# ---- whole, but nothing to go on from


def seal(file, content):
    """Write anything at all with its right first line."""
    buffer = BytesIO()
    torch.save(content, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    file.write_bytes(f"datadam_lite checkpoint, sha256 of the rest: {digest}\n".encode() + buffer.getvalue())


def test_the_first_line_is_what_sha256sum_says(file):
    saved = file.read_bytes()
    seal(file, {"format": 2, "identity": IDENTITY, "code_sha256": code_sha256(), **STATE})
    assert file.read_bytes() == saved


@pytest.mark.parametrize("content", [{"seed": 0}, [1, 2], {"format": 2, "identity": 3}], ids=repr)
def test_what_is_no_checkpoint_is_refused(file, content):
    seal(file, content)
    assert_refused(file, r"is not a readable checkpoint \(\w+\); move it away to go on without it")


def test_a_newer_format_is_not_taken_for_damage(two):
    seal(two, {"format": 3, "identity": IDENTITY})
    assert_refused(two, r"run\.checkpoint has format 3; this version reads format 2\. Use another output name")


class Code:
    """What a pickle could run if it were allowed to."""

    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


def test_a_checkpoint_cannot_run_code(file):
    seal(file, {"format": 2, "identity": IDENTITY, "images": Code()})
    assert_refused(file, r"is not a readable checkpoint \(UnpicklingError\)")


# ---- a disk that refuses


def test_a_full_disk_leaves_the_old_checkpoints(two, full_disk):
    files = contents(two.parent)
    with pytest.raises(DataDamError, match=r"could not write .*No space left on device.*Free some space"):
        save_checkpoint(two, IDENTITY, LATER)
    assert contents(two.parent) == files


def test_a_checkpoint_that_may_not_be_read_is_not_taken_for_damage(two, monkeypatch):
    read = Path.read_bytes

    def refuse(path):
        if path == two:
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(DataDamError, match=r"could not read .*checkpoint: Permission denied\. Make it readable"):
            load_checkpoint(two, IDENTITY, CPU)
    assert losses(two) == LATER["losses"]


@pytest.mark.parametrize("taken", ["run.checkpoint", "run.checkpoint.previous"])
def test_a_name_taken_by_a_folder(tmp_path, taken):
    file = tmp_path / "run.checkpoint"
    if taken != file.name:
        save_checkpoint(file, IDENTITY, STATE)
    (tmp_path / taken / "inner").mkdir(parents=True)
    files = contents(tmp_path)
    with pytest.raises(DataDamError, match=r"could not write .*run\.checkpoint: .*; nothing was changed there"):
        save_checkpoint(file, IDENTITY, LATER)
    assert contents(tmp_path) == files
    if taken == file.name:
        assert_refused(file, r"could not read .*run\.checkpoint: Is a directory\.")


# ---- is there one, and away with it


def test_there_is_a_checkpoint_until_it_is_discarded(two):
    other = two.with_name("other.checkpoint")
    save_checkpoint(other, IDENTITY, STATE)
    assert checkpoint_exists(two)
    two.unlink()
    assert checkpoint_exists(two)
    discard_checkpoint(two)
    assert not checkpoint_exists(two)
    save_checkpoint(two, IDENTITY, STATE)
    discard_checkpoint(str(two))
    assert set(contents(two.parent)) == {other.name}


def test_a_run_never_goes_on_with_other_code(file, monkeypatch):
    monkeypatch.setattr("datadam_lite.checkpoint.code_sha256", lambda: "0" * 64)
    assert_refused(file, "was written by other code than this: what the method computes has changed since")


def test_a_checkpoint_that_names_no_code_is_read(file):
    seal(file, {"format": 2, "identity": IDENTITY, **STATE})
    assert losses(file) == STATE["losses"]
