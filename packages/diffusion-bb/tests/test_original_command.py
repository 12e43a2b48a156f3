"""``nc run diffusion-bb original``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nc_core.errors import DataError, InterruptedWorkError, UsageError, WorkError
from nc_core.runs import RunDirectory
from nc_core.training.loggers import LOGGERS
from nc_diffusion_bb.commands.original import original
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.original.codec import OriginalCodec
from nc_diffusion_bb.release import write_model
from nc_diffusion_bb.unet import Architecture, UNet

DIMS = 8 * 8


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model that was never trained, and five images."""
    folder = tmp_path_factory.mktemp("original")
    images = np.random.default_rng(0).integers(256, size=(5, 1, 8, 8)).astype(np.uint8)
    np.save(folder / "x.npy", images)
    torch.manual_seed(0)
    shape = Architecture(
        image_size=8, in_channels=1, width=32, out_channels=2, blocks=1, attention_factors=(),
        multipliers=(1,), heads=1,
    )  # fmt: skip
    path = folder / "m.safetensors"
    write_model(path, UNet(shape), DiffusionConfig(steps=100), images)
    return {"model": str(path), "dataset": f"npy:{folder / 'x.npy'}"}


def code(files: dict[str, str], out: Path, *arguments: object) -> list[dict[str, Any]]:
    options = [
        "--model", files["model"], "--dataset", files["dataset"], "--steps", "10", "--batch-size",
        "2", "--initial-words", "1500", "--threads", "1", "-o", out, "--json", *arguments,
    ]  # fmt: skip
    result = CliRunner().invoke(original, [*map(str, options)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    measured: list[dict[str, Any]] = json.loads(result.stdout)
    return measured


def test_images_are_coded_and_decoded_and_three_rates_are_said(
    files: dict[str, str], tmp_path: Path
) -> None:
    measured = {one["name"]: one for one in code(files, tmp_path / "run", "--track")}
    total, used, effective = (
        measured[f"rate_{k}"]["value"] for k in ("total", "used", "effective")
    )
    assert total > used > effective > 0
    assert measured["rate_total"]["n"] == 5
    assert measured["decode_cpu_seconds"]["n"] == 5
    # The first batch borrows all latents, of up to ten bits each.
    assert 50 < measured["initial_bits"]["value"] <= 101
    assert total - effective == pytest.approx(4 * 8 * 1500 / (5 * DIMS), rel=0.01)
    files_there = {path.name for path in (tmp_path / "run").rglob("*.*")}
    assert files_there >= {"progress.csv", "rates-push.npz", "rates-pop.npz", "rates.svg"}


def test_the_same_command_goes_on_with_another_limit(files: dict[str, str], tmp_path: Path) -> None:
    code(files, tmp_path / "run", "--limit", 2, "--no-check")
    resumed = code(files, tmp_path / "run", "--limit", 4, "--resume")
    whole = code(files, tmp_path / "whole", "--limit", 4)
    assert [one["value"] for one in resumed[:4]] == [one["value"] for one in whole[:4]]


def test_loggers_keep_what_an_earlier_process_told_them(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    class Recording:
        def __init__(self, run: RunDirectory, step: int) -> None:
            told[:] = [earlier for earlier in told if earlier <= step]

        def scalars(self, step: int, values: dict[str, float]) -> None:
            told.append(step)

        def close(self) -> None: ...

    monkeypatch.setitem(LOGGERS, "tensorboard", Recording)
    words = ("--logger", "tensorboard", "--no-check", "--save-every", 1)
    code(files, tmp_path / "run", *words, "--limit", 4)
    told.append(6)  # of a batch after the last checkpoint
    code(files, tmp_path / "run", *words, "--resume")
    assert told == [2, 4, 5]


def test_another_number_of_threads_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    code(files, tmp_path / "run", "--limit", 2, "--no-check")
    with pytest.raises(UsageError, match=r"threads=1, not 2.*would decode as noise"):
        code(files, tmp_path / "run", "--limit", 2, "--threads", 2, "--resume")


def test_another_batch_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    code(files, tmp_path / "run", "--limit", 2, "--no-check")
    with pytest.raises(UsageError, match=r"batch_size=2, not 1.*would decode as noise"):
        code(files, tmp_path / "run", "--limit", 2, "--batch-size", 1, "--resume")


def test_shards_code_every_nth_image(files: dict[str, str], tmp_path: Path) -> None:
    counts = [code(files, tmp_path / str(k), "--shard", f"{k}/2", "--no-check")[0]["n"]
              for k in (0, 1)]  # fmt: skip
    assert counts == [3, 2]
    with pytest.raises(UsageError, match="no image is left"):
        code(files, tmp_path / "none", "--shard", "5/6")


def test_options_that_make_no_codec_are_refused(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pixel_bits is 7"):
        code(files, tmp_path / "run", "--pixel-bits", 7)
    assert not (tmp_path / "run").exists()
    code(files, tmp_path / "run", "--limit", 2, "--no-check")
    with pytest.raises(DataError, match="run directory exists"):
        code(files, tmp_path / "run")


def test_seeds_of_more_than_32_bits_are_refused(files: dict[str, str], tmp_path: Path) -> None:
    words = ["--model", files["model"], "-o", str(tmp_path / "run"), "--seed", str(2**32)]
    result = CliRunner().invoke(original, words)
    assert result.exit_code == 2
    assert "--seed: 4294967296 is more than 4294967295" in result.stderr
    assert not (tmp_path / "run").exists()
    code(files, tmp_path / "run", "--limit", 2, "--no-check", "--seed", 2**32 - 1)


def test_too_few_initial_words_say_so(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="no more initial words"):
        code(files, tmp_path / "run", "--initial-words", 400)


def test_an_interruption_says_how_to_go_on(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pop = OriginalCodec.pop
    calls = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pop(*arguments)

    monkeypatch.setattr(OriginalCodec, "pop", interrupted)
    with pytest.raises(InterruptedWorkError, match="whole batches are kept"):
        code(files, tmp_path / "run", "--save-every", 1)
    assert code(files, tmp_path / "run", "--save-every", 1, "--resume")[0]["n"] == 5
    assert len(calls) == 4  # one batch was not decoded again
