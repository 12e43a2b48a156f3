"""Running ``nc`` from a test, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nc_core.errors import MissingDependencyError

__all__ = ["Outcome", "import_path", "run_nc"]

_PROGRAM = "nc_cli"


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.stdout)


def run_nc(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 300.0,
) -> Outcome:
    """Run ``nc`` with whatever this process can import.

    Args:
        arguments: of the command line.
        environment: variables to set.
        folder: where to run it; by default here.
        seconds: after which ``subprocess.TimeoutExpired`` is raised.

    Raises:
        MissingDependencyError: the command line is not installed.
    """
    if importlib.util.find_spec(_PROGRAM) is None:
        raise MissingDependencyError("the command 'nc' is not installed", "pip install nc-cli")
    done = subprocess.run(
        [sys.executable, "-m", _PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": import_path(), **(environment or {})},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def import_path() -> str:
    """What this process imports from, for the environment of another."""
    return os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
