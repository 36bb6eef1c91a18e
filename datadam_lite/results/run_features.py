"""One row of a figure of features: where a small set lies among real images, in a network trained on all of them."""

import time
from pathlib import Path

import torch
from jaxtyping import Float
from sklearn.manifold import TSNE
from torch import Tensor, nn

from datadam_lite.applications.search import whole
from datadam_lite.data import ImageSet
from datadam_lite.evaluate import train_network
from datadam_lite.report import Report
from datadam_lite.results.run import Run, make, provenance, row
from datadam_lite.seeding import generator
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet

SHOWN = 100  # test images of a class at most
PERPLEXITY = 30


def perform_features(run: Run, name: str, train: ImageSet, test: ImageSet, work: Path) -> tuple[dict, dict]:
    """Perform a run whose sets are looked at in the features of a network; return its record, and no pictures.

    The network is trained on all training images under the run's protocol. The record's accuracies are percentages of
    test images whose nearest image of the set, in features, is of their class; `plane` has the t-SNE coordinates of
    test images and of the first set, together.
    """
    about = provenance(run, train)  # of what runs, not of what an editor makes of it meanwhile
    work.mkdir(parents=True, exist_ok=True)
    made = make(run, train, work)
    started = time.time()
    everything, (protocol,) = whole(train), run.protocols
    network = train_network(everything, generator(0, "features"), protocol=protocol)
    rows = test.sample(min(SHOWN, *map(len, test.rows_of_class)), generator(0, "images shown"))
    real, labels = features(network, everything.preprocess.apply(test.images[rows])), test.labels[rows]
    sets = [features(network, everything.preprocess.enter(_pixels(chosen))) for chosen in made.sets]
    found = [[nearest_right(real, labels, one, chosen.labels)] for one, chosen in zip(sets, made.sets, strict=True)]
    points = plane(torch.cat([real, sets[0]]))
    details = {
        "rows": [row(run, train.name, run.method, protocol, Report(found))],
        "plane": {"real": points[: len(real)].tolist(), "labels": labels.tolist(),
                  "set": points[len(real) :].tolist(), "set labels": made.sets[0].labels.tolist()},
        "seconds": {"to make": made.seconds, "to look": time.time() - started},
    }  # fmt: skip
    return about | {"name": name} | details, {}


def _pixels(chosen: SyntheticSet) -> Float[Tensor, "n c h w"]:
    """The images of a set in [0, 1], or beyond where they left it: not clamped."""
    return chosen.preprocess.invert(chosen.images)


@torch.no_grad()
def features(network: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """Return the embedding of images, on the CPU."""
    device = Settings().torch_device()
    return torch.cat([network(part.to(device)).embedding.cpu() for part in images.split(500)])


def nearest_right(
    real: Float[Tensor, "n d"], labels: Tensor, chosen: Float[Tensor, "m d"], chosen_labels: Tensor
) -> float:
    """Return the percentage of real points whose nearest chosen point has their label.

    >>> points = torch.tensor([[0.0], [1.0], [5.0]])
    >>> chosen = torch.tensor([[0.0], [1.5]])
    >>> round(nearest_right(points, torch.tensor([0, 0, 1]), chosen, torch.tensor([0, 1])), 1)
    66.7
    """
    nearest = chosen_labels[torch.cdist(real, chosen).argmin(1)]
    return 100 * (nearest == labels).double().mean().item()


def plane(points: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
    """Return t-SNE coordinates of points in the plane."""
    method = TSNE(perplexity=PERPLEXITY, init="pca", random_state=0)
    return torch.from_numpy(method.fit_transform(points.numpy())).double().round(decimals=2)
