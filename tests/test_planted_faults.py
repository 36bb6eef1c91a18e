"""A test of the tests: with a fault planted in the package, a named notebook must no longer be true.

Each fault is planted in a copy of the package, which the notebook then imports, and nbval runs the notebook until the
first cell that fails. It has to fail because it shows something else than before, not because it crashed.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest
import regenerate


@dataclass(frozen=True)
class Fault:
    """Pieces of one file's text and what to write in their place, and the notebook that must notice."""

    file: str
    changes: dict
    notebook: str


FAULTS = {
    "attention is not normalised": Fault(
        "attention", {"NORMALISE[normalise](energy.flatten(1))": "energy.flatten(1)"}, "04-spatial-attention"
    ),
    "the power is off by one": Fault(
        "attention", {"return size.pow(p)": "return size.pow(p + 1)"}, "04-spatial-attention"
    ),
    "the absolute value is forgotten": Fault(
        "attention", {"size = in_float32(maps).abs()": "size = in_float32(maps)"}, "04-spatial-attention"
    ),
    "herding takes the farthest instead of the nearest": Fault(
        "coresets",
        {
            "distance[chosen] = torch.inf  # never twice": "distance[chosen] = -torch.inf",
            "chosen.append(int(distance.argmin()))": "chosen.append(int(distance.argmax()))",
        },
        "02-coresets",
    ),
    "real and synthetic images are augmented differently": Fault(
        "distill",
        {
            "augment(real, siamese), augment(synthetic, siamese)": "augment(real, siamese), augment(synthetic, "
            "draw(self.operations, count, generator(self.seed, 'other'), one_operation=False))"
        },
        "03-distribution-matching",
    ),
    "the best network is kept, not the last": Fault(
        "evaluate",
        {
            "        for epoch in range(protocol.epochs):\n": "        best = (1e9, None)\n"
            "        for epoch in range(protocol.epochs):\n",
            "                optimizer.step()\n    return": "                optimizer.step()\n"
            "                if loss.item() < best[0]:\n"
            "                    best = (loss.item(), [weight.detach().clone() for weight in weights])\n"
            "    for weight, kept in zip(weights, best[1], strict=True):\n"
            "        weight.data.copy_(kept)\n"
            "    return",
        },
        "01-tiny-training-sets",
    ),
}  # fmt: skip


def plant(fault, folder):
    """Copy the package into the folder, with the fault in it."""
    package = shutil.copytree(
        regenerate.ROOT / "datadam_lite", folder / "datadam_lite", ignore=shutil.ignore_patterns("__pycache__")
    )
    file = package / f"{fault.file}.py"
    text = file.read_text()
    for right, wrong in fault.changes.items():
        assert text.count(right) == 1, f"{fault.file}.py has changed: plant the fault anew in place of {right!r}"
        text = text.replace(right, wrong)
    file.write_text(text)


def run(notebook, package):
    """Run a notebook under nbval with the package in that folder, until a cell fails; return the process."""
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300", "-x", "-p", "no:cacheprovider"]
    path = regenerate.NOTEBOOKS / f"{notebook}.ipynb"
    environment = {**os.environ, **regenerate.QUICK, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "pytest", *options, path]
    return subprocess.run(command, cwd=regenerate.ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_notebook_notices(name, tmp_path):
    plant(FAULTS[name], tmp_path)
    done = run(FAULTS[name].notebook, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mismatch" in done.stdout, done.stdout  # what a cell shows is another thing; it did not crash


def test_the_faults_fit_the_package(tmp_path):
    """Cheap, so that a change of the package tells at once which fault has to be planted anew."""
    for i, fault in enumerate(FAULTS.values()):
        plant(fault, tmp_path / str(i))
        compile((tmp_path / str(i) / "datadam_lite" / f"{fault.file}.py").read_text(), fault.file, "exec")
        assert fault.notebook in regenerate.chapters()
