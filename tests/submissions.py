"""Submissions of students: how to write one, and a collection of broken and hostile ones.

Each is bounded in itself, so that it does no harm where a sandbox fails: loops end after a minute, a spawner stops
after a few children, and connections go to this machine alone.
"""

import json
import re
from dataclasses import dataclass

IMPORTS = """
import torch, math
from torch.nn import functional as F
"""


def notebook(path, *cells):
    """Write a notebook of these code cells, each after a cell of text; return its path."""
    listed = []
    for cell in cells:
        listed.append({"cell_type": "markdown", "metadata": {}, "source": ["# Text"]})
        code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        listed.append(code | {"source": cell.splitlines(keepends=True)})
    path.write_text(json.dumps({"cells": listed, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@dataclass(frozen=True)
class Hostile:
    """What a submission does in `attention(maps)`, and a pattern of what has to come of it."""

    name: str
    code: str
    outcome: str
    always: bool = True  # or only with the slow tests

    def __str__(self):
        return self.name


def disguised(code):
    """The code with imports that the reading of a submission doesn't see."""

    def calls(found):
        return "; ".join(f"{name} = __import__({name!r})" for name in found[1].split(", "))

    return re.sub(r"\bimport (.+)$", calls, code, flags=re.MULTILINE)


def inside(name, body, outcome, always=True):
    """A submission whose attention has this body."""
    lines = "\n    ".join(disguised(body).strip("\n").split("\n"))
    return Hostile(name, f"{IMPORTS}\ndef attention(maps):\n    {lines}\n", outcome, always)


DENIED = r"^raised (PermissionError|RuntimeError|ModuleNotFoundError|OSError|ImportError)"
RIGHT = r"^tensor \[3, 24\]$"

# ---- these end in an exception or in a result, and the sandbox goes on
QUIET = (
    inside("reads passwords", "return open('/etc/passwd').read()", DENIED),
    inside("reads the repository", "import os\nreturn os.listdir('REPOSITORY')", DENIED),
    inside("reads the parent's environment",
           "import os\nreturn open(f'/proc/{os.getppid()}/environ').read()", DENIED),
    inside("reads the parent's memory", "import os\nreturn open(f'/proc/{os.getppid()}/mem', 'rb').read(9)", DENIED),
    inside("reads with numpy", "import numpy\nreturn numpy.fromfile('/etc/passwd')", DENIED),
    inside("reads with torch", "return torch.load('/etc/passwd')", DENIED),
    inside("maps a file", "return torch.from_file('/etc/passwd', size=9, dtype=torch.uint8)", r"^raised RuntimeError"),
    inside("reads pipes that aren't its own", """
        import os
        found = []
        for n in range(6, 40):
            try:
                found.append(os.read(n, 1))
            except OSError:
                pass
        assert not found
        return maps.sum(1).flatten(1)""".replace("\n        ", "\n"), RIGHT),
    inside("writes outside", "open('OUTSIDE/harm', 'w').write('x')", DENIED),
    inside("writes in its folder", "open('harm', 'w').write('x')", DENIED),
    inside("saves with torch", "torch.save(maps, 'OUTSIDE/harm')", DENIED),
    inside("deletes", "import os\nos.unlink('OUTSIDE/canary')", DENIED),
    inside("changes folder", "import os\nos.chdir('/')", DENIED),
    inside("connects", "import socket\nsocket.socket().connect(('127.0.0.1', PORT))", DENIED),
    inside("asks for a name", "import socket\nsocket.gethostbyname('localhost')", r"^raised"),
    inside("forks", "import os\n[os.fork() for _ in range(4)]", DENIED),
    inside("runs a program", "import subprocess\nsubprocess.run(['touch', 'OUTSIDE/harm'])", DENIED),
    inside("runs a shell", "import os\nassert os.system('touch OUTSIDE/harm') == 0, 'no shell'",
           "^raised AssertionError: no shell"),
    inside("spawns", "import os\nos.posix_spawn('/bin/true', ['true'], {})", DENIED),
    inside("becomes a program", "import os\nos.execv('/bin/true', ['true'])", DENIED),
    inside("uses more processes", "import multiprocessing\nmultiprocessing.Process(target=print).start()", DENIED),
    inside("uses threads", "import threading\n[threading.Thread(target=print).start() for _ in range(4)]", DENIED),
    inside("uses PyTorch's threads", "torch.set_num_threads(8)\ntorch.rand(9**6).sum()\nreturn maps.sum(1).flatten(1)",
           RIGHT),
    inside("signals the parent", "import os\nos.kill(os.getppid(), 0)", DENIED),  # as 9 does, but without harm
    inside("signals everybody", "import os, signal\nos.kill(-1, 0)", DENIED),
    inside("calls the system by number", """
import ctypes
call = ctypes.CDLL(None, use_errno=True).syscall
results = [call(n, 0, 0, 0) for n in CALLS]
assert results == [-1] * len(results)
return maps.sum(1).flatten(1)""", RIGHT),
    inside("calls the other table of calls", """
import ctypes
assert ctypes.CDLL(None, use_errno=True).syscall(0x40000000 + 2, b"/etc/passwd", 0) == -1
return maps.sum(1).flatten(1)""", RIGHT),
    inside("gives itself more", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
           "^raised (ValueError|PermissionError)"),
    inside("imports by a function", "import importlib\nreturn importlib.import_module('datadam_' + 'lite')", DENIED),
    inside("imports under another name", "return getattr(__import__('datadam' + '_lite'), 'spatial')(maps)", DENIED),
    inside("imports from the path", """
import sys, importlib
sys.path.append('REPOSITORY')
return importlib.import_module('datadam_' + 'lite')""", DENIED),
    inside("finds it in memory", """
import sys, gc, types
for module in [*sys.modules.values(), *(o for o in gc.get_objects() if isinstance(o, types.ModuleType))]:
    if {"check_attention", "ATTENTION", "variant"} & set(vars(module)):
        return module
raise LookupError("not there")""", "^raised LookupError: not there"),
    inside("looks for the secret", """
import sys, gc, os
needle = "TERCES"[::-1]
texts = [*os.environ.values(), *sys.argv, *sys.orig_argv]
for thing in gc.get_objects():
    if type(thing) in (dict, list, tuple, set):
        texts += [text for text in gc.get_referents(thing) if type(text) in (str, bytes)]
assert len(texts) > 10_000, "searched nothing"
assert not [text for text in texts if text is not needle and needle in str(text)], "found it"
return maps.sum(1).flatten(1)""", RIGHT),
    inside("exits", "import sys\nsys.exit()", "^raised SystemExit"),
    inside("interrupts", "raise KeyboardInterrupt", "^raised KeyboardInterrupt"),
    inside("stops a generator", "raise StopIteration(3)", "^raised StopIteration: 3"),
    inside("raises what can't be shown", """
class Odd(BaseException):
    def __str__(self): raise Odd
raise Odd""", "^raised Odd"),
    inside("raises under a false name", "raise type('x y\\x1b[31m', (Exception,), {})('a' * 10**6)",
           r"^raised unnamed: a{1000}, in line 6, `raise"),
    inside("calls itself", "return attention(maps)", "^raised RecursionError"),
    inside("asks for input", "return input()", "^raised EOFError"),
    inside("takes all memory at once", "return torch.empty(2**40)", "^raised RuntimeError.*memory"),
    inside("takes memory bit by bit", "kept = []\nfor _ in range(64):\n    kept.append(bytearray(2**25))",
           "^raised MemoryError"),
    inside("takes memory by printing", "print('x' * 2**28)\nreturn maps.sum(1).flatten(1)", RIGHT),
    inside("prints without end", "for _ in range(10**5): print('x' * 100)\nreturn maps.sum(1).flatten(1)", RIGHT),
    inside("prints to the terminal",
           "import os\nos.write(1, b'x'), os.write(2, b'x')\nprint('\\x1b[2J')\nreturn maps.sum(1).flatten(1)", RIGHT),
    inside("hides errors", "try:\n    maps = maps @ 3\nexcept BaseException:\n    pass\nreturn maps",
           r"^tensor \[3, 5, 4, 6\]$"),
    inside("handles signals", """
import signal
for n in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGXCPU):
    signal.signal(n, signal.SIG_IGN)
return maps.sum(1).flatten(1)""", RIGHT),
    inside("acts when it ends", """
import atexit
class Last:
    def __del__(self): open('OUTSIDE/harm', 'w')
atexit.register(open, 'OUTSIDE/harm', 'w')
torch.last = Last()
return maps.sum(1).flatten(1)""", RIGHT),
    inside("returns nothing", "maps.sum(1)", "^other NoneType$"),
    inside("returns a number", "return 3", "^other int$"),
    inside("returns a list", "return [maps, maps]", "^other list 2$"),
    inside("returns values with places", "return maps.max(1)", "^other max 2$"),
    inside("returns a generator", "return (m for m in maps)", "^other generator$"),
    inside("returns itself", "return attention", "^other function$"),
    inside("returns NaN", "return maps.sum(1).flatten(1) * math.nan", RIGHT),
    inside("returns complex numbers", "return torch.fft.fft(maps.sum(1).flatten(1))", RIGHT),
    inside("returns a sparse tensor", "return maps.sum(1).flatten(1).to_sparse()",
           "^other tensor of layout torch.sparse_coo"),
    inside("returns no data", "return torch.empty(3, 24, device='meta')", "^other tensor .* on meta$"),
    inside("returns a quantised tensor",
           "return torch.quantize_per_tensor(maps.detach().sum(1).flatten(1), 1, 0, torch.quint8)",
           "^raised TypeError: What came back can't be handed on"),
    inside("returns an array", "return maps.detach().sum(1).flatten(1).numpy()", "^other ndarray$"),
    inside("returns too many axes", "return maps.reshape([1] * 30 + [-1])", "^raised"),
    inside("returns a subclass", """
class Sly(torch.Tensor):
    @classmethod
    def __torch_function__(cls, fn, types, args=(), kwargs=None):
        raise SystemExit("caught")
return maps.sum(1).flatten(1).detach().as_subclass(Sly)""", RIGHT),
    inside("returns what runs when unpickled", """
import os
class Bomb:
    def __reduce__(self): return os.system, ('touch OUTSIDE/harm',)
return Bomb()""", "^other Bomb$"),
    inside("returns what pretends to be a tensor", """
class Tensor:
    shape, dtype, __class__ = (3, 24), torch.float32, torch.Tensor
return Tensor()""", "^(raised|other)"),
)  # fmt: skip

FIND_PIPES = """
import os, struct
def say(data):
    for n in range(3, 8):
        try:
            os.write(n, data)
        except OSError:
            pass
"""
FORGE = FIND_PIPES + """
text = b'[{"is": "tensor", "printed": ""}, [["float32", [1, 1]]]]'
frame = struct.pack("<4sII", b"ddl1", len(text), 4) + text + bytes(4)
"""

# ---- these end the sandbox
ENDING = (
    inside("loops", "import time\nend = time.time() + 60\nwhile time.time() < end: pass", "^ended .* 2 seconds"),
    inside("loops and catches", """
import time, signal
end = time.time() + 60
while time.time() < end:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while time.time() < end: pass
    except BaseException: pass""", "^ended .* 2 seconds", always=False),
    inside("loops in C", "return sum(range(10**10))", "^ended .* 2 seconds", always=False),
    inside("loops in PyTorch", "torch.linalg.svd(torch.rand(4000, 4000))", "^ended .* 2 seconds", False),
    inside("sleeps", "import time\ntime.sleep(60)", "^ended .* 2 seconds", always=False),
    Hostile("loops when it is defined",
            IMPORTS + "class Slow:\n    __import__('time').sleep(60)\ndef attention(maps, x=Slow):\n    return maps",
            "^ended .* 2 seconds", False),
    inside("exits at once", "import os\nos._exit(0)", "^ended .* status 0"),
    inside("crashes", "import ctypes\nctypes.string_at(0)", "^ended .*SIGSEGV"),
    inside("aborts", "import os\nos.abort()", "^ended .* ended by the system", always=False),
    inside("calls itself too deeply", """
import sys
sys.setrecursionlimit(10**9)
f = lambda x: [*map(f, [x])]
return f(maps)""", "^(ended|raised)", always=False),
    inside("keeps all memory", """
kept = []
try:
    for size in (2**24, 2**16, 2**10, 100):
        try:
            for _ in range(2**31 // size): kept.append(bytearray(size))
        except MemoryError: pass
finally:
    torch.kept = kept""", "^(ended|raised|other)", always=False),
    inside("writes to the protocol", FIND_PIPES + "say(b'x' * 100)\nreturn maps", "^ended .* can't be read"),
    inside("forges an answer", FORGE + "say(frame)\nreturn maps.sum(1).flatten(1)",
           "^tensor \\[1, 1\\]; ended .* can't be read"),
    inside("announces a huge answer", FORGE + "say(struct.pack('<4sII', b'ddl1', len(text), 2**32 - 1) + text)",
           "^ended .* can't be read .* are let in", False),
    inside("announces a long text", FORGE + "say(struct.pack('<4sII', b'ddl1', 2**32 - 1, 4) + text)",
           "^ended .* can't be read", always=False),
    inside("answers with a pickle", FIND_PIPES + """
import pickle
class Bomb:
    def __reduce__(self): return os.system, ('touch OUTSIDE/harm',)
say(pickle.dumps(Bomb()))
os._exit(0)""", "^ended .* can't be read", always=False),
    inside("nests its answer", FIND_PIPES + """
text = b'[' * 500_000 + b']' * 500_000
say(struct.pack('<4sII', b'ddl1', len(text), 0) + text)""", "^ended .* can't be read", always=False),
    inside("answers something else", FORGE + """
text = b'[{"is": "value", "value": 3}, []]'
say(struct.pack('<4sII', b'ddl1', len(text), 0) + text)""", "^ended .* can't be read", always=False),
    inside("closes the pipe", "import os\nos.closerange(3, 20)\nwhile True: pass", "^ended .*closed the pipe", False),
    inside("answers by more than is let in", "return torch.rand(2**24 + 1)", "^(ended .* let in|raised)", False),
    inside("changes what it runs on", """
import sys, gc, types
for thing in gc.get_objects():
    if isinstance(thing, types.FunctionType) and thing.__module__.startswith("datadam"):
        thing.__code__ = (lambda *a, **k: None).__code__
return maps""", "^(ended|raised|tensor)", always=False),
    Hostile("loops in the backward pass", IMPORTS + """
class Slow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps): return maps.sum(1).flatten(1)
    @staticmethod
    def backward(ctx, weights):
        __import__('time').sleep(60)
def attention(maps):
    return Slow.apply(maps)
""", "^tensor \\[3, 24\\]; ended .* 2 seconds"),
)  # fmt: skip
