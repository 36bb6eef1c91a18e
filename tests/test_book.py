"""The built book: complete, self-contained, and ready for Colab once it has an address.

Building it, in the fixtures `book` and `published`, is the first test: any warning is an error.
"""

from functools import cache

import pytest
import yaml
from bs4 import BeautifulSoup
from regenerate import ROOT, chapters, repository

COLAB = "https://colab.research.google.com"
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


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
    assert not [address for address in addresses if "//" in address and not address.startswith("data:")]


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
def test_launch_buttons_are_there_only_with_an_address(book, page):
    """Of the book as it is configured; with an example address below."""
    opens = bool(repository()["url"]) and page.startswith("notebooks/")
    assert bool(colab_links(book / f"{page}.html")) == opens


@pytest.mark.parametrize("name", chapters())
def test_with_an_address_the_buttons_open_the_notebooks(published, name):
    (link,) = set(colab_links(published / "_build" / "html" / "notebooks" / f"{name}.html"))
    opened = link.removeprefix(f"{COLAB}/github/example-owner/example-name/blob/main/")
    assert opened == f"notebooks/{name}.ipynb"
    assert f"{COLAB}/github" in (published / opened).read_text()        # the badge, which the page leaves out
