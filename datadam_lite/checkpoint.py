"""Checkpoints: written whole or not at all, checked when read, and refused by any run but their own.

A checkpoint is one line of text, which holds the SHA-256 of the rest, and then what `torch.save` writes.
That is a zip file with checksums of its own, but `torch.load` doesn't look at them: it reads many a
file with a flipped bit, and returns other numbers. The checkpoint before the last one is kept as `<path>.previous`.
"""

import hashlib
import warnings
from io import BytesIO
from pathlib import Path

import torch

from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing
from datadam_lite.labels import label
from datadam_lite.mmd import KERNELS
from datadam_lite.provenance import code_sha256

FORMAT = 2  # format 1 had no first line


def save_checkpoint(path: str | Path, identity: dict, state: dict) -> None:
    """Write `state` (tensors and plain values), the identity of the run it belongs to, and the fingerprint of the code.

    state: its `losses` have one entry for each iteration.
    A good checkpoint that stands at `path` is kept as `<path>.previous`; one of the two is good at every moment.

    Raises: DataDamError if the disk refuses; what stood there is then untouched.
    """
    buffer = BytesIO()
    torch.save({"format": FORMAT, "identity": _with_sources(identity), "code_sha256": code_sha256(), **state}, buffer)
    keep = _previous(path) if _is_intact(Path(path)) else None  # a damaged one must not push out a good one
    with replacing(path, keep=keep) as temporary, open(temporary, "wb") as file:
        file.write(_first_line(buffer.getbuffer()))
        file.write(buffer.getbuffer())


def load_checkpoint(path: str | Path, identity: dict, device: torch.device) -> dict:
    """Read the state back; if the last checkpoint is damaged or gone, warn and read the one before it.

    Raises: DataDamError if neither can be read, if its identity differs from `identity`, or if the code of the method
    has changed since: the first steps would be of one method and the last of another.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run.checkpoint"
    >>> save_checkpoint(path, {"seed": 0}, {"losses": [[1.0]]})
    >>> load_checkpoint(path, {"seed": 0}, torch.device("cpu"))["losses"]
    [[1.0]]
    """
    file, content, damage = _newest(Path(path))
    try:
        stored = torch.load(BytesIO(content), map_location=device, weights_only=True)
        written, differences = stored["format"], list(_differences(stored["identity"], _with_sources(identity)))
    except Exception as error:
        raise DataDamError(
            f"{file} is not a readable checkpoint ({type(error).__name__}); move it away to go on without it."
        ) from error
    if written != FORMAT:
        raise DataDamError(f"{file} has format {written}; this version reads format {FORMAT}. Use another output name.")
    if differences:
        raise DataDamError(
            f"{file} belongs to another run: {'; '.join(differences)}. "
            "Use another output name, or repeat that run's settings."
        )
    if stored.pop("code_sha256", code_sha256()) != code_sha256():  # checkpoints of earlier versions have none
        raise DataDamError(
            f"{file} was written by other code than this: what the method computes has changed since. Go on with that "
            "version, or use another output name to begin anew."
        )
    if damage:
        start = f"{file}, the one before it, at iteration {len(stored['losses'])}"
        warnings.warn(f"{damage}; going on from {start}. What came after is computed again.", stacklevel=3)
    return stored



def _with_sources(identity: dict) -> dict:
    """The same, with a fingerprint of the kernel if the recipe names one that is not the package's."""
    recipe = identity.get("recipe", {})
    kernel = KERNELS.get(recipe.get("kernel"))
    if kernel is None or getattr(kernel, "__module__", "").startswith("datadam_lite."):
        return identity
    return identity | {"recipe": recipe | {"kernel": f"{recipe['kernel']}: {label(kernel)}"}}


def checkpoint_exists(path: str | Path) -> bool:
    """Whether there is a checkpoint to go on from: the last one, or the one before it.

    >>> checkpoint_exists("no/such.checkpoint")
    False
    """
    return Path(path).exists() or _previous(path).exists()


def discard_checkpoint(path: str | Path) -> None:
    """Remove the last checkpoint and the one before it: the run is done.

    >>> discard_checkpoint("no/such.checkpoint")
    """
    for file in (Path(path), _previous(path)):
        file.unlink(missing_ok=True)


def _previous(path: str | Path) -> Path:
    return Path(f"{path}.previous")


def _first_line(content: bytes | memoryview) -> bytes:
    return f"datadam_lite checkpoint, sha256 of the rest: {hashlib.sha256(content).hexdigest()}\n".encode()


class _Damaged(Exception):
    """A file that isn't there, or isn't what was written."""


def _checked(file: Path) -> bytes:
    """Return what follows the first line, if that line is its checksum."""
    try:
        first, newline, content = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise _Damaged(f"{file} is missing") from None
    if first + newline == _first_line(content):
        return content
    old = ", unless it is one of format 1, which earlier versions wrote" if first.startswith(b"PK\x03\x04") else ""
    raise _Damaged(f"{file} is not a readable checkpoint (its first line is not the checksum of the rest{old})")


def _is_intact(file: Path) -> bool:
    try:
        return bool(_checked(file))
    except (_Damaged, OSError):
        return False


def _newest(path: Path) -> tuple[Path, bytes, str]:
    """Return the last undamaged checkpoint, its content, and what is wrong with a later one, if there was one."""
    damage = []
    for file in (path, _previous(path)):
        try:
            return file, _checked(file), "; ".join(damage)
        except _Damaged as error:
            damage.append(str(error))
        except OSError as error:  # perhaps a good one
            raise DataDamError(
                f"could not read {file}: {error.strerror or error}. "
                "Make it readable, or move it away to go on without it."
            ) from error
    raise DataDamError(
        f"no checkpoint to go on from: {'; '.join(damage)}. Move away what is there to start from the beginning."
    )


def _differences(stored: dict, wanted: dict, prefix: str = ""):
    """Name every value that differs, as 'recipe.lam is 0.02 there and 0.01 here'."""
    for key in sorted(stored.keys() | wanted.keys()):
        there, here = stored.get(key), wanted.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _differences(there, here, f"{prefix}{key}.")
        elif there != here:
            yield f"{prefix}{key} is {there} there and {here} here"
