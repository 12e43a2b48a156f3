"""Who uses pickle: for a process of its own, since what is replaced stays replaced."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["watch_pickle"]

# They pass on their own data: compiled code in a cache, work for a process that they started.
_MAY = frozenset(("numba", "multiprocessing"))


def watch_pickle() -> list[str]:
    """From now on, note every use of pickle, but for numba's cache and multiprocessing.

    Returns:
        ``function, called by module``, one for each place; it grows.
    """
    seen: list[str] = []

    def note(name: str) -> None:
        caller = _caller()
        if caller is not None and f"pickle.{name}, called by {caller}" not in seen:
            seen.append(f"pickle.{name}, called by {caller}")

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            note(name)
            return function(*arguments, **options)

        return call

    class Pickler(pickle.Pickler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            note("Pickler")
            super().__init__(*arguments, **options)

    class Unpickler(pickle.Unpickler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            note("Unpickler")
            super().__init__(*arguments, **options)

    for name in ("dump", "dumps", "load", "loads"):
        setattr(pickle, name, noting(name, getattr(pickle, name)))
    pickle.Pickler, pickle.Unpickler = Pickler, Unpickler  # type: ignore[misc]
    return seen


def _caller() -> str | None:
    """The module that is behind a call, outside the standard library; None if it may."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if top in _MAY:
            return None
        if module != __name__ and top not in sys.stdlib_module_names:
            return module
        frame = frame.f_back
    return None
