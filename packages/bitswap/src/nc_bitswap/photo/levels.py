"""The levels of the model as parts that are trained on their own: lattices, and the base.

No part's bits depend on another's weights, so each has its own crops, optimiser and limit of the
gradient, and is updated every few steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Adam

from nc_bitswap.photo.config import PhotoConfig
from nc_bitswap.photo.model import PhotoModel
from nc_core.errors import WorkError

__all__ = ["BaseLoss", "LatticeLoss", "Level", "Levels", "levels_of"]

_BETAS = (0.9, 0.99)
# Single batches may have a gradient beyond float32; a row of them is divergence.
_MOST_SKIPPED = 20


class LatticeLoss(nn.Module):
    """Bits per coded sample of a lattice, as a function of its planes (B, 3, H, W)."""

    def __init__(self, model: PhotoModel, level: int) -> None:
        super().__init__()
        self.lattice = model.lattice(level)
        self._bits = model.lattice_bits
        self._level = level

    def forward(self, planes: Tensor) -> Tensor:
        """A scalar."""
        coded = planes.numel() * 3 // 4  # a quarter is known from the coarser lattice
        return self._bits(self._level, planes).sum() / coded


class BaseLoss(nn.Module):
    """Bits per sample of the base, as a function of its planes (B, 3, H, W)."""

    def __init__(self, model: PhotoModel) -> None:
        super().__init__()
        self.base = model.base
        self._bits = model.base_bits

    def forward(self, planes: Tensor) -> Tensor:
        """A scalar; latents are drawn with torch's own generator."""
        return self._bits(planes).sum() / planes.numel()


@dataclass(frozen=True)
class Level:
    """How a level is trained.

    Args:
        name: ``lattice0``, ``lattice1``, ..., ``base``.
        crop: side of its crops in pixels of the image.
        stride: of its pixels in the image.
        count: crops per update, of all processes together.
        every: steps between two updates.
        rate: peak of its learning rate.
        clip_norm: largest norm of its gradient.
        share: of the image's samples that it codes.
    """

    name: str
    crop: int
    stride: int
    count: int
    every: int
    rate: float
    clip_norm: float
    share: float

    def is_due(self, k: int) -> bool:
        """Whether step k updates it."""
        return k % self.every == 0


def levels_of(config: PhotoConfig) -> list[Level]:
    """Lattices from fine to coarse, and the base."""
    lattices, base, rates = config.lattices, config.base, config.learning_rate
    found = [
        Level(
            f"lattice{level}", crop, 1 << level, config.training.batch_size, every,
            rates.lattices, lattices.clip_norm, 0.75 / 4**level,
        )
        for level, (crop, every) in enumerate(zip(lattices.crop, lattices.every, strict=True))
    ]  # fmt: skip
    depth = len(found)
    last = Level(
        "base", base.crop, 1 << depth, base.batch_size, base.every,
        rates.base, base.clip_norm, 1 / 4**depth,
    )  # fmt: skip
    return [*found, last]


class Levels:
    """All levels of a model on their device, with their optimisers.

    Args:
        model: what is trained, where it is to be trained.
        levels: as :func:`levels_of` gives them.
        fabric: device and processes.
    """

    def __init__(self, model: PhotoModel, levels: list[Level], fabric: Fabric) -> None:
        self._fabric = fabric
        losses: list[nn.Module] = [LatticeLoss(model, level) for level in range(model.levels)]
        losses.append(BaseLoss(model))
        self._trained = [
            _trained(level, loss, fabric) for level, loss in zip(levels, losses, strict=True)
        ]

    def update(self, batch: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
        """Update the levels of which there is a batch.

        Args:
            batch: planes by the level's name.
            factor: of the peaks of the learning rates.

        Returns:
            By name: the level's bits per sample of the image, the norm of its gradient, and
            ``loss``, whose mean over steps is that of all levels' bits per sample of the image.

        Raises:
            WorkError: too many gradients in a row were not finite.
        """
        values: dict[str, Tensor] = {"loss": torch.zeros((), device=self._fabric.device)}
        for trained in self._trained:
            level = trained.level
            if level.name not in batch:
                continue
            loss, norm = self._step(trained, batch[level.name], factor)
            if loss is not None:
                bits = loss.detach() * level.share
                values[level.name] = bits
                values[f"{level.name}/gradient_norm"] = norm
                values["loss"] = values["loss"] + level.every * bits
        return values

    def state_dict(self) -> dict[str, Any]:
        """Optimisers, and how many updates in a row were skipped, by name."""
        return {
            trained.level.name: {
                "optimizer": trained.optimizer.state_dict(),
                "skipped": trained.skipped,
            }
            for trained in self._trained
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        for trained in self._trained:
            saved = state[trained.level.name]
            trained.optimizer.load_state_dict(saved["optimizer"])
            trained.skipped = saved["skipped"]

    def _step(
        self, trained: _Trained, planes: Tensor, factor: float
    ) -> tuple[Tensor | None, Tensor]:
        """The loss before the update and the norm of the gradient; no loss where it is skipped."""
        trained.optimizer.zero_grad(set_to_none=True)
        loss: Tensor = trained.loss(planes)
        self._fabric.backward(loss)
        norm = self._fabric.clip_gradients(
            trained.loss,
            trained.optimizer,
            max_norm=trained.level.clip_norm,
            error_if_nonfinite=False,
        )
        assert norm is not None
        if not bool(torch.isfinite(norm)):  # the same in every process, as the gradient is
            trained.skipped += 1
            if trained.skipped == _MOST_SKIPPED:
                raise WorkError(
                    f"{trained.level.name}: its gradient is no longer finite",
                    "lower learning_rate.lattices or learning_rate.base",
                )
            return None, norm
        trained.skipped = 0
        for group in trained.optimizer.param_groups:
            group["lr"] = trained.level.rate * factor
        trained.optimizer.step()
        return loss, norm


@dataclass
class _Trained:
    level: Level
    loss: Any
    optimizer: Any
    skipped: int = 0


def _trained(level: Level, loss: nn.Module, fabric: Fabric) -> _Trained:
    trainable = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    return _Trained(level, *fabric.setup(loss, Adam(trainable, lr=level.rate, betas=_BETAS)))
