"""nc, a laboratory for neural compression: the front door in Python.

Example:
    >>> import numpy as np, nc_core
    >>> image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    >>> packed = nc_core.compress(image)
    >>> bool((nc_core.decompress(packed.data) == image).all())
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nc_core.datasets.opening import open_dataset
    from nc_core.front_door import Compressed, compress, decompress, evaluate
    from nc_core.models import load_coder, load_model

__version__ = "0.1.0"
__all__ = [
    "Compressed",
    "compress",
    "decompress",
    "evaluate",
    "load_coder",
    "load_model",
    "open_dataset",
]

_HOMES = {
    "Compressed": "nc_core.front_door",
    "compress": "nc_core.front_door",
    "decompress": "nc_core.front_door",
    "evaluate": "nc_core.front_door",
    "load_coder": "nc_core.models",
    "load_model": "nc_core.models",
    "open_dataset": "nc_core.datasets.opening",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import nc_core`` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nc_core' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
