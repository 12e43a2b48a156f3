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

from nc_bitswap.discretization import POSITION_BITS, uniform_edges
from nc_bitswap.importers import (
    architecture_of,
    data_of,
    describe,
    import_bins,
    import_checkpoint,
)
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
    with pytest.raises(DataError, match="not a checkpoint of Bit-Swap"):
        import_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="state_dict"):
        import_checkpoint(path)


def save_bins(folder: Path, edges: Any, centres: Any) -> tuple[Path, Path]:
    paths = folder / "nz_zendpoints4.pt", folder / "nz_zcentres4.pt"
    for path, table in zip(paths, (edges, centres), strict=True):
        torch.save(torch.as_tensor(np.ascontiguousarray(table)), path)
    return paths


def test_original_bins_of_equal_width_become_two_numbers(tmp_path: Path) -> None:
    low = np.random.default_rng(0).uniform(-9, -3, 4)
    edges, centres = uniform_edges(low, low + 11, 4)
    shape = Architecture(1, 4, 4)
    paths = save_bins(tmp_path, np.stack([edges] * 2), np.stack([centres] * 2))
    bins = import_bins(*paths, shape)
    assert (bins.levels, bins.bits, bins.dims) == (2, 4, 4)
    assert sorted(bins.lower) == ["offset", "step"]
    for symbol in (0, 7, 15):
        values = bins.values(1, np.full((1, 4), symbol))
        np.testing.assert_allclose(values[0], centres[:, symbol], atol=16 * 2.0**-POSITION_BITS)


def test_other_original_bins_become_tables(tmp_path: Path) -> None:
    edges = np.sort(np.random.default_rng(0).normal(0, 3, (2, 4, 15)))
    centres = np.concatenate([edges[..., :1] - 1, edges], axis=-1) + 0.1
    bins = import_bins(*save_bins(tmp_path, edges, centres), Architecture(1, 4, 4))
    values = bins.values(1, np.full((1, 4), 15))
    np.testing.assert_allclose(values[0], centres[0, :, 15], atol=2.0**-POSITION_BITS)


def test_bins_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    edges, centres = save_bins(tmp_path, np.zeros((2, 4, 15)), np.zeros((2, 4, 16)))
    with pytest.raises(DataError, match="not the bins of one model"):
        import_bins(centres, edges, Architecture(1, 4, 4))
    with pytest.raises(DataError, match="bins of 2 levels of 4 latents; the checkpoint has 4 of 4"):
        import_bins(edges, centres, Architecture(1, 4, 4, levels=4))


@pytest.mark.parametrize(
    ("shape", "kind", "data"),
    [
        (Architecture(levels=8, hidden=61), "MNIST, nz 8, width 61", "mnist:train"),
        (Architecture(3, hidden=255), "CIFAR-10 or ImageNet 32x32, nz 2", "cifar10:train"),
        (Architecture(3, conditional_scale=True), "ImageNet crop, nz 2", None),
    ],
)
def test_the_kind_of_model_is_told(shape: Architecture, kind: str, data: str | None) -> None:
    assert describe(shape).startswith(kind)
    assert data_of(shape)[0] == data
