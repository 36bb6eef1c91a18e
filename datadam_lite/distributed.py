"""Several processes for one run: each takes some of the classes, or some of the networks of an evaluation.

Every process draws the same network, real batch and augmentation, as these depend on (seed, iteration) alone. So
nothing is exchanged but the loss, at every step, and the images, when they are written. One process per GPU:

    torchrun --standalone --nproc-per-node 8 -m datadam_lite distill --data cifar100 --ipc 10

and on each of two machines, the first of which is called `first`, with data and OUT where both see the same files:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint first:29400 -m datadam_lite distill ...

Tensors on GPUs travel by NCCL, those on CPUs by gloo. The loss travels on the CPU: gloo sees at once that a process
has died, and torchrun then ends the others. A process that hangs ends the run after TIMEOUT.
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Num
from torch import Tensor

from datadam_lite.errors import DataDamError

TIMEOUT = timedelta(minutes=30)  # for one process to wait for another: the first may have a large data set to decode
Items = TypeVar("Items", bound=Sequence)


class Ended(RuntimeError):
    """This process can't go on, as another one of its run is gone."""


def rank() -> int:
    """Number of this process, from 0; 0 if it is the only one.

    >>> rank()
    0
    """
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def ranks() -> int:
    """How many processes share this run.

    >>> ranks()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def divided(items: Items, n: int) -> list[Items]:
    """Cut items into n parts, in order, whose lengths differ by 1 at most.

    >>> divided("abcde", 2)
    ['ab', 'cde']
    """
    return [items[len(items) * r // n : len(items) * (r + 1) // n] for r in range(n)]


def share(items: Items) -> Items:
    """Return this process's part of items that are divided over all.

    >>> share("abcde")
    'abcde'
    """
    return divided(items, ranks())[rank()]


# ---- what travels between processes; nothing does if there is only one


def sum_over_ranks(tensor: Num[Tensor, "..."]) -> Num[Tensor, "..."]:
    """Add up the tensors of all processes, in place; exact where all but one hold 0.

    Raises: Ended if another process has died.

    >>> sum_over_ranks(torch.ones(2))
    tensor([1., 1.])
    """
    return _together(dist.all_reduce, tensor)


def least_over_ranks(number: int) -> int:
    """Return the smallest of the numbers that the processes hold, such as the chunk that fits every GPU.

    Raises: Ended if another process has died.

    >>> least_over_ranks(3)
    3
    """
    return int(_together(dist.all_reduce, torch.tensor(number), op=dist.ReduceOp.MIN if ranks() > 1 else None))


def exchange(parts: Sequence[Num[Tensor, "..."]]) -> None:
    """Overwrite part r, in every process, with that of process r.

    Copied rather than summed, so that every bit arrives.

    Raises: Ended if another process has died.

    >>> exchange([torch.ones(2)])
    """
    for source, part in enumerate(parts):
        _together(dist.broadcast, part, src=source)


def wait_for_all() -> None:
    """Wait until every process is here.

    Raises: Ended if another process has died.

    >>> wait_for_all()
    """
    sum_over_ranks(torch.zeros(1))


def require_same(*facts) -> None:
    """Raise DataDamError unless the facts, as text, are the same in every process.

    >>> require_same("digits", 100)
    """
    number = int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:7], "big")
    if least_over_ranks(number) != -least_over_ranks(-number):
        raise DataDamError(
            "the processes of this run don't agree: expected the same data, settings, versions and checkpoint in each. "
            "On several machines keep the data and OUT in folders that all of them share."
        )


def _together(operation: Callable, tensor: Tensor, **options) -> Tensor:
    if ranks() > 1:
        try:
            operation(tensor, **options)
        except Ended:  # told to end while it waited
            raise
        except RuntimeError as error:  # gloo: connection closed by peer; and a timeout
            raise Ended("another process of this run has died") from error
    return tensor


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process of each machine do something before the others: download, decode, fill a cache.

    >>> with first_alone():
    ...     print("loading")
    loading
    """
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if not first:
        wait_for_all()
    try:
        yield
    finally:  # the others find out themselves what is wrong
        if first:
            wait_for_all()


# ---- the group of processes


@contextmanager
def joined() -> Iterator[Callable[[str], None]]:
    """Join the other processes that torchrun has started; yield a function that says a text once for all of them.

    Only process 0 prints to standard output. SIGTERM, by which torchrun ends the others when one has died, raises
    Ended. Without torchrun, or with one process, nothing happens and the function prints to standard error.

    >>> with joined() as say:
    ...     ranks()
    1
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or "LOCAL_RANK" not in os.environ:
        yield _say
        return
    store, number, count = next(dist.rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(_backend(), store=store, rank=number, world_size=count, timeout=TIMEOUT)
    before = signal.signal(signal.SIGTERM, _told_to_end)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere if number else sys.stdout):
            yield lambda text: _say_once(text, store)
    finally:
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


def _backend() -> str:
    """Take a GPU of one's own, if there is one for each process of this machine; NCCL knows no shared ones."""
    gpus = torch.cuda.device_count()
    if not gpus:
        return "gloo"
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
    return "cpu:gloo,cuda:nccl" if int(os.environ["LOCAL_WORLD_SIZE"]) <= gpus else "gloo"


def _told_to_end(*_) -> None:
    raise Ended("told to end (SIGTERM), as happens when another process of this run has died")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # in one piece: several processes write to one terminal
    sys.stderr.flush()


def _say_once(text: str, store: dist.Store) -> None:
    """Say it, unless another process has said the same: the store counts."""
    times = 1
    with suppress(RuntimeError):  # the store is gone, with the process that kept it
        times = store.add(hashlib.sha256(text.encode()).hexdigest(), 1)
    if times == 1:
        _say(text)
