"""What core itself provides, through the same hooks as everybody else."""

from __future__ import annotations

from collections.abc import Iterable

from nc_core.datasets.official import CIFAR10_FILES, KODAK_FILES, MNIST_FILES
from nc_core.evaluators.metrics import CLASSICAL_METRICS, RATE_METRICS
from nc_core.hookspecs import hookimpl
from nc_core.specs import (
    CoderSpec,
    DatasetSpec,
    EvaluatorSpec,
    ModelSpec,
    Pretrained,
    Reference,
    Requirement,
)

_DUDA = Reference("J. Duda", "Asymmetric numeral systems", "1311.2540")
_CODERS = (
    CoderSpec(
        name="rans",
        summary="range variant of asymmetric numeral systems, compiled; the default",
        target="nc_core.ans.rans:Rans",
        reference=_DUDA,
    ),
    CoderSpec(
        name="rans-numpy",
        summary="the same words as rans from plain NumPy: slow, and easy to read",
        target="nc_core.ans.rans_numpy:RansNumpy",
        reference=_DUDA,
    ),
    CoderSpec(
        name="craystack",
        summary="the same words again from the craystack library, where it is installed",
        target="nc_core.ans.craystack_adapter:CraystackCoder",
        requires=(
            Requirement(
                "craystack",
                "autograd scipy, then craystack from its repository (github.com/j-towns/craystack)",
            ),
        ),
        reference=Reference(
            "J. Townsend, T. Bird, J. Kunze, D. Barber",
            "HiLLoC: Lossless Image Compression with Hierarchical Latent Variable Models",
            "1912.09953",
        ),
    ),
)

_MODELS = (
    ModelSpec(
        name="predictive",
        summary="lossless images of any size by context prediction; no network, no training",
        target="nc_core.predictive.model:load",
        abilities=("lossless-model",),
        pretrained=(
            Pretrained(
                name="predictive",
                summary="1 to 4 channels, 8 or 16 bits, any size",
                id="72eaad179c0d9f9df90d83aa9959eac5c0b1663e962b7190fcf4b1a040c20506",
            ),
        ),
    ),
)

_IMAGENET_PAGE = "https://image-net.org/download-images"
_IMAGENET_LICENCE = "ImageNet's terms: research and education, not for commerce"
_DOWNSAMPLED_IMAGENET = Reference(
    "P. Chrabaszcz, I. Loshchilov, F. Hutter",
    "A Downsampled Variant of ImageNet as an Alternative to the CIFAR datasets",
    "1707.08819",
)
_DATASETS = (
    DatasetSpec(
        name="mnist",
        summary="handwritten digits, 28x28 grey, 60000 train and 10000 test",
        target="nc_core.datasets.mnist:open_mnist",
        reference=Reference(
            "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner",
            "Gradient-based learning applied to document recognition",
        ),
        splits=("train", "test"),
        options={
            "binarize": "threshold (x >= 128) or random (Bernoulli of x / 255); "
            "default: grey values as they are",
            "seed": "seed of binarize=random, an integer; default 0",
        },
        licence="none stated with the files",
        files=MNIST_FILES,
    ),
    DatasetSpec(
        name="kodak",
        summary="24 photographs, 768x512 RGB; for evaluation only, never for training",
        target="nc_core.datasets.kodak:open_kodak",
        splits=("test",),
        licence="released by Kodak for unrestricted usage",
        files=KODAK_FILES,
    ),
    DatasetSpec(
        name="cifar10",
        summary="objects of ten kinds, 32x32 RGB, 50000 train and 10000 test",
        target="nc_core.datasets.cifar10:open_cifar10",
        reference=Reference(
            "A. Krizhevsky", "Learning Multiple Layers of Features from Tiny Images"
        ),
        splits=("train", "test"),
        licence="none stated with the files",
        files=CIFAR10_FILES,
        converter="nc_core.datasets.cifar10:read_cifar10",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    DatasetSpec(
        name="imagenet32",
        summary="ImageNet at 32x32 RGB, 1281167 train and 50000 test (its validation set)",
        target="nc_core.datasets.downsampled_imagenet:open_imagenet32",
        reference=_DOWNSAMPLED_IMAGENET,
        splits=("train", "test"),
        licence=_IMAGENET_LICENCE,
        converter="nc_core.datasets.downsampled_imagenet:read_imagenet32",
        homepage=_IMAGENET_PAGE,
    ),
    DatasetSpec(
        name="imagenet64",
        summary="ImageNet at 64x64 RGB, 1281167 train and 50000 test (its validation set)",
        target="nc_core.datasets.downsampled_imagenet:open_imagenet64",
        reference=_DOWNSAMPLED_IMAGENET,
        splits=("train", "test"),
        licence=_IMAGENET_LICENCE,
        converter="nc_core.datasets.downsampled_imagenet:read_imagenet64",
        homepage=_IMAGENET_PAGE,
    ),
    DatasetSpec(
        name="crops",
        summary="random square crops of a folder's images, 32x32 RGB (crops:/photos?size=32)",
        target="nc_core.datasets.crops:open_crops",
        takes_path=True,
        options={
            "size": "height and width of the crops, 1 to 16384; default 32",
            "seed": "seed of the crops, an integer; default 0",
            "count": "how many crops, or endless; default: one of every image",
        },
        licence="the user's own",
    ),
    DatasetSpec(
        name="folder",
        summary="the images of a folder, sorted by name (folder:/photos)",
        target="nc_core.datasets.folder:open_folder",
        takes_path=True,
        licence="the user's own",
    ),
    DatasetSpec(
        name="npy",
        summary="the rows of a NumPy array in a file (npy:/x.npy)",
        target="nc_core.datasets.arrays:open_npy",
        takes_path=True,
        options={"layout": "hw, hwc, chw or none; default: guessed from the shape"},
        licence="the user's own",
    ),
    DatasetSpec(
        name="npz",
        summary="the rows of one array in a NumPy archive (npz:/x.npz?key=data)",
        target="nc_core.datasets.arrays:open_npz",
        takes_path=True,
        options={
            "key": "name of the array; default: the only one, or the one named data, images or x",
            "layout": "hw, hwc, chw or none; default: guessed from the shape",
        },
        licence="the user's own",
    ),
)

_EVALUATORS = (
    EvaluatorSpec(
        name="rate",
        summary="bits of a real file that the model writes, decoded and compared",
        target="nc_core.evaluators.rate:evaluate_rate",
        needs=("lossless-model",),
        metrics=RATE_METRICS,
    ),
    EvaluatorSpec(
        name="classical",
        summary="classical lossless codecs on the same data: gzip to JPEG XL",
        target="nc_core.evaluators.classical:evaluate_classical",
        # each metric once per codec, as CODEC.METRIC (png.bits_per_dim)
        metrics=CLASSICAL_METRICS,
    ),
)


@hookimpl
def nc_coders() -> Iterable[CoderSpec]:
    """Two implementations of rANS with the same bits, and an adapter."""
    return _CODERS


@hookimpl
def nc_datasets() -> Iterable[DatasetSpec]:
    """Official test sets and the user's own files."""
    return _DATASETS


@hookimpl
def nc_evaluators() -> Iterable[EvaluatorSpec]:
    """Measured rates, and classical codecs to compare with."""
    return _EVALUATORS


@hookimpl
def nc_models() -> Iterable[ModelSpec]:
    """The predictive codec."""
    return _MODELS
