"""The learning curve of ``mnist-nz2-tiny`` beside that of the original code.

    nc run bitswap train --recipe mnist-nz2-tiny --set "training.duration=3 epochs" --out runs/nz2
    python bench/learning_curve.py runs/nz2 --csv bench/results/learning-curve.csv

Bounds are means over 78 batches of test digits, in bits per dimension of the padded 32x32 image.
The original was measured with the same widths, rates and batch size, one run; data come in another
order here, so single runs differ by up to 0.03.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from nc_core.plots import write_csv
from nc_core.runs import RunDirectory

ORIGINAL = {0: 3.4227, 1: 1.3005, 2: 1.2335, 3: 1.2048}
"""Test bound of the original code after so many epochs; 0 is after initialisation."""
PADDED_OVER_PIXELS = 32**2 / 28**2
COLUMNS = ("epoch", "step", "bits_per_padded_dim", "original_bits_per_padded_dim", "difference",
           "bits_per_pixel", "original_bits_per_pixel")  # fmt: skip


def rows(run: Path) -> list[list[str]]:
    """The curve of a run, epoch by epoch, as cells."""
    table = []
    for record in RunDirectory.open(run).metrics():
        epoch = record["epoch"]
        if record["phase"] != "evaluate" or epoch not in ORIGINAL:
            continue
        ours, original = record["elbo"], ORIGINAL[epoch]
        per_pixel = [ours * PADDED_OVER_PIXELS, original * PADDED_OVER_PIXELS]
        rates = [ours, original, ours - original, *per_pixel]
        table.append([f"{epoch:g}", str(record["step"]), *(f"{rate:.4f}" for rate in rates)])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory")
    parser.add_argument("--csv", type=Path, help="also write the table here")
    options = parser.parse_args()
    table = rows(options.run)
    csv.writer(sys.stdout, delimiter="\t", lineterminator="\n").writerows([COLUMNS, *table])
    if options.csv:
        write_csv(options.csv, COLUMNS, table)


if __name__ == "__main__":
    main()
