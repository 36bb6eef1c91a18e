"""Evaluation: train fresh networks on a small set, test them on real images, report all of them.

One fixed protocol for every method and baseline, and always the final iterate: nothing is ever
chosen by looking at the test set.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from datadam_lite.augment import Draw, augment, draw, operations
from datadam_lite.checks import check_finite, check_images, check_kind
from datadam_lite.data import ImageSet
from datadam_lite.distributed import share, sum_over_ranks
from datadam_lite.errors import DataDamError, check_type
from datadam_lite.memory import fits
from datadam_lite.networks import reset
from datadam_lite.progress import bar
from datadam_lite.protocol import Protocol
from datadam_lite.report import Report
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.stacked import Stacked, halved, has_dropout, networks_at_once
from datadam_lite.synthetic import SyntheticSet


def train_network(
    chosen: SyntheticSet, generator: torch.Generator, *,
    protocol: Protocol | None = None, settings: Settings | None = None,
) -> nn.Module:
    """Train a fresh network on a set; return its final iterate, in evaluation mode.

    generator: on the CPU, whatever the device of `settings`; decides the network, the order of the images and the
    augmentation.

    Raises: DataDamError if an argument is of another kind.

    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> from datadam_lite.preprocess import Preprocess
    >>> train, _ = load("digits")
    >>> chosen = SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train))
    >>> train_network(chosen, generator(0, "example"), protocol=Protocol(epochs=2, width=8)).training
    False
    """
    check_kind("a set", chosen, SyntheticSet, "read a file with dd.SyntheticSet.load(path).")
    check_kind("generator", generator, torch.Generator, "of a seed: dd.generator(seed).")
    check_kind("protocol", protocol or Protocol(), Protocol, "of a name: dd.PROTOCOLS[name].")
    check_kind("settings", settings or Settings(), Settings, "of a device: dd.Settings(device).")
    return train_networks(chosen, [generator], protocol=protocol, settings=settings)[0]


def train_networks(
    chosen: SyntheticSet, generators: Sequence[torch.Generator], *,
    protocol: Protocol | None = None, settings: Settings | None = None,
) -> list[nn.Module]:
    """Train N fresh networks on a set at once, each as `train_network` would train it with its generator alone.

    The results agree to rounding. Networks with dropout are trained one by one: all of them at once would draw
    other numbers.

    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> from datadam_lite.preprocess import Preprocess
    >>> train, _ = load("digits")
    >>> chosen = SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train))
    >>> streams = [generator(0, "example", j) for j in range(3)]
    >>> len(train_networks(chosen, streams, protocol=Protocol(epochs=2, width=8)))
    3
    """
    protocol, settings = protocol or Protocol(), settings or Settings()
    settings.prepare()
    device, n = settings.torch_device(), len(generators)
    images, labels = chosen.images.to(device), chosen.labels.to(device)
    networks = [protocol.build(tuple(images.shape[1:]), len(chosen.classes)) for _ in generators]
    if n > 1 and has_dropout(networks[0]):
        return [train_network(chosen, stream, protocol=protocol, settings=settings) for stream in generators]
    for network, stream in zip(networks, generators, strict=True):
        reset(network, stream).to(device)  # drawn on the CPU: the same networks on a GPU
    stacked = Stacked(networks)
    weights = list(stacked.weights.values())
    optimizer = torch.optim.SGD(weights, protocol.lr, protocol.momentum, weight_decay=protocol.weight_decay)
    drops, strategy = protocol.drops(), operations(protocol.augmentation, mirror=chosen.mirror)
    forward, scale = settings.compiled(stacked.logits), settings.gradient_scale()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generators[0].initial_seed())  # a transformer's dropout draws from the global stream
        for epoch in range(protocol.epochs):
            if epoch in drops:
                optimizer.param_groups[0]["lr"] *= protocol.decay
                if protocol.forget_momentum:
                    optimizer.state.clear()
            orders = torch.stack([torch.randperm(len(images), generator=stream) for stream in generators])
            for part in orders.to(device, non_blocking=True).split(protocol.batch, 1):  # (N, B)
                rows = part.flatten()
                x = images[rows]  # (N*B, C, H, W), network by network
                if strategy:
                    x = augment(x, _draw(strategy, part.shape[1], generators))
                with settings.autocast():
                    logits = forward(x).float()  # (N*B, K)
                # N times the mean over all images is the sum of the networks' means: no gradient sees another network
                loss = n * F.cross_entropy(logits, labels[rows])
                optimizer.zero_grad()
                (scale * loss).backward()
                _unscale(weights, scale)
                optimizer.step()
    return [network.eval() for network in stacked.unstack()]


def _draw(strategy: tuple[str, ...], batch: int, generators: Sequence[torch.Generator]) -> Draw:
    """Return a row for every image: those of a network share the operation and differ in parameters."""
    drawn = [draw(strategy, batch, stream, one_operation=True) for stream in generators]
    return Draw(strategy, torch.cat([d.operation for d in drawn]), torch.cat([d.uniforms for d in drawn]))


def _unscale(weights: Sequence[Tensor], scale: float) -> None:
    """Take the factor out of the gradients; those too large for float16 count as zero, for this one step."""
    if scale != 1:
        for weight in weights:
            weight.grad.div_(scale).nan_to_num_(0, 0, 0)


@torch.no_grad()
def accuracy(
    network: nn.Module, images: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"]
) -> float:
    """Percentage of images whose largest logit is their label.

    network: returns maps, embedding and logits; in evaluation mode, as after `train_network`;
    images: preprocessed like those it was trained on.

    Raises: DataDamError if there are no images, or not as many labels as images.

    >>> from datadam_lite.networks import ConvNet
    >>> network = ConvNet((1, 8, 8), 2, width=4).eval()
    >>> images = torch.zeros(5, 1, 8, 8)
    >>> answers = network(images).logits.argmax(1)
    >>> accuracy(network, images, answers), accuracy(network, images, 1 - answers)
    (100.0, 0.0)
    """
    if labels.shape != images.shape[:1] or not len(images):
        raise DataDamError(
            f"expected one label for each of the images, and one of them at least; received {len(images)} images and "
            f"labels of shape {list(labels.shape)}."
        )
    device = next(network.parameters()).device
    predicted = [network(part.to(device)).logits.argmax(1) for part in images.split(500)]
    return 100 * (torch.cat(predicted).cpu() == labels).float().mean().item()


def evaluate(
    sets: SyntheticSet | Sequence[SyntheticSet], test: ImageSet, *, networks: int = 5,
    protocol: Protocol | None = None, seed: int = 0, settings: Settings | None = None,
) -> Report:
    """Train `networks` fresh networks on each set and test them on real images.

    Raises: DataDamError if an argument is of another kind, the sets do not fit the test images or hold NaN, or a
    training diverges.

    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> from datadam_lite.preprocess import Preprocess
    >>> train, test = load("digits")
    >>> chosen = SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train))
    >>> evaluate(chosen, test, networks=1, protocol=Protocol(epochs=5, width=8)).record()["n_networks"]
    1
    """
    check_type("networks", networks, int)
    check_kind("protocol", protocol or Protocol(), Protocol, "of a name: dd.PROTOCOLS[name].")
    check_kind("settings", settings or Settings(), Settings, "of a device: dd.Settings(device).")
    if not (isinstance(sets, SyntheticSet) or hasattr(sets, "__iter__")):
        raise DataDamError(
            f"expected a SyntheticSet, or a list of them; received {type(sets).__name__}. Read a file with "
            "dd.SyntheticSet.load(path)."
        )
    sets = [sets] if isinstance(sets, SyntheticSet) else list(sets)
    if networks < 1 or not sets:
        raise DataDamError(f"expected at least one set and one network; received {len(sets)} and {networks}.")
    for chosen in sets:
        _check_fit(chosen, test)  # all of them, before any is trained on
    tasks = [(i, j) for i in range(len(sets)) for j in range(networks)]
    found = _measure(
        share(tasks), sets, test=test, protocol=protocol or Protocol(), seed=seed, settings=settings or Settings()
    )
    percent = torch.tensor([found.get(task, 0.0) for task in tasks], dtype=torch.float64)  # 0: of another process
    return Report(sum_over_ranks(percent).unflatten(0, (len(sets), networks)).tolist())


def _measure(
    tasks: Sequence[tuple[int, int]], sets: Sequence[SyntheticSet], *,
    test: ImageSet, protocol: Protocol, seed: int, settings: Settings,
) -> dict[tuple[int, int], float]:
    """Return the accuracy of every task (i, j): network j on set i, whose random numbers depend on (seed, i, j) alone.

    tasks: some or all, or none, those of a set next to each other.
    """
    found = {}
    with bar(total=len(tasks), desc="evaluating", unit="network") as progress:
        for i, group in groupby(tasks, lambda task: task[0]):
            of_set, test_images = list(group), sets[i].preprocess.apply(test.images)
            if fits(test_images.nbytes, settings.torch_device()):
                test_images = test_images.to(settings.torch_device())
            streams = [(seed, "evaluation", *task) for task in of_set]
            trained = _train_in_groups(sets[i], streams, protocol=protocol, settings=settings)
            for task, network in zip(of_set, trained, strict=True):
                check_finite(
                    network.parameters(), "the weights of a network trained on the set",
                    "the training diverged; choose a smaller lr in the protocol.",
                )  # fmt: skip
                found[task] = accuracy(network, test_images, test.labels)
                progress.update()
    return found


def _train_in_groups(
    chosen: SyntheticSet, streams: Sequence[tuple], *, protocol: Protocol, settings: Settings
) -> Iterator[nn.Module]:
    """Train a network for every named stream, as many at once as fit; if memory runs out, half as many from then on."""
    device, left = settings.torch_device(), list(streams)
    batch = chosen.images[: protocol.batch].to(device)
    network = protocol.build(tuple(batch.shape[1:]), len(chosen.classes)).to(device)
    at_once = networks_at_once(network, batch, settings)
    while left:
        group = [generator(*names) for names in left[:at_once]]
        try:
            networks = train_networks(chosen, group, protocol=protocol, settings=settings)
        except torch.OutOfMemoryError as error:
            networks, at_once = [], halved(len(group), error)
        if not networks:
            torch.cuda.empty_cache()  # here, where the error holds no tensors any more
            warnings.warn(f"out of memory on {device}; going on with {at_once} networks at once", stacklevel=2)
        yield from networks
        left = left[len(networks) :]


def cross_architecture(
    sets: SyntheticSet | Sequence[SyntheticSet], test: ImageSet, architectures: Sequence[str], *,
    networks: int = 5, protocol: Protocol | None = None, settings: Settings | None = None,
) -> dict[str, Report]:
    """Evaluate the same sets with several architectures: one row of a cross-architecture table.

    architectures: names from `networks.NETWORKS`.

    Raises: DataDamError for an unknown name, images too small for a network, or what `evaluate` refuses.

    >>> from datadam_lite.coresets import random
    >>> from datadam_lite.data import load
    >>> from datadam_lite.preprocess import Preprocess
    >>> train, test = load("digits")
    >>> chosen = SyntheticSet.from_real(train, random(train, 1), Preprocess.fit(train))
    >>> list(cross_architecture(chosen, test, ["convnet"], networks=1, protocol=Protocol(epochs=2, width=8)))
    ['convnet']
    """
    if isinstance(architectures, str):
        raise DataDamError(f"architectures must be a list of names, such as [{architectures!r}].")
    if not hasattr(architectures, "__iter__"):
        raise DataDamError(f'architectures must be a list of names, such as ["convnet"]; received {architectures!r}.')
    check_images("test", test)
    check_kind("protocol", protocol or Protocol(), Protocol, "of a name: dd.PROTOCOLS[name].")
    protocols = {name: replace(protocol or Protocol(), network=name) for name in architectures}
    for each in protocols.values():
        each.build(test.shape, len(test.classes))  # what can't be built says so before any is trained
    return {
        name: evaluate(sets, test, networks=networks, protocol=each, settings=settings)
        for name, each in protocols.items()
    }


def _check_fit(chosen: SyntheticSet, test: ImageSet) -> None:
    check_kind("a set", chosen, SyntheticSet, "read a file with dd.SyntheticSet.load(path).")
    check_images("test", test)
    check_finite([chosen.images], "the images of a set", "there is nothing to learn from it.")
    if not len(chosen) or not len(test):
        raise DataDamError(f"expected images to train on and to test on; received {len(chosen)} and {len(test)}.")
    if tuple(chosen.images.shape[1:]) != test.shape or chosen.classes != test.classes:
        raise DataDamError(
            f"the set holds images {list(chosen.images.shape[1:])} of {len(chosen.classes)} classes, but the test "
            f"images of {test.name} are {list(test.shape)} in {len(test.classes)} classes, or the class names "
            "differ; evaluate it on the data set it was distilled from."
        )
