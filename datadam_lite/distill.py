"""The loop: one random network, one loss and one step of the images per iteration (DataDAM, algorithm 1)."""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from datadam_lite.augment import augment, draw, operations
from datadam_lite.checkpoint import checkpoint_exists, load_checkpoint, save_checkpoint
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, check_type
from datadam_lite.initial import file_sha256, start
from datadam_lite.networks import build, reset
from datadam_lite.objectives import class_vectors, matching_loss
from datadam_lite.preprocess import Preprocess, whiten_by_themselves
from datadam_lite.progress import bar
from datadam_lite.provenance import code_sha256
from datadam_lite.recipes import Recipe, objective, recipe
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


class Step(NamedTuple):
    """One iteration: its number from 1, the loss, and the terms it is the sum of."""

    iteration: int
    loss: float
    terms: dict[str, float]


class Distiller:
    """An iterator over the steps of a distillation; step it in a cell with `next(distiller)`.

    train: the real images; ipc: images per class; recipe: a name or a Recipe.
    After k steps `images` is a function of (train, recipe, seed, settings, k) and of nothing else.

    Raises: DataDamError if a class holds too few images.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> distiller = Distiller(train, 1, recipe("dm", width=8, real_batch=8, iterations=3))
    >>> [step.iteration for step in distiller]
    [1, 2, 3]
    """

    def __init__(
        self, train: ImageSet, ipc: int, recipe: Recipe, *, seed: int = 0, settings: Settings | None = None
    ):
        check_type("ipc", ipc, int)
        check_type("seed", seed, int)
        train.require(ipc)
        train.require(recipe.real_batch, "real images per class and iteration (real_batch)")
        recipe = recipe.for_images(train.shape, ipc)
        self.train, self.ipc, self.recipe, self.seed = train, ipc, recipe, seed
        self.settings = settings or Settings()
        self.device = self.settings.torch_device()
        self.terms = objective(recipe)
        self.operations = operations(recipe.augmentation, mirror=train.mirror)
        self.preprocess = Preprocess.fit(
            train, statistics=recipe.statistics, zca=recipe.zca, eps=recipe.zca_eps, zca_space=recipe.zca_space
        )
        self.start, self.initial_rows = start(
            recipe.init, train, ipc, seed, self.preprocess, self.settings
        )  # (K*ipc, C, H, W); rows of real images, or None
        if recipe.zca and recipe.zca_refit:
            self.start, self.initial_rows = whiten_by_themselves(self.start, recipe.zca_eps), None
        self.preprocess = self.preprocess.to(self.device)
        self.pixels = train.images.to(self.device)
        self.whitened = self.preprocess.apply(self.pixels) if recipe.zca else None  # too dear for every batch
        self.images = self.start.to(self.device, copy=True).requires_grad_()
        self.labels = torch.arange(len(train.classes)).repeat_interleave(ipc)
        self.optimizer = torch.optim.SGD([self.images], recipe.image_lr, recipe.image_momentum)
        network = build(recipe.network, train.shape, len(train.classes), **recipe.network_options())
        self.network = network.to(self.device).requires_grad_(False)
        self.class_vectors = torch.compile(class_vectors) if self.settings.compile else class_vectors
        self.losses: list[list[float]] = []
        self.whole = True  # whether images, momentum and losses are of one iteration: not in mid-step

    @property
    def iteration(self) -> int:
        """How many steps have been taken."""
        return len(self.losses)

    def real(self, rows: Tensor) -> Tensor:
        """Return real images of these rows, preprocessed: [n, C, H, W]."""
        rows = rows.to(self.device)
        return self.preprocess.apply(self.pixels[rows]) if self.whitened is None else self.whitened[rows]

    def loss(self, iteration: int) -> dict[str, Tensor]:
        """Return the terms of the loss at this iteration's network, real batch and augmentation.

        Any iteration can be replayed, at any time, for the images as they are now.
        """
        classes = len(self.train.classes)
        reset(self.network, generator(self.seed, "network", iteration, device=self.device), self.recipe.weights)
        rows = self.train.sample(self.recipe.real_batch, generator(self.seed, "real batch", iteration))
        real, synthetic = self.real(rows), self.synthetic_batch(iteration)
        if self.operations:
            stream = generator(self.seed, "augmentation", iteration, device=self.device)
            siamese = draw(self.operations, classes, stream, one_operation=False)  # one row for each class
            real, synthetic = augment(real, siamese), augment(synthetic, siamese)
        with self.settings.autocast():
            with torch.no_grad():
                real_vectors = self.class_vectors(self.network, self.terms, real, classes)
            synthetic_vectors = self.class_vectors(self.network, self.terms, synthetic, classes)
        return matching_loss(self.terms, real_vectors, synthetic_vectors)

    def synthetic_batch(self, iteration: int) -> Tensor:
        """Return the synthetic images that take part: all, or `synthetic_batch` of every class."""
        size = self.recipe.synthetic_batch
        if size is None or size >= self.ipc:
            return self.images
        stream = generator(self.seed, "synthetic batch", iteration)
        order = torch.rand(len(self.train.classes), self.ipc, generator=stream).argsort(1)[:, :size]  # (K, size)
        first = torch.arange(len(order))[:, None] * self.ipc  # the row at which each class begins
        return self.images[(first + order).flatten()]

    def __iter__(self) -> "Distiller":
        return self

    def __next__(self) -> Step:
        if self.iteration == self.recipe.iterations:
            raise StopIteration
        iteration = self.iteration + 1
        terms = self.loss(iteration)
        total = sum(terms.values())
        step = Step(iteration, total.item(), {name: term.item() for name, term in terms.items()})
        before, self.whole = self.images.detach().clone(), False
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        if not (math.isfinite(step.loss) and self.images.isfinite().all()):
            self.images.data.copy_(before)
            raise DataDamError(
                f"the loss is {step.loss} at iteration {iteration} (expected a finite number, and finite pixels after "
                "the step); the images of the last good iteration are kept. Try a smaller image_lr or loss_scale."
            )
        self.losses.append(list(step.terms.values()))
        self.whole = True
        return step

    def identity(self) -> dict:
        """What a checkpoint must agree with before it can be continued."""
        return {
            "recipe": self.recipe.describe(), "ipc": self.ipc, "seed": self.seed,
            "data": {"name": self.train.name, "sha256": self.train.sha256, "mirror": self.train.mirror},
            "init_sha256": file_sha256(self.recipe.init), "numerics": self.settings.numerics(),
        }  # fmt: skip

    def save_checkpoint(self, path: str | Path) -> None:
        """Write all that is needed to go on from here."""
        momentum = self.optimizer.state[self.images].get("momentum_buffer")  # None before the first step
        state = {"images": self.images.detach(), "momentum": momentum, "losses": self.losses}
        save_checkpoint(path, self.identity(), state)

    def load_checkpoint(self, path: str | Path) -> None:
        """Go on from a checkpoint of the same run.

        Raises: DataDamError if it can't be read, or names what differs if it is of another run.
        """
        state = load_checkpoint(path, self.identity(), self.device)
        with torch.no_grad():
            self.images.copy_(state["images"])
        self.optimizer.state[self.images]["momentum_buffer"] = state["momentum"]
        self.losses = state["losses"]

    def synthetic(self) -> SyntheticSet:
        """Return the distilled images as they are now, with preprocessing and provenance."""
        provenance = {
            "method": self.recipe.name, "recipe": self.recipe.describe(), "ipc": self.ipc, "seed": self.seed,
            "iterations": self.iteration, "data": self.train.name, "data_sha256": self.train.sha256,
            "init_sha256": file_sha256(self.recipe.init),
            "moved": float((self.images.detach().cpu() - self.start).square().mean().sqrt()),
            "terms": [term.name for term in self.terms],
            "numerics": self.settings.numerics(), "code_sha256": code_sha256(),
        }  # fmt: skip
        return SyntheticSet(
            self.images.detach().clone().cpu(), self.labels, self.train.classes,
            self.preprocess.to("cpu"), self.train.mirror, provenance, self.initial_rows,
            torch.tensor(self.losses, dtype=torch.float64).reshape(self.iteration, len(self.terms)),
        )  # fmt: skip


def distill(
    train: ImageSet, ipc: int, method: str | Recipe = "datadam", *,
    seed: int = 0, checkpoint: str | Path | None = None, settings: Settings | None = None, **changes,
) -> SyntheticSet:
    """Distil `train` into ipc images per class.

    method: a recipe or its name; changes: recipe fields, such as `attention=my_function`,
    `iterations=200` or `zca=False`; checkpoint: a file to write to as the run goes, and to go on
    from if it exists.

    Raises: DataDamError for bad input, a loss that is not finite, or a checkpoint of another run.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> distill(train, 1, width=8, real_batch=8, iterations=2).images.shape
    torch.Size([10, 1, 8, 8])
    """
    distiller = Distiller(train, ipc, recipe(method, **changes), seed=seed, settings=settings)
    if checkpoint and checkpoint_exists(checkpoint):
        distiller.load_checkpoint(checkpoint)
    try:
        _run(distiller, checkpoint)
    except KeyboardInterrupt:
        if checkpoint and distiller.whole:
            distiller.save_checkpoint(checkpoint)
        raise
    return distiller.synthetic()


def _run(distiller: Distiller, checkpoint: str | Path | None) -> None:
    with bar(total=distiller.recipe.iterations, initial=distiller.iteration, desc="distilling") as progress:
        for step in distiller:
            progress.set_postfix(loss=f"{step.loss:.4g}", refresh=False)
            progress.update()
            if checkpoint and step.iteration % distiller.settings.checkpoint_every == 0:
                distiller.save_checkpoint(checkpoint)
