"""The models that the package ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nc_bitswap import plugin
from nc_bitswap.discretization import POSITION_BITS
from nc_bitswap.model import HierarchicalVAE
from nc_bitswap.release import float_model, load
from nc_core.ans.distributions import scale_value
from nc_core.datasets.idx import read_idx
from nc_core.model_file import read_model_file
from nc_core.specs import Pretrained

PACKAGE = Path(plugin.__file__).parent
MEMBERS = [member for family in plugin.nc_models() for member in family.pretrained]


def path_of(member: Pretrained) -> Path:
    assert member.resource is not None
    return PACKAGE / member.resource


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_files_are_those_that_are_registered(member: Pretrained) -> None:
    file = read_model_file(path_of(member))
    assert (file.id, file.name) == (member.id, member.name)
    assert path_of(member).stat().st_size < 4_000_000


class RealParameters(HierarchicalVAE):
    """A lowered model whose parameters are turned back into real numbers."""

    def __init__(self, lowered: HierarchicalVAE) -> None:
        super().__init__(lowered.architecture)
        self._lowered = (lowered,)

    def posterior(self, level: int, below: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and scales in the network's units."""
        return self._real(self._lowered[0].posterior(level, below), 1.0, 0.0, POSITION_BITS)

    def likelihood(self, level: int, above: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and scales in the network's units."""
        units = (1.0, 0.0, POSITION_BITS) if level else (127.5, 127.5, 8)
        return self._real(self._lowered[0].likelihood(level, above), *units)

    @staticmethod
    def _real(
        pair: tuple[torch.Tensor, torch.Tensor], gain: float, offset: float, bits: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        means = (pair[0].double() / (1 << bits) - offset) / gain
        scales = torch.from_numpy(scale_value(pair[1].numpy())) / gain
        return means.float(), scales.float()


def test_integer_networks_lose_less_than_a_thousandth(shared: Path) -> None:
    file = read_model_file(path_of(MEMBERS[0]))
    networks = float_model(file)
    lowered = RealParameters(load(file)._networks)
    digits = read_idx(shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz", 3)[:200]
    images = torch.from_numpy(np.pad(digits, ((0, 0), (2, 2), (2, 2)))[:, None])
    noise = networks.noise(len(images), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        real, exact = (
            float(model(images, noise).information().double().mean())
            for model in (networks, lowered)
        )
    assert exact < 1.001 * real
