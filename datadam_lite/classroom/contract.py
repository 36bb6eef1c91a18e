"""The contract: what any attention function must keep, whatever it computes.

    attention(maps: [B, C, H, W]) -> [B, D], float: a vector for each image, that depends on that image alone

Each rule takes the function and returns what is wrong, in words, or None.
"""

import inspect
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor

from datadam_lite.classroom.guard import Guarded, Stumble, default_power, raised
from datadam_lite.classroom.probes import (
    LARGER,
    SHAPES,
    USUAL,
    Maps,
    after_relu,
    extremes,
    of_both_signs,
    without_zeros,
)

CLOSE = 1e-4  # of the largest entry: far above rounding and an epsilon in a division, far below any mistake


def close(one: Tensor, other: Tensor, tolerance: float = CLOSE) -> bool:
    """Whether two tensors have the same shape and, within a part of the largest entry, the same entries, NaN included.

    >>> close(torch.tensor([1e6, 0.0]), torch.tensor([1e6, 1.0])), close(torch.zeros(2), torch.ones(2))
    (True, False)
    """
    if one.shape != other.shape or not one.numel():
        return one.shape == other.shape
    one, other = one.detach().double(), other.detach().double()
    allowed = tolerance * other.abs().nan_to_num(0, posinf=0).max()
    alike = ((one - other).abs() <= allowed) | (one == other) | (one.isnan() & other.isnan())
    return bool(alike.all())


def apart(one: Tensor, other: Tensor) -> str:
    """Say how far two tensors are apart."""
    if one.shape != other.shape:
        return f"in shape, {list(one.shape)} and {list(other.shape)}"
    difference, largest = (one - other).abs().max().item(), max(one.abs().max().item(), other.abs().max().item())
    return f"by up to {difference:.2g}, with entries up to {largest:.2g}"


# ---- what can be called, and what comes back


def callable_with_the_maps_alone(fn) -> str | None:
    """`fn(maps)` is a call."""
    if inspect.isclass(fn):
        return f"A function was expected, and the class {fn.__name__} came. Make an object of it, and pass that."
    if not callable(fn):
        return (
            f"A function of the maps was expected, and {type(fn).__name__} came. Pass the function itself: not its "
            "name in quotation marks, and not what it returns."
        )
    try:
        inspect.signature(fn).bind(None)
    except TypeError as error:
        return (
            f"It is called with the maps and nothing else, and yours can't be: {error}. Give every other argument a "
            "default, or fix it with functools.partial."
        )
    except ValueError:  # a function that does not tell its parameters
        return None
    return None


WHICH_AXIS = "Name the axes of what every step returns: which of them counts the images, and is it still the first?"


def one_vector_per_image(fn: Guarded) -> str | None:
    """fn(maps).shape == [B, D], for maps of several shapes; D depends on C, H and W, and on nothing else."""
    for shape in SHAPES + LARGER:
        maps = after_relu(*shape).float()
        vectors = fn(maps)
        if vectors.ndim != 2 or len(vectors) != len(maps) or not vectors.numel():
            return (
                f"Maps of shape {list(shape)} should give one vector per image, [{shape[0]}, D], and shape "
                f"{list(vectors.shape)} came back. {_shape_advice(vectors, shape)}"
            )
    usual = after_relu(*USUAL).float()
    lengths = {fn(maps).shape[-1] for maps in (usual, usual[:1], *extremes().values())}
    if len(lengths) == 1:
        return None
    return (
        f"All vectors of a layer should have the same length, and of maps of one shape they have {sorted(lengths)} "
        "entries. Does the number of images, or of zeros, decide on it?"
    )


def _shape_advice(vectors: Tensor, shape: tuple[int, ...]) -> str:
    if vectors.ndim > 2 and len(vectors) == shape[0]:
        return "A vector has a single axis: what belongs to one image has to be laid end to end."
    if shape[0] == 1 and vectors.ndim == 1:
        return "With a single image in the batch its axis is lost. Which step removes axes of length one?"
    return WHICH_AXIS


def type_and_device(fn: Guarded) -> str | None:
    """fn(maps) is on the maps' device and as precise, at least: float32 for float32, float64 for float64."""
    for dtype in (torch.float32, torch.float64):
        found = fn(after_relu(*USUAL).to(dtype)).dtype
        if not found.is_floating_point or torch.promote_types(found, dtype) != found:
            return (
                f"Maps in {str(dtype)[6:]} should give vectors that are as precise, and {str(found)[6:]} came back. "
                "Where does the type change, and does it have to?"
            )
    for maps in on_all_devices():
        device, found = maps.device.type, fn(maps).device.type
        if found != device:
            return f"Maps on {device} should give vectors on {device}, and they are on {found}. Which step moves them?"
    return None


def on_all_devices() -> Iterator[Maps]:
    """Maps on the CPU and, where there is a GPU with room for them, on the GPU."""
    maps = after_relu(*USUAL).float()
    yield maps
    if torch.cuda.is_available():
        with suppress(RuntimeError, AssertionError):
            maps = maps.cuda()
        if maps.is_cuda:
            yield maps


def same_twice(fn: Guarded) -> str | None:
    """fn(maps) == fn(maps)."""
    maps = after_relu(*USUAL)
    first, second = fn(maps), fn(maps)
    if close(first, second, 1e-6):
        return None
    return (
        f"Two calls with the same maps should agree, and they differ {apart(second, first)}. Is there something random "
        "in it, or something that it remembers from call to call?"
    )


# ---- numbers of any size


def finite(fn: Guarded) -> str | None:
    """fn(maps) has no NaN and no infinity: neither for zeros nor for responses up to 1000, in float32."""
    for name, maps in extremes().items():
        if wrong := _not_finite(fn(maps)):
            return f"For {name}, {wrong} entries are NaN or infinite. {_size_advice(maps)}"
    return None


def finite_gradient(fn: Guarded) -> str | None:
    """The gradient with respect to the maps has no NaN and no infinity, for the same maps."""
    for name, maps in extremes().items():
        gradient = fn.gradient(maps)  # None where a function returns zeros of its own for images of zeros
        if gradient is not None and (wrong := _not_finite(gradient)):
            return (
                f"For {name}, {wrong} entries of the gradient are NaN or infinite, and one such step ruins an image. "
                f"{_size_advice(maps)} And what is the slope of each step there? That of a root, at zero, is infinite."
            )
    return None


def _not_finite(tensor: Tensor) -> str:
    count = int((~tensor.isfinite()).sum())
    return f"{count} of {tensor.numel()}" if count else ""


def _size_advice(maps: Tensor) -> str:
    if maps.max() > 100:
        return "Print the largest number of each step: float32 ends at 3e38."
    return "Print what each step makes of such maps: what is divided by what, when responses are zero?"


# ---- what it depends on, and what it touches


def each_image_on_its_own(fn: Guarded) -> str | None:
    """fn(maps)[i] == fn(maps[i:i+1])[0]: the other images of the batch don't matter."""
    maps = after_relu(*USUAL)
    together = fn(maps)
    for i in range(len(maps)):
        alone = fn(maps[i : i + 1])
        if not close(alone, together[i : i + 1]):
            return (
                f"Image {i} should have one vector, whatever the other images, and alone in its batch or with "
                f"{len(maps) - 1} others its vectors differ {apart(alone, together[i : i + 1])}. Which step looks "
                "along the batch axis?"
            )
    return None


def input_unchanged(fn: Guarded) -> str | None:
    """The maps are the same after the call."""
    if not any(fn.changes(maps(*USUAL)) for maps in (after_relu, of_both_signs)):
        return None
    return (
        "After the call the maps are not what they were, but the network and the other terms of the loss need them. "
        "Compare them before and after each step: operations whose name ends in _ overwrite, and so do those like *=."
    )


# ---- the gradient


def constant(fn: Guarded) -> bool:
    """Whether other maps give the same vectors."""
    return close(fn(after_relu(*USUAL)), fn(without_zeros(*USUAL)))


def gradient_reaches_the_maps(fn: Guarded) -> str | None:
    """The gradient exists, and is not zero for any image."""
    if constant(fn):
        return (
            "Other maps give the same vectors, so that nothing would ever move an image. Print what each step makes of "
            "two different images: after which of them are they alike?"
        )
    gradient = fn.gradient(without_zeros(*USUAL))
    if gradient is None:
        return (
            "No gradient reaches the maps, and it is all that moves images when they are distilled. Print "
            "requires_grad after each step: which one leaves PyTorch's record of what was computed?"
        )
    if not gradient.flatten(1).any(1).all():
        return (
            "The gradient of some image is zero everywhere, so that nothing would ever move it. Does a small change "
            "of a response change its vector at all?"
        )
    return None


def right_gradient(fn: Guarded) -> str | None:
    """The gradient is the slope: autograd agrees with differences of values, in float64, away from zeros."""
    maps = without_zeros(2, 3, 5, 4)
    if (kept := precision(fn)) != "float64":
        return (
            f"Maps in float64 should be kept so, and those that are rounded to {kept} first give the same vectors, to "
            "the last digit: so something rounds them inside, and slopes become stairs. Follow the type step by step."
        )
    usual, wanted, unwanted = fn(maps), fn(maps.clone().requires_grad_()), fn.unrecorded(maps)
    if not close(wanted, usual, 1e-6) or not close(unwanted, usual, 1e-6):
        return (
            "The values should be the same whether a gradient is wanted or not, and they differ "
            f"{apart(wanted, unwanted)}. What in it asks for requires_grad, or for torch.no_grad()?"
        )
    signed = of_both_signs(*maps.shape)
    if _agrees(fn, maps, directions=4) and all(_agrees(each, signed) for each in with_odd_power(fn, signed)):
        return None
    return (
        "The gradient should be the slope of the values, and it is another. Is a part of the formula taken for a "
        "constant, or does it jump? Change one response by a millionth, and compare the vector's change with it."
    )


def with_odd_power(fn: Guarded, maps: Maps) -> Iterator[Guarded]:
    """The function and, if it has a parameter p, the same with p=3; neither if it does not take these maps."""
    default = default_power(fn.fn)
    for each in (fn, *([] if default is None else [Guarded(partial(fn.fn, p=type(default)(3)))])):
        with suppress(Stumble):
            if each(maps).isfinite().all():
                yield each


def _agrees(fn: Guarded, maps: Tensor, directions: int = 2, step: float = 1e-6) -> bool:
    """Whether v . J u, by autograd, is v . (f(x + step u) - f(x - step u)) / (2 step), for random u and v.

    PyTorch's gradcheck in its fast mode does so with a single pair, both without a negative entry: it lets pass half
    of a mixture that is cut off.
    """
    stream = torch.Generator().manual_seed(0)
    for _ in range(directions):
        x = maps.clone().requires_grad_()
        vectors = fn(x)
        u, v = (torch.randn(each.shape, generator=stream, dtype=maps.dtype) for each in (maps, vectors))
        try:
            (gradient,) = torch.autograd.grad(vectors, x, v)
        except Exception as error:  # a backward pass of the student's own may raise anything
            raise Stumble(f"The backward pass {raised(error)}") from None
        difference = (fn(maps + step * u) - fn(maps - step * u)).detach() / (2 * step)
        tolerance = 1e-5 * float(gradient.norm() * u.norm())
        if not torch.isclose((gradient * u).sum(), (v * difference).sum(), rtol=1e-3, atol=tolerance):
            return False
    return True


def precision(fn: Guarded) -> str:
    """What the function keeps of maps in float64: to round them to any less changes what comes out."""
    maps = after_relu(*USUAL)
    exact = fn(maps)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        if torch.equal(fn(maps.to(dtype).double()), exact):
            return str(dtype)[6:]
    return "float64"


BASICS = (one_vector_per_image, type_and_device, same_twice)  # without these there is nothing to compare
OTHERS = (finite, each_image_on_its_own, input_unchanged)
GRADIENT = (gradient_reaches_the_maps, finite_gradient, right_gradient)
