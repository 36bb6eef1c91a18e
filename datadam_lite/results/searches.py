"""How large an architecture search is, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from datadam_lite.applications.search import Candidate, candidates
from datadam_lite.protocol import Protocol

ON_ALL = ("whole", "early")  # rows that train on all images: to the end, or for as many steps as on a small set


@dataclass(frozen=True)
class Search:
    """A grid of networks, how they are trained, and how many images of each class are held out to choose by.

    epochs: of training on a small set, on all images ("whole"), and on all images for about as many steps as on the
    small set ("early"); sets: how many of each row, None for the scale's.

    >>> from datadam_lite.applications.search import SPACE
    >>> search = Search(SPACE, Protocol("search"), held=500, epochs={"small": 200, "early": 2, "whole": 200})
    >>> len(search.tried("whole")), search.tried("early")[0].epochs
    (720, 2)
    """

    space: Mapping[str, tuple]
    training: Protocol
    held: int
    epochs: Mapping[str, int]
    sets: int | None = None

    def tried(self, row: str) -> list[Candidate]:
        """The networks of the grid, trained as those of a row are."""
        epochs = self.epochs[row if row in ON_ALL else "small"]
        return candidates(self.space, replace(self.training, epochs=epochs))
