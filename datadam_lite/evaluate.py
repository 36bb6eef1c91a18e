"""Evaluation: train fresh networks on a small set, test them on real images, report all of them.

One fixed protocol for every method and baseline, and always the final iterate: nothing is ever
chosen by looking at the test set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from datadam_lite.augment import DSA, augment, draw, operations
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, check_type, known, positive
from datadam_lite.networks import NETWORKS, NORMS, build, reset
from datadam_lite.progress import bar
from datadam_lite.report import Report
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


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


def train_network(
    chosen: SyntheticSet, generator: torch.Generator, *,
    protocol: Protocol | None = None, settings: Settings | None = None,
) -> nn.Module:
    """Train a fresh network on a set; return its final iterate, in evaluation mode.

    generator: decides the network, the order of the images and the augmentation; it lives on the device to train
    on, which without `settings` is the generator's.

    Raises: DataDamError if `settings` asks for another device than the generator's.
    """
    protocol, settings = protocol or Protocol(), settings or Settings(device=str(generator.device))
    device = settings.torch_device()
    if device.type != generator.device.type:
        raise DataDamError(f"expected a generator on {device.type}; received one on {generator.device.type}.")
    images, labels = chosen.images.to(device), chosen.labels.to(device)
    network = reset(protocol.build(tuple(images.shape[1:]), len(chosen.classes)).to(device), generator)
    optimizer = torch.optim.SGD(
        network.parameters(), protocol.lr, protocol.momentum, weight_decay=protocol.weight_decay
    )
    drops = protocol.drops()
    strategy = operations(protocol.augmentation, mirror=chosen.mirror)
    forward = torch.compile(network) if settings.compile else network
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator.initial_seed())  # a transformer's dropout draws from the global stream
        for epoch in range(protocol.epochs):
            if epoch in drops:
                optimizer.param_groups[0]["lr"] *= protocol.decay
                if protocol.forget_momentum:
                    optimizer.state.clear()
            order = torch.randperm(len(images), generator=generator, device=device)
            for rows in order.split(protocol.batch):
                x = images[rows]
                if strategy:
                    x = augment(x, draw(strategy, len(x), generator, one_operation=True))
                with settings.autocast():
                    loss = F.cross_entropy(forward(x).logits.float(), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return network.eval()


@torch.no_grad()
def accuracy(
    network: nn.Module, images: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"]
) -> float:
    """Percentage of images whose largest logit is their label."""
    device = next(network.parameters()).device
    predicted = [network(part.to(device)).logits.argmax(1).cpu() for part in images.split(500)]
    return 100 * (torch.cat(predicted) == labels).float().mean().item()


def evaluate(
    sets: SyntheticSet | Sequence[SyntheticSet], test: ImageSet, *, networks: int = 5,
    protocol: Protocol | None = None, seed: int = 0, settings: Settings | None = None,
) -> Report:
    """Train `networks` fresh networks on each set and test them on real images.

    Raises: DataDamError if the sets do not fit the test images.

    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> from datadam_lite.preprocess import Preprocess
    >>> train, test = load("digits")
    >>> chosen = SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train))
    >>> evaluate(chosen, test, networks=1, protocol=Protocol(epochs=5, width=8)).record()["n_networks"]
    1
    """
    sets = [sets] if isinstance(sets, SyntheticSet) else list(sets)
    protocol, settings = protocol or Protocol(), settings or Settings()
    if networks < 1 or not sets:
        raise DataDamError(f"expected at least one set and one network; received {len(sets)} and {networks}.")
    for chosen in sets:
        _check_fit(chosen, test)  # all of them, before any is trained on
    rows = []
    with bar(total=len(sets) * networks, desc="evaluating", unit="network") as progress:
        for i, chosen in enumerate(sets):
            test_images = chosen.preprocess.apply(test.images)
            row = []
            for j in range(networks):
                stream = generator(seed, "evaluation", i, j, device=settings.torch_device())
                network = train_network(chosen, stream, protocol=protocol, settings=settings)
                row.append(accuracy(network, test_images, test.labels))
                progress.update()
            rows.append(row)
    return Report(rows)


def cross_architecture(
    sets: SyntheticSet | Sequence[SyntheticSet], test: ImageSet, architectures: Sequence[str], *,
    networks: int = 5, protocol: Protocol | None = None, settings: Settings | None = None,
) -> dict[str, Report]:
    """Evaluate the same sets with several architectures: one row of a cross-architecture table.

    architectures: names from `networks.NETWORKS`.

    Raises: DataDamError for an unknown name, or images too small for a network.

    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> from datadam_lite.preprocess import Preprocess
    >>> train, test = load("digits")
    >>> chosen = SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train))
    >>> list(cross_architecture(chosen, test, ["convnet"], networks=1, protocol=Protocol(epochs=2, width=8)))
    ['convnet']
    """
    protocols = {name: replace(protocol or Protocol(), network=name) for name in architectures}
    for each in protocols.values():
        each.build(test.shape, len(test.classes))  # what can't be built says so before any is trained
    return {
        name: evaluate(sets, test, networks=networks, protocol=each, settings=settings)
        for name, each in protocols.items()
    }


def _check_fit(chosen: SyntheticSet, test: ImageSet) -> None:
    if tuple(chosen.images.shape[1:]) != test.shape or chosen.classes != test.classes:
        raise DataDamError(
            f"the set holds images {list(chosen.images.shape[1:])} of {len(chosen.classes)} classes, but the test "
            f"images of {test.name} are {list(test.shape)} in {len(test.classes)} classes, or the class names "
            "differ; evaluate it on the data set it was distilled from."
        )
