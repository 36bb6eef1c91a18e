"""What the commands share: options of one meaning everywhere, and files that are not overwritten by mistake."""

from pathlib import Path
from typing import Annotated

import typer

from datadam_lite.errors import DataDamError
from datadam_lite.foreign_space import SPACES
from datadam_lite.layers import NORMS
from datadam_lite.protocol import PROTOCOLS
from datadam_lite.settings import PRECISIONS

THEIRS = "Other people's files"  # heading in the help

_DATA = (
    "Data set: a name ('datadam data' lists them), or the path of a folder or zip with train/<class>/<image> and "
    "test/ or val/<class>/<image>."
)
Data = Annotated[str, typer.Option(help=_DATA)]
MaybeData = Annotated[str | None, typer.Option(help=_DATA)]
ROOT = "Folder of data sets that are downloaded, or put there by hand."
Root = Annotated[str, typer.Option(help=ROOT)]
Size = Annotated[int | None, typer.Option(help="Resize photographs to this side, in pixels.")]
Resize = Annotated[
    str | None,
    typer.Option(
        help="How to resize: crop (keeps the aspect ratio; the default) or squash (as the released DataDAM code)."
    ),
]
Mirror = Annotated[
    bool | None,
    typer.Option(
        "--mirror/--no-mirror",
        help="Whether a mirrored image keeps its class: false of letters, say. Your own images are taken to.",
        show_default="the data set's",
    ),
]

Device = Annotated[str | None, typer.Option(help="cpu or cuda; by default a GPU if there is one.")]
PRECISION = f"Number format of the convolutions: {' or '.join(PRECISIONS)}."
COMPILE = "Use torch.compile: slow start, fast steps."
CHUNK = "Classes that go through the network at once: fewer take less memory."
CUDA_GRAPHS = "With --compile on a GPU: launch a step as a whole."
Precision = Annotated[str, typer.Option(help=PRECISION)]
Compile = Annotated[bool, typer.Option("--compile", help=COMPILE)]
MaybeCompile = Annotated[bool | None, typer.Option("--compile/--no-compile", help=COMPILE, show_default="no")]
Chunk = Annotated[int | None, typer.Option(help=CHUNK, show_default="as many as fit")]
CudaGraphs = Annotated[
    bool | None, typer.Option("--cuda-graphs/--no-cuda-graphs", help=CUDA_GRAPHS, show_default="no")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]

Networks = Annotated[int, typer.Option(help="How many fresh networks to train on each set.")]
ProtocolName = Annotated[str, typer.Option("--protocol", help=f"How they are trained: {', '.join(PROTOCOLS)}.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of training; by default the protocol's.")]
Width = Annotated[int | None, typer.Option(help="Width of the ConvNet; by default that of the set's recipe.")]
Norm = Annotated[str | None, typer.Option(help=f"Norm of the ConvNet: {', '.join(NORMS)}; by default the protocol's.")]
Baselines = Annotated[bool, typer.Option(help="Also the sets' own initial images and random real ones.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write what was evaluated, how, and all accuracies.")]

Preprocessing = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=THEIRS,
        help=f"What had been done to the numbers in the file: {', '.join(SPACES)}. Files of this package know.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=THEIRS,
        help="The file of the labels, if it isn't beside the images; 'class order' if the images go class by class.",
    ),
]
Soft = Annotated[
    str | None, typer.Option(rich_help_panel=THEIRS, help="argmax: train on the class that soft labels favour.")
]
Entry = Annotated[int, typer.Option(rich_help_panel=THEIRS, help="Which of several sets in a file; -1 is the last.")]
Factor = Annotated[
    int, typer.Option(rich_help_panel=THEIRS, help="Cut each image into FACTOR x FACTOR and enlarge (IDC: 2).")
]
TrainIn = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=THEIRS,
        help="Carry the images into this space, as toolkits do that store plain pixels and normalise when they train: "
        f"{', '.join(SPACES)}.",
    ),
]


def refuse_existing(*paths: Path | None, overwrite: bool, option: str = "--out") -> None:
    """Raise DataDamError for the first of these files that exists, unless they may be replaced.

    >>> refuse_existing(Path("no such file"), None, overwrite=False)
    >>> refuse_existing(Path("."), overwrite=False)
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: . exists; choose another --out, or give --overwrite to replace it.
    """
    for path in paths:
        if path is not None and path.exists() and not overwrite:
            raise DataDamError(f"{path} exists; choose another {option}, or give --overwrite to replace it.")
