"""Where data live on disk: ``$NC_DATA``, or the platform's cache directory."""

from __future__ import annotations

import os
from pathlib import Path

from nc_core.errors import DataError

__all__ = ["NotPreparedError", "data_folder", "dataset_folder", "not_prepared"]


class NotPreparedError(DataError):
    """The official files of a dataset are not there."""


def data_folder() -> Path:
    """The folder that holds all data: ``$NC_DATA``, by default the user's cache directory.

    It need not exist yet.
    """
    chosen = os.environ.get("NC_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("nc", appauthor=False))


def dataset_folder(name: str) -> Path:
    """The folder of one dataset, directly below :func:`data_folder`."""
    return data_folder() / name


def not_prepared(name: str, path: Path, *, is_offered: bool = True) -> NotPreparedError:
    """The error for a dataset whose official files are not there.

    Args:
        name: of the dataset.
        path: of a file that is missing.
        is_offered: the official files can be downloaded; otherwise users must have them.
    """
    given = f"nc data prepare {name} --from PATH"
    return NotPreparedError(
        f"dataset '{name}' is not prepared: {path} does not exist",
        f"nc data prepare {name}   (or, with files that you have: {given})"
        if is_offered
        else f"{given}   (with files that you have; 'nc info {name}' says where they are offered)",
    )
