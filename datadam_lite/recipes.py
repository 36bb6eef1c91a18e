"""Recipes: every constant of a method, frozen, with its source."""

from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from math import inf

from datadam_lite.attention import NORMALISE, Attention, feature_map, resolve
from datadam_lite.augment import DSA, operations
from datadam_lite.errors import DataDamError, check_type, known, positive
from datadam_lite.initial import check_init
from datadam_lite.layers import ACTIVATIONS, NORMS, POOLINGS
from datadam_lite.mmd import KERNELS, mmd
from datadam_lite.networks import NETWORKS, WEIGHTS
from datadam_lite.objectives import Term, attended, distance_of_means, embedding
from datadam_lite.preprocess import STATISTICS, ZCA_SPACES
from datadam_lite.provenance import label

CONVNET = ("width", "depth", "norm", "activation", "pooling")  # fields that are its options


@dataclass(frozen=True)
class Recipe:
    """What to match, with which networks, for how long. None means: decided by the images and the ipc.

    >>> recipe("datadam", iterations=200).iterations
    200
    """

    name: str
    # What is matched
    attention: tuple[str | Attention, ...]  # names of the table in attention.py, or functions; empty for DM
    attention_weights: tuple[float, ...] | None = None  # one for each attention; None: all 1
    power: float = 4.0  # p of the attentions by name
    normalise: str = "l2"  # of their vectors: l2, l1 or none
    layers: tuple[int, ...] | None = None  # blocks whose attention is matched, from 1; None: all but the last
    lam: float | None = None  # λ, the weight of the embedding term; None: 0.01, from 64 pixels on 0.02
    kernel: str = "linear"  # of the embedding term's MMD
    unbiased: bool = False  # its estimate
    loss_scale: float = 1.0  # a factor on the whole loss; with plain SGD it multiplies the image learning rate
    # How the images are made
    iterations: int = 8_000
    real_batch: int = 64  # real images per class and iteration
    synthetic_batch: int | None = None  # synthetic images per class and iteration; None: all
    image_lr: float | None = None  # None: 1 up to 50 images per class, above 10
    image_momentum: float = 0.5
    init: str = "random"  # where the images start: a coreset, noise, or the path of a distilled set
    augmentation: str = DSA
    # The space they live in
    statistics: str = "exact"  # normalisation by the training images' own, or by the "field"'s constants
    zca: bool | None = None  # whiten; None: 32x32 colour images only (the paper: CIFAR only)
    zca_eps: float = 0.1
    zca_space: str = "normalised"  # whiten after normalisation, or plain "pixels" instead of it
    zca_refit: bool = False  # whiten the initial images once more, by their own covariance
    # The random networks
    network: str = "convnet"
    width: int = 128
    depth: int | None = None  # None: 3 up to 32 pixels, 4 at 64, 5 at 128
    norm: str = "instance"
    norm_classes: int | None = None  # classes that batch norm averages over together; None: all
    activation: str = "relu"
    pooling: str = "avg"
    weights: str = "uniform"  # their distribution: PyTorch's default, or He's "normal"

    def __post_init__(self):
        if callable(self.kernel):
            raise DataDamError(
                "a recipe names its kernel, so that it can be written down; give a function of your own a name: "
                'dd.KERNELS["mine"] = function, and then kernel="mine".'
            )
        for field in fields(self):
            check_type(field.name, getattr(self, field.name), field.type)
        self._check_names()
        self._check_numbers()
        self._check_combinations()

    def _check_names(self):
        tables = {
            "network": NETWORKS, "norm": NORMS, "activation": ACTIVATIONS, "pooling": POOLINGS, "weights": WEIGHTS,
            "kernel": KERNELS, "normalise": NORMALISE, "statistics": STATISTICS, "zca_space": ZCA_SPACES,
        }  # fmt: skip
        for field, table in tables.items():
            known(getattr(self, field), table, field)
        operations(self.augmentation)
        for attention in self.attention:
            resolve(attention)
        check_init(self.init)

    def _check_numbers(self):
        optional = ("synthetic_batch", "image_lr", "depth", "norm_classes")
        for field in ("iterations", "real_batch", "loss_scale", "power", "width", "zca_eps", *optional):
            value = getattr(self, field)
            if not (field in optional and value is None):
                positive(**{field: value})
        for layer in self.layers or ():
            positive(layers=layer)
        not_negative = [(field, getattr(self, field) or 0) for field in ("lam", "image_momentum")]
        for field, value in not_negative + [("attention_weights", w) for w in self.attention_weights or ()]:
            if value < 0:
                raise DataDamError(f"{field} must not be negative; received {value}.")

    def _check_combinations(self):
        if self.attention and self.depth == 1 and self.layers is None:
            raise DataDamError("depth must be at least 2: attention is taken of all blocks but the last; received 1.")
        if self.layers is not None:
            sane = 0 < len(self.layers) == len(set(self.layers)) and max(self.layers) <= (self.depth or inf)
            if not sane:
                raise DataDamError(
                    f"layers must be different numbers of blocks, from 1 to the depth; received {list(self.layers)}."
                )
        if self.attention_weights is not None and len(self.attention_weights) != len(self.attention):
            raise DataDamError(
                f"attention_weights needs one number for each of the {len(self.attention)} attentions; "
                f"received {len(self.attention_weights)}."
            )
        if self.norm_classes is not None and self.norm != "batch":
            raise DataDamError(f"norm_classes needs the norm batch; received the norm {self.norm}: leave it out.")
        for field in CONVNET:
            if field not in self.network_options() and getattr(self, field) != DEFAULT[field]:
                raise DataDamError(f"{self.network} has no {field}; leave it at {DEFAULT[field]}, or use the convnet.")
        if self.lam == 0 and not (any(self.attention_weights) if self.attention_weights else self.attention):
            raise DataDamError("nothing to match: lam is 0 and no attention has a weight; give one of them.")

    def for_images(self, shape: tuple[int, int, int], ipc: int) -> "Recipe":
        """Return the recipe with what depends on the images and their number decided.

        shape: (C, H, W); ipc: images per class.

        >>> decided = recipe("datadam").for_images((3, 64, 64), ipc=100)
        >>> decided.zca, decided.lam, decided.image_lr
        (False, 0.02, 10.0)
        """
        decided = {
            "zca": shape == (3, 32, 32),  # DataDAM and ATOM whiten CIFAR; here all images of its shape
            "lam": 0.02 if max(shape[1:]) >= 64 else 0.01,  # DataDAM's hyper-parameter table
            "image_lr": 1.0 if ipc <= 50 else 10.0,  # the same
        }
        return replace(self, **{field: value for field, value in decided.items() if getattr(self, field) is None})

    def network_options(self) -> dict:
        """Return what `networks.build` needs beside the name; only the ConvNet has a width, depth and so on."""
        if self.network == "vit":
            return {"dropout": 0.0}  # a random network is a fixed function
        names = CONVNET if self.network == "convnet" else ("norm",)
        return {name: getattr(self, name) for name in names}

    def describe(self) -> dict:
        """Return plain values for provenance; a function becomes its name and a hash of its source."""
        return asdict(self) | {"attention": [label(a) for a in self.attention]}


DEFAULT = {field.name: field.default for field in fields(Recipe)}

# Sajedi et al., ICCV 2023. Hyper-parameter table: p = 4, λ = 0.01 (low resolution) or 0.02, 8,000 iterations, image
# learning rate 1 (10 above 50 images per class), momentum 0.5, instance norm, unit length. The paper whitens CIFAR but
# prints no eps: 0.1 is the released code's. It prints no real batch: 64 is the released code's. It prints no factor
# on the loss, where the released code has 100: chapter 3 measures why 1 stands here.
DATADAM = Recipe(name="datadam", attention=("spatial",))

RECIPES = {
    # Zhao and Bilen, WACV 2023, and its released code: the embedding alone. (It has image learning rate 10 from 100
    # images per class on for CIFAR-10, and 1 for CIFAR-100 throughout.)
    "dm": Recipe(name="dm", attention=(), lam=1.0, iterations=20_000, real_batch=256, image_lr=1.0, zca=False),
    "datadam": DATADAM,
    # What the released DataDAM code runs (version of June 2024) if no option is given: batch norm, plain sums of the
    # activations (p = 1), both terms times 100, 20,000 iterations, λ = 0.01 and three blocks at every resolution, no
    # whitening, and the field's constants for normalisation. Its evaluation is the protocol of the same name.
    "datadam_code": replace(
        DATADAM, name="datadam_code", power=1.0, lam=0.01, loss_scale=100.0, iterations=20_000,
        image_lr=1.0, statistics="field", zca=False, depth=3, norm="batch",
    ),
    # Khaki et al., CVPR-W 2024. Documented: spatial and channel attention of blocks 1 … L-1, the last layer's features
    # matched beside them and added, and CIFAR whitened with DataDAM's parameters. Inferred, as no code was released:
    # equal weights, the power, the normalisation, λ, instance norm, learning rate and iterations, all DataDAM's.
    "atom": replace(DATADAM, name="atom", attention=("spatial", "channel")),
    "atom_channel": replace(DATADAM, name="atom_channel", attention=("channel",)),  # ATOM's channel-only variant
    "atom_spatial": replace(DATADAM, name="atom_spatial", attention=("spatial",)),  # the same as datadam
    # DataDAM's Table 5 compares attention with transferring the maps themselves, layer by layer. Inferred: the same
    # layers as for attention, unit vectors, and no embedding term.
    "feature_map": replace(DATADAM, name="feature_map", attention=("feature_map",), lam=0.0),
}  # fmt: skip


def recipe(name: str | Recipe = "datadam", /, **changes) -> Recipe:
    """Return a recipe by name, with some of its fields changed.

    `attention` may be a name, a function or a list of them.

    Raises: DataDamError for an unknown recipe, field or name in a field.

    >>> recipe("dm", width=32, real_batch=64).lam
    1.0
    """
    if not isinstance(name, Recipe):
        check_type("recipe", name, str)
        name = known(name, RECIPES, "recipe")
    for field in changes:
        known(field, {f.name: f for f in fields(Recipe)}, "recipe field")
    for field in ("attention", "attention_weights", "layers"):
        if (given := changes.get(field)) is not None:
            changes[field] = tuple(given) if isinstance(given, list | tuple) else (given,)
    return replace(name, **changes)


def objective(recipe: Recipe) -> list[Term]:
    """Return the terms of a recipe's loss: scale * (weighted attention terms + λ * embedding term).

    A term of weight 0 is left out.

    Raises: DataDamError if λ is still undecided: see `Recipe.for_images`.

    >>> [(term.name, term.weight) for term in objective(recipe("atom", lam=0.01))]
    [('spatial', 1.0), ('channel', 1.0), ('embedding', 0.01)]
    """
    if recipe.lam is None:
        raise DataDamError("lam depends on the images: call recipe.for_images(shape, ipc) first, or set it.")
    weights = recipe.attention_weights or [1.0] * len(recipe.attention)
    terms = []
    for attention, weight in zip(recipe.attention, weights, strict=True):
        represent = attended(_function(attention, recipe), recipe.layers)
        terms.append(Term(_free_name(attention, terms), recipe.loss_scale * weight, represent))
    linear = recipe.kernel == "linear" and not recipe.unbiased
    distance = distance_of_means if linear else partial(mmd, kernel=recipe.kernel, unbiased=recipe.unbiased)
    terms.append(Term("embedding", recipe.loss_scale * recipe.lam, embedding, distance))
    return [term for term in terms if term.weight]


def _function(attention: str | Attention, recipe: Recipe) -> Attention:
    """Return the attention as a function of the maps alone: those by name take their constants from the recipe."""
    function = resolve(attention)
    if callable(attention):
        return function
    if function is feature_map:
        return partial(feature_map, normalise=recipe.normalise)
    return partial(function, p=recipe.power, normalise=recipe.normalise)


def _free_name(attention: str | Attention, terms: list[Term]) -> str:
    """Name a term after its attention; a number is added where the name is taken."""
    name = attention if isinstance(attention, str) else getattr(attention, "__name__", "attention")
    taken = {"embedding", *(term.name for term in terms)}
    while name in taken:
        name = f"{name}{len(terms)}"
    return name
