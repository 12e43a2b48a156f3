"""``prepared.json``: what a converted dataset consists of, written when all of it is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nc_core.errors import DataError
from nc_core.files import atomic_write, describe_os_error

__all__ = ["MANIFEST", "ItemCount", "Manifest", "PreparedFile", "read_manifest", "write_manifest"]

MANIFEST = "prepared.json"
_SCHEMA = "nc.dataset/1"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class PreparedFile:
    """A file that conversion made: name in the dataset's folder, sha256, size in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class ItemCount:
    """Items of a split: how many there are, and how many the official one has."""

    found: int
    official: int


@dataclass(frozen=True)
class Manifest:
    """A converted dataset.

    Args:
        source: name of the file or folder that it was made of.
        items: number of items by split.
        files: all of its files.
    """

    source: str
    items: Mapping[str, ItemCount]
    files: tuple[PreparedFile, ...]


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a dataset's folder; None where there is none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            document: Any = json.loads(file.read(_MOST_BYTES))
        if document["schema"] != _SCHEMA:
            raise ValueError("another schema")
        items = {str(k): ItemCount(**v) for k, v in document["items"].items()}
        files = tuple(PreparedFile(**entry) for entry in document["files"])
        for entry in files:
            if not isinstance(entry.size, int) or Path(entry.name).name != entry.name:
                raise ValueError("a file that is none")
        return Manifest(str(document["source"]), items, files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise describe_os_error(error, path) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: damaged, or of another version", "prepare the dataset again with --force"
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    document = {
        "schema": _SCHEMA,
        "source": manifest.source,
        "items": {split: asdict(count) for split, count in manifest.items.items()},
        "files": [asdict(file) for file in manifest.files],
    }
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(document, indent=2).encode() + b"\n")
