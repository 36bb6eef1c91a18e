"""redraw: the figures are of the function that is given; what makes no sense for it is left out, and it says why."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import datadam_lite as dd
from datadam_lite.classroom.drawing import Given, network_of
from datadam_lite.classroom.figures_of_answers import change, changed_maps, nearest_means, powers
from datadam_lite.classroom.figures_of_sets import class_means
from datadam_lite.classroom.redrawn import png

pytestmark = pytest.mark.usefixtures("short", "figures")

TINY = {"sets": 1, "iterations": 2, "real_batch": 4}
ALL = ["answers", "powers", "changed maps", "classes", "where", "closer", "terms", "images", "accuracies"]


def loudest(maps):
    """A map without a power."""
    return F.normalize(maps.amax(1).flatten(1), dim=1)


def rows_of_channels(maps):
    """Neither a map nor an entry for each channel, and of both signs."""
    return F.normalize(maps.sum(3).flatten(1), dim=1) - 0.05


@pytest.fixture(scope="module")
def drawn(short):
    """For three functions, what was drawn."""
    return {fn.__name__: dd.redraw(fn, **TINY) for fn in (dd.spatial, loudest, rows_of_channels)}


def pixels(figure):
    """A figure as an array."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png(figure)))))


def row_of(figure, row):
    """The images in a row of ten, [10, H, W]."""
    axes = figure.axes[10 * row : 10 * row + 10]
    return torch.stack([torch.as_tensor(np.array(axis.images[0].get_array())) for axis in axes])


# ---- which figures


@pytest.mark.parametrize(
    ("name", "left_out"),
    [("spatial", []), ("loudest", ["powers"]), ("rows_of_channels", ["powers", "where"])],
)
def test_a_figure_that_makes_no_sense_is_left_out_and_says_why(drawn, name, left_out):
    redrawn = drawn[name]
    assert redrawn.left_out == left_out
    assert list(redrawn.figures) == [each for each in ALL if each not in left_out]
    assert list(redrawn.captions) == ALL
    for each in left_out:
        assert redrawn.captions[each].startswith("Left out: ")
        assert name in redrawn.captions[each]


def test_figures_change_with_the_function(drawn):
    one, other = drawn["spatial"].figures, drawn["loudest"].figures
    for name in set(one) & set(other) - {"accuracies"}:  # which may agree, after two steps
        a, b = pixels(one[name]), pixels(other[name])
        assert a.shape != b.shape or (a != b).any(), name


def test_the_same_function_gives_the_same_figures(drawn):
    again, once_more = dd.redraw(loudest, **TINY), dd.redraw(loudest, **TINY)
    assert again.captions == drawn["loudest"].captions
    for name, figure in again.figures.items():  # each is painted for the first time, which settles its layout
        assert (pixels(figure) == pixels(once_more.figures[name])).all(), name


def test_figures_are_closed_so_that_a_notebook_shows_them_once(drawn):
    import matplotlib.pyplot as plt

    open_figures = {plt.figure(number) for number in plt.get_fignums()}
    assert not open_figures & {figure for redrawn in drawn.values() for figure in redrawn.figures.values()}


# ---- what is in them


def test_answers_are_maps_or_bars_of_what_the_function_returns(drawn):
    image = dd.load("digits")[0]
    first = dd.Preprocess.fit(image).apply(image.images[image.rows_of_class[0][:1]])
    maps = network_of(0, "chapter 7")(first).maps
    for block in (1, 2):
        axis = drawn["loudest"].figures["answers"].axes[6 * block]
        shown = torch.as_tensor(np.array(axis.images[0].get_array()))
        assert torch.allclose(shown.flatten(), loudest(maps[block - 1])[0], atol=1e-6)
        axis = drawn["rows_of_channels"].figures["answers"].axes[6 * block]
        tops = torch.tensor([segment[1][1] for segment in axis.collections[0].get_segments()])
        assert torch.allclose(tops.float(), rows_of_channels(maps[block - 1])[0], atol=1e-6)


def test_the_powers_are_those_of_the_function(drawn):
    titles = [axis.get_title() for axis in drawn["spatial"].figures["powers"].axes]
    assert [title.split(":")[0] for title in titles] == [f"p = {p:g}" for p in (0.5, 1, 2, 4, 8)]
    sharing = [float(re.search(r": (.*) of 64", title)[1]) for title in titles]
    assert sharing == sorted(sharing, reverse=True)  # the higher the power, the fewer share the response


def test_what_a_function_does_not_see_is_found():
    def given(fn):
        return Given(fn, dd.behaviour(fn, ipcs=(1,), **TINY))

    unseen = changed_maps(given(dd.channel)).caption.split("does not see: ")[1]
    assert unseen == "positions in another order, mirror image, ten times as bright."
    unseen = changed_maps(given(dd.spatial)).caption.split("does not see: ")[1]
    assert unseen == "channels in another order, ten times as bright."
    unseen = changed_maps(given(lambda maps: maps.sum(2).flatten(1))).caption.split("does not see: ")[1]
    assert unseen == "none."


def test_change_is_relative():
    before = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert change(2 * before, before) == pytest.approx(1 / 3)
    assert change(-before, before) == pytest.approx(1)
    assert change(torch.tensor([[3.0, 4.0], [1.0, 1.0]]), before) == pytest.approx(0.5 / (1 + 2**0.5))


def picky(maps, p=4.0):
    """Spatial attention for powers from 1 on."""
    if p < 1:
        raise ValueError("p is too small")
    return dd.spatial(maps, p)


def test_a_function_that_refuses_a_power_says_so():
    caption = powers(Given(picky, dd.behaviour(picky, ipcs=1, **TINY))).caption
    assert caption.startswith("Left out: picky can't be called with all the powers")
    assert "p is too small" in caption


def test_classes_are_recognised_as_in_chapter_7(drawn):
    reports = re.findall(r"(\w+) (\d+)", drawn["spatial"].captions["classes"].split("trained): ")[1])
    hits = {name: int(hit) for name, hit in reports[1:]}
    assert hits["spatial"] == int(reports[0][1])  # yours is the book's
    assert hits["channel"] > hits["spatial"] > 20  # what the chapter says of digits


def test_a_vector_that_knows_nothing_recognises_nothing():
    def blind(maps):
        return maps.sum((1, 2, 3), keepdim=False)[:, None] * 0 + maps.new_ones(len(maps), 1)

    given = Given(blind, dd.behaviour(dd.spatial, ipcs=(1,), **TINY))
    assert "spatial 10, spatial 70" in nearest_means(given).caption


def test_where_and_closer_are_of_the_distilled_images(drawn):
    redrawn = drawn["loudest"]
    trial = redrawn.found.trials[0]
    given = Given(loudest, redrawn.found)
    shown = row_of(redrawn.figures["where"], 2)  # the third row: distilled
    means = class_means(given, trial.sets["yours"][0].images, 1).unflatten(1, (8, 8))
    inside = (shown > 0) & (shown < 1)
    pair = torch.stack([shown[inside], means[inside]])
    assert len(pair.T) > 100
    assert torch.corrcoef(pair)[0, 1] > 0.9999  # the same but for one scale of brightness
    start, distilled = (line.get_xdata() for line in redrawn.figures["closer"].axes[0].lines[:2])
    closer = sum(b < a for a, b in zip(start, distilled, strict=True))
    assert f"in {closer} of 10 classes" in redrawn.captions["closer"]


def test_terms_are_named_after_the_function(drawn):
    legend = drawn["loudest"].figures["terms"].axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["loudest", "embedding"]


def test_the_row_of_what_moved_is_the_difference(drawn):
    redrawn = drawn["loudest"]
    sets = redrawn.found.trials[0].sets
    moved = sets["yours"][0].images - sets["initial images"][0].images
    shown = row_of(redrawn.figures["images"], 3)
    assert torch.allclose((shown - 0.5) * 2 * moved.abs().max(), moved[:, 0], atol=1e-5)


# ---- how it looks


def test_the_page_has_every_figure_with_its_caption(drawn):
    for redrawn in drawn.values():
        page = redrawn._repr_html_()
        images = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)">', page)
        assert len(images) == len(redrawn.figures) == page.count("<figcaption>")
        assert all(Image.open(io.BytesIO(base64.b64decode(data))).size[0] > 300 for _, data in images)
        for name, caption in redrawn.captions.items():
            assert name in str(redrawn)
            assert caption.split(":")[0] in page


def test_a_function_that_breaks_the_contract_is_refused():
    with pytest.raises(dd.DataDamError, match="breaks the contract"):
        dd.redraw(lambda maps: maps.sum(1))
