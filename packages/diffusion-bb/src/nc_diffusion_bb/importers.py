"""Checkpoints of the original implementation (``openai/improved-diffusion``), and back to them.

They are ``state_dict`` files of the network alone. Names and shapes of the tensors say how it is
built; heads of the attention, the noise schedule and its steps are in no tensor, and come from a
recipe, from a description in the original's words, or from a published file's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nc_core.config import load_config
from nc_core.errors import DataError, UsageError
from nc_core.files import atomic_write
from nc_core.importing import differences, few
from nc_core.network_files import without_memory
from nc_diffusion_bb.config import DiffusionConfig, ModelConfig, TrainConfig
from nc_diffusion_bb.networks import architecture_of
from nc_diffusion_bb.unet import Architecture, UNet

__all__ = [
    "PUBLISHED_FILES",
    "Description",
    "build_network",
    "describe",
    "described_by_recipe",
    "export_weights",
    "fitting_recipe",
]

PUBLISHED_FILES = {
    "cifar10_uncond_vlb_50M_500K.pt": "cifar10-vlb",
    "cifar_vlb.pt": "cifar10-vlb",
    "imagenet64_uncond_vlb_100M_1500K.pt": "imagenet64-vlb",
    "imagenet_vlb.pt": "imagenet64-vlb",
}
"""Recipes of checkpoints that are published, by file name: that of their authors, and the one that
the original's instructions save them under."""

_PACKAGE = "nc_diffusion_bb"
_RECOGNISED_RECIPES = ("cifar10-vlb", "imagenet64-vlb", "mnist16-hybrid")
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Description:
    """What a checkpoint's network is.

    Args:
        model: its shape.
        diffusion: what its outputs mean.
        recipe: that says so; None where a description does.
    """

    model: ModelConfig
    diffusion: DiffusionConfig
    recipe: str | None = None

    @property
    def architecture(self) -> Architecture:
        """The network's shape.

        Raises:
            UsageError: there is no such network.
        """
        return architecture_of(self.model, learn_sigma=self.diffusion.learn_sigma)


def described_by_recipe(recipe: str, settings: tuple[str, ...] = ()) -> Description:
    """The model of a recipe.

    Args:
        recipe: name, or the path of a YAML file.
        settings: changes, as ``--set`` takes them.

    Raises:
        UsageError, DataError: no such recipe or setting.
    """
    config = load_config(TrainConfig, recipe, package=_PACKAGE, settings=settings)
    return Description(config.model, config.diffusion, recipe)


def fitting_recipe(weights: Mapping[str, Tensor]) -> str | None:
    """A recipe of a well-known model with just these tensors; None without one."""
    found = _shapes(weights)
    for name in _RECOGNISED_RECIPES:
        if _expected(described_by_recipe(name).architecture) == found:
            return name
    return None


def build_network(weights: Mapping[str, Tensor], description: Description, file: str) -> UNet:
    """The network of a description with a checkpoint's weights.

    Args:
        weights: by the original's names, float32; they become the network's own.
        description: says which network.
        file: what errors call the checkpoint.

    Raises:
        UsageError: there is no such network.
        DataError: tensors are missing, unknown, of other shapes, or not finite; the message
            names some.
    """
    shape = description.architecture
    found = _shapes(weights)
    expected = _expected(shape)
    if expected != found:
        keys = expected.keys() | found.keys()
        differing = sum(expected.get(key) != found.get(key) for key in keys)
        raise DataError(
            f"{file}: taken for {describe(shape)}: {differences(expected, found)}",
            f"{differing:,} of {len(keys):,} tensors differ; --recipe or --config names another "
            "network",
        )
    wild = [key for key, value in weights.items() if not bool(torch.isfinite(value).all())]
    if wild:
        raise DataError(f"{file}: values that are not finite in {few(wild)}")
    network = without_memory(lambda: UNet(shape))
    network.load_state_dict({k: v.contiguous() for k, v in weights.items()}, assign=True)
    return network.eval()


def export_weights(path: Path, network: UNet, *, force: bool = False) -> None:
    """Write a network's weights under the original's names, float32.

    Args:
        path: ends in ``.pt``, for what ``torch.save`` makes of a ``state_dict``, or in
            ``.safetensors``.
        network: real-valued.
        force: replace a file that is there.

    Raises:
        UsageError: another ending.
        DataError: the file cannot be written.
    """
    weights = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    if path.suffix not in {".pt", ".safetensors"}:
        raise UsageError(f"{path}: a checkpoint's name ends in .pt or .safetensors")
    with atomic_write(path, force=force) as file:
        if path.suffix == ".pt":
            torch.save(weights, file)
        else:
            from safetensors.torch import save

            file.write(save(weights))


def describe(shape: Architecture) -> str:
    """What a network is, in a few words: ``a network of 3x32x32 images, width 128, ...``."""
    classes = "" if shape.classes is None else f", {shape.classes:,} classes"
    return (
        f"a network of {shape.in_channels}x{shape.image_size}x{shape.image_size} images, width "
        f"{shape.width} times {','.join(map(str, shape.multipliers))}, {shape.blocks} blocks, "
        f"attention at {','.join(map(str, shape.attention_factors)) or 'none'}, {shape.heads} "
        f"heads{classes}"
    )


def _expected(shape: Architecture) -> Shapes:
    return _shapes(without_memory(lambda: UNet(shape)).state_dict())


def _shapes(weights: Mapping[str, Tensor]) -> Shapes:
    return {key: tuple(value.shape) for key, value in weights.items()}
