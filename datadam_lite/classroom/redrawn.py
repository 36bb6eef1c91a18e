"""What `redraw` drew: figures with their captions, and for those left out the reason."""

import base64
import html
import io
import textwrap
from dataclasses import dataclass
from typing import Any

from datadam_lite.classroom.measured import Behaviour


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure and its caption; or no figure, and the reason."""

    name: str
    chapter: int  # where the figure comes from
    caption: str
    figure: Any = None  # of matplotlib

    @property
    def title(self) -> str:
        """The name, and the chapter that has the original."""
        return f"{self.name} (chapter {self.chapter})"


@dataclass(frozen=True, eq=False)
class Redrawn:
    """What `redraw` returns: leave it as the last line of a cell to see the figures, print it to read the captions.

    >>> print(Redrawn("mine", (Drawing("powers", 4, "Left out: there is no power."),), None))
    The figures of chapters 4, 6 and 7, drawn with mine.
    powers (chapter 4): Left out: there is no power.
    """

    name: str  # of the function
    drawings: tuple[Drawing, ...]
    found: Behaviour | None  # what came of distilling with it

    @property
    def figures(self) -> dict[str, Any]:
        """Name -> matplotlib figure, of those that were drawn."""
        return {each.name: each.figure for each in self.drawings if each.figure is not None}

    @property
    def captions(self) -> dict[str, str]:
        """Name -> what the figure shows, or why it is left out."""
        return {each.name: each.caption for each in self.drawings}

    @property
    def left_out(self) -> list[str]:
        """The names of the figures that make no sense for this function."""
        return [each.name for each in self.drawings if each.figure is None]

    def __str__(self) -> str:
        lines = [f"The figures of chapters 4, 6 and 7, drawn with {self.name}."]
        for each in self.drawings:
            lines += textwrap.wrap(f"{each.title}: {' '.join(each.caption.split())}", 100, subsequent_indent="  ")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<p>The figures of chapters 4, 6 and 7, drawn with <strong>{html.escape(self.name)}</strong>.</p>"]
        for each in self.drawings:
            caption = f"<strong>{html.escape(each.title)}.</strong> {html.escape(each.caption)}"
            if each.figure is None:
                parts.append(f"<p>{caption}</p>")
                continue
            alt = f"{html.escape(each.title)}: see the caption"
            image = f'<img alt="{alt}" src="data:image/png;base64,{png(each.figure)}">'
            parts.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
        return "\n".join(parts)


def png(figure) -> str:
    """A figure as PNG, for a page."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return base64.b64encode(drawn.getvalue()).decode()
