"""The catalogue, second part: what goes wrong where vectors are given length one."""

import torch
from torch import Tensor
from torch.nn import functional as F

from datadam_lite.classroom.mistake import AXES, Mistake, energy, powers, summed, unit
from datadam_lite.classroom.probes import Power


def averaged(maps: Tensor, p: Power, kind: str) -> Tensor:
    """The energy as a mean, which is as good as the sum if it is normalised, [B, D]."""
    return powers(maps, p).mean(AXES[kind]).flatten(1)


def normalised_maps(maps: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Maps [B, C, H, W] divided by their lengths along some axes."""
    return maps / maps.square().sum(dim, keepdim=True).clamp_min(1e-24).sqrt()


def stretched(vectors: Tensor) -> Tensor:
    """Each vector [B, D] shifted and scaled to run from 0 to 1."""
    low, high = vectors.amin(1, keepdim=True), vectors.amax(1, keepdim=True)
    return (vectors - low) / (high - low).clamp_min(1e-12)


def length(vectors: Tensor) -> Tensor:
    """The length of each vector, [B, 1], or a tiny number in place of zero."""
    return vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


LENGTH = (
    Mistake(
        "normalised over the batch",
        "The division mixes the images: it runs along the axis that counts them. What does your function return for a "
        "batch of a single image, and along which axis of [B, D] does one image's vector lie?",
        (lambda f, p, kind: F.normalize(energy(f, p, kind), dim=0),),
    ),
    Mistake(
        "normalised over the whole tensor",
        "One length is taken for all images together. Give it a dark and a bright image, and print the length of each "
        "vector: are they equal?",
        (lambda f, p, kind: energy(f, p, kind) / energy(f, p, kind).norm().clamp_min(1e-12),),
    ),
    Mistake(
        "not normalised",
        "The vector still says how much, and should say only where, or which filter. Print its length for an image, "
        "and for the same image twice as bright.",
        (
            lambda f, p, kind: energy(f, p, kind),
            lambda f, p, kind: averaged(f, p, kind),
        ),
    ),
    Mistake(
        "entries that sum to one",
        "The size of a vector can be measured in several ways, and here its sum was made one, not its length. Which of "
        "the two does ||a|| stand for, and how long is a vector of four quarters?",
        (lambda f, p, kind: F.normalize(energy(f, p, kind), p=1, dim=1),),
    ),
    Mistake(
        "divided by the squared length",
        "A length is the root of a sum of squares, and something of it is missing. Try the vector (3, 4), whose length "
        "is 5.",
        (
            lambda f, p, kind: energy(f, p, kind) / length(energy(f, p, kind)).square(),
            lambda f, p, kind: averaged(f, p, kind) / length(averaged(f, p, kind)).square(),
        ),
    ),
    Mistake(
        "scaled by its largest entry",
        "The largest entry becomes one. That makes a good picture, but vectors are compared by their lengths: print "
        "the length of each.",
        (
            lambda f, p, kind: F.normalize(energy(f, p, kind), p=torch.inf, dim=1),
            lambda f, p, kind: stretched(energy(f, p, kind)),
        ),
    ),
    Mistake(
        "softmax in place of the normalisation",
        "A softmax takes exponentials, so that brighter maps give another vector, and its entries sum to one. Compare "
        "what it makes of a vector and of twice that vector: what should come out?",
        (
            lambda f, p, kind: energy(f, p, kind).softmax(1),
            lambda f, p, kind: averaged(f, p, kind).softmax(1),
        ),
    ),
    Mistake(
        "normalised before the power",
        "What has length one loses it when it is raised to a power. In which order does the equation do the two?",
        (
            lambda f, p, kind: energy(normalised_maps(f, (1, 2, 3)), p, kind),
            lambda f, p, kind: averaged(normalised_maps(f, (1, 2, 3)), p, kind),
            lambda f, p, kind: unit(energy(f, 1, kind)).pow(p),
        ),
    ),
    Mistake(
        "normalised before the sum",
        "Responses are compared with each other as they are, and here a weak channel, or position, was made as strong "
        "as the others first. Make one of them ten times as bright: does it stand out?",
        (
            lambda f, p, kind: unit(summed(normalised_maps(powers(f, p), (2, 3)), kind)),
            lambda f, p, kind: unit(summed(normalised_maps(powers(f, p), 1), kind)),
            lambda f, p, kind: unit(energy(normalised_maps(f, (2, 3)), p, kind)),
            lambda f, p, kind: unit(energy(normalised_maps(f, 1), p, kind)),
        ),
    ),
    Mistake(
        "normalised along one axis of the grid",
        "The length was taken of each row, column or single position, and not of all of an image. Which axes did the "
        "tensor have when it was normalised, and what is the length of the final vector?",
        (
            lambda f, p, kind: F.normalize(powers(f, p).sum(1), dim=1).flatten(1),
            lambda f, p, kind: F.normalize(powers(f, p).sum(1), dim=2).flatten(1),
            lambda f, p, kind: F.normalize(powers(f, p).sum(1, keepdim=True), dim=1).flatten(1),
        ),
        ("spatial",),
    ),
    Mistake(
        "length taken for a constant",
        "The values are right, but the gradient leaves out that the length changes with the maps, too. Brighten all "
        "maps a little: the vector stays, so what should the gradient say about that direction?",
        (lambda f, p, kind: energy(f, p, kind) / length(energy(f, p, kind)).detach(),),
    ),
    Mistake(
        "nothing guards the division",
        "An image that excites nothing has length zero, and zero divided by zero is not a number. What should come out "
        "for such an image, and what keeps a divisor away from zero?",
        (
            lambda f, p, kind: energy(f, p, kind) / energy(f, p, kind).norm(dim=1, keepdim=True),
            lambda f, p, kind: energy(f, p, kind) / energy(f, p, kind).square().sum(1, keepdim=True).sqrt(),
        ),
    ),
    Mistake(
        "slope at zero",
        "For an image of zeros the value is guarded, and the gradient is not. A root has an infinite slope at zero, "
        "and a division by zero spoils the gradient even where its result is not used: look at the gradient there.",
        (lambda f, p, kind: energy(f, p, kind) / (energy(f, p, kind).square().sum(1, keepdim=True).sqrt() + 1e-8),),
    ),
    Mistake(
        "both blocks normalised as one",
        "Which block is longer now depends on the image. Each of the two is a vector with a length of its own: print "
        "the length of each block, for several images.",
        (
            lambda f, p, kind: unit(torch.cat([energy(f, p, "spatial"), energy(f, p, "channel")], 1)),
            lambda f, p, kind: unit(torch.cat([energy(f, p, "channel"), energy(f, p, "spatial")], 1)),
        ),
        ("mixed",),
    ),
)
