"""The rate of real files beside the bound, for several chains, orders of coding and batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message
from nc_core.lead_in import LeadIn
from nc_core.lossless import compress_source
from nc_core.models import configured
from nc_core.protocols import Coder, LosslessModel
from nc_core.rates import Rate
from nc_core.runs import RunDirectory
from nc_core.sources import ArraySource
from nc_core.staging import temporary_folder
from nc_diffusion_bb.codec import DiffusionCodec
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.run_figures import LEVELS
from nc_diffusion_bb.tracking import Track
from nc_diffusion_bb.unet import UNet
from nc_diffusion_bb.vlb import bound_of
from nc_diffusion_bb.vlb_files import save_arrays

__all__ = ["Case", "Coded", "Evaluation", "ImageBound", "keep_levels"]

_BOUND_BATCH = 16


@dataclass(frozen=True)
class ImageBound:
    """The bound of images with fresh noise, in bits per dimension.

    Args:
        spacing: of the chain.
        steps: of the chain.
        mean: over images.
        error: its standard error over images; None for one image.
        terms: mean of each level's term, float64, (T + 1,): pixels, latents, prior.
        seconds: per image.
    """

    spacing: str
    steps: int
    mean: float
    error: float | None
    terms: NDArray[np.float64]
    seconds: float


class Case(NamedTuple):
    """How to code.

    Attributes:
        order: of coding.
        batch_size: images side by side.
        lead_in: ``none``, or ``predictive`` where first images need not borrow.
    """

    order: str
    batch_size: int
    lead_in: str


@dataclass(frozen=True)
class Coded:
    """What a file of images costs.

    Args:
        case: how they were coded.
        rate: of the file, which was decoded and compared.
        track: information pushed and popped by level, of what is no lead-in.
    """

    case: Case
    rate: Rate
    track: Track

    def to_json(self, bound: ImageBound) -> dict[str, Any]:
        """One record beside the bound; rates in bits per dimension, seconds per image.

        ``bound`` is the code length at the latents drawn, ``payload`` the messages, ``initial``
        what was borrowed for them, ``marginal`` their difference, ``total`` the whole file.
        """
        rate = self.rate
        return {
            "respacing": bound.spacing,
            "steps": bound.steps,
            "order": self.case.order,
            "batch_size": self.case.batch_size,
            "lead_in": self.case.lead_in,
            "images": rate.items,
            "vlb": bound.mean,
            "vlb_standard_error": bound.error,
            "bound": rate.bound_bits / rate.dims,
            "marginal": rate.bits_per_dim_marginal,
            "initial": rate.initial_bits / rate.dims,
            "payload": rate.payload_bits / rate.dims,
            "total": rate.bits_per_dim,
            "vlb_seconds": bound.seconds,
            "encode_seconds": _each(rate.encode_seconds, rate.items),
            "decode_seconds": _each(rate.decode_seconds, rate.items),
            "rate": rate.to_json(),
        }


@dataclass(frozen=True)
class Evaluation:
    """Images, and a model in both forms.

    Args:
        name: of the model, for messages.
        network: in floating point.
        chain: what its outputs mean.
        codec: what files are made with.
        coder: entropy coder.
        pixels: uint8, (n, C, H, W).
        coding: what to tell the codec besides chain and case.
        seed: of the bound's noise.
    """

    name: str
    network: UNet
    chain: DiffusionConfig
    codec: DiffusionCodec
    coder: Coder
    pixels: NDArray[np.uint8]
    coding: Mapping[str, str]
    seed: int = 0

    def told(self, spacing: str, case: Case) -> LosslessModel:
        """The codec for a case.

        Raises:
            UsageError: it cannot code like that.
        """
        coding = {
            "respacing": spacing or "all",
            "order": case.order,
            "batch-size": str(case.batch_size),
            "lead-in": case.lead_in,
        }
        codec: LosslessModel = configured(self.codec, self.name, coding={**self.coding, **coding})
        return codec

    def bound(self, spacing: str, tell: Callable[[int], object] | None = None) -> ImageBound:
        """The bound of the images.

        Args:
            spacing: of the chain.
            tell: called with the number of images after each batch.
        """
        diffusion = GaussianDiffusion.of(self.chain, spacing)
        began = time.perf_counter()
        totals, terms = bound_of(
            self.network, diffusion, self.pixels, seed=self.seed, batch_size=_BOUND_BATCH,
            clip=self.coding.get("clip", "on") == "on", tell=tell,
        )  # fmt: skip
        seconds = (time.perf_counter() - began) / len(totals)
        error = float(totals.std(ddof=1)) / math.sqrt(len(totals)) if len(totals) > 1 else None
        mean = float(totals.mean())
        return ImageBound(spacing or "all", diffusion.steps, mean, error, terms.mean, seconds)

    def coded(
        self, spacing: str, case: Case, progress: Callable[[int, int], None] | None = None
    ) -> Coded:
        """Code the images into one file, decode it and compare.

        Args:
            spacing: of the chain.
            case: how to code.
            progress: called with (samples done, samples in all).

        Raises:
            UsageError: the codec cannot code like that.
            WorkError: the file does not decode to the images.
        """
        codec: Any = self.told(spacing, case)
        track = Track(codec.steps)
        if isinstance(codec, LeadIn):
            codec.alone = _Watched(codec.alone, track)
        else:
            codec = _Watched(codec, track)
        with temporary_folder() as folder:
            rate = compress_source(
                ArraySource(self.pixels, "nchw"), folder / "images.ncz", codec, self.coder,
                progress=progress, journal_seconds=None,
            )  # fmt: skip
        return Coded(case, rate, track)


class _Watched:
    """A codec whose pushes are taken note of; otherwise the codec itself."""

    def __init__(self, codec: DiffusionCodec, track: Track) -> None:
        self._codec, self._track = codec, track

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def with_coding(self, options: Mapping[str, str]) -> _Watched:
        """As the codec's, watched too: what codes a file makes its model anew."""
        return _Watched(self._codec.with_coding(options), self._track)

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any], **options: Any) -> float:
        """As the codec's; a push that fails, as after a lead-in that is too short, is forgotten."""
        track = Track(self._track.steps)
        bits = self._codec.push(coder, message, blocks, track=track, **options)
        self._track.take(track)
        return bits


def keep_levels(run: RunDirectory, bound: ImageBound, coded: Sequence[Coded]) -> None:
    """Write ``results/levels-SPACING.npz``: the first file's levels of each order.

    Raises:
        DataError: it cannot be written.
    """
    arrays = {"bound": bound.terms}
    for one in coded:
        arrays.setdefault(f"{one.case.order} push", one.track.push_bits_per_dim)
        arrays.setdefault(f"{one.case.order} pop", one.track.pop_bits_per_dim)
    name = bound.spacing.replace(",", "-")
    save_arrays(run.path / "results" / f"{LEVELS}{name}.npz", arrays)


def _each(seconds: float | None, items: int) -> float | None:
    return None if seconds is None else seconds / items
