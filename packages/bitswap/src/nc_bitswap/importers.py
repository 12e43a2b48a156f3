"""Checkpoints of the original implementation (``fhkingma/bitswap``).

They are ``state_dict`` pickles named ``nz{levels}``; their keys and shapes say which model they
belong to. Bins of the latents are not in them: they come from the original's bin files, or are
derived again from training images.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_bitswap.bbans import model as bbans
from nc_bitswap.data import ModelImages
from nc_bitswap.discretization import SAMPLES_PER_BIN, LatentBins, find_bins, uniform_edges
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_bitswap.release import write_model
from nc_core.errors import DataError
from nc_core.frame import Padding
from nc_core.importing import differences, few, load_pickle, read_state_dict
from nc_core.model_file import ModelFile
from nc_core.network_files import without_memory
from nc_core.protocols import Dataset

__all__ = [
    "BITS",
    "architecture_of",
    "data_of",
    "describe",
    "import_bins",
    "import_checkpoint",
    "model_of",
    "read_bins",
    "write_imported",
    "write_imported_vae",
]

BITS = 10
"""log2 of the bins of a latent, where nothing else is said."""

_LAYER = re.compile(r"(infer_res0|infer_res1|deepinfer_res)\..*\.res(\d+)layer(\d+)\.conv1\.v")
_IMAGE_SIDE = 32


def import_checkpoint(path: Path) -> HierarchicalVAE:
    """The model of an original checkpoint (a pickle, or the same tensors as ``.safetensors``).

    Raises:
        DataError: unreadable, or not a checkpoint of this model family; the message says how it
            differs.
    """
    return model_of(read_state_dict(path), str(path))


def model_of(weights: Mapping[str, Tensor], file: str) -> HierarchicalVAE:
    """The model that a ``state_dict`` belongs to, with its weights.

    Raises:
        DataError: as :func:`import_checkpoint`.
    """
    shape = architecture_of(weights, file)
    model = without_memory(lambda: HierarchicalVAE(shape))
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    if expected != found:
        raise DataError(f"{file}: taken for {describe(shape)}, it {differences(expected, found)}")
    model.load_state_dict({key: value.clone() for key, value in weights.items()}, assign=True)
    return model.eval()


def describe(shape: Architecture | bbans.Architecture) -> str:
    """What a model is, in the words of its paper: ``MNIST, nz 2, width 63, ...``."""
    if isinstance(shape, bbans.Architecture):
        return f"a {shape.likelihood} VAE of BB-ANS, {shape.latents} latents, hidden {shape.hidden}"
    if shape.channels == 1:
        data = "MNIST"
    else:
        data = "ImageNet crop" if shape.conditional_scale else "CIFAR-10 or ImageNet 32x32"
    return (
        f"{data}, nz {shape.levels}, width {shape.hidden}, zchannels {shape.latent_channels}, "
        f"nprocessing {shape.processing}, blocks {shape.blocks}"
    )


def data_of(shape: Architecture | bbans.Architecture) -> tuple[str | None, Padding]:
    """The training data of a model's kind (None where users have their own), and its padding."""
    if isinstance(shape, bbans.Architecture):
        binary = shape.likelihood == "bernoulli"
        return "mnist:train?binarize=random" if binary else "mnist:train", "zero"
    if shape.channels == 1:
        return "mnist:train", "zero"
    return None if shape.conditional_scale else "cifar10:train", "edge"


def architecture_of(weights: Mapping[str, Tensor], file: str) -> Architecture:
    """The shape of the model that a ``state_dict`` belongs to.

    Raises:
        DataError: none that this package knows.
    """
    try:
        hidden, squeezed = weights["infer_in.1.v"].shape[:2]
        latent_channels, _, kernel_size = weights["infer_mu.v"].shape[:3]
        constant = weights.get("gen_std")
        sides = (_IMAGE_SIDE, _IMAGE_SIDE) if constant is None else tuple(constant.shape[1:])
        height, width = sides
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{file}: not a checkpoint of Bit-Swap or BB-ANS",
            f"it holds {few(sorted(weights)) or 'nothing'}; those of Bit-Swap have 'infer_in.1.v'",
        ) from error
    layers = [match for key in weights if (match := _LAYER.fullmatch(key))]
    levels = 1 + len([key for key in weights if re.fullmatch(r"deepinfer_mu\.\d+\.0\.v", key)])
    processing = sum(match[1] == "infer_res0" for match in layers)
    try:
        return Architecture(
            channels=squeezed // 4,
            height=height,
            width=width,
            levels=levels,
            latent_channels=latent_channels,
            hidden=hidden,
            processing=processing,
            blocks=len(layers) - processing,
            kernel_size=kernel_size,
            conditional_scale=constant is None,
        )
    except ValueError as error:
        raise DataError(f"{file}: not a checkpoint of Bit-Swap: {error}") from error


def write_imported(
    path: Path,
    model: HierarchicalVAE,
    data: Dataset,
    *,
    bins: LatentBins | None = None,
    bits: int = BITS,
    padding: Padding = "zero",
    seed: int = 0,
    source: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> ModelFile:
    """Lower an imported model and write its file.

    Args:
        path: ends in ``.safetensors``.
        model: real-valued.
        data: training images, to calibrate on and to derive bins from.
        bins: of its latents; None to derive them.
        bits: log2 of the number of derived bins.
        padding: what surrounds images that are smaller than the model's.
        seed: of the latents that bins are derived from.
        source: name of the checkpoint, for the record.
        progress: called with (latents drawn, latents in all).

    Raises:
        DataError: images that the model does not take, or a file that cannot be written.
    """
    images = ModelImages(data, model.architecture.image_shape, padding)
    origin = "imported"
    if bins is None:
        origin = "derived"
        generator = torch.Generator().manual_seed(seed)
        bins = find_bins(
            model, images.first(SAMPLES_PER_BIN << bits), bits,
            generator=generator, progress=progress,
        )  # fmt: skip
    info = {"imported": source, "data": data.name, "bins": origin}
    return write_model(path, model, bins, images.first(64), padding=padding, info=info)


def write_imported_vae(
    path: Path, vae: bbans.Vae, data: Dataset, *, bits: int | None = None, source: str = ""
) -> ModelFile:
    """The same for a VAE of BB-ANS, whose bins follow from its prior.

    Raises:
        DataError: as :func:`write_imported`.
    """
    from nc_bitswap.bbans import release
    from nc_bitswap.bbans.data import VaeImages

    images = VaeImages(data, vae.architecture).first(release.CALIBRATION_IMAGES)
    bits = release.BIN_BITS if bits is None else bits
    info = {"imported": source, "data": data.name, "bins": "of the prior"}
    return release.write_model(path, vae, images, bin_bits=bits, info=info)


def read_bins(edges: Path, centres: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The original's ``..._zendpoints{q}.pt`` and ``..._zcentres{q}.pt``.

    Returns:
        Inner edges, float64 (levels, dims, 2 ** q - 1), and centres, (levels, dims, 2 ** q).

    Raises:
        DataError: unreadable, or not of such shapes.
    """
    tables = _tensor(edges), _tensor(centres)
    levels, dims, size = tables[1].shape if tables[1].ndim == 3 else (0, 0, 0)
    if (
        size < 4
        or size != 1 << (size.bit_length() - 1)
        or tables[0].shape != (levels, dims, size - 1)
    ):
        raise DataError(f"{edges}, {centres}: not the bins of one model")
    return tables


def import_bins(edges: Path, centres: Path, shape: Architecture) -> LatentBins:
    """The original's bins for a model.

    Levels below the top have bins of equal width, of which two numbers are kept; if not, tables.

    Raises:
        DataError: unreadable, or not of the shapes (levels, dims, 2^q - 1) and (levels, dims, 2^q).
    """
    tables = read_bins(edges, centres)
    levels, dims, size = tables[1].shape
    expected = shape.levels, math.prod(shape.latent_shape)
    if (levels, dims) != expected:
        raise DataError(
            f"{centres}: bins of {levels} levels of {dims} latents; "
            f"the checkpoint has {expected[0]} of {expected[1]}"
        )
    bits = size.bit_length() - 1
    lower = [(tables[0][level], tables[1][level]) for level in range(levels - 1)]
    extremes = [_extremes(*pair) for pair in lower]
    known = [pair for pair in extremes if pair is not None]
    if len(known) == len(lower):
        return LatentBins.from_extremes(bits, known, dims)
    return LatentBins.from_edges(bits, lower, dims)


def _extremes(
    edges: NDArray[np.float64], centres: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Outer ends (low, high) of bins of equal width; None for other bins."""
    size = centres.shape[1]
    widths = (edges[:, -1] - edges[:, 0]) / (size - 2)
    low, high = edges[:, 0] - widths, edges[:, -1] + widths
    near = 1e-6 * widths.max()
    equal = [
        np.allclose(expected, found, rtol=0, atol=near)
        for expected, found in zip(
            uniform_edges(low, high, size.bit_length() - 1), (edges, centres), strict=True
        )
    ]
    return (low, high) if all(equal) else None


def _tensor(path: Path) -> NDArray[np.float64]:
    loaded = load_pickle(path)
    if not isinstance(loaded, Tensor):
        raise DataError(f"{path}: holds no tensor")
    return loaded.detach().double().numpy()
