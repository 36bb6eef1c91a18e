"""Recorded results: every number the book quotes and does not compute, with its whole provenance.

A record is a JSON file beside this one, written by `record.py` and by nothing else. Its `rows` are
evaluations with the fields dataset, method, recipe, ipc, protocol, scale, n_sets, n_networks, mean
and std (accuracies in percent). Pictures stand in a safetensors file of the same name.
"""

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from datadam_lite.errors import DataDamError

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all records."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def read(name: str) -> dict:
    """Return a record.

    Raises: DataDamError if there is none of that name.
    """
    if name not in names():
        raise DataDamError(f"there is no recorded result {name!r}; the recorded ones are {', '.join(names())}.")
    return json.loads((FOLDER / f"{name}.json").read_text())


def pictures(name: str) -> dict[str, Tensor]:
    """Return the uint8 pictures of a record: for every stage, [N, C, H, W]."""
    read(name)
    return load_file(FOLDER / f"{name}.safetensors")


def source(record: dict) -> str:
    """Return one sentence saying where the numbers of a record come from."""
    return (
        f"Recorded on {record['date']} with datadam_lite {record['versions']['datadam_lite']}, PyTorch "
        f"{record['versions']['torch']}, on {record['hardware']}; scale: {record['scale']}."
    )
