"""Networks that have learned something, in the place of random ones: the question of DataDAM's Table 7.

DM and DataDAM compare real and synthetic images in networks that know nothing. Both papers ask what happens if networks
are drawn from buckets instead: networks whose test accuracy lies in one interval, found on the way of a training.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadam_lite.applications.hold_out import hold_out
from datadam_lite.data import ImageSet
from datadam_lite.distill import Distiller, Drawn
from datadam_lite.errors import DataDamError, positive
from datadam_lite.evaluate import accuracy
from datadam_lite.networks import build, reset
from datadam_lite.preprocess import Preprocess
from datadam_lite.progress import bar
from datadam_lite.recipes import Recipe
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

State = Mapping[str, Tensor]  # the weights of a network

BATCH, LR, MOMENTUM = 64, 0.01, 0.9  # of the training, which neither paper describes
EVERY, AT_MOST = 5, 5000  # steps between two looks at the accuracy, and of one network


class FromTrained(Distiller):
    """A distillation whose network is drawn from a list, at every iteration anew, instead of at random.

    networks: their weights, as `trained_networks` finds them; everything else as for a Distiller.

    Raises: DataDamError if there are none.

    >>> from datadam_lite.data import load
    >>> from datadam_lite.recipes import recipe
    >>> train, _ = load("digits")
    >>> small = recipe("datadam", width=8, real_batch=8, iterations=2)
    >>> networks = trained_networks(train, small, (30, 60), 2)
    >>> [step.iteration for step in FromTrained(train, 1, small, networks)]
    [1, 2]
    """

    def __init__(
        self, train: ImageSet, ipc: int, recipe: Recipe, networks: Sequence[State], *,
        seed: int = 0, settings: Settings | None = None,
    ):  # fmt: skip
        if not networks:
            raise DataDamError("expected at least one trained network; received none. See trained_networks.")
        super().__init__(train, ipc, recipe, seed=seed, settings=settings)
        self.networks = list(networks)

    def draw(self, iteration: int) -> Drawn:
        """Draw what every distillation draws, and then one of the networks."""
        drawn = super().draw(iteration)
        stream = generator(self.seed, "trained network", iteration)
        chosen = torch.randint(len(self.networks), (), generator=stream)
        self.network.load_state_dict(self.networks[chosen])
        return drawn

    def identity(self) -> dict:
        """What a checkpoint must agree with: the networks, too."""
        weights = (tensor.numpy().tobytes() for state in self.networks for tensor in state.values())
        return super().identity() | {"networks": sha256(b"".join(weights)).hexdigest()}

    def synthetic(self) -> SyntheticSet:
        """Return the distilled images as they are now; their provenance says that networks were trained."""
        found = super().synthetic()
        found.provenance["trained_networks"] = len(self.networks)
        return found


def trained_networks(
    train: ImageSet, recipe: Recipe, between: tuple[int, int], n: int = 20, *,
    seed: int = 0, settings: Settings | None = None,
) -> list[State]:  # fmt: skip
    """Train networks of a recipe; return the weights of n, each when its accuracy first lay in an interval.

    between: (low, high) in percent, low <= accuracy < high. It is measured on held-out training images, a fifth of
    them and at most 100 of each class, after every fifth step; a network that jumps over the interval is dropped.

    Raises: DataDamError if low is not less than high, or 10 n networks don't yield n.

    >>> from datadam_lite.data import load
    >>> from datadam_lite.recipes import recipe
    >>> train, _ = load("digits")
    >>> len(trained_networks(train, recipe("datadam", width=8), (30, 60), 2))
    2
    """
    positive(n=n)
    low, high = between
    if not low < high:
        raise DataDamError(f"expected an interval of accuracies (low, high) in percent; received {between}.")
    settings = settings or Settings()
    device = settings.torch_device()
    recipe = recipe.for_images(train.shape, 1)
    network = build(recipe.network, train.shape, len(train.classes), **recipe.network_options()).to(device)
    rest, held = hold_out(train, min(100, min(map(len, train.rows_of_class)) // 5))
    preprocess = Preprocess.fit(
        train, statistics=recipe.statistics, zca=recipe.zca, eps=recipe.zca_eps, zca_space=recipe.zca_space
    )
    images, asked = preprocess.apply(rest.images), preprocess.apply(held.images)
    found = []
    with bar(total=n, desc="training networks") as progress:
        for k in range(10 * n):
            stream = generator(seed, "trained networks", k)
            reset(network, generator(seed, "network to train", k, device=device), recipe.weights)
            if low <= _train_to(network, low, stream, (images, rest.labels), (asked, held.labels)) < high:
                found.append({name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()})
                progress.update()
            if len(found) == n:
                return found
    raise DataDamError(
        f"of {10 * n} networks {len(found)} had an accuracy in [{low}, {high}) %, expected {n}; widen the interval."
    )


def _train_to(
    network: nn.Module, low: int, stream: torch.Generator,
    train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor],
) -> float:  # fmt: skip
    """Train a network until it is right on `low` percent of the held-out images or AT_MOST steps are done; how many."""
    device = next(network.parameters()).device
    optimizer, (images, labels) = torch.optim.SGD(network.parameters(), LR, MOMENTUM), train
    for step in range(AT_MOST):
        if step % EVERY == 0 and (right := accuracy(network.eval(), *held)) >= low:
            return right
        rows = torch.randint(len(images), (BATCH,), generator=stream)
        loss = F.cross_entropy(network.train()(images[rows].to(device)).logits, labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return accuracy(network.eval(), *held)
