"""The training loop: exact resume, interruption, averages, several processes."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs nc-core[torch]")
pytest.importorskip("lightning_fabric", reason="training needs nc-core[torch]")
pytest.importorskip("safetensors", reason="training needs nc-core[torch]")

from safetensors.torch import load_file  # noqa: E402

import training_program  # noqa: E402
from nc_core.errors import (  # noqa: E402
    DataError,
    ExitCode,
    InterruptedWorkError,
    MissingDependencyError,
    UsageError,
    WorkError,
)
from nc_core.model_file import read_model_file  # noqa: E402
from nc_core.runs import RunDirectory  # noqa: E402
from nc_core.training import (  # noqa: E402
    EmaConfig,
    FitConfig,
    FitResult,
    Hardware,
    TrainingData,
    UpdatingTask,
    fit,
)
from nc_core.training import checkpoint as checkpoint_module  # noqa: E402
from nc_core.training.checkpoint import load_checkpoint  # noqa: E402
from nc_core.training.loggers import open_logger  # noqa: E402
from training_program import Regression, settings  # noqa: E402

PROGRAM = training_program.__file__
CPU = Hardware("cpu", threads=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run"


def train(path: Path, task: Any = None, config: FitConfig | None = None, **given: Any) -> FitResult:
    """Train as the program does, in this process; ``resume`` by the way."""
    task = Regression(0.3, 0.1) if task is None else task
    config = settings() if config is None else config
    given = {
        "hardware": CPU,
        "learning_rate": lambda k: 0.01 * 0.99**k,
        "monitor": "error",
        "export": task.export,
    } | given
    data = given.pop("data", task.data)
    may_differ = given.pop("may_differ", ())
    with RunDirectory.create(path, config.to_json(), resume=True, may_differ=may_differ) as run:
        return fit(task, data, config, run, **given)


def run_program(*arguments: str) -> int:
    """Run the program with warnings as errors; the exit code, negative for a signal."""
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK")}
    command = [sys.executable, "-W", "error", PROGRAM, *arguments]
    return subprocess.run(command, check=False, env=environment).returncode


def assert_same(one: Path, two: Path) -> None:
    """The same records and the same model to the last bit, and the same state."""
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    states = [load_checkpoint(sorted((p / "checkpoints").iterdir())[-1]) for p in (one, two)]
    for name, value in flat(states[0]["learner"]).items():
        other = flat(states[1]["learner"])[name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
    assert states[0]["progress"] == states[1]["progress"]


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key in tree for k, v in flat(tree[key], f"{prefix}/{key}").items()}
    return {prefix: tree}


# Exact resume


def test_a_killed_run_goes_on_as_if_nothing_had_happened(path: Path, tmp_path: Path) -> None:
    assert run_program(str(path), "--kill", "22") == -signal.SIGKILL
    assert RunDirectory.open(path).checkpoint_steps() == [15, 20]
    assert run_program(str(path), "--resume") == 0
    train(tmp_path / "undisturbed")
    assert_same(path, tmp_path / "undisturbed")


def test_ctrl_c_saves_the_state_and_says_how_to_go_on(path: Path, tmp_path: Path) -> None:
    for step in (21, 28):
        task = Regression(0.3, 0.1)
        task.signals[step] = signal.SIGINT
        with pytest.raises(InterruptedWorkError, match=f"stopped at step {step + 1} of 40") as e:
            train(path, task)
        assert e.value.exit_code == ExitCode.INTERRUPTED
        assert "--resume" in str(e.value.hint)
        assert RunDirectory.open(path).checkpoint_steps()[-1] == step + 1
    train(path)
    train(tmp_path / "undisturbed")
    assert_same(path, tmp_path / "undisturbed")


def test_a_job_that_is_terminated_saves_its_state_too(path: Path) -> None:
    task = Regression()
    task.signals[7] = signal.SIGTERM
    with pytest.raises(InterruptedWorkError):
        train(path, task)
    assert RunDirectory.open(path).checkpoint_steps() == [5, 8]


class Interrupted(Regression):
    """Is interrupted in its second evaluation."""

    evaluations = 0

    def evaluate(self) -> Mapping[str, float]:
        self.evaluations += 1
        if self.evaluations == 2:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("an evaluation is not waited for")
        return super().evaluate()


def test_an_evaluation_is_interrupted_at_once_and_repeated(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedWorkError, match="stopped at step 12"):
        train(path, Interrupted(0.3, 0.1))
    train(path)
    train(tmp_path / "undisturbed")
    assert_same(path, tmp_path / "undisturbed")


def test_a_second_signal_does_not_wait(path: Path) -> None:
    class Impatient(Regression):
        def after_step(self, k: int) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(path, Impatient())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_full_disk_leaves_goes_on_exactly(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    save = checkpoint_module.save_checkpoint

    def fill_up(target: Path, state: Mapping[str, Any]) -> None:
        written.append(target)
        if len(written) == 3:
            monkeypatch.setattr(os, "fsync", full)
        save(target, state)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nc_core.training.loop.save_checkpoint", fill_up)
    with pytest.raises(WorkError, match=r"step-000000015.safetensors: no space left on device"):
        train(path)
    monkeypatch.undo()
    assert RunDirectory.open(path).checkpoint_steps() == [5, 10]
    train(path)
    train(tmp_path / "undisturbed")
    assert_same(path, tmp_path / "undisturbed")


def test_a_damaged_checkpoint_may_be_removed(path: Path, tmp_path: Path) -> None:
    train(path)
    last = path / "checkpoints" / "step-000000040.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged checkpoint") as caught:
        train(path)
    assert caught.value.hint == "remove it to resume from the one before it"
    last.unlink()
    train(path)
    train(tmp_path / "undisturbed")
    assert_same(path, tmp_path / "undisturbed")


def test_a_finished_run_has_nothing_left_to_do(path: Path) -> None:
    first = train(path)
    before = (path / "metrics.jsonl").read_bytes()
    assert train(path) == first
    assert (path / "metrics.jsonl").read_bytes() == before


def test_a_run_may_be_made_longer(path: Path, tmp_path: Path) -> None:
    train(path, config=settings(42))
    longer = train(path, config=settings(48), may_differ=["duration"])
    assert longer.step == 48
    whole = train(tmp_path / "undisturbed", config=settings(48))
    assert longer.metrics == whole.metrics


def test_the_start_is_made_once(path: Path) -> None:
    class Counting(Regression):
        started = 0

        def start(self, batches: Any) -> None:
            self.started += 1
            super().start(batches)

    first, second = Counting(), Counting()
    train(path, first, settings(5))
    train(path, second, settings(10), may_differ=["duration"])
    assert (first.started, second.started, second.seen) == (1, 0, 10)


# Steps


def step_records(path: Path, phase: str) -> list[dict[str, Any]]:
    return [r for r in RunDirectory.open(path).metrics() if r["phase"] == phase]


def test_records_are_means_over_the_steps_since_the_last(path: Path, tmp_path: Path) -> None:
    train(path, config=settings(6))
    train(tmp_path / "each", config=settings(6, log_every=1))
    each = [record["loss"] for record in step_records(tmp_path / "each", "train")]
    means = [record["loss"] for record in step_records(path, "train")]
    assert means == pytest.approx([np.mean(each[:3]), np.mean(each[3:])], rel=1e-12)
    assert [record["step"] for record in step_records(path, "train")] == [3, 6]
    assert step_records(path, "evaluate")[0]["epoch"] == 1.0


def test_the_learning_rate_is_a_function_of_the_step(path: Path) -> None:
    train(path, config=settings(6, log_every=1), learning_rate=lambda k: 0.5**k)
    rates = [record["learning_rate"] for record in step_records(path, "train")]
    assert rates == [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]


class Descent(Regression):
    """One plain gradient step of length one: what changes is the gradient."""

    def optimizer(self) -> Any:
        return torch.optim.SGD(self.module.parameters(), lr=1.0)

    def start(self, batches: Any) -> None:
        self.before = [p.detach().clone() for p in self.module.parameters()]

    def moved(self) -> float:
        pairs = zip(self.module.parameters(), self.before, strict=True)
        return sum((p - b).square().sum().item() for p, b in pairs) ** 0.5


def test_gradients_are_clipped_by_their_global_norm(path: Path, tmp_path: Path) -> None:
    free, clipped = Descent(), Descent()
    plain: dict[str, Any] = {"ema": None, "log_every": 1}
    train(path, free, settings(1, **plain), learning_rate=None)
    train(tmp_path / "clipped", clipped, settings(1, clip_norm=0.01, **plain), learning_rate=None)
    norm = step_records(tmp_path / "clipped", "train")[0]["gradient_norm"]
    assert norm == pytest.approx(free.moved(), rel=1e-5)
    assert norm > 0.02
    assert clipped.moved() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("form", ["conventional", "swapped"])
def test_evaluation_sees_the_average_and_training_does_not(path: Path, form: Any) -> None:
    seen: list[float] = []

    class Watching(Descent):
        def evaluate(self) -> Mapping[str, float]:
            seen.append(self.moved())
            assert not self.module.training
            assert not torch.is_grad_enabled()
            return {"error": 1.0}

    task = Watching()
    ema = EmaConfig(decay=0.75, form=form)
    train(path, task, settings(1, ema=ema), learning_rate=None)
    share = {"conventional": 0.25, "swapped": 0.75}[form]
    assert seen == [pytest.approx(share * task.moved(), rel=1e-5)]
    exported = read_model_file(path / "model.safetensors").tensors()
    assert not np.allclose(exported["0.weight"], task.module[0].weight.detach().numpy())
    assert task.module.training


def test_the_best_evaluation_is_exported(path: Path) -> None:
    class Wavering(Regression):
        errors = (3.0, 2.0, float("nan"), 5.0, 2.0)
        evaluations = 0

        def evaluate(self) -> Mapping[str, float]:
            self.evaluations += 1
            return {"error": self.errors[self.evaluations - 1]}

    exported: list[int] = []
    task = Wavering()
    config = settings(20, evaluate_every=5, evaluate_at_start=True)
    result = train(path, task, config, export=lambda path: exported.append(task.seen))
    assert exported == [0, 5]
    assert (result.best, result.best_step) == (2.0, 5)
    assert [r["error"] for r in step_records(path, "evaluate")] == [3.0, 2.0, None, 5.0, 2.0]


def test_without_evaluations_the_end_is_exported(path: Path) -> None:
    exported: list[Path] = []
    config = settings(4, evaluate_every=None)
    train(path, config=config, export=exported.append, monitor=None)
    assert exported == [path / "model.safetensors"]


def test_an_unknown_monitor_is_an_error_of_the_program(path: Path) -> None:
    with pytest.raises(ValueError, match="no metric 'elbo' among error"):
        train(path, monitor="elbo")


def test_a_loss_that_is_no_longer_finite_ends_the_run(path: Path) -> None:
    class Exploding(Regression):
        def step(self, batch: Any, k: int) -> Any:
            losses = dict(super().step(batch, k))
            return losses | {"loss": losses["loss"] * (float("inf") if k == 8 else 1)}

    with pytest.raises(WorkError, match="no longer finite at step 9") as caught:
        train(path, Exploding())
    assert caught.value.exit_code == ExitCode.FAILED
    assert "checkpoint is of step 5" in str(caught.value.hint)
    assert RunDirectory.open(path).checkpoint_steps() == [5]


@pytest.mark.parametrize(
    ("losses", "error"),
    [({"other": 1.0}, KeyError), ({"loss": [1.0, 2.0]}, (TypeError, RuntimeError))],
)
def test_a_step_must_return_a_scalar_loss(path: Path, losses: Any, error: Any) -> None:
    class Wrong(Regression):
        def step(self, batch: Any, k: int) -> Any:
            weight = next(self.module.parameters()).sum()
            return {name: torch.tensor(value) * weight for name, value in losses.items()}

    with pytest.raises(error):
        train(path, Wrong())


class MinMax(UpdatingTask):
    """A saddle point by two optimisers: min over x, max over y."""

    def __init__(self) -> None:
        self.module = torch.nn.ParameterDict(
            {"x": torch.tensor([1.0]), "y": torch.tensor([1.0])}  # type: ignore[dict-item]
        )
        self.data = TrainingData(lambda indices, stream: torch.tensor(stream.normal()))

    def setup(self, fabric: Any) -> None:
        self.fabric = fabric
        self.optimizers = [
            fabric.setup_optimizers(torch.optim.Adam([self.module[name]], lr=0.05))
            for name in ("x", "y")
        ]

    def update(self, batch: Any, k: int) -> Mapping[str, Any]:
        x, y = self.module["x"], self.module["y"]
        losses = {}
        for name, sign, optimizer in zip("xy", (1, -1), self.optimizers, strict=True):
            optimizer.zero_grad()
            loss = sign * (x.square() + x * y - y.square() + 0.1 * batch * (x - y)).sum()
            self.fabric.backward(loss)
            optimizer.step()
            losses[name] = loss
        return {"loss": losses["x"], "gap": losses["x"] + losses["y"]}

    def evaluate(self) -> Mapping[str, float]:
        return {"error": float(self.module["x"].abs() + self.module["y"].abs())}

    def state_dict(self) -> Mapping[str, Any]:
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def export(self, path: Path) -> None:
        path.write_bytes(self.module["x"].numpy().tobytes())


def test_a_task_may_own_its_update(path: Path, tmp_path: Path) -> None:
    whole = settings(40, evaluate_every=10)
    result = train(tmp_path / "undisturbed", MinMax(), whole, learning_rate=None)
    assert result.metrics["error"] < 0.5
    assert "learning_rate" not in step_records(tmp_path / "undisturbed", "train")[0]
    short = settings(20, evaluate_every=10)
    train(path, MinMax(), short, learning_rate=None)
    train(path, MinMax(), whole, learning_rate=None, may_differ=["duration"])
    assert_same(path, tmp_path / "undisturbed")
    with pytest.raises(ValueError, match="sets its rates"):
        train(tmp_path / "rates", MinMax(), whole)


# Data and settings


def test_data_without_end_need_durations_in_steps(path: Path) -> None:
    task = Regression()
    endless = TrainingData(lambda indices, _: (task.x[indices % 96], task.y[indices % 96]))
    with pytest.raises(UsageError, match="no end and so no epochs"):
        train(path, task, data=endless)
    train(path, task, settings(6, evaluate_every=5), data=endless)  # nothing was written
    assert "epoch" not in step_records(path, "train")[0]


def test_progress_is_told_after_each_step(path: Path) -> None:
    told: list[tuple[int, int]] = []
    train(path, config=settings(3), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_training_leaves_the_process_as_it_was(path: Path) -> None:
    environment, threads = dict(os.environ), torch.get_num_threads()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    numpy_before, python_before = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    train(path, config=settings(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before  # type: ignore[index]
    assert random.getstate() == python_before
    assert dict(os.environ) == environment
    assert torch.get_num_threads() == threads
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_training_does_not_depend_on_what_was_drawn_before(path: Path, tmp_path: Path) -> None:
    train(path)
    torch.manual_seed(9)
    train(tmp_path / "again", hardware=Hardware("cpu", threads=1, loaders=0))
    assert_same(path, tmp_path / "again")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_a_usage_error(path: Path) -> None:
    with pytest.raises(UsageError, match="no CUDA device is available") as caught:
        train(path, hardware=Hardware("cuda"))
    assert caught.value.hint == "--device cpu"
    with pytest.raises(UsageError, match="cannot train on 1 x 'abacus'"):
        train(path, hardware=Hardware("abacus"))


def test_no_advice_on_slurm_where_it_is_installed_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "srun").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    CPU.check()
    assert not recwarn.list


# Images and loggers


class Drawing(Regression):
    def evaluate(self) -> Any:
        return {"error": 1.0, "digit": np.arange(12, dtype=np.uint8).reshape(3, 4)}


def test_images_of_an_evaluation_become_files(path: Path) -> None:
    from nc_core.images import read_image

    train(path, Drawing(), settings(2))
    pixels = read_image(path / "samples" / "digit-000000002.png").pixels
    assert (pixels == np.arange(12).reshape(3, 4)).all()


@pytest.fixture
def wandb_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Weights & Biases is told."""
    calls: list[Any] = []

    class Run:
        def log(self, values: Any, step: int) -> None:
            calls.append((step, values))

        def finish(self) -> None:
            calls.append("finish")

    def init(**given: Any) -> Run:
        calls.append(given)
        return Run()

    module: Any = types.ModuleType("wandb")
    module.init = init
    module.Image = lambda pixels: pixels.shape
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return calls


def test_a_logger_gets_all_numbers_and_images(path: Path, wandb_calls: list[Any]) -> None:
    train(path, Drawing(), settings(3), loggers=["wandb"])
    assert [name for step, values in wandb_calls[1:-1] for name in values] == [
        "loss", "absolute", "learning/rate", "seconds/per/step", "error/evaluate", "digit",
    ]  # fmt: skip
    assert wandb_calls[-2:] == [(3, {"digit": (3, 4)}), "finish"]


def test_a_run_that_is_resumed_is_the_same_one_elsewhere_too(
    path: Path, wandb_calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"command": "toy train", "overrides": ["a=1", "b=" + 80 * "x", "a=1"]}
    options: Any = [{}, {"resume": True}, {"force": True}]
    for given in options:
        with RunDirectory.create(path, {"width": 2}, **about, **given) as run:
            open_logger("wandb", run, 0)
            run.log({"step": 1})
    first, resumed, replaced = wandb_calls
    assert re.fullmatch("[0-9a-f]{32}", first["id"])
    assert first == {
        "project": "nc", "group": "toy train", "name": "/".join(path.parts[-2:]),
        "tags": ["a=1", 64 * "x"], "id": first["id"],
        "resume": "allow", "dir": str(path), "config": {"width": 2},
    }  # fmt: skip
    assert resumed == first
    assert replaced == first | {"id": replaced["id"]}
    assert replaced["id"] != first["id"]
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    open_logger("wandb", RunDirectory.open(path), 0)
    assert wandb_calls[-1] == replaced | {"project": "mine"}


def test_tensorboard_writes_into_the_run_directory(path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the logger needs tensorboard")
    train(path, Drawing(), settings(3), loggers=["tensorboard"])
    assert list((path / "tensorboard").iterdir())


def test_a_logger_that_is_missing_says_how_to_get_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # type: ignore[arg-type]
    with pytest.raises(MissingDependencyError, match="needs wandb") as caught:
        train(path, loggers=["wandb"])
    assert caught.value.hint == "pip install wandb"
    with pytest.raises(UsageError, match="no logger 'wand'; did you mean 'wandb'"):
        train(path, loggers=["wand"])


# Several processes


def test_two_processes_train_as_one_does(path: Path, tmp_path: Path) -> None:
    quiet = ["--dropout", "0", "--noise", "0", "--steps", "24"]
    assert run_program(str(path), "--devices", "2", *quiet) == 0
    train(tmp_path / "one", Regression(), settings(24))
    two, one = (RunDirectory.open(p).metrics() for p in (path, tmp_path / "one"))
    assert len(two) == len(one) == 12
    for record, expected in zip(two, one, strict=True):
        assert record.pop("phase") == expected.pop("phase")
        assert record == pytest.approx(expected, rel=1e-4)
    state, expected = (
        load_checkpoint(RunDirectory.open(p).checkpoint_path(24))["learner"]["module"]
        for p in (path, tmp_path / "one")
    )
    for name, value in state.items():
        assert torch.allclose(value, expected[name], atol=1e-5)


def test_all_processes_end_with_the_same_parameters_averages_and_buffers(
    path: Path, tmp_path: Path
) -> None:
    states = tmp_path / "states"
    states.mkdir()
    arguments = ["--devices", "2", "--steps", "9", "--states", str(states)]
    assert run_program(str(path), *arguments) == 0
    for name in ("averaged", "last"):
        first, second = (load_file(states / f"{name}-{rank}") for rank in (0, 1))
        assert "4.running_mean" in first
        for key, value in first.items():
            assert torch.equal(second[key], value), f"{name}: {key}"
    assert not torch.equal(
        load_file(states / "averaged-0")["0.weight"], load_file(states / "last-0")["0.weight"]
    )
