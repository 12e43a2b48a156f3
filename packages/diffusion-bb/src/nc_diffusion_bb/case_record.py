"""What is known of a case of an evaluation while it is coded, in a file for who goes on with it.

The engine keeps what is coded and decoded; this is the rest: the levels of chunks that are
finished, the seconds of earlier processes, and, when all is done, the rate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch

from nc_core.errors import NcError
from nc_core.rates import Rate
from nc_core.training.checkpoint import load_checkpoint, save_checkpoint
from nc_diffusion_bb.tracking import Track

__all__ = ["CaseRecord", "Phase"]

Phase = Literal["encode", "decode"]


class CaseRecord:
    """Levels, seconds and rate of one case.

    Args:
        steps: of the chain.
        path: of its file, whose content is taken up; None to keep nothing.

    Attributes:
        rate: of the case, where it is finished; with the seconds of all processes.

    Raises:
        DataError: the file is damaged.
    """

    def __init__(self, steps: int, path: Path | None = None) -> None:
        self._steps, self._path = steps, path
        self._before: dict[str, float] = {"encode": 0.0, "decode": 0.0}
        self._began: dict[str, float] = {}
        self._tracks: dict[int, Track] = {}
        self.rate: Rate | None = None
        if path is not None and path.exists():
            self._take_up(load_checkpoint(path, hint="--force starts the evaluation again"))

    def track(self) -> Track:
        """Of all chunks that were pushed."""
        whole = Track(self._steps)
        for track in self._tracks.values():
            whole.take(track)
        return whole

    def begin(self, phase: Phase) -> None:
        """Work of this kind begins, unless it had begun in this process."""
        self._began.setdefault(phase, time.perf_counter())

    def add(self, chunk: int, track: Track) -> None:
        """Take note of a chunk that was pushed, again where that was lost, and keep it."""
        self._tracks[chunk] = track
        self.keep()

    def finish(self, rate: Rate) -> Rate:
        """Take note of the end of the case, and keep it.

        Args:
            rate: with the seconds of this process.

        Returns:
            with those of all processes.

        Raises:
            DataError: the file cannot be written.
            WorkError: there is no room for it.
        """
        self.rate = replace(
            rate,
            encode_seconds=self._before["encode"] + (rate.encode_seconds or 0.0),
            decode_seconds=self._before["decode"] + (rate.decode_seconds or 0.0),
        )
        self._write()
        return self.rate

    def keep(self) -> None:
        """Write the file, with the seconds until now; within a push or a pop.

        Raises:
            OSError: it cannot be written.
        """
        try:
            self._write()
        except NcError as error:
            # A WorkError of a push or a pop would say that the message is wrong.
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise

    def _write(self) -> None:
        if self._path is None:
            return
        now = time.perf_counter()
        # Decoding begins where encoding ends.
        until = {"encode": self._began.get("decode", now), "decode": now}
        seconds = {
            phase: before + until[phase] - self._began.get(phase, until[phase])
            for phase, before in self._before.items()
        }
        tracks = {
            chunk: {name: torch.from_numpy(array) for name, array in track.to_arrays().items()}
            for chunk, track in self._tracks.items()
        }
        rate = None if self.rate is None else asdict(self.rate)
        save_checkpoint(self._path, {"seconds": seconds, "tracks": tracks, "rate": rate})

    def _take_up(self, state: Mapping[str, Any]) -> None:
        self._before = dict(state["seconds"])
        self._tracks = {
            chunk: Track.of({name: tensor.numpy() for name, tensor in arrays.items()})
            for chunk, arrays in state["tracks"].items()
        }
        self.rate = None if state["rate"] is None else Rate(**state["rate"])
