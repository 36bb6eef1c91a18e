"""Labels: the name of a function with a fingerprint of its source and values, so that no run is taken for another."""

import dis
import hashlib
from collections.abc import Callable
from functools import partial
from inspect import getsource, unwrap
from types import CellType, CodeType, FunctionType

EMPTY = CellType()  # of a name that is given a value later, or never
PLAIN = int | float | complex | str | None


def label(function: str | Callable) -> str:
    """Name a function, with a fingerprint of its source and of the numbers it computes with; a name stays as it is.

    The numbers (and text) are its defaults, what it closes over, the attributes of an object, and the globals that it
    names; functions that were written in the same notebook or file, and that it names, count with theirs. Lists,
    tensors and what is imported from elsewhere don't count.

    >>> label("spatial")
    'spatial'
    """
    if isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{name} (source sha256 {hashlib.sha256(_source(function, []).encode()).hexdigest()[:16]})"


def _source(function, seen: list) -> str:
    """The text of a function and the values it holds, the same in every process; nothing for one that was seen."""
    function = unwrap(function)  # as getsource does
    if isinstance(function, partial):
        return f"{_source(function.func, seen)} {function.args} {sorted(function.keywords.items())}"
    if any(each is function for each in seen):
        return ""
    seen.append(function)
    text = function if hasattr(function, "__code__") else type(function)
    try:
        source = getsource(text)
    except (OSError, TypeError):
        source = _bytecode(text.__code__) if text is function else str(text)
    held, home = _held(function), getattr(function, "__module__", None)
    beside = [each for each in held if isinstance(each, FunctionType) and each.__module__ == home]
    parts = [repr([each for each in held if isinstance(each, PLAIN)]), *(_source(each, seen) for each in beside)]
    return "\0".join([source, *parts])


def _held(function) -> list:
    """The values a function computes with; of an object its attributes, and those of its methods."""
    if not hasattr(function, "__code__"):
        methods = [each for each in vars(type(function)).values() if isinstance(each, FunctionType)]
        return [*getattr(function, "__dict__", {}).values(), *methods]
    closure = [cell.cell_contents for cell in function.__closure__ or () if cell != EMPTY]
    named = [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]
    owner = getattr(getattr(function, "__self__", None), "__dict__", {})  # of a method
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*closure, *defaults, *owner.values(), *named]


def _names(code: CodeType) -> list[str]:
    """The globals that code names, and those of the functions written inside it."""
    named = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return sorted(named.union(*map(_names, inner)))


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _constant(value) -> str:
    return f"{sorted(map(repr, value))}" if isinstance(value, frozenset) else repr(value)  # a set has no order
