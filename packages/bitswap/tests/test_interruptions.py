"""Commands that are killed or interrupted at random moments, and go on, as users see it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nc_core.images import Image, read_image, write_image
from nc_core.model_file import read_model_file
from nc_core.runs import RunDirectory

NC = [sys.executable, "-m", "nc_cli"]
SETTINGS = {
    "model.height": 8,
    "model.width": 8,
    "model.hidden": 4,
    "model.processing": 0,
    "model.blocks": 1,
    "bins.bits": 4,
    "bins.samples_per_bin": 2,
    "warm_up_batches": 2,
    "training.duration": 60,
    "training.batch_size": 4,
    "training.log_every": 1,
    "training.evaluate_every": 10,
    "training.checkpoint_every": 4,
}


def run(*arguments: object) -> None:
    subprocess.run([*NC, *map(str, arguments)], check=True, capture_output=True, timeout=120)


def stop(number: signal.Signals, when: Callable[[], bool], *arguments: object) -> tuple[int, str]:
    """Send a signal to a command as soon as something holds; its exit code and messages."""
    command = [*NC, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not when() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        return process.returncode, errors.decode()


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images; every one has another size than the one before, and so its own chunk."""
    stream = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for index in range(40):
        pixels = stream.integers(0, 60, (28 - index % 2, 28), np.uint8)
        write_image(tmp_path / "images" / f"{index:02d}.png", Image(pixels))
    return tmp_path / "images"


@pytest.mark.parametrize("model", ["bitswap-mnist", "predictive"])
def test_compression_goes_on_after_kill_and_control_c(
    images: Path, tmp_path: Path, model: str
) -> None:
    moments = random.Random(model)
    run("compress", images, "--model", model, "-o", tmp_path / "whole.ncz")
    expected = (tmp_path / "whole.ncz").read_bytes()
    path, partial = tmp_path / "x.ncz", tmp_path / ".x.ncz.partial"
    arguments = ("compress", images, "--model", model, "-o", path, "--threads", 1, "--resume")
    chunks_end = len(expected) * 0.8  # behind it come footer and verification
    first, second = sorted(moments.uniform(0.1, 1) * chunks_end for _ in range(2))

    code, _ = stop(signal.SIGKILL, lambda: size(partial) > first, *arguments)
    assert code == -signal.SIGKILL
    assert not path.exists()

    code, errors = stop(signal.SIGINT, lambda: size(partial) > second, *arguments)
    assert code == 130
    assert f"of {path} are kept" in errors and "--resume" in errors
    assert not path.exists()

    run(*arguments)
    assert path.read_bytes() == expected
    assert not partial.exists()


def test_decompression_that_is_killed_leaves_no_file_and_works_again(
    images: Path, tmp_path: Path
) -> None:
    packed, out = tmp_path / "x.ncz", tmp_path / "out"
    run("compress", images, "-o", packed)
    code, _ = stop(
        signal.SIGKILL, lambda: any(out.glob(".nc-*/20.png")), "decompress", packed, "-o", out
    )
    assert code == -signal.SIGKILL
    assert not list(out.glob("*.png"))
    run("decompress", packed, "-o", out)
    for path in images.iterdir():
        np.testing.assert_array_equal(read_image(out / path.name).pixels, read_image(path).pixels)


def test_training_goes_on_after_kill_and_control_c(tmp_path: Path) -> None:
    moments = random.Random("training")
    data = tmp_path / "digits.npy"
    np.save(data, np.random.default_rng(0).integers(0, 90, (24, 6, 6), np.uint8))
    settings = SETTINGS | {"data.train": f"npy:{data}", "data.test": f"npy:{data}"}
    options = [part for item in settings.items() for part in ("--set", "{}={}".format(*item))]
    arguments = ("run", "bitswap", "train", *options, "--device", "cpu", "--threads", 1)
    whole, parts = tmp_path / "whole" / "run", tmp_path / "parts" / "run"
    run(*arguments, "--out", whole)

    def steps() -> int:
        path = parts / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    first, second = sorted(moments.randrange(2, 50) for _ in range(2))
    goes_on = (*arguments, "--out", parts, "--resume")
    code, _ = stop(signal.SIGKILL, lambda: steps() > first, *goes_on)
    assert code == -signal.SIGKILL
    (parts / ".nc-0123456789abcdef.tmp").write_bytes(b"what a kill in a write leaves")

    code, errors = stop(signal.SIGINT, lambda: steps() > second, *goes_on)
    assert code == 130
    assert "with everything saved" in errors and "--resume" in errors

    run(*goes_on)
    assert (parts / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert len(RunDirectory.open(parts).metrics()) > 60
    models = [read_model_file(path / "model.safetensors").id for path in (whole, parts)]
    assert models[0] == models[1]
    for path in (whole / "samples").iterdir():
        assert (parts / "samples" / path.name).read_bytes() == path.read_bytes()
    assert not list(parts.rglob(".nc-*"))
