"""Files that are either the old version or the new one, never half of each."""

import os
import secrets
import time
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from datadam_lite.errors import DataDamError

HOUR = 3600  # in seconds; no file takes as long to write


@contextmanager
def replacing(path: str | Path, *, keep: Path | None = None):
    """Yield a temporary path in the same folder; rename it to `path` when the block succeeds.

    keep: a new name for the file that stood at `path`, which is otherwise gone.
    When the block fails the temporary file is removed and whatever stood at `path` is untouched. A process that is
    killed can remove nothing: what it leaves is removed an hour later, by the next that writes to the same path.

    Raises: DataDamError if the disk refuses the write.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> target.read_text()
    'all of it'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # no other writer has the name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        yield temporary
        _reach_the_disk(temporary)
        _put_in_place(temporary, path, keep)
    except OSError as error:
        raise DataDamError(
            f"could not write {path}: {error.strerror or error}; nothing was changed there. "
            "Free some space or choose a folder you can write to, then run the same command again."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files that have not been written to for an hour: their writer was killed."""
    for temporary in path.parent.glob(escape(f".{path.name}.") + "*.part"):
        with suppress(OSError):
            if time.time() - temporary.stat().st_mtime > HOUR:
                temporary.unlink()


def _reach_the_disk(file: Path) -> None:
    """Wait for the disk: else a power cut just after the rename can leave a new name on an empty file."""
    with open(file, "r+b") as opened:
        os.fsync(opened.fileno())


def _put_in_place(temporary: Path, path: Path, keep: Path | None) -> None:
    """Rename what stands at `path` to `keep`, and the temporary file to `path`; both or neither."""
    if keep:
        os.replace(path, keep)
    try:
        os.replace(temporary, path)
    except OSError:
        if keep:
            os.replace(keep, path)
        raise
