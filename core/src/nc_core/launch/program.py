"""The program whose commands the points of a sweep are."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["nc_program"]


def nc_program(plugin_files: Iterable[Path] = ()) -> list[str]:
    """``nc`` itself, with the plugins of one file that the user named.

    Example:
        >>> nc_program()[1:]
        ['-P', '-m', 'nc_cli']
    """
    # -P: files in the current folder are no modules, as for 'nc' itself.
    program = [sys.executable, "-P", "-m", "nc_cli"]
    for file in plugin_files:
        program += ["--plugin", str(file)]
    return program
