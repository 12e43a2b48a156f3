"""Noise schedules, respacing and tables against the original's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nc_core.errors import UsageError
from nc_diffusion_bb.diffusion_tables import DiffusionTables
from nc_diffusion_bb.respacing import chosen_steps, respaced_betas
from nc_diffusion_bb.schedules import betas

SPACINGS = ["vlb64", "vlb100", "vlb250", "vlb500", "vlb1000", "vlb2000", "vlb4000"]
SPACINGS += ["ddim50", "ddim100", "250", "10,15,20"]


@pytest.fixture(scope="module")
def schedules(shared: Path) -> Any:
    return np.load(shared / "golden" / "diffusion-bb" / "schedules.npz")


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_schedules_are_the_original_ones(schedules: Any, name: str) -> None:
    full = betas(name, 4000)
    np.testing.assert_allclose(full, schedules[f"{name}4000.betas"], rtol=1e-11)
    abar = DiffusionTables.of(full).alphas_cumprod
    np.testing.assert_allclose(abar, schedules[f"{name}4000.alphas_cumprod"], rtol=1e-11)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_chosen_steps_are_the_original_ones(schedules: Any, spacing: str) -> None:
    expected = schedules[f"steps4000.{spacing}.use_timesteps"].tolist()
    assert list(chosen_steps(4000, spacing)) == expected


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("spacing", ["vlb100", "vlb250"])
def test_tables_of_respaced_chains_are_the_original_ones(
    schedules: Any, name: str, spacing: str
) -> None:
    short = respaced_betas(betas(name, 4000), chosen_steps(4000, spacing))
    tables = DiffusionTables.of(short)
    prefix = f"{name}4000.{spacing}."
    keys = [key.removeprefix(prefix) for key in schedules.files if key.startswith(prefix)]
    assert len(keys) == 10
    for key in keys:
        tolerance = 1e-7 if key.startswith("posterior_") else 1e-11
        expected = schedules[prefix + key]
        np.testing.assert_allclose(getattr(tables, key), expected, rtol=tolerance, err_msg=key)


def test_a_list_of_numbers_is_the_same_as_its_text() -> None:
    assert chosen_steps(100, [3, 0, 4]) == chosen_steps(100, "3,0,4")
    assert chosen_steps(7, None) == chosen_steps(7, "") == chosen_steps(7, "7") == tuple(range(7))


@pytest.mark.parametrize(
    ("spacing", "reason"),
    [
        ("vlb63", "vlb64"),
        ("vlb0", "vlb64"),
        ("vlb4001", "cannot divide section of 4000 steps"),
        ("ddim3999", "integer stride"),
        ("ddim", "no spacing 'ddim'"),
        ("10,x", "no spacing '10,x'"),
        ("3000,10", "cannot divide section of 2000 steps into 3000"),
        ("0", "at least one step"),
        ("-3", "-3 steps"),
    ],
)
def test_impossible_spacings_are_refused_with_a_reason(spacing: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_steps(4000, spacing)
    assert reason in str(caught.value)


def test_schedules_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="no noise schedule 'sine'"):
        betas("sine", 100)
    with pytest.raises(UsageError, match="21 are the fewest"):
        betas("linear", 20)
    assert betas("linear", 21)[-1] < 1


def test_a_chain_of_one_step_has_finite_tables() -> None:
    tables = DiffusionTables.of(betas("cosine", 1))
    assert tables.steps == 1
    assert all(np.isfinite(table).all() for table in vars(tables).values())


def test_tables_cannot_be_changed() -> None:
    tables = DiffusionTables.of(betas("cosine", 10))
    with pytest.raises(ValueError, match="read-only"):
        tables.betas[0] = 0.5
    with pytest.raises(ValueError, match="above 0 and below 1"):
        DiffusionTables.of(np.array([0.5, 1.0]))
