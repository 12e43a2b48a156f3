"""How many samples of a container are coded, those of unfinished chunks among them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nc_core.errors import NcError

__all__ = ["Progress", "Reached", "SamplesDone", "errors_of_progress"]

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""

Reached = Callable[[float, bool], None]
"""Called with the share 0 ... 1 of a chunk that is done, and whether this run did some of it."""


class _ProgressError(Exception):
    """Carries an error of ``progress`` past those who would take it for one of their own."""

    def __init__(self, error: NcError | ValueError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def errors_of_progress() -> Iterator[None]:
    """Around the work on a chunk: what ``progress`` raises within it comes out as it is."""
    try:
        yield
    except _ProgressError as carried:
        failure = carried.error
    else:
        return
    raise failure


class SamplesDone:
    """Counts the samples of chunks, whatever thread codes them, and tells of them.

    What is told never falls. What an earlier run has left is told with the first that is new: so
    the first number is one of which nobody knows how long it took, and the others are not.

    Args:
        total: samples in all.
        progress: called with the numbers, in whatever thread, one call at a time; None to count
            for nobody.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._finished = 0
        self._parts: dict[int, int] = {}
        self._told = 0
        self._has_news = False
        self._lock = threading.Lock()

    def within(self, number: int, samples: int) -> Reached:
        """What the work on one chunk calls, within :func:`errors_of_progress`.

        Args:
            number: of the chunk.
            samples: that it has.
        """

        def reached(share: float, is_new: bool) -> None:
            with self._lock:
                self._parts[number] = round(share * samples)
                try:
                    self._tell(is_new)
                except (NcError, ValueError) as error:
                    raise _ProgressError(error) from None

        return reached

    def finish(self, number: int, samples: int) -> None:
        """Count a chunk; it is new if nothing else was said of it.

        Args:
            number: of the chunk.
            samples: that it has.
        """
        with self._lock:
            is_new = self._parts.pop(number, None) is None
            self._finished += samples
            self._tell(is_new)

    def end(self) -> None:
        """Tell of everything, even if nothing was new."""
        with self._lock:
            self._tell(is_new=True)

    def _tell(self, is_new: bool) -> None:
        self._has_news = self._has_news or is_new
        done = min(self._finished + sum(self._parts.values()), self._total)
        if self._progress is not None and self._has_news and done > self._told:
            self._told = done
            self._progress(done, self._total)
