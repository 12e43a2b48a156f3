"""What a run of the original's codec found, as numbers and as files.

results/original.json         the numbers that the command prints
results/rates-push.npz, -pop  of every level; see :mod:`nc_diffusion_bb.original.run`
results/rates*.svg, .csv      the same as figures
"""

from __future__ import annotations

from collections.abc import Iterator

from nc_core.rates import Measurement
from nc_core.run_logs import read_records
from nc_core.runs import RunDirectory
from nc_diffusion_bb.original.rates import Rates, Tally

__all__ = ["keep_measurements"]

_RESULT = "original"


def keep_measurements(run: RunDirectory, tally: Tally, rates: Rates) -> list[Measurement]:
    """The run's numbers, which are also written to its results.

    Args:
        run: after coding.
        tally: what was coded.
        rates: of the whole message.

    Returns:
        ``rate_total``, ``rate_used``, ``rate_effective``, ``initial_bits`` that the first batch
        borrowed, all in bits per dimension, the last of the first batch; CPU seconds per image.

    Raises:
        DataError: something cannot be read or written.
    """
    found = [
        Measurement(name=name, value=value, unit="bit/dim", n=tally.images)
        for name, value in rates._asdict().items()
    ]
    first = int(tally.batches[0])
    borrowed = 8 * tally.extra_bytes / (first * tally.dims)
    found.append(Measurement(name="initial_bits", value=borrowed, unit="bit/dim", n=first))
    found.extend(_seconds(run))
    run.save_result(_RESULT, [one.to_json() for one in found])
    return found


def _seconds(run: RunDirectory) -> Iterator[Measurement]:
    records = read_records(run.path / "timing.jsonl")
    for phase in ("encode", "decode"):
        mine = [record for record in records if record["phase"] == phase]
        images = sum(record["images"] for record in mine)
        if images:
            seconds = sum(record["cpu_seconds"] for record in mine) / images
            name = f"{phase}_cpu_seconds"
            yield Measurement(name=name, value=seconds, unit="s/image", n=images)
