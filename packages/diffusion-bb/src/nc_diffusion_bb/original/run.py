"""Images on one message, batch after batch, and back again; killed runs go on.

    metrics.jsonl               samples, rate_total, rate_used, rate_effective after every batch
    timing.jsonl                CPU seconds of every batch
    progress.csv, log.txt       the metrics, as the original's
    results/rates-push.npz      bits per dimension that were pushed at each level, over batches
    results/rates-pop.npz       that were popped: mean, stdd, min, max, index 0 for the pixels

A checkpoint is written once a minute, or after a number of images, between batches: what a kill
costs is that and the batch in work. The last batch is smaller where the number of images is no
multiple of the batch size; the original would start again with the first images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans.message import Message
from nc_core.errors import CorruptFileError, UsageError, WorkError
from nc_core.runs import RunDirectory
from nc_core.training.loggers import Logger
from nc_diffusion_bb.original.codec import OriginalCodec
from nc_diffusion_bb.original.rates import Tally
from nc_diffusion_bb.original.state import Decoded, Encoded
from nc_diffusion_bb.original.words import flat_bytes, initial_message
from nc_diffusion_bb.progress_table import kept_progress
from nc_diffusion_bb.vlb_files import save_arrays

__all__ = ["Plan", "decode_images", "encode_images", "kept_images"]

Progress = Callable[[float, float], None]

_SAVE_SECONDS = 60.0
_COLUMNS = ("samples", "rate_total", "rate_used", "rate_effective")


@dataclass(frozen=True)
class Plan:
    """What to code.

    Args:
        codec: of batches.
        load: images with given indices, uint8 (n, C, H, W).
        indices: of the images, in the order of coding, int64.
        shape: (C, H, W).
        batch_size: images that the network sees at once.
        initial_words: random words to start with; None for the original's number.
        seed: of these words.
        track: measure every level.
        save_every: images between checkpoints; None for once a minute.
    """

    codec: OriginalCodec
    load: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    indices: NDArray[np.int64]
    shape: tuple[int, int, int]
    batch_size: int
    initial_words: int | None = None
    seed: int = 0
    track: bool = False
    save_every: int | None = None

    @property
    def dims(self) -> int:
        """Of an image."""
        return int(np.prod(self.shape))

    def initial_message(self) -> Message:
        """The message before the first batch.

        Raises:
            UsageError: too few initial words for the lanes of a batch.
        """
        lanes = self.batch_size * self.dims
        words = self.initial_words
        if words is None:
            words = self.codec.settings.initial_words(lanes, self.codec.levels)
        try:
            return initial_message(lanes, words, self.seed)
        except CorruptFileError as error:
            raise UsageError(
                f"{words:,} initial words are too few to start {lanes:,} lanes",
                f"use --initial-words with more than about {2 * lanes:,}, or longer chains",
            ) from error


class _Saver:
    """Decides when it is time for a checkpoint."""

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._images, self._saved = 0, time.monotonic()

    def is_due(self, images: int) -> bool:
        """Whether to save now, that many images after the last call."""
        self._images += images
        due = (
            time.monotonic() - self._saved >= _SAVE_SECONDS
            if self._every is None
            else self._images >= self._every
        )
        if due:
            self._images, self._saved = 0, time.monotonic()
        return due


def kept_images(run: RunDirectory) -> int:
    """How many images :func:`encode_images` will find on the message of a run.

    Raises:
        DataError: what is kept is damaged.
    """
    state = Encoded.load(run) if run.resumed else None
    return 0 if state is None else state.tally.images


def encode_images(
    plan: Plan,
    run: RunDirectory,
    progress: Progress | None = None,
    loggers: Sequence[Logger] = (),
) -> Encoded:
    """Push all images that are not on the message of the run yet.

    Args:
        plan: what to code.
        run: where checkpoints and logs go, and where an earlier run left its own.
        progress: called with (images done, images in all).
        loggers: told the rates after every batch.

    Raises:
        WorkError: the initial words did not suffice, or the network gives no numbers.
        UsageError: too few initial words, or more images on the message than there should be.
        DataError: something cannot be read or written.
    """
    state = Encoded.load(run) if run.resumed else None
    if state is None:
        message = plan.initial_message()
        state = Encoded(message, Tally.empty(plan.dims, plan.codec.levels, message), {})
    tally, total = state.tally, len(plan.indices)
    if tally.images > total:
        raise UsageError(
            f"{run.path}: {tally.images:,} images are on the message already, not {total:,}",
            f"use --limit with {tally.images} or more",
        )
    if tally.images < total:
        run.rewind(state.logs)
    saver = _Saver(plan.save_every)
    with kept_progress(run, _COLUMNS) as refresh:
        while tally.images < total:
            began = time.process_time()
            chosen = plan.indices[tally.images : tally.images + plan.batch_size]
            growth = plan.codec.push(state.message, plan.load(chosen), track=plan.track)
            tally.add(len(chosen), growth)
            _log(run, state, loggers)
            _log_seconds(run, "encode", tally.images, len(chosen), time.process_time() - began)
            refresh()
            if tally.images == total or saver.is_due(len(chosen)):
                state.save(run)
            if progress is not None:
                progress(tally.images, total)
    _write_levels(run, tally)
    return state


def decode_images(
    plan: Plan, run: RunDirectory, encoded: Encoded, progress: Progress | None = None
) -> None:
    """Pop all images, compare them with the dataset's, and the message with the initial one.

    Args:
        plan: what was coded.
        run: as for :func:`encode_images`, after it.
        encoded: what it returned; its message is used up.
        progress: called with (images done, images in all).

    Raises:
        WorkError: an image does not come back, or the message does not end where it began.
        DataError: something cannot be read or written.
    """
    batches = encoded.tally.batches
    total = encoded.tally.images
    state = Decoded.load(run, total)
    if state is None:
        state = Decoded(encoded.message, total, len(batches), encoded.logs)
    run.rewind(state.logs)
    ends = np.cumsum(batches)
    saver = _Saver(plan.save_every)
    while state.left:
        began = time.process_time()
        end, count = int(ends[state.left - 1]), int(batches[state.left - 1])
        expected = plan.load(plan.indices[end - count : end])
        _check_batch(plan, state.message, expected, end - count)
        state.left -= 1
        _log_seconds(run, "decode", end, count, time.process_time() - began)
        if not state.left or saver.is_due(count):
            state.save(run)
        if progress is not None:
            progress(total - (end - count), total)
    initial = plan.initial_message()
    if not _are_equal(state.message, initial):
        raise WorkError("all images came back, but the message does not end at its initial words")


def _check_batch(plan: Plan, message: Message, expected: NDArray[np.uint8], first: int) -> None:
    which = f"the batch that begins at image {first:,}"
    try:
        decoded = plan.codec.pop(message, expected.shape)
    except CorruptFileError as error:
        raise WorkError(f"{which} does not decode: {error.message}") from error
    wrong = np.count_nonzero(decoded != expected)
    if wrong:
        raise WorkError(f"{which} does not come back: {wrong / expected.size:.2%} of pixels differ")


def _are_equal(one: Message, other: Message) -> bool:
    return (
        one.size == other.size
        and np.array_equal(one.heads, other.heads)
        and np.array_equal(one.stack[: one.size], other.stack[: other.size])
    )


def _log(run: RunDirectory, state: Encoded, loggers: Sequence[Logger]) -> None:
    images = state.tally.images
    record = {"samples": images, **state.tally.rates(flat_bytes(state.message))._asdict()}
    run.log({"step": images, **record})
    for logger in loggers:
        logger.scalars(images, record)


def _log_seconds(run: RunDirectory, phase: str, step: int, images: int, seconds: float) -> None:
    record: dict[str, Any] = {
        "step": step,
        "phase": phase,
        "images": images,
        "cpu_seconds": seconds,
    }
    run.log(record, name="timing")


def _write_levels(run: RunDirectory, tally: Tally) -> None:
    levels = tally.level_bits()
    if levels is not None:
        for name, bits in zip(("push", "pop"), levels, strict=True):
            save_arrays(run.path / "results" / f"rates-{name}.npz", bits._asdict())
