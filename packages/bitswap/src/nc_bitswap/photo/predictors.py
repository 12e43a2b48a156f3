"""Linear predictors: fitted by least squares before training, fixed in it, rounded to a grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nc_bitswap.photo.colours import Colours
from nc_bitswap.photo.model import PHASES, Lattice, PhotoModel

__all__ = ["fit_in_integers", "fit_predictors", "predictors", "round_predictors"]

# Fractional bits of linear predictors: so their results are exact, not just reproducible.
_FRACTION_BITS = 12
_RIDGE = 1e-2
# Grey levels added to the deviation of a pixel's surroundings, whose inverse square weighs it.
_FLATTEST = 1.5
_CROPS_AT_ONCE = 8


def predictors(model: PhotoModel) -> list[nn.Module]:
    """All linear predictors of the lattices: convolutions, or what they were lowered to."""
    found: list[nn.Module] = []
    for level in range(model.levels):
        lattice = model.lattice(level)
        found += lattice.linear
        for colours in lattice.colours:
            assert isinstance(colours, Colours)
            found += colours.crossed or ()
    return found


@torch.no_grad()
def fit_predictors(lattice: Lattice, planes: Tensor) -> None:
    """Set the linear predictors of a lattice to the least squares of its phases and colours.

    A pixel weighs the less, the more its surroundings vary.

    Args:
        lattice: changes in place.
        planes: of the lattice, (n, 3, H, W), even sides of 10 or more.
    """
    for phase in range(len(PHASES)):
        linear, colours = lattice.linear[phase], lattice.colours[phase]
        assert isinstance(linear, nn.Conv2d) and isinstance(colours, Colours)
        taps = linear.weight[0].numel()
        gram, moments = _normal_equations(planes, phase)
        for colour in range(3):
            # A colour sees the phases before, a constant, and the colours before it.
            seen = taps + 1 + 9 * colour
            solution = torch.linalg.solve(gram[:seen, :seen], moments[:seen, colour])
            linear.weight[colour] = solution[:taps].view_as(linear.weight[colour])
            assert linear.bias is not None
            linear.bias[colour] = solution[taps]
            if colour and colours.crossed is not None:
                crossed = colours.crossed[colour - 1]
                assert isinstance(crossed, nn.Conv2d)
                crossed.weight[0] = solution[taps + 1 :].view_as(crossed.weight[0])


def round_predictors(model: PhotoModel) -> None:
    """Round linear predictors to a grid on which integers hold them.

    The sum of the weights of each colour is kept, so that flat areas stay predicted.
    """
    with torch.no_grad():
        for layer in predictors(model):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.copy_(_rounded(layer.weight))
            if layer.bias is not None:
                units = torch.round(torch.ldexp(layer.bias, torch.tensor(_FRACTION_BITS)))
                layer.bias.copy_(torch.ldexp(units, torch.tensor(-_FRACTION_BITS)))


def fit_in_integers(model: PhotoModel) -> bool:
    """Whether the sums of rounded predictors stay below the 2^24 that float32 holds exactly."""
    largest = 0.0
    for layer in predictors(model):
        assert isinstance(layer, nn.Conv2d)
        largest = max(largest, float(layer.weight.detach().abs().sum((1, 2, 3)).max()))
    return largest * (255 << _FRACTION_BITS) < 1 << 24


def _normal_equations(planes: Tensor, phase: int) -> tuple[Tensor, Tensor]:
    """Matrix and right sides, float64, (p, p) and (p, 3), of all that colours of a phase see."""
    gram = moments = torch.zeros((), dtype=torch.float64)
    weight = 0.0
    for crops in torch.split(planes, _CROPS_AT_ONCE):
        seen, targets, weights = _regression(crops, phase)
        weighted = seen * weights[:, None]
        gram = gram + weighted.T @ seen
        moments = moments + weighted.T @ targets
        weight += float(weights.sum())
    return gram + _RIDGE * weight * torch.eye(len(gram), dtype=torch.float64), moments


def _regression(planes: Tensor, phase: int) -> tuple[Tensor, Tensor, Tensor]:
    """What is seen, (n, p), targets, (n, 3), and weights, (n,), of a phase's inner pixels."""
    cells = ((0, 0), *PHASES)
    parts = [planes[:, :, row::2, column::2] for row, column in cells[: phase + 2]]
    known, target = torch.cat(parts[:-1], 1), parts[-1]
    around = _patches(known, 5)
    crossed = _patches(target[:, :2, 1:-1, 1:-1], 3)
    seen = torch.cat((around, torch.ones(len(around), 1), crossed), 1).double()
    targets = target[:, :, 2:-2, 2:-2].permute(0, 2, 3, 1).reshape(-1, 3).double()
    deviation = around[:, 6:19].std(1).double()  # of the known luma, but for the outermost taps
    return seen, targets, 1 / (deviation + _FLATTEST).square()


def _patches(planes: Tensor, size: int) -> Tensor:
    """Patches of size x size pixels, (n, channels * size * size)."""
    return functional.unfold(planes, size).transpose(1, 2).flatten(0, 1)


def _rounded(weight: Tensor) -> Tensor:
    outputs, inputs, size, _ = weight.shape
    colours = 3 if inputs % 3 == 0 else inputs
    units = torch.ldexp(weight.double(), torch.tensor(_FRACTION_BITS))
    grouped = units.view(outputs, -1, colours, size, size)
    rounded = grouped.round()
    lost = (grouped.sum((1, 3, 4)) - rounded.sum((1, 3, 4))).round()
    rounded[:, -1, :, size // 2, size // 2] += lost
    return torch.ldexp(rounded, torch.tensor(-_FRACTION_BITS)).view(weight.shape).float()
