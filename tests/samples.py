"""Small data sets, folders and recipes that the tests are made of."""

import zipfile

import numpy as np
import torch
from PIL import Image

from datadam_lite import ImageSet, recipe


def normal(*shape, seed=0, dtype=torch.float32):
    """Normal numbers from a generator of their own."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def toy(n=8, *, classes=3, shape=(3, 8, 8), seed=0, **options):
    """n noise images of each class, in shuffled order."""
    stream = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat(n)[torch.randperm(classes * n, generator=stream)]
    images = torch.randint(0, 256, (classes * n, *shape), generator=stream, dtype=torch.uint8)
    return ImageSet(images, labels, tuple(f"class {k}" for k in range(classes)), "toy", **options)


def small(method="datadam", **changes):
    """A recipe that takes milliseconds."""
    return recipe(method, **{"width": 4, "real_batch": 4, "iterations": 3, "image_lr": 0.1} | changes)


def image_folder(path, *, splits=("train", "test"), classes=("cat", "dog"), n=3, size=(8, 6), mode="RGB"):
    """Write n noise PNGs of every class, size = (width, height); return the folder."""
    noise = np.random.default_rng(0)
    for split in splits:
        for name in classes:
            folder = path / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / f"{i}.png")
    return path


def zipped(folder, path, *, top="", compression=zipfile.ZIP_STORED):
    """Pack the files of a folder into a zip, under the folder `top`; return the zip."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(folder).as_posix())
    return path


def contents(folder):
    """{name: bytes} of all files in a folder: what must not change when something fails."""
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
