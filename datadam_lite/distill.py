"""The loop: one random network, one loss and one step of the images per iteration (DataDAM, algorithm 1)."""

import math
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from datadam_lite import distributed
from datadam_lite.augment import Draw, augment, draw, operations
from datadam_lite.checkpoint import checkpoint_exists, load_checkpoint, save_checkpoint
from datadam_lite.checks import check_images, check_kind
from datadam_lite.chunks import check_work, chunk_size, halved, slices
from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError, check_type
from datadam_lite.initial import file_sha256, start
from datadam_lite.memory import fits
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


class Drawn(NamedTuple):
    """What one iteration draws beside its network: rows of real and of synthetic images, and the augmentation."""

    real: Int64[Tensor, "k n"]
    synthetic: Int64[Tensor, "k m"]
    siamese: Draw | None


class Distiller:
    """An iterator over the steps of a distillation; step it in a cell with `next(distiller)`.

    train: the real images; ipc: images per class; recipe: from `recipe(name)`.
    After k steps `images` is a function of (train, recipe, seed, settings, k) and of nothing else.
    If several processes share the run (see `distributed`), each steps the images of its own classes.

    Raises: DataDamError if an argument is of another kind, a class holds too few images, `settings.chunk` would change
    what batch norm computes, or there is not a chunk for every process.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> distiller = Distiller(train, 1, recipe("dm", width=8, real_batch=8, iterations=3))
    >>> [step.iteration for step in distiller]
    [1, 2, 3]
    """

    def __init__(
        self, train: ImageSet, ipc: int, recipe: Recipe, *, seed: int = 0, settings: Settings | None = None
    ):
        check_images("train", train)
        check_kind("recipe", recipe, Recipe, "of a name: dd.recipe(name).")
        check_kind("settings", settings or Settings(), Settings, "of a device: dd.Settings(device).")
        check_type("ipc", ipc, int)
        check_type("seed", seed, int)
        train.require(ipc)
        train.require(recipe.real_batch, "real images per class and iteration (real_batch)")
        recipe = recipe.for_images(train.shape, ipc)
        self.train, self.ipc, self.recipe, self.seed = train, ipc, recipe, seed
        self.settings = settings or Settings()
        self.settings.prepare()
        self.device = self.settings.torch_device()
        self.terms = objective(recipe)
        self.operations = operations(recipe.augmentation, mirror=train.mirror)
        network = build(recipe.network, train.shape, len(train.classes), **recipe.network_options())
        self.network = network.to(self.device).requires_grad_(False)
        self.class_vectors = self.settings.compiled(class_vectors)
        self.divide(
            chunk_size(self.network, recipe, train.shape, len(train.classes), ipc, asked=self.settings.chunk)
        )
        self.preprocess = Preprocess.fit(
            train, statistics=recipe.statistics, zca=recipe.zca, eps=recipe.zca_eps, zca_space=recipe.zca_space
        )
        self.start, self.initial_rows = start(
            recipe.init, train, ipc, seed, self.preprocess, self.settings
        )  # (K*ipc, C, H, W); rows of real images, or None
        if recipe.zca and recipe.zca_refit:
            self.start, self.initial_rows = whiten_by_themselves(self.start, recipe.zca_eps), None
        for tensor in (self.start, self.initial_rows):
            if tensor is not None:
                distributed.exchange([tensor])  # one start for all processes: a coreset found on a GPU may differ
        self.preprocess = self.preprocess.to(self.device)
        self.pixels = train.images.to(self.device if fits(train.images.nbytes, self.device) else "cpu")
        self.whitened = self.preprocess.apply(self.pixels) if recipe.zca else None  # too dear for every batch
        self.images = self.start.to(self.device, copy=True).requires_grad_()
        self.labels = torch.arange(len(train.classes)).repeat_interleave(ipc)
        self.optimizer = torch.optim.SGD([self.images], recipe.image_lr, recipe.image_momentum)
        self.losses: list[list[float]] = []
        self.saved = 0  # the iteration of the last checkpoint
        self.whole = True  # whether images, momentum and losses are of one iteration: not in mid-step

    @property
    def iteration(self) -> int:
        """How many steps have been taken."""
        return len(self.losses)

    @property
    def chunks(self) -> list[slice]:
        """The classes of each chunk of this process."""
        own = self.parts[distributed.rank()]
        return [slice(own.start + c.start, own.start + c.stop) for c in slices(own.stop - own.start, self.chunk)]

    def divide(self, chunk: int) -> None:
        """Cut the classes into chunks, and divide the chunks over the processes.

        Raises: DataDamError if there are fewer chunks than processes.
        """
        chunks = slices(len(self.train.classes), chunk)
        check_work(len(chunks), len(self.train.classes), distributed.ranks())
        self.chunk = chunk
        parts = distributed.divided(chunks, distributed.ranks())
        self.parts = [slice(part[0].start, part[-1].stop) for part in parts]  # the classes of each process

    def real(self, rows: Tensor) -> Tensor:
        """Return real images of these rows, preprocessed: [n, C, H, W]."""
        held = self.pixels if self.whitened is None else self.whitened
        batch = held[rows.to(held.device)].to(self.device)
        return self.preprocess.apply(batch) if self.whitened is None else batch

    def draw(self, iteration: int) -> Drawn:
        """Draw this iteration's network, real batch, synthetic batch and augmentation: one row for each class."""
        classes = len(self.train.classes)
        reset(self.network, generator(self.seed, "network", iteration, device=self.device), self.recipe.weights)
        real = self.train.sample(self.recipe.real_batch, generator(self.seed, "real batch", iteration))
        stream = generator(self.seed, "augmentation", iteration)
        siamese = draw(self.operations, classes, stream, one_operation=False) if self.operations else None
        return Drawn(real.unflatten(0, (classes, -1)), self.synthetic_rows(iteration), siamese)

    def synthetic_rows(self, iteration: int) -> Int64[Tensor, "k m"]:
        """Return the rows of the synthetic images that take part: all, or `synthetic_batch` of every class."""
        rows = torch.arange(len(self.images)).unflatten(0, (-1, self.ipc))  # (K, ipc)
        size = self.recipe.synthetic_batch
        if size is None or size >= self.ipc:
            return rows
        stream = generator(self.seed, "synthetic batch", iteration)
        return rows.gather(1, torch.rand(rows.shape, generator=stream).argsort(1)[:, :size])  # (K, size)

    def loss(self, iteration: int) -> dict[str, Tensor]:
        """Return the terms of the loss at this iteration's network, real batch and augmentation.

        Any iteration can be replayed, at any time, for the images as they are now.
        """
        drawn, chunks = self.draw(iteration), slices(len(self.train.classes), self.chunk)
        parts = [self.loss_of(classes, self.images[self.rows(drawn, classes)], drawn) for classes in chunks]
        return {term.name: sum(part[term.name] for part in parts) for term in self.terms}

    def rows(self, drawn: Drawn, classes: slice) -> Int64[Tensor, " rows"]:
        """Return the rows of the synthetic images of these classes that take part."""
        return drawn.synthetic[classes].flatten().to(self.device)

    def loss_of(self, classes: slice, synthetic: Tensor, drawn: Drawn) -> dict[str, Tensor]:
        """Return the terms of the loss of some classes; the loss of all is the sum."""
        count = len(drawn.real[classes])
        real = self.real(drawn.real[classes].flatten())
        if drawn.siamese:
            siamese = drawn.siamese.rows(classes)
            real, synthetic = augment(real, siamese), augment(synthetic, siamese)
        with self.settings.autocast():
            with torch.no_grad():
                real_vectors = self.class_vectors(self.network, self.terms, real, count)
            synthetic_vectors = self.class_vectors(self.network, self.terms, synthetic, count)
        return matching_loss(self.terms, real_vectors, synthetic_vectors)

    def gradient(self, iteration: int) -> tuple[Float[Tensor, "k terms"], Float[Tensor, "b c h w"]]:
        """Return what each chunk adds to each term (in the row of its first class), and the gradient of the images.

        Both are zero for the classes of other processes.

        One chunk at a time: what the backward pass needs of one is gone before the next begins. If the GPU's memory
        is too small, the chunk is halved, with a warning.
        """
        while True:
            try:
                return self._gradient(self.draw(iteration))
            except torch.OutOfMemoryError as error:
                self.chunk = halved(self.chunk, self.network, error)
            torch.cuda.empty_cache()  # here, where the error holds no tensors any more
            warnings.warn(f"out of memory on {self.device}; going on with {self.chunk} classes at once", stacklevel=3)

    def _gradient(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        shares = torch.zeros(len(self.train.classes), len(self.terms), dtype=torch.float64, device=self.device)
        gradient, scale = torch.zeros_like(self.images), self.settings.gradient_scale()
        for classes in self.chunks:
            rows = self.rows(drawn, classes)
            images = self.images.detach()[rows].requires_grad_()
            terms = self.loss_of(classes, images, drawn)
            (scale * sum(terms.values())).backward()
            gradient[rows] = images.grad / scale
            shares[classes.start] = torch.stack([*terms.values()]).detach()
        return shares, gradient

    def __iter__(self) -> "Distiller":
        return self

    def __next__(self) -> Step:
        if self.iteration == self.recipe.iterations:
            raise StopIteration
        iteration = self.iteration + 1
        shares, gradient = self.gradient(iteration)
        before, self.whole = self.images.detach().clone(), False
        self.images.grad = gradient
        self.optimizer.step()
        finite, terms = self.added_up(shares)
        step = Step(iteration, sum(terms), dict(zip([term.name for term in self.terms], terms, strict=True)))
        if not (math.isfinite(step.loss) and finite):
            self.images.data.copy_(before)
            raise DataDamError(
                f"the loss is {step.loss} at iteration {iteration} (expected a finite number, and finite pixels after "
                "the step); the images of the last good iteration are kept. Try a smaller image_lr or loss_scale."
            )
        self.losses.append(terms)
        self.whole = True
        return step

    def added_up(self, shares: Float[Tensor, "k terms"]) -> tuple[bool, list[float]]:
        """Return whether the images are finite, and the terms: of all classes, the same in every process."""
        broken = ~self.images.isfinite().all()
        own = torch.cat([broken[None], shares.flatten()]).cpu()  # the one moment that waits for a GPU
        total = distributed.sum_over_ranks(own)  # exact: a share is zero in all processes but one
        return not total[0], total[1:].view(shares.shape).sum(0).tolist()

    def gather(self) -> None:
        """Bring the images and momentum of all classes to every process; all of them must call this."""
        momentum = self.optimizer.state[self.images].get("momentum_buffer")
        for tensor in (self.images.detach(), momentum):
            if tensor is not None:  # there is no momentum before the first step
                distributed.exchange([tensor[part.start * self.ipc : part.stop * self.ipc] for part in self.parts])

    def identity(self) -> dict:
        """What a checkpoint must agree with before it can be continued."""
        return {
            "recipe": self.recipe.describe(), "ipc": self.ipc, "seed": self.seed,
            "data": {"name": self.train.name, "sha256": self.train.sha256, "mirror": self.train.mirror},
            "init_sha256": file_sha256(self.recipe.init), "numerics": self.settings.numerics(),
        }  # fmt: skip

    def save_checkpoint(self, path: str | Path) -> None:
        """Write all that is needed to go on from here: every process calls this, the first one writes."""
        self.gather()
        momentum = self.optimizer.state[self.images].get("momentum_buffer")  # None before the first step
        chunks = {"chunk": self.chunk, "asked": self.settings.chunk}
        state = {"images": self.images.detach(), "momentum": momentum, "losses": self.losses, **chunks}
        if distributed.rank() == 0:
            save_checkpoint(path, self.identity(), state)
        distributed.wait_for_all()
        self.saved = self.iteration

    def load_checkpoint(self, path: str | Path) -> None:
        """Go on from a checkpoint of the same run, with as many classes at once as it had.

        Raises: DataDamError if it can't be read, or names what differs if it is of another run.
        """
        state = load_checkpoint(path, self.identity(), self.device)
        if self.settings.chunk not in (None, state["asked"]):  # what was asked for may have been too much, and halved
            raise DataDamError(
                f"{path} belongs to another run: chunk is {state['asked']} there and {self.settings.chunk} here. "
                "Use another output name, or leave chunk out."
            )
        self.divide(state["chunk"])
        with torch.no_grad():
            self.images.copy_(state["images"])
        self.optimizer.state[self.images]["momentum_buffer"] = state["momentum"]
        self.losses = state["losses"]
        self.saved = self.iteration

    def synthetic(self) -> SyntheticSet:
        """Return the distilled images as they are now, with preprocessing and provenance; every process calls this."""
        self.gather()
        provenance = {
            "method": self.recipe.name, "recipe": self.recipe.describe(), "ipc": self.ipc, "seed": self.seed,
            "iterations": self.iteration, "data": self.train.name, "data_sha256": self.train.sha256,
            "init_sha256": file_sha256(self.recipe.init),
            "moved": float((self.images.detach().cpu() - self.start).square().mean().sqrt()),
            "terms": [term.name for term in self.terms],
            "numerics": self.settings.numerics() | {"chunk": self.chunk}, "code_sha256": code_sha256(),
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
    from if it exists. If several processes share the run, all of them call this and get the same.

    Raises: DataDamError for bad input, a loss that is not finite, or a checkpoint of another run; Ended if another
    process has died.

    >>> from datadam_lite.data import load
    >>> train, _ = load("digits")
    >>> distill(train, 1, width=8, real_batch=8, iterations=2).images.shape
    torch.Size([10, 1, 8, 8])
    """
    if callable(method):
        raise DataDamError(
            "expected a recipe or its name; received a function. Pass it as the attention: distill(train, ipc, "
            "attention=function)."
        )
    distiller = Distiller(train, ipc, recipe(method, **changes), seed=seed, settings=settings)
    if checkpoint and checkpoint_exists(checkpoint):
        distiller.load_checkpoint(checkpoint)
    distributed.require_same(distiller.identity(), distiller.parts, distiller.iteration)
    try:
        _run(distiller, checkpoint)
        return distiller.synthetic()
    except distributed.Ended as ended:
        start = f"{checkpoint}, at iteration {distiller.saved}" if distiller.saved else "the beginning"
        raise distributed.Ended(f"{ended}; the same command goes on from {start}") from ended


def _run(distiller: Distiller, checkpoint: str | Path | None) -> None:
    with bar(total=distiller.recipe.iterations, initial=distiller.iteration, desc="distilling") as progress:
        try:
            for step in distiller:
                progress.set_postfix(loss=f"{step.loss:.4g}", refresh=False)
                progress.update()
                if checkpoint and step.iteration % distiller.settings.checkpoint_every == 0:
                    distiller.save_checkpoint(checkpoint)
        except KeyboardInterrupt:
            if checkpoint and distiller.whole and distributed.ranks() == 1:  # other processes may be in mid-step
                distiller.save_checkpoint(checkpoint)
            raise
