"""How to compute: precision by device, and torch.compile where there is a compiler."""

import os
import subprocess
import sys

import pytest
import torch
from samples import small

from datadam_lite import DataDamError, Distiller, Settings
from datadam_lite.settings import FLOAT16_SCALE, _compiler_problem


def on_a_gpu(monkeypatch, *, bfloat16):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    supported = lambda including_emulation=True: including_emulation or bfloat16  # noqa: E731
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)


@pytest.mark.parametrize(("has_it", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_mixed_on_a_cpu_is_bfloat16_only_where_that_is_fast(monkeypatch, has_it, dtype):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_it)
    assert Settings(device="cpu", precision="mixed").dtype() == dtype
    assert Settings(device="cpu", precision="bfloat16").dtype() == torch.bfloat16  # what was asked for


def test_mixed_is_bfloat16_where_the_gpu_has_it(monkeypatch):
    on_a_gpu(monkeypatch, bfloat16=True)
    assert Settings(precision="mixed").dtype() == torch.bfloat16
    on_a_gpu(monkeypatch, bfloat16=False)  # a T4 only emulates it
    assert Settings(precision="mixed").dtype() == torch.float16
    assert Settings(precision="bfloat16").dtype() == torch.bfloat16  # what was asked for
    assert Settings(precision="mixed").numerics()["precision"] == "float16"  # and not 'mixed'


def test_only_float16_scales_the_loss():
    scales = {name: Settings(device="cpu", precision=name).gradient_scale() for name in ("float32", "mixed", "float16")}
    assert scales == {"float32": 1, "mixed": 1, "float16": FLOAT16_SCALE}


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), 0)


def gradient(train, ipc, chosen, precision):
    return Distiller(train, ipc, chosen, settings=Settings(device="cpu", precision=precision)).gradient(1)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("ipc", [1, 10])
@pytest.mark.parametrize("changes", [{}, {"loss_scale": 100.0, "norm": "batch", "power": 1.0}], ids=["paper", "code"])
def test_mixed_precision_gives_nearly_the_same_gradient(digits, precision, ipc, changes):
    chosen = small(width=16, real_batch=32, **changes)
    (exact_shares, exact), (shares, rough) = (gradient(digits[0], ipc, chosen, name) for name in ("float32", precision))
    assert not torch.equal(exact, rough)
    assert cosine(exact, rough) >= 0.99
    assert float(rough.norm()) == pytest.approx(float(exact.norm()), rel=0.02)  # the scale is taken out again
    torch.testing.assert_close(shares.sum(0), exact_shares.sum(0), rtol=0.02, atol=0)


def test_small_gradients_survive_float16(digits):
    """At this loss scale many of them would be zero in float16 without the factor: the cosine would be 0.92."""
    chosen = small(width=16, real_batch=32, loss_scale=1e-4)
    exact, rough = (gradient(digits[0], 10, chosen, name)[1] for name in ("float32", "float16"))
    assert cosine(exact, rough) >= 0.99


# ---- torch.compile

WITHOUT = """
import warnings
warnings.simplefilter("always")
from datadam_lite import Settings, distill, load
train, _ = load("digits")
made = distill(train, 1, width=8, real_batch=8, iterations=2, settings=Settings(device="cpu", compile=True))
print(made.provenance["numerics"]["compile"])
"""


@pytest.mark.slow
def test_without_a_compiler_one_line_says_so_and_the_run_goes_on(tmp_path):
    surroundings = {**os.environ, "CXX": "/no/such/compiler", "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], env=surroundings, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "False"
    said = [line for line in done.stderr.splitlines() if "torch.compile" in line]
    assert len(said) == 1
    assert "going on without it" in said[0]
    assert "Traceback" not in done.stderr


def test_a_compiler_that_fails_is_asked_once(monkeypatch):
    calls = []

    def broken(function, **_):
        calls.append(function)
        raise RuntimeError("\n no compiler\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    _compiler_problem.cache_clear()
    settings = Settings(device="cpu", compile=True)
    with pytest.warns(UserWarning, match=r"torch.compile doesn't work here \(no compiler\); going on without it"):
        assert settings.compiled(len) is len
    assert settings.compiled(len) is len
    assert not settings.numerics()["compile"]
    assert len(calls) == 1
    _compiler_problem.cache_clear()


def test_nothing_is_compiled_unless_asked_for(monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    assert Settings(device="cpu").compiled(len) is len
    assert Settings(device="cpu", cuda_graphs=True).compiled(len) is len


def test_numbers_of_settings_are_positive():
    for field in ("chunk", "networks_at_once", "checkpoint_every"):
        with pytest.raises(DataDamError, match=f"{field} must be positive; received 0"):
            Settings(**{field: 0})
