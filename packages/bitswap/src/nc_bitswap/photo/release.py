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
from torch import Tensor, nn

from nc_bitswap.photo.codec import PhotoCodec
from nc_bitswap.photo.lattice import to_planes
from nc_bitswap.photo.model import Architecture, Lattice, PhotoModel
from nc_core.errors import DataError
from nc_core.exact import ExactLayer, Precision, exact_state, load_exact, lower
from nc_core.model_file import ModelFile, write_model_file

__all__ = ["FAMILY", "crops", "load", "lower_model", "main", "read_checkpoint", "write_model"]

FAMILY = "bitswap-photo"
_CROP = 160
_CROPS = 40
# Fractional bits of linear predictors: so their results are exact, not just reproducible.
_PREDICTOR_BITS = 12


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
    model = PhotoModel(architecture_of(config))
    heads = {name: w for name, w in weights.items() if ".colours." in name and ".out." in name}
    model.load_state_dict(weights | {name: _base_two(w) for name, w in heads.items()})
    return model.eval()


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


def round_predictors(model: PhotoModel) -> None:
    """Round linear predictors to a grid on which integers hold them.

    The sum of the weights of each colour is kept, so that flat areas stay predicted.
    """
    with torch.no_grad():
        for layer in _predictors(model):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.copy_(_rounded(layer.weight))
            if layer.bias is not None:
                units = torch.round(torch.ldexp(layer.bias, torch.tensor(_PREDICTOR_BITS)))
                layer.bias.copy_(torch.ldexp(units, torch.tensor(-_PREDICTOR_BITS)))


def write_model(
    path: Path,
    model: PhotoModel,
    images: NDArray[np.uint8],
    *,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> ModelFile:
    """Lower a trained model and write its file.

    Args:
        path: ends in ``.safetensors``.
        model: trained.
        images: for calibration, (n, 3, H, W), sides multiples of 32.
        name: what to call it; by default the file's name.
        info: to keep with it: recipe, steps, licence.

    Raises:
        DataError: the file cannot be written.
    """
    state = exact_state(lower_model(model, images))
    tensors = {key: tensor.numpy() for key, tensor in state.tensors.items()}
    config = {"architecture": asdict(model.architecture), "networks": state.config}
    return write_model_file(path, FAMILY, config, tensors, name=name, info=info)


def load(file: ModelFile) -> PhotoCodec:
    """The lossless model of a model file.

    Raises:
        DataError: it is no model of this family, or made for other tables.
    """
    tensors = {
        key: torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        for key, array in file.tensors().items()
    }
    try:
        skeleton = PhotoModel(architecture_of(file.config["architecture"]))
        exact = load_exact(skeleton, tensors, file.config["networks"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"model '{file.name}': not a model of family '{FAMILY}'") from error
    assert isinstance(exact, PhotoModel)
    return PhotoCodec(file.name, file.id, exact)


def crops(folder: Path, count: int = _CROPS, size: int = _CROP) -> NDArray[np.uint8]:
    """Crops of photographs for calibration, (count, 3, size, size): sharp, smooth and noisy.

    Raises:
        DataError: the folder has no image of that size.
    """
    from PIL import Image

    generator = np.random.default_rng(0)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES)
    found: list[NDArray[np.uint8]] = []
    for path in [paths[k] for k in generator.permutation(len(paths))]:
        with Image.open(path) as image:
            picture = image.convert("RGB")
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
        raise DataError(f"{folder}: no image of {size} x {size} pixels or more")
    return np.stack(found)


_IMAGES = {".png", ".jpg", ".jpeg", ".webp"}


def main(arguments: list[str]) -> int:
    """Write a model file; see the module's text."""
    if len(arguments) != 3:
        sys.stderr.write("usage: python -m nc_bitswap.photo.release CHECKPOINT IMAGES OUT\n")
        return 2
    checkpoint, images, out = map(Path, arguments)
    file = write_model(out, read_checkpoint(checkpoint), crops(images))
    sys.stdout.write(f"{file.id}  {out} ({out.stat().st_size:,} bytes)\n")
    return 0


def _base_two(out: Tensor) -> Tensor:
    """Outputs logits, corrections, logarithms of scales: the first and last third to base 2."""
    logits, corrections, scales = out.chunk(3)
    factor = math.log2(math.e)
    return torch.cat((logits * factor, corrections, scales * factor))


def _finest(model: PhotoModel) -> dict[str, Precision]:
    """Two sets of integer weights for the finest lattice, where most of the bits are."""
    enough = set(_predictors(model)) | set(model.lattice(0).entry)
    return {
        f"lattices.0.{path}": Precision(depth=2)
        for path, layer in model.lattice(0).named_modules()
        if isinstance(layer, nn.Conv2d) and layer not in enough
    }


def _predictors(model: PhotoModel) -> list[nn.Module]:
    found: list[nn.Module] = []
    for lattice in model.lattices:
        assert isinstance(lattice, Lattice)
        found += lattice.linear
        for colours in lattice.colours:
            found += getattr(colours, "crossed", None) or ()
    return found


def _rounded(weight: Tensor) -> Tensor:
    outputs, inputs, size, _ = weight.shape
    colours = 3 if inputs % 3 == 0 else inputs
    units = torch.ldexp(weight.double(), torch.tensor(_PREDICTOR_BITS))
    grouped = units.view(outputs, -1, colours, size, size)
    rounded = grouped.round()
    lost = (grouped.sum((1, 3, 4)) - rounded.sum((1, 3, 4))).round()
    rounded[:, -1, :, size // 2, size // 2] += lost
    return torch.ldexp(rounded, torch.tensor(-_PREDICTOR_BITS)).view(weight.shape).float()


def _check_predictors(lowered: PhotoModel) -> None:
    for layer in _predictors(lowered):
        assert isinstance(layer, ExactLayer)
        if layer.relative_error > 1e-6:
            raise DataError(f"a linear predictor does not fit into integers: {layer}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
