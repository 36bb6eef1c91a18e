"""A frame player: several pictures and a row of buttons, in plain HTML that needs no kernel, script or network."""

import base64
import hashlib
import html
import io

import matplotlib.pyplot as plt
from IPython.display import HTML
from matplotlib.figure import Figure

from datadam_lite.errors import DataDamError

STYLE = """
.frames { border: 1px solid #8888; border-radius: .25rem; padding: .5rem; margin: 1rem 0; min-width: 0 }
.frames legend { font-size: .9rem; padding: 0 .25rem; width: auto; float: none }
.frames input { margin: 0 .25rem 0 .75rem }
.frames label { display: inline; white-space: nowrap; padding: 0 .25rem; font-weight: normal }
.frames input:checked + label { font-weight: bold; text-decoration: underline }
.frames input:focus-visible + label { outline: 3px solid #0072b2; outline-offset: 1px }
.frames img { display: none; max-width: 100%; height: auto; margin: .5rem auto 0; background: #fff }
"""


def frames(pictures: dict[str, Figure], alts: list[str], *, legend: str) -> HTML:
    """Show one of several figures at a time; radio buttons choose which, by mouse, touch or arrow keys.

    pictures: label of the button -> figure, which is closed; alts: what each of them shows, in words;
    legend: what the buttons choose, and what there is to see. Without styles all the figures stand one below the other.

    Raises: DataDamError if there is not one description for each figure, or nothing to choose from.

    >>> figures = {f"p = {p}": plt.subplots()[0] for p in (1, 4)}
    >>> player = frames(figures, ["An even grey.", "A single bright spot."], legend="The power p")
    >>> player.data.count("<img")
    2
    """
    if len(pictures) < 2 or len(alts) != len(pictures) or not all(alts):
        raise DataDamError(
            f"frames needs at least two pictures, and for each a description of what it shows; "
            f"received {len(pictures)} and {len(alts)}."
        )
    images = [_png(figure) for figure in pictures.values()]
    name = "frames-" + hashlib.sha256("".join([legend, *pictures, *images]).encode()).hexdigest()[:8]
    buttons, shown, rules = [], [], []
    for i, (label, image, alt) in enumerate(zip(pictures, images, alts, strict=True)):
        chosen = " checked" if i == 0 else ""
        buttons.append(  # without the data- attribute JupyterLab takes the arrow keys for itself
            f'<input type="radio" data-lm-suppress-shortcuts="true" name="{name}" id="{name}-{i}"{chosen}>'
            f'<label for="{name}-{i}">{html.escape(label)}</label>'
        )
        shown.append(f'<img class="frame-{i}" alt="{html.escape(alt)}" src="data:image/png;base64,{image}">')
        rules.append(f"#{name}-{i}:checked ~ .frame-{i} {{ display: block }}")
    return HTML(
        f'<fieldset class="frames"><legend>{html.escape(legend)}</legend>\n'
        f"<style>{STYLE}{chr(10).join(rules)}</style>\n" + "\n".join(buttons + shown) + "\n</fieldset>"
    )


def _png(figure: Figure) -> str:
    """Draw a figure, the same bytes every time, and close it, so that a notebook doesn't show it once more."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    plt.close(figure)
    return base64.b64encode(drawn.getvalue()).decode()
