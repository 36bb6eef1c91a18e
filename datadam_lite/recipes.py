"""Recipes: every constant of a method, frozen, with its source."""

from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from math import isfinite
from typing import get_args

from datadam_lite.attention import Attention, resolve, spatial
from datadam_lite.augment import DSA, operations
from datadam_lite.coresets import CORESETS
from datadam_lite.errors import DataDamError, known, positive
from datadam_lite.networks import NETWORKS, NORMS, POOLINGS
from datadam_lite.objectives import Term, attended, embedding
from datadam_lite.provenance import label


def _check_type(name: str, value, wanted) -> None:
    """Refuse what a command line or a notebook may pass by mistake: text for a number, NaN, true for 1."""
    kinds = (tuple,) if name == "attention" else get_args(wanted) or (wanted,)
    sane = isinstance(value, (int, float) if kinds == (float,) else kinds)
    sane = sane and (bool in kinds or not isinstance(value, bool))
    if not sane or (isinstance(value, float) and not isfinite(value)):
        expected = {float: "a finite number", int: "a whole number", bool: "true or false", str: "text"}
        raise DataDamError(f"{name} must be {expected.get(kinds[0], kinds[0])}; received {value!r}.")


@dataclass(frozen=True)
class Recipe:
    """What to match, with which networks, for how long. See `RECIPES` for the sources.

    >>> recipe("datadam", iterations=200).iterations
    200
    """

    name: str
    attention: tuple[str | Attention, ...]  # names of the table in attention.py, or functions; empty for DM
    power: float  # p of the spatial attention
    lam: float  # λ, the weight of the embedding term (DataDAM's L_MMD)
    loss_scale: float  # a factor on the whole loss; with plain SGD it multiplies the image learning rate
    iterations: int
    real_batch: int  # real images per class and iteration
    image_lr: float
    image_momentum: float
    init: str  # where the synthetic images start: a name from coresets.CORESETS
    zca: bool | None  # whiten after normalisation; None: where the paper does, on 32x32 colour images (CIFAR)
    zca_eps: float
    augmentation: str = DSA
    network: str = "convnet"
    width: int = 128
    depth: int | None = None  # None: by resolution
    norm: str = "instance"
    pooling: str = "avg"

    def __post_init__(self):
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        known(self.network, NETWORKS, "network")
        known(self.norm, NORMS, "norm")
        known(self.pooling, POOLINGS, "pooling")
        operations(self.augmentation)
        for attention in self.attention:
            resolve(attention)
        known(self.init, CORESETS, "initialisation")
        for field in ("iterations", "real_batch", "image_lr", "loss_scale", "power", "width"):
            positive(**{field: getattr(self, field)})
        positive(depth=1 if self.depth is None else self.depth)
        for field in ("lam", "image_momentum", "zca_eps"):
            if getattr(self, field) < 0:
                raise DataDamError(f"{field} must not be negative; received {getattr(self, field)}.")
        if self.attention and self.depth == 1:
            raise DataDamError("depth must be at least 2: attention is taken of all blocks but the last; received 1.")

    def for_images(self, shape: tuple[int, int, int]) -> "Recipe":
        """Return the recipe with what depends on the images decided.

        >>> recipe("datadam").for_images((3, 32, 32)).zca, recipe("datadam").for_images((3, 64, 64)).zca
        (True, False)
        """
        return replace(self, zca=shape == (3, 32, 32)) if self.zca is None else self

    def describe(self) -> dict:
        """Return plain values for provenance; a function becomes its name and a hash of its source."""
        return asdict(self) | {"attention": [label(a) for a in self.attention]}


RECIPES = {
    # Zhao and Bilen, WACV 2023, and its released code: the embedding alone.
    "dm": Recipe(
        name="dm", attention=(), power=4.0, lam=1.0, loss_scale=1.0,
        iterations=20_000, real_batch=256, image_lr=1.0, image_momentum=0.5,
        init="random", zca=False, zca_eps=0.1,
    ),
    # Sajedi et al., ICCV 2023. Hyper-parameter table of the paper: p = 4, λ = 0.01 for 32 pixels, 8,000
    # iterations, image learning rate 1, momentum 0.5, instance norm. The paper whitens CIFAR and nothing else,
    # but prints no eps: 0.1 is the released code's. It prints no real batch: 64 is the released code's.
    # It prints no loss scale, and the released code has 100: chapter 3 measures why 1 stands here.
    "datadam": Recipe(
        name="datadam", attention=("spatial",), power=4.0, lam=0.01, loss_scale=1.0,
        iterations=8_000, real_batch=64, image_lr=1.0, image_momentum=0.5,
        init="random", zca=None, zca_eps=0.1,
    ),
}


def recipe(name: str | Recipe = "datadam", **changes) -> Recipe:
    """Return a recipe by name, with some of its fields changed.

    `attention` may be a name, a function or a list of them.

    Raises: DataDamError for an unknown recipe, field or name in a field.

    >>> recipe("dm", width=32, real_batch=64).lam
    1.0
    """
    base = name if isinstance(name, Recipe) else known(name, RECIPES, "recipe")
    for field in changes:
        known(field, {f.name: f for f in fields(Recipe)}, "recipe field")
    if "attention" in changes:
        given = changes["attention"]
        changes["attention"] = tuple(given) if isinstance(given, list | tuple) else (given,)
    return replace(base, **changes)


def objective(recipe: Recipe) -> list[Term]:
    """Return the terms of a recipe's loss: scale * (sum of attention terms + λ * embedding term).

    >>> [(term.name, term.weight) for term in objective(recipe("datadam"))]
    [('spatial', 1.0), ('embedding', 0.01)]
    """
    terms = []
    for position, attention in enumerate(recipe.attention):
        function = partial(spatial, p=recipe.power) if attention == "spatial" else resolve(attention)
        name = attention if isinstance(attention, str) else getattr(attention, "__name__", "attention")
        taken = {"embedding", *(term.name for term in terms)}
        while name in taken:
            name = f"{name}{position}"
        terms.append(Term(name, recipe.loss_scale, attended(function)))
    return [*terms, Term("embedding", recipe.loss_scale * recipe.lam, embedding)]
