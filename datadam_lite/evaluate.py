"""Evaluation: train fresh networks on a small set, test them on real images, report all of them.

One fixed protocol for every method and baseline, and always the final iterate: nothing is ever
chosen by looking at the test set.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from datadam_lite.augment import DSA, augment, draw, operations
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, positive
from datadam_lite.networks import build
from datadam_lite.progress import bar
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


@dataclass(frozen=True)
class Protocol:
    """How a network is trained on a small set: the field's protocol (DM's, with instance norm).

    SGD from learning rate `lr`, times 0.1 after half of the epochs; cross-entropy on hard labels; DSA
    with one operation per batch and parameters per image. DataDAM's script trains differently: chapter 1.
    """

    name: str = "fixed"
    epochs: int = 1000
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: str = DSA
    width: int = 128
    norm: str = "instance"

    def __post_init__(self):
        positive(epochs=self.epochs, batch=self.batch, width=self.width)


@dataclass(frozen=True)
class Report:
    """Test accuracies in percent: one row per set, one column per network.

    >>> Report([[60.0, 64.0], [62.0, 66.0]])
    63.0 ± 2.6 % (2 sets x 2 networks)
    """

    accuracies: list[list[float]]

    @property
    def models(self) -> list[float]:
        """The accuracies of all networks of all sets, in one list."""
        return [accuracy for row in self.accuracies for accuracy in row]

    @property
    def mean(self) -> float:
        """Mean over all models."""
        return statistics.fmean(self.models)

    @property
    def std(self) -> float:
        """Standard deviation over all models (n - 1 in the denominator); 0 for a single one."""
        return statistics.stdev(self.models) if len(self.models) > 1 else 0.0

    def record(self) -> dict:
        """The fields of an evaluation record that come from the accuracies."""
        return {
            "n_sets": len(self.accuracies), "n_networks": len(self.accuracies[0]),
            "mean": round(self.mean, 4), "std": round(self.std, 4), "accuracies": self.accuracies,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"{self.mean:.1f} ± {self.std:.1f} % ({rests_on(len(self.accuracies), len(self.accuracies[0]))})"


def rests_on(sets: int, networks: int) -> str:
    """Say how many models a number rests on.

    >>> rests_on(1, 5)
    '1 set x 5 networks'
    """
    return f"{sets} set{'s' * (sets != 1)} x {networks} network{'s' * (networks != 1)}"


def train_network(
    chosen: SyntheticSet, generator: torch.Generator, *,
    protocol: Protocol | None = None, settings: Settings | None = None,
) -> nn.Module:
    """Train a fresh network on a set; return its final iterate, in evaluation mode.

    generator: decides the network, the order of the images and the augmentation.
    """
    protocol, settings = protocol or Protocol(), settings or Settings()
    device = settings.torch_device()
    images, labels = chosen.images.to(device), chosen.labels.to(device)
    shape, classes = tuple(images.shape[1:]), len(chosen.classes)
    network = build("convnet", shape, classes, width=protocol.width, norm=protocol.norm)
    network = network.to(device).reset(generator)
    optimizer = torch.optim.SGD(
        network.parameters(), protocol.lr, protocol.momentum, weight_decay=protocol.weight_decay
    )
    half = max(1, protocol.epochs // 2)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [half], gamma=0.1)
    strategy = operations(protocol.augmentation, mirror=chosen.mirror)
    forward = torch.compile(network) if settings.compile else network
    for _ in range(protocol.epochs):
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
        schedule.step()
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
    rows = []
    with bar(total=len(sets) * networks, desc="evaluating", unit="network") as progress:
        for i, chosen in enumerate(sets):
            _check_fit(chosen, test)
            test_images = chosen.preprocess.apply(test.images)
            row = []
            for j in range(networks):
                stream = generator(seed, "evaluation", i, j, device=settings.torch_device())
                network = train_network(chosen, stream, protocol=protocol, settings=settings)
                row.append(accuracy(network, test_images, test.labels))
                progress.update()
            rows.append(row)
    return Report(rows)


def _check_fit(chosen: SyntheticSet, test: ImageSet) -> None:
    if tuple(chosen.images.shape[1:]) != test.shape or chosen.classes != test.classes:
        raise DataDamError(
            f"the set holds images {list(chosen.images.shape[1:])} of {len(chosen.classes)} classes, but the test "
            f"images of {test.name} are {list(test.shape)} in {len(test.classes)} classes, or the class names "
            "differ; evaluate it on the data set it was distilled from."
        )
