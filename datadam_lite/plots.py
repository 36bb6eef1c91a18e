"""One look for every figure: white ground, colour-blind-safe colours, nothing told by colour alone."""

import statistics
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from torch import Tensor
from torchvision.utils import make_grid

from datadam_lite import results
from datadam_lite.errors import DataDamError
from datadam_lite.files import replacing
from datadam_lite.report import Report
from datadam_lite.results.comparison import clear
from datadam_lite.synthetic import SyntheticSet

MARKERS = "osD^vP*X"


def style() -> None:
    """Set the book's look for all figures that follow."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.95)
    plt.rcParams.update({"figure.dpi": 110, "savefig.facecolor": "white", "figure.constrained_layout.use": True})


def show_images(
    rows: dict[str, Float[Tensor, "n c h w"]], titles: tuple[str, ...] = (), *, size: float = 0.8
) -> Figure:
    """Draw rows of images, each row with its name at the left.

    rows: name -> [N, C, H, W] in [0, 1]; titles: one for each column, or one for each image;
    size: inches per image.

    >>> import torch
    >>> figure = show_images({"noise": torch.rand(4, 1, 8, 8)}, tuple("abcd"))
    >>> plt.close(figure)
    """
    columns = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(size * columns + 1.1, size * len(rows) + 0.4), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=False):
            axis.imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center")
    for axis, title in zip(axes.flat, titles, strict=False):  # row by row
        axis.set_title(title, fontsize="small")
    return figure


def picture(chosen: SyntheticSet, path: str | Path | None = None, *, columns: int | None = None) -> Figure:
    """Draw a whole set as one grid, class by class; save it if asked.

    A column for each class, under its name, if at most 20 classes have equally many images; else lines of 20 (or of
    `columns`) images.

    Raises: DataDamError if the file can't be written.
    """
    kind = Path(path or "a.png").suffix.lstrip(".").lower() or "png"
    if kind not in FigureCanvasBase.get_supported_filetypes():
        raise DataDamError(f"a picture can't be written as .{kind} ({path}); use .png, .pdf, .svg or .jpeg.")
    classes, held = chosen.classes, chosen.labels.bincount(minlength=len(chosen.classes))
    images = chosen.pixels()[chosen.labels.argsort(stable=True)]
    by_class = columns is None and len(classes) <= 20 and len(held.unique()) == 1
    if by_class:
        columns, images = len(classes), images.unflatten(0, (len(classes), -1)).transpose(0, 1).flatten(0, 1)
    columns = columns or 20
    side = images.shape[-1] + 1
    grid = make_grid(images, nrow=columns, padding=1, pad_value=1).permute(1, 2, 0).numpy()
    figure, axis = plt.subplots(figsize=(9, 9 * grid.shape[0] / grid.shape[1] + 0.6))
    axis.imshow(grid, interpolation="nearest")
    axis.set(yticks=[], xticks=[])
    axis.grid(visible=False)
    if by_class:
        centres = [side * (k + 0.5) for k in range(columns)]
        axis.set_xticks(centres, classes, rotation=30 if max(map(len, classes)) > 3 else 0, ha="center")
        axis.xaxis.tick_top()
    sns.despine(figure, left=True, bottom=True)
    if path is not None:
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=150)
    return figure


def accuracies(reports: dict[str, Report], *, label: str = "test accuracy (%)") -> Figure:
    """Draw every model of every report as a point, and the mean ± one standard deviation beside them.

    >>> figure = accuracies({"random": Report([[60.0, 64.0]]), "DataDAM": Report([[80.0, 82.0]])})
    >>> plt.close(figure)
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.6 * len(reports) + 1.1))
    for place, (report, marker) in enumerate(zip(reports.values(), cycle(MARKERS), strict=False)):
        for row in report.accuracies:
            axis.plot(row, [place + 0.12] * len(row), marker, markersize=5.5, markeredgecolor="0.25", color=f"C{place}")
        axis.errorbar(report.mean, place - 0.12, xerr=report.std, fmt="k|", markersize=12, capsize=4)
    axis.set_yticks(range(len(reports)), reports)
    axis.set(xlabel=label, ylim=(len(reports) - 0.5, -0.5))
    return figure


def paired(panels: dict[str, dict[str, Report]], names: dict[str, str] | None = None) -> Figure:
    """Draw reports that are paired set by set: a line of two axes for each panel.

    panels: title -> label -> report, of equally many sets; names: other names of labels, for the axes. Left: a point
    for each set, those of a pair joined. Right: the last label minus each of the others, its mean and 95 % interval.

    >>> reports = {"start": Report([[60.0], [64.0]]), "yours": Report([[80.0], [82.0]])}
    >>> plt.close(paired({"1 image per class": reports}))
    """
    figure, axes = plt.subplots(
        len(panels), 2, figsize=(8.2, 2.5 * len(panels)), squeeze=False, width_ratios=[1.25, 1], sharex="col"
    )
    for (accuracies_of, differences), (title, reports) in zip(axes, panels.items(), strict=True):
        labels = [(names or {}).get(label, label) for label in reports]
        means = [[statistics.fmean(row) for row in report.accuracies] for report in reports.values()]
        for of_one_seed in zip(*means, strict=True):
            accuracies_of.plot(of_one_seed, range(len(labels)), "-", color="0.7", linewidth=1, zorder=1)
        for place, (row, marker) in enumerate(zip(means, cycle(MARKERS), strict=False)):
            accuracies_of.plot(row, [place] * len(row), marker, color=f"C{place}", markersize=6, alpha=0.8)
        for place, other in enumerate(means[:-1]):
            gain = Report([[a - b] for a, b in zip(means[-1], other, strict=True)])
            differences.errorbar(gain.mean, place, xerr=gain.interval, fmt="kD", markersize=6, capsize=5)
        differences.axvline(0, color="0.3", linestyle="--", linewidth=1)
        accuracies_of.set_yticks(range(len(labels)), labels)
        differences.set_yticks(range(len(labels) - 1), [f"minus {label}" for label in labels[:-1]])
        accuracies_of.set(title=title, ylim=(len(labels) - 0.5, -0.5))
        differences.set(title=f"{labels[-1]} minus the others", ylim=(len(labels) - 1.5, -0.5))
    axes[-1][0].set_xlabel("test accuracy (%)")
    axes[-1][1].set_xlabel("points, 95 % interval")
    return figure


def vector(axis: Axes, values: Float[Tensor, " d"], size: tuple[int, int]) -> None:
    """Draw the vector of an attention: as a map of this size if it has an entry for each position, as bars if not.

    >>> import torch
    >>> figure, axes = plt.subplots(1, 2)
    >>> for axis, d in zip(axes, (16, 5)):
    ...     vector(axis, torch.rand(d), (4, 4))
    >>> len(axes[0].images), len(axes[1].images)
    (1, 0)
    >>> plt.close(figure)
    """
    entries = values.detach().numpy()
    if len(entries) == size[0] * size[1]:
        axis.imshow(entries.reshape(size), cmap="viridis")
    else:
        axis.vlines(range(len(entries)), 0, entries, color="C0", linewidth=max(0.5, 60 / len(entries)))
        axis.axhline(0, color="0.3", linewidth=0.5)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)


def dots(rows: dict[str, dict[str, float]], label: str) -> Figure:
    """Draw numbers side by side: a line for each row, a marker for each name in it.

    rows: what -> name -> number, the same names in every row; label: what the numbers are.

    >>> plt.close(dots({"0": {"start": 0.4, "distilled": 0.1}, "1": {"start": 0.2, "distilled": 0.1}}, "distance"))
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.34 * len(rows) + 1.1))
    names = list(next(iter(rows.values())))
    for i, (name, marker) in enumerate(zip(names, cycle(MARKERS), strict=False)):
        places = [place + 0.16 * (i - (len(names) - 1) / 2) for place in range(len(rows))]
        axis.plot([row[name] for row in rows.values()], places, marker, color=f"C{i}", label=name, markersize=6)
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def recorded(rows: dict[str, tuple], yours: dict[str, Report] | None = None) -> Figure:
    """Draw recorded accuracies, mean ± one standard deviation, and over them those of your own run.

    rows: label -> (record, method or None, protocol or None), as for `results.table`; yours: label -> report, for
    some of these labels. They belong there only if they were measured on the same data set.

    Raises: DataDamError for a record that doesn't exist.

    >>> rows = {"DM": ("cpu/cifar10-ipc1-dm",), "random": ("cpu/cifar10-ipc1-random",)}
    >>> figure = recorded(rows, {"DM": Report([[25.0]])})
    >>> plt.close(figure)
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.5 * len(rows) + 1.2))
    for place, which in enumerate(rows.values()):
        found = results.row(*which)
        axis.barh(place, 2 * found["std"], left=found["mean"] - found["std"], height=0.6, color="0.85")
        for one_set in found["accuracies"]:
            axis.plot(one_set, [place - 0.12] * len(one_set), "o", markersize=4, color="0.4", label="recorded")
    for label, report in (yours or {}).items():
        height = [list(rows).index(label) + 0.12] * len(report.models)
        axis.plot(report.models, height, "D", color="C1", markeredgecolor="k", label="yours")
    axis.use_sticky_edges = False  # a margin on both sides: a bar does not begin at zero
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlabel="test accuracy (%)", ylim=(len(rows) - 0.5, -0.5))
    if yours:
        by_label = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))  # each label once
        axis.legend(by_label.values(), by_label)
    return figure


def differences(groups: dict[str, dict[str, Report]], label: str) -> Figure:
    """Draw differences with their 95 % intervals over sets; a filled marker stands for one whose interval misses zero.

    groups: title -> row -> Report of differences; label: what is subtracted from what.

    >>> plt.close(differences({"p": {"p = 1": Report([[-2.0], [-1.8], [-2.2]])}}, "minus p = 4"))
    """
    sizes = [len(rows) for rows in groups.values()]
    figure, axes = plt.subplots(
        len(groups), 1, figsize=(6.4, 0.3 * sum(sizes) + 0.5 * len(groups) + 0.6), sharex=True, squeeze=False,
        height_ratios=[size + 0.6 for size in sizes],
    )  # fmt: skip
    for axis, (title, rows) in zip(axes.flat, groups.items(), strict=True):
        for place, gain in enumerate(rows.values()):
            face = "C0" if clear(gain) else "white"
            axis.errorbar(gain.mean, place, xerr=gain.interval, fmt="o", color="C0", capsize=3, markerfacecolor=face)
        axis.axvline(0, color="0.3", linewidth=0.8)
        axis.set_yticks(range(len(rows)), rows)
        axis.set(ylim=(len(rows) - 0.4, -0.6))
        axis.set_title(title, loc="left", fontsize="medium")
    axes.flat[-1].set_xlabel(label)
    return figure


def loss_curve(chosen: SyntheticSet) -> Figure:
    """Draw the loss over the iterations, term by term."""
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    for name, values, dashes in zip(
        chosen.provenance["terms"], chosen.losses.T, cycle(("-", "--", ":", "-.")), strict=False
    ):
        axis.plot(range(1, len(values) + 1), values, dashes, label=name)
    axis.set(xlabel="iteration", ylabel="weighted term of the loss", yscale="log")
    axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.7)))  # over less than a decade too
    axis.legend()
    return figure


def small_multiples(panels: dict[str, list[tuple[int | float, ...]]], rows: tuple[str, ...]) -> Figure:
    """Draw measures against quantities on logarithmic axes: a column per quantity, a row per measure.

    panels: label of the quantity -> points (quantity, measure of row 1, of row 2, …), in order; rows: labels of the
    measures. The dashed line is proportional to the quantity, from its first point. The smallest and the largest
    value of a measure are written on its axis.

    >>> figure = small_multiples({"classes": [(5, 1.0, 80), (10, 2.0, 80)]}, ("seconds", "megabytes"))
    >>> plt.close(figure)
    """
    size = 1.9 * len(panels) + 0.6, 2.0 * len(rows) + 0.4
    figure, axes = plt.subplots(len(rows), len(panels), figsize=size, squeeze=False, sharex="col", sharey="row")
    for column, (quantity, points) in zip(axes.T, panels.items(), strict=True):
        x, *measures = zip(*points, strict=True)
        for axis, y in zip(column, measures, strict=True):
            axis.plot(x, y, "o-", color="C0")
            axis.plot(x, [y[0] * each / x[0] for each in x], "--", color="0.5", scaley=False)
            axis.set(xscale="log", yscale="log")
            axis.set_xticks(x, [f"{each:g}" for each in x])
            axis.minorticks_off()
        column[-1].set_xlabel(quantity)
    for i, (row, measure) in enumerate(zip(axes, rows, strict=True), 1):
        row[0].set_ylabel(measure)
        values = [point[i] for points in panels.values() for point in points]
        ends = min(values), max(values)
        row[0].set_yticks(ends, [f"{each:.3g}" for each in ends])
    return figure
