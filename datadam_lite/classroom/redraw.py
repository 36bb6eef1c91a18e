"""`redraw`: the figures of chapters 4, 6 and 7 that depend on the attention, with another function in its place."""

from datadam_lite.attention import Attention
from datadam_lite.classroom.behaviour import behaviour, one_thread
from datadam_lite.classroom.redrawn import Redrawn


def redraw(fn: Attention, *, sets: int = 3, reference: str | Attention = "spatial", **changes) -> Redrawn:
    """Draw the book's figures with your attention function; half a minute on one core, on digits.

    fn: any attention function, [B, C, H, W] -> [B, D]; sets, reference and changes: as for `behaviour`, which distils
    one image per class. Drawn are: what the function answers to six digits, and for several powers (if it has a
    parameter p); what it doesn't see; how well its vectors tell classes apart; where networks look in real, in initial
    and in distilled images (if it returns maps), and how far apart they are; the terms of the loss; the images; and
    their accuracies. A figure that makes no sense for the function is left out, and the caption says why.

    Raises: DataDamError as `behaviour` does.

    >>> from datadam_lite.attention import channel
    >>> drawn = redraw(channel, sets=1, iterations=2, real_batch=4)
    >>> len(drawn.figures), drawn.left_out
    (8, ['where'])
    """
    import matplotlib.pyplot as plt  # here: nothing that computes waits for matplotlib

    from datadam_lite.classroom import figures_of_answers as of_answers
    from datadam_lite.classroom import figures_of_sets as of_sets
    from datadam_lite.classroom.drawing import Given

    given = Given(fn, behaviour(fn, ipcs=(1,), sets=sets, reference=reference, **changes))
    chosen = (
        of_answers.answers, of_answers.powers, of_answers.changed_maps, of_answers.nearest_means,
        of_sets.where, of_sets.closer, of_sets.terms, of_sets.images, of_sets.accuracies,
    )  # fmt: skip
    with one_thread():
        drawings = tuple(draw(given) for draw in chosen)
    for each in drawings:
        plt.close(each.figure)  # so that a notebook doesn't show it twice
    return Redrawn(given.name, drawings, given.found)
