"""The variational bound: against the original's numbers, and when it is interrupted."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from golden_fill import fill_weights, normal_like
from golden_trained import TrainedModel, golden_trained
from nc_core.errors import InterruptedWorkError
from nc_core.runs import RunDirectory
from nc_core.training import Hardware
from nc_core.training.checkpoint import load_checkpoint, save_checkpoint
from nc_diffusion_bb import vlb_parts
from nc_diffusion_bb.commands.vlb import vlb
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.data import Images
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.unet import Architecture, UNet
from nc_diffusion_bb.vlb import NoiseStream, Spread, Terms, fill_terms
from nc_diffusion_bb.vlb_parts import bound_of
from nc_diffusion_bb.vlb_run import BoundPlan, evaluate_bound, finished_bound
from tiny_codec import smooth_images, write_tiny_model

CPU = Hardware(device="cpu")
GOLDEN = Path("golden", "diffusion-bb")
LOGS = ("metrics.jsonl", "progress.csv")


@pytest.fixture(scope="module")
def trained(shared: Path) -> TrainedModel:
    return golden_trained(shared)


class Smooth:
    """Grey ramps as a source of images."""

    name = "smooth"
    count = 7

    def __len__(self) -> int:
        return self.count

    def image(self, index: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = smooth_images(self.count)[index]
        return found

    def label(self, index: int) -> int:
        raise NotImplementedError


def tiny_plan() -> BoundPlan:
    network = UNet(
        Architecture(
            image_size=8, in_channels=1, width=32, out_channels=2, blocks=1,
            attention_factors=(), multipliers=(1,),
        )
    )  # fmt: skip
    fill_weights(network, "vlb")
    return BoundPlan(
        network,
        GaussianDiffusion.of(DiffusionConfig(steps=6)),
        Images(Smooth(), (1, 8, 8)),
        count=7,
        batch_size=3,
        draws=2,
    )


def results(folder: Path) -> dict[str, bytes]:
    """Everything that a finished run says."""
    found = {path.name: path.read_bytes() for path in (folder / "results").iterdir()}
    return found | {name: (folder / name).read_bytes() for name in LOGS}


def run_through(plan: BoundPlan, folder: Path, **options: object) -> dict[str, bytes]:
    with RunDirectory.create(folder, {}, resume=True) as run:
        evaluate_bound(plan, run, hardware=CPU, **options)  # type: ignore[arg-type]
    return results(folder)


def test_terms_of_the_trained_model_are_the_originals(trained: TrainedModel) -> None:
    count = trained.record["vlb_images"]
    pixels = trained.arrays["images"][:count]
    noise = normal_like(trained.record["noise_tag"], (50, *pixels.shape)).numpy()
    terms = Terms.empty(count, 50)
    fill_terms(terms, trained.network.eval(), trained.diffusion, pixels, lambda step: noise[step])
    golden = {name.removeprefix("bpd."): a for name, a in trained.arrays.items() if "bpd" in name}
    found = terms.by_name()
    np.testing.assert_allclose(terms.totals(), golden["total_bpd"], atol=2e-5)
    np.testing.assert_allclose(found["vb"][:, -1], golden["prior_bpd"], atol=1e-6)
    np.testing.assert_allclose(found["vb"][:, :-1], golden["vb"][:, ::-1], atol=2e-5)
    for name in ("mse", "xstart_mse"):
        np.testing.assert_allclose(found[name], golden[name][:, ::-1], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("clip", [True, False])
def test_terms_of_an_untrained_model_are_the_originals(
    shared: Path, schedule: str, clip: bool
) -> None:
    arrays = np.load(shared / GOLDEN / "diffusion_terms.npz")
    network = UNet(
        Architecture(
            image_size=8, width=32, out_channels=6, blocks=1, attention_factors=(2,),
            multipliers=(1, 2), heads=2,
        )
    ).eval()  # fmt: skip
    fill_weights(network, "vis-diff")
    config = DiffusionConfig(steps=100, noise_schedule=schedule)  # type: ignore[arg-type]
    terms = Terms.empty(2, 20)
    fill_terms(
        terms, network, GaussianDiffusion.of(config, "vlb20"), arrays["image_u8"],
        lambda step: arrays[f"{schedule}.noise_by_t"][step], clip=clip,
    )  # fmt: skip
    kind = "bpd_clip" if clip else "bpd_noclip"
    expected = arrays[f"{schedule}.{kind}.total_bpd"]
    np.testing.assert_allclose(terms.totals(), expected, rtol=1e-4 if clip else 1e-3)
    if clip:
        vb = arrays[f"{schedule}.{kind}.vb"][:, ::-1]
        np.testing.assert_allclose(terms.bits()[:, :-1], vb, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("respacing", "images"), [("vlb50", 32), ("10", 32)])
def test_the_bound_with_own_noise_lies_within_the_originals_spread(
    shared: Path, trained: TrainedModel, respacing: str, images: int
) -> None:
    runs = np.load(shared / GOLDEN / "trained_m16_runs.npz")
    diffusion = GaussianDiffusion.of(trained.config, respacing)
    bound = bound_of(trained.network, diffusion, trained.arrays["images"][:images])
    drawn = runs[f"{respacing}.vlb_total"][:, :images].astype(float)
    # Of an image, draws differ by so much; a mean over images of one more draw by this.
    spread = np.sqrt((drawn.var(axis=0, ddof=1).mean() / images) * (1 + 1 / len(drawn)))
    assert abs(bound.totals.mean() - drawn.mean()) < 4 * spread
    assert bound.spreads["vb"].mean.sum() == pytest.approx(bound.totals.mean())


def test_noise_depends_on_the_image_and_not_on_its_batch() -> None:
    shape = (1, 4, 4)
    together = NoiseStream(5, 0, [3, 9, 11], shape)(step=2)
    np.testing.assert_array_equal(NoiseStream(5, 0, [9], shape)(step=2)[0], together[1])
    others = [
        NoiseStream(6, 0, [9], shape)(step=2),
        NoiseStream(5, 1, [9], shape)(step=2),
        NoiseStream(5, 0, [10], shape)(step=2),
        NoiseStream(5, 0, [9], shape)(step=3),
    ]
    assert all((other != together[1]).all() for other in others)


def test_noise_is_standard_normal() -> None:
    noise = NoiseStream(0, 0, range(100), (1, 16, 16))(step=0)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    correlations = np.asarray(np.corrcoef(noise.reshape(100, -1)))
    assert abs(correlations[~np.eye(100, dtype=bool)].mean()) < 0.01


def test_the_bound_does_not_depend_on_the_batch() -> None:
    plan = tiny_plan()
    pixels = smooth_images(7)
    one, other = (
        bound_of(plan.network, plan.diffusion, pixels, batch_size=size) for size in (7, 2)
    )
    np.testing.assert_allclose(one.totals, other.totals, rtol=1e-5)


def test_spreads_of_parts_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(5, 2, (20, 4)).astype(np.float32)
    parts = Spread.of(values[:3]).merged(Spread.of(values[3:11])).merged(Spread.of(values[11:]))
    arrays = parts.to_arrays()
    wide = values.astype(float)
    np.testing.assert_allclose(arrays["mean"], wide.mean(axis=0))
    np.testing.assert_allclose(arrays["stdd"], wide.std(axis=0))
    np.testing.assert_array_equal(arrays["min"], wide.min(axis=0))
    np.testing.assert_array_equal(arrays["max"], wide.max(axis=0))


def test_results_hold_terms_images_and_numbers(tmp_path: Path) -> None:
    plan = tiny_plan()
    with RunDirectory.create(tmp_path, {}) as run:
        found = {one.name: one for one in evaluate_bound(plan, run, hardware=CPU)}
        assert finished_bound(run) == [*found.values()]
        records = run.metrics()
    folder = tmp_path / "results"
    bits, mse = (np.load(folder / f"{name}-terms.npz") for name in ("vb", "mse"))
    totals = np.load(folder / "vlb-images.npz")["total_bpd"]
    assert totals.shape == (2, 7)
    assert {array.shape for array in bits.values()} == {(7,)}
    assert {array.shape for array in mse.values()} == {(6,)}
    mean = found["total_bpd"]
    assert mean.value == pytest.approx(totals.mean()) == pytest.approx(bits["mean"].sum())
    error = totals.mean(axis=0).std(ddof=1) / np.sqrt(7)
    assert mean.standard_error == pytest.approx(error)
    assert mean.n == 7
    parts = sum(found[f"{part}_bpd"].value for part in ("pixels", "latents", "prior"))
    assert parts == pytest.approx(mean.value)
    deviation = found["total_bpd_std_over_draws"].value
    assert deviation == pytest.approx(totals.mean(axis=1).std())
    assert [record["samples"] for record in records] == [3, 6, 7, 10, 13, 14]
    assert records[-1]["total_bpd"] == pytest.approx(mean.value)
    with (tmp_path / "progress.csv").open(newline="") as file:
        rows = [*csv.reader(file)]
    assert rows[0] == ["samples", "total_bpd"]
    assert rows[1:] == [[str(one["samples"]), str(one["total_bpd"])] for one in records]
    assert not [*(tmp_path / "checkpoints").iterdir()]


def stopping(after: int, error: type[BaseException]) -> Callable[[float, float], None]:
    """Progress that ends the work after a number of reports."""
    left = after

    def tell(done: float, total: float) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise error

    return tell


@pytest.mark.parametrize("after", [2, 7, 8, 17])
def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path: Path, after: int) -> None:
    expected = run_through(tiny_plan(), tmp_path / "whole")
    with pytest.raises(InterruptedWorkError, match="what is done is kept"):
        run_through(tiny_plan(), tmp_path / "a", progress=stopping(after, KeyboardInterrupt))
    steps: list[float] = []
    found = run_through(tiny_plan(), tmp_path / "a", progress=lambda done, _: steps.append(done))
    assert found == expected
    # 7 reports per batch, one of which says no more than the last.
    assert len(steps) <= 6 * 7 - after + 1 + after // 7


def test_a_killed_run_goes_on_from_what_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_through(tiny_plan(), tmp_path / "whole")
    monkeypatch.setattr(vlb_parts, "_SAVE_SECONDS", 0.0)
    with pytest.raises(SystemExit):
        run_through(tiny_plan(), tmp_path / "a", progress=stopping(11, SystemExit))
    seen: list[float] = []
    assert (
        run_through(tiny_plan(), tmp_path / "a", progress=lambda d, _: seen.append(d)) == expected
    )
    assert seen[0] == 3


def test_a_part_of_an_earlier_version_has_no_seconds(tmp_path: Path) -> None:
    plan, path = tiny_plan(), tmp_path / "part.safetensors"
    pixels = smooth_images(2)
    whole = bound_of(plan.network, plan.diffusion, pixels, path=lambda number: path)
    state = load_checkpoint(path)
    del state["seconds"]
    save_checkpoint(path, state)
    found = bound_of(plan.network, plan.diffusion, pixels, path=lambda number: path)
    assert found.seconds == 0 < whole.seconds
    np.testing.assert_array_equal(found.totals, whole.totals)


VLB = (sys.executable, "-W", "error", "-m", "nc_cli", "run", "diffusion-bb", "vlb")


def test_a_terminated_process_keeps_everything(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", smooth_images(2))
    process = subprocess.Popen(
        [*VLB, "--model", model, "--dataset", f"npy:{tmp_path / 'x.npy'}", "--draws", "5000",
         "--device", "cpu", "--threads", "1", "-o", tmp_path / "run"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    second = tmp_path / "run" / "checkpoints" / "vlb-000001.safetensors"
    while process.poll() is None and not second.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted; what is done is kept" in errors
    assert second.exists()


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", smooth_images(5))
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK")}
    words = [
        "--model", str(model), "--dataset", f"npy:{tmp_path / 'x.npy'}", "--device", "cpu",
        "--batch-size", "2", "--threads", "1", "--devices",
    ]  # fmt: skip
    subprocess.run(
        [*VLB, *words, "2", "-o", tmp_path / "two"],
        check=True, env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    CliRunner().invoke(vlb, [*words, "1", "-o", str(tmp_path / "one")], catch_exceptions=False)
    one, two = (results(tmp_path / name) for name in ("one", "two"))
    assert {name: one[name] for name in one if name not in LOGS} == {
        name: two[name] for name in two if name not in LOGS
    }


def test_classes_reach_the_network() -> None:
    network = UNet(
        Architecture(
            image_size=8, in_channels=1, width=32, out_channels=2, blocks=1,
            attention_factors=(), multipliers=(1,), classes=3,
        )
    ).eval()  # fmt: skip
    fill_weights(network, "classes")
    diffusion = GaussianDiffusion.of(DiffusionConfig(steps=4))
    pixels = smooth_images(2)
    totals = []
    for label in (0, 2):
        terms = Terms.empty(2, 4)
        noise = NoiseStream(0, 0, range(2), (1, 8, 8))
        classes = np.full(2, label, np.int64)
        fill_terms(terms, network, diffusion, pixels, noise, classes=classes)
        totals.append(terms.totals())
    assert not np.allclose(totals[0], totals[1])
