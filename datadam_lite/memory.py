"""Memory: kept between steps rather than given back, and how much of it a step may use."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # M_… of glibc's malloc.h
KEPT = 2**29  # bytes; a whole data set in float32 is larger, and goes back


def keep_pages() -> bool:
    """Ask the C library to keep the memory that tensors give back; return whether it will.

    The maps of a hundred CIFAR images fill 52 MB. By default glibc returns every block above 32 MB to the operating
    system when it is freed, and gets it back page by page, each cleared with zeros: on a virtual machine that costs
    more than the convolution that fills it. Blocks below half a gigabyte are kept from here on, in this whole process.
    Other C libraries have no such switch, and nothing happens.

    >>> keep_pages() in (True, False)
    True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows has no CDLL(None)
        return False
    return bool(mallopt(MMAP_THRESHOLD, KEPT) and mallopt(TRIM_THRESHOLD, KEPT))


def budget(device: torch.device) -> int:
    """Bytes that the maps of one forward and backward pass may take: a rule of thumb, not a bound.

    On a GPU half of what is free. On a CPU 128 MiB: more doesn't get faster, as caches hold less than that.

    >>> budget(torch.device("cpu")) // 2**20
    128
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return 128 * 2**20


def fits(size: int, device: torch.device) -> bool:
    """Whether data of this many bytes should live on the device: on a GPU if half of what is free holds it.

    >>> fits(10**12, torch.device("cpu"))
    True
    """
    return device.type == "cpu" or size <= budget(device)


@torch.no_grad()
def bytes_per_image(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Bytes of the network's largest map of one image, in float32.

    >>> from datadam_lite.networks import ConvNet
    >>> bytes_per_image(ConvNet((3, 32, 32), 10), (3, 32, 32))  # 128 channels of 32x32, 4 bytes each
    524288
    """
    device = next(network.parameters()).device
    features = network(torch.zeros(2, *shape, device=device))
    largest = max((maps.numel() for maps in features.maps), default=64 * features.embedding.numel())  # 64 tokens
    return 4 * largest // 2


@contextmanager
def peak_since(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Yield a function that tells the most memory in use at any moment since then, in bytes.

    On a GPU it counts what PyTorch has reserved there; on a CPU, where Linux tells it, the whole process. Elsewhere
    the function returns None.

    >>> with peak_since(torch.device("cpu")) as peak:
    ...     ones = torch.ones(2**22)  # 16 MiB
    >>> peak() is None or peak() >= 2**24
    True
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_reserved(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    except OSError:  # macOS, Windows; or a container that doesn't allow it
        yield lambda: None
        return
    yield lambda: next(
        1024 * int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
