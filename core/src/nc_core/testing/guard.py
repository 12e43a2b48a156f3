"""Seeds, threads, the environment and settings of the process: left as they were found."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nc_core.testing.contract import ContractError

__all__ = ["nothing_leaks", "random_numbers_kept"]

_THREAD_SECONDS = 2.0  # for threads that are about to end


@contextmanager
def nothing_leaks() -> Iterator[None]:
    """Fail when the block changes what belongs to the whole process, and put it back.

    Watched are environment variables, the working directory, the global random states of
    Python, NumPy and torch, torch's settings, and threads that go on running. What a library
    sets while it is imported for the first time is not counted.

    Raises:
        ContractError: something changed; the message names all of it.
    """
    watched = [*_process(), *_numpy(), *_torch()]
    before = [(what, read(), read, write) for what, read, write in watched]
    threads = set(threading.enumerate())
    changed = []
    try:
        yield
    finally:
        for what, old, read, write in before:
            if not _equal(read(), old):
                changed.append(what)
                write(old)
    changed += [f"thread '{thread.name}'" for thread in _left_running(threads)]
    if changed:
        raise ContractError(
            f"left changed behind: {', '.join(changed)}; "
            "pass generators and settings on instead, or put them back"
        )


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Put the global random states back at the end, as if nothing had been drawn."""
    kept = [
        (read(), write)
        for what, read, write in [*_process(), *_numpy(), *_torch()]
        if "random" in what
    ]
    try:
        yield
    finally:
        for state, write in kept:
            write(state)


_Watched = tuple[str, Callable[[], Any], Callable[[Any], None]]


def _process() -> list[_Watched]:
    return [
        ("environment variables", _environment, _set_environment),
        ("the working directory", Path.cwd, os.chdir),
        ("the state of Python's random", random.getstate, random.setstate),
    ]


def _numpy() -> list[_Watched]:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return []
    return [
        ("the state of numpy.random", numpy.random.get_state, numpy.random.set_state),
        ("numpy's handling of errors", numpy.geterr, lambda old: numpy.seterr(**old)),
    ]


def _torch() -> list[_Watched]:
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    return [
        ("the state of torch's random numbers", torch.get_rng_state, torch.set_rng_state),
        ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        ("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
        (
            "torch's deterministic algorithms",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
    ]


def _environment() -> dict[str, str]:
    """All variables but the one in which pytest says which test runs."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _set_environment(old: dict[str, str]) -> None:
    for name in _environment().keys() - old.keys():
        del os.environ[name]
    os.environ.update(old)


def _equal(new: Any, old: Any) -> bool:
    """Equality of states, which hold tuples, arrays and tensors."""
    if isinstance(old, tuple):
        return len(new) == len(old) and all(map(_equal, new, old))
    equal = new == old
    return bool(equal.all() if hasattr(equal, "all") else equal)


def _left_running(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that were started and do not end by themselves; daemons and torch's own are fine."""
    new = [thread for thread in threading.enumerate() if thread not in before]
    started = [thread for thread in new if not thread.daemon]
    for thread in started:
        thread.join(_THREAD_SECONDS)
    return [thread for thread in started if thread.is_alive()]
