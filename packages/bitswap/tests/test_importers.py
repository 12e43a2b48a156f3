"""Original checkpoints: read safely, recognised by their keys and shapes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nc_bitswap.discretization import POSITION_BITS
from nc_bitswap.importers import architecture_of, import_bins, import_checkpoint
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_core.errors import DataError


@pytest.mark.parametrize("run", ["mnist_nz2", "cifar_nz2", "imagenetcrop_nz4"])
@pytest.mark.parametrize("pickled", [True, False])
def test_original_checkpoints_load(shared: Path, tmp_path: Path, run: str, pickled: bool) -> None:
    folder = shared / "golden" / "bitswap"
    path = folder / f"model_{run}.warm.safetensors"
    weights = load_file(path)
    if pickled:
        path = tmp_path / "nz"
        torch.save(weights, path)
    model = import_checkpoint(path)
    config = json.loads((folder / f"model_{run}.json").read_text())["config"]
    shape = model.architecture
    assert shape.image_shape == tuple(config["xs"])
    assert (shape.levels, shape.hidden) == (config["nz"], config["reswidth"])
    assert (shape.processing, shape.blocks) == (config["nprocessing"], config["resdepth"])
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[key])


@pytest.mark.parametrize(
    "shape",
    [
        Architecture(levels=1, hidden=3, processing=0, blocks=0),
        Architecture(levels=3, hidden=3, processing=2, blocks=4, kernel_size=5),
        Architecture(3, levels=2, hidden=3, latent_channels=2, conditional_scale=True),
    ],
)
def test_the_shape_of_any_model_is_found_in_its_weights(shape: Architecture) -> None:
    assert architecture_of(HierarchicalVAE(shape).state_dict(), "x") == shape


def test_differences_are_named(tmp_path: Path) -> None:
    weights = HierarchicalVAE(Architecture(hidden=3, processing=0, blocks=0)).state_dict()
    weights["gen_in.0.b"] = torch.zeros(4)
    del weights["gen_mu.0.v"]
    path = tmp_path / "nz2"
    torch.save(weights, path)
    with pytest.raises(DataError, match=r"lacks 'gen_mu.0.v'; 'gen_in.0.b' has the shape \(4,\)"):
        import_checkpoint(path)


class Malicious:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of a pickle ran",))


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps(Malicious())])
def test_other_files_are_refused_and_run_no_code(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nz2"
    path.write_bytes(content)
    with pytest.raises(DataError, match="read safely"):
        import_checkpoint(path)


def test_other_dictionaries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nz2"
    torch.save({"weight": torch.zeros(2, 2)}, path)
    with pytest.raises(DataError, match="not a Bit-Swap checkpoint"):
        import_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="state_dict"):
        import_checkpoint(path)


def test_original_bins_become_tables(tmp_path: Path) -> None:
    edges = torch.linspace(-3, 3, 15, dtype=torch.float64).expand(2, 4, 15).clone()
    centres = torch.linspace(-3.2, 3.2, 16, dtype=torch.float64).expand(2, 4, 16).clone()
    torch.save(edges, tmp_path / "zendpoints4.pt")
    torch.save(centres, tmp_path / "zcentres4.pt")
    bins = import_bins(tmp_path / "zendpoints4.pt", tmp_path / "zcentres4.pt")
    assert (bins.levels, bins.bits, bins.dims) == (2, 4, 4)
    values = bins.values(1, np.full((1, 4), 15))
    np.testing.assert_allclose(values, 3.2, atol=2.0**-POSITION_BITS)
    with pytest.raises(DataError, match="not the bins"):
        import_bins(tmp_path / "zcentres4.pt", tmp_path / "zendpoints4.pt")
