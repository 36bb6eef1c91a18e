"""Scales: how large the runs of an experiment are, from a laptop's minutes to the papers' own size."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from datadam_lite.applications.search import SPACE
from datadam_lite.profiles import PROFILES
from datadam_lite.protocol import PROTOCOLS, Protocol
from datadam_lite.results.searches import Search
from datadam_lite.settings import Settings


@dataclass(frozen=True)
class Scale:
    """How many sets and networks a row rests on, how it is evaluated, and what is cut of its recipe.

    protocols: the one that stands for the fixed protocol, and the one that stands for that of the released code;
    search: how large an architecture search is; features: how the network is trained on all images in whose features
    sets are looked at; share: of a recipe's own iterations; changes: recipe fields of every distillation.
    """

    says: str
    sets: int
    networks: int
    protocols: Mapping[str, Protocol]
    search: Search
    features: Protocol
    share: float = 1.0
    changes: Mapping = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    threads: int | None = None  # that PyTorch uses; None: its own choice


_FULL = {name: PROTOCOLS[name] for name in ("fixed", "datadam_code")}
_FAST = Settings(precision="mixed", compile=True)
_QUICK = PROFILES["quick"]
_SHORT = {
    "fixed": _QUICK.protocol,
    # 1.8 times the epochs and a fourth of the batch, as the released code has beside the fixed protocol
    "datadam_code": replace(
        PROTOCOLS["datadam_code"], name="as released, short, width 32",
        epochs=540, drop_after=270, lr=_QUICK.protocol.lr, width=_QUICK.protocol.width,
    ),
}  # fmt: skip
_SEARCHES = {
    # Digits are halved to nothing by a fourth pooling; wider networks would take hours
    "quick": Search(
        SPACE | {"depth": (1, 2, 3), "width": (8, 16)}, Protocol("search, digits", batch=128, lr=0.05), held=30,
        epochs={"small": 40, "early": 5, "whole": 30}, sets=3,
    ),
    "cpu": Search(
        SPACE | {"depth": (2, 3), "width": (32,), "activation": ("relu",)}, Protocol("search"), held=500,
        epochs={"small": 200, "early": 1, "whole": 10},
    ),
    "paper": Search(SPACE, Protocol("search"), held=500, epochs={"small": 200, "early": 2, "whole": 200}, sets=1),
}  # fmt: skip
_RESNET = Protocol("features, ResNet-18", epochs=30, batch=128, network="resnet18")
_SMALL = Protocol("features, ConvNet", epochs=30, batch=128, lr=0.05, width=32)  # 8 pixels are too few for ResNet-18

SCALES = {
    "quick": Scale(
        "scikit-learn's digits, narrow networks: minutes on a laptop", 10, 1, _SHORT, _SEARCHES["quick"], _SMALL,
        share=1 / 40, changes={"width": 32, "real_batch": 32}, threads=_QUICK.threads,
    ),
    "cpu": Scale(
        "photographs, a quarter of the iterations: hours on a processor, minutes on a GPU", 3, 3, _FULL,
        _SEARCHES["cpu"], replace(_RESNET, epochs=3), share=1 / 4, changes={"real_batch": 64}, settings=_FAST,
    ),
    "paper": Scale(
        "the papers' data sets, iterations, sets and networks: for a GPU", 5, 20, _FULL, _SEARCHES["paper"], _RESNET,
        settings=_FAST,
    ),
}  # fmt: skip
