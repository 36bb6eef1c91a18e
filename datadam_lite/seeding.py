"""Named random streams: every draw knows which run, which purpose and which iteration it belongs to.

Nothing in this package touches the global random state. A draw made for iteration 37 is the same
whether iterations 1 to 36 ran before it or not; that is why a killed run can resume to the bit, and
why any iteration can be replayed in a cell.
"""

import hashlib

import torch

from datadam_lite.checks import check_seed


def generator(seed: int, *names: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a `torch.Generator` that depends on `(seed, *names)` and on nothing else.

    Raises: DataDamError if the seed is not a whole number.

    >>> a = torch.rand(2, generator=generator(0, "augment", 37))
    >>> b = torch.rand(2, generator=generator(0, "augment", 37))
    >>> c = torch.rand(2, generator=generator(0, "augment", 38))
    >>> bool((a == b).all()), bool((a == c).all())
    (True, False)
    """
    check_seed(seed)
    key = "/".join(map(str, (seed, *names))).encode()
    return torch.Generator(device).manual_seed(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))
