"""The data sets by name: what each one is, how it gets here, and whether what came is all of it."""

import hashlib
from pathlib import Path

from datadam_lite import readers
from datadam_lite.data import ImageSet, load
from datadam_lite.downloads import Source, described

# Means and standard deviations that the field normalises with, from the released code of DM and DataDAM. Those
# of CIFAR-10 are per-image deviations averaged; the deviations of all its pixels are .2470 .2435 .2616.
# For imagenet64, which neither code loads, they are ImageNet's usual ones.
IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FIELD_STATISTICS = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2861,), (0.3530,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tinyimagenet": IMAGENET_STATISTICS,
    "imagenet64": IMAGENET_STATISTICS,
    "imagenette": IMAGENET_STATISTICS,
    "imagewoof": IMAGENET_STATISTICS,
    "imagesquawk": IMAGENET_STATISTICS,
}

_FAST_AI = "https://s3.amazonaws.com/fast-ai-imageclas"
_IMAGENET = "ImageNet's terms, non-commercial"
_SOURCES = (
    Source(
        "digits", "handwritten digits", (1, 8, 8), 10, 1297, 500, "ships with scikit-learn", "none",
        "Alpaydin and Kaynak 1998; CC BY 4.0", readers.digits,
    ),
    Source(
        "cifar10", "small photographs", (3, 32, 32), 10, 50_000, 10_000, "download, md5",
        "cifar-10-python.tar.gz", "Krizhevsky 2009; none stated", readers.cifar,
    ),
    Source(
        "cifar100", "small photographs", (3, 32, 32), 100, 50_000, 10_000, "download, md5",
        "cifar-100-python.tar.gz", "Krizhevsky 2009; none stated", readers.cifar,
    ),
    Source(
        "mnist", "handwritten digits", (1, 28, 28), 10, 60_000, 10_000, "download, md5",
        "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz", "LeCun et al. 1998; CC BY-SA 3.0", readers.mnist,
    ),
    Source(
        "fashion_mnist", "clothes", (1, 28, 28), 10, 60_000, 10_000, "download, md5",
        "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz", "Xiao et al. 2017; MIT", readers.mnist,
    ),
    Source(
        "svhn", "house numbers", (3, 32, 32), 10, 73_257, 26_032, "download, md5",
        "train_32x32.mat and test_32x32.mat", "Netzer et al. 2011; non-commercial", readers.svhn,
    ),
    Source(
        "tinyimagenet", "ImageNet, 200 classes", (3, 64, 64), 200, 100_000, 10_000, "download, md5",
        "tiny-imagenet-200.zip or the folder it unpacks to", f"Le and Yang 2015; {_IMAGENET}", readers.tinyimagenet,
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de",
    ),
    Source(
        "imagenet64", "ImageNet, downsampled", (3, 64, 64), 1000, 1_281_167, 50_000, "by hand",
        "imagenet64/train_data_batch_1 to _10 and imagenet64/val_data (image-net.org, with registration)",
        f"Chrabaszcz et al. 2017; {_IMAGENET}", readers.imagenet64,
    ),
    Source(
        "imagenette", "ImageNet, 10 easy classes", (3, 128, 128), 10, 9469, 3925, "download, md5",
        "imagenette2-160.tgz or the folder it unpacks to", f"Howard 2019; {_IMAGENET}", readers.photographs,
        f"{_FAST_AI}/imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412", resizable=True,  # torchvision's md5
    ),
    Source(
        "imagewoof", "ImageNet, 10 breeds of dog", (3, 128, 128), 10, 9025, 3929, "download, no checksum known",
        "imagewoof2-160.tgz or the folder it unpacks to", f"Howard 2019; {_IMAGENET}", readers.photographs,
        f"{_FAST_AI}/imagewoof2-160.tgz", resizable=True,
    ),
    Source(
        "imagesquawk", "ImageNet, 10 birds", (3, 128, 128), 10, None, 500, "by hand",
        "your ImageNet as imagenet/train/<WordNet id>/<image> and imagenet/val/<WordNet id>/<image>",
        f"Cazenavette et al. 2022; {_IMAGENET}", readers.imagesquawk, resizable=True,
    ),
)  # fmt: skip
DATASETS = {source.name: source for source in _SOURCES}


def listing() -> str:
    """Return the table of data sets, and below it which files each is made of, who made it, and its licence.

    >>> print(listing().splitlines()[0].strip())
    name           pixels     classes      train    test  how it gets here             what it is
    """
    lines = [f"{'name':<15}{'pixels':<11}{'classes':>7}{'train':>11}{'test':>8}  {'how it gets here':<29}what it is"]
    for s in DATASETS.values():
        pixels, train = "x".join(map(str, s.shape)), f"{s.train:,}" if s.train else "?"
        lines.append(f"{s.name:<15}{pixels:<11}{s.classes:>7,}{train:>11}{s.test:>8,}  {s.obtained:<29}{s.what}")
    lines += ["", "files of the data folder, which can also be put there by hand; who made them; licence"]
    for s in DATASETS.values():
        lines += [f"{s.name:<15}{s.files}", f"{'':<15}{s.citation}"]
    return "\n".join(lines)


def verify(name: str | Path, root: str | Path = "data", **options) -> str:
    """Load a data set, by name or path, and report what it holds; options: as in `load`.

    Reports images, class balance, mean and standard deviation of the pixels in units of [0, 1],
    sha256, and how many test images stand, to the pixel, among the training images.

    Raises: DataDamError if it can't be loaded, or is not what the table says.

    >>> print(verify("digits"))  # doctest: +ELLIPSIS
    digits: 1,297 training and 500 test images of 1x8x8 in 10 classes, as it should be
    train    126 to 132 images of a class, ...
    """
    train, test = load(name, root, **options)
    source = DATASETS.get(str(name))
    if source:
        source.check(train, test)
    agrees = ", as it should be" if source else ""
    lines = [f"{train.name}: {described(train.shape, len(train.classes), len(train), len(test))}{agrees}"]
    for label, part in (("train", train), ("test", test)):
        counts = part.labels.bincount(minlength=len(part.classes)).tolist()
        mean, std = (" ".join(f"{v:.4f}" for v in values.tolist()) for values in part.statistics)
        lines.append(f"{label:<9}{min(counts):,} to {max(counts):,} images of a class, mean {mean}, deviation {std}")
        lines.append(f"{'':<9}sha256 {part.sha256}")
    known_prints = set(_prints(train))
    repeated = sum(fingerprint in known_prints for fingerprint in _prints(test))
    return "\n".join([*lines, f"both     {repeated:,} of the test images are training images too"])


def _prints(images: ImageSet) -> list[bytes]:
    return [hashlib.sha256(image.numpy()).digest() for image in images.images.contiguous()]
