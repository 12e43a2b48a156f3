"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nc_core.errors import DataError

__all__ = ["atomic_write", "describe_os_error"]


def describe_os_error(error: OSError, path: Path | str) -> DataError:
    """A one-line error that names the file and the system's reason."""
    reason = error.strerror or str(error)
    return DataError(f"{path}: {reason[:1].lower()}{reason[1:]}")


@contextmanager
def atomic_write(path: Path, *, force: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` and rename it when the block ends well.

    Args:
        path: final name; its folder is made if need be.
        force: replace an existing file.

    Raises:
        DataError: the file exists and ``force`` is off, or it cannot be written.
    """
    if not force and path.exists():
        raise DataError(f"{path}: file exists", "use --force to replace it")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise describe_os_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
