"""Labels: the name of a function with a fingerprint of its source and values, so that no run is taken for another."""

import dis
import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from inspect import getsource, unwrap
from types import CellType, CodeType, FunctionType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

EMPTY = CellType()  # of a name that is given a value later, or never
PLAIN = int | float | complex | str | None


def label(function: str | Callable) -> str:
    """Name a function, with a fingerprint of its source and of the numbers it computes with; a name stays as it is.

    The numbers (and text) are its defaults, what it closes over, the attributes of an object, and the globals that it
    names: alone, in lists, tuples and dictionaries, in tensors and arrays, and the parameters and buffers of modules.
    Functions that were written in the same notebook or file, and that it names, count with theirs; those imported
    from elsewhere don't, nor do the running statistics of a batch norm in training mode. A function that changes what
    it holds, a list that it appends to, say, has another label afterwards, so its run can't be resumed.

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
        given = _contents([*function.args, *function.keywords.values()])
        source = f"{_source(function.func, seen)} {function.args} {sorted(function.keywords.items())}"
        return "\0".join([source, *given])
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
    plain = repr([each for each in held if isinstance(each, PLAIN)])
    return "\0".join([source, plain, *(_source(each, seen) for each in beside), *_contents(held)])


def _held(function) -> list:
    """The values a function computes with; of an object its attributes, and those of its methods."""
    if not hasattr(function, "__code__"):
        methods = [each for each in vars(type(function)).values() if isinstance(each, FunctionType)]
        return [*_attributes(function), *methods]
    closure = [cell.cell_contents for cell in function.__closure__ or () if cell != EMPTY]
    named = [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]
    owner = _attributes(getattr(function, "__self__", None))  # of a method
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*closure, *defaults, *owner, *named]


def _attributes(thing) -> list:
    """The attributes of an object; a module counts as a whole in place of what PyTorch keeps in it."""
    attributes = getattr(thing, "__dict__", {})
    if not isinstance(thing, nn.Module):
        return [*attributes.values()]
    return [*(each for name, each in attributes.items() if name not in ("_parameters", "_buffers", "_modules")), thing]


def _contents(values: Iterable) -> list[str]:
    """The texts of containers, tensors, arrays and modules; nothing of what holds no numbers."""
    return [text for each in values if not isinstance(each, PLAIN) and (text := _content(each))]


def _content(value) -> str:
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, nn.Module):
        return f"{value} {_content(_state(value))}"
    if type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided:
        stored = value.detach().cpu().resolve_conj().contiguous().flatten()
        return _numbers(value.dtype, value.shape, stored.view(torch.uint8).numpy())
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return _numbers(value.dtype, value.shape, value.tobytes())
    if isinstance(value, dict):
        value = sorted((_content(key), text) for key, each in value.items() if (text := _content(each)))
    elif isinstance(value, list | tuple):
        value = [_content(each) for each in value]
    else:
        return ""
    return str(value) if any(value) else ""


def _numbers(dtype, shape: tuple, content) -> str:
    return f"{dtype} {tuple(shape)} {hashlib.sha256(content).hexdigest()}"


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, without running statistics that a batch norm collects and does not use."""
    state = dict(module.named_parameters())
    for path, layer in module.named_modules():
        if not (layer.training and isinstance(layer, _NormBase)):
            state |= {f"{path}.{name}": buffer for name, buffer in layer.named_buffers(recurse=False)}
    return state


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
