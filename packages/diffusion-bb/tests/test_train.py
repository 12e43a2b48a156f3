"""Training against the original's numbers, and runs that are interrupted or fail."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from golden_fill import fill_weights, images, normal_like
from nc_core.ans import Message, Rans
from nc_core.config import load_config
from nc_core.errors import DataError, InterruptedWorkError, UsageError, WorkError
from nc_core.images import Image, write_image
from nc_core.model_file import read_model_file, write_model_file
from nc_core.runs import RunDirectory
from nc_core.training import FitResult, Hardware, TrainingData, fit
from nc_core.training.checkpoint import load_checkpoint
from nc_core.training.schedule import Schedule
from nc_diffusion_bb.commands.train import train as train_command
from nc_diffusion_bb.config import DiffusionConfig, TrainConfig
from nc_diffusion_bb.data import Images, open_images
from nc_diffusion_bb.half_precision import LossScale, MasterWeights
from nc_diffusion_bb.release import float_model, load, write_model
from nc_diffusion_bb.timestep_samplers import DrawnSteps
from nc_diffusion_bb.train import DiffusionTask, Draw, build_network, check, train
from nc_diffusion_bb.unet import Architecture, UNet

CPU = Hardware(device="cpu", threads=1, loaders=0)
SMALL = (
    "model.channels=1", "model.image_size=8", "model.width=32", "model.multipliers=[1]",
    "model.blocks=1", "model.attention=[]", "diffusion.steps=8", "optimizer.learning_rate=1e-3",
    "optimizer.ema_rates=[0.9,0.99]", "evaluation_images=3", "evaluation_respacing=4",
    "training.duration=20", "training.batch_size=8", "training.log_every=2",
    "training.evaluate_every=20", "training.checkpoint_every=5",
)  # fmt: skip

# With one channel in a group, normalisation takes these away, and so does softmax with the keys';
# what Adam makes of the signs of rounding errors is not the original's.
WITHOUT_GRADIENT = (
    "in_layers.2.bias", "out_layers.3.bias", "skip_connection.bias", "qkv.bias",
)  # fmt: skip


class GoldenTask(DiffusionTask):
    """Takes what is drawn from the golden data."""

    tag: str
    given: Mapping[str, Any]

    def _drawn(self, images: Tensor, k: int) -> Draw:
        rows = slice(k * len(images), (k + 1) * len(images))
        noise = normal_like(f"{self.tag}/noise", (12, *images.shape[1:]))[rows]
        t, weights = (torch.from_numpy(self.given[name])[rows] for name in ("t", "w"))
        return Draw(DrawnSteps(t, weights), noise)


@pytest.mark.parametrize("run", ["kl_wd0_mb-1", "hybrid_wd0.05_mb2_anneal"])
def test_three_steps_are_the_original_ones(shared: Path, tmp_path: Path, run: str) -> None:
    folder = shared / "golden" / "diffusion-bb"
    document = json.loads((folder / "train_steps.json").read_text())
    arrays = np.load(folder / "train_steps.npz")
    given, tag = document["runs"][run], document["fill_tag"]
    config = load_config(
        TrainConfig,
        settings=[
            "model.image_size=8", "model.width=32", "model.multipliers=[1,1]", "model.blocks=1",
            "model.attention=[4]", "model.heads=2", "diffusion.steps=100",
            f"diffusion.use_kl={given['use_kl']}", f"optimizer.learning_rate={given['lr']}",
            f"optimizer.weight_decay={given['wd']}", f"optimizer.microbatch={max(given['mb'], 0)}",
            f"optimizer.anneal_steps={given['anneal']}", "optimizer.ema_rates=[0.9,0.99]",
            "evaluation_respacing=10", "training.duration=3", "training.batch_size=4",
            "training.log_every=1", "training.evaluate_every=null", "training.checkpoint_every=3",
        ],
    )  # fmt: skip
    pixels = torch.from_numpy(images(f"{tag}/img", (12, 3, 8, 8)))
    network = build_network(config)
    fill_weights(network, tag)
    task = GoldenTask(
        config, network, some_images(tmp_path, 4, 3), Schedule.of(config.training, None)
    )
    task.tag, task.given = tag, {n: arrays[f"{run}.{n}"] for n in ("t", "w")}
    data = TrainingData(lambda indices, _: (pixels[indices], None))
    with RunDirectory.create(tmp_path / "run", config.to_json()) as directory:
        fit(task, data, config.training, directory, hardware=CPU)
    for record, logged in zip(directory.metrics(), given["logs"], strict=True):
        assert record["step"] == logged.pop("step") + 1
        assert {name: record[name] for name in logged} == pytest.approx(logged, rel=1e-3)
    averages = task.state_dict()["averages"]
    for name, parameter in network.named_parameters():
        sums, values = given["params"][name], parameter.detach().double()
        bound = 2e-4 * max(1.0, parameter.numel() / 1e4)
        if name.endswith(WITHOUT_GRADIENT):
            bound += 0.1 * (3 * given["lr"]) * parameter.numel()
        assert float(values.sum()) == pytest.approx(sums["sum"], abs=bound), name
        assert float(values.abs().sum()) == pytest.approx(sums["abs"], abs=bound), name
        for rate, key in (("0.9", "ema0_9"), ("0.99", "ema0_99")):
            average = float(averages[rate][name].double().sum())
            assert average == pytest.approx(sums[key], abs=bound), name
    for key in (key for key in arrays.files if key.startswith(f"{run}.final.")):
        parameter = network.get_parameter(key.removeprefix(f"{run}.final."))
        np.testing.assert_allclose(parameter.detach(), arrays[key], atol=2e-4)


# Small runs


def small(*settings: str) -> TrainConfig:
    return load_config(TrainConfig, settings=[*SMALL, *settings])


def some_images(folder: Path, count: int, channels: int = 1) -> Images:
    pixels = np.random.default_rng(count).integers(0, 90, (count, 8, 8, channels), np.uint8)
    path = folder / f"{count}.npy"
    np.save(path, pixels)
    model = small(f"model.channels={channels}").model
    return open_images(f"npy:{path}", model)


def run_training(
    folder: Path, config: TrainConfig, stop: int | None = None, **options: Any
) -> FitResult:
    """Train in ``folder``, on images beside it; stop after a step, as Ctrl-C does."""

    def tell(done: int, total: int) -> None:
        if done == stop:
            signal.raise_signal(signal.SIGINT)

    train_images, test_images = some_images(folder.parent, 24), some_images(folder.parent, 5)
    with RunDirectory.create(folder, config.to_json(), **options) as run:
        return train(config, run, train_images, test_images, hardware=CPU, progress=tell)


@pytest.fixture
def without_lowering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files hold the network in floating point alone, which takes no time."""

    def write(path: Path, unet: UNet, diffusion: DiffusionConfig, *_: Any, **about: Any) -> None:
        tensors = {name: value.numpy() for name, value in unet.state_dict().items()}
        write_model_file(path, "floats", diffusion.to_json(), tensors, **about)

    monkeypatch.setattr("nc_diffusion_bb.train.write_model", write)


FLOAT16 = ("optimizer.half_precision=float16", "model.dropout=0.1")


@pytest.mark.usefixtures("without_lowering")
@pytest.mark.parametrize("settings", [("optimizer.microbatch=3",), FLOAT16])
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    tmp_path: Path, settings: Sequence[str]
) -> None:
    config = small(*settings)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_training(whole, config)
    with pytest.raises(InterruptedWorkError, match="step 13 of 20"):
        run_training(killed, config, stop=12)
    # As after a kill: what was saved at the last moment is lost, what was logged is not.
    RunDirectory.open(killed).checkpoint_path(13).unlink()
    run_training(killed, config, resume=True)
    metrics = [(folder / "metrics.jsonl").read_bytes() for folder in (whole, killed)]
    assert metrics[0] == metrics[1]
    states = [
        load_checkpoint(RunDirectory.open(folder).checkpoint_path(20)) for folder in (whole, killed)
    ]
    assert_equal(states[0]["learner"], states[1]["learner"])
    task = states[0]["learner"]["task"]
    assert set(task["averages"]) == {"0.9", "0.99"}
    assert int(task["sampler"]["counts"].min()) == 10, "the sampler is no longer uniform"
    models = [read_model_file(folder / "model.safetensors") for folder in (whole, killed)]
    assert models[0].id == models[1].id


def assert_equal(one: Any, other: Any) -> None:
    """Nested dicts, lists and tensors, bit for bit."""
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    else:
        assert one == other


@pytest.mark.usefixtures("without_lowering")
def test_the_model_has_the_averages_of_the_first_rate(tmp_path: Path) -> None:
    run_training(tmp_path / "run", small("training.duration=4", "training.evaluate_every=4"))
    run = RunDirectory.open(tmp_path / "run")
    averages = read_model_file(run.model_path).tensors()
    learner = load_checkpoint(run.checkpoint_path(4))["learner"]
    for name, average in learner["task"]["averages"]["0.9"].items():
        np.testing.assert_array_equal(averages[name], average)
    assert not np.array_equal(averages["out.2.bias"], learner["module"]["out.2.bias"])


@pytest.mark.usefixtures("without_lowering")
def test_records_have_the_original_names(tmp_path: Path) -> None:
    settings = ("training.duration=4", "training.evaluate_every=4", "diffusion.use_kl=false")
    run_training(tmp_path / "run", small(*settings, "training.batch_size=24"))
    *records, evaluation = RunDirectory.open(tmp_path / "run").metrics()
    quartiles = {f"{n}_q{i}" for n in ("loss", "mse", "vb") for i in range(4)}
    common = {"step", "epoch", "phase", "loss", "mse", "vb", "grad_norm", "learning_rate"}
    assert all(set(record) == common | quartiles | {"samples"} for record in records)
    assert [record["samples"] for record in records] == [48, 96]
    assert evaluation["phase"] == "evaluate"
    assert 0 < evaluation["vlb"] < 1000


@pytest.mark.usefixtures("without_lowering")
def test_the_table_of_progress_has_the_original_columns(tmp_path: Path) -> None:
    settings = ("training.duration=8", "training.evaluate_every=4", "diffusion.use_kl=false",
                "training.checkpoint_every=4")  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_training(whole, small(*settings))
    with pytest.raises(InterruptedWorkError):
        run_training(killed, small(*settings), stop=5)
    assert [row["step"] for row in table(killed)] == ["2", "4", "6"]
    run_training(killed, small(*settings), resume=True)
    assert (killed / "progress.csv").read_bytes() == (whole / "progress.csv").read_bytes()
    rows = table(whole)
    assert [(row["step"], row["samples"]) for row in rows] == [
        ("2", "16.0"), ("4", "32.0"), ("6", "48.0"), ("8", "64.0")
    ]  # fmt: skip
    losses = [f"{n}{part}" for n in ("loss", "mse", "vb") for part in ("", *QUARTILES)]
    assert list(rows[0]) == ["step", "samples", *losses, "grad_norm"]
    records = [one for one in RunDirectory.open(whole).metrics() if one["phase"] == "train"]
    assert [row["loss_q3"] for row in rows] == [str(one.get("loss_q3", "")) for one in records]


QUARTILES = ("_q0", "_q1", "_q2", "_q3")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("without_lowering")
def test_tables_are_there_while_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nc_diffusion_bb.progress_table._SECONDS", 0.0)
    monkeypatch.setattr("nc_diffusion_bb.progress_table._SHARE", 1e9)
    config = small("training.duration=6", "training.evaluate_every=null")
    folder = tmp_path / "run"
    steps: list[list[str]] = []

    def look(done: int, total: int) -> None:
        steps.append([row["step"] for row in table(folder)] if done > 1 else [])

    with RunDirectory.create(folder, config.to_json()) as run:
        images = some_images(tmp_path, 24)
        train(config, run, images, images, hardware=CPU, progress=look)
    assert steps == [[], ["2"], ["2"], ["2", "4"], ["2", "4"], ["2", "4", "6"]]
    boxes = (folder / "log.txt").read_text().split("\n\n")
    assert len(boxes) == 3
    edge, *lines, end = boxes[2].splitlines()
    assert {len(line) for line in (edge, *lines, end)} == {len(edge)}
    assert set(edge) == set(end) == {"-"}
    cells = dict(line.strip("|").replace(" ", "").split("|") for line in lines)
    assert (cells["step"], cells["samples"]) == ("6", "48")
    assert float(cells["loss"]) == pytest.approx(run.metrics()[2]["loss"], rel=1e-3)


@pytest.mark.usefixtures("without_lowering")
def test_a_table_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nc_diffusion_bb.progress_table._SECONDS", 0.0)

    def refuse(*arguments: object) -> None:
        raise DataError("progress.csv: disk full")

    monkeypatch.setattr("nc_diffusion_bb.progress_table.write_csv", refuse)
    with pytest.raises(InterruptedWorkError):
        run_training(tmp_path / "run", small("training.evaluate_every=null"), stop=5)
    assert [record.getMessage() for record in caplog.records] == [
        "progress.csv: disk full; it goes on without the table of progress"
    ]


@pytest.mark.usefixtures("without_lowering")
@pytest.mark.parametrize("folder", [".", "n" * 120])
def test_models_are_named_as_their_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / folder).mkdir(exist_ok=True)
    config = small("training.duration=2", "training.evaluate_every=2")
    images = some_images(tmp_path, 24)
    with RunDirectory.create(Path(folder), config.to_json()) as run:
        train(config, run, images, images, hardware=CPU)
    names = [read_model_file(Path(folder, f"model{s}.safetensors")).name for s in ("", "-0.99")]
    name = "here" if folder == "." else folder
    assert names == [name[-100:], f"{name}-0.99"[-100:]]


@pytest.mark.usefixtures("without_lowering")
def test_each_rate_has_a_model_file(tmp_path: Path) -> None:
    settings = ("training.duration=4", "training.evaluate_every=4")
    run_training(tmp_path / "run", small(*settings, "optimizer.ema_rates=[0.9,0.99,0.5]"))
    run = RunDirectory.open(tmp_path / "run")
    averages = load_checkpoint(run.checkpoint_path(4))["learner"]["task"]["averages"]
    names = {"0.9": "model", "0.99": "model-0.99", "0.5": "model-0.5"}
    assert {path.stem for path in run.path.glob("*.safetensors")} == set(names.values())
    for rate, name in names.items():
        file = read_model_file(run.path / f"{name}.safetensors")
        assert (file.name, file.info["ema_rate"]) == (name.replace("model", "run"), float(rate))
        assert_equal({k: torch.from_numpy(v) for k, v in file.tensors().items()}, averages[rate])


# Starting from another model


ONE_LEVEL = Architecture(
    image_size=8, in_channels=1, width=32, out_channels=2, blocks=1, attention_factors=(),
    multipliers=(1,), dropout=0.1,
)  # fmt: skip


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A run directory with a model that came from elsewhere."""
    network = UNet(ONE_LEVEL)
    fill_weights(network, "other")
    pixels = some_images(tmp_path, 5).load(np.arange(5))
    with RunDirectory.create(tmp_path / "other", {}) as run:
        write_model(run.model_path, network, DiffusionConfig(steps=8), pixels)
    return tmp_path / "other"


def command(folder: Path, *arguments: object) -> None:
    """``train`` in a folder for two steps, with images beside it."""
    some_images(folder.parent, 24), some_images(folder.parent, 5)
    recipe = folder.parent / "recipe.json"
    data = [
        f"data.train=npy:{folder.parent / '24.npy'}",
        f"data.test=npy:{folder.parent / '5.npy'}",
    ]
    settings = ("training.duration=2", "training.evaluate_every=2", "training.log_every=1",
                "training.checkpoint_every=1", "optimizer.learning_rate=1e-30")  # fmt: skip
    recipe.write_text(json.dumps(small(*data, *settings).to_json()))
    words = ["--recipe", recipe, "--device", "cpu", "--out", folder, *arguments]
    CliRunner().invoke(train_command, [*map(str, words)], catch_exceptions=False)


@pytest.mark.usefixtures("without_lowering")
def test_training_starts_from_another_model(tmp_path: Path, other_model: Path) -> None:
    command(tmp_path / "run", "--initial", other_model)
    run = RunDirectory.open(tmp_path / "run")
    file = read_model_file(other_model / "model.safetensors")
    assert run.config["initial"] == str(other_model)
    assert run.config["initial_id"] == file.id
    assert read_model_file(run.model_path).info["initial"] == str(other_model)
    assert run.about["overrides"] == [
        f"recipe={tmp_path / 'recipe.json'}",
        f"initial={other_model}",
    ]
    learner = load_checkpoint(run.checkpoint_path(2))["learner"]
    weights = float_model(file)[0].state_dict()
    for found in (learner["module"], *learner["task"]["averages"].values()):
        for name, value in weights.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("without_lowering")
def test_a_run_that_is_resumed_knows_where_it_started(tmp_path: Path, other_model: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    faster = ("--set", "optimizer.learning_rate=1e-3")
    command(whole, "--initial", other_model, *faster)
    command(killed, "--initial", other_model, *faster, "--set", "training.duration=1")
    (other_model / "model.safetensors").rename(tmp_path / "gone.safetensors")
    command(killed, "--resume", *faster)
    states = [load_checkpoint(RunDirectory.open(f).checkpoint_path(2)) for f in (whole, killed)]
    assert_equal(states[0]["learner"], states[1]["learner"])
    assert RunDirectory.open(killed).config == RunDirectory.open(whole).config
    with pytest.raises(UsageError, match=r"started with initial=.*other, not .*gone"):
        command(killed, "--resume", *faster, "--initial", tmp_path / "gone.safetensors")
    with pytest.raises(DataError, match="other"):
        command(tmp_path / "new", "--initial", other_model)


@pytest.mark.usefixtures("without_lowering")
def test_a_run_without_checkpoint_starts_again_from_its_model(
    tmp_path: Path, other_model: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        command(folder, "--initial", other_model)
    for step in (1, 2):
        RunDirectory.open(killed).checkpoint_path(step).unlink()
    command(killed, "--resume")
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.usefixtures("without_lowering")
def test_a_run_without_checkpoint_refuses_a_model_that_became_another(
    tmp_path: Path, other_model: Path
) -> None:
    folder = tmp_path / "run"
    command(folder, "--initial", other_model)
    for step in (1, 2):
        RunDirectory.open(folder).checkpoint_path(step).unlink()
    network, chain = float_model(read_model_file(other_model / "model.safetensors"))
    fill_weights(network, "changed")
    pixels = some_images(tmp_path, 5).load(np.arange(5))
    write_model(other_model / "model.safetensors", network, chain, pixels)
    with pytest.raises(UsageError, match="started with initial_id="):
        command(folder, "--resume")


@pytest.mark.usefixtures("without_lowering")
def test_a_model_of_another_chain_is_refused_or_said(
    tmp_path: Path, other_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("--initial", other_model, "--set")
    with pytest.raises(UsageError, match="predict_xstart False instead of True"):
        command(tmp_path / "run", *words, "diffusion.predict_xstart=true")
    command(tmp_path / "run", *words, "diffusion.steps=9")
    (record,) = caplog.records
    assert record.getMessage().endswith("this run's: steps 8 instead of 9")


def test_another_network_is_no_start(tmp_path: Path, other_model: Path) -> None:
    with pytest.raises(UsageError, match=r"width 32 instead of 64, heads 4 instead of 2\n"):
        command(tmp_path / "run", "--initial", other_model, "--set", "model.width=64",
                "--set", "model.heads=2")  # fmt: skip
    with pytest.raises(UsageError, match="import-checkpoint"):
        command(tmp_path / "run", "--initial", "model010000.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("without_lowering")
def test_training_ends_when_the_learning_rate_is_zero(tmp_path: Path) -> None:
    config = small("optimizer.anneal_steps=4", "training.log_every=1")
    assert run_training(tmp_path / "run", config).step == 4
    records = RunDirectory.open(tmp_path / "run").metrics()
    rates = [record["learning_rate"] for record in records if record["phase"] == "train"]
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("training.ema.decay=0.9", "ema_rates"),
        ("training.precision=16-mixed", "float16"),
        ("evaluation_respacing=vlb2", "vlb2"),
        ("diffusion.respacing=ddim7", "integer stride"),
        ("model.heads=3", "heads"),
        ("optimizer.ema_rates=[1]", "ema_rates"),
    ],
)
def test_what_cannot_be_trained_is_refused(setting: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check(small(setting))


# Half precision


@pytest.mark.usefixtures("without_lowering")
def test_a_step_with_gradients_beyond_float16_is_skipped(tmp_path: Path) -> None:
    config = small(
        "optimizer.half_precision=float16", "optimizer.loss_scale_growth=30",
        "training.duration=2", "training.evaluate_every=null", "training.log_every=1",
        "training.checkpoint_every=1",
    )  # fmt: skip
    run_training(tmp_path / "run", config)
    run = RunDirectory.open(tmp_path / "run")
    done, skipped = run.metrics()
    assert (done["lg_loss_scale"], skipped["lg_loss_scale"]) == (50, 49)
    assert "grad_norm" in done and "grad_norm" not in skipped
    before, after = (load_checkpoint(run.checkpoint_path(k))["learner"] for k in (1, 2))
    assert_equal(after["module"], before["module"])
    assert_equal(after["task"]["averages"], before["task"]["averages"])
    assert_equal(after["task"]["optimizer"], before["task"]["optimizer"])


def test_the_loss_scale_grows_by_little_and_shrinks_by_half() -> None:
    scale = LossScale(growth=0.001)
    scale.adjust(finite=True)
    assert scale.exponent == pytest.approx(20.001)
    scale.adjust(finite=False)
    assert scale.factor == pytest.approx(2**19.001)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_in_half_precision_are_those_of_float32(dtype: torch.dtype) -> None:
    network = build_network(small())
    fill_weights(network, "half")
    x, t = normal_like("half/x", (2, 1, 8, 8)), torch.tensor([1.0, 500.0])
    network(x, t).square().mean().backward()
    expected = gradients(network)
    weights = MasterWeights(network, dtype)
    (weights.network(x, t).square().mean() * 1024).backward()
    assert weights.take_gradients(1024)
    assert weights.network.get_parameter("input_blocks.0.0.weight").dtype == dtype
    for name, gradient in gradients(network).items():
        error = float((gradient - expected[name]).norm())
        assert error <= 0.05 * float(expected[name].norm()) + 1e-3, name


def gradients(network: UNet) -> dict[str, Tensor]:
    """Of all parameters, float32; they are forgotten."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32
        found[name] = parameter.grad
        parameter.grad = None
    return found


def test_a_loss_that_is_not_finite_ends_training(tmp_path: Path) -> None:
    config = small("optimizer.learning_rate=1e30", "diffusion.use_kl=false")
    with pytest.raises(WorkError, match="no longer finite"):
        run_training(tmp_path / "run", config)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_classes_reach_the_network(tmp_path: Path, checkpointing: bool) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(8):
        pixels = np.full((8, 8), 20 * number, np.uint8)
        write_image(folder / f"{'ab'[number % 2]}_{number}.png", Image(pixels))
    config = small("model.classes=2", f"model.gradient_checkpointing={checkpointing}",
                   "training.duration=2")  # fmt: skip
    images = open_images(f"folder:{folder}", config.model)
    with RunDirectory.create(tmp_path / "run", config.to_json()) as run:
        train(config, run, images, images, hardware=CPU)
    trained, _ = float_model(read_model_file(tmp_path / "run" / "model.safetensors"))
    before = build_network(config).label_emb.weight
    assert (trained.label_emb.weight != before).any(dim=1).all()


def test_a_model_without_convolutions_between_levels_codes_images(tmp_path: Path) -> None:
    config = small("model.resample_convolution=false", "model.multipliers=[1,1]",
                   "training.duration=2")  # fmt: skip
    run_training(tmp_path / "run", config)
    codec = load(read_model_file(tmp_path / "run" / "model.safetensors"))
    blocks = some_images(tmp_path, 3).load(np.arange(3))
    message = Message(codec.lanes, codec.initial_words, seed=0)
    codec.push(Rans(), message, blocks)
    assert np.array_equal(codec.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)
    assert message.is_initial()


def test_two_processes_train_what_one_does(tmp_path: Path, without_lowering: None) -> None:
    some_images(tmp_path, 24), some_images(tmp_path, 5)
    config = small(f"data.train=npy:{tmp_path / '24.npy'}", f"data.test=npy:{tmp_path / '5.npy'}")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(config.to_json()))
    command = [
        sys.executable, "-W", "error", "-m", "nc_cli", "run", "diffusion-bb", "train",
        "--recipe", str(recipe), "--device", "cpu", "--threads", "1", "--devices", "2",
        "--out", str(tmp_path / "two"),
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK")}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    run_training(tmp_path / "one", config)
    one, two = (RunDirectory.open(tmp_path / name) for name in ("one", "two"))
    assert len(one.metrics()) == len(two.metrics()) == 11
    for record, expected in zip(two.metrics(), one.metrics(), strict=True):
        assert record.pop("phase") == expected.pop("phase")
        assert record == pytest.approx(expected, rel=1e-3)
    tasks = [load_checkpoint(run.checkpoint_path(20))["learner"]["task"] for run in (one, two)]
    losses = [task["sampler"]["losses"] for task in tasks]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    assert float_model(read_model_file(two.model_path))[1] == config.diffusion
