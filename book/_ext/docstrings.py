"""Sphinx extension: the package's docstrings, which are plain text, as reStructuredText for the API reference.

In them `x` is code, and * and | are what they are in a formula; only the examples stay as they stand.
"""

import re


def escape(line):
    """Make `x` a literal, and * and | outside of it ordinary characters."""
    parts = line.split("`")
    for i, part in enumerate(parts):
        parts[i] = f"``{part}``" if i % 2 else re.sub(r"([*|\\])", r"\\\1", part)
    return "".join(parts)


def plain(app, what, name, obj, options, lines):
    """Rewrite the lines of a docstring in place; an example runs from its >>> to the next empty line."""
    example = False
    for i, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            lines[i] = escape(line)


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
