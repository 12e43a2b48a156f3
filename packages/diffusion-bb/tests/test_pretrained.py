"""The model that the package ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from nc_core.datasets.idx import read_idx
from nc_core.model_file import read_model_file
from nc_diffusion_bb import plugin
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.digits import bordered
from nc_diffusion_bb.release import float_model, load
from nc_diffusion_bb.vlb_parts import bound_of

(MEMBER,) = [member for family in plugin.nc_models() for member in family.pretrained]
PATH = Path(plugin.__file__).parent / str(MEMBER.resource)


def test_the_file_is_the_one_that_is_registered() -> None:
    file = read_model_file(PATH)
    assert (file.id, file.name) == (MEMBER.id, MEMBER.name)
    assert PATH.stat().st_size < 8_000_000


def test_digits_take_as_many_bits_as_the_docs_say(shared: Path) -> None:
    """In float32 and in the arithmetic of files, of the same images."""
    images = read_idx(shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz", 3)[:8]
    digits = bordered(images)[:, None]
    file = read_model_file(PATH)
    network, chain = float_model(file)
    bound = bound_of(network, GaussianDiffusion.of(chain, "vlb50"), digits).totals.mean()
    bits = load(file).with_coding({"respacing": "vlb50"}).bits(digits).mean() / digits[0].size
    # 1.008 of the first 200.
    assert bound == pytest.approx(1.0, abs=0.15)
    assert bits == pytest.approx(bound, abs=0.03)
