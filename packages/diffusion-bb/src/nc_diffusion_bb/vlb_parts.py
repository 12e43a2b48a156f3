"""The bound of batches of images, each of which may be kept in a file, finished or not.

A file holds the terms of the steps that are evaluated, or what results are made of when all are.
What is unfinished is kept at most half a minute back, but for a step of a batch that takes longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_core.training.checkpoint import load_checkpoint, save_checkpoint
from nc_diffusion_bb.diffusion import GaussianDiffusion, Network
from nc_diffusion_bb.unet import UNet
from nc_diffusion_bb.vlb import TERMS, NoiseStream, Spread, StepNoise, Terms, fill_terms, placed

__all__ = ["Batch", "Part", "bound_of", "evaluate_part", "load_part"]

_SAVE_SECONDS = 30.0

Batch = tuple[NDArray[np.uint8], NDArray[np.int64] | None]
"""Images, (B, C, H, W), and their classes, (B,), where the network wants them."""


@dataclass(frozen=True)
class Part:
    """The bound of some images.

    Args:
        totals: of every image in bits per dimension, float64, (n,).
        spreads: of ``TERMS``, per step.
        seconds: that it took, in all processes that worked on it.
    """

    totals: NDArray[np.float64]
    spreads: Mapping[str, Spread]
    seconds: float

    @classmethod
    def of(cls, terms: Terms, seconds: float) -> Part:
        """Of a batch whose terms are all evaluated."""
        spreads = {name: Spread.of(values) for name, values in terms.by_name().items()}
        return cls(terms.totals(), spreads, seconds)

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """Of the images of all parts, in their order; at least one part."""
        spreads = {
            name: reduce(Spread.merged, [part.spreads[name] for part in parts]) for name in TERMS
        }
        totals = np.concatenate([part.totals for part in parts])
        return cls(totals, spreads, sum(part.seconds for part in parts))


def load_part(path: Path) -> Part:
    """What the file of a finished batch holds.

    Raises:
        DataError: the file is missing or damaged.
    """
    return _part(load_checkpoint(path))


def evaluate_part(
    path: Path | None,
    network: Network,
    diffusion: GaussianDiffusion,
    load: Callable[[], Batch],
    noise: StepNoise,
    *,
    clip: bool = True,
    device: torch.device | str = "cpu",
    tell: Callable[[float], object] | None = None,
) -> Part:
    """The bound of a batch: what its file holds, or evaluated from there on.

    Args:
        path: the file that keeps it, when it is finished and from time to time before; None for
            none.
        network: in evaluation mode, on the device.
        diffusion: the chain.
        load: the batch, for which it is asked only if something is left to evaluate.
        noise: of every step.
        clip: predicted images are clipped to [-1, 1].
        device: to compute on.
        tell: called after every step with the share of steps that are evaluated.

    Raises:
        KeyboardInterrupt: when it is interrupted, with everything kept.
        DataError: the file is damaged, or cannot be written.
    """
    state = load_checkpoint(path) if path is not None and path.exists() else None
    if state is not None and not state["left"]:
        return _part(state)
    pixels, classes = load()
    steps = diffusion.steps
    if state is None:
        terms, before = Terms.empty(len(pixels), steps, device), 0.0
    else:
        terms, before = Terms(state["values"].to(device), state["left"]), _seconds(state)
    began = saved = time.monotonic()

    def keep() -> None:
        nonlocal saved
        saved = time.monotonic()
        if path is not None:
            seconds = before + saved - began
            state = {"left": terms.left, "values": terms.values, "seconds": seconds}
            save_checkpoint(path, state)

    def after_step() -> None:
        if tell is not None:
            tell(1 - terms.left / steps)
        if terms.left and time.monotonic() - saved > _SAVE_SECONDS:
            keep()

    try:
        fill_terms(
            terms, network, diffusion, pixels, noise,
            clip=clip, classes=classes, after_step=after_step,
        )  # fmt: skip
    except KeyboardInterrupt:
        if terms.left < steps:
            keep()
        raise
    part = Part.of(terms, before + time.monotonic() - began)
    if path is not None:
        _save_finished(path, part)
    return part


def bound_of(
    network: UNet,
    diffusion: GaussianDiffusion,
    pixels: NDArray[np.uint8],
    *,
    seed: int = 0,
    batch_size: int = 16,
    clip: bool = True,
    tell: Callable[[float, float], object] | None = None,
    path: Callable[[int], Path] | None = None,
) -> Part:
    """The bound of images that are in memory, with one draw of the noise.

    Args:
        network: not told classes; moved to the CPU.
        diffusion: the chain.
        pixels: uint8, (n, C, H, W), n at least 1.
        seed: of the noise; image i is that of index i.
        batch_size: images per pass of the network.
        clip: predicted images are clipped to [-1, 1].
        tell: called with (images done, images in all) after each step of a batch, with fractions.
        path: from the number of a batch to the file that keeps it; None to keep nothing.

    Raises:
        KeyboardInterrupt, DataError: as :func:`evaluate_part`.
    """
    network = placed(network, torch.device("cpu"))

    def evaluated(number: int) -> Part:
        start = number * batch_size
        batch = pixels[start : start + batch_size]

        def after_step(done: float) -> None:
            if tell is not None:
                tell(start + done * len(batch), len(pixels))

        indices = range(start, start + len(batch))
        noise = NoiseStream(seed, 0, indices, batch.shape[1:])
        file = None if path is None else path(number)
        return evaluate_part(
            file, network, diffusion, lambda: (batch, None), noise, clip=clip, tell=after_step
        )

    return Part.joined([evaluated(number) for number in range(-(-len(pixels) // batch_size))])


def _part(state: Mapping[str, Any]) -> Part:
    spreads = {
        name: Spread(**{key: _array(value) for key, value in of_name.items()})
        for name, of_name in state["spreads"].items()
    }
    return Part(state["totals"].numpy(), spreads, _seconds(state))


def _seconds(state: Mapping[str, Any]) -> float:
    return float(state.get("seconds", 0.0))  # files of earlier versions have none


def _save_finished(path: Path, part: Part) -> None:
    spreads = {
        name: {key: _tensor(value) for key, value in vars(of_name).items()}
        for name, of_name in part.spreads.items()
    }
    totals = torch.from_numpy(part.totals)
    save_checkpoint(
        path, {"left": 0, "totals": totals, "spreads": spreads, "seconds": part.seconds}
    )


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else value
