"""The tables and figures of the papers that are repeated here, as data: which rows, sizes and data sets make up each.

A row is a variant of a method. A variant, a data set, a number of images per class and a way to evaluate make a run,
which has one result file; experiments that share a run share the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variant:
    """A recipe or coreset by name, and what is different from it.

    longer: times the iterations of the recipe at the scale; changes: recipe fields, which outdo those of the scale;
    pictures: whether to keep the images of the first set, in a file beside the result; trained: the accuracy, in
    percent, of the networks that images are compared in (None: random networks).
    """

    says: str
    method: str
    changes: Mapping = field(default_factory=dict)
    longer: float = 1.0
    pictures: bool = False
    trained: tuple[int, int] | None = None


@dataclass(frozen=True)
class Experiment:
    """A table or figure.

    source: where it stands; asks: what it should tell; claim: what is printed there, as far as we know it;
    rows: names of variants, the first of which the others are compared with, set by set; shows: accuracy, cost,
    pictures, features (where sets lie among real images), untrained (which images are the nearest in random networks),
    or the ranks of networks in an architecture search.
    By scale: data: names of data sets; ipcs: images per class; trial: how sets are evaluated, a name of TRIALS;
    but: rows, where they are others; steps: in how many the classes arrive (None: all are there at once).
    """

    source: str
    asks: str
    claim: str
    rows: tuple[str, ...]
    data: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: CIFAR10)
    ipcs: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: ONE)
    trial: Mapping[str, str] = field(default_factory=lambda: FIXED)
    shows: str = "accuracy"
    but: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    steps: Mapping[str, tuple[int | None, ...]] = field(default_factory=lambda: AT_ONCE)

    def rows_at(self, scale: str) -> tuple[str, ...]:
        """The rows at a scale."""
        return self.but.get(scale, self.rows)


CIFAR10 = {"quick": ("digits",), "cpu": ("cifar10",), "paper": ("cifar10",)}
ONE = {"quick": (1,), "cpu": (1,), "paper": (10,)}
THREE = {"quick": (1, 10), "cpu": (1,), "paper": (1, 10, 50)}
AS_PRINTED = ONE | {"paper": (1, 10, 50)}
FIFTY = {"quick": (1,), "cpu": (1,), "paper": (50,)}
FIXED = dict.fromkeys(CIFAR10, "fixed")
BOTH = dict.fromkeys(CIFAR10, "both protocols")
NORMS = dict.fromkeys(CIFAR10, "norms")
RANDOM = dict.fromkeys(CIFAR10, "random networks")
AUGMENTATION = dict.fromkeys(CIFAR10, "augmentation")
AT_ONCE = dict.fromkeys(CIFAR10, (None,))
NETWORKS = {"quick": "small networks", "cpu": "networks", "paper": "networks"}


def _datadam(says: str, **changes) -> Variant:
    return Variant(says, "datadam", changes)


METHODS = {"datadam": "DataDAM", "dm": "DM", "atom": "ATOM"}
SHARES = (0.05, 0.1, 0.25, 0.5)
BUCKETS = ((20, 40), (40, 60), (60, 80), (80, 100))

VARIANTS = {
    # Real images, and the methods as their recipes are
    "random": Variant("random real images", "random"),
    "random-zca": Variant("random real images, whitened: DataDAM's first images", "random", {"zca": True}),
    "herding": Variant("herding", "herding"),
    "k_center": Variant("k-center", "k_center"),
    "forgetting": Variant("forgetting", "forgetting"),
    "dm": Variant("DM", "dm", pictures=True),
    "datadam": Variant("DataDAM", "datadam", pictures=True),
    "datadam_code": Variant("all together: DataDAM as released", "datadam_code", pictures=True),
    "atom": Variant("ATOM", "atom", pictures=True),
    "atom_channel": Variant("channel instead of spatial attention", "atom_channel", pictures=True),
    # What is matched. λ = 1 for the embedding alone, as in DM: at 0.01 the images would hardly move
    "attention": _datadam("attention without the embedding", lam=0.0),
    "embedding": _datadam("embedding without attention, λ = 1", attention=(), lam=1.0),
    "embedding10": _datadam("embedding without attention, λ = 10", attention=(), lam=10.0),
    "feature_map": Variant("feature maps without the embedding", "feature_map"),
    "block1": _datadam("attention of block 1", layers=(1,)),
    "block2": _datadam("attention of block 2", layers=(2,)),
    "lam0.001": _datadam("λ = 0.001", lam=0.001),
    "lam0.1": _datadam("λ = 0.1", lam=0.1),
    "lam1": _datadam("λ = 1", lam=1.0),
    "lam10": _datadam("λ = 10", lam=10.0),
    "p1": _datadam("p = 1", power=1.0),
    "p2": _datadam("p = 2", power=2.0),
    "p8": _datadam("p = 8", power=8.0),
    "l1": _datadam("maps that sum to 1", normalise="l1"),
    "none": _datadam("maps as they are", normalise="none"),
    # Where the images start
    "from-k_center": _datadam("from k-center", init="k_center"),
    "from-k_means": _datadam("from k-means", init="k_means"),
    "from-noise": _datadam("from noise", init="noise"),
    "longer": Variant("20 times the iterations", "datadam", longer=20.0),
    "from-noise-longer": Variant("from noise, 20 times the iterations", "datadam", {"init": "noise"}, longer=20.0),
    # Pushed further, by more steps or by larger ones: the loss is a factor on the image learning rate
    "longer4": Variant("4 times the iterations", "datadam", longer=4.0),
    "loss10": _datadam("loss x 10", loss_scale=10.0),
    # What the released code has otherwise, one at a time
    "code-norm": _datadam("with batch norm", norm="batch"),
    "code-scale": _datadam("loss x 100", loss_scale=100.0),
    "code-iterations": Variant("2.5 times the iterations", "datadam", longer=2.5),
    "code-zca": Variant("not whitened", "datadam", {"zca": False}, pictures=True),
    "code-digits": Variant("all together", "datadam_code", {"statistics": "exact"}),  # the field has none for digits
    # Distilled with another network
    "by-alexnet": _datadam("by AlexNet", network="alexnet", norm="batch"),
    "by-vgg11": _datadam("by VGG-11", network="vgg11", norm="batch"),
    "by-resnet18": _datadam("by ResNet-18", network="resnet18", norm="batch"),
    "by-two-blocks": _datadam("by a ConvNet of 2 blocks", depth=2),
    # Compared in networks that were trained until they were right so often
    **{
        f"trained{low}": Variant(f"networks of {low} to {high} %", "datadam", trained=(low, high))
        for low, high in BUCKETS
    },
    # In an architecture search: all images to train on, for as long as it takes or for a few steps
    "whole": Variant("all images", "whole"),
    "early": Variant("all images, stopped early", "early"),
    # Stopped early
    **{
        f"{method}-{share}": Variant(f"{says}, {share:.0%} of the iterations", method, longer=share)
        for method, says in METHODS.items()
        for share in SHARES
    },
}  # fmt: skip

# How sets are evaluated: protocols of the scale, each with some of its fields changed.
UNTRAINED = "none, random networks"
TRIALS = {
    "fixed": {"fixed": {}},
    "both protocols": {"fixed": {}, "datadam_code": {}},
    "norms": {"fixed": {}, "batch norm": {"norm": "batch"}},
    "augmentation": {"fixed": {}, "not augmented": {"augmentation": ""}},
    "networks": {
        "fixed": {}, "alexnet": {"network": "alexnet"}, "vgg11": {"network": "vgg11"},
        "resnet18": {"network": "resnet18"}, "vit": {"network": "vit"},
    },
    "random networks": {f"{UNTRAINED} with {norm} norm": {"norm": norm} for norm in ("instance", "batch")},
    "small networks": {"fixed": {}, "2 blocks": {"depth": 2}, "1 block": {"depth": 1}, "batch norm": {"norm": "batch"}},
}  # fmt: skip

EXPERIMENTS = {
    "table1": Experiment(
        "DataDAM, Table 1", "How good are networks trained on small sets of each method?",
        "DataDAM is ahead of DM, and of all real images that were selected, at every size.",
        ("datadam", "random", "random-zca", "herding", "k_center", "forgetting", "dm", "atom"),
        CIFAR10 | {"paper": ("cifar10", "cifar100", "tinyimagenet")}, THREE,
        but={"quick": ("datadam", "random", "herding", "k_center", "forgetting", "dm", "atom")},  # not whitened
    ),
    "study-attention": Experiment(
        "a question of users of the released code", "Is spatial attention needed?",
        "No answer is published.",
        ("datadam", "attention", "embedding", "embedding10", "atom_channel", "atom"),
    ),
    "study-code": Experiment(
        "where the paper and its code differ", "Which of the differences change the result?",
        "The paper describes one configuration, its code runs another; its maintainers recommend batch norm.",
        ("datadam", "code-norm", "p1", "code-scale", "code-iterations", "code-zca", "datadam_code",
         "random", "random-zca"),
        trial=BOTH,
        but={"quick": ("datadam", "code-norm", "p1", "code-scale", "code-iterations", "code-digits")},
    ),
    "study-norm": Experiment(
        "a question of users of the released code", "Do images need the norm they were made with?",
        "With instance norm, as in the paper, users of the code don't reach its numbers; no answer is published.",
        ("datadam", "code-norm", "random-zca"), trial=NORMS, but={"quick": ("datadam", "code-norm", "random")},
    ),
    "study-untrained": Experiment(
        "a gap of ours", "Does the norm matter before anything is trained?",
        "No answer is published.",
        ("datadam", "code-zca", "code-norm", "random-zca", "random"), trial=RANDOM, shows="untrained",
        but={"quick": ("datadam", "code-norm", "random")},
    ),
    "study-push": Experiment(
        "a gap of ours", "Do ten images per class need more steps, or larger ones?",
        "At 10 images per class DataDAM reaches 54.2 on CIFAR-10, with the same learning rate as at 1.",
        ("datadam", "longer4", "loss10"), ipcs=dict.fromkeys(CIFAR10, (10,)),
    ),
    "study-augmentation": Experiment(
        "a gap of ours", "Were the printed random images tested without augmentation?",
        "Random images reach 14.4 and 26.0 on CIFAR-10 at 1 and 10 images per class; ours reach more.",
        ("datadam", "random"), ipcs=dict.fromkeys(CIFAR10, (1, 10)), trial=AUGMENTATION,
    ),
    "table2": Experiment(
        "DataDAM, Table 2", "And photographs of 64 pixels?",
        "DataDAM's accuracies are printed; those of the other rows are not among our sources.",
        ("datadam", "random", "dm"),
        {"quick": ("digits",), "cpu": ("imagenette64",),
         "paper": ("imagenet64", "imagenette", "imagewoof", "imagesquawk")},
        {"quick": (1,), "cpu": (1,), "paper": (1, 10)},
    ),
    "table3": Experiment(
        "DataDAM, Table 3", "Do the images serve networks that did not make them?",
        "DataDAM is ahead of DM with every network.",
        ("datadam", "random", "dm", "by-alexnet", "by-vgg11", "by-resnet18"), ipcs=FIFTY, trial=NETWORKS,
        but={"quick": ("datadam", "random", "dm", "by-two-blocks", "code-norm")},
    ),
    "table4": Experiment(
        "DataDAM, Table 4", "What do a step and its memory cost?",
        "A step of DataDAM takes 0.09, 0.08 and 0.16 s at 1, 10 and 50 images per class, a step of DM 0.08 s.",
        ("datadam", "dm", "atom"), ipcs=THREE, shows="cost",
    ),
    "table5": Experiment(
        "DataDAM, Table 5", "Which part of the loss does it?",
        "Attention and embedding together are ahead of each alone; transferring the maps themselves is worst.",
        ("datadam", "attention", "embedding", "feature_map"),
    ),
    "table6": Experiment(
        "DataDAM, Table 6", "Which layers?",
        "Attention of one block alone is worse than of all.",
        ("datadam", "block1", "block2"),
    ),
    "table7": Experiment(
        "DataDAM, Table 7", "Must the networks be random?",
        "It hardly matters: whichever bucket of trained networks they come from, accuracy changes by at most 3 points.",
        ("datadam", "trained20", "trained40", "trained60"), ipcs=AS_PRINTED,
        but={"quick": ("datadam", "trained20", "trained40", "trained60", "trained80")},
    ),
    "table8": Experiment(
        "DataDAM, Table 8", "Do small sets tell which of many networks is best?",
        "They order 720 networks with a rank correlation of 0.72 with training on all images, random images of 0.70.",
        ("datadam", "random", "dm", "early", "whole"), ipcs={"quick": (10,), "cpu": (10,), "paper": (50,)},
        shows="ranks",
    ),
    "figure1b": Experiment(
        "DataDAM, Figure 1b", "How does accuracy grow with the number of images?",
        "It grows up to 1,000 images per class; the values of the figure are not among our sources.",
        ("datadam", "random", "dm"),
        ipcs={"quick": (1, 2, 5, 10, 20), "cpu": (1, 10), "paper": (1, 10, 50, 100, 200, 500, 1000)},
    ),
    "figure3": Experiment(
        "DataDAM, Figure 3", "Does it matter where the images start?",
        "It hardly matters.",
        ("datadam", "from-k_center", "from-k_means", "from-noise"), ipcs=AS_PRINTED,
        but={"quick": ("datadam", "from-k_center", "from-k_means", "from-noise", "longer", "from-noise-longer")},
    ),
    "figure4": Experiment(
        "DataDAM, Figure 4", "How heavy should the embedding weigh?",
        "From λ = 0.01 on, accuracy stays on a plateau.",
        ("datadam", "attention", "lam0.001", "lam0.1", "lam1", "lam10"),
    ),
    "figure5": Experiment(
        "DataDAM, Figure 5", "Where do the images lie among real ones?",
        "Real and distilled images are drawn in the plane by t-SNE; what it looks like is not among our sources.",
        ("datadam", "random", "dm"), ipcs={"quick": (10,), "cpu": (1,), "paper": (50,)}, shows="features",
    ),
    "figure6": Experiment(
        "DataDAM, Figure 6", "What do the images look like?",
        "Grids of distilled images are shown.",
        ("datadam", "dm", "atom"), ipcs={"quick": (1, 10), "cpu": (1,), "paper": (1, 10)}, shows="pictures",
    ),
    "figure7": Experiment(
        "DataDAM, Figure 7", "Do the images keep classes in memory while others arrive?",
        "DataDAM's memory is ahead of DM's, and both of chosen images.",
        ("datadam", "random", "herding", "dm"), dict.fromkeys(CIFAR10, ("cifar100",)) | {"quick": ("digits",)},
        {"quick": (2,), "cpu": (20,), "paper": (20,)}, steps={"quick": (5,), "cpu": (5,), "paper": (5, 10)},
    ),
    "power": Experiment(
        "DataDAM, hyper-parameters", "Which power p of the activations?",
        "p = 4. The comparison behind it was in a supplement that is not among our sources.",
        ("datadam", "p1", "p2", "p8"),
    ),
    "normalisation": Experiment(
        "DataDAM, hyper-parameters", "Must attention maps have unit length?",
        "They have it. The comparison behind it was in a supplement that is not among our sources.",
        ("datadam", "l1", "none"),
    ),
    "atom-attention": Experiment(
        "ATOM, its main claim", "Spatial attention, channel attention, or both?",
        "Both together are best. One number is among our sources: 5.8 points more than DM at 50 images per class.",
        ("datadam", "atom_channel", "atom"), ipcs=AS_PRINTED,
    ),
    "atom-iterations": Experiment(
        "ATOM, Figure 3", "How fast do the methods get there?",
        "ATOM, DM and DataDAM are compared at 50 images per class; the values are not among our sources.",
        tuple(row for method in METHODS for row in (method, *(f"{method}-{share}" for share in SHARES))), ipcs=FIFTY,
    ),
    "atom-networks": Experiment(
        "ATOM, cross-architecture", "Do ATOM's images serve networks that did not make them?",
        "Networks of several kinds are compared, a transformer among them; the values are not among our sources.",
        ("datadam", "atom", "dm"), ipcs=FIFTY, trial=NETWORKS,
    ),
}  # fmt: skip
