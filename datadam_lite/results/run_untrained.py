"""One row of a study without training: which of a set's images is the nearest, in random networks of each norm."""

import time
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datadam_lite.coresets import CORESETS
from datadam_lite.data import ImageSet
from datadam_lite.networks import reset
from datadam_lite.preprocess import Preprocess
from datadam_lite.protocol import Protocol
from datadam_lite.report import Report
from datadam_lite.results.run import Run, make, provenance, row
from datadam_lite.results.run_features import SHOWN, features, nearest_right
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


def perform_untrained(run: Run, name: str, train: ImageSet, test: ImageSet, work: Path) -> tuple[dict, dict]:
    """Perform a run whose sets are looked at in random networks; return its record, and no pictures.

    The record's accuracies are percentages of test images whose nearest image of the set, in the embedding of a random
    network, is of their class. All sets of all rows see the same networks, and the same test images. Under batch norm
    there is a second row: the same once the filters respond to the set's images with usual strength.
    """
    about = provenance(run, train)  # of what runs, not of what an editor makes of it meanwhile
    work.mkdir(parents=True, exist_ok=True)
    made = make(run, train, work)
    started, preprocess = time.time(), made.sets[0].preprocess  # fitted to the training images, so the same for all
    usual, shown = (_some(images, preprocess) for images in (train, test))
    rows = []
    for protocol in run.protocols:
        as_they_are, evened = [], []
        for seed in range(run.networks):
            network = random_network(protocol, len(train.classes), usual[0], seed)
            real = features(network, shown[0])
            as_they_are.append([_right(network, chosen, real, shown[1]) for chosen in made.sets])
            if protocol.norm == "batch":
                respond_as_usual(network, usual[0])
                evened.append([_right(network, chosen, real, shown[1]) for chosen in made.sets])
        for ending, found in (("", as_they_are), (", usual strengths", evened)):
            if found:
                named = replace(protocol, name=protocol.name + ending)
                by_set = [list(each) for each in zip(*found, strict=True)]
                rows.append(row(run, train.name, run.method, named, Report(by_set)))
    details = {"rows": rows, "seconds": {"to make": made.seconds, "to look": time.time() - started}}
    if run.method not in CORESETS:
        details["recipe"] = made.sets[0].provenance["recipe"]
        details["moved"] = [chosen.provenance["moved"] for chosen in made.sets]
    return about | {"name": name} | details, {}


def _right(network: nn.Module, chosen: SyntheticSet, real: Float[Tensor, "n d"], labels: Tensor) -> float:
    return nearest_right(real, labels, features(network, chosen.images), chosen.labels)


def _some(images: ImageSet, preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    """As many images of each class, and their labels."""
    rows = images.sample(min(SHOWN, *map(len, images.rows_of_class)), generator(0, "images shown"))
    return preprocess.apply(images.images[rows]), images.labels[rows]


@torch.no_grad()
def random_network(protocol: Protocol, classes: int, usual: Float[Tensor, "n c h w"], seed: int) -> nn.Module:
    """A random network of the protocol's kind; batch norm, if it has any, with the statistics of these images."""
    network = reset(protocol.build(tuple(usual.shape[1:]), classes), generator(seed, "random network"))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # keep the last batch's statistics, and nothing of those it began with
    device = Settings().torch_device()
    network.to(device).train()(usual.to(device))
    return network.eval()


def strength(responses: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 1 1"]:
    """How strongly each filter responds to each image: the deviation over positions, which instance norm divides by."""
    return responses.std((2, 3), correction=0, keepdim=True)


@torch.no_grad()
def respond_as_usual(network: nn.Module, usual: Float[Tensor, "n c h w"]) -> None:
    """Make each filter respond to every image with the strength that it has on average on these; no mean changes."""
    layers, seen = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)], []
    watching = [
        layer.register_forward_pre_hook(lambda _, given: seen.append(strength(given[0]).mean(0))) for layer in layers
    ]
    network(usual.to(Settings().torch_device()))
    for each in watching:
        each.remove()
    for layer, wanted in zip(layers, seen, strict=True):
        layer.register_forward_pre_hook(lambda _, given, wanted=wanted: (_with_strength(given[0], wanted),))


def _with_strength(responses: Float[Tensor, "n c h w"], wanted: Float[Tensor, "c 1 1"]) -> Float[Tensor, "n c h w"]:
    mean = responses.mean((2, 3), keepdim=True)
    return mean + (responses - mean) * wanted / strength(responses).clamp_min(torch.finfo(responses.dtype).tiny)
