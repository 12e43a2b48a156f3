"""The figures of a run directory of 'vlb', 'evaluate' or 'original', drawn from its results.

results/vb-terms.svg, mse-terms.svg, xstart_mse-terms.svg   of 'vlb', per step
results/levels-vlb50.svg                                    of 'evaluate', per level
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nc_core.errors import DataError
from nc_core.runs import RunDirectory
from nc_diffusion_bb.figures import LevelRates, RatePlace, plot_levels, plot_terms
from nc_diffusion_bb.vlb import TERMS
from nc_diffusion_bb.vlb_files import array_names, load_arrays

__all__ = ["LEVELS", "draw_run", "rate_places"]

LEVELS = "levels-"
"""Beginning of the names of files with what each level costs: ``bound``, and ``ORDER push`` and
``ORDER pop`` of each order of coding, (T + 1,), bits per dimension."""

_ORIGINALS = ("rates-push.npz", "rates-pop.npz")
_PUSH = re.compile(r"(.+) push")


def draw_run(folder: Path, suffix: str = ".svg") -> list[Path]:
    """Draw what is in a run directory's results, beside them.

    Args:
        folder: the run directory.
        suffix: of the figures.

    Returns:
        paths of the figures; their data are beside them as CSV.

    Raises:
        DataError: no run directory, or damaged results.
        MissingDependencyError: matplotlib is not installed.
    """
    results = RunDirectory.open(folder).path / "results"
    drawn = []
    for name in TERMS:
        path = results / f"{name}-terms.npz"
        if path.exists():
            terms = load_arrays(path, ("mean", "stdd", "min", "max"))
            drawn.append(plot_terms(name, terms, path.with_suffix(suffix))[0])
    for path in sorted(results.glob(f"{LEVELS}*.npz")):
        drawn.append(_draw_levels(path, suffix))
    if (results / _ORIGINALS[0]).exists():
        push, pop = (load_arrays(results / name, ("mean",))["mean"] for name in _ORIGINALS)
        rates = {"bb-ans": LevelRates(push, pop)}
        drawn.append(plot_levels(rates, None, (results / "rates").with_suffix(suffix))[0])
    return drawn


def _draw_levels(path: Path, suffix: str) -> Path:
    names = array_names(path)
    arrays = load_arrays(path, ["bound", *(name for name in names if name != "bound")])
    orders = [match[1] for match in map(_PUSH.fullmatch, names) if match]
    rates = {name: LevelRates(arrays[f"{name} push"], arrays[f"{name} pop"]) for name in orders}
    return plot_levels(rates, arrays["bound"], path.with_suffix(suffix))[0]


def rate_places(folder: Path, *, named: bool = False) -> list[RatePlace]:
    """Bounds and rates of a run directory.

    Args:
        folder: of 'vlb' or 'evaluate'.
        named: series begin with the folder's name.

    Raises:
        DataError: no run directory, or one without such results.
    """
    run = RunDirectory.open(folder)
    results = run.results()
    prefix = f"{folder.name}: " if named else ""
    try:
        places = [
            place for row in results.get("evaluate", ()) for place in _row_places(row, prefix)
        ]
        for one in results.get("vlb", ()):
            if one["name"] == "total_bpd":
                bound = (run.config["steps"], one["value"], one["standard_error"])
                places.append(RatePlace(f"{prefix}bound", *bound))
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder}: damaged results") from error
    if not places:
        raise DataError(f"{folder}: no bounds or rates", "'vlb' and 'evaluate -o' write such runs")
    return list(dict.fromkeys(places))


def _row_places(row: Mapping[str, Any], prefix: str) -> list[RatePlace]:
    order, steps = row["order"], row["steps"]
    of_batch = f"{order}, batches of {row['batch_size']}"
    if row["lead_in"] != "none":
        of_batch += f", {row['lead_in']} lead-in"
    return [
        RatePlace(f"{prefix}bound", steps, row["vlb"], row["vlb_standard_error"]),
        RatePlace(f"{prefix}{of_batch}, without initial bits", steps, row["marginal"]),
        RatePlace(f"{prefix}{of_batch}, total", steps, row["total"]),
    ]
