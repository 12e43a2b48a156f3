"""Numbers that model ids and code lengths rest on."""

from __future__ import annotations

import numpy as np

from nc_core.fixed_draws import counts_for, probe_pixels


def test_pixels_for_probes_never_change() -> None:
    pixels = probe_pixels((2, 200))
    assert pixels.dtype == np.int64
    assert pixels[1, -6:].tolist() == [195, 203, 212, 220, 229, 238]
    assert probe_pixels((2, 200), 2).max() == 1


def test_counts_for_a_block_never_change_and_go_on() -> None:
    block = np.arange(12, dtype=np.uint8).reshape(3, 4)
    draw = counts_for(block, 16)
    first, second = draw(3), draw(2)
    assert [*first, *second] == counts_for(block, 16)(5).tolist()
    assert first.tolist() == [24718, 9777, 41669]
    assert counts_for(block + np.uint8(1), 16)(3).tolist() != first.tolist()
