"""The lower bound against arrays of the original program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nc_core.protocols import Layout
from nc_core.runs import RunDirectory
from nc_core.training import Hardware, TrainingData, fit
from nc_rd_bounds.lower import climb as climbing
from nc_rd_bounds.lower.bound import log_mean_exp, xi_samples
from nc_rd_bounds.lower.climb import Search, maximise
from nc_rd_bounds.lower.config import LowerConfig
from nc_rd_bounds.lower.evaluate import Samples, evaluate, pooled
from nc_rd_bounds.lower.networks import ImageMultiplier
from nc_rd_bounds.lower.objective import log_objective, log_objective_at_samples, pairwise_mse
from nc_rd_bounds.lower.release import TrainedMultiplier, build_network, load, write_model
from nc_rd_bounds.lower.train import LowerTask, learning_rate_of
from nc_rd_bounds.sources.truth import KnownTruth

CPU = Hardware(device="cpu", threads=1, loaders=0)
VECTORS = ["mlp_n2", "mlp_n4", "mlp_n2_big", "mlp_n2_biglamb", "mlp_banana"]
Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "golden" / "rd-bounds-vector" / "lb"


@pytest.fixture(scope="module")
def settings(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "configs.json").read_text()))


def arrays(folder: Path, name: str) -> Arrays:
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


def network_of(case: dict[str, Any], data: Arrays, dims: int, prefix: str = "w") -> Any:
    network = build_network(
        {"dims": dims, "units": case["units"], "activation": case.get("activation", "selu")}
    )
    load_weights(network, data, prefix, len(case["units"]) + 1)
    return network


def load_weights(network: torch.nn.Module, data: Arrays, prefix: str, layers: int) -> None:
    network.load_state_dict(
        {
            f"mlp.layers.{i}.{kind}": torch.from_numpy(data[f"{prefix}/layer_{i}/{kind}"])
            for i in range(layers)
            for kind in ("kernel", "bias")
        }
    )


def weights_by_name(network: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for name, parameter in network.named_parameters():
        _, _, layer, kind = name.split(".")
        yield f"layer_{layer}/{kind}", parameter


@pytest.mark.parametrize("name", VECTORS)
def test_the_objective_is_the_originals(folder: Path, settings: dict[str, Any], name: str) -> None:
    data, case = arrays(folder, name), settings[name]
    x, ys = torch.from_numpy(data["x"]), torch.from_numpy(data["ys"])
    with torch.no_grad():
        log_u = network_of(case, data, x.shape[1])(x)
    np.testing.assert_allclose(log_u, data["log_u"], atol=1e-5)
    heights = torch.stack([log_objective(y, x, log_u, case["lamb"]) for y in ys])
    np.testing.assert_allclose(heights, data["log_Ckobj"], atol=1e-5, rtol=1e-6)
    assert float(heights[0].exp()) == pytest.approx(float(data["Ckobj_y0"]), rel=1e-4)
    np.testing.assert_allclose(pairwise_mse(x[:8], x[:8]), data["pair_mse_first8"], atol=1e-5)
    at_samples = log_objective_at_samples(x, log_u, case["lamb"], chunk=7)
    np.testing.assert_allclose(at_samples, data["log_supobj_at_x"], atol=1e-5)
    best = torch.argsort(at_samples, stable=True)[-case["topn"] :]
    np.testing.assert_array_equal(best, data["top_idx_ascending"])


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("mode", ["quick", "exhaustive", "quick7"])
def test_climbs_end_where_the_originals_end(
    folder: Path, settings: dict[str, Any], name: str, mode: str
) -> None:
    data, case = arrays(folder, name), settings[name]
    x, log_u = torch.from_numpy(data["x"]), torch.from_numpy(data["log_u"])
    steps, topn = (7, 2) if mode == "quick7" else (case["y_steps"], case["topn"])
    search = Search("exhaustive" if mode == "exhaustive" else "quick", topn, steps)
    found = maximise(x, log_u, case["lamb"], search)
    assert found.value == pytest.approx(float(data[f"{mode}/opt_val"]), abs=1e-5)
    np.testing.assert_allclose(found.climbs.values, data[f"{mode}/start_vals"], atol=2e-3)
    y = torch.from_numpy(data[f"{mode}/opt_y"])
    if (found.y - y).abs().max() > 1e-3:  # on a flat top climbs end a little earlier or later
        assert found.value == pytest.approx(
            float(log_objective(y, x, log_u, case["lamb"])), abs=5e-6
        )
        np.testing.assert_allclose(found.y, y, atol=5e-3)
    if mode == "quick7":
        np.testing.assert_array_equal(found.climbs.steps, data["quick7/steps"])


@pytest.mark.parametrize("name", VECTORS)
def test_the_gradient_at_the_maximum_is_the_originals(
    folder: Path, settings: dict[str, Any], name: str
) -> None:
    data, case = arrays(folder, name), settings[name]
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["exhaustive/opt_y"])
    network = network_of(case, data, x.shape[1])
    log_u = network(x)
    (log_objective(y, x, log_u, case["lamb"]) + log_u.mean()).backward()
    for key, parameter in weights_by_name(network):
        expected = data[f"grad_logCk_plus_Elogu/{key}"]
        scale = max(1.0, float(np.abs(expected).max()))
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-5 * scale)


# Where two maxima are of equal height but for rounding, either may win, and training goes another
# way: of the two implementations of the climbs each reproduces the cases named here to the end.
@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        ("train_fixed_lambda", True),
        ("train_fixed_lambda", False),
        ("train_fixed_lambda_long", True),
        ("train_fixed_lambda_long", False),
        ("train_beta0_M1", True),
        ("train_beta0_M1", False),
        ("train_clamped", True),
        ("train_anneal", True),
        ("train_anneal", False),
        ("train_anneal_long", False),
    ],
)
def test_training_is_the_originals(
    folder: Path,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    compiled: bool,
) -> None:
    if not compiled:
        monkeypatch.setattr(climbing, "_MOST_DIMS_COMPILED", 0)
    data, case = arrays(folder, name), settings[name]
    config, steps = training_config(case), case["last_step"]
    network = network_of(case, data, case["data_dim"], "w_init")
    size = case["num_Ck_samples"] * case["batchsize"]
    batches = torch.from_numpy(data["x_batches"]).reshape(steps + 1, size, case["data_dim"])
    kept: list[str] = []

    class GoldenTask(LowerTask):
        def start(self, batches: Iterator[torch.Tensor]) -> None:
            super().start(iter([first]))

    first = batches[0]
    task = GoldenTask(
        config, network, steps, lambda lamb, step: kept.append(f"step={step}-lamb={lamb:.5g}")
    )
    with RunDirectory.create(tmp_path / "run", {}) as run:
        fit(
            task,
            TrainingData(lambda indices, _: batches[1 + indices[0] // size]),
            config.training.model_copy(update={"batch_size": size}),
            run,
            hardware=CPU,
            learning_rate=learning_rate_of(config, steps),
        )
        records = [record for record in run.metrics() if record["phase"] == "train"]
    keys = [key for key in data if key.startswith("log/") and key != "log/step"]
    for key in keys:
        values = [record[key.removeprefix("log/")] for record in records]
        np.testing.assert_allclose(values, data[key], atol=3e-3, err_msg=key)
    for key, parameter in weights_by_name(network):
        np.testing.assert_allclose(parameter.detach(), data[f"w_final/{key}"], atol=3e-3)
    # The first target's model is kept here, but not by the original.
    first_target = f"step={case['ready_steps'] + 1}-lamb={min(case['target_lambs'], default=None)}"
    saved = {name.partition("-loss")[0] for name in case["saved_checkpoints"]}
    assert {name for name in kept if name != first_target} <= saved
    regular = (*range(0, steps, case["checkpoint_interval"]), steps)
    others = saved - set(kept)
    assert {int(name.partition("-")[0].removeprefix("step=")) for name in others} <= set(regular)


def training_config(case: dict[str, Any]) -> LowerConfig:
    anneal = {"targets": case["target_lambs"], "ready": case["ready_steps"]}
    return LowerConfig.model_validate(
        {
            "lamb": case["lamb"],
            "anneal": anneal if case["anneal_lamb"] else None,
            "network": {"units": case["units"], "activation": case["activation"]},
            "climb": {
                "start": case["y_init"],
                "topn": case["y_quick_topn"],
                "steps": case["y_steps"],
                "lr": case["y_lr"],
                "tol": case["y_tol"],
            },
            "minibatches": case["num_Ck_samples"],
            "learning_rate": case["lr"],
            "decay": case["lr_schedule"],
            "beta": case["beta"],
            "max_delta": case["log_E_Ck_max_delta"],
            "training": {
                "duration": case["last_step"],
                "batch_size": case["batchsize"],
                "clip_norm": case["global_clipnorm"],
                "log_every": 1,
                "evaluate_every": None,
                "checkpoint_every": 1000,
            },
        }
    )


class Batches:
    """A source without end whose rows are given."""

    name = "given"
    origin = "given"
    held_out = False
    pinned_seed: int | None = None
    value_range: tuple[float, float] | None = None
    layout: Layout = "none"
    truth: KnownTruth | None = None

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = rows
        self.shape: tuple[int, ...] = rows.shape[1:]
        self.length: int | None = None

    @property
    def dims(self) -> int:
        return int(self._rows.shape[1])

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._rows[indices]


@pytest.mark.parametrize("name", ["est_R", "est_R_big"])
def test_an_evaluation_is_the_originals(
    folder: Path, settings: dict[str, Any], tmp_path: Path, name: str
) -> None:
    data, case = arrays(folder, name), settings[name]
    network = network_of(case, data, case["n"])
    shape = {"dims": case["n"], "units": case["units"], "activation": "selu"}
    model = load(write_model(tmp_path / "u.safetensors", network, shape, case["lamb"]))
    source = Batches(data["x_batches"].reshape(-1, case["n"]))
    found = evaluate(model, source, k=case["k"], minibatches=case["M"])
    found.save(tmp_path / "found.npz")
    with np.load(tmp_path / "found.npz") as saved:
        for key in ("E_log_us", "log_Ck_samples", "xi_samples", "log_alpha", "R_"):
            np.testing.assert_allclose(saved[key], data[f"out/{key}"], atol=1e-4, err_msg=key)


def test_files_of_several_seeds_are_pooled_as_by_the_original(folder: Path) -> None:
    expected = json.loads((folder / "eval_aggregate.json").read_text())
    samples = []
    for name in expected["files"]:
        with np.load(folder / "eval_files" / name) as file:
            one = Samples(3.0, 32, *(file[key].astype(np.float64) for key in
                                     ("E_log_us", "log_Ck_samples")))  # fmt: skip
            alpha = log_mean_exp(file["log_Ck_samples"][:3])
            assert alpha == pytest.approx(float(file["log_alpha"]), abs=1e-5)
            xi = xi_samples(file["E_log_us"][3:], file["log_Ck_samples"][3:], alpha)
            np.testing.assert_allclose(xi, file["xi_samples"], atol=1e-5)
            assert one.intercept == pytest.approx(float(file["R_"]), abs=1e-5)
            samples.append(one)
    np.testing.assert_allclose(pooled(samples).xi, expected["aggregated"]["3.0"], atol=1e-5)


def test_the_network_of_images_pads_as_the_original(folder: Path, settings: dict[str, Any]) -> None:
    data, case = arrays(folder, "cnn"), settings["cnn"]
    images = torch.from_numpy(data["x_nhwc"])
    network = cnn_of(case, data)
    activations: list[torch.Tensor] = []
    for convolution in network.convolutions:
        convolution.register_forward_hook(lambda _m, _i, output: activations.append(output))
    with torch.no_grad():
        log_u = network(images.flatten(1))
    for index, activation in enumerate(activations):
        seen = torch.selu(activation).permute(0, 2, 3, 1)
        np.testing.assert_allclose(seen, data[f"act/conv_{index}"], atol=1e-5)
    np.testing.assert_allclose(log_u, data["log_u"], atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_climbs_in_image_space_end_where_the_originals_end(
    folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    if compiled:
        monkeypatch.setattr(climbing, "_MOST_DIMS_COMPILED", 1000)
    data, case = arrays(folder, "cnn"), settings["cnn"]
    x = torch.from_numpy(data["x_nhwc"]).flatten(1)
    np.testing.assert_allclose(pairwise_mse(x, x), data["pair_mse"], atol=1e-6)
    search = Search("quick", case["topn"], case["y_steps"], chunk=case["chunksize"])
    found = maximise(x, torch.from_numpy(data["log_u"]), case["lamb"], search)
    assert found.value == pytest.approx(float(data["quick/opt_val"]), abs=1e-5)
    np.testing.assert_allclose(found.climbs.values, data["quick/start_vals"], atol=2e-3)
    np.testing.assert_allclose(found.y, data["quick/opt_y"].reshape(-1), atol=1e-3)


def cnn_of(case: dict[str, Any], data: Arrays) -> ImageMultiplier:
    """The network with the original's kernels, (h, w, in, out)."""
    side, kernels = case["hw"], case["kernel_dims"]
    network = ImageMultiplier((side, side, 3), case["units"], kernels)
    state = {}
    for index in range(len(case["units"]) + 1):
        kernel, bias = (torch.from_numpy(data[f"w/layer_{index}/{k}"]) for k in ("kernel", "bias"))
        if index < len(kernels):
            state[f"convolutions.{index}.weight"] = kernel.permute(3, 2, 0, 1)
            state[f"convolutions.{index}.bias"] = bias
        else:
            state[f"mlp.layers.{index - len(kernels)}.kernel"] = kernel
            state[f"mlp.layers.{index - len(kernels)}.bias"] = bias
    network.load_state_dict(state)
    return network


def test_a_loaded_network_is_the_one_that_was_written(
    folder: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    case = settings["cnn"]
    data = arrays(folder, "cnn")
    shape = {"image": [12, 12, 3], "units": case["units"], "kernels": case["kernel_dims"],
             "activation": "selu"}  # fmt: skip
    written = write_model(tmp_path / "u.safetensors", cnn_of(case, data), shape, 50.0)
    model: TrainedMultiplier = load(written)
    with torch.no_grad():
        log_u = model.network(torch.from_numpy(data["x_nhwc"]).flatten(1))
    np.testing.assert_allclose(log_u, data["log_u"], atol=1e-5)
    assert model.lamb == 50.0
