"""Checkpoints: written whole or not at all, and refused by any run but their own."""

from pathlib import Path

import torch

from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing

FORMAT = 1


def save_checkpoint(path: str | Path, identity: dict, state: dict) -> None:
    """Write `state` (tensors and plain values) and the identity of the run it belongs to."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save({"format": FORMAT, "identity": identity, **state}, file)


def load_checkpoint(path: str | Path, identity: dict, device: torch.device) -> dict:
    """Read the state back.

    Raises: DataDamError if the file can't be read, or if its identity differs from `identity`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run.checkpoint"
    >>> save_checkpoint(path, {"seed": 0}, {"losses": [[1.0]]})
    >>> load_checkpoint(path, {"seed": 0}, torch.device("cpu"))["losses"]
    [[1.0]]
    """
    try:
        stored = torch.load(path, map_location=device, weights_only=True)
        if stored["format"] != FORMAT:
            raise KeyError(f"format {stored['format']}")
        differences = list(_differences(stored["identity"], identity))
    except Exception as error:
        raise DataDamError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); "
            "move it away to start from the beginning."
        ) from error
    if differences:
        raise DataDamError(
            f"{path} belongs to another run: {'; '.join(differences)}. "
            "Use another output name, or repeat that run's settings."
        )
    return stored


def _differences(stored: dict, wanted: dict, prefix: str = ""):
    """Name every value that differs, as 'recipe.lam is 0.02 there and 0.01 here'."""
    for key in sorted(stored.keys() | wanted.keys()):
        there, here = stored.get(key), wanted.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _differences(there, here, f"{prefix}{key}.")
        elif there != here:
            yield f"{prefix}{key} is {there} there and {here} here"
