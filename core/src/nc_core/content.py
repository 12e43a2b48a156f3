"""What a container holds: image files under their names, or one array.

The description travels in the container's header, so everything that is read back from one is
checked here: types, sizes, and file names (which are base names and nothing else).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nc_core.errors import CorruptFileError, DataError

__all__ = ["Content", "Item", "check_name", "checked_text", "restored_name"]

_DTYPES = ("uint8", "uint16")
_LAYOUTS = ("hw", "hwc", "chw", "none")
_MAX_SIDE = 1 << 31
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# Control characters, line separators, and what reverses the direction of the text around it:
# a terminal obeys them.
_UNSAFE = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE_TEXT = re.compile(f"[{_UNSAFE}]")
_FORBIDDEN = re.compile(f'[{_UNSAFE}/\\\\:*?"<>|]')
_LONGEST_TEXT = 255


@dataclass(frozen=True)
class Item:
    """One example: its shape as the user knows it, and the order of its axes.

    Args:
        shape: (H, W), (H, W, C), (C, H, W), or any shape in layout ``none``.
        dtype: ``uint8`` or ``uint16``.
        layout: ``hw``, ``hwc``, ``chw`` or ``none``.
        name: file name of an image; None in an array.
    """

    shape: tuple[int, ...]
    dtype: str
    layout: str
    name: str | None = None

    @property
    def planes(self) -> tuple[int, int, int]:
        """Its shape as (channels, height, width); data that are no image form one row."""
        if self.layout == "hw":
            return (1, *self.shape)  # type: ignore[return-value]
        if self.layout == "hwc":
            return self.shape[2], self.shape[0], self.shape[1]
        if self.layout == "chw":
            return self.shape  # type: ignore[return-value]
        return 1, 1, math.prod(self.shape)

    @property
    def dims(self) -> int:
        """Number of samples."""
        return math.prod(self.shape)

    @property
    def pixels(self) -> int | None:
        """Number of pixels; None where it is no image."""
        return None if self.layout == "none" else self.planes[1] * self.planes[2]


@dataclass(frozen=True)
class Content:
    """All items of a container.

    Args:
        kind: ``images`` (each with a file name) or ``array`` (all of one shape and dtype).
        items: the images; for an array one item, of which there are ``repeat``.
        repeat: length of the first axis of the array; None if the array is a single item.
        name: file name of the array.
    """

    kind: Literal["images", "array"]
    items: tuple[Item, ...]
    repeat: int | None = None
    name: str = ""

    def __len__(self) -> int:
        if self.kind == "images":
            return len(self.items)
        return 1 if self.repeat is None else self.repeat

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.items[index if self.kind == "images" else 0]

    @property
    def dims(self) -> int:
        """Samples of all items together."""
        return sum(item.dims for item in self.items) * self._times

    @property
    def pixels(self) -> int | None:
        """Pixels of all items together; None where there are none."""
        counts = [item.pixels for item in self.items]
        return None if None in counts else sum(c for c in counts if c) * self._times

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        shape = self.items[0].shape
        return shape if self.repeat is None else (self.repeat, *shape)

    @property
    def file_names(self) -> list[str]:
        """Names of the files that decompression writes."""
        if self.kind == "array":
            return [self.name]
        return [restored_name(item.name or "") for item in self.items]

    @property
    def _times(self) -> int:
        return len(self) if self.kind == "array" else 1

    def to_json(self) -> dict[str, Any]:
        """Plain data for the header."""
        if self.kind == "array":
            item = self.items[0]
            return {
                "dtype": item.dtype,
                "kind": "array",
                "layout": item.layout if self.repeat is None else "n" + item.layout,
                "name": self.name,
                "shape": list(self.array_shape),
            }
        items = [
            {"dtype": item.dtype, "name": item.name, "shape": list(item.shape)}
            for item in self.items
        ]
        return {"items": items, "kind": "images"}

    @classmethod
    def from_json(cls, data: Any, file: str) -> Content:
        """Read what :meth:`to_json` wrote.

        Raises:
            CorruptFileError: anything else.
        """
        try:
            return cls._from_json(data)
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise CorruptFileError(f"{file}: its header describes no valid content") from error

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Content:
        if data["kind"] == "array":
            layout, shape = checked_text(data["layout"]), _shape(data["shape"])
            repeated = layout not in _LAYOUTS
            item = Item(
                shape[1:] if repeated else shape,
                checked_text(data["dtype"]),
                layout.removeprefix("n") if repeated else layout,
            )
            content = cls(
                "array", (item,), shape[0] if repeated else None, checked_text(data["name"])
            )
        elif data["kind"] == "images":
            content = cls("images", tuple(_image_item(entry) for entry in data["items"]))
        else:
            raise ValueError(data["kind"])
        content.check()
        return content

    def check(self) -> None:
        """Refuse what no container can hold.

        Raises:
            DataError: no items, an empty item, a dtype, layout or name that is not supported.
        """
        if not self.items or self.dims == 0:
            raise DataError("nothing to compress: there are no samples")
        for item in self.items:
            label = item.name or self.name
            if item.dtype not in _DTYPES:
                raise DataError(
                    f"{label}: samples of type {item.dtype}; only {_list(_DTYPES)} can be coded"
                )
            rank = {"hw": 2, "hwc": 3, "chw": 3}.get(item.layout, len(item.shape))
            if item.layout not in _LAYOUTS or len(item.shape) != rank:
                raise DataError(
                    f"{label}: shape {item.shape} does not fit the layout '{item.layout}'"
                )
        names = self.file_names
        for name in [*names, *(item.name for item in self.items if item.name is not None)]:
            check_name(name)
        seen: set[str] = set()
        for name in names:
            if name.casefold() in seen:
                raise DataError(
                    f"{name}: two inputs would be restored under this name",
                    "compress them into separate files, or rename one",
                )
            seen.add(name.casefold())


def check_name(name: str) -> None:
    """Refuse a file name that is not a plain base name on every system.

    Raises:
        DataError: a separator, a reserved or hidden-special name, a control character.
    """
    forbidden = _FORBIDDEN.search(name)
    if forbidden:
        fault = f"a file name with {forbidden[0]!r}, which not every system allows"
    elif name in {"", ".", ".."} or _RESERVED.fullmatch(name):
        fault = "a file name that some system reserves"
    elif name[-1] in ". ":
        fault = f"a file name that ends in {name[-1]!r}, which not every system allows"
    elif len(name.encode()) > 255:
        fault = "a file name of more than 255 bytes"
    else:
        return
    raise DataError(f"{name!r}: {fault}", "rename the input first")


def restored_name(name: str) -> str:
    """Name of the PNG file that an image is restored to; ``a.jpg`` becomes ``a.jpg.png``."""
    return name if name.lower().endswith(".png") else f"{name}.png"


def _image_item(entry: Mapping[str, Any]) -> Item:
    shape = _shape(entry["shape"])
    layout = "hw" if len(shape) == 2 else "hwc"
    return Item(shape, checked_text(entry["dtype"]), layout, checked_text(entry["name"]))


def checked_text(value: Any) -> str:
    """A string that was read from a file, safe to show.

    Raises:
        TypeError: no string.
        ValueError: control characters in it, or very long.
    """
    if not isinstance(value, str):
        raise TypeError(value)
    if len(value) > _LONGEST_TEXT or _UNSAFE_TEXT.search(value):
        raise ValueError(value)
    return value


def _shape(value: Any) -> tuple[int, ...]:
    sides: Sequence[int] = value
    if not all(type(side) is int and 0 < side < _MAX_SIDE for side in sides):
        raise ValueError(value)
    return tuple(sides)


def _list(words: Sequence[str]) -> str:
    return " and ".join(words)
