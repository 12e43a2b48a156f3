"""An evaluation in a run directory that a killed one goes on from.

checkpoints/             what is done (:mod:`nc_diffusion_bb.evaluation`), gone at the end
results/levels-*.npz     bits of every level
results/evaluate.json    the table
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nc_core.files import describe_os_error
from nc_core.runs import RunDirectory
from nc_diffusion_bb.evaluation import Coded, ImageBound, spacing_stem
from nc_diffusion_bb.run_figures import LEVELS
from nc_diffusion_bb.vlb_files import save_arrays

__all__ = ["RESULT", "keep_levels", "keep_records", "state_folder"]

RESULT = "evaluate"
"""Name of the table."""


def state_folder(run: RunDirectory) -> Path:
    """Where the run keeps what is done; made if need be.

    Raises:
        DataError: it cannot be made.
    """
    folder = run.path / "checkpoints"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise describe_os_error(error, folder) from error
    return folder


def keep_levels(run: RunDirectory, bound: ImageBound, coded: Sequence[Coded]) -> None:
    """Write ``results/levels-SPACING.npz``: the first file's levels of each order.

    Raises:
        DataError: it cannot be written.
    """
    arrays = {"bound": bound.terms}
    for one in coded:
        arrays.setdefault(f"{one.case.order} push", one.track.push_bits_per_dim)
        arrays.setdefault(f"{one.case.order} pop", one.track.pop_bits_per_dim)
    name = f"{LEVELS}{spacing_stem(bound.spacing)}.npz"
    save_arrays(run.path / "results" / name, arrays)


def keep_records(run: RunDirectory, records: Sequence[dict[str, Any]]) -> None:
    """Write the table, and remove what was kept until then.

    Raises:
        DataError: it cannot be written.
    """
    run.save_result(RESULT, records)
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
