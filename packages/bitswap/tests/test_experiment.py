"""The paper's experiments: images in step, measures, resuming, and other numbers of bins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from nc_bitswap.cli import bitswap
from nc_bitswap.codec import ORDERS, BitswapCodec, Order
from nc_bitswap.discretization import LatentBins, find_bins
from nc_bitswap.experiment import choose_images, own_dims, plan_experiments, run_experiments
from nc_bitswap.experiment_results import ARRAYS, Results, read_arrays, summarize
from nc_bitswap.figure_cma import run_panels
from nc_bitswap.layers import data_dependent_init
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_bitswap.release import load, write_model
from nc_bitswap.side_by_side import Messages, SideBySide, SideBySideChain
from nc_core.ans import Message, Rans
from nc_core.ans.bits_back import pop_bit_swap, push_bit_swap
from nc_core.datasets.arrays import ArrayRows
from nc_core.errors import DataError, ExitCode, InterruptedWorkError, UsageError
from nc_core.model_file import read_model_file
from nc_core.runs import RunDirectory

ORIGINAL_NETS: dict[tuple[Order, int], float] = {
    ("bit-swap", 10): 1.2713, ("bit-swap", 8): 1.2728, ("bit-swap", 6): 1.2738,
    ("bb-ans", 10): 1.2681, ("bb-ans", 8): 1.2706, ("bb-ans", 6): 1.2709,
}  # fmt: skip


def noisy_images(count: int, seed: int = 0) -> Any:
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 200, (count, 1, 1))
    return (base + generator.integers(0, 55, (count, 6, 6))).astype(np.uint8)


def written_model(path: Path, bins: LatentBins | None = None, **shape: Any) -> Path:
    settings = {"channels": 1, "height": 8, "width": 8, "hidden": 6, "processing": 1, "blocks": 2}
    torch.manual_seed(4)
    model = HierarchicalVAE(Architecture(**(settings | shape))).eval()
    images = np.pad(noisy_images(16)[:, None], ((0, 0), (0, 0), (1, 1), (1, 1)))
    if model.architecture.height > 8:
        images = np.tile(images, (1, 1, 4, 4))
    images = np.repeat(images, model.architecture.channels, axis=1)
    with data_dependent_init(model):
        model(torch.from_numpy(images))
    if bins is None:
        generator = torch.Generator().manual_seed(0)
        bins = find_bins(model, images, 6, generator=generator, samples_per_bin=4)
    write_model(path, model, bins, images)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_model(tmp_path_factory.mktemp("models") / "small.safetensors")


@pytest.fixture(scope="module")
def codec(small: Path) -> BitswapCodec:
    return load(read_model_file(small))


@pytest.fixture
def files(small: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model file and a dataset."""
    np.save(tmp_path / "images.npy", noisy_images(40))
    return small, tmp_path / "images.npy"


def experiment(files: tuple[Path, Path], out: Path, *more: str) -> Result:
    model, images = files
    options = ["--model", str(model), "--dataset", f"npy:{images}", "-o", str(out), *more]
    return CliRunner().invoke(bitswap, ["experiment", *options], catch_exceptions=False)


def test_images_are_those_of_the_paper_however_many_experiments_there_are() -> None:
    original = np.random.RandomState(100).choice(10000, (100, 100), replace=False)
    np.testing.assert_array_equal(choose_images(10000, 100, 100, 100), original)
    np.testing.assert_array_equal(choose_images(10000, 3, 100, 100), original[:3])
    with pytest.raises(UsageError, match="need 10,100 images"):
        choose_images(10000, 101, 100, 100)


def test_a_message_does_not_depend_on_those_beside_it(codec: BitswapCodec) -> None:
    images = np.pad(noisy_images(3), ((0, 0), (1, 1), (1, 1))).reshape(3, -1).T.astype(np.int64)
    coder: Any = SideBySide(Rans())
    together: Any = Messages([Message(1, 200, seed) for seed in range(3)])
    push_bit_swap(coder, together, SideBySideChain(codec.networks, codec.bins, 3), images)
    for place in range(3):
        alone: Any = Messages([Message(1, 200, place)])
        chain: Any = SideBySideChain(codec.networks, codec.bins, 1)
        push_bit_swap(coder, alone, chain, images[:, place : place + 1])
        words = together.all[place].to_words()
        np.testing.assert_array_equal(alone.all[0].to_words(), words)
        popped = pop_bit_swap(coder, alone, chain)
        np.testing.assert_array_equal(popped, images[:, place : place + 1])
        assert alone.all[0].is_initial()


def test_arrays_have_the_papers_names_and_meaning(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = experiment(files, out, "--experiments", "3", "--images", "4", "--decode", "--json")
    records = json.loads(result.stdout)
    assert [record["order"] for record in records] == list(ORDERS)
    assert all(record["verified"] and record["bits"] == 6 for record in records)
    assert records == json.loads((out / "results" / "experiment.json").read_text())
    table = (out / "results" / "experiment.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 2  # two orders, each per padded dimension and per dimension
    nets = np.load(out / "results" / "bbans_6bits_nets.npy")
    total = np.load(out / "results" / "bbans_6bits_total.npy")
    cmas = np.load(out / "results" / "bbans_6bits_cmas.npy")
    assert nets.shape == total.shape == cmas.shape == (3, 4)
    np.testing.assert_allclose(cmas, total / (64 * np.arange(1, 5)))
    initial = total - 64 * np.cumsum(nets, axis=1)
    assert np.all(initial == initial[:, :1])
    assert records[1]["initial_bits_mean"] == initial[:, 0].mean()
    padded, own = records[1]["rates"].values()
    assert own["net_mean"] == pytest.approx(padded["net_mean"] * 64 / 36)
    assert padded["net_mean"] == pytest.approx(padded["elbo_mean"], rel=0.1)
    words = np.load(out / "results" / "bbans_6bits_experiment2.npy")
    message = Message.from_words(words, 1)
    fresh = Message(1, 2 * 16 * 28 // 32 + 1, (100 << 32) + 2)
    assert 32 * (message.size - fresh.size) == 64 * nets[2].sum()


def test_colour_images_code_with_one_level_and_a_conditional_scale(tmp_path: Path) -> None:
    shape: dict[str, Any] = {
        "channels": 3,
        "latent_channels": 2,
        "levels": 1,
        "conditional_scale": True,
    }
    model = written_model(tmp_path / "colour.safetensors", **shape)
    images = np.stack([noisy_images(6, seed) for seed in range(3)], axis=-1)
    np.save(tmp_path / "images.npy", np.tile(images, (1, 2, 2, 1)))
    files = model, tmp_path / "images.npy"
    options = ["--experiments", "2", "--images", "3", "--decode", "--json"]
    records = json.loads(experiment(files, tmp_path / "run", *options).stdout)
    assert [list(record["rates"]) for record in records] == [["bit/dim"]] * 2
    # With one level the orders are the same.
    assert records[0]["total_bits_mean"] == records[1]["total_bits_mean"]


def test_bb_ans_borrows_more_than_bit_swap(files: tuple[Path, Path], tmp_path: Path) -> None:
    result = experiment(files, tmp_path / "run", "--experiments", "4", "--images", "2", "--json")
    bit_swap, bb_ans = json.loads(result.stdout)
    for key in ("initial_bits_mean", "borrowed_bits_mean"):
        assert bit_swap[key] < bb_ans[key]


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--experiments", "3", "--images", "2", "--order", "bit-swap"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    experiment(files, whole, *options)
    monkeypatch.setattr("nc_bitswap.experiment._DIMS_AT_ONCE", 1)
    add = Results.add

    def stop_after_one(self: Results, numbers: Any, *rest: Any) -> None:
        add(self, numbers, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(Results, "add", stop_after_one)
    with pytest.raises(InterruptedWorkError, match="1 of 3 experiments are kept") as caught:
        experiment(files, broken, *options)
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    counted: list[int] = []

    def count(self: Results, numbers: Any, *rest: Any) -> None:
        counted.extend(numbers)
        add(self, numbers, *rest)

    monkeypatch.setattr(Results, "add", count)
    experiment(files, broken, *options, "--resume")
    assert counted == [1, 2]
    arrays = read_arrays(whole, "bit-swap", 6), read_arrays(broken, "bit-swap", 6)
    for name in ARRAYS:
        np.testing.assert_array_equal(arrays[0][name], arrays[1][name])


def test_experiments_can_be_added_but_not_changed(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    one = ["--images", "2", "--order", "bb-ans"]
    experiment(files, out, "--experiments", "1", *one)
    before = read_arrays(out, "bb-ans", 6)["nets"]
    experiment(files, out, "--experiments", "2", *one, "--resume")
    np.testing.assert_array_equal(read_arrays(out, "bb-ans", 6)["nets"][:1], before)
    nets = out / "results" / "bbans_6bits_nets.npy"  # as if killed before the other arrays
    np.save(nets, np.pad(np.load(nets), ((0, 1), (0, 0)), constant_values=np.nan))
    assert experiment(files, out, "--experiments", "3", *one, "--resume").exit_code == 0
    assert np.isfinite(read_arrays(out, "bb-ans", 6)["nets"]).all()
    np.save(nets, np.ones(3))
    with pytest.raises(DataError, match="not of its companions' shape"):
        experiment(files, out, "--experiments", "3", *one, "--resume")
    with pytest.raises(UsageError, match="seed"):
        experiment(files, out, *one, "--experiments", "2", "--seed", "1", "--resume")


def test_another_order_or_other_bits_join_those_of_the_run(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = ["--images", "2", "--json"]
    experiment(files, out, *options, "--experiments", "3", "--order", "bb-ans")
    more = [*options, "--resume", "--experiments", "2", "--order", "bit-swap", "--bits", "5"]
    records = json.loads(experiment(files, out, *more).stdout)
    found = [(record["order"], record["bits"], record["experiments"]) for record in records]
    assert found == [("bit-swap", 5, 2), ("bb-ans", 6, 3)]
    assert records == json.loads((out / "results" / "experiment.json").read_text())
    assert [list(panel.averages) for panel in run_panels(out)] == [["bit-swap"], ["bb-ans"]]


def test_other_models_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "digits.npy", np.zeros((4, 28, 28), np.uint8))
    options = ["experiment", "--model", "bitswap-photo", "-o", str(tmp_path / "run")]
    options += ["--dataset", f"npy:{tmp_path / 'digits.npy'}"]
    with pytest.raises(UsageError, match="family 'bitswap-photo'"):
        CliRunner().invoke(bitswap, options, catch_exceptions=False)
    assert not (tmp_path / "run").exists()


def test_own_dimensions_are_those_inside_the_padding() -> None:
    images = ArrayRows("images", np.zeros((2, 6, 40), np.uint8), "hw", "images")
    assert own_dims(images, (1, 32, 32)) == 6 * 32


def test_no_elbo_is_no_number_and_one_experiment_has_no_deviation() -> None:
    arrays = {name: np.ones((1, 2)) for name in ARRAYS} | {"elbos": np.full((1, 2), np.nan)}
    summary = summarize(arrays, 4, 4)
    assert summary["rates"]["bit/dim"]["elbo_mean"] is None
    assert summary["rates"]["bit/dim"]["gap_net_minus_elbo"] is None
    assert summary["initial_bits_std"] is None


@pytest.mark.parametrize("bits", [4, 8])
def test_bins_of_another_number_cover_the_same_range(codec: BitswapCodec, bits: int) -> None:
    bins = codec.bins.with_bits(bits)
    assert (bins.bits, bins.levels, bins.dims) == (bits, codec.bins.levels, codec.bins.dims)
    for one in (codec.bins, bins):
        size = 1 << one.bits
        ends = one.lower["offset"], one.lower["offset"] + one.lower["step"] * size
        if one is codec.bins:
            wanted = ends
    np.testing.assert_allclose(ends, wanted, atol=size)
    assert codec.bins.with_bits(6) is codec.bins


def test_bins_in_tables_are_merged() -> None:
    edges = np.arange(-7.0, 8.0)
    table = LatentBins.from_edges(4, [(np.tile(edges, (2, 1)), np.zeros((2, 16)))], 2)
    with pytest.raises(ValueError, match=r"2 \*\* 4 at most"):
        table.with_bits(5)
    fine = np.arange(-31.0, 32.0) / 4
    merged = LatentBins.from_edges(6, [(fine[None], np.zeros((1, 64)))], 1).with_bits(4)
    np.testing.assert_array_equal(merged.lower["edges"][0, 0] / (1 << 14), edges)
    np.testing.assert_array_equal(merged.values(1, np.arange(16)[:, None])[:, 0], edges[0] - 0.5
                                  + np.arange(16))  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("levels", [2, 8])
def test_bit_swap_needs_no_more_initial_bits_for_a_deeper_model(
    tmp_path: Path, levels: int, order: Order
) -> None:
    """Random weights, 10 bits on [-8, 8]: the original needs 2,208 and 4,736 bits with 2 levels,
    2,240 and 18,144 with 8."""
    extremes = [(np.full(256, -8.0), np.full(256, 8.0))] * (levels - 1)
    bins = LatentBins.from_extremes(10, extremes, 256)
    path = written_model(
        tmp_path / "deep.safetensors", bins, levels=levels, blocks=levels, processing=0, height=32,
        width=32,
    )  # fmt: skip
    data = ArrayRows("images", np.tile(noisy_images(2), (1, 6, 6))[:, :32, :32], "hw", "images")
    with RunDirectory.create(tmp_path / "run", {}) as run:
        results = Results(run, order, 10, (2, 1))
        plan = plan_experiments(read_model_file(path), data, 2, 1, 0, decode=True)
        run_experiments(plan, order, 10, results)
        initial = (results.arrays["total"] - 1024 * results.arrays["nets"]).mean()
    original = {(2, "bit-swap"): 2208, (2, "bb-ans"): 4736, (8, "bit-swap"): 2240,
                (8, "bb-ans"): 18144}  # fmt: skip
    assert initial == pytest.approx(original[levels, order], rel=0.03)


def test_rates_with_the_originals_weights_are_the_originals(shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden" / "bitswap"
    arrays = np.load(folder / "encode_run_mnist_nz2.npz")
    model = HierarchicalVAE(Architecture(levels=2, hidden=16, processing=1, blocks=2)).eval()
    model.load_state_dict(load_file(folder / "encode_run_mnist_nz2.model.safetensors"))
    bins = LatentBins.from_extremes(10, [(arrays["bins_lo0"], arrays["bins_hi0"])], 256)
    digits = mnist(shared)
    padded = np.pad(digits[5000:5064, None], ((0, 0), (0, 0), (2, 2), (2, 2)))
    write_model(tmp_path / "golden.safetensors", model, bins, padded)
    file = read_model_file(tmp_path / "golden.safetensors")
    data = ArrayRows("digits", digits, "hw", "digits")
    plan = plan_experiments(file, data, 1, 100, 100, decode=False)
    np.testing.assert_array_equal(plan.indices[0, :3], [8018, 9225, 3854])
    # A chain's rate depends a little on its initial words.
    plan = replace(plan, indices=np.tile(plan.indices, (2, 1)))
    with RunDirectory.create(tmp_path / "run", {}) as run:
        for (order, bits), net in ORIGINAL_NETS.items():
            results = Results(run, order, bits, (2, 100))
            run_experiments(plan, order, bits, results)
            assert results.arrays["nets"].mean() == pytest.approx(net, abs=0.005)
            assert results.arrays["elbos"].mean() == pytest.approx(1.2693, abs=0.005)


def mnist(shared: Path) -> Any:
    import gzip

    data = gzip.decompress((shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28)


def test_the_table_says_what_was_measured(files: tuple[Path, Path], tmp_path: Path) -> None:
    result = experiment(files, tmp_path / "run", "--experiments", "2", "--images", "3")
    assert "Bit-Swap, 6 bits, 2 x 3 images of npy:" in result.stdout
    assert "net rate - ELBO" in result.stdout
    assert "cma after 50 images" not in result.stdout
