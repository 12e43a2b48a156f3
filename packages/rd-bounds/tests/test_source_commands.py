"""The commands that prepare sources, say what is known of them, and draw images."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from nc_core.errors import DataError, UsageError
from nc_rd_bounds.commands.analytic import analytic
from nc_rd_bounds.commands.prepare import prepare
from nc_rd_bounds.commands.sample_images import sample_images
from nc_rd_bounds.points import read_points


def run(command: click.Command, *words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=True)


def done(command: click.Command, *words: object) -> str:
    result = run(command, *words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_parameters_are_drawn_and_used(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    done(prepare, "gaussian-params", "--dim", 2, "-o", path)
    with np.load(path) as file:
        assert sorted(file) == ["loc", "scale", "var"]
        np.testing.assert_allclose(file["var"], [1.2055267, 1.0897664])
    shown = json.loads(
        done(analytic, "--dataset", f"gaussian?params={path}", "--lamb", 3, "--json")
    )
    values = {record["name"]: record["value"] for record in shown}
    assert values["intercept"] == pytest.approx(2.2351, abs=1e-4)
    assert values["rate"] == pytest.approx(1.2351, abs=1e-4)
    again = run(prepare, "gaussian-params", "--dim", 2, "-o", path)
    assert isinstance(again.exception, DataError) and "file exists" in str(again.exception)
    for folder in (".", tmp_path):
        refused = run(prepare, "gaussian-params", "--dim", 2, "-o", folder, "--force")
        assert isinstance(refused.exception, DataError) and "folder" in str(refused.exception)
    done(prepare, "gaussian-params", "--dim", 3, "--loc", "zeros", "--var", "ones", "-o", path,
         "--force")  # fmt: skip
    with np.load(path) as file:
        assert file["scale"].tolist() == [1, 1, 1] and file["loc"].tolist() == [0, 0, 0]


def test_physics_is_prepared_in_both_forms(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NC_DATA", str(tmp_path))
    shown = done(prepare, "physics", "--from", shared / "data" / "rd-sources")
    assert "physics is ready: 10,000 test vectors" in shown and "physics-2d is ready" in shown
    shown = done(prepare, "speech", "--from", shared / "data" / "rd-sources" / "speech")
    assert "speech-2d is ready: 200,000 train and 125,701 test vectors" in shown


def test_points_are_printed_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "run"
    shown = done(analytic, "--dataset", "banana", "--lamb", 3, "--lamb", 30, "-o", out)
    assert "shannon" in shown and "2.50408" in shown
    points = read_points(out)
    assert [point.slope for point in points] == [3, 30]
    again = run(analytic, "--dataset", "banana", "--lamb", 3, "-o", out)
    assert isinstance(again.exception, DataError)
    assert again.exception.hint == "--force starts again, --out names another"


def test_data_have_estimates_with_their_notes(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.RandomState(0).randn(500, 2))
    result = run(analytic, "--dataset", f"npy:{tmp_path}/x.npy", "--lamb", 3)
    assert "estimate  shannon-estimate" in result.stdout and "not a bound" in result.stderr
    shown = json.loads(done(analytic, "--dataset", f"npy:{tmp_path}/x.npy", "--lamb", 3, "--json"))
    assert {record["name"] for record in shown} == {
        "lamb", "shannon-estimate/intercept", "gaussian-envelope/rate",
        "gaussian-envelope/distortion", "gaussian-envelope/intercept",
    }  # fmt: skip


def test_wrong_words_are_usage_errors() -> None:
    assert run(analytic, "--dataset", "banana").exit_code == 2
    assert run(analytic, "--dataset", "banana", "--lamb", 0).exit_code == 2
    assert run(prepare, "gaussian-params", "--dim", 0, "-o", "x.npz").exit_code == 2
    assert run(prepare, "speech").exit_code == 2
    result = run(analytic, "--dataset", "bananas", "--lamb", 1)
    assert "banana" in str(result.exception)


def test_images_of_a_numbered_class_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drawn_images.py").write_text(
        "import numpy as np\n"
        "class Stripes:\n"
        "    latent_dims, classes, shape = 128, 1000, (4, 5, 3)\n"
        "    def __call__(self, z, y, truncation):\n"
        "        images = np.zeros((len(z), 4, 5, 3))\n"
        "        images[:, 1] = np.sign(z[:, :1, None])\n"
        "        images[:, 2] = y.argmax(1)[:, None, None] / 1000\n"
        "        return images\n"
        "load = Stripes\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    out = tmp_path / "out"
    words = ("--generator", "drawn_images:load", "-d", 4, "-n", 11, "-o", out)
    done(sample_images, *words, "-c", "253")
    assert sorted(path.name for path in out.iterdir())[::5] == [
        "253-d=4-00.png", "253-d=4-05.png", "253-d=4-10.png",
    ]  # fmt: skip
    pixels = np.asarray(Image.open(out / "253-d=4-00.png"))
    assert pixels.shape == (4, 5, 3) and pixels[2, 0, 0] == round(1.253 / 2 * 255)
    assert len({np.asarray(Image.open(path))[1, 0, 0] for path in out.iterdir()}) == 2
    assert isinstance(run(sample_images, *words, "-c", "253").exception, DataError)
    assert isinstance(run(sample_images, *words, "-c", "poodle").exception, UsageError)
