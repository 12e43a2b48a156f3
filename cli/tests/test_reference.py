"""The reference pages are those that the programs' own help makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GENERATOR = Path(__file__).resolve().parents[2] / "docs" / "generate.py"


def test_the_reference_of_the_commands_is_up_to_date() -> None:
    if not GENERATOR.is_file():
        pytest.skip("the documentation is not beside the tests")
    done = subprocess.run(
        [sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run 'nox -s docs'\n{done.stderr}"
