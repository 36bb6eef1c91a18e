"""The broken attention of assignment A3: spatial attention in three lines, of which each can be wrong in three ways.

It is kept as text, because a student sees the text, and because a test of the student's is tried on functions made
from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template


@dataclass(frozen=True)
class Slot:
    """A line of the function: as it should be, and the wrong lines, each with its name in the catalogue of mistakes."""

    right: str
    wrong: tuple[tuple[str, str], ...]


SLOTS = {
    "size": Slot(
        "size = maps.abs().pow(p)",
        (
            ("size = maps.pow(p)", "absolute value left out"),
            ("size = maps.relu().pow(p)", "negative responses thrown away"),
            ("size = maps.abs().pow(p - 1)", "power off by one"),
        ),
    ),
    "sum": Slot(
        "energy = size.sum(1).flatten(1)",
        (
            ("energy = size.amax(1).flatten(1)", "the largest in place of the sum"),
            ("energy = size.sum(3).flatten(1)", "summed along a single axis of the grid"),
            ("energy = size.sum(1).flatten(1).sqrt()", "a root too many"),
        ),
    ),
    "length": Slot(
        "return F.normalize(energy, dim=1)",
        (
            ("return F.normalize(energy, dim=0)", "normalised over the batch"),
            ("return F.normalize(energy, dim=1, p=1)", "entries that sum to one"),
            ("return energy / energy.norm(dim=1, keepdim=True)", "nothing guards the division"),
        ),
    ),
}

FUNCTION = Template('''\
def $name(maps, p=$p):
    """Spatial attention, [B, C, H, W] -> [B, H*W]."""
    $size
    $sum
    $length
''')


def source(name: str, p: int, bugs: Sequence[int | None]) -> str:
    """The text of the function; bugs: for each line which of the wrong ones stands there, or None for the right one.

    >>> print(source("broken_attention", 3, (None, 0, None)), end="")
    def broken_attention(maps, p=3):
        \"\"\"Spatial attention, [B, C, H, W] -> [B, H*W].\"\"\"
        size = maps.abs().pow(p)
        energy = size.amax(1).flatten(1)
        return F.normalize(energy, dim=1)
    """
    lines = {
        slot: SLOTS[slot].right if bug is None else SLOTS[slot].wrong[bug][0]
        for slot, bug in zip(SLOTS, bugs, strict=True)
    }
    return FUNCTION.substitute(name=name, p=p, **lines)
