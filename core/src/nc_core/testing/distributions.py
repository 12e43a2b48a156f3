"""Distributions that look installed, without an installer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_distribution"]


def write_distribution(
    folder: Path,
    name: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, str],
    version: str = "1.0",
) -> Path:
    """Write modules and a ``.dist-info`` folder; on the path, they are an installed plugin.

    Args:
        folder: what goes on ``sys.path`` (or ``PYTHONPATH``); made if need be.
        name: of the distribution.
        modules: source text by module name, without packages.
        entry_points: of the group ``nc``: name to ``module`` or ``module:attribute``.
        version: of the distribution.

    Returns:
        The ``.dist-info`` folder.
    """
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (metadata / "METADATA").write_text(header, encoding="utf-8")
    lines = ["[nc]", *(f"{point} = {target}" for point, target in entry_points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return metadata
