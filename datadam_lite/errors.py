"""The one exception of the package, and the checks that raise it."""

import types
from math import isfinite
from numbers import Real
from typing import get_args, get_origin


class DataDamError(ValueError):
    """Bad input: one sentence saying what was expected, what came, and what to do next."""


def positive(**values) -> None:
    """Raise DataDamError for the first value that is not greater than zero."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not value > 0:
            raise DataDamError(f"{name} must be positive; received {value!r}.")


def known(name: str, table, kind: str):
    """Look `name` up in `table`, or say which names there are; of a plain list of names, return the name.

    >>> known("b", {"a": 1, "b": 2}, "letter")
    2
    >>> known("c", {"a": 1, "b": 2}, "letter")
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: unknown letter 'c'; the known ones are a, b.
    """
    if name not in table:
        raise DataDamError(f"unknown {kind} {name!r}; the known ones are {', '.join(table)}.")
    return table[name] if hasattr(table, "keys") else name


def check_type(name: str, value, wanted) -> None:
    """Refuse what a command line or a notebook may pass by mistake: text for a number, NaN, true for 1.

    wanted: the type annotation of a field.

    >>> check_type("depth", None, int | None)
    >>> check_type("depth", "3", int | None)
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: depth must be a whole number; received '3'.
    """
    options = get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    if value is None and type(None) in options:
        return
    kind = next(option for option in options if option is not type(None))
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            raise DataDamError(f"{name} must be a list; received {value!r}.")
        for part in value if name != "attention" else ():
            check_type(name, part, get_args(kind)[0])
        return
    sane = isinstance(value, (int, float) if kind is float else kind)
    sane = sane and (kind is bool or not isinstance(value, bool))
    if not sane or (isinstance(value, float) and not isfinite(value)):
        expected = {float: "a finite number", int: "a whole number", bool: "true or false", str: "text"}
        raise DataDamError(f"{name} must be {expected[kind]}; received {value!r}.")
