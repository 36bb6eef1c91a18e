"""The built book in a browser, opened from disk with no network: what a reader sees, on a laptop and on a phone.

The browser is a Chromium that is installed already: `chromium`, `chromium-browser` or `google-chrome`, or the one that
the environment variable CHROMIUM names. Without one these tests are skipped; with DATADAM_REQUIRE_BROWSER=1 they fail.
"""

import os
import re
import shutil

import nbformat
import pytest
from playwright.sync_api import sync_playwright
from regenerate import ROOT
from test_book import listed

LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
PAGES = [*listed(), "search", "genindex"]
PLAYER = "fieldset.frames"
NO_BROWSER = (
    "The book was not looked at in a browser: there is no Chromium. Install one (Debian, Ubuntu: "
    "apt-get install chromium), or name it in the environment variable CHROMIUM."
)


class Reminder:
    """A line at the end of the tests' report, where a skip would pass unseen."""

    @staticmethod
    def pytest_terminal_summary(terminalreporter):
        """Called by pytest."""
        terminalreporter.write_sep("=", "tests/test_browser.py skipped", yellow=True, bold=True)
        terminalreporter.write_line(NO_BROWSER, yellow=True)


def chromium():
    """The path of an installed Chromium, or None."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser(request):
    """A browser for all tests here. Closed after the last: while it is open, no other test could run asyncio."""
    if not (program := chromium()):
        if os.environ.get("DATADAM_REQUIRE_BROWSER"):
            pytest.fail(NO_BROWSER)
        if not request.config.pluginmanager.has_plugin("no-browser"):
            request.config.pluginmanager.register(Reminder(), "no-browser")
        pytest.skip(NO_BROWSER)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """One page, opened from disk, with all that it asked for and complained about."""

    def __init__(self, browser, path, query=""):
        """Open it as a laptop in light mode, wait for its equations, unfold what is folded."""
        self.requests, self.complaints = [], []
        self.context = browser.new_context(viewport=LAPTOP, color_scheme="light", offline=True)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"missing: {request.url}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self.hear)
        self.page.add_init_script(path=ROOT / "tests" / "browser.js")
        self.page.goto(path.as_uri() + query)
        self.page.evaluate("window.MathJax?.startup?.promise")
        self.page.add_style_tag(content="* { transition: none !important; animation: none !important }")  # at once
        self.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        self.page.evaluate("Promise.all([...document.images].map((img) => img.decode().catch(() => 0)))")

    def hear(self, message):
        """Note an error of the console."""
        if message.type == "error":
            self.complaints.append(message.text)

    def ask(self, check):
        """What a check of browser.js complains about."""
        return self.page.evaluate(f"checks.{check}()")

    def insert(self, html):
        """Put something below the title."""
        below = "(html) => document.querySelector('article h1').insertAdjacentHTML('afterend', html)"
        self.page.evaluate(below, html)

    def look(self, mode="light", viewport=LAPTOP):
        """Change the reader's colours and window."""
        self.page.emulate_media(color_scheme=mode)
        self.page.set_viewport_size(viewport)
        self.page.wait_for_function("(mode) => document.documentElement.dataset.theme === mode", arg=mode)


@pytest.fixture(scope="module", params=PAGES)
def visit(request, browser, book):
    """One visit for all the tests of a page."""
    visit = Visit(browser, book / f"{request.param}.html")
    yield visit
    visit.context.close()


def test_every_page_of_the_book_is_visited(book):
    written = {path.relative_to(book).with_suffix("").as_posix() for path in book.rglob("*.html")}
    assert {page for page in written if not page.startswith("_static/")} == {"index", *PAGES}


def test_page_raises_no_error_and_asks_no_other_host(visit):
    assert visit.complaints == []
    assert len(visit.requests) > 5
    assert [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_images_are_there_and_described(visit):
    assert visit.ask("images") == []
    assert visit.ask("described") == []


def test_equations_are_drawn(visit):
    assert visit.ask("equations") == []


def test_headings_follow_one_another(visit):
    assert visit.ask("headings") == []


def test_ids_are_unique_and_controls_have_names(visit):
    assert visit.ask("ids") == []
    assert visit.ask("unnamed") == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit, mode):
    visit.look(mode)
    assert visit.ask("written") > 10
    assert visit.ask("contrast") == []
    assert visit.ask("figures") == []


def test_on_a_phone_the_page_does_not_scroll_sideways(visit):
    visit.look(viewport=PHONE)
    assert visit.ask("sideways") == []
    assert visit.ask("cut") == []


FAULTS = """
<h4>A heading that skips two levels</h4>
<p style="color: #999; background: #fff">Grey words on white. $$x^2$$</p>
<p id="twice">One</p><p id="twice">Another</p><button></button>
<div style="background: #333"><img src="nowhere.png" style="background: none; width: 50px; height: 50px"></div>
<div style="width: 900px">Too wide for a phone.</div>
"""
CHECKS = ["headings", "contrast", "equations", "ids", "unnamed", "images", "described", "figures", "sideways", "cut"]


def test_faults_are_noticed(browser, book):
    visit = Visit(browser, book / f"{listed()[0]}.html")
    assert visit.complaints == []
    visit.insert(FAULTS)
    visit.page.wait_for_function("[...document.images].every((image) => image.complete)")
    visit.look(viewport=PHONE)
    unseen = [check for check in CHECKS if not visit.ask(check)]
    visit.context.close()
    assert unseen == []
    assert [complaint for complaint in visit.complaints if "nowhere.png" in complaint]


# ---- what a reader does


def test_search_works_from_disk(browser, book):
    visit = Visit(browser, book / "search.html", "?q=herding")
    results = visit.page.locator("#search-results li a")
    results.first.wait_for()
    found = {re.split("[?#]", result.get_attribute("href"))[0] for result in results.all()}
    visit.context.close()
    assert "notebooks/02-coresets.html" in found
    assert [page for page in found if not (book / page).exists()] == []


def walk(page):
    """Visit every frame player of a page with Tab and the arrow keys; return how many there are."""
    players = page.locator(PLAYER)
    for i in range(players.count()):
        player = players.nth(i)
        frames = player.locator("img")
        for _ in range(300):
            page.keyboard.press("Tab")
            if player.evaluate("(player) => player.contains(document.activeElement)"):
                break
        assert player.locator("input:focus").count() == 1, "Tab does not reach the player"
        for shown in [*range(1, frames.count()), 0]:                            # after the last comes the first
            page.keyboard.press("ArrowRight")
            assert [frame.is_visible() for frame in frames.all()] == [j == shown for j in range(frames.count())]
            outline = "(input) => getComputedStyle(input.labels[0]).outlineStyle"
            assert player.locator("input:focus").evaluate(outline) != "none", "no sign of the focus"
    return players.count()


def players(page):
    """How many frame players a page of the book should have."""
    path = ROOT / f"{page}.ipynb"
    cells = nbformat.read(path, as_version=4).cells if path.exists() else []
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum('class="frames"' in "".join(output.get("data", {}).get("text/html", "")) for output in outputs)


@pytest.mark.parametrize("page", [page for page in listed() if players(page)])
def test_frame_players_of_a_page_obey_the_keyboard(browser, book, page):
    visit = Visit(browser, book / f"{page}.html")
    assert walk(visit.page) == players(page)
    visit.context.close()


def test_a_frame_player_fits_into_the_book(browser, book, figures):
    """Whether or not a chapter has one: between the styles of the book it keeps its own."""
    import matplotlib.pyplot as plt

    from datadam_lite.widgets import frames

    drawn = {f"frame {i}": plt.subplots(figsize=(6, 3))[0] for i in range(12)}
    player = frames(drawn, [f"This is frame {i}." for i in range(12)], legend="Which frame?")
    visit = Visit(browser, book / f"{listed()[0]}.html")
    visit.insert(player.data)
    assert walk(visit.page) == players(listed()[0]) + 1
    for mode in ("light", "dark"):
        visit.look(mode, PHONE)
        assert [visit.ask(check) for check in ("contrast", "figures", "sideways", "cut", "ids")] == [[]] * 5
    visit.context.close()
