"""Runs of the original's codec: rates, checkpoints, and what another machine is told."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans.folding import fold
from nc_core.errors import UsageError, WorkError
from nc_core.runs import RunDirectory
from nc_diffusion_bb import progress_table
from nc_diffusion_bb.original.codec import OriginalCodec
from nc_diffusion_bb.original.numerics import numerics, refuse_other_numerics
from nc_diffusion_bb.original.rates import Growth, Tally
from nc_diffusion_bb.original.results import keep_measurements
from nc_diffusion_bb.original.run import Plan, decode_images, encode_images
from nc_diffusion_bb.original.settings import CodecSettings
from nc_diffusion_bb.original.state import Encoded
from nc_diffusion_bb.run_figures import draw_run
from toy_chain import Toy, ToyChain, golden_toy


@pytest.fixture
def toy(shared: Path) -> Toy:
    return golden_toy(shared)


class StoppingCodec(OriginalCodec):
    """Stops before a number of further batches were coded."""

    def stop_after(self, batches: int) -> StoppingCodec:
        self.left = batches
        return self

    def _count(self) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1

    def push(self, *arguments: Any, **options: Any) -> Growth:
        self._count()
        return super().push(*arguments, **options)

    def pop(self, *arguments: Any) -> NDArray[np.uint8]:
        self._count()
        return super().pop(*arguments)


def plan_of(toy: Toy, **changes: Any) -> Plan:
    plan = Plan(
        codec=OriginalCodec(toy.chain, CodecSettings()),
        load=lambda indices: toy.images[indices],
        indices=np.arange(6),
        shape=(1, 4, 4),
        batch_size=2,
        initial_words=448,
        track=True,
        save_every=1,
    )
    return replace(plan, **changes)


def stopped(toy: Toy, batches: int) -> Plan:
    codec = StoppingCodec(toy.chain, CodecSettings())
    return plan_of(toy, codec=codec.stop_after(batches))


def open_run(path: Path, *, resume: bool = False) -> RunDirectory:
    return RunDirectory.create(path, {}, resume=resume)


def complete(plan: Plan, path: Path, *, resume: bool = False) -> tuple[NDArray[Any], Tally]:
    """Encode and decode; the flat message and what is known of it."""
    with open_run(path, resume=resume) as run:
        encoded = encode_images(plan, run)
        tally = encoded.tally
        words = fold(encoded.message)
        decode_images(plan, run, encoded)
        keep_measurements(run, tally, tally.rates(4 * len(words)))
    return words, tally


def read_progress(path: Path) -> list[list[float]]:
    with (path / "progress.csv").open() as file:
        names, *rows = csv.reader(file)
    assert names == ["samples", "rate_total", "rate_used", "rate_effective"]
    return [[float(cell) for cell in row] for row in rows]


def test_rates_and_levels_are_written_as_the_original_does(toy: Toy, tmp_path: Path) -> None:
    _, tally = complete(plan_of(toy), tmp_path / "run")
    rows = read_progress(tmp_path / "run")
    assert [row[0] for row in rows] == [2, 4, 6]
    assert rows[-1][2] - rows[-1][3] == pytest.approx(8 * tally.extra_bytes / 96)
    for name in ("push", "pop"):
        arrays = np.load(tmp_path / "run" / "results" / f"rates-{name}.npz")
        assert sorted(arrays.files) == ["max", "mean", "min", "stdd"]
        assert arrays["mean"].shape == (6,)
        assert (arrays["min"] <= arrays["mean"]).all()
        assert (arrays["mean"] <= arrays["max"]).all()
    with RunDirectory.open(tmp_path / "run") as run:
        names = [record["name"] for record in run.results()["original"]]
    assert names == [
        "rate_total", "rate_used", "rate_effective", "initial_bits", "encode_cpu_seconds",
        "decode_cpu_seconds",
    ]  # fmt: skip
    figures = ["rates-push.svg", "rates-pop.svg", "rates.svg"]
    assert [path.name for path in draw_run(tmp_path / "run")] == figures
    for name in figures:
        assert (tmp_path / "run" / "results" / name).stat().st_size > 1000


def test_tables_are_not_written_after_every_batch(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write = progress_table.write_csv

    def count(path: Path, *rest: Any) -> None:
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(progress_table, "write_csv", count)
    with open_run(tmp_path / "run") as run:
        encode_images(plan_of(toy, batch_size=1, save_every=1), run)
    assert len(written) == 2  # at the first and at the end
    assert len(read_progress(tmp_path / "run")) == 6


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_encoding_goes_on_after_a_kill_with_the_same_message_and_rates(
    toy: Toy, tmp_path: Path, batches: int
) -> None:
    whole, tally = complete(plan_of(toy), tmp_path / "whole")
    path = tmp_path / "killed"
    with open_run(path) as run, pytest.raises(KeyboardInterrupt):
        encode_images(stopped(toy, batches), run)
    message, resumed = complete(plan_of(toy), path, resume=True)
    assert resumed.extra_bytes == tally.extra_bytes > 0
    assert np.array_equal(resumed.push_bytes, tally.push_bytes)
    assert read_progress(path) == read_progress(tmp_path / "whole")
    with RunDirectory.open(path) as run:
        assert len(run.metrics()) == 3
    assert np.array_equal(message, whole)


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_decoding_goes_on_after_a_kill(toy: Toy, tmp_path: Path, batches: int) -> None:
    plan, path = plan_of(toy), tmp_path / "run"
    with open_run(path) as run:
        encoded = encode_images(plan, run)
        with pytest.raises(KeyboardInterrupt):
            decode_images(stopped(toy, batches), run, encoded)
    with open_run(path, resume=True) as run:
        encoded = encode_images(plan, run)
        # Only the batches that were left are decoded.
        decode_images(stopped(toy, 3 - batches), run, encoded)
        seconds = (path / "timing.jsonl").read_text().splitlines()
    assert len(seconds) == 6


def test_a_finished_run_takes_more_images(toy: Toy, tmp_path: Path) -> None:
    path = tmp_path / "run"
    complete(plan_of(toy, indices=np.arange(3)), path)  # batches of 2 and 1
    _, tally = complete(plan_of(toy), path, resume=True)
    assert tally.batches.tolist() == [2, 1, 2, 1]
    with open_run(path, resume=True) as run, pytest.raises(UsageError, match="6 images"):
        encode_images(plan_of(toy, indices=np.arange(4)), run)


def test_the_last_batch_is_smaller_instead_of_starting_again(toy: Toy, tmp_path: Path) -> None:
    _, tally = complete(plan_of(toy, indices=np.arange(5)), tmp_path / "run")
    assert tally.batches.tolist() == [2, 2, 1]
    assert tally.images == 5


def test_a_network_with_other_digits_is_noticed(toy: Toy, tmp_path: Path) -> None:
    other = OriginalCodec(ToyChain(toy.chain.arrays, noise=1e-5), CodecSettings())
    with open_run(tmp_path / "run") as run:
        encoded = encode_images(plan_of(toy), run)
        with pytest.raises(WorkError, match=r"the batch that begins at image [02]"):
            decode_images(plan_of(toy, codec=other), run, encoded)


def test_a_message_that_ends_elsewhere_is_noticed(toy: Toy, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        encoded = encode_images(plan_of(toy), run)
        with pytest.raises(WorkError, match="does not end at its initial words"):
            decode_images(plan_of(toy, seed=1), run, encoded)


def test_too_few_words_for_the_lanes_are_a_usage_error(toy: Toy, tmp_path: Path) -> None:
    plan = plan_of(toy, initial_words=20)
    with open_run(tmp_path / "run") as run, pytest.raises(UsageError, match="32 lanes"):
        encode_images(plan, run)


def test_without_tracking_there_are_rates_and_no_levels(toy: Toy, tmp_path: Path) -> None:
    _, tally = complete(plan_of(toy, track=False, save_every=None), tmp_path / "run")
    assert tally.level_bits() is None
    assert not draw_run(tmp_path / "run")
    assert not (tmp_path / "run" / "results" / "rates-push.npz").exists()
    with RunDirectory.open(tmp_path / "run") as run:
        state = Encoded.load(run)
    assert state is not None
    assert state.tally.images == 6


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [("threads", 77, "--threads 77"), ("batch_size", 3, "--batch-size 3"), ("torch", "1.0", None)],
)
def test_other_numerics_are_refused_with_the_reason(
    toy: Toy, tmp_path: Path, name: str, value: Any, hint: str | None
) -> None:
    now = numerics(toy.chain, (2, 1, 4, 4))
    refuse_other_numerics(tmp_path / "run", now)
    RunDirectory.create(tmp_path / "run", {"numerics": now | {name: value}}).close()
    with pytest.raises(UsageError, match=rf"{name}={value}.*last digits") as caught:
        refuse_other_numerics(tmp_path / "run", now)
    assert caught.value.hint is not None
    assert hint is None or hint in caught.value.hint


def test_a_network_whose_digits_differ_for_another_reason_is_refused_too(
    toy: Toy, tmp_path: Path
) -> None:
    shape = (2, 1, 4, 4)
    other = ToyChain(toy.chain.arrays, noise=1e-7)
    RunDirectory.create(tmp_path / "run", {"numerics": numerics(other, shape)}).close()
    with pytest.raises(UsageError, match="digits="):
        refuse_other_numerics(tmp_path / "run", numerics(toy.chain, shape))
    refuse_other_numerics(tmp_path / "run", numerics(other, shape))
