"""``vlb``, ``evaluate``, ``sample`` and ``plot``: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from nc_core.errors import DataError, NcError, UsageError
from nc_core.images import read_image
from nc_core.runs import RunDirectory
from nc_diffusion_bb.commands.demo import demo
from nc_diffusion_bb.commands.evaluate import evaluate
from nc_diffusion_bb.commands.plot import plot
from nc_diffusion_bb.commands.sample import sample
from nc_diffusion_bb.commands.vlb import vlb
from nc_diffusion_bb.config import DiffusionConfig
from nc_diffusion_bb.published import PUBLISHED
from nc_diffusion_bb.release import write_model
from nc_diffusion_bb.unet import Architecture, UNet
from nc_diffusion_bb.vlb_files import load_arrays, save_arrays
from tiny_codec import STEPS, smooth_images, write_tiny_model

COUNT = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a model, images, and the run directory ``rates`` of both orders."""
    made = tmp_path_factory.mktemp("evaluate")
    write_tiny_model(made / "m.safetensors")
    np.save(made / "x.npy", smooth_images(COUNT))
    run(evaluate, *inputs(made), "--steps", "4", "--respacing", "all", "--json", "-o",
        made / "rates")  # fmt: skip
    return made


def inputs(folder: Path) -> tuple[str, ...]:
    return "--model", str(folder / "m.safetensors"), "--dataset", f"npy:{folder / 'x.npy'}"


def run(command: click.Command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def records(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = RunDirectory.open(folder / "rates").results()["evaluate"]
    return found


def test_rates_of_files_stand_beside_the_bound(folder: Path) -> None:
    found = records(folder)
    assert [(one["respacing"], one["steps"], one["order"]) for one in found] == [
        ("all", STEPS, "bit-swap"), ("all", STEPS, "bb-ans"),
        ("4", 4, "bit-swap"), ("4", 4, "bb-ans"),
    ]  # fmt: skip
    for one in found:
        assert (one["images"], one["batch_size"], one["rate"]["verified"]) == (COUNT, 16, True)
        assert one["payload"] == pytest.approx(one["marginal"] + one["initial"])
        assert one["total"] == one["rate"]["bits_per_dim"] > one["payload"]
        assert one["marginal"] == pytest.approx(one["bound"], abs=0.5)
        assert min(one[f"{what}_seconds"] for what in ("vlb", "encode", "decode")) > 0


def test_both_orders_have_one_bound(folder: Path) -> None:
    first, second = records(folder)[:2]
    for name in ("vlb", "vlb_standard_error", "vlb_seconds"):
        assert first[name] == second[name]


@pytest.mark.parametrize("spacing", ["all", "4"])
def test_levels_add_up_to_the_bound_at_the_latents_drawn(folder: Path, spacing: str) -> None:
    path = folder / "rates" / "results" / f"levels-{spacing}.npz"
    orders = {one["order"]: one for one in records(folder) if one["respacing"] == spacing}
    names = ["bound", *(f"{order} {way}" for order in orders for way in ("push", "pop"))]
    levels = load_arrays(path, names)
    assert levels["bound"].sum() == pytest.approx(orders["bit-swap"]["vlb"], rel=1e-5)
    for order, one in orders.items():
        net = levels[f"{order} push"] - levels[f"{order} pop"]
        assert net.sum() == pytest.approx(one["bound"], rel=1e-4)
        assert levels[f"{order} pop"][0] == 0
    assert (levels["bb-ans push"][1:] == 10).all()


def test_figures_have_their_numbers_beside_them(folder: Path) -> None:
    results = folder / "rates" / "results"
    assert (results / "levels-4.svg").stat().st_size > 10_000
    table = rows(results / "levels-4.csv")
    assert [row["level"] for row in table] == ["0", "1", "2", "3", "4"]
    assert set(table[0]) == {
        "level", "bound", "bit-swap push", "bit-swap pop", "bb-ans push", "bb-ans pop"
    }  # fmt: skip


def test_a_table_is_printed_for_people(folder: Path) -> None:
    printed = run(
        evaluate, *inputs(folder), "--steps", "2", "--order", "bit-swap", "--batch-size", "1",
        "--limit", "2", "--coding", "clip=off", "--lead-in", "none", "--lead-in", "predictive",
    ).output  # fmt: skip
    assert "marginal" in printed
    assert [line.split()[3] for line in printed.splitlines()[1:3]] == ["none", "predictive"]
    assert "2 images, bits per dimension" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--coding", "depth=2"), "unknown coding option 'depth'"),
        (("--steps", "13"), "cannot divide"),
        (("--respacing", "vlb2"), "too few"),
    ],
)
def test_what_cannot_be_coded_is_refused_at_once(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(evaluate, *inputs(folder), *arguments, "-o", folder / "refused")
    assert not (folder / "refused").exists()


def test_what_is_told_classes_has_no_demonstration(folder: Path) -> None:
    network = UNet(Architecture(8, 1, 32, 2, 1, (), (1,), 1, classes=3))
    model = folder / "classes.safetensors"
    write_model(model, network, DiffusionConfig(steps=STEPS), smooth_images(1))
    with pytest.raises(DataError, match="class-conditional"):
        run(demo, "--model", model, "--limit", "2", "--steps", "4")


def test_the_bound_of_a_dataset_is_printed_and_kept(folder: Path) -> None:
    out = folder / "vlb"
    words = (*inputs(folder), "--device", "cpu", "--json", "-o", out)
    found = {one["name"]: one for one in json.loads(run(vlb, *words).stdout)}
    assert found["total_bpd"]["n"] == COUNT
    assert found["total_bpd"]["standard_error"] > 0
    assert found["total_bpd"]["value"] == pytest.approx(records(folder)[0]["vlb"], rel=1e-5)
    for name, length in {"vb": STEPS + 1, "mse": STEPS, "xstart_mse": STEPS}.items():
        table = rows(out / "results" / f"{name}-terms.csv")
        assert [row["t"] for row in table] == [*map(str, range(length))]
        assert (out / "results" / f"{name}-terms.svg").exists()
    with pytest.raises(DataError, match="run directory exists"):
        run(vlb, *words)
    assert json.loads(run(vlb, *words, "--resume").stdout) == [*found.values()]
    with pytest.raises(UsageError, match="seed=0"):
        run(vlb, *words, "--resume", "--seed", "1")
    assert (out / "progress.csv").read_text().startswith("samples,total_bpd")
    assert (out / "log.txt").read_text().splitlines()[-3].startswith("| samples ")


def test_steps_and_respacing_are_not_both_given(folder: Path) -> None:
    with pytest.raises(UsageError, match="say the same"):
        run(vlb, *inputs(folder), "--steps", "4", "--respacing", "4", "-o", folder / "refused")


@pytest.mark.parametrize("eta", [(), ("--eta", "0"), ("--eta", "0.5")])
def test_drawn_images_depend_on_seed_and_number_alone(folder: Path, eta: tuple[str, ...]) -> None:
    def draw(name: str, *arguments: object) -> Any:
        out = folder / f"{name}-{'-'.join(eta)}.png"
        run(sample, "--model", folder / "m.safetensors", *eta, *arguments, "-o", out)
        return read_image(out).pixels.astype(int)

    three = draw("three", "-n", 3, "--batch-size", 2, "--columns", 2)
    one = draw("one", "-n", 1)
    assert three.shape == (16, 16)
    assert not three[8:, 8:].any()
    assert abs(three[:8, :8] - one).max() <= 1
    assert abs(draw("other", "-n", 1, "--seed", 2**63 - 1) - one).max() > 1


def test_a_model_without_classes_draws_none(folder: Path) -> None:
    with pytest.raises(UsageError, match="not told classes"):
        run(sample, "--model", folder / "m.safetensors", "--class", 1, "-o", folder / "c.png")


def test_figures_are_drawn_again_in_another_format(folder: Path) -> None:
    printed = run(plot, "terms", folder / "rates", "--format", "png").output.split()
    assert [Path(line).name for line in printed] == ["levels-4.png", "levels-all.png"]
    assert all(Path(line).exists() for line in printed)


def test_rates_are_drawn_over_steps_beside_published_ones(folder: Path) -> None:
    out = folder / "rates.svg"
    run(plot, "rates", folder / "rates", "--published", "imagenet64", "-o", out)
    table = rows(out.with_suffix(".csv"))
    of_bound = [(row["steps"], row["standard error"] != "") for row in table
                if row["series"] == "bound"]  # fmt: skip
    assert of_bound == [("12", True), ("4", True)]
    published = [row for row in table if row["series"].startswith("ImageNet64")]
    known = [row for row in PUBLISHED["imagenet64"] if row.effective is not None]
    assert len(published) == len(PUBLISHED["imagenet64"]) + len(known)


@pytest.mark.parametrize("arguments", [("rates",), ("rates", "{}/empty"), ("terms", "{}/empty")])
def test_nothing_to_draw_is_said(folder: Path, arguments: tuple[str, ...]) -> None:
    if not (folder / "empty").exists():
        RunDirectory.create(folder / "empty", {}).close()
    words = [word.format(folder) for word in arguments]
    more = ["-o", str(folder / "nothing.svg")] if arguments[0] == "rates" else []
    with pytest.raises(NcError, match=r"nothing|no bounds"):
        run(plot, *words, *more)


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vb-terms.npz"
    save_arrays(path, {"mean": np.zeros(3), "stdd": np.zeros(4)})
    with pytest.raises(DataError, match="different shapes"):
        load_arrays(path, ("mean", "stdd"))
    with pytest.raises(DataError, match="no array 'min'"):
        load_arrays(path, ("mean", "min"))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError):
        load_arrays(path, ("mean",))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rates_fall_with_steps_and_lie_above_their_bounds(name: str) -> None:
    published = PUBLISHED[name]
    bounds = [row.vlb for row in published]
    assert bounds == sorted(bounds, reverse=True)
    assert [row.steps for row in published] == [100, 250, 500, 1000, 2000, 4000]
    assert all(row.effective is None or 0 <= row.effective - row.vlb < 0.01 for row in published)
