"""Figures of what an attention function answers: to six digits, for several powers, to changed maps, about classes."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from datadam_lite import plots
from datadam_lite.attention import channel, spatial
from datadam_lite.classroom.behaviour import digits
from datadam_lite.classroom.drawing import BLOCKS, Given, is_map, network_of, real_images, shared_by
from datadam_lite.classroom.guard import Guarded, Stumble, default_power
from datadam_lite.classroom.measured import YOURS
from datadam_lite.classroom.redrawn import Drawing
from datadam_lite.coresets import random
from datadam_lite.preprocess import Preprocess
from datadam_lite.report import Report
from datadam_lite.seeding import generator

SOME = (0, 1, 3, 5, 7, 8)  # the classes that chapter 7 looks at


def answers(given: Given) -> Drawing:
    """What it makes of six digits, in the blocks that are matched."""
    images = real_images(first_of(SOME))
    layers = network_of(0, "chapter 7")(images).maps
    figure, axes = plt.subplots(1 + len(BLOCKS), len(SOME), figsize=(9, 4.6))
    told = []
    for axis, image, k in zip(axes[0], images, SOME, strict=True):
        axis.imshow(image[0].numpy(), cmap="gray")
        axis.set_title(digits()[0].classes[k])
        axis.axis("off")
    for row, block in zip(axes[1:], BLOCKS, strict=True):
        maps = layers[block - 1]
        vectors = given.fn(maps)
        for axis, vector in zip(row, vectors, strict=True):
            plots.vector(axis, vector, maps.shape[2:])
        row[0].set_ylabel(f"block {block}")
        told.append(f"{shared_by(vectors).mean():.1f} of {vectors.shape[1]} in block {block}")
    kind = "a map, with an entry for each position" if is_map(vectors, maps) else "bars, one for each entry"
    caption = (
        f"What {given.name} makes of six digits under one random network: {kind}, each vector in a scale of its own. "
        f"As many entries share the response of an image, on average: {', '.join(told)}."
    )
    return Drawing("answers", 7, caption, figure)


def powers(given: Given) -> Drawing:
    """The same digit for several powers, if the function has a parameter for them."""
    default = default_power(given.fn)
    if default is None:
        why = f"Left out: {given.name} has no parameter p with a number for a default, so there is no power to change."
        return Drawing("powers", 4, why)
    tried = (1, 2, 4, 8) if isinstance(default, int) else (0.5, 1.0, 2.0, 4.0, 8.0)
    maps = network_of(0, "chapter 4")(real_images(first_of((4,)))).maps[0]
    try:
        answered = [Guarded(given.fn)(maps, p=p) for p in tried]
    except Stumble as stumble:
        return Drawing("powers", 4, f"Left out: {given.name} can't be called with all the powers {tried}. {stumble}")
    figure, axes = plt.subplots(1, len(tried), figsize=(1.8 * len(tried), 2.2))
    for axis, p, vectors in zip(axes, tried, answered, strict=True):
        plots.vector(axis, vectors[0], maps.shape[2:])
        axis.set_title(f"p = {p:g}: {shared_by(vectors).item():.1f} of {vectors.shape[1]}", fontsize="small")
    caption = (
        f"What {given.name} makes of a 4 in the first block of one random network, for several powers. Over each: how "
        "many entries share the response."
    )
    return Drawing("powers", 4, caption, figure)


def changed_maps(given: Given) -> Drawing:
    """How much its vectors change when the maps do, beside the two attentions of the book."""
    maps = network_of(0, "chapter 7")(real_images(first_of(range(10)))).maps[1]
    beside = {"spatial": spatial, "channel": channel, YOURS: given.fn}
    rows = {
        what: {label: change(fn(other), fn(maps)) for label, fn in beside.items()}
        for what, other in changes_of(maps).items()
    }
    unseen = [what for what, found in rows.items() if found[YOURS] < 1e-3]
    caption = (
        "How far vectors move when something is done to the maps of ten digits (second block of one random network): "
        "the length of the change over the lengths before and after, so at most 1. "
        f"{given.name} does not see: {', '.join(unseen) or 'none'}."
    )
    return Drawing("changed maps", 7, caption, plots.dots(rows, "relative change of the vectors"))


def changes_of(maps: Tensor) -> dict[str, Tensor]:
    """What can be done to maps -> the maps after it."""
    _, c, h, w = maps.shape
    stream = generator(0, "shuffle")
    channels, places = (torch.randperm(n, generator=stream) for n in (c, h * w))
    largest = maps.amax((1, 2, 3), keepdim=True)
    return {
        "channels in another order": maps[:, channels],
        "positions in another order": maps.flatten(2)[:, :, places].unflatten(2, (h, w)),
        "mirror image": maps.flip(3),
        "ten times as bright": 10 * maps,
        "without the largest response": maps.where(maps < largest, 0),
    }


def change(after: Tensor, before: Tensor) -> float:
    """The mean over images of |after - before| / (|after| + |before|), which is 1 at most.

    >>> change(torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    0.5
    """
    lengths = after.norm(dim=1) + before.norm(dim=1)
    return ((after - before).norm(dim=1) / lengths.clamp_min(1e-12)).mean().item()


def nearest_means(given: Given) -> Drawing:
    """How many test images are nearest to the mean vector of their class, beside the two attentions of the book."""
    train, test = digits()
    known, asked = real_images(random(train, 64, seed=0)), Preprocess.fit(train).apply(test.images)
    beside = {"spatial": spatial, "channel": channel, YOURS: given.fn}
    hits = {label: [] for label in beside}
    for seed in range(5):
        network = network_of(seed, "chapter 7, classes")
        maps, maps_asked = network(known).maps[1], network(asked).maps[1]
        for label, fn in beside.items():
            means = fn(maps).unflatten(0, (len(train.classes), -1)).mean(1)
            nearest = torch.cdist(fn(maps_asked), means).argmin(1)
            hits[label].append(100 * (nearest == test.labels).float().mean().item())
    reports = {label: Report([[hit] for hit in found]) for label, found in hits.items()}
    caption = (
        f"Does the vector know the class? Test images whose class has the nearest mean vector, in per cent, under five "
        f"random networks (second block, nothing trained): {given.name} {reports[YOURS].mean:.0f}, spatial "
        f"{reports['spatial'].mean:.0f}, channel {reports['channel'].mean:.0f}; guessing gets 10."
    )
    return Drawing("classes", 7, caption, plots.accuracies(reports, label="recognised by the nearest mean (%)"))


def first_of(classes: Iterable[int]) -> Tensor:
    """The row of the first training image of each class."""
    rows_of_class = digits()[0].rows_of_class
    return torch.stack([rows_of_class[k][0] for k in classes])
