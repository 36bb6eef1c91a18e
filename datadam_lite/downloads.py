"""Where a data set comes from, and bringing it here whole or not at all."""

import gzip
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError

from datadam_lite.data import ImageSet
from datadam_lite.errors import DataDamError

TIMEOUT = 30.0  # seconds a server may be silent


@dataclass(frozen=True)
class Source:
    """A data set that `load` knows by name.

    shape: (channels, height, width); train, test: numbers of images (None: not known to us);
    obtained: how it gets here; files: what to put into the data folder by hand; citation: who made
    it, and its licence in a word; read(source, root, **options): returns (train, test);
    url, md5: of its archive; resizable: whether its photographs can have another size.

    >>> from datadam_lite.datasets import DATASETS
    >>> DATASETS["digits"].shape
    (1, 8, 8)
    """

    name: str
    what: str
    shape: tuple[int, int, int]
    classes: int
    train: int | None
    test: int
    obtained: str
    files: str
    citation: str
    read: Callable[..., tuple[ImageSet, ImageSet]]
    url: str = ""
    md5: str | None = None
    resizable: bool = False

    def load(self, root: str | Path = "data", **options) -> tuple[ImageSet, ImageSet]:
        """Return (train, test); options: size and resize, where the data set is resizable.

        Raises: DataDamError if it can't be had, saying what to put where.
        """
        if options and not self.resizable:
            side = "x".join(map(str, self.shape[1:]))
            raise DataDamError(
                f"the images of {self.name} are {side} pixels; received {options}. Leave size and resize out."
            )
        return self.read(self, Path(root).expanduser(), **options)

    def check(self, train: ImageSet, test: ImageSet) -> None:
        """Raise DataDamError unless shape, classes and numbers of images are those stated."""
        stated = (self.shape, self.classes, self.train or len(train), self.test)
        found = (train.shape, len(train.classes), len(train), len(test))
        if test.shape != train.shape or found != stated:
            raise DataDamError(
                f"{self.name} should be {described(*stated)}; found {described(*found)}. "
                "Remove its files from the data folder and get them again."
            )


def described(shape: tuple[int, ...], classes: int, train: int, test: int) -> str:
    """Say what a data set holds."""
    return f"{train:,} training and {test:,} test images of {'x'.join(map(str, shape))} in {classes} classes"


def advice(source: Source, root: Path) -> str:
    """Say what to do where a data set can't be had by itself."""
    where = root.resolve()
    return f"put {source.files} into {where}, or give the path of an ImageFolder directory or zip that you have."


@contextmanager
def arriving(source: Source, root: Path) -> Iterator[None]:
    """Wait for a silent server no longer than `TIMEOUT`, and say in one sentence what to do when it fails.

    Raises: DataDamError for whatever goes wrong inside.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision has no timeout of its own
    try:
        yield
    except Exception as error:  # torchvision, urllib, tarfile and zlib have no common base
        if isinstance(error, HTTPError):
            error.close()  # it is the server's answer too
        reason = " ".join(str(error).split()) or type(error).__name__
        what = f"{source.name} could not be downloaded or read"
        raise DataDamError(f"{what} ({reason}); {advice(source, root)}") from error
    finally:
        socket.setdefaulttimeout(before)


def archive(source: Source, root: Path) -> Path:
    """Return the archive in `root`, downloaded if it isn't there.

    What is cut short or damaged never gets there. Where no checksum is known, the CRC-32 in a .tgz has to do.
    """
    from torchvision.datasets.utils import download_url

    path = root / Path(source.url).name
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=root, prefix=".download-") as folder:
            download_url(source.url, folder, md5=source.md5)
            if source.md5 is None:
                _read_through(Path(folder) / path.name)
            (Path(folder) / path.name).replace(path)
    return path


def unpacked(source: Source, root: Path) -> Path:
    """Return the folder that the archive of that name unpacks to, in `root`; unpack it if it isn't there."""
    from torchvision.datasets.utils import extract_archive

    folder = root / Path(source.url).stem
    if not folder.is_dir():
        packed = archive(source, root)
        with TemporaryDirectory(dir=root, prefix=".unpack-") as fresh:
            extract_archive(packed, fresh)
            (Path(fresh) / folder.name).rename(folder)
    return folder


def drop_cut_short(folder: Path) -> None:
    """Remove files that a killed process was still unpacking: shorter than the .gz beside them says.

    Its last four bytes are the length of what is packed.
    """
    for packed in folder.glob("*.gz"):
        file = packed.with_suffix("")
        if file.exists() and file.stat().st_size != int.from_bytes(packed.read_bytes()[-4:], "little"):
            file.unlink()


def _read_through(packed: Path) -> None:
    """Raise if what is packed does not agree with its CRC-32."""
    with gzip.open(packed) as opened:
        while opened.read(1 << 20):
            pass
