"""Model files: from a trained checkpoint to what a decoder needs, and back.

    python -m nc_bitswap.photo.release CHECKPOINT IMAGES OUT

writes the model file OUT (such as ``src/nc_bitswap/pretrained/bitswap-photo.safetensors``) of a
trained CHECKPOINT, a ``.safetensors`` file with the float weights and, under the metadata key
``config``, the sizes of the networks. IMAGES is a folder of photographs, at least 160 pixels high
and wide, to calibrate with. The id that it prints goes into ``plugin.py``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from nc_bitswap.photo.codec import PhotoCodec
from nc_bitswap.photo.data import Photographs
from nc_bitswap.photo.lattice import to_planes
from nc_bitswap.photo.model import Architecture, PhotoModel
from nc_bitswap.photo.predictors import predictors, round_predictors
from nc_core.datasets.folder import ImageFiles
from nc_core.errors import DataError
from nc_core.exact import ExactLayer, Precision, lower
from nc_core.images import image_files
from nc_core.model_file import ModelFile, write_model_file
from nc_core.models import find_model_file, installed
from nc_core.network_files import load_networks, load_weights, network_tensors, refusing

__all__ = [
    "FAMILY",
    "architecture_of",
    "crops",
    "float_model",
    "initial_model",
    "load",
    "lower_model",
    "main",
    "read_checkpoint",
    "write_model",
]

FAMILY = "bitswap-photo"
_NETWORKS = ""  # a file of this family holds nothing else
_CROP = 160
_CROPS = 40


def read_checkpoint(path: Path) -> PhotoModel:
    """The trained model of a checkpoint, whose logits and scales are natural logarithms.

    Raises:
        DataError: missing, or no checkpoint of this model.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: no checkpoint of {FAMILY} ({error})") from error
    heads = {name: w for name, w in weights.items() if ".colours." in name and ".out." in name}
    try:
        model = PhotoModel(architecture_of(config))
        model.load_state_dict(weights | {name: _base_two(w) for name, w in heads.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: weights do not fit a model of {FAMILY}") from error
    return model.eval()


def initial_model(name: str) -> PhotoModel:
    """A trained model to go on with, in floating point.

    Args:
        name: a model file, a run directory, or a checkpoint as :func:`read_checkpoint` takes it.

    Raises:
        DataError, PluginError: there is none, or one that holds integers only.
    """
    path = Path(name)
    if path.is_file() and _is_checkpoint(path):
        return read_checkpoint(path)
    return float_model(find_model_file(name, installed())[1])


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Sizes of networks from JSON, in which tuples are lists."""
    return Architecture(**{**config, "widths": tuple(config["widths"])})


def lower_model(model: PhotoModel, images: NDArray[np.uint8]) -> PhotoModel:
    """The model in exact arithmetic: its heads return integers.

    Args:
        model: trained; not changed, but for the rounding of its linear predictors.
        images: for calibration, (n, 3, H, W), sides multiples of 32.
    """
    round_predictors(model)
    planes = to_planes(images).to(torch.int16)

    def calibrate(module: nn.Module) -> None:
        module(planes, torch.Generator().manual_seed(0))

    lowered = lower(model, calibrate, layers=_finest(model))
    assert isinstance(lowered, PhotoModel)
    _check_predictors(lowered)
    return lowered


def write_model(
    path: Path,
    model: PhotoModel,
    images: NDArray[np.uint8],
    *,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
    keep_floats: bool = False,
) -> ModelFile:
    """Lower a trained model and write its file.

    Args:
        path: ends in ``.safetensors``.
        model: trained; not changed, but for the rounding of its linear predictors.
        images: for calibration, (n, 3, H, W), sides multiples of 32.
        name: what to call it; by default the file's name.
        info: to keep with it: recipe, steps, licence.
        keep_floats: whether the weights that training needs go into the file too.

    Raises:
        DataError: the file cannot be written.
    """
    tensors, networks = network_tensors(
        lower_model(model, images), model if keep_floats else None, _NETWORKS
    )
    config = {"architecture": asdict(model.architecture), "networks": networks}
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> PhotoCodec:
    """The lossless model of a model file.

    Raises:
        DataError: it is no model of this family, or made for other tables.
    """
    with refusing(file, FAMILY):
        networks = load_networks(file, PhotoModel, _build, _NETWORKS)
    return PhotoCodec(file.name, file.id, networks)


def float_model(file: ModelFile) -> PhotoModel:
    """The model in floating point, for training on.

    Raises:
        DataError: it is of another family, or the file holds integers only.
    """
    return load_weights(file, FAMILY, PhotoModel, _build)


def crops(photographs: Photographs, count: int = _CROPS, size: int = _CROP) -> NDArray[np.uint8]:
    """Crops of photographs for calibration, (count, 3, size, size): sharp, smooth and noisy.

    Raises:
        DataError: none has that size.
    """
    generator = np.random.default_rng(0)
    found: list[NDArray[np.uint8]] = []
    for index in generator.permutation(len(photographs)):
        picture = photographs.picture(int(index))
        if min(picture.size) < size:
            continue
        left, top = (int(generator.integers(side - size + 1)) for side in picture.size)
        kind = len(found) % 4
        span = size if kind < 2 else size * 5 // 8
        box = (left, top, left + span, top + span)
        pixels = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box))
        if kind in (1, 3):
            noise = generator.normal(0, 2, pixels.shape)
            pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
        found.append(pixels.transpose(2, 0, 1))
        if len(found) == count:
            break
    if not found:
        raise DataError(
            f"{photographs.name}: no image of {size} x {size} pixels or more",
            "the integer networks are calibrated on crops of that size",
        )
    return np.stack(found)


def main(arguments: list[str]) -> int:
    """Write a model file; see the module's text."""
    if len(arguments) != 3:
        sys.stderr.write("usage: python -m nc_bitswap.photo.release CHECKPOINT IMAGES OUT\n")
        return 2
    checkpoint, images, out = map(Path, arguments)
    photographs = Photographs(ImageFiles(str(images), image_files(images)))
    file = write_model(out, read_checkpoint(checkpoint), crops(photographs))
    sys.stdout.write(f"{file.id}  {out} ({out.stat().st_size:,} bytes)\n")
    return 0


def _build(architecture: Mapping[str, Any]) -> PhotoModel:
    return PhotoModel(architecture_of(architecture))


def _is_checkpoint(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return "config" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _base_two(out: Tensor) -> Tensor:
    """Outputs logits, corrections, logarithms of scales: the first and last third to base 2."""
    logits, corrections, scales = out.chunk(3)
    factor = math.log2(math.e)
    return torch.cat((logits * factor, corrections, scales * factor))


def _finest(model: PhotoModel) -> dict[str, Precision]:
    """Two sets of integer weights for the finest lattice, where most of the bits are."""
    enough = {*predictors(model), *model.lattice(0).entry}
    return {
        f"lattices.0.{path}": Precision(depth=2)
        for path, layer in model.lattice(0).named_modules()
        if isinstance(layer, nn.Conv2d) and layer not in enough
    }


def _check_predictors(lowered: PhotoModel) -> None:
    for layer in predictors(lowered):
        assert isinstance(layer, ExactLayer)
        if layer.relative_error > 1e-6:
            raise DataError(f"a linear predictor does not fit into integers: {layer}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
