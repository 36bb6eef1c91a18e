"""A progress bar where somebody watches: in a terminal or in a live notebook, never in a log."""

import os
import sys

from tqdm.auto import tqdm

from datadam_lite.distributed import rank


def watched() -> bool:
    """Whether a bar would be seen: a terminal or a notebook, unless TQDM_DISABLE is set. Of several processes, one."""
    if rank() or os.environ.get("TQDM_DISABLE", "") not in ("", "0"):
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def bar(iterable=None, *, show: bool | None = None, **options) -> tqdm:
    """Return a tqdm bar; `show=None` decides by `watched()`.

    >>> sum(bar([1, 2, 3], show=False))
    6
    """
    return tqdm(iterable, disable=not (watched() if show is None else show), **options)
