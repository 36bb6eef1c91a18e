"""The frame player is complete without a kernel: every picture, description and button is in its HTML."""

import base64
import io

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from datadam_lite import DataDamError
from datadam_lite.widgets import frames

ALTS = ["A falling line.", 'A line that is "level" & long.', "A rising line."]


def drawn(slopes=(-1, 0, 1)):
    """Figures of lines, by the label of their slope."""
    figures = {}
    for slope in slopes:
        figures[f"slope {slope}"], axis = plt.subplots(figsize=(2, 1), dpi=100)
        axis.plot([0, 1], [0, slope])
    return figures


def player(**options):
    """The player as parsed HTML."""
    return BeautifulSoup(frames(drawn(), ALTS, legend="The slope", **options).data, "html.parser")


def test_a_button_and_a_described_picture_for_each_frame():
    soup = player()
    assert [label.text for label in soup.find_all("label")] == ["slope -1", "slope 0", "slope 1"]
    assert [image["alt"] for image in soup.find_all("img")] == ALTS
    assert soup.legend.text == "The slope"
    for image in soup.find_all("img"):
        picture = Image.open(io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))))
        assert picture.size == (200, 100)


def test_buttons_are_one_group_whose_first_is_chosen():
    buttons = player().find_all("input")
    assert len({button["name"] for button in buttons}) == 1
    assert [button.has_attr("checked") for button in buttons] == [True, False, False]
    assert [label["for"] for label in player().find_all("label")] == [button["id"] for button in buttons]


def test_a_rule_shows_the_picture_of_its_button_and_no_other():
    soup = player()
    rules = [line for line in soup.style.text.splitlines() if ":checked ~" in line]
    ids = [button["id"] for button in soup.find_all("input")]
    assert rules == [f"#{name}:checked ~ .frame-{i} {{ display: block }}" for i, name in enumerate(ids)]
    assert [image["class"] for image in soup.find_all("img")] == [[f"frame-{i}"] for i in range(3)]


def test_the_same_pictures_give_the_same_bytes_and_others_another_name():
    first, again = (frames(drawn(), ALTS, legend="The slope").data for _ in range(2))
    other = frames(drawn((-1, 0, 2)), ALTS, legend="The slope").data
    assert first == again
    name = BeautifulSoup(first, "html.parser").input["name"]
    assert name not in other


def test_figures_are_closed():
    frames(drawn(), ALTS, legend="The slope")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("alts", [ALTS[:2], [*ALTS[:2], ""]])
def test_every_frame_must_be_described(alts, figures):
    with pytest.raises(DataDamError, match="for each a description"):
        frames(drawn(), alts, legend="The slope")


def test_one_frame_is_no_choice(figures):
    with pytest.raises(DataDamError, match="at least two pictures"):
        frames(drawn((1,)), ["A line."], legend="The slope")
