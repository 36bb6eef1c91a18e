"""A stand-in for a student's function: it looks and behaves like the function, which runs elsewhere."""

import inspect
import keyword
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from datadam_lite.attention import Attention

KINDS = {int(kind): kind for kind in inspect._ParameterKind}
MOST_NAME = 60  # characters


class Raised(Exception):
    """What a student's code raised; the class of the exception that arrives has the name of the student's."""


def remote(name: str, parameters, ask: Callable) -> Attention:
    """A function of maps [B, C, H, W] that runs in a sandbox, and raises what the code raises.

    ask: sends a request with tensors, returns the answer and its tensors. Gradients reach the maps as they would if the
    function were called here, and what it changes in them is changed.
    """

    def function(maps, **options):
        enabled = torch.is_grad_enabled()
        wanted = [enabled, maps.requires_grad, maps.requires_grad and maps.is_leaf]
        request = {"name": name, "options": options, "wanted": wanted}
        given = maps.detach().cpu().clone()
        answer, tensors = ask({"do": "run", **request}, [given])
        vectors = tensors.pop(0).to(maps.device) if answer["is"] == "tensor" else stand_in(answer)
        for changed in tensors:
            _write_into(maps, changed)
        if answer["is"] != "tensor" or not answer.get("grad") or not (enabled and maps.requires_grad):
            return vectors

        def pull(weights):
            found = ask({"do": "pull", **request}, [given, weights])[1]
            return found[0].to(maps.device) if found else None

        return Attached.apply(maps, vectors, pull)

    function.__name__ = function.__qualname__ = name
    function.__signature__ = signature(parameters)
    return function


class Attached(torch.autograd.Function):
    """Vectors, and how to get the gradient of the maps from that of the vectors."""

    @staticmethod
    def forward(ctx, maps: Tensor, vectors: Tensor, pull: Callable) -> Tensor:
        """Return the vectors."""
        ctx.pull, ctx.shape, ctx.dtype = pull, maps.shape, maps.dtype
        return vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx, weights: Tensor):
        """Return the gradient of the maps, and none of the others."""
        gradient = ctx.pull(weights)
        if gradient is not None and (gradient.shape, gradient.dtype) != (ctx.shape, ctx.dtype):
            raise Raised(f"The gradient is {gradient.dtype} {list(gradient.shape)}, and the maps aren't.")
        return gradient, None, None


def signature(parameters) -> inspect.Signature:
    """The signature that an answer describes; that of a function of the maps alone if it describes none."""
    found = []
    with suppress(Exception):
        for name, kind, *default in parameters:
            simple = default and isinstance(default[0], (int, float, str)) and len(str(default[0])) <= MOST_NAME
            values = {"default": default[0] if simple else None} if default else {}
            found.append(inspect.Parameter(plain_name(name), KINDS[kind], **values))
        return inspect.Signature(found)
    return inspect.Signature([inspect.Parameter("maps", inspect.Parameter.POSITIONAL_OR_KEYWORD)])


def exception(name: str, message: str, place: str = "") -> Raised:
    """An exception of a class of that name; place: where it was raised.

    >>> exception("IndexError", "out of range.", "line 2 of cell 1")
    IndexError('out of range, in line 2 of cell 1')
    """
    words = f"{message.rstrip('. ')}, in {place}" if place else message
    return type(plain_name(name), (Raised,), {})(words.lstrip(", "))


def stand_in(answer: dict):
    """An object in place of one that isn't a tensor: its class has the same name, and as a list the same length.

    >>> stand_in({"type": "max", "kind": "tuple", "n": 2})
    (None, None)
    """
    name, kind, n = str(answer.get("type"))[: 2 * MOST_NAME].replace("\0", ""), answer.get("kind"), answer.get("n")
    if name == "NoneType":
        return None
    if kind in ("tuple", "list"):
        n = n if type(n) is int and 0 <= n <= 1000 else 0
        return type(name, ({"tuple": tuple, "list": list}[kind],), {})([None] * n)
    return type(name, (), {})()


def plain_name(name) -> str:
    """The name, or another one if it can't be a name in Python."""
    fine = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    return name[:MOST_NAME] if fine else "unnamed"


def _write_into(maps: Tensor, changed: Tensor) -> None:
    """Do to the maps what the function did to those it was given."""
    if changed.shape != maps.shape:
        raise exception("RuntimeError", f"it made maps of shape {list(changed.shape)} of those that it was given")
    with torch.no_grad():
        maps.detach().copy_(changed)
