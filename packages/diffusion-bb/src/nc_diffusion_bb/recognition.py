"""How a network is built, from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nc_core.errors import DataError
from nc_core.importing import few

__all__ = ["recognised"]

_ENTRY = re.compile(r"input_blocks\.(\d+)\.")
_MOST_ENTRIES = 200


@dataclass(frozen=True)
class _Residual:
    """A residual block on the way down.

    Args:
        outputs: channels.
        injected: channels of the time embedding in it.
        attends: whether attention follows.
    """

    outputs: int
    injected: int
    attends: bool


def recognised(weights: Mapping[str, Tensor], file: str) -> dict[str, Any]:
    """Settings of a network as far as its tensors tell: all but image size, heads and dropout.

    Args:
        weights: of a ``state_dict``, by the original's names.
        file: what errors call it.

    Returns:
        Fields of :class:`nc_diffusion_bb.unet.Architecture`.

    Raises:
        DataError: tensors of something else.
    """
    try:
        width, channels = weights["input_blocks.0.0.weight"].shape[:2]
        outputs = len(weights["out.2.weight"])
        levels, convolution = _levels(weights)
        blocks = {len(level) for level in levels}
        widths = [level[0].outputs for level in levels]
        first = levels[0][0]
        if len(blocks) != 1 or any(size % width for size in widths):
            raise ValueError(widths)
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{file}: not a checkpoint of a diffusion model",
            f"it holds {few(sorted(weights)) or 'nothing'}; those have 'input_blocks.0.0.weight'",
        ) from error
    label = weights.get("label_emb.weight")
    return {
        "in_channels": channels,
        "width": width,
        "out_channels": outputs,
        "blocks": blocks.pop(),
        "attention_factors": tuple(
            1 << number for number, level in enumerate(levels) if level[0].attends
        ),
        "multipliers": tuple(size // width for size in widths),
        "scale_shift": first.injected == 2 * first.outputs,
        "classes": None if label is None else len(label),
        "resample_convolution": convolution,
    }


def _levels(weights: Mapping[str, Tensor]) -> tuple[Sequence[Sequence[_Residual]], bool]:
    """Residual blocks of each level on the way down, and whether convolutions lie between."""
    numbers = [int(match[1]) for key in weights if (match := _ENTRY.match(key))]
    count = 1 + max(numbers)
    if count > _MOST_ENTRIES:
        raise ValueError(count)
    levels: list[list[_Residual]] = [[]]
    convolution = True
    for number in range(1, count):
        entry = f"input_blocks.{number}"
        if f"{entry}.0.out_layers.3.weight" in weights:
            levels[-1].append(
                _Residual(
                    len(weights[f"{entry}.0.out_layers.3.weight"]),
                    len(weights[f"{entry}.0.emb_layers.1.weight"]),
                    f"{entry}.1.qkv.weight" in weights,
                )
            )
            continue
        convolution &= f"{entry}.0.op.weight" in weights
        levels.append([])
    return levels, convolution
