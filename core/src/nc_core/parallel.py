"""A pool of threads that returns results in the order of their tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_order"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], threads: int
) -> Iterator[_Result]:
    """Results of ``function`` over ``tasks`` in order, computed ``threads`` at a time.

    Holds at most ``threads + 1`` results, so memory stays bounded however long the job. Where
    ``tasks`` raises, or Ctrl-C comes while a result is waited for, what has begun still ends, since
    threads cannot be stopped; its results are yielded before the error is raised.
    """
    if threads <= 1:
        yield from map(function, tasks)
        return
    pending: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(function, task))
                if len(pending) > threads:
                    yield _first(pending)
            while pending:
                yield _first(pending)
        except GeneratorExit:  # nobody takes results any more
            raise
        except BaseException:
            begun = deque(future for future in pending if not future.cancel())
            while begun:
                yield _first(begun)
            raise
        finally:
            for future in pending:
                future.cancel()


def _first(pending: deque[Future[_Result]]) -> _Result:
    """Wait for the first result and take it out; if the wait is interrupted, it stays there."""
    result = pending[0].result()
    pending.popleft()
    return result
