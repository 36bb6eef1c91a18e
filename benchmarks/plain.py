"""What `datadam_lite` is measured against: the same steps in plain PyTorch, float32, as the field writes them.

A network is built anew in every step, hooks collect its maps, augmentation goes class by class, all classes pass
through the network together, and loops over attentions, layers and classes sum the loss. Nothing is compiled, nothing
runs in half precision. It computes what the package computes: tests/test_benchmarks.py compares images and weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datadam_lite.augment import augment, draw, operations
from datadam_lite.data import ImageSet
from datadam_lite.networks import depth_for, reset
from datadam_lite.preprocess import Preprocess
from datadam_lite.protocol import Protocol
from datadam_lite.recipes import Recipe
from datadam_lite.seeding import generator
from datadam_lite.synthetic import SyntheticSet

NORMS = {"instance": lambda width: nn.GroupNorm(width, width), "batch": nn.BatchNorm2d}
SUMMED = {"spatial": 1, "channel": (2, 3)}  # the axes of [B, C, H, W] that an attention sums over


def convnet(shape: tuple[int, int, int], classes: int, *, width: int, depth: int | None, norm: str) -> nn.Sequential:
    """Build the field's ConvNet for images of this shape (C, H, W).

    >>> convnet((3, 8, 8), 10, width=4, depth=None, norm="instance")(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """
    channels, height, side = shape
    depth = depth or depth_for(min(height, side))
    layers = []
    for i in range(depth):
        layers.append(nn.Conv2d(width if i else channels, width, 3, padding=1))
        layers += [NORMS[norm](width), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * (height >> depth) * (side >> depth), classes))


def watched(network: nn.Sequential) -> list[Tensor]:
    """Return a list to which every call of the network adds the maps of each block, then the embedding."""
    seen = []
    for layer in network:
        if isinstance(layer, nn.ReLU | nn.Flatten):
            layer.register_forward_hook(lambda layer, inputs, output: seen.append(output))
    return seen


def attention(maps: Tensor, name: str, p: float) -> Tensor:
    """|f|^p summed over channels ("spatial") or positions ("channel"), one unit vector per image: [B, D].

    >>> attention(torch.rand(2, 5, 4, 4), "spatial", 4.0).shape
    torch.Size([2, 16])
    """
    return F.normalize(maps.abs().pow(p).sum(SUMMED[name]).flatten(1), dim=1)


def of_class(k: int, batch: Tensor, classes: int) -> Tensor:
    """The rows of class k, of a batch in class order with equally many rows for each class."""
    n = len(batch) // classes
    return batch[k * n : (k + 1) * n]


def distance_of_means(real: Tensor, synthetic: Tensor, classes: int) -> Tensor:
    """Sum over classes of ||mean real - mean synthetic||^2, for vectors [B, D] in class order.

    >>> distance_of_means(torch.ones(6, 4), torch.zeros(2, 4), 2)
    tensor(8.)
    """
    total = 0
    for k in range(classes):
        difference = of_class(k, real, classes).mean(0) - of_class(k, synthetic, classes).mean(0)
        total = total + difference.square().sum()
    return total


class Distiller:
    """An iterator over the steps of a distillation; `next` takes one and returns the loss.

    start: the first synthetic images [K*ipc, C, H, W], in class order and as networks see them. All of them take part
    in every step; attentions are spatial and channel, normalised to unit length; networks are ConvNets.

    >>> from datadam_lite import load, recipe
    >>> train, _ = load("digits")
    >>> start = torch.zeros(10, 1, 8, 8)
    >>> steps = Distiller(train, start, recipe("dm", width=4, real_batch=2, lam=1.0, image_lr=1.0),
    ...                   preprocess=Preprocess.fit(train))
    >>> next(steps) > 0
    True
    """

    def __init__(
        self, train: ImageSet, start: Tensor, recipe: Recipe, *,
        preprocess: Preprocess, seed: int = 0, device: str = "cpu",
    ):  # fmt: skip
        self.train, self.seed, self.device = train, seed, device
        self.recipe = recipe.for_images(train.shape, len(start) // len(train.classes))
        self.operations = operations(recipe.augmentation, mirror=train.mirror)
        parts = [preprocess.apply(part) for part in train.images.split(500)]
        self.real = torch.cat(parts).to(device)  # all images, in float32
        self.images = start.detach().clone().to(device).requires_grad_()
        self.optimizer = torch.optim.SGD([self.images], self.recipe.image_lr, recipe.image_momentum)
        self.iteration = 0

    def __iter__(self) -> "Distiller":
        return self

    def __next__(self) -> float:
        self.iteration += 1
        loss = self.loss(self.iteration)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def loss(self, iteration: int) -> Tensor:
        """Return the loss at this iteration's network, real batch and augmentation."""
        real, synthetic = self.batches(iteration)
        network = self.network(iteration)
        seen = watched(network)
        network(real)  # no weight and no pixel of it needs a gradient, so that nothing is kept for one
        network(synthetic)
        return self.matching(seen[: len(seen) // 2], seen[len(seen) // 2 :])

    def batches(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Return real and synthetic images, augmented, in class order; a class shares its augmentation."""
        classes = len(self.train.classes)
        rows = self.train.sample(self.recipe.real_batch, generator(self.seed, "real batch", iteration))
        drawn = draw(self.operations, classes, generator(self.seed, "augmentation", iteration), one_operation=False)
        real, synthetic = [], []
        for k in range(classes):
            siamese = drawn.rows(slice(k, k + 1))
            real.append(augment(self.real[of_class(k, rows, classes)], siamese))
            synthetic.append(augment(of_class(k, self.images, classes), siamese))
        return torch.cat(real), torch.cat(synthetic)

    def network(self, iteration: int) -> nn.Sequential:
        """Return a new random network."""
        recipe = self.recipe
        network = convnet(
            self.train.shape, len(self.train.classes), width=recipe.width, depth=recipe.depth, norm=recipe.norm
        )
        reset(network, generator(self.seed, "network", iteration), recipe.weights)
        return network.to(self.device).requires_grad_(False)

    def matching(self, real: list[Tensor], synthetic: list[Tensor]) -> Tensor:
        """Return the loss of what the network's hooks saw: the maps of every block, and last the embeddings."""
        recipe, classes, total = self.recipe, len(self.train.classes), 0
        for name in recipe.attention:
            for blocks in zip(real[:-2], synthetic[:-2], strict=True):  # all but the last
                vectors = [attention(maps, name, recipe.power) for maps in blocks]
                total = total + distance_of_means(*vectors, classes)
        return recipe.loss_scale * (total + recipe.lam * distance_of_means(real[-1], synthetic[-1], classes))


def train_network(
    chosen: SyntheticSet, *, protocol: Protocol, seed: int | str = 0, device: str = "cpu"
) -> nn.Sequential:
    """Train a fresh ConvNet on a set, by PyTorch's data loader; return its final iterate, in evaluation mode.

    seed: decides the network, the order of the images and the augmentation.

    >>> chosen = SyntheticSet(torch.randn(2, 1, 8, 8), torch.arange(2), ("a", "b"), Preprocess(torch.zeros(1),
    ...                                                                                        torch.ones(1)))
    >>> train_network(chosen, protocol=Protocol(epochs=2, width=4)).training
    False
    """
    stream = generator(seed, "evaluation")
    shape, classes = tuple(chosen.images.shape[1:]), len(chosen.classes)
    network = convnet(shape, classes, width=protocol.width, depth=protocol.depth, norm=protocol.norm)
    network = reset(network, stream).to(device)
    weights, decay = network.parameters(), protocol.weight_decay
    optimizer = torch.optim.SGD(weights, protocol.lr, protocol.momentum, weight_decay=decay)
    data = TensorDataset(chosen.images, chosen.labels)
    loader = DataLoader(data, batch_size=protocol.batch, shuffle=True, generator=stream)
    strategy, drops = operations(protocol.augmentation, mirror=chosen.mirror), protocol.drops()
    for epoch in range(protocol.epochs):
        if epoch in drops:
            optimizer.param_groups[0]["lr"] *= protocol.decay
        for images, labels in loader:
            x, y = images.to(device), labels.to(device)
            if strategy:
                x = augment(x, draw(strategy, len(x), stream, one_operation=True))
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()
