"""The samplers: Gaussian, banana, images of a generator, crops of images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.datasets.opening import open_dataset
from nc_core.datasets.prepare import prepare_dataset
from nc_core.errors import DataError, MissingDependencyError, UsageError
from nc_core.models import installed
from nc_core.specs import DatasetSpec
from nc_core.testing import DatasetContract, PluginContract
from nc_rd_bounds.sources.banana import bend, embedding, log_density
from nc_rd_bounds.sources.gaussian import draw_parameters, write_parameters
from nc_rd_bounds.sources.vectors import first, open_source

SOURCES = Path("data", "rd-sources")
GOLDEN = Path("golden", "rd-bounds-vector", "sources")
TINY = "tiny_generator:load"


class TestPlugin(PluginContract):
    name = "nc-rd-bounds"


class TestGaussian(DatasetContract):
    name = "gaussian:test?dim=5&seed=3"


class TestBanana(DatasetContract):
    name = "banana:train?dim=4"


class TestPhysics(DatasetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NC_DATA", str(tmp_path_factory.mktemp("data")))
            prepare_dataset(installed().find(DatasetSpec, "physics-2d"), shared / SOURCES)
            yield "physics-2d:test"


class TestImageCrops(DatasetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        path = tmp_path_factory.mktemp("images") / "x.npy"
        np.save(path, np.random.RandomState(0).randint(0, 256, (20, 6, 5, 3)).astype(np.uint8))
        return f"image-crops:test?of=npy:{path}&side=4&seed=1"


def test_the_banana_map_is_the_originals(shared: Path) -> None:
    golden = np.load(shared / GOLDEN / "banana_map.npz")
    tolerance = {"atol": 2e-6, "rtol": 2e-6}
    np.testing.assert_allclose(bend(golden["z"]), golden["x"], **tolerance)
    np.testing.assert_allclose(log_density(golden["x"]), golden["log_prob_x"], **tolerance)


def test_parameters_are_the_originals_bit_for_bit(shared: Path, tmp_path: Path) -> None:
    golden = json.loads((shared / GOLDEN / "sources.json").read_text())
    for dims in (2, 4):
        expected = golden[f"gparams_dim={dims}_seed=0"]
        drawn = draw_parameters(dims)
        assert drawn.loc.astype(float).tolist() == expected["loc"]
        assert drawn.var.astype(float).tolist() == expected["var"]
    write_parameters(tmp_path / "g.npz", draw_parameters(1000))
    with (
        np.load(tmp_path / "g.npz") as ours,
        np.load(shared / SOURCES / "gaussian_params-dim=1000.npz") as papers,
    ):
        assert set(ours) == set(papers)
        for name in papers:
            assert ours[name].tobytes() == papers[name].tobytes()


def test_parameters_may_be_constant() -> None:
    drawn = draw_parameters(3, 1, "zeros", "ones")
    np.testing.assert_array_equal(drawn.loc, np.zeros(3))
    np.testing.assert_array_equal(drawn.scale, np.ones(3))


def test_a_gaussian_has_the_means_and_deviations_of_its_file(shared: Path) -> None:
    path = shared / SOURCES / "gaussian_params-dim=1000.npz"
    rows = first(open_source(f"gaussian?params={path}"), 4000).astype(float)
    with np.load(path) as file:
        errors = (rows.mean(axis=0) - file["loc"]) / file["scale"] * math.sqrt(4000)
        ratios = rows.var(axis=0) / file["var"]
    assert np.abs(errors).max() < 5 and abs(errors.std() - 1) < 0.1
    assert np.abs(ratios - 1).max() < 0.15


def test_coordinates_of_a_gaussian_are_independent() -> None:
    rows = first(open_source("gaussian?dim=6"), 50_000)
    assert np.abs(np.corrcoef(rows.T) - np.eye(6)).max() < 0.02
    assert np.abs(np.corrcoef(rows[:-1, 0], rows[1:, 0])[0, 1]) < 0.02


def test_the_banana_has_the_moments_of_the_originals_samples(shared: Path) -> None:
    rows = first(open_source("banana"), 400_000).astype(float)
    np.testing.assert_allclose(rows.mean(axis=0), [-0.2206, -0.55], atol=0.02)
    np.testing.assert_allclose(np.cov(rows.T), [[3.6525, -3.0874], [-3.0874, 7.2175]], atol=0.08)
    quantiles = np.quantile(rows, [0.01, 0.5, 0.99], axis=0).T
    np.testing.assert_allclose(
        quantiles, [[-2.449, -0.824, 6.772], [-4.667, -0.996, 7.494]], atol=0.08
    )
    theirs = np.load(shared / SOURCES / "banana" / "banana-dim=2-samples=100000.npy")
    np.testing.assert_allclose(
        quantiles, np.quantile(theirs, [0.01, 0.5, 0.99], axis=0).T, atol=0.15
    )


def test_the_density_of_the_banana_has_its_entropy() -> None:
    source = open_source("banana")
    assert source.truth is not None
    assert source.truth.entropy == pytest.approx(3.2434, abs=1e-4)
    found = -log_density(first(source, 200_000)).mean()
    assert found == pytest.approx(source.truth.entropy, abs=0.01)


def test_the_embedding_is_fixed_and_every_seed_has_its_samples() -> None:
    matrix = embedding(16)
    assert np.abs(matrix).max() <= math.sqrt(6 / 18) and matrix.std() > 0.25
    for seed in (0, 1):
        rows = first(open_source("banana?dim=16", seed=seed), 200)
        flat = first(open_source("banana", seed=seed), 200)
        np.testing.assert_allclose(rows, flat @ matrix, atol=1e-5)
    assert embedding(4).ravel()[:2].tolist() != [0, 0]
    np.testing.assert_allclose(
        embedding(4).ravel()[:3] / math.sqrt(6 / 6), embedding(16).ravel()[:3] / math.sqrt(6 / 18)
    )


@pytest.mark.parametrize("dims", [4, 16, 100, 500])
def test_the_matrices_of_the_paper_can_be_given(shared: Path, dims: int) -> None:
    path = shared / SOURCES / "banana" / f"banana_embed-n={dims}.npy"
    source = open_source(f"banana:test?matrix={path}", seed=3)
    flat = first(open_source("banana:test", seed=3), 100)
    np.testing.assert_allclose(first(source, 100), flat @ np.load(path), atol=2e-5)
    assert source.name == f"banana:test?matrix=banana_embed-n={dims}.npy"


def test_any_row_can_be_had_without_those_before_it() -> None:
    for name in ("gaussian?dim=3", "gaussian?dim=3000", "banana", "banana?dim=100"):
        far = np.array([70_001, 3, 10**12, 70_000])
        rows = open_source(name).rows(far)
        again = open_source(name)
        for index in reversed(range(len(far))):
            np.testing.assert_array_equal(again.rows(far[index : index + 1])[0], rows[index])
        assert len(np.unique(rows[:, 0])) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gaussian?dim=0", "dim=0: expected 1 to"),
        ("gaussian?dim=two", "dim=two: expected an integer"),
        ("banana?dim=1", "dim=1: expected 2 to"),
        ("banana:validation", "unknown split"),
        ("gaussian?sd=2", "unknown option"),
    ],
)
def test_wrong_options_are_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scale": np.ones(3)}, "no array 'loc'"),
        ({"loc": np.ones(3)}, "no array 'var'"),
        ({"loc": np.ones(2), "var": np.ones(3)}, "2 means for 3 deviations"),
        ({"loc": np.ones(3), "var": -np.ones(3)}, "negative variances"),
        ({"loc": np.ones(3), "scale": -np.ones(3)}, "negative standard deviations"),
        ({"loc": np.ones(3), "var": np.array([1, np.nan, 1])}, "not finite"),
        ({"loc": np.ones((3, 3)), "var": np.ones(3)}, "expected real numbers"),
        ({"loc": np.ones(3, int), "var": np.ones(3)}, "expected real numbers"),
    ],
)
def test_damaged_parameters_are_one_line(
    tmp_path: Path, arrays: dict[str, NDArray[Any]], message: str
) -> None:
    np.savez(tmp_path / "g.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_source(f"gaussian?params={tmp_path}/g.npz")


def test_missing_parameters_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"g\.npz: no such file"):
        open_source(f"gaussian?params={tmp_path}/g.npz")
    np.savez(tmp_path / "g.npz", loc=np.ones(3), var=np.ones(3))
    with pytest.raises(UsageError, match="has 3 coordinates"):
        open_source(f"gaussian?params={tmp_path}/g.npz&dim=2")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((3, 2)), "expected a matrix"),
        (np.ones((2, 3)), "rank below 2"),
        (np.eye(2, dtype=int), "expected a matrix"),
        (np.full((2, 3), np.inf), "not finite"),
    ],
)
def test_damaged_matrices_are_one_line(tmp_path: Path, matrix: NDArray[Any], message: str) -> None:
    np.save(tmp_path / "w.npy", matrix)
    with pytest.raises(DataError, match=message):
        open_source(f"banana?matrix={tmp_path}/w.npy")


def test_sources_are_read_in_time() -> None:
    """A batch costs a small part of a training step, which takes some 10 ms."""
    import time

    for name, size in (("banana", 1024), ("gaussian?dim=1000", 64)):
        source = open_source(name)
        start = time.process_time()
        for batch in range(100):
            source.rows(np.arange(batch * size, (batch + 1) * size))
        assert (time.process_time() - start) / 100 < 0.01


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator of random weights, in a module that can be imported."""
    (tmp_path / "tiny_generator.py").write_text(
        "import numpy as np\n"
        "class Tiny:\n"
        "    latent_dims, classes, shape = 128, 1000, (4, 5, 3)\n"
        "    def __init__(self):\n"
        "        self.of_z = np.random.RandomState(0).randn(128, 60)\n"
        "        self.of_y = np.random.RandomState(1).randn(1000, 60)\n"
        "        self.calls = []\n"
        "    def __call__(self, z, y, truncation):\n"
        "        self.calls.append((z, y, truncation))\n"
        "        return np.tanh(z @ self.of_z + y @ self.of_y).reshape(-1, 4, 5, 3)\n"
        "class Loud(Tiny):\n"
        "    def __call__(self, z, y, truncation):\n"
        "        return 127.5 * super().__call__(z, y, truncation)\n"
        "class Flat(Tiny):\n"
        "    def __call__(self, z, y, truncation):\n"
        "        return super().__call__(z, y, truncation).reshape(-1, 60)\n"
        "load, number, nothing = Tiny, 3, dict\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("generator")
def test_images_of_a_generator_lie_on_a_surface_of_d_dimensions() -> None:
    dataset = open_dataset(f"gan-images?generator={TINY}&class=jay&d=3&truncation=0.5")
    source = open_source(f"gan-images?generator={TINY}&class=jay&d=3&truncation=0.5")
    rows = first(source, 200)
    assert (source.shape, source.layout, source.value_range) == ((4, 5, 3), "hwc", (0.0, 1.0))
    assert rows.shape == (200, 4, 5, 3) and 0 <= rows.min() < rows.max() <= 1
    latent = np.arctanh(2.0 * np.clip(rows, 1e-6, 1 - 1e-6) - 1).reshape(200, -1)
    values = np.linalg.svd(latent - latent.mean(axis=0), compute_uv=False)
    assert values[3] < 0.1 * values[2]
    dataset[0]
    z, y, truncation = dataset._generator.calls[0]
    assert z.shape == (64, 128) and y.shape == (64, 1000) and truncation == 0.5
    assert (z[:, 3:] == 0).all() and np.abs(z).max() <= 2 * 0.5 and z[:, :3].std() > 0.35
    assert (y.argmax(axis=1) == 17).all() and (y.sum(axis=1) == 1).all()


@pytest.mark.usefixtures("generator")
def test_a_class_may_be_a_number() -> None:
    by_name, by_number, other = (
        first(open_source(f"gan-images?generator={TINY}&class={word}"), 3)
        for word in ("basenji", "253", "254")
    )
    np.testing.assert_array_equal(by_name, by_number)
    assert (by_name != other).any()


@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("", MissingDependencyError, "none comes with this package"),
        ("?generator=tiny_generator", UsageError, "expected package.module:attribute"),
        ("?generator=no_such_module:load", MissingDependencyError, "cannot be imported"),
        ("?generator=tiny_generator:missing", MissingDependencyError, "cannot be imported"),
        ("?generator=tiny_generator:number", UsageError, "not a function"),
        ("?generator=tiny_generator:nothing", DataError, "not a generator: no latent_dims"),
        (f"?generator={TINY}&class=poodle", UsageError, "unknown class"),
        (f"?generator={TINY}&class=1000", UsageError, "0 to 999"),
        (f"?generator={TINY}&d=0", UsageError, "d=0: expected 1 to 128"),
        (f"?generator={TINY}&truncation=0", UsageError, "truncation=0"),
        (f"?generator={TINY}&truncation=nan", UsageError, "truncation=nan"),
    ],
)
def test_generators_and_options_that_do_not_fit_are_one_line(
    options: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_source(f"gan-images{options}")


@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize(("name", "message"), [("Loud", "outside"), ("Flat", "of shape")])
def test_images_of_another_form_are_refused(name: str, message: str) -> None:
    source = open_source(f"gan-images?generator=tiny_generator:{name}")
    with pytest.raises(DataError, match=message):
        first(source, 1)


@pytest.fixture
def images(tmp_path: Path) -> NDArray[np.uint8]:
    """40 grey images; every pixel says which image and where."""
    number, row, column = np.meshgrid(np.arange(40), np.arange(6), np.arange(5), indexing="ij")
    array = (number * 6 + row).astype(np.uint8)
    array[..., 4] = column[..., 4]
    np.save(tmp_path / "x.npy", array)
    return array


def test_crops_are_parts_of_images_in_the_unit_interval(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    source = open_source(f"image-crops?of=npy:{tmp_path}/x.npy&side=4")
    assert (source.shape, source.value_range, source.length) == ((4, 4, 1), (0.0, 1.0), None)
    rows = np.rint(first(source, 300)[..., 0] * 255).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(images, (4, 4), axis=(1, 2))
    known = {window.tobytes() for window in np.ascontiguousarray(windows).reshape(-1, 4, 4)}
    found = {row.tobytes() for row in rows}
    assert found <= known and len(found) > 100


def test_crops_for_training_and_for_evaluation_are_of_different_images(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    name = f"of=npy:{tmp_path}/x.npy&side=3"
    taken = [
        {int(row[0, 0, 0] * 255 + 0.5) // 6 for row in first(open_source(text), 2000)}
        for text in (f"image-crops:train?{name}", f"image-crops:test?{name}")
    ]
    assert len(taken[0]) == 36 and len(taken[1]) == 4 and not taken[0] & taken[1]


def test_crops_of_a_dataset_are_of_the_same_split(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NC_DATA", str(shared / "data"))
    test = first(open_source("image-crops:test?side=28"), 50)
    digits = first(open_source("mnist:test"), 10_000)[..., np.newaxis]
    known = {digit.tobytes() for digit in digits}
    assert all(row.tobytes() in known for row in test)
    train = first(open_source("image-crops:train?of=mnist&side=28"), 50)
    assert not any(row.tobytes() in known for row in train)
    assert open_source("image-crops?of=mnist:train&side=16").dims == 256


def test_crops_that_do_not_fit_are_one_line(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match="side=6: expected 1 to 5"):
        open_source(f"image-crops?of=npy:{tmp_path}/x.npy&side=6")
    np.save(tmp_path / "y.npy", np.zeros((4, 5, 5)))
    with pytest.raises(DataError, match="not images of 8 bits"):
        open_source(f"image-crops?of=npy:{tmp_path}/y.npy&side=3")
