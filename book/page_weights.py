"""How much a reader's browser loads for each page of the built book.

    python book/page_weights.py _build/html

"own" is the page and its pictures, "shared" the styles and scripts that all pages use and a browser keeps.
"""

import sys
from pathlib import Path

from bs4 import BeautifulSoup

OWN = {"img": "src", "video": "src", "source": "src", "iframe": "src"}
SHARED = ("stylesheet", "icon")


def files(page):
    """The files that a page loads from the book: (its own, shared ones)."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    own = [tag[OWN[tag.name]] for tag in soup.find_all(OWN) if tag.get(OWN[tag.name])]
    shared = [tag["src"] for tag in soup.find_all("script", src=True)]
    shared += [tag["href"] for tag in soup.find_all("link", href=True) if set(SHARED) & set(tag.get("rel", []))]

    def inside(addresses):
        names = {address.partition("?")[0] for address in addresses if not address.startswith("data:")}
        return {(page.parent / name).resolve() for name in names}

    logos = {file for file in inside(own) if "_static" in file.parts}
    return inside(own) - logos, inside(shared) | logos


def weigh(page):
    """Bytes of a page: (its own, shared ones)."""
    own, shared = files(page)
    return page.stat().st_size + sum(f.stat().st_size for f in own), sum(f.stat().st_size for f in shared)


def main():
    """Command line: a table, the heaviest page first."""
    pages = Path(sys.argv[1])
    weights = {page.relative_to(pages): weigh(page) for page in pages.rglob("*.html") if "_static" not in page.parts}
    print(f"{'page':40} {'own':>8} {'shared':>8}   (kB)")
    for page, (own, shared) in sorted(weights.items(), key=lambda row: -row[1][0]):
        print(f"{page!s:40} {own / 1000:8.0f} {shared / 1000:8.0f}")


if __name__ == "__main__":
    main()
