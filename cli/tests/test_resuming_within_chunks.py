"""``nc compress`` and ``nc decompress`` interrupted in the middle of a long chunk, and resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import slow_model
from nc_core.errors import ExitCode

PLUGIN = """
import os
from pathlib import Path

from nc_core.hookspecs import hookimpl
from nc_core.specs import ModelSpec, Pretrained
from slow_model import Countdown, SlowModel


@hookimpl
def nc_models():
    member = Pretrained("slow", "takes many steps", SlowModel.id)
    yield ModelSpec(
        name="slow", summary="takes many steps", target=f"{__name__}:load",
        abilities=("lossless-model",), pretrained=(member,),
    )


def load(file):
    left = int(os.environ["LEFT"])
    return SlowModel(Countdown(Path("log"), left if left else None, int(os.environ["SIGNAL"])))
"""
ALL_STEPS = 5 * slow_model.STEPS


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slow.py").write_text(PLUGIN)
    np.save("x.npy", slow_model.images())


def nc(*arguments: str, left: int = 0, number: int = signal.SIGINT) -> tuple[int, str]:
    """Run a command with the slow model; its exit code and what it said."""
    environment = {
        "PYTHONPATH": str(Path(slow_model.__file__).parent),
        "NC_DATA": str(Path("data").absolute()),
        "LEFT": str(left),
        "SIGNAL": str(int(number)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "nc_cli", "--plugin", "slow.py", *arguments, "--threads", "1"],
        env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def steps() -> int:
    return Path("log").stat().st_size


def test_an_interrupted_command_is_resumed_where_it_was() -> None:
    packing = ("compress", "--dataset", "npy:x.npy", "--model", "slow", "-o", "x.ncz")
    code, said = nc(*packing, left=7)
    assert code == ExitCode.INTERRUPTED
    assert said == (
        "nc: interrupted; what was coded of x.ncz is kept\n"
        "run the same command with --resume to go on\n"
    )
    code, said = nc(*packing, "--resume", left=7, number=signal.SIGTERM)
    assert code == ExitCode.INTERRUPTED
    assert "1 finished chunk of x.ncz is kept" in said
    assert nc(*packing, "--resume")[0] == ExitCode.DONE
    assert steps() == 2 * ALL_STEPS

    restoring = ("decompress", "x.ncz", "-o", "out")
    code, said = nc(*restoring, left=7)
    assert code == ExitCode.INTERRUPTED
    assert said == (
        "nc: interrupted; what was decoded of x.ncz is kept\n"
        "run the same command with --resume to go on\n"
    )
    assert nc(*restoring, "--resume")[0] == ExitCode.DONE
    assert steps() == 3 * ALL_STEPS
    (restored,) = Path("out").iterdir()  # and nothing unfinished
    assert np.array_equal(np.load(restored), slow_model.images())
    names = {path.name for path in Path().iterdir()} - {"__pycache__"}
    assert names == {"log", "out", "slow.py", "x.ncz", "x.npy"}


def test_forgetting_to_resume_is_told_of() -> None:
    packing = ("compress", "--dataset", "npy:x.npy", "--model", "slow", "-o", "x.ncz")
    nc(*packing, left=7)
    code, said = nc(*packing)
    assert code == ExitCode.DONE
    warning = "nc: warning: x.ncz: the work begins again; --resume goes on with what is left of it"
    assert warning in said
    assert not re.search("Traceback", said)
