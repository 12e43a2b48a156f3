"""Which vectors a model is evaluated on, and that fitted ones are noted however they are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nc_core.datasets.prepare import prepare_dataset
from nc_core.models import installed
from nc_core.specs import DatasetSpec
from nc_rd_bounds.config import DataConfig
from nc_rd_bounds.run_data import evaluation_source
from nc_rd_bounds.sources.vectors import Source
from nc_rd_bounds.upper.config import UpperConfig


def evaluated(
    train: str, test: str | None = None, dataset: str | None = None, seed: int = 0
) -> tuple[Source, tuple[str, ...]]:
    config = UpperConfig(data=DataConfig(train=train, test=test))
    return evaluation_source(config, dataset, installed(), seed)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", np.random.default_rng(0).normal(size=(50, 2)))
    monkeypatch.chdir(tmp_path / "a")
    return tmp_path


def test_a_file_is_the_same_under_every_path(folder: Path) -> None:
    for name in ("npy:x.npy", "npy:./x.npy", f"npy:{folder}/b/../a/x.npy"):
        _, notes = evaluated("npy:x.npy", dataset=name)
        assert "same samples" in notes[0]
        assert "same samples" in evaluated("npy:x.npy", name)[1][0]


def test_another_file_of_the_same_name_is_other_data(folder: Path) -> None:
    assert evaluated("npy:x.npy", dataset="npy:../b/x.npy")[1] == ()
    assert evaluated("npy:x.npy", "npy:../b/x.npy")[1] == ()


def test_parentheses_in_a_name_are_no_held_out_rows(folder: Path) -> None:
    (folder / "a" / "x.npy").rename(folder / "a" / "x (1).npy")
    source, notes = evaluated("npy:../b/x.npy", "npy:x (1).npy")
    assert (source.name, source.held_out, notes) == ("npy:x (1).npy", False, ())
    source, notes = evaluated("npy:x (1).npy")
    assert source.held_out and "5 rows held out" in notes[0]


def test_a_split_that_was_divided_is_not_evaluated_whole_without_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    events = np.random.default_rng(0).normal(size=(40, 16))
    np.save(tmp_path / "ppzee-split=test.npy", events)
    prepare_dataset(installed().find(DatasetSpec, "physics"), tmp_path)
    _, notes = evaluated("physics", dataset="physics:test")
    assert "same samples (physics:test (36 of 40 rows))" in notes[0]
    monkeypatch.setenv("NC_DATA", str(tmp_path / "both"))
    np.save(tmp_path / "ppzee-split=train.npy", events)
    prepare_dataset(installed().find(DatasetSpec, "physics"), tmp_path)
    assert evaluated("physics", dataset="physics:test")[1] == ()


def test_training_data_that_are_gone_do_not_hinder_an_evaluation(folder: Path) -> None:
    assert evaluated("npy:gone.npy", dataset="npy:x.npy")[1] == ()


def test_a_sampler_without_a_split_is_evaluated_on_other_samples() -> None:
    assert evaluated("banana", "banana")[0].name == "banana:test"
    assert evaluated("banana", dataset="banana?dim=2")[0].name == "banana:test?dim=2"


def test_a_split_of_a_sampler_is_taken_as_it_is_named() -> None:
    source, notes = evaluated("banana", dataset="banana:test")
    assert (source.name, notes) == ("banana:test", ())
    source, notes = evaluated("banana", dataset="banana:train")
    assert source.name == "banana:train" and "same samples" in notes[0]
    assert "same samples" in evaluated("banana", "banana:train")[1][0]
    assert "same samples" in evaluated("banana", dataset="banana:train?seed=0", seed=3)[1][0]
    assert evaluated("banana", dataset="banana:train", seed=1)[1] == ()


def test_a_seed_in_the_name_is_known() -> None:
    assert evaluated("banana", "banana?seed=4")[0].pinned_seed == 4
    assert evaluated("banana?seed=5", seed=3)[0].pinned_seed == 5
    assert evaluated("banana", seed=3)[0].pinned_seed is None
