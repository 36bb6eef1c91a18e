"""A class of thirty and what each handed in for assignment A0: right, wrong in known ways, hostile, or broken."""

from dataclasses import dataclass
from pathlib import Path

import answers
from submissions import notebook


@dataclass(frozen=True)
class Student:
    """Who, the code of the notebook, and what should come of it: points, the likely cause, a part of the message."""

    name: str
    code: str
    points: float
    cause: str = ""
    message: str = ""

    def hand_in(self, folder: Path) -> None:
        """Write the notebook, or what was sent in its place."""
        if self.code.startswith("{"):
            (folder / f"{self.name}.ipynb").write_text(self.code)
        else:
            notebook(folder / f"{self.name}.ipynb", "import torch", answers.HEAD + self.code, "raise SystemExit")


def returns(expression: str, *lines: str) -> str:
    """A spatial attention that returns this; `energy` is the sum of powers, [B, H*W]."""
    steps = lines or ("energy = maps.abs().pow(p).sum(1).flatten(1)",)
    return "def spatial_attention(maps, p=4):\n    " + "\n    ".join([*steps, f"return {expression}"])


UNIT = "F.normalize(energy, dim=1)"
RIGHT = (
    Student("anna", returns(UNIT), 10),
    Student("bela", answers.PLAIN, 10),
    Student("chen", answers.EINSUM, 10),
    Student("dora", answers.MEAN, 10),
)
WRONG = (
    Student("emil", returns("F.normalize(energy, dim=0)"), 5, "normalised over the batch"),
    Student("fay", returns(UNIT, "energy = maps.pow(p).sum(1).flatten(1)"), 8, "absolute value left out"),
    Student("gil", returns("F.normalize(energy.sqrt(), dim=1)"), 5, "a root too many"),
    Student("hana", returns(UNIT, "energy = maps.sum(1).abs().pow(p).flatten(1)"), 6,
            "summed before the absolute value"),
    Student("ivo", returns(UNIT, "energy = maps.abs().sum(1).pow(p).flatten(1)"), 6, "summed before the power"),
    Student("jun", returns(UNIT, "energy = maps.abs().pow(p).sum((2, 3))"), 4,
            "summed along the axes of the other attention"),
    Student("kaja", returns(UNIT, "energy = maps.abs().pow(p).sum(0).flatten(1)"), 0, "summed over the images"),
    Student("lev", returns(UNIT, "energy = maps.abs().pow(p).flatten(1)"), 4, "nothing summed"),
    Student("mia", returns(UNIT, "energy = maps.abs().pow(p).amax(1).flatten(1)"), 6.5,
            "the largest in place of the sum"),
    Student("nils", returns(UNIT, "energy = maps.abs().sum(1).flatten(1)"), 6, "power left out"),
    Student("olga", returns(UNIT, "energy = maps.abs().pow(p + 1).sum(1).flatten(1)"), 6, "power off by one"),
    Student("pia", returns("energy"), 5, "not normalised"),
    Student("quin", returns("energy / energy.sum(1, keepdim=True).clamp_min(1e-12)"), 5.5, "entries that sum to one"),
    Student("rosa", returns("energy.softmax(1)"), 5, "softmax in place of the normalisation"),
    Student("sam", returns("energy / energy.norm(dim=1, keepdim=True)"), 9, "nothing guards the division"),
    Student("tara", returns("F.normalize(maps.abs().pow(p).sum(1), dim=1)", "pass"), 0, "not flattened"),
    Student("uma", returns("F.normalize(energy, dim=1).squeeze()"), 0, "all axes of length one removed"),
    Student("vito", returns(UNIT, "energy = maps.detach().abs().pow(p).sum(1).flatten(1)"), 9, "gradient cut"),
    Student("wen", returns(UNIT, "energy = maps.abs_().pow_(p).sum(1).flatten(1)"), 9.5, "input overwritten"),
)
BROKEN = (
    Student("xena", "def spatial_attention(maps, p=4):\n    raise NotImplementedError('write this')", 0),
    Student("yuri", '{"cells": [', 0, message="isn't a notebook"),
    Student("zoe", "def spatial_atention(maps, p=4):\n    return maps", 0, message="Is it spatial_atention?"),
    Student("aron", "def spatial_attention(maps, p=4)\n    return maps", 0, message="isn't Python"),
    Student("beth", "from datadam_lite import spatial\n" + returns("spatial(maps, p)", "pass"), 0,
            message="the library's own functions aren't there"),
)  # fmt: skip
HOSTILE = (
    Student("caleb", returns("maps", "while True: pass"), 0, message="took more than 10 seconds"),
    Student("drew", returns("maps", "torch.os._exit(0)"), 0, message="ended its own process"),
)
CLASS = (*RIGHT, *WRONG, *BROKEN, *HOSTILE)
SAMPLE = (RIGHT[0], WRONG[0], WRONG[7], BROKEN[1], HOSTILE[1])
