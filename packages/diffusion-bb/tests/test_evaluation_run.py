"""An evaluation that is killed or interrupted goes on, and finds what it would have found."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from nc_core.errors import DataError, InterruptedWorkError, UsageError, WorkError
from nc_core.files import describe_os_error
from nc_core.rates import Rate
from nc_core.runs import RunDirectory
from nc_core.training.checkpoint import save_checkpoint
from nc_diffusion_bb import case_record, evaluation, vlb, vlb_parts
from nc_diffusion_bb.case_record import CaseRecord
from nc_diffusion_bb.commands.evaluate import evaluate
from nc_diffusion_bb.reverse_process import ReverseProcess
from nc_diffusion_bb.tracking import Track
from tiny_codec import smooth_images, write_tiny_model

Arguments = tuple[str, ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a model and images."""
    folder = tmp_path_factory.mktemp("made")
    write_tiny_model(folder / "m.safetensors")
    np.save(folder / "x.npy", smooth_images(8))
    return folder


@pytest.fixture
def words(made: Path) -> Arguments:
    return (
        "--model", str(made / "m.safetensors"), "--dataset", f"npy:{made / 'x.npy'}",
        "--threads", "1",
    )  # fmt: skip


def run(*arguments: object) -> str:
    found = CliRunner().invoke(evaluate, [*map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def without_seconds(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: without_seconds(v) for k, v in node.items() if not k.endswith("_seconds")}
    return [without_seconds(one) for one in node] if isinstance(node, list) else node


def table(folder: Path) -> Any:
    return without_seconds(RunDirectory.open(folder).results())


def levels(folder: Path) -> dict[str, NDArray[np.float64]]:
    return {
        f"{path.stem} {name}": array
        for path in (folder / "results").glob("*.npz")
        for name, array in np.load(path).items()
    }


def assert_same(folder: Path, whole: Path) -> None:
    assert table(folder) == table(whole)
    assert levels(folder).keys() == levels(whole).keys()
    for name, array in levels(whole).items():
        np.testing.assert_allclose(levels(folder)[name], array, rtol=1e-12, err_msg=name)
    files = [
        sorted(str(path.relative_to(place)) for path in place.rglob("*"))
        for place in (folder, whole)
    ]
    assert files[0] == files[1]
    assert not (folder / "checkpoints").exists()


class Killed(BaseException):
    """Nothing is saved when it is raised."""


class Passes:
    """Counts passes of the networks, and may end the work at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = 0
        self.left: int | None = None
        self.error: type[BaseException] = Killed
        for owner, name in ((ReverseProcess, "moments"), (vlb, "_terms_of_step")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if self.left is not None:
                if self.left == 0:
                    raise self.error
                self.left -= 1
            self.done += 1
            return function(*arguments, **options)

        return counted


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Of evaluations that keep every step, and draw no figures."""
    monkeypatch.setattr("nc_diffusion_bb.commands.evaluate.draw_figures", lambda folder: None)
    monkeypatch.setattr(evaluation, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(evaluation, "_BOUND_BATCH", 2)
    monkeypatch.setattr(vlb_parts, "_SAVE_SECONDS", 0.0)
    return Passes(monkeypatch)


@pytest.mark.parametrize(("lead_in", "limit"), [("none", "4"), ("predictive", "8")])
def test_an_evaluation_that_is_killed_again_and_again_finds_the_same(
    words: Arguments, tmp_path: Path, passes: Passes, lead_in: str, limit: str
) -> None:
    words = (*words, "--limit", limit, "--steps", "4", "--batch-size", "2", "--lead-in", lead_in)
    run(*words, "-o", tmp_path / "whole")
    undisturbed, passes.done = passes.done, 0
    kills = 0
    while kills < undisturbed:
        passes.left = 23
        try:
            run(*words, "-o", tmp_path / "killed", "--resume")
            break
        except Killed:
            kills += 1
    assert kills >= 2
    # Again are those that check the codec, of a group that is popped from the top, of a lead-in.
    assert passes.done <= undisturbed + 12 * kills
    assert_same(tmp_path / "killed", tmp_path / "whole")
    assert levels(tmp_path / "whole")["levels-4 bit-swap push"].all()


def test_what_is_finished_is_not_measured_again(
    words: Arguments, tmp_path: Path, passes: Passes
) -> None:
    words = (*words, "--limit", "4", "--steps", "4", "-o", str(tmp_path / "run"))
    first = run(*words, "--json")
    passes.left = 0
    assert run(*words, "--json", "--resume") == first
    with pytest.raises(DataError, match="run directory exists") as caught:
        run(*words)
    assert "--resume goes on" in (caught.value.hint or "")


@pytest.mark.parametrize("after", [5, 40])
def test_an_interruption_says_how_to_go_on(
    words: Arguments, tmp_path: Path, passes: Passes, after: int
) -> None:
    words = (*words, "--limit", "4", "--steps", "4", "--order", "bit-swap")
    passes.left, passes.error = after, KeyboardInterrupt
    with pytest.raises(InterruptedWorkError, match="run: interrupted; what is done") as caught:
        run(*words, "-o", tmp_path / "run")
    assert "--resume" in (caught.value.hint or "")
    passes.left = None
    run(*words, "-o", tmp_path / "run", "--resume")
    run(*words, "-o", tmp_path / "whole")
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("phase", ["encode", "decode"])
@pytest.mark.parametrize("lead_in", ["none", "predictive"])
def test_no_room_for_the_record_of_a_case_loses_nothing(
    words: Arguments, tmp_path: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch,
    lead_in: str, phase: str,
) -> None:  # fmt: skip
    words = (*words, "--steps", "4", "--batch-size", "2", "--order", "bit-swap")
    words = (*words, "--limit", "8", "--lead-in", lead_in)
    left = 3

    def full(path: Path, state: Any) -> None:
        nonlocal left
        left -= (state["seconds"]["decode"] > 0) == (phase == "decode")
        if left < 0:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise describe_os_error(error, path) from error
        save_checkpoint(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(case_record, "save_checkpoint", full)
        with pytest.raises(WorkError, match=r"no space left on device\n.*--resume"):
            run(*words, "-o", tmp_path / "run")
    (coded,) = (tmp_path / "run" / "checkpoints").glob(".*.partial")
    assert coded.stat().st_size or phase == "encode"
    begun, passes.done = passes.done, 0
    run(*words, "-o", tmp_path / "run", "--resume")
    resumed, passes.done = passes.done, 0
    run(*words, "-o", tmp_path / "whole")
    assert begun + resumed <= passes.done + 12
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (("--limit", "3"), "images=4, not 3"),
        (("--limit", "4", "--seed", "1"), "seed=0, not 1"),
        (("--limit", "4", "--batch-size", "2"), "cases="),
        (("--limit", "4", "--steps", "6"), "respacing="),
    ],
)
def test_an_evaluation_of_something_else_does_not_go_on(
    words: Arguments, tmp_path: Path, passes: Passes, other: Arguments, message: str
) -> None:
    words = (*words, "--steps", "4", "--order", "bit-swap", "-o", str(tmp_path / "run"))
    passes.left = 8
    with pytest.raises(Killed):
        run(*words, "--limit", "4")
    passes.left = None
    with pytest.raises(UsageError, match=message):
        run(*words, *other, "--resume")


def test_without_a_directory_nothing_is_resumed(words: Arguments) -> None:
    with pytest.raises(UsageError, match="--resume needs the directory"):
        run(*words, "--limit", "2", "--steps", "2", "--resume")


EVALUATE = (sys.executable, "-W", "error", "-m", "nc_cli", "run", "diffusion-bb", "evaluate")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130)])
def test_a_process_that_is_stopped_within_a_file_goes_on(
    words: Arguments, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    words = (*words, "--batch-size", "1", "--steps", "6")
    process = subprocess.Popen(
        [*EVALUATE, *words, "-o", tmp_path / "run"], stderr=subprocess.PIPE
    )  # fmt: skip
    state = tmp_path / "run" / "checkpoints"
    while process.poll() is None and not any(
        path.stat().st_size for path in state.glob(".*-bb-ans-*.partial")
    ):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert [*state.glob("*bit-swap*.safetensors")]
    assert len([*state.glob(".*.journal/*")]) == (number == signal.SIGTERM)
    run(*words, "-o", tmp_path / "run", "--resume")
    run(*words, "-o", tmp_path / "whole")
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_threads_are_those_that_were_asked_for(
    words: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def moments(self: ReverseProcess, *arguments: Any) -> Any:
        seen.add(torch.get_num_threads())
        return before(self, *arguments)

    before = ReverseProcess.moments
    monkeypatch.setattr(ReverseProcess, "moments", moments)
    threads = torch.get_num_threads()
    run(*words, "--limit", "2", "--steps", "2", "--order", "bit-swap", "--threads", "3")
    assert 3 in seen
    assert torch.get_num_threads() == threads


def test_a_kill_between_a_file_and_its_rate_counts_no_seconds_twice(
    words: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nc_diffusion_bb.commands.evaluate.draw_figures", lambda folder: None)
    words = (*words, "--limit", "2", "--steps", "2", "--order", "bit-swap", "-o")
    words, whole = (*words, str(tmp_path / "run"), "--json"), (*words, str(tmp_path / "whole"))
    finish = CaseRecord.finish

    def killed(self: CaseRecord, rate: Rate) -> Rate:
        self._before["encode"] += 1e6
        self.keep()
        raise Killed

    monkeypatch.setattr(CaseRecord, "finish", killed)
    with pytest.raises(Killed):
        run(*words)
    assert [*(tmp_path / "run" / "checkpoints").glob("*.ncz")]
    monkeypatch.setattr(CaseRecord, "finish", finish)
    (record,) = json.loads(run(*words, "--resume"))
    assert 0 < record["encode_seconds"] < 1e5
    run(*whole)
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_seconds_are_those_of_all_processes_without_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr("nc_diffusion_bb.case_record.time", clock)
    path = tmp_path / "case.safetensors"
    first = CaseRecord(2, path)
    first.begin("encode")
    now += 7
    first.add(0, Track(2))
    now += 1
    first.begin("decode")
    now += 20
    first.keep()
    now += 50  # and killed
    second = CaseRecord(2, path)
    assert second.rate is None
    rate = Rate(
        items=1, dims=4, pixels=4, total_bits=9, payload_bits=8, initial_bits=0, bound_bits=7.5,
        encode_seconds=0.5, decode_seconds=3.0, verified=True,
    )  # fmt: skip
    found = second.finish(rate)
    assert found.decode_seconds == 20 + 3
    assert found.encode_seconds == 8 + 0.5
    assert CaseRecord(2, path).rate == found
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged") as caught:
        CaseRecord(2, path)
    assert caught.value.hint == "--force starts the evaluation again"
