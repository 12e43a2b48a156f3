"""The figures of a run directory of 'vlb', 'evaluate' or 'original', drawn from its results.

results/vb-terms.svg, mse-terms.svg, xstart_mse-terms.svg   of 'vlb', per step
results/levels-vlb50.svg                                    of 'evaluate', per level
results/rates-push.svg, rates-pop.svg, rates.svg            of 'original --track', per level
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nc_core.errors import DataError, MissingDependencyError
from nc_core.images import read_image
from nc_core.runs import RunDirectory
from nc_diffusion_bb.figures import LevelRates, RatePlace, plot_levels, plot_terms
from nc_diffusion_bb.vlb import TERMS
from nc_diffusion_bb.vlb_files import array_names, load_arrays

if TYPE_CHECKING:
    from nc_core.training.loggers import Logger

__all__ = ["LEVELS", "draw_run", "log_figures", "rate_places"]

LEVELS = "levels-"
"""Beginning of the names of files with what each level costs: ``bound``, and ``ORDER push`` and
``ORDER pop`` of each order of coding, (T + 1,), bits per dimension."""

_ORIGINALS = ("rates-push.npz", "rates-pop.npz")
_SPREADS = {name: f"{name}-terms" for name in TERMS} | {"push": "rates-push", "pop": "rates-pop"}
_PUSH = re.compile(r"(.+) push")


def draw_run(folder: Path, suffix: str = ".svg", out: Path | None = None) -> list[Path]:
    """Draw what is in a run directory's results.

    Args:
        folder: the run directory.
        suffix: of the figures.
        out: folder for them; by default they go beside the results.

    Returns:
        paths of the figures; their data are beside them as CSV.

    Raises:
        DataError: no run directory, or damaged results.
        MissingDependencyError: matplotlib is not installed.
    """
    results = RunDirectory.open(folder).path / "results"
    out = out or results
    drawn = []
    for name, stem in _SPREADS.items():
        path = results / f"{stem}.npz"
        if path.exists():
            terms = load_arrays(path, ("mean", "stdd", "min", "max"))
            drawn.append(plot_terms(name, terms, out / f"{stem}{suffix}")[0])
    for path in sorted(results.glob(f"{LEVELS}*.npz")):
        drawn.append(_draw_levels(path, out / f"{path.stem}{suffix}"))
    if (results / _ORIGINALS[0]).exists():
        push, pop = (load_arrays(results / name, ("mean",))["mean"] for name in _ORIGINALS)
        rates = {"bb-ans": LevelRates(push, pop)}
        drawn.append(plot_levels(rates, None, out / f"rates{suffix}")[0])
    return drawn


def log_figures(folder: Path, loggers: Sequence[Logger], step: int) -> None:
    """Show loggers the figures of terms, pushes and pops, by the original's names.

    Args:
        folder: the run directory of 'vlb' or 'original'.
        loggers: who wants to see them.
        step: of the run.

    Raises:
        DataError: damaged results.
    """
    if not loggers:
        return
    with TemporaryDirectory() as kept:
        try:
            figures = {path.stem: path for path in draw_run(folder, ".png", Path(kept))}
        except MissingDependencyError:
            return  # who calls the command is told when it draws the figures
        for name, stem in _SPREADS.items():
            if stem in figures:
                pixels = read_image(figures[stem]).pixels[..., :3]
                for logger in loggers:
                    logger.image(step, name, pixels)


def _draw_levels(path: Path, figure: Path) -> Path:
    names = array_names(path)
    arrays = load_arrays(path, ["bound", *(name for name in names if name != "bound")])
    orders = [match[1] for match in map(_PUSH.fullmatch, names) if match]
    rates = {name: LevelRates(arrays[f"{name} push"], arrays[f"{name} pop"]) for name in orders}
    return plot_levels(rates, arrays["bound"], figure)[0]


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
