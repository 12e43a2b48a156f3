"""Blahut-Arimoto on banana samples: the original's setting, finer grids, and the known density.

    OMP_NUM_THREADS=1 python bench/rd_blahut_arimoto.py SAMPLES.npy \\
        --csv bench/results/rd-blahut-arimoto.csv

SAMPLES are 100,000 samples of the 2-D banana. Nats per vector. Near-exact values are of the density
on a lattice, from above. Times are CPU milliseconds of one thread per iteration; 'all pairs' is the
original's formula with its matrix of all pairs of cells, on the same machine and the same grid.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from nc_core.plots import write_csv
from nc_rd_bounds.blahut_arimoto import Trajectory, blahut_arimoto, blahut_arimoto_grid
from nc_rd_bounds.histogram import Histogram, discretise
from nc_rd_bounds.histogram_points import trace

NEAR_EXACT = {1: 1.8263, 3: 2.5782, 10: 3.7087, 30: 4.8067}
ORIGINAL = {1: 1.831744, 3: 2.592790, 10: 3.726641, 30: 4.820433}
COLUMNS = ("source", "lambda", "rate", "distortion", "objective", "certified", "steps",
           "above_near_exact", "original_objective", "original_above_near_exact",
           "cpu_ms_per_step", "peak_mb")  # fmt: skip


def row(source: str, lamb: int, run: Callable[[], Trajectory], *, whole: bool = True) -> list[str]:
    """One line of the table; without numbers where only the time of some steps is meant."""
    before = time.process_time()
    result = run()
    seconds = time.process_time() - before
    last, exact = result.last, NEAR_EXACT[lamb]
    numbers = [f"{last.rate:.5f}", f"{last.distortion:.6f}", f"{last.objective:.6f}",
               f"{last.certified:.5f}"] if whole else [""] * 4  # fmt: skip
    return [
        source,
        str(lamb),
        *numbers,
        str(len(result.steps)),
        f"{last.objective - exact:+.4f}" if whole else "",
        f"{ORIGINAL[lamb]:.6f}",
        f"{ORIGINAL[lamb] - exact:+.4f}",
        f"{1e3 * seconds / len(result.steps):.2f}",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
    ]


def rows(path: Path) -> Iterator[list[str]]:
    """Small grids first, since the peak of memory is the process's so far."""
    samples = np.load(path)
    for bins in (80, 160, 320):
        histogram = discretise(samples, bins)
        for lamb in NEAR_EXACT:
            yield row(f"{bins} x {bins} bins", lamb, partial(traced, histogram, lamb))
    axes, density = banana_density()
    for lamb in NEAR_EXACT:
        yield row(
            "density, lattice of 0.125",
            lamb,
            partial(
                blahut_arimoto_grid,
                axes,
                density,
                lamb,
                steps=4000,
                tolerance=1e-12,
                start=density,
            ),
        )
    large = discretise(samples, 1000)
    yield row("1000 x 1000 bins", 10, partial(traced, large, 10))
    yield row("80 x 80 bins, all pairs", 3, lambda: all_pairs(samples), whole=False)


def traced(histogram: Histogram, lamb: float) -> Trajectory:
    return trace(histogram, lamb, steps=2000, tolerance=1e-5)


def all_pairs(samples: np.ndarray) -> Trajectory:
    """A few steps of the original's formula."""
    histogram = discretise(samples, 80)
    alphabet, occupied = histogram.alphabet, histogram.counts > 0
    errors = np.square(alphabet[occupied.ravel()][:, None] - alphabet[None]).mean(axis=-1)
    return blahut_arimoto(histogram.probabilities[occupied], errors, 3, steps=10, tolerance=0)


def banana_density() -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Before its rotation and shift, which change no squared error; the far tails are cut."""
    axes = np.arange(-15, 15.01, 0.125), np.arange(-26, 3.01, 0.125)
    first, second = np.meshgrid(*axes, indexing="ij")
    density = np.exp(-((first / 3) ** 2 + ((second + 0.1 * first**2) / 0.5) ** 2) / 2)
    return axes, np.where(density < 1e-13, 0.0, density)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", metavar="SAMPLES", type=Path)
    parser.add_argument("--csv", type=Path, help="also write the table here")
    options = parser.parse_args()
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    table = []
    for line in rows(options.samples):
        writer.writerow(line)
        sys.stdout.flush()
        table.append(line)
    if options.csv:
        write_csv(options.csv, COLUMNS, table)


if __name__ == "__main__":
    main()
