"""Trained networks that others released: their ConvNet's weights, put into ours."""

import re
from pathlib import Path

from torch import Tensor, nn

from datadam_lite.errors import DataDamError
from datadam_lite.foreign_files import raw, tensors
from datadam_lite.networks import build

EXPECTED = "expected a ConvNet of the DC, DM or DataDAM code: features.0.weight … and classifier.weight"


def read_network(path: str | Path, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return a trained ConvNet in evaluation mode, such as DataDAM's released model_params_cifar10_ipc_10.pt.

    shape: (C, H, W) of the images it was trained on; classes: number of logits. Width, depth and norm are read off
    the tensors. They don't tell ReLU from other activations, average from max pooling, or the number of groups of a
    group norm: this builds ReLU, average pooling and one group per channel, as the code above has by default.

    Raises: DataDamError naming the keys if the weights are of another network, or of another shape.

    >>> import tempfile, torch
    >>> theirs = nn.ModuleDict({"features": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
    ...                         "classifier": nn.Linear(64, 10)})
    >>> file = Path(tempfile.mkdtemp()) / "model_params.pt"
    >>> torch.save({"net_parameters": theirs.state_dict()}, file)
    >>> network = read_network(file, (3, 8, 8), 10)
    >>> network(torch.zeros(2, 3, 8, 8)).logits.shape
    torch.Size([2, 10])
    """
    state = _state(path)
    renamed, norm = _rename(state, path)
    convs = [t for name, t in renamed.items() if re.fullmatch(r"convs\.\d+\.weight", name)]
    channels, height, side = shape
    if channels == 1:  # their first convolution pads grey images by 3: 28x28 becomes 32x32
        height, side = height + 4, side + 4
    network = build("convnet", (channels, height, side), classes, width=len(convs[0]), depth=len(convs), norm=norm)
    if channels == 1:
        network.convs[0].padding = (3, 3)
    try:
        network.load_state_dict(renamed)
    except RuntimeError as error:
        reasons = "; ".join(line.strip() for line in str(error).splitlines()[1:])
        raise DataDamError(
            f"{path} does not fit images of {list(shape)} and {classes} classes: {reasons} Its tensors have the "
            f"shapes {_shapes(state)}. Give the shape and classes it was trained with."
        ) from error
    return network.eval()


def _state(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file, alone or under net_parameters, without DataParallel's prefix."""
    content = raw(path)
    if isinstance(content, dict):
        content = content.get("net_parameters", content)
    state = {str(name).removeprefix("module."): t for name, t in tensors(content).items()}
    if wrong := [name for name, t in state.items() if not t.isfinite().all()]:
        raise DataDamError(f"{path}: {', '.join(wrong[:6])} hold NaN or infinite numbers; the training diverged.")
    return state


def _rename(state: dict[str, Tensor], path: str | Path) -> tuple[dict[str, Tensor], str]:
    """Map features.0, features.1, features.4, … onto convs.0, norms.0, convs.1, …; name the norm."""
    weights = {int(m[1]): t for name, t in state.items() if (m := re.fullmatch(r"features\.(\d+)\.weight", name))}
    convs = [i for i in sorted(weights) if weights[i].ndim == 4]
    norms = [i for i in sorted(weights) if weights[i].ndim in (1, 3)]
    paired = not norms or [i - 1 for i in norms] == convs  # each norm follows its convolution
    names = {f"features.{i}": f"{kind}.{j}" for kind, found in (("convs", convs), ("norms", norms))
             for j, i in enumerate(found)} | {"classifier": "head"}  # fmt: skip
    other = [name for name in state if name.rpartition(".")[0] not in names]
    if not convs or not paired or other or "classifier.weight" not in state:
        raise DataDamError(
            f"{path} holds other weights: {_shapes(state)}" + (f"; unknown are {', '.join(other[:6])}" if other else "")
            + f". {EXPECTED}, and nothing else."
        )  # fmt: skip
    renamed = {f"{names[where]}.{what}": t for name, t in state.items() for where, _, what in [name.rpartition(".")]}
    if any(name.endswith("running_mean") for name in state):
        return renamed, "batch"
    return renamed, "none" if not norms else "layer" if weights[norms[0]].ndim == 3 else "instance"


def _shapes(state: dict[str, Tensor]) -> str:
    found = [f"{name} {list(t.shape)}" for name, t in list(state.items())[:12]]
    return ", ".join(found + ["…"] * (len(state) > 12)) or "no tensors"
