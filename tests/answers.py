"""Answers to the assignments, as text: right ones in several writings, and what makes others of them."""

from datadam_lite.classroom.variant import Variant

HEAD = "import torch\nfrom torch.nn import functional as F\n\n"

PLAIN = '''
def spatial_attention(maps, p=4):
    maps = maps.abs()
    maps = maps / maps.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return F.normalize(maps.pow(p).sum(1).flatten(1), dim=1)
'''
EINSUM = '''
def scaled(maps):
    return maps / maps.abs().flatten(1).amax(1).clamp_min(1e-12)[:, None, None, None]

def spatial_attention(maps, p=4):
    energy = torch.einsum("bchw->bhw", scaled(maps).abs() ** p).reshape(len(maps), -1)
    return energy / energy.norm(dim=1, keepdim=True).clamp_min(1e-12)
'''
MEAN = '''
def spatial_attention(maps, p=4):
    b, c, h, w = maps.shape
    sizes = maps.abs() / maps.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    rows = [F.normalize((image ** p).mean(0).reshape(-1), dim=0) for image in sizes]
    return torch.stack(rows)
'''
CHANNEL = '''
def channel_attention(maps, p=4):
    maps = maps.abs().flatten(2)
    maps = maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return F.normalize((maps ** p).sum(2), dim=1)
'''
RIGHT_SPATIAL = {"plain": PLAIN, "einsum": EINSUM, "mean": MEAN}


def mixed(task: Variant, *, swap: bool = False, **changes) -> str:
    """The mixture of a class; changes: other fields of the task; swap: the powers the wrong way round."""
    given = {name: getattr(task, name) for name in ("p_spatial", "p_channel", "weight", "rule", "spatial_first")}
    given |= changes
    a, b = given["weight"], 1 - given["weight"]
    if given["rule"] == "roots":
        a, b = a**0.5, b**0.5
    blocks = [f"{a} * where", f"{b} * which"][:: 1 if given["spatial_first"] else -1]
    whole = f"torch.cat([{', '.join(blocks)}], 1)"
    powers = [given["p_spatial"], given["p_channel"]][:: -1 if swap else 1]
    return f'''
def mixed_attention(maps):
    maps = maps.abs() / maps.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    where = F.normalize(maps.pow({powers[0]}).sum(1).flatten(1), dim=1)
    which = F.normalize(maps.pow({powers[1]}).sum((2, 3)), dim=1)
    return {f"F.normalize({whole}, dim=1)" if given["rule"] == "unit" else whole}
'''


def mended(task: Variant) -> str:
    """The mended function of A3."""
    return PLAIN.replace("spatial_attention(maps, p=4)", f"mended_attention(maps, p={task.p_broken})")


def written_test(task: Variant, compare: str = "torch.allclose(found, right, atol=1e-5)") -> str:
    """A test for A3 that compares with the equation, on maps of both signs and on zeros."""
    return f'''
def test_attention(attention):
    for shape in ((3, 5, 4, 6), (1, 3, 5, 2)):
        maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        found = attention(maps, p={task.p_broken})
        right = F.normalize(maps.abs().pow({task.p_broken}).sum(1).flatten(1), dim=1)
        assert found.shape == right.shape, "shape"
        assert {compare}, "values"
    assert attention(torch.zeros(2, 3, 4, 4), p={task.p_broken}).isfinite().all(), "zeros"
'''


IDEAS = {  # a law -> an attention that keeps it, and is none of those that are known
    "length one": '''
def my_attention(maps):
    where, which = maps.mean(1).flatten(1), maps.mean((2, 3))
    return F.normalize(torch.cat([where, which, where.std(1, keepdim=True)], 1), dim=1)
''',
    "blind to channel order": '''
def my_attention(maps):
    where, spread = maps.mean(1).flatten(1), maps.std(1).flatten(1)
    return F.normalize(torch.cat([where, spread], 1), dim=1)
''',
    "blind to position order": '''
def my_attention(maps):
    maps = maps.flatten(2)
    return F.normalize(torch.cat([maps.mean(2), maps.std(2)], 1), dim=1)
''',
}
IDEAS["blind to scale"] = IDEAS["length one"]

INTERVALS = '''
from math import sqrt
from scipy import stats

def interval(means):
    n = len(means)
    mean = sum(means) / n
    s = sqrt(sum((x - mean) ** 2 for x in means) / (n - 1))
    half = stats.t.ppf(0.975, n - 1) * s / sqrt(n)
    return mean - half, mean + half

def paired_interval(after, before):
    return interval([a - b for a, b in zip(after, before)])
'''


def results(task: Variant, rows: dict) -> str:
    """RESULTS of A5 as text; rows: value -> accuracies."""
    assert set(rows) <= set(task.values)
    return f"\nRESULTS = {({str(value): row for value, row in rows.items()})!r}\n"
