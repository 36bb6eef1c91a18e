"""Figures: everything given is drawn, in its place."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from samples import contents, small, toy

from datadam_lite import DataDamError, ImageSet, Preprocess, Report, SyntheticSet, distill, results
from datadam_lite.plots import accuracies, differences, loss_curve, picture, recorded, show_images, style

pytestmark = pytest.mark.usefixtures("figures")


def shades(classes=3, ipc=2, size=4):
    """A set whose image i is one shade of grey, and the shades."""
    values = np.linspace(0, 240, classes * ipc).astype(np.uint8)
    images = torch.from_numpy(values)[:, None, None, None].expand(-1, 3, size, size).contiguous()
    labels = torch.arange(classes).repeat_interleave(ipc)
    train = ImageSet(images, labels, tuple(f"class {k}" for k in range(classes)))
    return SyntheticSet.from_real(train, torch.arange(classes * ipc), Preprocess.fit(train)), values / 255


def tiles(figure, size=4):
    """The shade at the middle of every tile of a picture, line by line."""
    grid = np.asarray(figure.axes[0].images[0].get_array())
    return grid[1 + size // 2 :: size + 1, 1 + size // 2 :: size + 1, 0]


@pytest.mark.parametrize(("classes", "ipc"), [(3, 2), (10, 1), (2, 5)])
def test_a_picture_has_a_column_for_each_class(classes, ipc):
    chosen, values = shades(classes, ipc)
    figure = picture(chosen)
    np.testing.assert_allclose(tiles(figure), values.reshape(classes, ipc).T, atol=1e-5)
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == list(chosen.classes)
    assert [(tick - 0.5 - 2) // 5 for tick in axis.get_xticks()] == list(range(classes))


def test_a_picture_has_every_image_under_its_class():
    chosen, values = shades(3, 2)
    order = torch.tensor([3, 0, 5, 1, 4, 2])  # classes mixed; within a class the first stays the first
    figure = picture(replace(chosen, images=chosen.images[order], labels=chosen.labels[order]))
    expected = values[[[0, 3, 5], [1, 2, 4]]]
    np.testing.assert_allclose(tiles(figure), expected, atol=1e-5)


@pytest.mark.parametrize("classes", [3, 20])
def test_a_picture_of_classes_of_unequal_size_names_none(classes):
    chosen, values = shades(classes, 1)
    labels = torch.arange(classes).clamp(max=classes - 2).flip(0)
    figure = picture(replace(chosen, labels=labels))
    assert not figure.axes[0].get_xticklabels()
    expected = values[labels.argsort(stable=True)]
    np.testing.assert_allclose(tiles(figure)[0, :classes], expected, atol=1e-5)


def test_a_picture_of_many_classes_has_twenty_columns():
    chosen, values = shades(25, 2)
    grid = tiles(picture(chosen))
    np.testing.assert_allclose(grid[:2], values[:40].reshape(2, 20), atol=1e-5)
    np.testing.assert_allclose(grid[2, :10], values[40:], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["a.png", "a.PNG", "deep/a.jpeg", "a"])
def test_a_picture_is_saved(tmp_path, channels, name):
    train = toy(2, shape=(channels, 8, 8))
    picture(SyntheticSet.from_real(train, torch.arange(6), Preprocess.fit(train)), tmp_path / name)
    assert list(contents(tmp_path)) == [name]
    with Image.open(tmp_path / name) as saved:
        assert saved.size > (300, 100)


@pytest.mark.parametrize("name", ["set.safetensors", "a.xyz"])
def test_a_picture_of_no_known_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_text("old")
    with pytest.raises(DataDamError, match=r"picture.*\.(safetensors|xyz).*png"):
        picture(shades()[0], tmp_path / name)
    assert contents(tmp_path) == {name: b"old"}


def test_a_picture_on_a_full_disk_leaves_the_old_one(tmp_path, full_disk):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataDamError, match=r"could not write .*a.png: No space left on device"):
        picture(shades()[0], tmp_path / "a.png")
    assert contents(tmp_path) == {"a.png": b""}


def test_images_stand_in_named_rows_and_titled_columns():
    rows = {"one": torch.rand(3, 1, 4, 4), "other": torch.rand(2, 3, 4, 4)}
    figure = show_images(rows, ("a", "b", "c"))
    shown = [axis.images[0].get_array() if axis.images else None for axis in figure.axes]
    for i, (name, images) in enumerate(rows.items()):
        assert figure.axes[3 * i].texts[0].get_text() == name
        for j, image in enumerate(images):
            drawn = np.asarray(shown[3 * i + j]).reshape(4, 4, -1)
            np.testing.assert_array_equal(drawn, image.permute(1, 2, 0).numpy())
    assert shown[5] is None
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", "", "", ""]
    figure = show_images(rows, tuple("abcde"))
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", "d", "e", ""]


def test_grey_is_grey_and_the_whole_range_is_shown():
    figure = show_images({"grey": torch.full((1, 1, 4, 4), 0.5)})
    image = figure.axes[0].images[0]
    assert image.get_clim() == (0, 1)
    assert image.cmap.name == "gray"


@pytest.mark.parametrize("n", [1, 3, 10])
def test_every_model_of_every_report_is_a_point(n):
    reports = {f"method {i}": Report([[i + 1.0, i + 2.0], [i + 3.0, i + 4.0]]) for i in range(n)}
    axis = accuracies(reports).axes[0]
    points = sorted(x for line in axis.lines if line.get_marker() not in ("|", "None") for x in line.get_xdata())
    assert points == sorted(a for report in reports.values() for a in report.models)
    assert [label.get_text() for label in axis.get_yticklabels()] == list(reports)
    means = sorted(container.lines[0].get_xdata()[0] for container in axis.containers)
    assert means == pytest.approx(sorted(report.mean for report in reports.values()))


def test_your_run_lies_over_the_recorded_one():
    name = results.names()[0]
    axis = recorded({"it": (name,), "again": (name,)}, yours={"again": Report([[12.0], [14.0]])}).axes[0]
    grey = [line for line in axis.lines if line.get_label() == "recorded"]
    (yours,) = [line for line in axis.lines if line.get_label() == "yours"]
    assert [list(line.get_xdata()) for line in grey] == 2 * results.row(name)["accuracies"]
    assert list(yours.get_xdata()) == [12.0, 14.0]
    assert list(yours.get_ydata()) == pytest.approx([1.12, 1.12])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["recorded", "yours"]
    assert recorded({"it": (name,)}).axes[0].get_legend() is None


def test_only_a_clear_difference_is_filled():
    rows = {"clear": Report([[-2.0], [-2.1]]), "chance": Report([[1.0], [-1.0]]), "one set": Report([[3.0]])}
    first, second = differences({"a": rows, "b": rows}, "minus b").axes
    for axis in (first, second):
        assert [label.get_text() for label in axis.get_yticklabels()] == list(rows)
        markers = [container.lines[0] for container in axis.containers]
        assert [line.get_xdata()[0] for line in markers] == [gain.mean for gain in rows.values()]
        assert [line.get_markerfacecolor() for line in markers] == ["C0", "white", "white"]
        assert axis.get_ylim()[0] > axis.get_ylim()[1]  # the first row on top
    assert [axis.get_title(loc="left") for axis in (first, second)] == ["a", "b"]
    assert second.get_xlabel() == "minus b"


@pytest.mark.parametrize("n", [1, 5])
def test_a_loss_curve_has_every_term(n):
    chosen = distill(toy(), 1, small(attention=["spatial"] * n))
    axis = loss_curve(chosen).axes[0]
    assert axis.get_legend_handles_labels()[1] == chosen.provenance["terms"]
    for line, values in zip(axis.lines, chosen.losses.T, strict=True):
        np.testing.assert_allclose(line.get_ydata(), values)
        assert list(line.get_xdata()) == [1, 2, 3]


def test_the_style_is_white():
    with plt.rc_context():
        style()
        assert plt.rcParams["savefig.facecolor"] == "white"
        assert plt.rcParams["axes.facecolor"] == "white"
