"""Pickles of plain data, read without unpickling: nothing that a file names is ever called.

The batches of CIFAR-10 are pickles of Python 2 (protocol 2) that hold dicts, lists, texts,
integers and arrays of bytes. A small machine of its own runs the instructions that these need
and refuses all others, so that the worst a file can do is to be refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import DataError

__all__ = ["read_plain_pickle"]

_MARK = object()
_NEWEST_PROTOCOL = 2
# How NumPy arrays were pickled by Python 2: the only three names that a file may mention.
_RECONSTRUCT = "numpy.core.multiarray _reconstruct"
_ARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"


class _Refused(Exception):
    """Why the file is not read."""


@dataclass(frozen=True)
class _Name:
    """One of the three names above."""

    name: str


@dataclass
class _Array:
    """An array whose content comes with the instruction BUILD."""

    values: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class _Dtype:
    """A sample type as NumPy spells it, ``u1``."""

    code: str


def read_plain_pickle(data: bytes, label: str) -> dict[str, Any]:
    """The dict that a pickle holds.

    Args:
        data: the whole file.
        label: what errors call it.

    Returns:
        texts (of Python 2, as Latin-1), integers, lists, dicts and uint8 arrays by name.

    Raises:
        DataError: damaged, not a dict, or asking for anything but plain data.
    """
    try:
        result = _finished(_Machine().run(data))
    except _Refused as error:
        raise DataError(f"{label}: {error}", "the file is damaged, or not what it says") from error
    # Values in places where instructions take others.
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise DataError(f"{label}: damaged, or not a pickle") from error
    return result


def _finished(result: Any) -> dict[str, Any]:
    """The dict with its arrays, and nothing that was meant for making them."""
    if not isinstance(result, dict):
        raise _Refused(f"a pickle of a {type(result).__name__.lstrip('_').lower()}, not of a dict")
    values = {k: v.values if isinstance(v, _Array) else v for k, v in result.items()}
    if any(isinstance(value, _Name | _Dtype) for value in values.values()):
        raise _Refused("refused: a pickle of something other than plain data")
    return values


class _Bytes:
    """A pickle, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, count: int) -> bytes:
        """The next bytes, exactly that many."""
        part = self._data[self._place : self._place + count]
        if len(part) < count:
            raise _Refused("damaged pickle: it ends early")
        self._place += count
        return part

    def number(self, form: str) -> int:
        """The next integer, little-endian, in a form of :mod:`struct`."""
        value: int = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]
        return value

    def text(self, form: str) -> str:
        """A length in that form, and as many bytes."""
        return self.take(self.number(form)).decode("latin-1")

    def line(self) -> str:
        """The rest of a line."""
        end = self._data.find(b"\n", self._place)
        if end < 0:
            raise _Refused("damaged pickle: it ends early")
        line = self.take(end - self._place).decode("latin-1")
        self._place = end + 1
        return line


class _Machine:
    """A stack, a memo, and the instructions of plain data."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._room = 0  # bytes that arrays may still take: no more than there are in the file

    def run(self, data: bytes) -> Any:
        """The value on the stack when the pickle ends."""
        source = _Bytes(data)
        self._room = len(data)
        while (code := source.take(1)) != _STOP:
            if code in _VALUES:
                self._stack.append(_VALUES[code](source))
            elif code in _ACTIONS:
                act, argument = _ACTIONS[code]
                act(self, argument(source))
            else:
                raise _Refused(f"damaged, or a pickle with the instruction {ascii(code)[2:-1]}")
        (result,) = self._stack
        return result

    def protocol(self, version: int) -> None:
        """Refuse what Python 2 could not write."""
        if version > _NEWEST_PROTOCOL:
            raise _Refused(f"a pickle of protocol {version}, expected {_NEWEST_PROTOCOL}")

    def mark(self, _: Any) -> None:
        """Remember this height of the stack."""
        self._stack.append(_MARK)

    def name(self, text: str) -> None:
        """Push one of the three known names."""
        if text not in (_RECONSTRUCT, _ARRAY, _DTYPE):
            shown = text.replace(" ", ".")[:80]
            raise _Refused(f"refused: a pickle that wants to call {ascii(shown)[1:-1]}")
        self._stack.append(_Name(text))

    def store(self, index: int) -> None:
        """Remember the value on top."""
        self._memo[index] = self._stack[-1]

    def recall(self, index: int) -> None:
        """Push a value again."""
        self._stack.append(self._memo[index])

    def append(self, _: Any) -> None:
        """Append one value to a list."""
        value = self._stack.pop()
        self._list().append(value)

    def appends(self, _: Any) -> None:
        """Append all values above the mark to a list."""
        values = self._marked()
        self._list().extend(values)

    def set_item(self, _: Any) -> None:
        """Set one key of a dict."""
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def set_items(self, _: Any) -> None:
        """Set the keys above the mark, each followed by its value."""
        self._set(self._marked())

    def gather(self, _: Any) -> None:
        """A tuple of all values above the mark."""
        self._stack.append(tuple(self._marked()))

    def call(self, _: Any) -> None:
        """Make an array or a sample type; nothing is called."""
        arguments, function = self._stack.pop(), self._stack.pop()
        if function == _Name(_RECONSTRUCT):
            self._stack.append(_Array())
        elif function == _Name(_DTYPE) and arguments and isinstance(arguments[0], str):
            self._stack.append(_Dtype(arguments[0]))
        else:
            raise _Refused("refused: a pickle with a call that plain data do not need")

    def build(self, _: Any) -> None:
        """Fill an array; what a sample type is given says nothing about single bytes."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, _Array):
            target.values = _array_of(state)
            self._room -= target.values.size
            if self._room < 0:
                raise _Refused("refused: arrays of more bytes than the file has")
        elif not isinstance(target, _Dtype):
            raise _Refused("refused: a pickle that fills something other than an array")

    def _marked(self) -> list[Any]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                values = self._stack[index + 1 :]
                del self._stack[index:]
                return values
        raise _Refused("damaged pickle: a mark is missing")

    def _list(self) -> list[Any]:
        if not isinstance(self._stack[-1], list):
            raise _Refused("damaged pickle: values for a list that is none")
        return self._stack[-1]

    def _set(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        keys = pairs[::2]
        # Hashing deep tuples may exhaust the stack, so keys are texts and nothing else.
        if not isinstance(target, dict) or not all(isinstance(key, str) for key in keys):
            raise _Refused("damaged pickle: keys that are not texts")
        target.update(zip(keys, pairs[1::2], strict=True))


def _array_of(state: Any) -> NDArray[np.uint8]:
    """The array of (version, shape, sample type, whether in Fortran's order, bytes as text)."""
    _, shape, dtype, fortran, content = state
    if not isinstance(dtype, _Dtype) or dtype.code != "u1":
        code = dtype.code if isinstance(dtype, _Dtype) else "another type"
        raise _Refused(f"an array of {ascii(code)[1:-1][:20]} where uint8 is needed")
    sides = [side for side in shape if type(side) is int and side >= 0]
    if len(sides) != len(shape) or len(shape) > 4 or not isinstance(content, str):
        raise _Refused("damaged pickle: an array without a shape")
    values = np.frombuffer(content.encode("latin-1"), np.uint8)
    if math.prod(sides) != len(values):
        raise _Refused(f"an array of shape {tuple(sides)} with {len(values):,} bytes")
    return values.reshape(sides, order="F" if fortran else "C")


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    def gather(machine: _Machine, _: Any) -> None:
        stack = machine._stack
        if len(stack) < count:
            raise _Refused("damaged pickle: too few values")
        stack[-count:] = [tuple(stack[-count:])]

    return gather


def _nothing(_: _Bytes) -> None:
    return None


_STOP = b"."
_VALUES: dict[bytes, Callable[[_Bytes], Any]] = {
    b"N": lambda _: None,
    b"\x88": lambda _: True,
    b"\x89": lambda _: False,
    b"}": lambda _: {},
    b"]": lambda _: [],
    b")": lambda _: (),
    b"K": lambda source: source.number("B"),
    b"M": lambda source: source.number("H"),
    b"J": lambda source: source.number("i"),
    b"U": lambda source: source.text("B"),
    b"T": lambda source: source.text("I"),
    b"X": lambda source: source.text("I"),
}
_ACTIONS: dict[bytes, tuple[Callable[[_Machine, Any], None], Callable[[_Bytes], Any]]] = {
    b"\x80": (_Machine.protocol, lambda source: source.number("B")),
    b"(": (_Machine.mark, _nothing),
    b"c": (_Machine.name, lambda source: f"{source.line()} {source.line()}"),
    b"q": (_Machine.store, lambda source: source.number("B")),
    b"r": (_Machine.store, lambda source: source.number("I")),
    b"h": (_Machine.recall, lambda source: source.number("B")),
    b"j": (_Machine.recall, lambda source: source.number("I")),
    b"a": (_Machine.append, _nothing),
    b"e": (_Machine.appends, _nothing),
    b"s": (_Machine.set_item, _nothing),
    b"u": (_Machine.set_items, _nothing),
    b"t": (_Machine.gather, _nothing),
    b"\x85": (_tuple_of(1), _nothing),
    b"\x86": (_tuple_of(2), _nothing),
    b"\x87": (_tuple_of(3), _nothing),
    b"R": (_Machine.call, _nothing),
    b"b": (_Machine.build, _nothing),
}
