"""check_attention: it accuses no right function, finds every fault, and survives whatever a function does."""

import functools
import html
import itertools
import math
import random
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from datadam_lite import DataDamError, channel, check_attention, spatial
from datadam_lite.attention import feature_map
from datadam_lite.classroom.findings import Feedback, Finding


def failed(feedback):
    """The names of the checks that failed."""
    return [finding.name for finding in feedback.failures]


def noted(feedback):
    """The notes, by name."""
    return {note.name: note.sentence for note in feedback.notes}


# ---- right functions: each is one choice of every ingredient, and none may be accused

KINDS = ("spatial", "channel", "spatial, channel", "channel, spatial")
POWERS = {  # |f|^p; those that scale first are right for any p, the others while float32 holds the squares, up to 6
    "abs, pow": lambda f, p: f.abs().pow(p),
    "abs, **": lambda f, p: abs(f) ** p,
    "squares": lambda f, p: f.square().pow(p / 2),
    "sign": lambda f, p: (f * f.sign()) ** p,
    "exp of log": lambda f, p: f.abs().clamp_min(1e-30).log().mul(p).exp() * (f != 0),
    "again and again": lambda f, p: functools.reduce(torch.mul, [f.abs()] * p),
    "no abs": lambda f, p: f**p,
    "scaled by the image": lambda f, p: (f.abs() / f.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)) ** p,
    "scaled, detached": lambda f, p: (f.abs() / f.detach().abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)) ** p,
}
ALLOWED = {  # the powers for which they are
    "squares": (2, 3, 4, 5, 6), "again and again": (1, 2, 3, 4, 5, 6), "no abs": (2, 4, 6),
    "scaled by the image": (1, 1.5, 2, 3, 4, 7, 8, 12), "scaled, detached": (1, 1.5, 2, 3, 4, 7, 8, 12),
}  # fmt: skip
SUMS = {  # [B, C, H, W] -> [B, D], for the axes that go
    "sum": lambda x, spatial: x.sum(1).flatten(1) if spatial else x.sum((2, 3)),
    "mean": lambda x, spatial: x.mean(1).flatten(1) if spatial else x.mean(3).mean(2),
    "flattened first": lambda x, spatial: x.flatten(2).sum(1 if spatial else 2),
    "viewed": lambda x, spatial: x.view(*x.shape[:2], -1).sum(1 if spatial else 2),
    "channels last": lambda x, spatial: x.permute(0, 2, 3, 1).flatten(1, 2).sum(-1 if spatial else 1),
    "einsum": lambda x, spatial: torch.einsum("bchw->bhw" if spatial else "bchw->bc", x).reshape(len(x), -1),
    "matrix": lambda x, spatial: (
        x.flatten(2).mT @ x.new_ones(x.shape[1]) if spatial else x.flatten(2) @ x.new_ones(x[0, 0].numel())
    ),
    "channel by channel": lambda x, spatial: (
        sum(x[:, c] for c in range(x.shape[1])).view(len(x), -1) if spatial
        else torch.stack([x[:, c].sum((1, 2)) for c in range(x.shape[1])], 1)
    ),
    "image by image": lambda x, spatial: torch.stack([i.sum(0).flatten() if spatial else i.sum((1, 2)) for i in x]),
    "vmap": lambda x, spatial: torch.vmap(lambda i: i.sum(0).flatten() if spatial else i.sum((1, 2)))(x),
    "pooled": lambda x, spatial: x.mean(1).view(len(x), -1) if spatial else F.adaptive_avg_pool2d(x, 1).flatten(1),
}  # fmt: skip
NORMS = {
    "F.normalize": lambda a: F.normalize(a),
    "F.normalize, 1e-6": lambda a: F.normalize(a, dim=-1, eps=1e-6),
    "norm, +1e-12": lambda a: a / (a.norm(dim=1, keepdim=True) + 1e-12),
    "norm, +1e-6": lambda a: a / (a.norm(dim=1, keepdim=True) + 1e-6),
    "norm, clamped": lambda a: a / a.norm(dim=1, keepdim=True).clamp(min=1e-8),
    "vector_norm, maximum": lambda a: a / torch.linalg.vector_norm(a, dim=1)[:, None].maximum(a.new_tensor(1e-10)),
    "root of squares": lambda a: a / (a.square().sum(1, keepdim=True) + 1e-12).sqrt(),
    "rsqrt": lambda a: a * (a * a).sum(1, keepdim=True).add(1e-8).rsqrt(),
    "einsum": lambda a: a / torch.einsum("bd,bd->b", a, a).clamp_min(1e-24).sqrt().unsqueeze(1),
    "transposed": lambda a: (a.T / (a.T.norm(dim=0) + 1e-9)).T,
    "twice": lambda a: F.normalize(F.normalize(a)),
    "after the mean": lambda a: F.normalize(a / (a.mean(1, keepdim=True) + 1e-12)),
}
TYPES = {"as it comes": lambda f: f, "float64": torch.Tensor.double}


class Called:
    """An object with __call__."""

    def __init__(self, fn, p):
        self.fn, self.p = fn, p

    def __call__(self, features):
        return self.fn(features, self.p)


class Layer(nn.Module):
    """A module without parameters."""

    def __init__(self, fn, p):
        super().__init__()
        self.fn, self.p = fn, p

    def forward(self, f):
        return self.fn(f, self.p)


def defaulted(fn, p):
    """A function with a parameter p."""
    if isinstance(p, int):
        return lambda maps, p=p: fn(maps, p)
    return lambda f, *, p=p: fn(f, p)


WRAPPERS = {
    "lambda": lambda fn, p: lambda f: fn(f, p),
    "default p": defaulted,
    "partial": lambda fn, p: functools.partial(fn, p=p),
    "object": Called,
    "module": Layer,
    "decorated": lambda fn, p: torch.enable_grad()(lambda maps: fn(maps, p)),
}


def block(name, power, summed, norm):
    """Attention by the chosen ingredients."""
    return lambda f, p: NORMS[norm](SUMS[summed](POWERS[power](f, p), name == "spatial"))


def right(kind, power, p, summed, norm, kept, wrapper):
    """A right implementation."""
    blocks = [block(name, power, summed, norm) for name in kind.split(", ")]

    def attention(f, p):
        f = TYPES[kept](f)
        return torch.cat([weight * one(f, p) for weight, one in zip((1, 0.3), blocks, strict=False)], 1)

    return WRAPPERS[wrapper](attention, p)


def recipes(n):
    """n different choices: every ingredient in turn, beside others drawn at random."""
    draw = random.Random(0)
    turns = [itertools.cycle(options) for options in (KINDS, POWERS, SUMS, NORMS, TYPES, WRAPPERS)]
    chosen = {}
    while len(chosen) < n:
        kind, power, summed, norm, kept, wrapper = (
            next(turn) if draw.random() < 0.5 else draw.choice(options)
            for turn, options in zip(turns, map(tuple, (KINDS, POWERS, SUMS, NORMS, TYPES, WRAPPERS)), strict=True)
        )
        if "," in kind and draw.random() < 0.7:
            continue  # they take twice the time
        if wrapper == "default p" and power in ("squares", "no abs"):
            continue  # right for their own p, but not for all that may be passed
        p = draw.choice(ALLOWED.get(power, (1, 1.5, 2, 3, 4, 5, 6)))
        chosen[kind, power, p, summed, norm, kept, wrapper] = None
    return list(chosen)


RIGHT = recipes(204)


def test_the_right_implementations_are_many_and_use_every_ingredient():
    assert len(set(RIGHT)) >= 200
    for i, options in ((0, KINDS), (1, POWERS), (3, SUMS), (4, NORMS), (5, TYPES), (6, WRAPPERS)):
        assert {recipe[i] for recipe in RIGHT} == set(options)
    assert {1, 1.5, 2, 3, 4, 5, 6, 7, 8, 12} == {recipe[2] for recipe in RIGHT}


@pytest.mark.parametrize("recipe", RIGHT, ids=lambda recipe: "; ".join(map(str, recipe)))
def test_no_right_implementation_is_accused(recipe):
    kind, _, p, *_ = recipe
    kind = "mixed" if "," in kind else kind
    fn = right(*recipe)
    for feedback in (check_attention(fn, kind, p=p), check_attention(fn)):
        assert feedback.passed, feedback
        assert feedback.cause is None
    assert noted(feedback)["recognised"] == f"It is {kind} attention."


# ---- functions of one's own: only the contract counts

OWN = {
    "the maps themselves": feature_map,
    "rows of channels": lambda f: F.normalize(f.abs().pow(4).sum(3).flatten(1), dim=1),
    "softmax over positions": lambda f: f.mean(1).flatten(1).softmax(1),
    "sharp softmax": lambda f: (f.sum(1) / 0.1).flatten(1).softmax(1),
    "strongest responses": lambda f: F.normalize(f.flatten(1).topk(5).values, dim=1),
    "the largest of a channel": lambda f: f.amax((2, 3)),
    "covariance of channels": lambda f: (f.flatten(2) @ f.flatten(2).mT).flatten(1),
    "frequencies": lambda f: torch.fft.rfft2(f).abs().square().sum(1).flatten(1),
    "pooled": lambda f: F.avg_pool2d(f, 2).flatten(1),
    "signed": lambda f: (f - f.mean((1, 2, 3), keepdim=True)).sum(1).flatten(1),
    "logarithm": lambda f: (1 + f).log().sum(1).flatten(1),
    "roots, for a ReLU only": lambda f: (f + 1e-6).sqrt().sum(1).flatten(1),
    "one number": lambda f: f.mean((1, 2, 3))[:, None],
    "weights of its own": lambda f: f.flatten(2).sum(2) * torch.linspace(0, 1, f.shape[1]).to(f),
    "product of both": lambda f: (spatial(f)[:, :, None] * channel(f)[:, None]).flatten(1),
    "entries that sum to one": lambda f: spatial(f, normalise="l1"),
    "only float64": lambda f: f.double().sum(1).flatten(1),
}


@pytest.mark.parametrize("name", OWN)
def test_a_function_of_ones_own_passes_when_it_keeps_the_contract(name):
    feedback = check_attention(OWN[name])
    assert feedback.passed, feedback
    assert feedback.cause is None
    assert "recognised" not in noted(feedback)


def test_what_is_noted_of_a_function_of_ones_own():
    assert noted(check_attention(OWN["the largest of a channel"])) == {
        "laws that it keeps": "no negative entries, blind to position order, moves with the channels.",
        "laws that it does not keep, and need not": "length one, blind to scale, blind to channel order.",
    }
    assert "float64" in noted(check_attention(OWN["only float64"]))["type"]
    assert "ReLU" in noted(check_attention(OWN["roots, for a ReLU only"]))["negative responses"]
    assert "negative responses" not in noted(check_attention(OWN["signed"]))
    assert noted(check_attention(OWN["entries that sum to one"]))["resembles"] == (
        "It is spatial attention but for one thing, which would be a mistake there: entries that sum to one."
    )


@pytest.mark.parametrize(("kind", "names"), [
    ("spatial", ["softmax over positions", "signed", "logarithm", "weights of its own", "entries that sum to one"]),
    ("channel", ["the maps themselves", "the largest of a channel", "weights of its own", "one number"]),
    ("mixed", ["rows of channels", "product of both"]),
])  # fmt: skip
def test_a_function_of_ones_own_is_none_of_the_equations(kind, names):
    for name in names:
        assert not check_attention(OWN[name], kind).passed, name


# ---- the contract: each fault is found, and the sentence says what came


def remembers():
    """A function that adds up all maps it has seen."""
    seen = [0]

    def attention(f):
        seen[0] = seen[0] + f.mean().item()
        return f.sum(1).flatten(1) + seen[0]

    return attention


def overwrites(f):
    f *= f
    return F.normalize(f.sum(1).flatten(1), dim=1)


class Backward(torch.autograd.Function):
    """The identity, with a backward pass that raises."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise KeyError("my backward pass")


FAULTS = {
    "grid": (lambda f: f.sum(1), "one vector per image", r"\[3, 4, 6\] came back.* laid end to end"),
    "batch lost": (lambda f: f.sum(0).flatten(1), "one vector per image", r"\[5, 24\] came back.*the images"),
    "one number": (lambda f: f.sum(), "one vector per image", r"shape \[\] came back"),
    "squeezed": (lambda f: f.mean((2, 3)).squeeze(), "one vector per image", r"\[7\] came back.*single image"),
    "no entries": (lambda f: f.flatten(1)[:, :0], "one vector per image", r"\[3, 0\] came back"),
    "hard-coded batch": (lambda f: f.reshape(3, -1), "one vector per image", r"\[3, 70\] came back"),
    "hard-coded shape": (lambda f: f.sum(1).view(-1, 24), "one vector per image", r"raised RuntimeError.*f\.sum\(1\)"),
    "length by zeros": (lambda f: f.flatten(1)[:, f.flatten(1).any(0)], "one vector per image", r"have \[.*\] entries"),
    "length by batch": (lambda f: f.flatten(1).repeat(1, len(f)), "one vector per image", r"have \[120, 360\] entries"),
    "integers": (lambda f: f.flatten(1).long(), "type and device", r"float32 should.*int64 came back"),
    "truth": (lambda f: f.flatten(1) > 0, "type and device", r"bool came back"),
    "complex": (lambda f: f.flatten(1) + 1j, "type and device", r"complex64 came back"),
    "half": (lambda f: f.flatten(1).half(), "type and device", r"float16 came back"),
    "float32": (lambda f: f.flatten(1).float(), "type and device", r"float64 should.*float32 came back"),
    "float32 constant": (lambda f: f.sum((2, 3)) @ torch.ones(f.shape[1], 2), "type and device", "On float64 maps"),
    "nowhere": (lambda f: f.flatten(1).to("meta"), "type and device", r"on cpu, and they are on meta"),
    "random": (lambda f: f.flatten(1) + torch.rand_like(f.flatten(1)), "same twice", r"differ by up to .*random"),
    "dropout": (nn.Sequential(nn.Flatten(), nn.Dropout()), "same twice", "random"),
    "remembers": (remembers(), "same twice", "remembers"),
    "zeros": (lambda f: f.flatten(1) / f.flatten(1).sum(1, keepdim=True), "finite", r"all zero, 360 of 360 .*zero\?"),
    "logarithm": (lambda f: f.flatten(1).log(), "finite", r"all zero, 360 of 360 entries"),
    "exponential": (lambda f: f.flatten(1).exp(), "finite", r"up to 1000, \d+ of 360 .*3e38"),
    "root": (lambda f: f.flatten(1).sqrt(), "finite gradient", r"all zero, 360 of 360 entries of the gradient"),
    "batch mean": (lambda f: (f - f.mean(0)).flatten(1), "each image on its own", r"Image 0 .* batch axis"),
    "batch norm": (nn.Sequential(nn.BatchNorm2d(5), nn.Flatten()), "one vector per image", "raised RuntimeError"),
    "overwrites": (overwrites, "input unchanged", "before and after"),
    "detached": (lambda f: f.detach().flatten(1), "gradient reaches the maps", "No gradient reaches"),
    "numpy": (lambda f: torch.from_numpy(f.flatten(1).numpy()), "gradient reaches the maps", "raised RuntimeError"),
    "steps": (lambda f: (f * 10).round().flatten(1), "gradient reaches the maps", "zero everywhere"),
    "one image": (lambda f: torch.cat([f[:1], f[1:].detach()]).flatten(1), "gradient reaches the maps", "some image"),
    "half the slope": (lambda f: (f * f.detach()).flatten(1), "right gradient", "should be the slope"),
    "rounds": (lambda f: f.flatten(1).float().to(f.dtype), "right gradient", "rounded to float32 first"),
    "rounds a lot": (lambda f: f.flatten(1).half().to(f.dtype), "right gradient", "rounded to float16 first"),
    "backward": (lambda f: Backward.apply(f).flatten(1), "gradient reaches the maps", "raised KeyError: 'my backward"),
}


@functools.cache
def of_fault(name):
    """The feedback on a function that breaks the contract."""
    return check_attention(FAULTS[name][0])


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_contract_is_found_and_told(name):
    _, rule, sentence = FAULTS[name]
    found = {finding.name: finding.sentence for finding in of_fault(name).failures}
    assert rule in found, of_fault(name)
    assert re.search(sentence, found[rule]), found[rule]


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_told_once(name):
    """But for infinite numbers, whose slopes are, too, and maps that PyTorch still needs."""
    twice = ("zeros", "logarithm", "exponential", "overwrites")
    assert len(failed(of_fault(name))) == 1 + (name in twice)


def test_zeros_of_ones_own_for_images_of_zeros_are_right():
    def careful(f):
        return spatial(f) if f.any() else torch.zeros_like(f[:, 0].flatten(1))

    assert check_attention(careful, "spatial").passed


# ---- what can't be called, and what returns no tensor


def stops(f):
    raise SystemExit(1)


def fails(f):
    """Fail in a line that can be shown."""
    size = f.abs()
    return size.summ(1)


class Attention(nn.Module):
    def forward(self, f):
        return f.flatten(1)


exec("def from_text(f): raise ValueError")  # there is no line to show

UNCALLABLE = {
    "name": ("spatial", r"str came\. Pass the function itself: not its name"),
    "nothing": (None, "NoneType came"),
    "result": (torch.ones(3, 4), "Tensor came.* not what it returns"),
    "class": (Attention, "the class Attention came. Make an object"),
    "no parameter": (lambda: 0, "too many positional arguments"),
    "two parameters": (lambda f, p: f, r"missing a required argument: 'p'\. Give every other argument a default"),
    "two keywords": (lambda f, *, p, q=1: f, "missing a required argument: 'p'"),
    "nothing comes back": (lambda f: None, "nothing came back. Is there a `return`"),
    "values and places": (lambda f: f.max(1), "a max of 2 came back.*places"),
    "list": (lambda f: list(f.flatten(1)), "a list of 3 came back"),
    "array": (lambda f: f.flatten(1).detach().numpy(), "ndarray came back"),
    "number": (lambda f: f.sum().item(), "float came back"),
    "sparse": (lambda f: f.flatten(1).to_sparse(), "layout torch.sparse_coo came back"),
    "raises": (fails, r"raised AttributeError: .* no attribute 'summ', in line \d+, `return size\.summ\(1\)`\."),
    "raises nothing in particular": (from_text, r"raised ValueError: no message\. Call"),
    "leaves": (stops, r"raised SystemExit: 1, in line \d+, `raise SystemExit\(1\)`"),
    "raises inside PyTorch": (lambda f: F.conv2d(f, f, "no"), r"raised \w+: .*, in line \d+, `.*conv2d"),
    "raises in the package": (lambda f: spatial(f, -1.0), r"DataDamError: p must be positive; received -1\.0, in line"),
    "never ends": (lambda f: check_forever(f), "raised RecursionError"),
}


def check_forever(f):
    return check_forever(f)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [None, "spatial", "mixed"])
@pytest.mark.parametrize("name", UNCALLABLE)
def test_what_is_no_attention_function_is_told_so(name, kind):
    fn, sentence = UNCALLABLE[name]
    feedback = check_attention(fn, kind)
    assert len(feedback.failures) == 1, feedback
    assert re.search(sentence, feedback.failures[0].sentence), feedback
    assert feedback.cause is None
    assert "not tried yet" in noted(feedback)
    assert "/" not in str(feedback)  # no paths


def test_long_messages_are_cut():
    def talks(f):
        message = "x" * 1000 + "\nsecond line"
        raise ValueError(message)

    (told,) = check_attention(talks).failures
    assert "x" * 200 in told.sentence
    assert "x" * 201 not in told.sentence
    assert "second" not in told.sentence


@pytest.mark.parametrize("kind", ["spacial", "", "Mixed"])
def test_an_unknown_kind(kind):
    with pytest.raises(DataDamError, match=f"unknown kind of attention '{kind}'; the known ones are spatial, cha"):
        check_attention(spatial, kind)


@pytest.mark.parametrize("p", [0.0, -1, float("nan")])
def test_a_power_that_is_not_positive(p):
    with pytest.raises(DataDamError, match="p must be positive; received"):
        check_attention(spatial, p=p)


# ---- functions that do not behave


def changes_the_world(f):
    print("on the screen")
    warnings.warn("in the way", stacklevel=1)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    return f.flatten(1)


def test_what_a_function_does_to_the_world_is_undone(capsys):
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = state()
    feedback = check_attention(changes_the_world)
    assert state() == before
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert capsys.readouterr() == ("", "")
    assert feedback.failures[0].name == "gradient reaches the maps"  # it switched gradients off


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, lambda: torch.device("meta")])
@pytest.mark.parametrize("kind", [None, "spatial"])
def test_where_it_is_called_does_not_matter(around, kind):
    with around():
        feedback = check_attention(spatial, kind)
    assert feedback == check_attention(spatial, kind)
    assert feedback.passed


@pytest.mark.gpu
def test_where_there_is_a_gpu_the_function_has_to_work_on_it():
    assert check_attention(spatial, "spatial").passed
    for moved in (lambda f: f.flatten(1).cpu(), lambda f: f.flatten(1) * torch.ones(1).expand(f[0].numel())):
        (found,) = check_attention(moved).failures
        assert found.name == "type and device"
        assert "cuda" in found.sentence


def test_a_gpu_without_room_is_no_fault_of_the_function(monkeypatch):
    def full(self):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", full)
    assert check_attention(spatial).passed


@pytest.mark.parametrize("name", ["random", "batch mean", "overwrites", "zeros"])
def test_the_same_is_said_every_time(name):
    assert str(check_attention(FAULTS[name][0], "spatial")) == str(check_attention(FAULTS[name][0], "spatial"))


@pytest.mark.parametrize("kind", [None, "spatial", "channel", "mixed"])
@pytest.mark.parametrize("fails_from", range(1, 150, 13))
def test_a_function_that_fails_later_is_a_finding_whenever_that_is(kind, fails_from):
    calls = []

    def attention(f):
        calls.append(f)
        if len(calls) >= fails_from:
            raise RuntimeError("too many calls")
        return {"spatial": spatial, "channel": channel}.get(kind, mixed)(f)

    feedback = check_attention(attention, kind)
    told = [finding for finding in feedback.failures if "too many calls" in finding.sentence]
    assert told or feedback.passed  # which it may if only the notes came later


@pytest.mark.parametrize(("kind", "most"), [(None, 120), ("spatial", 120), ("channel", 120)])
def test_a_right_function_is_called_a_hundred_times_rather_than_a_thousand(kind, most):
    calls = []

    def attention(f):
        calls.append(f.shape)
        return (channel if kind == "channel" else spatial)(f)

    assert check_attention(attention, kind).passed
    assert len(calls) <= most
    assert sum(shape.numel() > 576 for shape in calls) <= 10  # as large as a network's


# ---- laws that need no catalogue


def test_a_law_that_is_broken_is_told_with_numbers():
    feedback = check_attention(lambda f: 3 * spatial(f), "spatial")
    assert failed(feedback) == ["length one"]
    assert feedback.failures[0].sentence == (
        "On maps as they come out of a ReLU, each image's vector should have length 1, and the lengths are 3, 3, 3. "
        "How long is the vector (3, 4)?"
    )
    assert feedback.cause is None


@pytest.mark.parametrize(("kind", "fn", "laws"), [
    ("spatial", lambda f: -spatial(f), ["no negative entries"]),
    ("spatial", lambda f: F.normalize(spatial(f) + f.abs().sum((1, 2, 3))[:, None]), ["blind to scale"]),
    ("spatial", lambda f: F.normalize(f[:, 0].abs().flatten(1) + 1e-9), ["blind to channel order"]),
    ("spatial", lambda f: spatial(f).flip(1), ["moves with the positions"]),
    ("channel", lambda f: F.normalize(f[:, :, 0, 0].abs() + 1e-9), ["blind to position order"]),
    ("channel", lambda f: channel(f).flip(1), ["moves with the channels"]),
    ("spatial", lambda f: F.normalize(spatial(f, 1.0) + spatial(f, 4.0)), ["power"]),
    ("spatial", lambda f: spatial(F.relu(f)), ["equation"]),
    ("channel", lambda f: channel(F.relu(f)), ["equation"]),
    ("spatial", lambda f: channel(f), ["number of entries"]),
    ("channel", lambda f: torch.cat([spatial(f), channel(f)], 1), ["number of entries"]),
    ("mixed", lambda f: spatial(f), ["number of entries"]),
    ("spatial", lambda f: F.normalize(f.abs().pow(8).sum(1).flatten(1)), ["in range"]),
    ("channel", lambda f: F.normalize(f.abs().pow(8).sum((2, 3))), ["in range"]),
    ("spatial", lambda f, p=4: spatial(f, 4.0), ["power", "large p"]),
    ("spatial", lambda f, p=4: spatial(f, p + 1.0), ["power"]),
    ("spatial", lambda f, p=4: spatial(f, 1.0 * min(p, 9)), ["large p"]),
    ("spatial", lambda f, p=4: spatial(f, 1.0 + len(range(p))), ["power"]),  # whole numbers only
    ("spatial", lambda f, p=4.0: spatial(f, 1.0 + float.fromhex(p.hex())), ["power"]),  # no whole numbers
])  # fmt: skip
def test_each_law_is_found_broken_by_a_function_that_breaks_it_alone(kind, fn, laws):
    assert failed(check_attention(fn, kind)) == laws


def test_a_missing_absolute_value_shows_though_the_usual_power_is_even():
    def mine(maps, p=4):
        return F.normalize(maps.pow(p).sum(1).flatten(1), dim=1)

    feedback = check_attention(mine, "spatial")
    assert failed(feedback) == ["equation"]
    assert "called with p=3" in feedback.failures[0].sentence
    assert feedback.cause.name == "absolute value left out"


def test_where_a_fault_shows_only_for_negative_responses_that_is_said():
    (found,) = check_attention(lambda f: F.normalize(f.pow(3).sum(1).flatten(1)), "spatial").failures
    assert found.name == "no negative entries"
    assert found.sentence.startswith("On maps with negative responses (a ReLU lets none through, other activations do)")


# ---- the power


def plain(maps, p=4):
    return F.normalize(maps.abs().pow(p).sum(1).flatten(1))


@pytest.mark.parametrize("fn", [
    lambda maps, p=4: plain(maps[:, :8], p),
    lambda maps, p=4: plain(maps[:, :128], p),
    lambda maps, p=4: plain(F.pad(maps[..., :7, :7], (0, max(0, maps.shape[3] - 7), 0, max(0, maps.shape[2] - 7))), p),
    lambda maps, p=4: plain(maps.mT if maps.shape[2] == maps.shape[3] else maps, p),
    lambda maps, p=4: plain(maps.transpose(0, 1) if maps.shape[0] == maps.shape[1] else maps, p),
], ids=["8 channels", "128 channels", "7 pixels", "squares turned", "as many images as channels"])  # fmt: skip
def test_what_is_right_on_small_maps_only_is_found(fn):
    feedback = check_attention(fn, "spatial", p=4)
    assert failed(feedback) == ["equation"]
    assert "On smaller maps it is right" in feedback.failures[0].sentence


def test_a_power_that_is_rounded_is_found():
    feedback = check_attention(lambda maps, p=4: plain(maps, math.floor(p)), "spatial", p=4)
    assert failed(feedback) == ["power"]
    assert "Called with p=2.5, twice the response should count 2^2.5 times, and it counts 2^2" in str(feedback)


def test_a_power_for_whole_numbers_only_is_noted():
    feedback = check_attention(lambda maps, p=4: plain(math.prod([maps.abs()] * p), 1), "spatial")
    assert feedback.passed
    assert "can't multiply sequence by non-int" in noted(feedback)["whole powers only"]
    assert "whole powers only" not in noted(check_attention(right, "spatial"))


@pytest.mark.parametrize("fn", [
    lambda maps, p=4: plain(maps.relu() + (-maps).relu().detach(), p),
    lambda maps, p=4: plain(maps, p) if p % 2 == 0 else plain(2 * maps - maps.detach(), p),
], ids=["negative responses", "odd powers"])  # fmt: skip
def test_a_slope_that_is_wrong_elsewhere_only_is_found(fn):
    assert failed(check_attention(fn, "spatial", p=4)) == ["right gradient"]


@pytest.mark.parametrize("fn", [
    lambda maps: plain(maps) if torch.is_grad_enabled() else plain(maps, 1),
    lambda maps: plain(maps, 1) if maps.requires_grad else plain(maps),
], ids=["mode", "requires_grad"])  # fmt: skip
@pytest.mark.parametrize("kind", [None, "spatial"])
def test_values_that_depend_on_whether_a_gradient_is_wanted(fn, kind):
    feedback = check_attention(fn, kind)
    assert failed(feedback) == ["right gradient"]
    assert "the same whether a gradient is wanted or not" in feedback.failures[0].sentence


def test_a_function_of_ones_own_need_not_take_negative_responses_or_odd_powers():
    def roots(maps, p=2):
        if p != 2:
            raise ValueError("even powers only")
        return maps.sqrt().pow(p).sum(1).flatten(1)

    assert failed(check_attention(roots)) == ["finite gradient"]  # that of a root, at zero


@pytest.mark.parametrize("kind", ["spatial", "channel"])
@pytest.mark.parametrize("p", [0.5, 1.0, 4.0, 20.0])
def test_the_power_is_read_off_and_is_free_unless_one_is_asked_for(kind, p):
    fn = functools.partial({"spatial": spatial, "channel": channel}[kind], p=p)
    feedback = check_attention(lambda f: fn(f), kind)
    assert feedback.passed
    assert noted(feedback) == {"power": f"Called with the maps alone, it raises responses to the power {p:g}."}
    assert check_attention(fn, kind, p=p).passed
    other = check_attention(fn, kind, p=p + 1)
    assert failed(other) == ["power"]
    assert f"should count 2^{p + 1:g} times, and it counts 2^{p:.3g} times" in other.failures[0].sentence
    assert other.cause.name == ("power left out" if p == 1 else "power off by one")


def test_another_power_is_no_known_mistake():
    feedback = check_attention(lambda f: spatial(f, 2.0), "spatial", p=4)
    assert failed(feedback) == ["power"]
    assert feedback.cause is None


def test_a_parameter_p_that_is_the_order_of_the_norm_is_not_the_power():
    assert check_attention(lambda f, p=2: F.normalize(f.abs().pow(4).sum(1).flatten(1), p=p), "spatial").passed


@pytest.mark.parametrize("fn", [
    lambda f, p=None: spatial(f, p or 4.0),
    lambda f, p="l2": spatial(f, normalise=p),
    lambda f, p=True: spatial(f),
    lambda f, p=4, /: spatial(f, 1.0 * p),
    lambda f, *p: spatial(f),
    lambda f, **p: spatial(f),
    lambda f, p=4: spatial(f, {4: 4.0}[p]),
])  # fmt: skip
def test_a_parameter_p_that_takes_no_other_numbers_is_left_alone(fn):
    assert check_attention(fn, "spatial").passed


# ---- mixtures


def mixed(f, weights=(1, 1), first=spatial, last=channel):
    return torch.cat([weights[0] * first(f), weights[1] * last(f)], 1)


@pytest.mark.parametrize("weights", [(0.001, 1), (1, 100)])
@pytest.mark.parametrize("order", [(spatial, channel), (channel, spatial)])
def test_blocks_have_any_order_and_any_weights_and_powers(order, weights):
    assert check_attention(lambda f: mixed(f, weights, *order), "mixed").passed
    one, other = order
    assert check_attention(lambda f: mixed(f, weights, lambda f: one(f, 1.0), lambda f: other(f, 2.0)), "mixed").passed
    assert not check_attention(lambda f: mixed(f, weights, *order), "mixed", p=3).passed


@pytest.mark.parametrize("order", [(spatial, channel), (channel, spatial)])
def test_a_fault_in_one_block_is_told_of_that_block(order):
    first, last = (functools.partial(a, normalise="none") if a is channel else a for a in order)
    feedback = check_attention(lambda f: mixed(f, (1, 1), first, last), "mixed")
    assert failed(feedback) == ["channel block: length one", "channel block: blind to scale"]
    assert feedback.cause.name == "channel block: not normalised"
    assert "in units of the first one's they are 1, " in feedback.failures[0].sentence


@pytest.mark.parametrize("fn", [
    lambda f: mixed(f, (0, 1)),
    lambda f: mixed(f, (1, 0)),
    lambda f: mixed(f, (-1, 1)),
    lambda f: mixed(f) * f.mean((1, 2, 3))[:, None],
    lambda f: mixed(f, (1, 1), lambda f: spatial(f).flip(1)),
    lambda f: mixed(f, (1, 1), lambda f: f.abs().mean(1).flatten(1) * 0 + 1, lambda f: f.abs().mean((2, 3)) * 0 + 1),
])  # fmt: skip
def test_what_is_no_mixture(fn):
    assert not check_attention(fn, "mixed").passed


# ---- how it is shown


EXAMPLE = Feedback(
    "spatial attention",
    (Finding("finite"), Finding("call", "It raised `<lambda>`: a < b & c ` d."), Finding("same twice")),
    Finding("not normalised", "Why?"),
    (Finding("power", "It is 4."),),
)


def test_feedback_in_text():
    assert str(EXAMPLE) == repr(EXAMPLE) == (
        "NOT YET: 1 of 3 checks of spatial attention failed.\n"
        "- call: It raised `<lambda>`: a < b & c ` d.\n"
        "Likely cause:\n- not normalised: Why?\n"
        "Notes, not failures:\n- power: It is 4.\n"
        "Kept: finite; same twice."
    )  # fmt: skip


def test_feedback_in_a_notebook():
    assert EXAMPLE._repr_html_() == (
        "<p><strong>NOT YET: 1 of 3 checks of spatial attention failed.</strong></p>\n"
        "<ul><li><strong>call:</strong> It raised <code>&lt;lambda&gt;</code>: a &lt; b &amp; c ` d.</li></ul>\n"
        "<p>Likely cause:</p>\n<ul><li><strong>not normalised:</strong> Why?</li></ul>\n"
        "<p>Notes, not failures:</p>\n<ul><li><strong>power:</strong> It is 4.</li></ul>\n"
        "<p>Kept: finite; same twice.</p>"
    )  # fmt: skip


def test_both_say_the_same():
    shown = re.sub(r"</?code>", "`", EXAMPLE._repr_html_().replace("<li>", "- "))
    assert html.unescape(re.sub(r"<[^>]+>", "", shown)).split() == str(EXAMPLE).split()


def test_feedback_of_a_function_that_passes():
    feedback = check_attention(channel, "channel")
    assert feedback.verdict == "PASSED: all 20 checks of channel attention."
    assert feedback.findings == feedback.notes
    assert feedback.failures == ()
    assert str(feedback).startswith(feedback.verdict + "\nNotes, not failures:\n- power: ")


def test_what_there_is_to_say_is_failures_cause_and_notes():
    assert [finding.name for finding in EXAMPLE.findings] == ["call", "not normalised", "power"]
    assert not EXAMPLE.passed


def test_every_sentence_is_one():
    """With a capital letter, an end, and not too long to be read; or a list of laws."""
    for finding in (finding for name in FAULTS for finding in of_fault(name).findings):
        assert re.fullmatch(r"[A-Z].*[.?]|[a-z, ]+\.", finding.sentence), finding
        assert len(finding.sentence) < 420, finding


def test_a_stub_is_told_from_what_pytorch_has_not_implemented():
    def stub(maps, p=4):
        raise NotImplementedError("write spatial_attention first.")

    def of_integers(maps, p=4):
        return maps.int().flatten(1).softmax(1)

    assert check_attention(stub, "spatial").cause.name == "not written yet"
    cause = check_attention(of_integers, "spatial").cause
    assert cause is None or cause.name != "not written yet"


def test_only_an_equation_has_to_use_its_p():
    def fn(maps, p=4):
        return F.normalize(maps.abs().pow(4).sum(1).flatten(1), dim=1)

    def mixed(maps, p=4):
        return torch.cat([fn(maps), 2 * maps.abs().pow(2).sum((2, 3))], 1)

    assert check_attention(fn, "spatial").cause.name == "p not used"
    cause = check_attention(mixed, "mixed").cause
    assert cause is None or cause.name != "p not used"
