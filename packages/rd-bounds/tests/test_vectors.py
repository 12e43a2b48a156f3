"""Datasets as rows of float32: any dataset, splits, seeds, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nc_core.errors import DataError, UsageError
from nc_rd_bounds.sources.vectors import (
    chosen_rows,
    evaluation_pair,
    first,
    open_source,
    sample,
    split_source,
)


def saved(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return f"npy:{path}"


@pytest.fixture
def numbered(tmp_path: Path) -> str:
    """100 rows of 3 numbers; the first number is the row's own."""
    rows = np.random.RandomState(0).randn(100, 3)
    rows[:, 0] = np.arange(100)
    return saved(tmp_path / "x.npy", rows)


def test_rows_of_a_file_are_its_rows_in_float32(tmp_path: Path, numbered: str) -> None:
    source = open_source(numbered)
    assert (source.name, source.shape, source.dims, source.length) == ("npy:x.npy", (3,), 3, 100)
    assert source.value_range is None and source.truth is None
    rows = source.rows(np.array([5, 0, 5]))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.load(tmp_path / "x.npy")[[5, 0, 5]].astype("f4"))


def test_images_of_8_bits_are_brought_to_the_unit_interval(tmp_path: Path) -> None:
    images = np.random.RandomState(0).randint(0, 256, (4, 5, 6, 3)).astype(np.uint8)
    source = open_source(saved(tmp_path / "x.npy", images))
    assert (source.value_range, source.layout, source.dims) == ((0.0, 1.0), "hwc", 90)
    np.testing.assert_allclose(first(source, 4), images / 255, rtol=1e-6)


def test_the_first_rows_are_at_most_all(numbered: str) -> None:
    source = open_source(numbered)
    assert len(first(source, 7)) == 7
    assert len(first(source, 1000)) == 100


def test_a_sample_is_of_different_rows_whatever_their_order(numbered: str) -> None:
    source = open_source(numbered)
    rows = sample(source, 30, seed=1)[:, 0]
    assert len(set(rows)) == 30 and rows.max() > 50
    np.testing.assert_array_equal(rows, sample(source, 30, seed=1)[:, 0])
    assert set(rows) != set(sample(source, 30, seed=2)[:, 0])
    np.testing.assert_array_equal(sample(source, 100), first(source, 100))


def test_a_sample_is_of_the_rows_that_an_evaluation_would_choose(numbered: str) -> None:
    source = open_source(numbered)
    chosen = chosen_rows(source, 30, 1)
    np.testing.assert_array_equal(sample(source, 30, seed=1), source.rows(chosen))


def test_held_out_rows_are_disjoint_and_complete(numbered: str) -> None:
    source = open_source(numbered)
    training, evaluation = split_source(source, 0.1, seed=3)
    parts = [set(first(part, 100)[:, 0]) for part in (training, evaluation)]
    assert (training.length, evaluation.length) == (90, 10)
    assert parts[0] | parts[1] == set(range(100)) and not parts[0] & parts[1]
    assert evaluation.name == "npy:x.npy (10 of 100 rows)"
    again = split_source(source, 0.1, seed=3)[1]
    np.testing.assert_array_equal(first(again, 10), first(evaluation, 10))
    other = split_source(source, 0.1, seed=4)[1]
    assert set(first(other, 10)[:, 0]) != parts[1]
    assert sorted(first(evaluation, 10)[:, 0]) != list(first(evaluation, 10)[:, 0])


def test_a_small_source_keeps_a_row_for_each_part(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path / "x.npy", np.eye(2)))
    assert [part.length for part in split_source(source, 0.01)] == [1, 1]
    with pytest.raises(UsageError, match="one row"):
        split_source(open_source(saved(tmp_path / "y.npy", np.ones((1, 2)))))
    with pytest.raises(UsageError, match="no end"):
        split_source(open_source("gaussian"))


def test_rows_outside_are_refused(numbered: str) -> None:
    source = open_source(numbered)
    for part in (source, *split_source(source)):
        for index in (-1, part.length or 0):
            with pytest.raises(IndexError):
                part.rows(np.array([0, index]))
    with pytest.raises(IndexError):
        open_source("banana").rows(np.array([-1]))


def test_named_splits_are_used_where_there_are_two() -> None:
    training, evaluation = evaluation_pair("banana?dim=4", seed=5)
    assert (training.name, evaluation.name) == ("banana:train?dim=4", "banana:test?dim=4")
    assert not np.isin(first(training, 1000), first(evaluation, 1000)).any()
    assert evaluation_pair("banana:train")[1].name == "banana:test"


def test_rows_are_held_out_where_there_is_one_split(numbered: str) -> None:
    training, evaluation = evaluation_pair(numbered)
    assert (training.length, evaluation.length) == (90, 10)
    assert not np.isin(first(training, 90)[:, 0], first(evaluation, 10)[:, 0]).any()


def test_the_evaluation_data_may_be_named(numbered: str) -> None:
    training, evaluation = evaluation_pair("gaussian?dim=3", numbered)
    assert (training.name, evaluation.name) == ("gaussian:train?dim=3", "npy:x.npy")


def test_the_evaluation_split_alone_of_a_sampler_cannot_be_divided() -> None:
    with pytest.raises(UsageError, match="no end"):
        evaluation_pair("banana:test")


def test_seeds_have_samples_of_their_own_and_an_option_fixes_them() -> None:
    rows = {seed: first(open_source("banana", seed=seed), 10) for seed in (0, 1)}
    assert not np.isin(rows[0], rows[1]).any()
    np.testing.assert_array_equal(first(open_source("banana?seed=1"), 10), rows[1])
    np.testing.assert_array_equal(first(open_source("banana?seed=1", seed=7), 10), rows[1])
    with pytest.raises(UsageError, match="seed -1"):
        open_source("banana", seed=-1)


def test_folders_of_files_in_options_are_not_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", loc=np.zeros(3), var=np.ones(3))
    source = open_source(f"gaussian?params={tmp_path}/g.npz&seed=2")
    assert source.name == "gaussian:train?params=g.npz&seed=2"


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.uint16, np.bool_])
def test_integers_are_refused(tmp_path: Path, dtype: type) -> None:
    with pytest.raises(DataError, match="expected real numbers") as error:
        open_source(saved(tmp_path / "x.npy", np.ones((4, 3), dtype)))
    assert "astype" in (error.value.hint or "")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    rows = np.zeros((4, 3))
    rows[2, 1] = value
    with pytest.raises(DataError, match=r"not finite: \[2, 1\]"):
        open_source(saved(tmp_path / "x.npy", rows))


def test_values_beyond_float32_are_refused(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path / "x.npy", np.full((4, 3), 1e300)))
    with pytest.raises(DataError, match="beyond the range of float32"):
        first(source, 4)


def test_an_array_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        open_source(saved(tmp_path / "x.npy", np.zeros(5)))
    with pytest.raises(DataError, match="no samples"):
        open_source(saved(tmp_path / "y.npy", np.zeros((0, 3))))


def test_images_of_several_sizes_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="several shapes") as error:
        open_source(f"folder:{tmp_path}")
    assert "crops:" in (error.value.hint or "")


def test_many_threads_read_the_same_rows() -> None:
    source, reference = open_source("gaussian?dim=8"), open_source("gaussian?dim=8")
    batches = [np.arange(start, start + 256) for start in range(0, 100_000, 6_000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(source.rows, batches))
    for batch, rows in zip(batches, found, strict=True):
        np.testing.assert_array_equal(rows, reference.rows(batch))
