"""The built book: complete, self-contained, and ready for Colab once it has an address.

Building it, in the fixtures, is the first test: any warning is an error.
"""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from regenerate import ROOT, chapters

EXAMPLE = "https://github.com/example-owner/example-name"
COLAB = "https://colab.research.google.com"
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


def run(*command, cwd):
    """Run a command; fail with what it said."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build(source, output):
    """Build the book from scratch, as `make book` does; return the folder of its pages."""
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    run(jupyter_book, "build", source, "--path-output", output, "-W", "-n", "--keep-going", cwd=source)
    return output / "_build" / "html"


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The pages of the book as it is."""
    return build(ROOT, tmp_path_factory.mktemp("book"))


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A copy of the book with a public address, its notebooks regenerated, and its pages in `_build/html`."""
    copy = tmp_path_factory.mktemp("published")
    for folder in ("book", "notebooks"):
        shutil.copytree(ROOT / folder, copy / folder)
    shutil.copy(ROOT / "_toc.yml", copy)
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["repository"]["url"] = EXAMPLE
    (copy / "_config.yml").write_text(yaml.safe_dump(config))
    run(sys.executable, "book/regenerate.py", cwd=copy)
    build(copy, copy)
    return copy


def listed():
    """The pages named in _toc.yml."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]


pages = pytest.mark.parametrize("page", listed())


@cache
def soup(path):
    """A page, parsed."""
    return BeautifulSoup(path.read_text(), "html.parser")


def colab_links(path):
    """Where a page's launch buttons lead."""
    return [a["href"] for a in soup(path).find_all("a", href=True) if a["href"].startswith(COLAB)]


def test_every_chapter_is_in_the_table_of_contents():
    notebooks = [page for page in listed() if page.startswith("notebooks/")]
    assert notebooks == [f"notebooks/{name}" for name in chapters()]


@pages
def test_page_exists_and_shows_no_traceback(book, page):
    article = soup(book / f"{page}.html").article.get_text()
    assert len(article) > 300
    assert "Traceback (most recent call last)" not in article


@pages
def test_page_fetches_nothing_from_another_host(book, page):
    tags = soup(book / f"{page}.html").find_all(FETCHED.keys())
    addresses = [tag[FETCHED[tag.name]] for tag in tags if tag.get(FETCHED[tag.name])]
    assert len(addresses) > 5
    assert not [address for address in addresses if "//" in address]


@pages
def test_page_has_one_search_field(book, page):
    assert len(soup(book / f"{page}.html").find_all("input", attrs={"name": "q"})) == 1


@pages
def test_images_say_what_they_show(book, page):
    article = soup(book / f"{page}.html").article
    assert not [img["src"] for img in article.find_all("img") if len(img.get("alt", "")) < 20]


@pages
def test_styles_and_equations_are_in_the_book(book, page):
    scripts = [tag["src"] for tag in soup(book / f"{page}.html").find_all("script", src=True)]
    assert (book / "_static" / "book.css").exists()
    assert (book / "_static" / "mathjax" / "tex-chtml.js").exists()
    assert not [src for src in scripts if "mathjax" in src and not src.startswith("../_static/mathjax/")]


@pages
def test_no_launch_buttons_without_an_address(book, page):
    assert colab_links(book / f"{page}.html") == []


@pytest.mark.parametrize("name", chapters())
def test_with_an_address_the_buttons_open_the_notebooks(published, name):
    (link,) = set(colab_links(published / "_build" / "html" / "notebooks" / f"{name}.html"))
    opened = link.removeprefix(f"{COLAB}/github/example-owner/example-name/blob/main/")
    assert opened == f"notebooks/{name}.ipynb"
    assert f"{COLAB}/github" in (published / opened).read_text()        # the badge, which the page leaves out
