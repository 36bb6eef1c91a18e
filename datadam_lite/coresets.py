"""Coresets: small sets of real images, chosen. Rows out, so that they serve as baselines and as starts.

Three of them ask where the images of a class lie in an embedding: a rule takes the points of a class and
says which to keep. `random` asks nothing; `forgetting` asks how a network learns.
"""

from collections.abc import Callable
from warnings import catch_warnings, simplefilter

import torch
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F

from datadam_lite.checks import check_choice, check_features, check_images
from datadam_lite.data import ImageSet
from datadam_lite.errors import known, positive
from datadam_lite.evaluate import train_network
from datadam_lite.networks import build, reset
from datadam_lite.preprocess import Preprocess
from datadam_lite.progress import bar
from datadam_lite.protocol import Protocol
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


def random(train: ImageSet, ipc: int, seed: int = 0) -> Int64[Tensor, " n"]:
    """Draw ipc images of every class; row numbers, class-major.

    Raises: DataDamError if a class holds fewer than ipc images, or `train` is no ImageSet. The other coresets do, too.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> len(random(train, 2))
    20
    """
    check_images("train", train)
    return train.sample(ipc, generator(seed, "random coreset"))


# ---- by where the images lie


def k_center(train: ImageSet, ipc: int, seed: int = 0, **embedding) -> Int64[Tensor, " n"]:
    """Choose per class by `farthest_first`: leave no image far from all chosen. embedding: options of `embed`.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> train.labels[k_center(train, 1, width=8)].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    return _by_rule(farthest_first, train, ipc, seed, **embedding)


def herding(train: ImageSet, ipc: int, seed: int = 0, **embedding) -> Int64[Tensor, " n"]:
    """Choose per class by `follow_mean`: keep the mean of all chosen at the class mean. embedding: as in `embed`.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> train.labels[herding(train, 2, width=8)].tolist()[:6]
    [0, 0, 1, 1, 2, 2]
    """
    return _by_rule(follow_mean, train, ipc, seed, **embedding)


def k_means(train: ImageSet, ipc: int, seed: int = 0, **embedding) -> Int64[Tensor, " n"]:
    """Choose per class by `one_per_cluster`: the middles of ipc clusters. embedding: as in `embed`.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> train.labels[k_means(train, 2, width=8)].tolist()[:6]
    [0, 0, 1, 1, 2, 2]
    """
    stream = generator(seed, "k-means")
    return _by_rule(lambda points, n: one_per_cluster(points, n, stream), train, ipc, seed, **embedding)


def farthest_first(features: Float[Tensor, "m d"], n: int) -> Int64[Tensor, " n"]:
    """Choose n of m points: the one nearest the mean, then the farthest from all chosen.

    The greedy 2-approximation of the k-center problem (Sener and Savarese, ICLR 2018).

    >>> farthest_first(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), 3).tolist()
    [2, 3, 0]
    """
    check_features(features)
    check_choice(n, len(features))
    from_mean = (features - features.mean(0)).norm(dim=1)
    chosen = [int(from_mean.argmin())]
    distance = torch.full((len(features),), torch.inf)
    while len(chosen) < n:
        from_last = (features - features[chosen[-1]]).norm(dim=1)
        distance = distance.minimum(from_last)
        distance[chosen[-1]] = -torch.inf  # never twice, even among equal points
        chosen.append(int(distance.argmax()))
    return torch.tensor(chosen)


def follow_mean(features: Float[Tensor, "m d"], n: int) -> Int64[Tensor, " n"]:
    """Choose n of m points one by one, each so that the mean of all chosen comes nearest to the mean of the m.

    Herding (Welling, ICML 2009), in the form of iCaRL (Rebuffi et al., CVPR 2017): after i points with the
    sum s, take argmin_x ‖(i + 1) μ - s - x‖.

    >>> follow_mean(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), 3).tolist()
    [2, 1, 3]
    """
    check_features(features)
    check_choice(n, len(features))
    mean, total = features.mean(0), torch.zeros_like(features[0])
    chosen = []
    while len(chosen) < n:
        wanted = (len(chosen) + 1) * mean - total  # the point that would put the mean right
        distance = (features - wanted).norm(dim=1)
        distance[chosen] = torch.inf  # never twice
        chosen.append(int(distance.argmin()))
        total += features[chosen[-1]]
    return torch.tensor(chosen)


def one_per_cluster(
    features: Float[Tensor, "m d"], n: int, generator: torch.Generator
) -> Int64[Tensor, " n"]:
    """Find n clusters of m points by k-means; choose for each centre a point of its own, as near as can be.

    Near: the sum of the distances is the least of all ways to give n centres n different points. K-means
    clusters are DC-Bench's starting points (Cui et al., NeurIPS 2022). generator: draws k-means' own starts.

    >>> points = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    >>> sorted(one_per_cluster(points, 2, torch.Generator().manual_seed(0)).tolist())
    [1, 3]
    """
    state = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    with catch_warnings():
        simplefilter("ignore")  # that equal points make fewer than n clusters: harmless here
        centres = KMeans(n, n_init=4, random_state=state).fit(features.numpy()).cluster_centers_
    distances = torch.cdist(torch.from_numpy(centres), features)  # (n, m)
    return torch.from_numpy(linear_sum_assignment(distances)[1])


def _by_rule(rule: Callable, train: ImageSet, ipc: int, seed: int, **embedding) -> Int64[Tensor, " n"]:
    check_images("train", train)
    train.require(ipc)
    features = embed(train, seed, **embedding)
    shuffled = _shuffled(train, seed)
    return torch.cat([rows[rule(features[rows], ipc)] for rows in shuffled])


def _shuffled(train: ImageSet, seed: int) -> list[Int64[Tensor, " m"]]:
    """The rows of each class in random order: then the first of several equals is any of them."""
    stream = generator(seed, "coreset ties")
    return [rows[torch.randperm(len(rows), generator=stream)] for rows in train.rows_of_class]


def embed(
    train: ImageSet, seed: int, *, width: int = 128, epochs: int = 0, settings: Settings | None = None
) -> Float[Tensor, "n d"]:
    """Embed all images with one ConvNet drawn from the seed, 500 at a time; on the CPU, wherever it is computed.

    epochs: 0 for a network with random weights; else how long it is first trained on all of `train`, which
    holds the images in memory in float32.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> embed(train, 0, width=8).shape
    torch.Size([1297, 8])
    """
    settings, preprocess = settings or Settings(), Preprocess.fit(train)
    network = _network(train, seed, width=width, epochs=epochs, settings=settings)
    features = []
    with torch.no_grad(), settings.autocast():
        for part in train.images.split(500):
            x = preprocess.apply(part).to(settings.torch_device())
            features.append(network(x).embedding.float().cpu())
    return torch.cat(features)


def _network(train: ImageSet, seed: int, *, width: int, epochs: int, settings: Settings) -> nn.Module:
    device = settings.torch_device()
    if epochs == 0:
        network = build("convnet", train.shape, len(train.classes), width=width)
        return reset(network, generator(seed, "coreset network")).to(device)
    protocol = Protocol("coreset features", epochs=epochs, batch=BATCH, width=width)
    whole = SyntheticSet.from_real(train, torch.arange(len(train)), Preprocess.fit(train))
    stream = generator(seed, "trained coreset network")
    return train_network(whole, stream, protocol=protocol, settings=settings)


# ---- by how they are learned

BATCH = 64  # of the networks that are trained on all images: small, so that few epochs are many steps


def forgetting(
    train: ImageSet, ipc: int, seed: int = 0, *,
    width: int = 128, epochs: int = 20, settings: Settings | None = None,
) -> Int64[Tensor, " n"]:  # fmt: skip
    """Choose per class the images most often forgotten while a network learns (Toneva et al., ICLR 2019).

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> train.labels[forgetting(train, 1, width=8, epochs=2)].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    check_images("train", train)
    train.require(ipc)
    events = forgetting_events(learning_history(train, seed, width=width, epochs=epochs, settings=settings))
    ranked = [rows[events[rows].argsort(descending=True, stable=True)] for rows in _shuffled(train, seed)]
    return torch.cat([rows[:ipc] for rows in ranked])


def forgetting_events(history: Bool[Tensor, "epochs n"]) -> Float[Tensor, " n"]:
    """Count how often each image was forgotten: right when it was last seen, and now wrong.

    An image that was never right counts as forgotten infinitely often, as in the paper (DeepCore has 0).

    >>> forgetting_events(torch.tensor([[True, False, True], [False, False, True], [True, False, False]]))
    tensor([1., inf, 1.])
    """
    events = (history[:-1] & ~history[1:]).sum(0).float()
    return events.masked_fill(~history.any(0), torch.inf)


def learning_history(
    train: ImageSet, seed: int, *, width: int = 128, epochs: int = 20, settings: Settings | None = None
) -> Bool[Tensor, "epochs n"]:
    """Train a ConvNet on all images; say for every epoch and image whether it was classified right.

    Every epoch shows every image once, as it is, and asks before it learns from it. SGD as in `Protocol`,
    at one learning rate. On a CPU an epoch of 50,000 images of 32x32 pixels takes minutes.

    Raises: DataDamError unless epochs is positive.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> learning_history(train, 0, width=8, epochs=2).shape
    torch.Size([2, 1297])
    """
    positive(epochs=epochs)
    settings, protocol = settings or Settings(), Protocol()
    device = settings.torch_device()
    stream = generator(seed, "learning history", device=device)
    images, labels = train.images.to(device), train.labels.to(device)
    preprocess = Preprocess.fit(train).to(device)
    network = reset(build("convnet", train.shape, len(train.classes), width=width).to(device), stream)
    optimizer = torch.optim.SGD(
        network.parameters(), protocol.lr, protocol.momentum, weight_decay=protocol.weight_decay
    )
    right = torch.zeros(epochs, len(train), dtype=torch.bool, device=device)
    for epoch in bar(range(epochs), desc="learning", unit="epoch"):
        for rows in torch.randperm(len(train), generator=stream, device=device).split(BATCH):
            with settings.autocast():
                logits = network(preprocess.apply(images[rows])).logits.float()
            right[epoch, rows] = logits.argmax(1) == labels[rows]
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
    return right.cpu()


CORESETS = {"random": random, "k_center": k_center, "herding": herding, "k_means": k_means, "forgetting": forgetting}


def select(name: str, train: ImageSet, ipc: int, seed: int = 0, **options) -> Int64[Tensor, " n"]:
    """Choose rows by the coreset of that name.

    Raises: DataDamError for an unknown name, or more images than a class has.
    """
    return known(name, CORESETS, "coreset")(train, ipc, seed, **options)
