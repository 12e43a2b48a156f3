"""Logs of a run: one JSON record per line, appended to, readable after any accident."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nc_core.errors import DataError
from nc_core.files import describe_os_error

__all__ = ["encode_record", "read_records"]


def encode_record(record: Mapping[str, Any]) -> bytes:
    """A record as one line; infinities and NaN become null, which JSON can hold."""
    plain = {key: _finite(value) for key, value in record.items()}
    return json.dumps(plain, allow_nan=False).encode() + b"\n"


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a log, none where there is no log; a cut last line is no record.

    Raises:
        DataError: a line before the last is damaged.
    """
    try:
        whole, end, _ = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise describe_os_error(error, path) from error
    records = []
    for number, line in enumerate(whole.split(b"\n") if end else [], 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}: line {number} is damaged", "remove that line") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}: line {number} is no record", "remove that line")
        records.append(record)
    return records


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
