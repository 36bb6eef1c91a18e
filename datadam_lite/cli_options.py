"""What the commands share: options of one meaning everywhere, and files that are not overwritten by mistake."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock, Timeout

from datadam_lite.errors import DataDamError
from datadam_lite.foreign_space import SPACES
from datadam_lite.layers import NORMS
from datadam_lite.protocol import PROTOCOLS
from datadam_lite.recipes import RECIPES
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

MirrorOfTheirs = Annotated[
    bool | None,
    typer.Option(
        "--mirror/--no-mirror", rich_help_panel=THEIRS, show_default="the data set's",
        help="Whether a mirrored image keeps its class, and may be trained on. Files of this package know.",
    ),
]  # fmt: skip

RECIPE = (
    f"One of {', '.join(RECIPES)}; 'datadam recipes' lists their constants. Beside --config it replaces all constants "
    "of that file."
)
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
Depth = Annotated[int | None, typer.Option(help="Blocks of the ConvNet; by default the protocol's, or by image size.")]
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
    """Raise DataDamError for the first of these files that can't be written, or that exists and may not be replaced.

    >>> refuse_existing(Path("no such file"), None, overwrite=False)
    >>> refuse_existing(Path("."), overwrite=False)
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: . exists; choose another --out, or give --overwrite to replace it.
    """
    for path in filter(None, paths):
        if path.exists() and not overwrite:
            raise DataDamError(f"{path} exists; choose another {option}, or give --overwrite to replace it.")
        if path.is_dir():
            raise DataDamError(f"{path} exists as a folder, and is never replaced by a file; choose another {option}.")
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise DataDamError(f"{path} can't be written, as {parent} is no folder you can write to; choose another.")


def refuse_given(because: str, **options) -> None:
    """Refuse options that would have no effect.

    >>> refuse_given("a coin has no sides", sides=2)
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: leave --sides out: a coin has no sides.
    """
    for name, value in options.items():
        if value is not None:
            raise DataDamError(f"leave --{name} out: {because}.")


@contextmanager
def alone(out: Path):
    """Hold a file for as long as the block runs, so that two runs never write to one.

    Raises: DataDamError if another process holds it, or it can't be made.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "set.safetensors"
    >>> with alone(target), alone(target):
    ...     print("never here")
    Traceback (most recent call last):
    datadam_lite.errors.DataDamError: another run is writing to ...; wait for it, or choose another --out.
    """
    file = Path(f"{out}.lock")
    lock = FileLock(file, timeout=0)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise DataDamError(f"another run is writing to {out}; wait for it, or choose another --out.") from None
    except (OSError, NotImplementedError) as error:
        raise DataDamError(
            f"{file} can't be locked ({error}), which keeps two runs from writing to one file; if a run that is over "
            "left it, remove it, else choose another --out."
        ) from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()
