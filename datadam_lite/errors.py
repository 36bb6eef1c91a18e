"""The one exception of the package, and the checks that raise it."""


class DataDamError(ValueError):
    """Bad input: one sentence saying what was expected, what came, and what to do next."""


def positive(**values) -> None:
    """Raise DataDamError for the first value that is not greater than zero."""
    for name, value in values.items():
        if not value > 0:
            raise DataDamError(f"{name} must be positive; received {value}.")


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
