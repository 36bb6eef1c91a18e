"""The attention lab: what a reader sees in it is what the package computes.

A page with two labs is opened in a browser, from disk and offline, and its real controls are used. Every number it
shows is compared with the package's own functions, on the maps in the page and on those of the network.
"""

import base64
import dataclasses
import itertools
import json
import re
from types import SimpleNamespace

import pytest
import test_browser
import torch
from bs4 import BeautifulSoup
from samples import small, toy

import datadam_lite as dd
from datadam_lite.attention_lab import BUDGET, attention_lab, quantise
from datadam_lite.objectives import distance_of_means

browser = test_browser.browser
REAL, START, DISTILLED = slice(0, 4), 4, 5  # the images of a class
POWERS = (0.5, 1.0, 2.0, 4.0, 8.0)
ODD_NAME = '</script>"&<b>'


def network_for(train, width=32):
    """A network of its own for every data set."""
    network = dd.ConvNet(train.shape, len(train.classes), width=width)
    return dd.reset(network, dd.generator(0, train.name))


@pytest.fixture(scope="module")
def digits():
    """The digits, and a set that a few steps made of them."""
    train = dd.load("digits")[0]
    return SimpleNamespace(train=train, made=dd.distill(train, 1, small(width=8)), network=network_for(train))


@pytest.fixture(scope="module")
def wide():
    """Images in colour that are not square, of classes with awkward names."""
    train = toy(8, classes=3, shape=(3, 8, 12))
    train = dataclasses.replace(train, classes=("plain", ODD_NAME, "{{data}}"))
    return SimpleNamespace(train=train, made=dd.distill(train, 1, small()), network=network_for(train, width=5))


def lab_of(sets, **options):
    """The lab of a data set."""
    return attention_lab(sets.network, sets.train, sets.made, **options).data


def content(page):
    """The data in a lab's script."""
    return json.loads(re.search(r"^}\)\((.*)\);$", page, re.M).group(1))


def stacks(page):
    """The maps in a lab: for each block [classes, images, C, H, W], in double precision."""
    lab, found = content(page), []
    for stack in lab["blocks"]:
        levels = torch.frombuffer(bytearray(base64.b64decode(stack["bytes"])), dtype=torch.uint8).double()
        steps = torch.tensor(stack["steps"], dtype=torch.float64)
        maps = levels.reshape(len(steps), *stack["shape"]) * steps[:, None, None, None]
        found.append(maps.unflatten(0, (len(lab["classes"]), -1)))
    return found


def exact(sets):
    """The same without rounding, from the network."""
    classes = len(sets.train.classes)
    rows = sets.train.sample(4, dd.generator(0, "attention lab"))
    real = sets.made.preprocess.apply(sets.train.images[rows]).unflatten(0, (classes, 4))
    made = [sets.made.initial(sets.train).images, sets.made.images]
    with torch.no_grad():
        every = torch.cat([real, torch.stack(made, 1)], 1).flatten(0, 1)
        return [f.double().unflatten(0, (classes, 6)) for f in sets.network(every).maps]


def expected(maps, kind, p, divide=True):
    """What the package says about the maps of one class, [6, C, H, W]: attention, share, both losses."""
    function = {"spatial": dd.spatial, "channel": dd.channel}[kind]
    z = function(maps, p, "l2" if divide else "none")
    losses = [distance_of_means(z[None, REAL], z[None, None, i]).item() for i in (START, DISTILLED)]
    share = 1 / function(maps, p, "l1").square().sum(1)
    return SimpleNamespace(z=z, losses=losses, share=share)


# ---- in a browser


class Lab:
    """One lab of an open page, used as a reader uses it."""

    def __init__(self, root):
        self.root = root

    def choose(self, **values):
        """Choose from lists by number or word, as with the mouse."""
        for name, value in values.items():
            self.root.locator(f'[name="{name}"]').select_option(str(value))

    def power(self, p):
        """Move the slider with the keyboard."""
        slider = self.root.get_by_label("Power")
        slider.press("Home")
        for _ in range(round(p / 0.5) - 1):
            slider.press("ArrowRight")

    def data(self, name):
        """A number that the lab offers to programs."""
        return float(self.root.get_attribute(f"data-{name}"))

    def panel(self, name):
        """The numbers behind a picture."""
        values = "(cells) => cells.map((cell) => Number(cell.dataset.value))"
        return torch.tensor(self.root.locator(f'[data-panel="{name}"] rect').evaluate_all(values), dtype=torch.float64)

    def text(self):
        """All that is said."""
        return self.root.get_by_role("status").inner_text()

    def check(self, maps, image, kind, p, divide=True):
        """Compare everything with the package, on the maps of the page."""
        right = expected(maps, kind, p, divide)
        close = {"rtol": 1e-5, "atol": 1e-12}
        torch.testing.assert_close(self.panel("chosen"), right.z[image], **close)
        torch.testing.assert_close(self.panel("real"), right.z[REAL].mean(0), **close)
        torch.testing.assert_close(self.panel("start"), right.z[START], **close)
        torch.testing.assert_close(self.panel("distilled"), right.z[DISTILLED], **close)
        assert self.data("shared") == pytest.approx(right.share[image].item(), rel=1e-5)
        losses = [self.data("loss-start"), self.data("loss-distilled")]
        assert losses == pytest.approx(right.losses, rel=1e-5)
        said = re.search(r": (\S+) of the (\d+) \w+ share.*start (\S+), distilled (\S+)\.", self.text(), re.S)
        assert int(said[2]) == right.z.shape[1]
        assert [float(said[i]) for i in (1, 3, 4)] == pytest.approx([self.data("shared"), *losses], rel=5.1e-3)


@pytest.fixture(scope="module")
def opened(browser, digits, wide, tmp_path_factory):
    """A file with a lab of the digits, one of other images, and the first once more."""
    pages = [lab_of(digits), lab_of(wide, kind="channel", block=2), lab_of(digits)]
    file = tmp_path_factory.mktemp("lab") / "labs.html"
    file.with_name("empty.html").write_text("<!doctype html><title>Empty</title>")
    file.write_text(f"<!doctype html><meta charset=utf-8><title>Labs</title><body>{''.join(pages)}", encoding="utf-8")
    context = browser.new_context(viewport=test_browser.LAPTOP, offline=True)
    page, heard = context.new_page(), []
    page.on("request", lambda request: heard.append(request.url))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda message: heard.append(message.text))
    page.goto(file.as_uri())
    labs = [Lab(root) for root in page.locator(".attention-lab").all()]
    yield SimpleNamespace(page=page, labs=labs, file=file, heard=heard, maps=[stacks(text) for text in pages])
    context.close()


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("which", [0, 1])
def test_the_page_computes_what_the_package_computes(opened, which, p):
    lab, maps = opened.labs[which], opened.maps[which]
    lab.power(p)
    chosen = itertools.cycle(itertools.product(range(len(maps[0])), range(6)))
    for block, kind in itertools.product(range(1, len(maps) + 1), ("spatial", "channel")):
        for k, image in itertools.islice(chosen, 4):                # other classes and images for every block
            lab.choose(**{"class": k, "image": image, "block": block, "kind": kind})
            lab.check(maps[block - 1][k], image, kind, p)


@pytest.mark.parametrize("kind", ["spatial", "channel"])
def test_undivided_attention_is_what_the_package_computes(opened, kind):
    lab, maps = opened.labs[0], opened.maps[0]
    lab.root.get_by_label("divide").uncheck()
    for p, block in ((1.0, 2), (8.0, 1)):
        lab.power(p)
        lab.choose(**{"class": 3, "image": DISTILLED, "block": block, "kind": kind})
        lab.check(maps[block - 1][3], DISTILLED, kind, p, divide=False)
    lab.root.get_by_label("divide").check()


def test_the_keyboard_is_enough(opened):
    lab, press = opened.labs[0], opened.page.keyboard.press
    lab.choose(**{"class": 0, "image": 0, "block": 1, "kind": "spatial"})
    lab.power(4.0)
    lab.root.locator("select").first.focus()
    for keys in (["ArrowDown"] * 4, ["End"], ["ArrowDown"], ["ArrowDown"], ["ArrowLeft"] * 4, ["Space"]):
        assert opened.page.evaluate("document.activeElement.closest('.attention-lab') !== null")
        for key in keys:
            press(key)
        press("Tab")
    lab.check(opened.maps[0][1][4], DISTILLED, "channel", 2.0, divide=False)
    lab.root.get_by_label("divide").check()


def test_labs_do_not_disturb_each_other_even_if_they_are_alike(opened):
    first, other, same = opened.labs
    before = [lab.root.inner_html() for lab in (other, same)]
    first.choose(**{"class": 7, "image": START})
    first.power(6.5)
    assert [lab.root.inner_html() for lab in (other, same)] == before
    said = first.text()
    same.choose(**{"class": 5, "block": 1, "kind": "spatial"})
    same.power(4.0)
    same.check(opened.maps[2][0][5], 0, "spatial", 4.0)
    assert first.text() == said


def test_every_control_and_every_picture_has_a_name(opened):
    for lab in opened.labs:
        names = lab.root.locator("select, input").evaluate_all("(all) => all.map((each) => each.labels[0].innerText)")
        assert len(names) == 6
        assert all(names)
        kept = lab.root.locator('[data-lm-suppress-shortcuts="true"]')          # else JupyterLab takes the arrow keys
        assert kept.evaluate_all("(all) => all.filter((each) => each.labels).length") == 6
        said = lab.root.locator("svg").evaluate_all("(all) => all.map((each) => each.getAttribute('aria-label'))")
        assert len(said) == 5
        assert all(re.search(r"Largest: .* at (row \d+, column \d+|filter \d+)", each) for each in said[1:])


def test_the_lab_begins_where_it_was_told_to_and_names_the_classes(opened):
    lab = opened.labs[1]
    opened.page.reload()
    assert [lab.root.locator(f'[name="{name}"]').input_value() for name in ("block", "kind")] == ["2", "channel"]
    names = lab.root.locator('[name="class"] option').all_inner_texts()
    assert names == ["plain", ODD_NAME, "{{data}}"]
    lab.check(opened.maps[1][1][0], 0, "channel", 4.0)
    assert "class plain" in lab.text()


def test_pictures_are_the_images(opened, wide):
    lab = opened.labs[1]
    lab.choose(**{"class": 2, "image": DISTILLED})
    cells = lab.root.locator('[data-panel="picture"] rect')
    fills = cells.evaluate_all("(all) => all.map((each) => each.getAttribute('fill'))")
    shown = torch.tensor([list(map(int, re.findall(r"\d+", fill))) for fill in fills])         # [H*W, 3]
    image = (wide.made.pixels()[2] * 255).round().long()
    assert torch.equal(shown, image.flatten(1).T)
    assert lab.root.locator('[data-panel="picture"]').get_attribute("viewBox") == "0 0 12 8"


def test_nothing_is_asked_of_a_network_said_on_the_console_or_left_in_the_window(opened):
    assert {line.partition("#")[0] for line in opened.heard} == {opened.file.as_uri()}
    with_labs = opened.page.evaluate("Object.getOwnPropertyNames(window)")
    empty = opened.page.context.new_page()
    empty.goto(opened.file.with_name("empty.html").as_uri())
    assert set(with_labs) <= set(empty.evaluate("Object.getOwnPropertyNames(window)"))
    empty.close()


def test_on_a_phone_the_page_does_not_scroll_sideways(opened):
    opened.page.set_viewport_size(test_browser.PHONE)
    for p in (0.5, 8.0):
        opened.labs[0].power(p)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    opened.page.set_viewport_size(test_browser.LAPTOP)


def test_without_javascript_a_sentence_stands_there(browser, opened, digits):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(opened.file.as_uri())
    sentence = page.locator(".fallback").first
    assert sentence.is_visible()
    assert not page.locator(".live").first.is_visible()
    z = torch.stack([expected(maps, "spatial", 4.0).z for maps in stacks(lab_of(digits))[0]])
    for i in (START, DISTILLED):
        assert f"{distance_of_means(z[:, REAL], z[:, i, None]).mean():.3f}" in sentence.inner_text()
    context.close()


def test_the_lab_fits_into_the_book(browser, book, digits):
    """Between the styles of the book, as the output of a cell: readable in light and dark, on a laptop and a phone."""
    visit = test_browser.Visit(browser, book / f"{test_browser.listed()[0]}.html")
    output = f'<div class="cell docutils container"><div class="cell_output docutils container">' \
             f'<div class="output text_html">{lab_of(digits)}{lab_of(digits, kind="channel")}</div></div></div>'
    before = list(visit.complaints)
    fragment = "document.createRange().createContextualFragment(text)"          # unlike innerHTML, runs scripts
    visit.page.evaluate(f"(text) => document.querySelector('article h1').after({fragment})", output)
    assert visit.page.locator(".attention-lab .live").first.is_visible()
    for mode, viewport in itertools.product(("light", "dark"), (test_browser.LAPTOP, test_browser.PHONE)):
        visit.look(mode, viewport)
        assert [visit.ask(check) for check in ("contrast", "sideways", "cut", "ids", "unnamed")] == [[]] * 5
    assert visit.complaints == before
    visit.context.close()


# ---- without one


@pytest.mark.parametrize("kind", ["spatial", "channel"])
@pytest.mark.parametrize("p", POWERS)
def test_rounding_to_bytes_hardly_changes_what_is_shown(digits, kind, p):
    """A response near the largest is off by 1/510 of it, its power by p/510; a distance has two ends."""
    for rounded, maps in zip(stacks(lab_of(digits)), exact(digits), strict=True):
        for k in range(10):
            shown, right = expected(rounded[k], kind, p), expected(maps[k], kind, p)
            torch.testing.assert_close(shown.share, right.share, rtol=0.01, atol=0)
            for one, other in zip(shown.losses, right.losses, strict=True):
                assert one**0.5 == pytest.approx(other**0.5, abs=2 * max(p, 1) / 510)


def test_bytes_are_right_to_half_a_step_and_signs_are_dropped():
    maps = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    maps[1] = 0
    levels, step = quantise(maps)
    error = (levels * step[:, None, None, None] - maps.abs()).abs().amax((1, 2, 3))
    assert (error <= 0.5001 * step).all()
    assert levels.amax((1, 2, 3)).tolist() == [255, 0, 255]


def test_the_same_arguments_give_the_same_bytes_and_others_another_name(digits):
    first, again = lab_of(digits), lab_of(digits)
    assert first == again
    names = {content(lab_of(digits, **options))["name"] for options in ({}, {"kind": "channel"}, {"real": 3})}
    assert len(names) == 3


def test_a_lab_keeps_its_budget_and_asks_no_other_host(digits):
    page = lab_of(digits)
    assert 150_000 < len(page.encode()) <= BUDGET
    assert "//" not in re.sub(r'"bytes": "[^"]*"|(^|\s)// .*', "", page)
    assert not BeautifulSoup(page, "html.parser").find_all(src=True)


def test_there_is_one_script_and_no_id(wide):
    soup = BeautifulSoup(lab_of(wide), "html.parser")
    assert len(soup.find_all("script")) == 1
    assert not soup.find_all(id=True)
    assert not soup.find_all("b")                                   # the awkward name is no markup


def refusal(sets, **changes):
    """What the lab says to bad input; changes: network, train, made, or options."""
    replaced = {name: changes.pop(name) for name in ("network", "train", "made") if name in changes}
    with pytest.raises(dd.DataDamError) as refused:
        lab_of(SimpleNamespace(**vars(sets) | replaced), **changes)
    return str(refused.value)


def test_bad_input_is_refused_in_a_sentence(digits, wide):
    two = dd.distill(digits.train, 2, small(width=8))
    assert "received 20 images of 10 classes: distil with ipc=1" in refusal(digits, made=two)
    assert "received 3 images of 3 classes: distil with ipc=1" in refusal(digits, made=wide.made)
    assert "the images of the set, 1x8x8, and does not" in refusal(digits, network=wide.network)
    rowless = dataclasses.replace(digits.made, initial_rows=None)
    assert "did not start from real images" in refusal(digits, made=rowless)
    flipped = dataclasses.replace(digits.train, images=digits.train.images.flip(0))
    assert "Load the data set it was distilled from" in refusal(digits, train=flipped)
    assert "has batch norm" in refusal(digits, network=dd.ConvNet((1, 8, 8), 10, norm="batch"))
    assert "use the convnet" in refusal(digits, network=dd.NETWORKS["vit"]((1, 8, 8), 10, width=8, depth=1))
    assert "block must lie in 1 … 3" in refusal(digits, block=4)
    assert "received 0" in refusal(digits, block=0)
    assert "unknown attention of the lab 'feature_map'; the known ones are spatial, channel" in refusal(
        digits, kind="feature_map"
    )
    assert "ask for at most 8" in refusal(wide, real=9)
    assert re.search(r"at most 300 kB .* make \d+ kB: take smaller images", refusal(digits, real=12))
