"""What goes between the two sides of a sandbox, and the parts that carry it: nothing that comes is trusted."""

import math
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from datadam_lite.classroom import seal, wire
from datadam_lite.classroom.process import Gone, Late, Process
from datadam_lite.classroom.proxy import Raised, exception, plain_name, remote, signature, stand_in
from datadam_lite.classroom.sandbox import Ended, Sandbox


def test_the_filter_ends_in_refusal_and_lists_each_call_once():
    for machine, (column, name, _) in seal.MACHINES.items():
        numbers = [n[column] for n in seal.ALLOWED.values() if n[column] is not None]
        assert len(set(numbers)) == len(numbers) < 250  # jumps of a filter reach 255 lines
        program = seal.program(machine)
        lines = [program[i : i + 8] for i in range(0, len(program), 8)]
        assert int.from_bytes(lines[1][4:], sys.byteorder) == name
        assert [line[4] for line in lines[-2:]] == [1, 0]  # EPERM, and allowed
        for i, line in enumerate(lines[4:-2], 4):
            assert i + 1 + line[2] == len(lines) - 1  # a call that is found jumps to the last line


@pytest.mark.parametrize("tensor", [
    torch.tensor(3.5), torch.empty(0, 3), torch.arange(6).reshape(2, 3).T, torch.tensor([True, False]),
    torch.rand(2, 2, dtype=torch.complex64).conj(), torch.rand(3).bfloat16(), torch.rand(2, 1).expand(2, 5),
    torch.tensor([math.nan, math.inf]),
])  # fmt: skip
def test_tensors_come_as_they_went(tensor):
    found = _received(wire.pack({"a": 1}, [tensor, torch.ones(1)]))[1]
    assert found[0].dtype == tensor.dtype
    assert F.mse_loss(found[1], torch.ones(1)) == 0
    assert found[0].shape == tensor.shape
    assert torch.equal(torch.nan_to_num(found[0]), torch.nan_to_num(tensor.resolve_conj()))


def _received(data, most=100):
    stream = memoryview(data)

    def read(n):
        nonlocal stream
        assert n <= len(stream), "more is read than there is"
        part, stream = stream[:n], stream[n:]
        return bytearray(part)

    return wire.receive(read, most)


def _frame(text, body=b"", mark=wire.MARK):
    return wire.FRAME.pack(mark, len(text), len(body)) + text + body


@pytest.mark.parametrize("data", [
    _frame(b"[{}, []]", mark=b"ddl2"), _frame(b"{}"), _frame(b"[3, []]"), _frame(b"[{}, 3]"), _frame(b"[{}]"),
    _frame(b"[{}, []]", b"x"), _frame(b'[{}, [["float32", [1]]]]', b"abc"), _frame(b'[{}, [["object", [1]]]]', b"x"),
    _frame(b'[{}, [["int8", [-1]]]]', b"x"), _frame(b'[{}, [["int8", [1.0]]]]', b"x"), _frame(b"\x80pickle"),
    _frame(b'[{}, [["int8", [true]]]]', b"x"), _frame(b'[{}, [["int8", "1"]]]', b"x"), _frame(b"[[" * 5000),
    _frame(b'[{}, [["int8", [4294967295, 4294967295]]]]', b"x"), _frame(b'[{"a": ' + b"[" * 50 + b"]" * 50 + b"}, []]"),
    _frame(b'[{}, [["int8", [' + b"1," * 40 + b"1]]]]", b"x"), _frame(b"[{}, [[]]]"), _frame(b'[{}, [["int8", [101]]]]',
    bytes(101)), wire.FRAME.pack(wire.MARK, 2**32 - 1, 0), wire.FRAME.pack(wire.MARK, 8, 2**32 - 1) + b"[{}, []]",
    _frame(b'[{"a": ' + b"9" * 5000 + b"}, []]"), _frame(b"[{}, [[[], []]]]"),
])  # fmt: skip
def test_what_is_no_message_is_refused_before_anything_is_made(data):
    with pytest.raises(wire.Garbled):
        _received(data)


def test_messages_keep_to_their_limits():
    with pytest.raises(wire.Garbled, match="bytes of text"):
        wire.pack({"a": "x" * wire.MOST_TEXT})
    with pytest.raises(wire.Garbled, match="JSON"):
        wire.pack({"a": {1, 2}})


@pytest.mark.parametrize(
    ("described", "expected"),
    [([["a", 1, 3]], "(a=3)"), (None, "(maps)"), ([["a b", 1]], "(unnamed)"), ([["a", 9]], "(maps)"), (3, "(maps)")],
)
def test_a_forged_signature_is_only_a_wrong_one(described, expected):
    assert str(signature(described)) == expected


@pytest.mark.parametrize(
    "answer", [{}, {"type": 3, "kind": "list", "n": -1}, {"type": "\0", "kind": "tuple", "n": "x"}]
)
def test_a_forged_object_is_only_a_wrong_one(answer):
    assert not isinstance(stand_in(answer), torch.Tensor)


class Forger:
    """A process that answers what it likes."""

    number = 0

    def __init__(self, message, *tensors):
        self.data = memoryview(wire.pack(message, tensors))

    def speaks(self):
        return False

    def write(self, data):
        pass

    def read(self, n):
        part, self.data = self.data[:n], self.data[n:]
        return bytearray(part)

    def end(self, grace=0):
        return 0


THINGS = ([], {}, 3, -1.5, None, True, "x", "\0", [[]], {"a": [1]}, 2**70, "tuple", "class")
FORGED = [
    {"is": kind, field: thing}
    for kind in ("tensor", "other", "signature", "value", "gradient", "raised", "done", "ready")
    for field in ("is", "type", "kind", "n", "parameters", "name", "message", "line", "printed", "value", "grad")
    for thing in THINGS
]


def end(box, ask):
    """What comes of a question: a value, or one of the two exceptions, with few words."""
    try:
        getattr(box, ask)("f", *([["x"]] if ask == "tries" else []))
    except (Raised, Ended) as error:
        return Ended if isinstance(error, Ended) else Raised if len(str(error)) < 2000 else "long"
    return None


def test_whatever_is_answered_the_sandbox_raises_nothing_else():
    """Each answer to each question is a value, or Raised, or Ended."""
    ends = {Raised: 0, Ended: 0, None: 0}
    for message in FORGED:
        for tensors in ([], [torch.ones(3, 2)]):
            for ask in ("function", "call", "tries"):
                box = Sandbox("")
                box._process, box._folder = Forger(message, *tensors), SimpleNamespace(cleanup=lambda: None)
                ends[end(box, ask)] += 1
    assert min(ends.values()) > 100


def test_whatever_a_function_answers_is_a_value_or_raised():
    for message in FORGED:
        if message["is"] in ("tensor", "other"):
            answer = [torch.ones(3, 2)] if message["is"] == "tensor" else []
            fn = remote("f", None, lambda *_, message=message, answer=answer: (message, list(answer)))
            vectors = fn(torch.ones(3, 4, 2, 2, requires_grad=True))
            if isinstance(vectors, torch.Tensor) and vectors.requires_grad:
                with pytest.raises(Raised, match="The gradient is"):
                    vectors.sum().backward()


def test_names_of_exceptions_are_names():
    assert plain_name("ValueError") == "ValueError"
    assert [plain_name(name) for name in ("a b", "class", None, 3, "", "\x1b")] == ["unnamed"] * 6
    assert type(exception("StopIteration", "x")).__mro__[1] is Raised


def test_a_process_has_deadlines(tmp_path):
    process = Process([sys.executable, "-c", "import time; time.sleep(60)"], str(tmp_path), {})
    process.deadline = time.monotonic() + 0.5
    with pytest.raises(Late):
        process.write(bytes(10**7))
    with pytest.raises(Late):
        process.read(1)
    assert process.end() is None
    process = Process([sys.executable, "-c", "raise SystemExit(3)"], str(tmp_path), {})
    process.deadline = time.monotonic() + 60
    with pytest.raises(Gone):
        process.read(1)
    assert process.end(grace=10) == 3
