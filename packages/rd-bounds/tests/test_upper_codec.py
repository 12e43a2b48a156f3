"""Nonlinear transform coding to actual bytes."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nc_core.ans import RansNumpy
from nc_core.errors import CorruptFileError, DataError
from nc_core.model_file import read_model_file, write_model_file
from nc_rd_bounds.upper.codec import NtcCodec
from nc_rd_bounds.upper.config import ModelConfig, UpperConfig
from nc_rd_bounds.upper.model import VectorVae
from nc_rd_bounds.upper.release import FAMILY, load, read_model, write_model
from nc_rd_bounds.upper.tables import PRECISION, LatentTables


def make_model(prior: str = "deep") -> VectorVae:
    torch.manual_seed(3)
    shape = ModelConfig(
        dims=3, latents=2, posterior="uniform", prior=prior, encoder_units=(8,), decoder_units=(8,)
    )
    model = VectorVae(shape).eval()
    with torch.no_grad():
        model.encoder.layers[-1].get_parameter("kernel").mul_(4)
        if prior != "deep":  # wide enough for the latents
            model.prior.get_parameter("log_scale").fill_(10)
    return model


def make_codec(model: VectorVae, coder: Any = None) -> NtcCodec:
    return NtcCodec("model", "0" * 64, model, LatentTables.of(model), coder)


@pytest.fixture
def x() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)


@pytest.mark.parametrize("prior", ["deep", "gmm_2", "lsm_1"])
def test_a_file_decodes_to_the_rounded_latents_at_the_tables_code_length(
    prior: str, x: np.ndarray[Any, Any]
) -> None:
    codec = make_codec(make_model(prior))
    (code,) = codec.encode(x)
    np.testing.assert_array_equal(codec.decode_latents(code), codec.quantise(x))
    cost = codec.rate_distortion(x)
    error = np.square(x - codec.decode([code])).mean(axis=1)
    np.testing.assert_allclose(error, cost.squared_error, rtol=1e-5)
    header_and_head = 8 * 16
    assert 0 <= 8 * len(code) - cost.bits.sum() < header_and_head + 32
    with torch.no_grad():
        latents = torch.from_numpy(codec.quantise(x) + LatentTables.of(codec.model).offsets)
        ideal = codec.model.terms(torch.from_numpy(x), latents.float()).kl.sum() / np.log(2)
    assert cost.bits.sum() == pytest.approx(float(ideal), rel=1e-3)


def test_latents_outside_the_tables_are_escaped() -> None:
    codec = make_codec(make_model("gmm_1"))
    x = np.array([[0, 0, 0], [1e5, 0, 0], [0, -1e5, 1e5]], np.float32)
    integers = codec.quantise(x)
    assert np.abs(integers).max() > 4096
    (code,) = codec.encode(x)
    np.testing.assert_array_equal(codec.decode_latents(code), integers)
    assert codec.rate_distortion(x).bits[1] > 32


def test_both_coders_make_the_same_bytes(x: np.ndarray[Any, Any]) -> None:
    model = make_model()
    x[3] *= 1e5
    codes = make_codec(model).encode(x)
    assert make_codec(model, RansNumpy()).encode(x) == codes
    assert make_codec(model, RansNumpy()).decode_latents(codes[0]).shape == (500, 2)


def test_tables_are_whole_and_centred_on_the_medians() -> None:
    model = make_model("gmm_1")
    with torch.no_grad():
        model.prior.get_parameter("loc").copy_(torch.tensor([[7.3], [-2.2]]))
    tables = LatentTables.of(model)
    assert tables.offsets == pytest.approx([0.3, -0.2], abs=1e-6)
    for dim, middle in enumerate((7, -2)):
        table = tables.table(dim)
        assert table.sum() == 1 << PRECISION
        assert table.min() >= 1
        assert tables.firsts[dim] + int(table.argmax()) == middle
    assert LatentTables.from_tensors(tables.tensors(), 2).tensors().keys() == {
        "offsets", "firsts", "sizes", "frequencies"
    }  # fmt: skip


def test_a_model_file_holds_all_that_coding_needs(tmp_path: Path, x: np.ndarray[Any, Any]) -> None:
    model = make_model()
    path = tmp_path / "ntc.safetensors"
    written = write_model(path, model, UpperConfig(lamb=3, model=model.config))
    file = read_model_file(path)
    codec = load(file)
    assert (codec.name, codec.id) == ("ntc", written.id)
    assert codec.encode(x) == make_codec(model).encode(x)
    # The tables of the file decide, whatever its prior has become.
    tensors = file.tensors()
    for name in tensors:
        if name.startswith("weights.prior"):
            tensors[name] = tensors[name] + 1
    other = load(write_model_file(path, FAMILY, file.config, tensors))
    assert other.encode(x) == codec.encode(x)


def test_files_that_are_no_such_model_are_refused(tmp_path: Path) -> None:
    model = make_model()
    config = UpperConfig(model=model.config)
    path = tmp_path / "ntc.safetensors"
    file = write_model(path, model, config)
    tensors = file.tensors()
    broken = {
        "family": ("bitswap", file.config, tensors),
        "config": (FAMILY, {"model": 3}, tensors),
        "sizes": (FAMILY, file.config, {**tensors, "weights.decoder.layers.0.bias": np.zeros(9)}),
        "tables": (FAMILY, file.config, {**tensors, "tables.sizes": np.array([1 << 40, 2])}),
        "sums": (
            FAMILY,
            file.config,
            {**tensors, "tables.frequencies": tensors["tables.frequencies"] * 2},
        ),
    }
    for family, document, arrays in broken.values():
        with pytest.raises(DataError, match=r"^model 'ntc': [^\n]+$"):
            load(write_model_file(path, family, document, arrays))
    with pytest.raises(DataError, match="not a model of family 'rd-bounds-vae': model: Input"):
        load(write_model_file(path, FAMILY, {"model": 3}, tensors))
    bound = VectorVae(ModelConfig(dims=3, latents=2, prior="gmm_1"))
    bound_file = write_model(path, bound, UpperConfig(model=bound.config))
    assert read_model(bound_file).config == bound.config
    with pytest.raises(DataError, match="a bound, not a codec"):
        load(bound_file)


def test_damaged_bytes_are_refused(x: np.ndarray[Any, Any]) -> None:
    codec = make_codec(make_model())
    (code,) = codec.encode(x)
    body = code[8:-4]
    shorter = code[:4] + zlib.crc32(body).to_bytes(4, "little") + body
    for damaged in (
        b"",
        code[:-1],
        code[:-4],
        code[:9] + bytes([code[9] ^ 1]) + code[10:],
        shorter,
    ):
        with pytest.raises(CorruptFileError):
            codec.decode([damaged])


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 4), np.float32), "vectors of 3 numbers"),
        (np.zeros((2, 3), np.int64), "finite floating-point"),
        (np.full((2, 3), np.nan, np.float32), "finite floating-point"),
        (np.full((2, 3), 1e30, np.float32), "beyond all integers"),
    ],
)
def test_vectors_that_cannot_be_coded_are_refused(array: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        make_codec(make_model()).encode(array)
