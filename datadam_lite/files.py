"""Files that are either the old version or the new one, never half of each."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path

from datadam_lite.errors import DataDamError


@contextmanager
def replacing(path: str | Path):
    """Yield a temporary path in the same folder; rename it to `path` when the block succeeds.

    When the block fails the temporary file is removed and whatever stood at `path` is untouched.

    Raises: DataDamError if the disk refuses the write.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> target.read_text()
    'all of it'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise DataDamError(
            f"could not write {path}: {error.strerror or error}; nothing was changed there. "
            "Free some space or choose a folder you can write to, then run the same command again."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
