"""Files are the old version or the new one, never half of each."""

import errno
import os
import time

import pytest
from samples import contents

from datadam_lite import DataDamError
from datadam_lite.files import HOUR, replacing


@pytest.fixture
def old(tmp_path):
    """A file that stands there already."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own/file.txt").write_text("old")
    return tmp_path / "own/file.txt"


def test_a_file_is_replaced_as_a_whole(old):
    with replacing(old) as temporary:
        temporary.write_text("new")
        assert temporary.parent == old.parent
        assert old.read_text() == "old"
    assert contents(old.parent) == {"file.txt": b"new"}


def test_the_old_file_can_be_kept(old):
    (old.parent / "older.txt").write_text("older")
    with replacing(old, keep=old.with_name("older.txt")) as temporary:
        temporary.write_text("new")
        assert contents(old.parent)["older.txt"] == b"older"
    assert contents(old.parent) == {"file.txt": b"new", "older.txt": b"old"}


def test_a_file_is_on_the_disk_before_it_has_its_name(old, monkeypatch):
    """Else a power cut leaves a new name on an empty file."""
    synced, fsync, replace = {}, os.fsync, os.replace

    def watch_fsync(descriptor):
        fsync(descriptor)
        stat = os.fstat(descriptor)
        synced[stat.st_ino] = (stat.st_size, stat.st_mtime_ns)

    def watch_replace(source, target):
        stat = os.stat(source)
        if target == old:
            assert synced[stat.st_ino] == (stat.st_size, stat.st_mtime_ns) == (3, stat.st_mtime_ns)
        else:
            assert synced  # first the new file, then the renames
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    with replacing(old, keep=old.with_name("older.txt")) as temporary:
        temporary.write_text("new")
    assert contents(old.parent) == {"file.txt": b"new", "older.txt": b"old"}


def test_folders_are_made(tmp_path):
    with replacing(tmp_path / "a/b/file.txt") as temporary:
        temporary.write_text("new")
    assert contents(tmp_path) == {"a/b/file.txt": b"new"}


def test_a_full_disk_leaves_the_old_file_and_no_other(old, full_disk):
    message = r"could not write .*file.txt: No space left on device; nothing was changed there\. Free some space"
    with pytest.raises(DataDamError, match=message), replacing(old) as temporary:
        temporary.write_text("new" * 100)
    assert contents(old.parent) == {"file.txt": b"old"}


def write_half(path, error):
    """Start to replace a file, and fail."""
    with replacing(path) as temporary:
        temporary.write_text("half of it")
        raise error


def test_what_was_written_before_the_disk_was_full_is_removed(old):
    with pytest.raises(DataDamError, match="No space left on device"):
        write_half(old, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert contents(old.parent) == {"file.txt": b"old"}


@pytest.mark.parametrize("refused", ["fsync", "first rename", "second rename"])
def test_a_refusal_after_the_last_byte_leaves_the_old_file(old, monkeypatch, refused):
    def refuse(*arguments):
        if refused != "second rename" or ".part" in str(arguments[0]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(*arguments)

    replace = os.replace
    monkeypatch.setattr(os, "fsync" if refused == "fsync" else "replace", refuse)
    with pytest.raises(DataDamError, match="error; nothing was changed there"):  # noqa: SIM117
        with replacing(old, keep=old.with_name("older.txt")) as temporary:
            temporary.write_text("new")
    assert contents(old.parent) == {"file.txt": b"old"}


def test_any_other_failure_passes_through_and_leaves_the_old_file(old):
    with pytest.raises(ZeroDivisionError):
        write_half(old, ZeroDivisionError())
    assert contents(old.parent) == {"file.txt": b"old"}


def test_bad_input_within_the_block_keeps_its_own_message(old):
    with pytest.raises(DataDamError, match=r"^another sentence$"), replacing(old):
        raise DataDamError("another sentence")


def test_a_name_taken_by_a_folder(tmp_path):
    (tmp_path / "file.txt/inner").mkdir(parents=True)
    with pytest.raises(DataDamError, match=r"could not write .*file.txt"), replacing(tmp_path / "file.txt") as part:
        part.write_text("new")
    assert contents(tmp_path) == {}


def test_a_folder_that_is_a_file(old):
    with pytest.raises(DataDamError, match="choose a folder you can write to"), replacing(old / "x") as temporary:
        temporary.write_text("new")
    assert contents(old.parent) == {"file.txt": b"old"}


def test_what_a_killed_writer_left_goes_and_what_another_is_writing_stays(old):
    parts = {name: old.with_name(name) for name in (".file.txt.1.part", ".file.txt.2.part", ".file.txt2.3.part")}
    for part in parts.values():
        part.write_text("half")
        os.utime(part, (0, time.time() - 2 * HOUR))
    os.utime(parts[".file.txt.2.part"])
    with replacing(old) as temporary:
        temporary.write_text("new")
    assert set(contents(old.parent)) == {"file.txt", ".file.txt.2.part", ".file.txt2.3.part"}
