"""datadam_lite: dataset distillation by attention matching, small enough to read.

>>> import datadam_lite as dd
>>> train, test = dd.load("digits")
>>> distilled = dd.distill(train, ipc=1, width=8, iterations=2)
>>> distilled.images.shape
torch.Size([10, 1, 8, 8])
"""

from datadam_lite.attention import ATTENTION, channel, spatial
from datadam_lite.classroom import behaviour, check_attention, redraw
from datadam_lite.coresets import CORESETS, farthest_first, forgetting, herding, k_center, k_means, random, select
from datadam_lite.data import ImageSet, load
from datadam_lite.datasets import DATASETS
from datadam_lite.distill import Distiller, distill
from datadam_lite.errors import DataDamError
from datadam_lite.evaluate import accuracy, cross_architecture, evaluate, train_network, train_networks
from datadam_lite.mmd import KERNELS, mmd
from datadam_lite.networks import NETWORKS, ConvNet, Features, reset
from datadam_lite.objectives import Term, class_vectors, matching_loss
from datadam_lite.preprocess import Preprocess
from datadam_lite.profiles import Profile, use_profile
from datadam_lite.protocol import PROTOCOLS, Protocol
from datadam_lite.recipes import RECIPES, Recipe, objective, recipe
from datadam_lite.report import Report
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

__all__ = [
    "ATTENTION", "CORESETS", "DATASETS", "KERNELS", "NETWORKS", "PROTOCOLS", "RECIPES", "ConvNet", "DataDamError",
    "Distiller", "Features", "ImageSet", "Preprocess", "Profile", "Protocol", "Recipe", "Report", "Settings",
    "SyntheticSet", "Term", "accuracy", "behaviour", "channel", "check_attention", "class_vectors",
    "cross_architecture", "distill", "evaluate", "farthest_first", "forgetting", "generator", "herding", "k_center",
    "k_means", "load", "matching_loss", "mmd", "objective", "random", "recipe", "redraw", "reset", "select", "spatial",
    "train_network", "train_networks", "use_profile",
]  # fmt: skip
__version__ = "0.1.0"
