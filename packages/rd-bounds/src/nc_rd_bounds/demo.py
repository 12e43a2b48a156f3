"""The demonstration: every method on the 2-D Gaussian of the original's notebook, at lambda 3."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nc_core.launch import Point
from nc_rd_bounds.sandwich import RUN, command_point
from nc_rd_bounds.sources.gaussian import draw_parameters, write_parameters

__all__ = ["demo_points", "write_source"]

_LAMB = "3"
_PARAMETERS = "gaussian_params-dim=2.npz"
_SLOPES = (float(_LAMB), *np.geomspace(0.9, 15, 25))


def demo_points(folder: Path, seed: int) -> list[Point]:
    """The points; they read what :func:`write_source` writes.

    Args:
        folder: of the sandwich.
        seed: of samples and noise; the source is always the same.
    """
    data = ["--dataset", f"gaussian?params={folder / _PARAMETERS}", "--seed", str(seed)]
    slopes = [word for lamb in _SLOPES for word in ("--lamb", f"{lamb:.4g}")]
    at = [*data, "--lamb", _LAMB]
    ba = ["--bins", "50", "--steps", "100", "--limit", "100000", "-o", RUN, "--force"]
    trained = ["--threads", "1", "--evaluate", "-o", RUN, "{resume}"]
    commands = {
        "analytic": ["analytic", *data, *slopes, "-o", RUN, "--force"],
        "upper": ["train-upper", "--recipe", "upper-demo", *at, *trained],
        "lower": ["train-lower", "--recipe", "lower-demo", *at, *trained],
        "blahut-arimoto": ["blahut-arimoto", *at, *ba],
    }
    return [command_point(name, {"method": name}, words) for name, words in commands.items()]


def write_source(folder: Path) -> None:
    """Write the parameters of the notebook's Gaussian into a folder."""
    write_parameters(folder / _PARAMETERS, draw_parameters(2, 0), force=True)
