"""A file whose bytes are counted and hashed while they are written."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

__all__ = ["HashedFile"]


class HashedFile:
    """Passes bytes on to a file; knows their number and SHA-256.

    Args:
        target: the file.
    """

    def __init__(self, target: BinaryIO) -> None:
        self.size = 0
        self._target = target
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, part: bytes | memoryview) -> int:
        """Take the next bytes; returns their number."""
        self._digest.update(part)
        self._target.write(part)
        self.size += len(part)
        return len(part)
