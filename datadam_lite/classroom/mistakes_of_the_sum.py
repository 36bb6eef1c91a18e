"""The catalogue, first part: what goes wrong in the sum of powers."""

from torch.nn import functional as F

from datadam_lite.classroom.mistake import AXES, OTHER, Mistake, energy, powers, right, summed, unit

SUM = (
    Mistake(
        "a root too many",
        "The equation has a power inside the sum and nothing around it; a norm also takes a root at the end. Make one "
        "response twice as large: how much more does its entry count, and how much more should it?",
        (
            lambda f, p, kind: unit(energy(f, p, kind).sqrt()),
            lambda f, p, kind: unit(energy(f, p, kind).pow(1 / p)),
        ),
    ),
    Mistake(
        "summed before the power",
        "Responses of 1 and 1 have the same sum as 2 and 0, but not the same sum of squares. Try a position with these "
        "responses, and read the equation from the inside to the outside.",
        (lambda f, p, kind: unit(energy(f, 1, kind).pow(p)),),
    ),
    Mistake(
        "summed before the absolute value",
        "Responses of 1 and -1 cancel when they are added before their sizes are taken. Maps after a ReLU don't show "
        "this part of it, so try torch.randn, and read the equation from the inside to the outside.",
        (lambda f, p, kind: unit(summed(f, kind).abs().pow(p)),),
    ),
    Mistake(
        "absolute value left out",
        "With an odd power negative responses take away from the sum, and with a broken one they have no power at all. "
        "Maps after a ReLU and even powers don't show it. Try torch.randn with p = 3: what are the bars in |f| for?",
        (lambda f, p, kind: unit(summed(f.pow(p), kind)),),
    ),
    Mistake(
        "negative responses thrown away",
        "In the equation a strong negative response counts as much as a strong positive one, and here it counts as "
        "none. Maps after a ReLU don't show it. Try maps of both signs, and the same maps with a minus in front.",
        (lambda f, p, kind: unit(energy(f.relu(), p, kind)),),
    ),
    Mistake(
        "summed along the axes of the other attention",
        "One attention says where, a number for each position; the other says which filter, a number for each channel. "
        "Which axes disappear in your sum, and what do those that are left count?",
        (lambda f, p, kind: right(f, p, OTHER[kind]),),
    ),
    Mistake(
        "summed over the images",
        "The axis that counts the images disappears in the sum, and then they can't be told apart any more. Which "
        "number has each axis of [B, C, H, W], counted from zero?",
        (
            lambda f, p, kind: unit(powers(f, p).sum(0).flatten(1)),
            lambda f, p, kind: F.normalize(powers(f, p).sum((0, 2, 3)), dim=0),
            lambda f, p, kind: F.normalize(powers(f, p).sum((0, 1)).flatten(), dim=0),
        ),
    ),
    Mistake(
        "summed along a single axis of the grid",
        "Rows, or columns, are added up, and the channels are still apart: that is an attention, too, but another one. "
        "Write down the shape after each step, and what its axes count.",
        (
            lambda f, p, kind: unit(powers(f, p).sum(2).flatten(1)),
            lambda f, p, kind: unit(powers(f, p).sum(3).flatten(1)),
        ),
    ),
    Mistake(
        "nothing summed",
        "There is still a number for each channel at each position, as in the maps themselves. What does the sum in "
        "the equation run over?",
        (lambda f, p, kind: unit(powers(f, p).flatten(1)),),
    ),
    Mistake(
        "the largest in place of the sum",
        "Only the strongest response counts, where the equation lets all of them take part. What should become of a "
        "position, or a channel, when a second response appears there?",
        (lambda f, p, kind: unit(powers(f, p).amax(AXES[kind]).flatten(1)),),
    ),
    Mistake(
        "power left out",
        "Responses count in proportion to their size. Make one of them twice as large: how much more should its entry "
        "count?",
        (lambda f, p, kind: right(f, 1, kind),),
        of_p=True,
    ),
    Mistake(
        "power off by one",
        "How often is a response multiplied by itself, and which number reaches the power? Try a response of 2, whose "
        "powers are easy to tell apart: 2, 4, 8, 16.",
        (lambda f, p, kind: right(f, p + 1, kind), lambda f, p, kind: right(f, p - 1, kind)),
        of_p=True,
    ),
)
