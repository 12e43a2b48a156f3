"""Where PyTorch is not installed, exact arithmetic says what to install."""

from __future__ import annotations

import sys

import pytest

from nc_core.errors import MissingDependencyError


def test_a_missing_pytorch_is_named_with_the_line_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("nc_core.exact")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'nc-core\[torch\]'"):
        import nc_core.exact  # noqa: F401
