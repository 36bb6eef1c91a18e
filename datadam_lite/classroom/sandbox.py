"""A sandbox: a student's code runs in a process of its own, with no rights but to compute, and answers questions.

    with Sandbox(source) as box:
        check_attention(box.function("spatial_attention"), "spatial")

The inputs, what is expected, and every judgement stay on this side. What is on the other side is only believed to be
an answer: numbers, texts, shapes, of a size that was allowed.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from datadam_lite.attention import Attention
from datadam_lite.classroom import wire
from datadam_lite.classroom.imports import modules
from datadam_lite.classroom.process import Gone, Late, Process
from datadam_lite.classroom.proxy import Raised, exception, remote
from datadam_lite.errors import DataDamError

# It finds the two files that it needs of this package, and not the package.
START = """
import sys, types
folder, *paths = sys.argv[1:]
sys.path += [path for path in paths if path not in sys.path]
for name in "datadam_lite", "datadam_lite.classroom":
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from datadam_lite.classroom.child import main
main()
"""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip

ANSWERS = {  # what is asked: the answers to it, each with how many tensors, from and to
    "define": {"done": (0, 0)},
    "look_up": {"signature": (0, 0)},
    "call": {"value": (0, 0)},
    "run": {"tensor": (1, 2), "other": (0, 1)},  # the last one: the maps, if they were changed
    "pull": {"gradient": (0, 1)},
    "try_on": {"done": (0, 0)},
}
RAISED = {"raised": (0, 0)}  # this one, always

MOST_MESSAGE = 1000  # characters of what an exception says
LOOPS = "Does every loop end, and does it go over axes rather than over single numbers?"
HONEST = "A function takes its input and returns its result: files, processes and pipes are none of its business."
CAUSES = {
    "SIGKILL": "It used too much computing time or memory. Which step makes the largest tensor, which loop is long?",
    "SIGABRT": "It used too much memory, or called itself too often. Which step makes the largest tensor?",
}


class Ended(BaseException):
    """The sandbox is at its end: a sentence says why, and what to do. No `except Exception` goes on after it."""


@dataclass(frozen=True)
class Limits:
    """What a student's code may use.

    seconds: for each call; total: seconds for all calls together; memory: bytes beyond what Python and PyTorch take;
    answer: bytes of one answer; printed: characters; start: seconds until Python and PyTorch are there, not counted.
    """

    seconds: int | float = 10
    total: int | float = 120
    memory: int = 2**30
    answer: int = 2**26
    printed: int = 10_000
    start: int | float = 120


class Sandbox:
    """A process that runs the definitions of a student; to be used in a `with` statement.

    source: definitions, as `Definitions.source` returns them; where: names a line of it, for messages.
    printed: what the code has printed so far, which may be the inputs it was given, so a student need not see it;
    unlimited: a sentence for each limit that this system doesn't have.

    Raises: DataDamError on Windows; on entering, what the definitions raise when they are run. Ended, there and by
    every call: when the code uses more than its limits, ends its process, or answers what is no answer.

    >>> import torch
    >>> with Sandbox("def double(x, times=2): return x * times") as box:
    ...     box.function("double")(torch.ones(2)), box.call("double", 4)
    (tensor([2., 2.]), 8)
    """

    def __init__(self, source: str, limits: Limits | None = None, *, where: Callable[[int], str] = "line {}".format):
        self.source, self.limits, self.where = source, limits or Limits(), where
        self.printed, self.unlimited = "", ()
        self._spent, self._process, self._end = 0.0, None, None

    def __enter__(self) -> "Sandbox":
        if sys.platform == "win32":
            raise DataDamError("a sandbox needs Linux or macOS; on Windows, use WSL or a container.")
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and remove its folder."""
        if self._process:
            self._process.end()
        self._process = None
        self._end = self._end or "This sandbox is closed."
        self._folder.cleanup()

    def function(self, name: str) -> Attention:
        """Return a function of maps, [B, C, H, W], with the signature of the student's; it can be differentiated.

        Raises: Raised, as a KeyError if there is no such name, and as `inspect.signature` does for what is no function.
        """
        answer, _ = self._ask({"do": "look_up", "name": name})
        return remote(name, answer.get("parameters"), self._ask)

    def call(self, name: str, *arguments):
        """Call a function with plain values, and return its plain value; tuples and arrays come back as lists."""
        return self._ask({"do": "call", "name": name, "arguments": arguments})[0].get("value")

    def tries(self, name: str, texts: Iterable[str]) -> list[str | None]:
        """Run a test of the student's on functions, each the `attention` that a text defines.

        Returns: for each None if the test let it pass, else the name and the words of the exception that it raised.
        """
        return [self._try(name, text) for text in texts]

    def _try(self, name: str, text: str) -> str | None:
        try:
            self._ask({"do": "try_on", "name": name, "text": text})
        except Raised as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _start(self) -> None:
        command = [sys.executable, "-I", "-S", "-B", "-c", START, str(Path(__file__).parent), *libraries()]
        self._process = Process(command, self._folder.name, ENVIRONMENT)
        limits = {"memory": self.limits.memory, "seconds": self.limits.total, "printed": self.limits.printed}
        begin = wire.pack({"modules": modules(self.source), **limits})
        try:
            answer, _ = self._exchange(begin, {"ready": (0, 0)}, self.limits.start)
        except (Late, Gone, wire.Garbled) as error:
            raise DataDamError(
                f"the sandbox's process did not start within {self.limits.start} seconds ({type(error).__name__}); is "
                "there memory for a second Python with PyTorch, about 1 GB? On a busy machine allow more time: "
                "Limits(start=600)."
            ) from None
        self.unlimited = tuple(answer["missing"])
        self._ask({"do": "define", "source": self.source})

    def _ask(self, request: dict, tensors: Iterable[Tensor] = ()) -> tuple[dict, list[Tensor]]:
        """Send a request, return its answer. Raises: Raised, what the code raised; Ended."""
        if self._end:
            raise Ended(self._end)
        data, began = wire.pack(request, tensors), time.monotonic()
        seconds = min(self.limits.seconds, self.limits.total - self._spent)
        try:
            answer, tensors = self._exchange(data, ANSWERS[request["do"]], seconds)
        except (Late, Gone, wire.Garbled) as error:
            self._end = self._why(error)
            self.close()
            raise Ended(self._end) from None
        self._spent += time.monotonic() - began
        self.printed = (self.printed + str(answer.get("printed")))[: self.limits.printed]
        if answer["is"] == "raised":
            line = answer.get("line")
            place = self.where(line) if type(line) is int and 0 < line < 10**6 else ""
            raise exception(str(answer.get("name")), str(answer.get("message"))[:MOST_MESSAGE], place)
        return answer, tensors

    def _exchange(self, data: bytes, answers: dict, seconds: int | float) -> tuple[dict, list[Tensor]]:
        """Write, and read one of these answers."""
        self._process.deadline = time.monotonic() + seconds
        if self._process.speaks():
            raise wire.Garbled("it came before it was asked for")
        self._process.write(data)
        answer, tensors = wire.receive(self._process.read, self.limits.answer)
        fewest, most = (answers | RAISED).get(str(answer.get("is")), (1, 0))
        if not fewest <= len(tensors) <= most:
            raise wire.Garbled("it isn't an answer to what was asked")
        return answer, tensors

    def _why(self, error: Exception) -> str:
        """Why the process is at its end, in a sentence or two."""
        if isinstance(error, wire.Garbled):
            return f"What the code's process answered can't be read ({error}), so it was stopped. {HONEST}"
        if isinstance(error, Late) and self._spent + self.limits.seconds > self.limits.total:
            return f"The code took more than {self.limits.total:g} seconds in all, and was stopped. {LOOPS}"
        if isinstance(error, Late):
            return f"The code took more than {self.limits.seconds:g} seconds for one call, and was stopped. {LOOPS}"
        status = self._process.end(grace=1)
        if status is None:
            return f"The code closed the pipe to its own process, and was stopped. {HONEST}"
        if status >= 0:
            return f"The code ended its own process, with status {status}. {HONEST}"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        return f"The code's process was ended by the system ({name}). {CAUSES.get(name, CAUSES['SIGABRT'])}"


def libraries() -> list[str]:
    """Where this Python finds its modules."""
    return [path for path in sys.path if Path(path).is_absolute()]
