"""Protocols: how a network is trained on a small set before it is tested, every constant of it."""

from dataclasses import dataclass, fields

from torch import nn

from datadam_lite.augment import DSA
from datadam_lite.errors import DataDamError, check_type, known, positive
from datadam_lite.networks import NETWORKS, NORMS, build


@dataclass(frozen=True)
class Protocol:
    """How a network is trained on a small set; by default the field's protocol, with instance norm.

    (DM's script has 1,001 epochs and drops the learning rate after the 502nd; here 1,000 and 500.)

    SGD from learning rate `lr`, times `decay` after half of the epochs (or after `drop_after` of them, or after every
    `decay_every`); cross-entropy on hard labels; DSA with one operation per batch and parameters per image.
    width, depth and norm are the ConvNet's; other networks come as they are, with batch norm.
    """

    name: str = "fixed"
    epochs: int = 1000
    batch: int = 256
    lr: float = 0.01
    decay: float = 0.1
    drop_after: int | None = None
    decay_every: int | None = None
    forget_momentum: bool = False  # when the learning rate drops
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: str = DSA
    network: str = "convnet"
    width: int = 128
    depth: int | None = None  # by resolution
    norm: str = "instance"

    def __post_init__(self):
        for field in fields(self):
            check_type(field.name, getattr(self, field.name), field.type)
        numbers = ("epochs", "batch", "width", "lr", "decay", "drop_after", "decay_every", "depth")
        positive(**{name: getattr(self, name) for name in numbers if getattr(self, name) is not None})
        if self.drop_after is not None and (self.decay_every is not None or self.drop_after >= self.epochs):
            raise DataDamError(
                f"drop_after is {self.drop_after}: it must be less than the {self.epochs} epochs, and needs "
                "decay_every to be None."
            )
        for name in ("momentum", "weight_decay"):
            if getattr(self, name) < 0:
                raise DataDamError(f"{name} must not be negative; received {getattr(self, name)}.")
        known(self.network, NETWORKS, "network")
        known(self.norm, NORMS, "norm")

    def drops(self) -> list[int]:
        """Return the epochs, from 0, before which the learning rate drops.

        >>> Protocol().drops(), Protocol(epochs=60, decay_every=15).drops()
        ([500], [15, 30, 45])
        """
        if self.decay_every:
            return list(range(self.decay_every, self.epochs, self.decay_every))
        return [max(1, self.epochs // 2) if self.drop_after is None else self.drop_after]

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """Build the network this protocol trains."""
        options = {"width": self.width, "depth": self.depth, "norm": self.norm} if self.network == "convnet" else {}
        return build(self.network, shape, classes, **options)


PROTOCOLS = {
    "fixed": Protocol(),
    # The released DataDAM script: 1,800 epochs mean 1,801; the learning rate drops after the 902nd, by a new optimiser
    # that has no momentum yet; batch norm. (It also prints the best checkpoint on test data; nothing here does.)
    "datadam_code": Protocol(
        "datadam_code", epochs=1801, batch=64, drop_after=902, forget_momentum=True, norm="batch", depth=3
    ),
    # DataDAM's hyper-parameter table has this schedule, which its code does not. It prints no number of epochs: of
    # these 1,000 the first 100 do nearly all the learning, so don't take its accuracy for the paper's.
    "datadam_table": Protocol("datadam_table", decay=0.5, decay_every=15),
}
