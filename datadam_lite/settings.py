"""How to compute, as opposed to what: device, precision, compilation, checkpoints."""

from dataclasses import dataclass, fields

import torch

from datadam_lite.errors import DataDamError, check_type, known
from datadam_lite.provenance import versions

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """How a run computes; not part of a recipe, but a checkpoint is only continued under the same.

    device: None for a GPU if there is one; precision: of the convolutions ("float32" or "bfloat16");
    compile: fuse the step with torch.compile; checkpoint_every: iterations between checkpoints.
    """

    device: str | None = None
    precision: str = "float32"
    compile: bool = False
    checkpoint_every: int = 100

    def __post_init__(self):
        for field in fields(self):
            check_type(field.name, getattr(self, field.name), field.type)
        known(self.precision, PRECISIONS, "precision")
        if self.checkpoint_every < 1:
            raise DataDamError(f"checkpoint_every must be at least 1; received {self.checkpoint_every}.")

    def torch_device(self) -> torch.device:
        """The device to compute on."""
        name = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if name.split(":")[0] not in ("cpu", "cuda"):
            raise DataDamError(f"unknown device {name!r}; the known ones are cpu, cuda.")
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise DataDamError(f"device {name!r} was asked for, but PyTorch finds no GPU here; use cpu.")
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise DataDamError(f"unknown device {name!r}; expected cpu, cuda, or cuda:0 and so on.") from error

    def autocast(self):
        """Context in which convolutions run in `precision`; norms, attention and means stay in float32."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.torch_device().type, dtype=dtype, enabled=dtype != torch.float32)

    def numerics(self) -> dict:
        """What a bit-for-bit continuation depends on."""
        device = self.torch_device().type
        threads = torch.get_num_threads() if device == "cpu" else None
        settings = {"device": device, "threads": threads, "precision": self.precision, "compile": self.compile}
        return settings | {"versions": versions()}
