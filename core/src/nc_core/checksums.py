"""SHA-256 of what is restored: written by the encoder, compared by the decoder."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.content import Content
from nc_core.errors import CorruptFileError

__all__ = ["Checksums", "Digest"]


class Digest:
    """SHA-256, in base64, of the samples of each file that will be restored."""

    def __init__(self, content: Content) -> None:
        self._one_per_item = content.kind == "images"
        self._last = len(content) - 1
        self._sum = hashlib.sha256()

    def add(self, index: int, samples: NDArray[Any]) -> list[str]:
        """Take the next item; the digest of the file that it completes, if it does."""
        little_endian = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
        self._sum.update(little_endian.data)
        if not self._one_per_item and index < self._last:
            return []
        digest = base64.b64encode(self._sum.digest()).decode()
        self._sum = hashlib.sha256()
        return [digest]


class Checksums:
    """Compares decoded items with the digests in a footer.

    The one digest of an array is compared when all of its items came, in order.

    Args:
        content: of the container.
        footer: its footer.
        file: its name, for messages.

    Raises:
        CorruptFileError: the footer lacks checksums.
    """

    def __init__(self, content: Content, footer: Mapping[str, Any], file: str) -> None:
        expected, names = footer.get("sha256"), content.file_names
        if not isinstance(expected, list) or len(expected) != len(names):
            raise CorruptFileError(f"{file}: damaged, its footer lacks checksums")
        self._expected, self._names = expected, names
        self._one_per_item = content.kind == "images"
        self._digest = Digest(content)
        self._next = 0
        self._file = file

    def check(self, index: int, samples: NDArray[Any]) -> None:
        """Take an item.

        Raises:
            CorruptFileError: it differs from what was compressed.
        """
        if not self._one_per_item and index != self._next:
            return
        self._next += 1
        for digest in self._digest.add(index, samples):
            file = index if self._one_per_item else 0
            if digest != self._expected[file]:
                raise CorruptFileError(
                    f"{self._file}: {self._names[file]} does not match its checksum after decoding"
                )
