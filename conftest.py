"""Shared fixtures: where the test data lie."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Processes that were started in the background ignore Ctrl-C, and so would those that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with golden vectors and real data; skips where it is not there."""
    folder = Path(os.environ.get("NC_TEST_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("no test data: set NC_TEST_SHARED")
    return folder
