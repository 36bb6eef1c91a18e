"""A process that may do anything: what is written to it and read from it has a deadline, and its end is certain."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

AT_ONCE = 2**16  # bytes


class Late(Exception):
    """The deadline is over."""


class Gone(Exception):
    """The process is no longer there, or doesn't listen."""


class Process:
    """A process with nothing but two pipes: no environment but the given one, no open file, a session of its own.

    deadline: on the clock of time.monotonic; writing and reading raise Late when it is over.
    """

    def __init__(self, command: Sequence[str], folder: str, environment: dict[str, str]):
        self.deadline = float("inf")
        self._popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            cwd=folder, env=environment, close_fds=True, start_new_session=True,
        )  # fmt: skip
        self._to, self._from = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self._to, False)

    @property
    def number(self) -> int:
        """The process's id."""
        return self._popen.pid

    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises: Late; Gone.
        """
        rest = memoryview(data)
        while rest:
            self._wait(self._to, select.POLLOUT)
            try:
                rest = rest[os.write(self._to, rest[:AT_ONCE]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone from error

    def read(self, n: int) -> bytearray:
        """Read n bytes.

        Raises: Late; Gone.
        """
        data = bytearray()
        while len(data) < n:
            self._wait(self._from, select.POLLIN)
            part = os.read(self._from, min(n - len(data), AT_ONCE))
            if not part:
                raise Gone
            data += part
        return data

    def speaks(self) -> bool:
        """Whether there is something to read already."""
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(0))

    def end(self, grace: int | float = 0) -> int | None:
        """End it and whatever it started; return how it ended by itself within so many seconds, or None.

        That is its exit status, or minus the signal that ended it. It can be called again.
        """
        if self._popen.returncode is not None:
            return self._popen.returncode
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace)
        status = self._popen.returncode
        with suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._popen.stdin.close()
        self._popen.stdout.close()
        return status

    def _wait(self, pipe: int, event: int) -> None:
        poll = select.poll()
        poll.register(pipe, event)
        left = self.deadline - time.monotonic()
        if left <= 0 or not poll.poll(min(left, 3600) * 1000):
            raise Late
