"""Results in the order of their tasks, also when the work ends early."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nc_core.parallel import in_order


def taken(results: Iterator[int], error: type[BaseException]) -> list[int]:
    """What comes before an error."""
    found: list[int] = []
    with pytest.raises(error):
        found.extend(results)
    return found


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_order(threads: int) -> None:
    assert list(in_order(lambda task: task * task, range(20), threads)) == [
        task * task for task in range(20)
    ]


def test_what_has_begun_comes_before_the_error_of_the_tasks() -> None:
    first_has_begun = threading.Event()

    def work(task: int) -> int:
        first_has_begun.set()
        return task

    def tasks() -> Iterator[int]:
        yield 0
        assert first_has_begun.wait(60)
        raise OSError

    assert taken(in_order(work, tasks(), 2), OSError) == [0]


def test_nothing_comes_after_a_task_that_fails() -> None:
    def work(task: int) -> int:
        if task == 1:
            raise ValueError
        return task

    assert taken(in_order(work, range(9), 2), ValueError) == [0]


def test_ctrl_c_loses_no_result_that_is_being_made() -> None:
    others_have_begun = threading.Barrier(2)

    def work(task: int) -> int:
        if task < 2:
            others_have_begun.wait(60)
        return task

    def tasks() -> Iterator[int]:
        yield from (0, 1)
        raise KeyboardInterrupt

    assert taken(in_order(work, tasks(), 2), KeyboardInterrupt) == [0, 1]


def test_who_takes_no_more_results_waits_for_none() -> None:
    done: list[int] = []

    def work(task: int) -> int:
        done.append(task)
        return task

    results = in_order(work, range(100), 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(done) < 100
