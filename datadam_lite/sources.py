"""Where every constant of every recipe comes from, for `datadam recipes` and for the book."""

from dataclasses import fields

from datadam_lite.errors import known
from datadam_lite.recipes import RECIPES, Recipe

PAPER = "DataDAM (ICCV 2023)"
TABLE = f"{PAPER}, hyper-parameter table"
CODE = "released DataDAM code"

DATADAM = {
    "attention": f"{PAPER}, equation 1",
    "attention_weights": "a single attention has weight 1",
    "power": TABLE,
    "normalise": TABLE,
    "layers": f"{PAPER}, section 3: every layer but the last; Table 6",
    "lam": f"{TABLE}: 0.01 at low resolution, 0.02 above",
    "kernel": f"{PAPER}, equation 3 names any kernel; the {CODE} has the linear one",
    "unbiased": f"{CODE}: distance of means, which is the biased estimate",
    "loss_scale": f"{PAPER}, equation 4 has no factor (the {CODE} has 100)",
    "iterations": TABLE,
    "real_batch": f"not in the paper; {CODE}",
    "synthetic_batch": f"{CODE}: all images of a class (the paper writes of a mini-batch)",
    "image_lr": f"{TABLE}: 1 up to 50 images per class, 10 above",
    "image_momentum": TABLE,
    "init": f"{PAPER}: random real images",
    "augmentation": f"{TABLE}; strengths from there too",
    "statistics": "ours: the training images' own (the field's CIFAR-10 deviations are means over single images)",
    "zca": f"{PAPER}: CIFAR is whitened, the others aren't (here: any 32x32 colour images are)",
    "zca_eps": f"not in the paper; {CODE}",
    "zca_space": CODE,
    "zca_refit": f"the {CODE} whitens the start twice; no paper says so",
    "network": f"{PAPER}, section 4.1",
    "width": f"{PAPER}, section 4.1",
    "depth": f"{PAPER}, section 4.1: 3, 4 and 5 blocks at 32, 64 and 128 pixels",
    "norm": f"{PAPER}, section 4.1, and {TABLE}",
    "norm_classes": f"{CODE}: batch norm averages over all classes",
    "activation": TABLE,
    "pooling": f"{CODE}: 2x2 (the paper writes 3x3, stride 2: avg3)",
    "weights": f"{TABLE} and {CODE}: uniform (the text cites He's normal)",
}
ATOM = "ATOM (CVPR-W 2024)"
INFERRED = f"inferred, as for DataDAM: no code of {ATOM} was released"
OTHERS = {
    "dm": {
        **dict.fromkeys(DATADAM, "DM's released code"),
        "statistics": DATADAM["statistics"], "zca_eps": "not used", "zca_space": "not used", "zca_refit": "not used",
        "attention": "DM (WACV 2023): none", "lam": "DM: the embedding alone", "loss_scale": "DM: no factor",
        "image_lr": "DM's released code; its authors take 10 for CIFAR-10 from 100 images per class on",
        "power": "not used", "normalise": "not used", "layers": "not used", "attention_weights": "not used",
    },
    "datadam_code": {
        **dict.fromkeys(DATADAM, CODE),
        "image_lr": f"{CODE}; its authors take 10 from 100 images per class on", "zca_refit": "not used",
        "zca_eps": "not used", "zca_space": "not used",
    },
    "atom": {
        **dict.fromkeys(DATADAM, INFERRED),
        "attention": f"{ATOM}, framework figure: spatial and channel",
        "attention_weights": "inferred: the figure adds the two; no weights are known",
        "layers": f"{ATOM}, framework figure: 1 … L-1",
        "zca": f"{ATOM}, supplement: CIFAR whitened with DataDAM's parameters, TinyImageNet not",
        "zca_eps": f"{ATOM}, supplement: DataDAM's parameters",
        "augmentation": f"{ATOM}, supplement",
        "init": f"{ATOM}: random real images",
    },
    "feature_map": {
        "attention": f"{PAPER}, Table 5: feature maps transferred layer by layer",
        "normalise": "inferred: as the attention maps", "lam": "inferred: no embedding term beside it",
        "power": "not used",
    },
}  # fmt: skip
OTHERS["atom_channel"] = OTHERS["atom"] | {"attention": f"{ATOM}: its channel-only variant"}
OTHERS["atom_spatial"] = OTHERS["atom"] | {"attention": f"{ATOM}: its spatial part, which is DataDAM"}


def source(name: str, field: str) -> str:
    """Say where a recipe's constant comes from.

    Raises: DataDamError for an unknown recipe or field.

    >>> source("datadam", "power")
    'DataDAM (ICCV 2023), hyper-parameter table'
    >>> source("atom", "power")
    'inferred, as for DataDAM: no code of ATOM (CVPR-W 2024) was released'
    """
    known(name, RECIPES, "recipe")
    return OTHERS.get(name, {}).get(field) or known(field, DATADAM, "recipe field")


def describe(name: str) -> str:
    """Return a recipe as text: a line for every field, with its source.

    >>> describe("datadam").splitlines()[3]
    'power              4.0          DataDAM (ICCV 2023), hyper-parameter table'
    """
    recipe = known(name, RECIPES, "recipe")
    lines = [name]
    for field in (f.name for f in fields(Recipe) if f.name != "name"):
        value = getattr(recipe, field)
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        lines.append(f"{field:<18} {text:<12} {source(name, field)}")
    return "\n".join(lines)
