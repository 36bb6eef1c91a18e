"""Sphinx extension: take out of the pages what is of no use in them and fails when they are opened from disk.

- Thebe, which runs cells on a remote machine: not used here, added twice, and the second time an error;
- the preloading of icon fonts, which browsers refuse to pages on a disk: a script draws the icons;
- the theme's own empty default for light or dark, of which its script complains: "auto" is what it does then.
"""

import re
from pathlib import Path

USELESS = re.compile(
    r"""<script>const\ THEBE_JS_URL.*?</script>\s*
      | <script[^>]*sphinx-thebe\.js[^>]*></script>\s*
      | <script\ type="text/x-thebe-config">.*?</script>\s*
      | <link[^>]*sphinx-thebe\.css[^>]*>\s*
      | <link\ rel="preload"\ as="font"[^>]*>\s*""",
    re.VERBOSE | re.DOTALL,
)


def clean(text):
    """A page without them."""
    return USELESS.sub("", text).replace('localStorage.getItem("mode") || ""', 'localStorage.getItem("mode") || "auto"')


def clean_pages(app, error):
    """Rewrite the pages, once they are written."""
    if error is None and app.builder.format == "html":
        for page in Path(app.outdir).rglob("*.html"):
            page.write_text(clean(page.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app):
    """Called by Sphinx."""
    app.connect("build-finished", clean_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
