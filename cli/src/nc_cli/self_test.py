"""A kilobyte coded and decoded; ``python -m nc_cli.self_test`` prints how that went as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

__all__ = ["main", "run_self_test"]

_CODERS = ("rans", "rans-numpy")
_SIDE = 32


def run_self_test() -> dict[str, Any]:
    """Code a kilobyte with each of core's coders, and compare what is decoded.

    Returns:
        ``bytes``: of the input; ``coded_bytes``, ``seconds``: by coder, the first with what
        compiling the kernels took; ``identical``: whether all came back.
    """
    import numpy as np

    import nc_core
    from nc_core.plugins import PluginManager

    plugins = PluginManager()
    plugins.discover({"NC_PLUGINS": ""})
    down, right = np.indices((_SIDE, _SIDE))
    image = (3 * down + 2 * right + (down ^ right) % 4).astype(np.uint8)
    sizes, seconds, identical = {}, {}, True
    for coder in _CODERS:
        start = time.perf_counter()
        packed = nc_core.compress(image, coder=coder, verify=False, plugins=plugins).data
        restored = nc_core.decompress(packed, plugins=plugins)
        identical &= isinstance(restored, np.ndarray) and np.array_equal(restored, image)
        sizes[coder] = len(packed)
        seconds[coder] = round(time.perf_counter() - start, 3)
    return {
        "bytes": image.nbytes, "coded_bytes": sizes, "seconds": seconds, "identical": identical,
    }  # fmt: skip


def main() -> None:
    """Print the result."""
    json.dump(run_self_test(), sys.stdout)


if __name__ == "__main__":
    main()
