"""What decides the last digits of a network in floating point, for a run to be refused by name.

With other digits the batch that is decoded first comes back, since its latents are uniform in
their bins, and everything below it on the message is noise. Nothing else gives that away. So a run
keeps what is known to matter, and a hash of some of the network's numbers for what is not.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nc_core.errors import UsageError
from nc_core.run_config import CONFIG, read_description
from nc_diffusion_bb.original.codec import Moments

__all__ = ["numerics", "refuse_other_numerics"]

_HINTS = {
    "threads": "use --threads {}",
    "batch_size": "use --batch-size {}",
}


def numerics(moments: Moments, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """What is to be equal: images per pass, threads, processor, libraries, and numbers.

    Args:
        moments: whose digits matter; asked three times.
        shape: of a whole batch, (B, C, H, W).
    """
    return {
        "batch_size": shape[0],
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": bool(torch.backends.mkldnn.enabled),
        "torch": torch.__version__,
        "scipy": version("scipy"),
        "digits": _hash_of_digits(moments, shape),
    }


def refuse_other_numerics(run: Path, now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was begun under other circumstances.

    Args:
        run: its directory; nothing happens where there is none.
        now: what :func:`numerics` says.

    Raises:
        UsageError: naming what differs, and why it matters.
        DataError: the directory's description is damaged.
    """
    if not (run / CONFIG).exists():
        return
    before = read_description(run)["config"].get("numerics")
    for name, value in now.items() if isinstance(before, dict) else ():
        if before.get(name) != value:
            raise UsageError(
                f"{run}: was coded with {name}={before.get(name)}, not {value}: the network's last "
                "digits would differ, and all but the last batch would decode as noise",
                _HINTS.get(name, "go on where it was begun, or start another run").format(
                    before.get(name)
                ),
            )


def _hash_of_digits(moments: Moments, shape: tuple[int, int, int, int]) -> str:
    """Of the moments at three levels, for inputs that are the same everywhere."""
    digits = hashlib.sha256()
    raw = np.random.PCG64(0).random_raw(int(np.prod(shape)))
    above = ((raw >> np.uint64(40)) / (1 << 22) - 2).astype(np.float32).reshape(shape)
    for level in sorted({0, moments.levels // 2, moments.levels - 1}):
        for array in moments.prior(level, above):
            digits.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digits.hexdigest()[:16]
