"""Profiles: how large the experiments of a chapter are, set by DATADAM_PROFILE."""

import os
from dataclasses import dataclass, field

import torch

from datadam_lite.errors import known
from datadam_lite.protocol import Protocol


@dataclass(frozen=True)
class Profile:
    """A data set, the recipe fields to change for it, the protocol to evaluate under, and the threads to use."""

    name: str
    data: str
    protocol: Protocol
    changes: dict = field(default_factory=dict)
    threads: int | None = None


PROFILES = {
    # Seconds on a laptop: 8x8 digits, narrow networks, 200 iterations; fewer and longer steps of training, which come
    # to about the same accuracy as the fixed protocol's.
    "quick": Profile(
        "quick", "digits", Protocol(name="short, width 32", epochs=300, lr=0.05, width=32),
        {"width": 32, "iterations": 200, "real_batch": 32},
        threads=1,
    ),
    # Minutes on a GPU such as Colab's: all of CIFAR-10, networks of full width, a fraction of the paper's iterations.
    "colab": Profile("colab", "cifar10", Protocol(), {"iterations": 300, "real_batch": 64}),
}  # fmt: skip


def use_profile(name: str | None = None) -> Profile:
    """Return the profile of that name, by default the one DATADAM_PROFILE names, else `colab` on a GPU, or `quick`.

    Also sets the number of threads PyTorch uses, if the profile asks for one: on images of 8x8
    pixels a second thread only waits for the first.

    Raises: DataDamError if there is none of that name.

    >>> use_profile("quick").data
    'digits'
    """
    found = "colab" if torch.cuda.is_available() else "quick"
    chosen = known(name or os.environ.get("DATADAM_PROFILE", found), PROFILES, "profile (DATADAM_PROFILE)")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    return chosen
