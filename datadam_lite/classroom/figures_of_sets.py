"""Figures of what a function distilled: where networks look, what was matched, the images, and what they are worth."""

from jaxtyping import Float
from torch import Tensor

from datadam_lite import plots
from datadam_lite.classroom.behaviour import digits
from datadam_lite.classroom.drawing import Given, is_map, network_of, real_images
from datadam_lite.classroom.measured import REFERENCE, START, YOURS
from datadam_lite.classroom.redrawn import Drawing
from datadam_lite.coresets import random
from datadam_lite.objectives import attended, distance_of_means

UNSEEN = 20  # networks that took no part


def class_means(given: Given, images: Float[Tensor, "n c h w"], block: int) -> Float[Tensor, "k d"]:
    """The mean vector of each class in a block, over unseen networks."""
    total = 0
    for seed in range(UNSEEN):
        vectors = given.fn(network_of(seed, "unseen")(images).maps[block - 1])
        total = total + vectors.unflatten(0, (len(digits()[0].classes), -1)).mean(1) / UNSEEN
    return total


def where(given: Given) -> Drawing:
    """Where the first block responds, class by class: real images, start, distilled."""
    real = real_images(random(digits()[0], 32, seed=0))
    first = network_of(0, "unseen")(real[:1]).maps[0]
    entries = given.fn(first).shape[1]
    if not is_map(given.fn(first), first):
        h, w = first.shape[2:]
        why = (
            f"Left out: in the first block {given.name} returns {entries} entries for {h} x {w} positions, so they are "
            "no map of where. The figure after this one compares them, whatever they mean."
        )
        return Drawing("where", 4, why)
    seen = {"real images": real, "start": given.set_of(START), "distilled": given.set_of(YOURS)}
    means = {name: class_means(given, images, 1) for name, images in seen.items()}
    low, high = means["real images"].min(), means["real images"].max()
    shades = {n: ((m - low) / (high - low)).clamp(0, 1).unflatten(1, (1, *first.shape[2:])) for n, m in means.items()}
    caption = (
        f"Where {given.name} sees the first block respond, class by class, mean over {UNSEEN} networks that took no "
        "part in the distillation. Real images are class means of 32, start and distilled single images; one scale "
        "for all, white for the most."
    )
    return Drawing("where", 4, caption, plots.show_images(shades, digits()[0].classes, size=0.7))


def closer(given: Given) -> Drawing:
    """The distance to the mean of real images, class by class: start and distilled."""
    train, _ = digits()
    real = real_images(random(train, 32, seed=0))
    images = {"start": given.set_of(START), "distilled": given.set_of(YOURS)}
    distance = dict.fromkeys(images, 0.0)
    represent = attended(given.fn)
    for seed in range(UNSEEN):
        network = network_of(seed, "unseen")
        target = represent(network(real)).unflatten(0, (len(train.classes), -1))
        for name, one_each in images.items():
            distance[name] += distance_of_means(target, represent(network(one_each))[:, None]) / UNSEEN
    rows = {k: {name: d[i].item() for name, d in distance.items()} for i, k in enumerate(train.classes)}
    count = sum(found["distilled"] < found["start"] for found in rows.values())
    caption = (
        f"How far from the class mean of 32 real images: the squared distance of the vectors of {given.name}, blocks 1 "
        f"and 2, mean over {UNSEEN} networks that took no part. The distilled image is closer than the start in "
        f"{count} of {len(rows)} classes."
    )
    return Drawing("closer", 4, caption, plots.dots(rows, "squared distance to the mean of real images"))


def terms(given: Given) -> Drawing:
    """The terms of the loss over the iterations."""
    chosen = given.found.trials[0].sets[YOURS][0]
    first, last = (chosen.losses[part].mean(0) for part in (slice(0, 10), slice(-10, None)))
    told = ", ".join(
        f"{name} from {a:.3g} to {b:.3g}"
        for name, a, b in zip(chosen.provenance["terms"], first.tolist(), last.tolist(), strict=True)
    )
    caption = (
        "The terms of the loss over the iterations, each with its weight, and what they fell to (means of the first "
        f"and the last ten): {told}. They measure different things; a term counts by its gradient, not by its size."
    )
    return Drawing("terms", 6, caption, plots.loss_curve(chosen))


def images(given: Given) -> Drawing:
    """The images: the start, the reference's, yours, and what moved."""
    trial = given.found.trials[0]
    names = {"start": START, "reference": REFERENCE, "yours": YOURS}
    rows = {name: trial.sets[label][0].pixels() for name, label in names.items()}
    moved = given.set_of(YOURS) - given.set_of(START)
    rows["moved"] = 0.5 + moved / (2 * moved.abs().max().clamp_min(1e-12))
    caption = (
        f"The first set: what it began with, what the reference ({given.found.reference}) and {given.name} made of it "
        "with the same networks and real images, and where yours moved (grey: not at all; white: brighter, black: "
        f"darker). Its pixels moved by {trial.moved(YOURS):.2f} standard deviations, those of the reference by "
        f"{trial.moved(REFERENCE):.2f}, on average over the sets."
    )
    return Drawing("images", 7, caption, plots.show_images(rows, digits()[0].classes, size=0.7))


def accuracies(given: Given) -> Drawing:
    """What the sets are worth."""
    caption = f"What the sets are worth; lines join those of one seed. {given.found.verdict}"
    return Drawing("accuracies", 7, caption, given.found.plot())
