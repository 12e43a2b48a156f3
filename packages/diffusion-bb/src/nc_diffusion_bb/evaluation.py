"""The rate of real files beside the bound, for several chains, orders of coding and batches.

What is done may be kept in a folder, for a later process that goes on with it:

    bound-vlb50-000012.safetensors      terms of the bound of a batch of images
    vlb50-bit-swap-16-none.safetensors  levels and seconds of a case, and its rate at the end
    .vlb50-bit-swap-16-none.ncz.*       its unfinished file, and the journals of that
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nc_core.chunk_journal import INTERVAL_SECONDS
from nc_core.lead_in import LeadIn
from nc_core.lossless import compress_source
from nc_core.models import configured
from nc_core.protocols import Coder, LosslessModel
from nc_core.rates import Rate
from nc_core.sources import ArraySource
from nc_core.staging import temporary_folder
from nc_diffusion_bb.case_record import CaseRecord
from nc_diffusion_bb.codec import DiffusionCodec
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.tracking import Track
from nc_diffusion_bb.unet import UNet
from nc_diffusion_bb.vlb_parts import bound_of
from nc_diffusion_bb.watched_codec import WatchedCodec

__all__ = ["Case", "Coded", "Evaluation", "ImageBound", "spacing_stem"]

Progress = Callable[[float, float], None]

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

    def bound(
        self, spacing: str, progress: Progress | None = None, folder: Path | None = None
    ) -> ImageBound:
        """The bound of the images.

        Args:
            spacing: of the chain.
            progress: called with (images done, images in all), with fractions.
            folder: keeps what is evaluated, and has what an earlier process kept.

        Raises:
            DataError: what is kept cannot be read or written.
        """
        diffusion = GaussianDiffusion.of(self.chain, spacing)

        def path(part: int) -> Path:
            assert folder is not None
            return folder / f"bound-{spacing_stem(spacing)}-{part:06d}.safetensors"

        found = bound_of(
            self.network, diffusion, self.pixels, seed=self.seed, batch_size=_BOUND_BATCH,
            clip=self.coding.get("clip", "on") == "on", tell=progress,
            path=None if folder is None else path,
        )  # fmt: skip
        totals, count = found.totals, len(found.totals)
        error = float(totals.std(ddof=1)) / math.sqrt(count) if count > 1 else None
        return ImageBound(
            spacing or "all", diffusion.steps, float(totals.mean()), error,
            found.spreads["vb"].mean, found.seconds / count,
        )  # fmt: skip

    def coded(
        self,
        spacing: str,
        case: Case,
        progress: Progress | None = None,
        folder: Path | None = None,
    ) -> Coded:
        """Code the images into one file, decode it and compare.

        Args:
            spacing: of the chain.
            case: how to code.
            progress: called with (samples done, samples in all).
            folder: keeps what is done, and has what an earlier process kept.

        Raises:
            UsageError: the codec cannot code like that.
            WorkError: the file does not decode to the images.
            DataError: what is kept cannot be read or written.
            InterruptedWorkError: Ctrl-C, with what is done in the folder.
        """
        codec: Any = self.told(spacing, case)
        stem = "-".join([spacing_stem(spacing), *map(str, case)])
        record = _record(codec.steps, stem, folder)
        if record.rate is not None:
            return Coded(case, record.rate, record.track())
        if isinstance(codec, LeadIn):
            codec.alone = WatchedCodec(codec.alone, record)
        else:
            codec = WatchedCodec(codec, record)
        record.begin("encode")
        with temporary_folder() if folder is None else nullcontext(folder) as place:
            path = place / f"{stem}.ncz"
            rate = compress_source(
                ArraySource(self.pixels, "nchw"), path, codec, self.coder,
                progress=progress, force=True, resume=folder is not None,
                journal_seconds=None if folder is None else INTERVAL_SECONDS,
            )  # fmt: skip
            rate = record.finish(rate)
            path.unlink()
        return Coded(case, rate, record.track())


def spacing_stem(spacing: str) -> str:
    """A chain in names of files."""
    return (spacing or "all").replace(",", "-")


def _record(steps: int, stem: str, folder: Path | None) -> CaseRecord:
    """What is known of a case: nothing where its file was finished and its rate is lost."""
    if folder is None:
        return CaseRecord(steps)
    path, file = folder / f"{stem}.safetensors", folder / f"{stem}.ncz"
    record = CaseRecord(steps, path)
    if record.rate is None and file.exists():  # all is coded again, and seconds with it
        path.unlink(missing_ok=True)
        file.unlink()
        record = CaseRecord(steps, path)
    return record


def _each(seconds: float | None, items: int) -> float | None:
    return None if seconds is None else seconds / items
