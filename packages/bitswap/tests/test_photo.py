"""Photographs: exact round trips, rates at their bound, and files that decode anywhere."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nc_bitswap.photo.codec import PhotoCodec
from nc_bitswap.photo.distributions import mixture_weights
from nc_bitswap.photo.lattice import complete, lattice_shapes, phase_shape, to_planes, to_rgb
from nc_bitswap.photo.model import PHASES, Architecture, PhotoModel
from nc_bitswap.photo.predictors import round_predictors
from nc_bitswap.photo.release import (
    architecture_of,
    load,
    lower_model,
    read_checkpoint,
    write_model,
)
from nc_core.ans import Message, Rans, RansNumpy
from nc_core.container import ContainerReader
from nc_core.errors import CorruptFileError, DataError
from nc_core.lossless import compress_source
from nc_core.model_file import read_model_file, write_model_file
from nc_core.protocols import LosslessModel
from nc_core.sources import ArraySource
from nc_core.testing.torch_settings import onednn, threads

SMALL = Architecture(
    widths=(6, 5, 4), blocks=1, hidden=5, mixtures=2, base_width=6, latents=2
)  # fmt: skip


def pictures(count: int, height: int, width: int, seed: int = 0) -> Any:
    """Smooth colours with noise, (count, 3, height, width)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    slopes = generator.normal(0, 2, (2, count, 3, 1, 1))
    smooth = generator.integers(60, 200, (count, 3, 1, 1)) + slopes[0] * rows + slopes[1] * columns
    noise = generator.normal(0, 2, (count, 3, height, width))
    return np.clip(np.rint(smooth + noise), 0, 255).astype(np.uint8)


def small_model(architecture: Architecture = SMALL) -> PhotoModel:
    """Untrained, but with predictors: the mean of what is known of the cell."""
    torch.manual_seed(0)
    model = PhotoModel(architecture)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".linear." in name and "lattices" in name:
                parameter.zero_()
                if name.endswith("weight"):
                    for colour in range(3):
                        parameter[colour, colour, 2, 2] = 1.0
            elif name.endswith("second.weight"):
                parameter.normal_(0, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small-photo.safetensors"
    write_model(path, small_model(), pictures(4, 64, 64, seed=1))
    return path


@pytest.fixture(scope="module")
def small(small_file: Path) -> PhotoCodec:
    return load(read_model_file(small_file))


def round_trip(codec: LosslessModel, blocks: Any, decoder: Any = None) -> tuple[Message, float]:
    """Code blocks, decode them, and return the message in between, and the bound."""
    message = Message(codec.lanes, codec.initial_words, seed=1)
    bound = codec.push(Rans(), message, blocks)
    coded = message.copy()
    decoded = codec.pop(decoder or Rans(), message, blocks.shape, blocks.dtype)
    np.testing.assert_array_equal(decoded, blocks)
    assert message.is_initial()
    return coded, bound


def growth(codec: LosslessModel, message: Message) -> float:
    return message.bits - Message(codec.lanes, codec.initial_words, seed=1).bits


SIZES = [(1, 1), (1, 2), (2, 1), (3, 3), (8, 8), (1, 70), (33, 7), (32, 64), (47, 50)]


@pytest.mark.parametrize("size", SIZES)
def test_images_of_any_size_come_back(small: PhotoCodec, size: tuple[int, int]) -> None:
    for blocks in (
        pictures(2, *size),
        np.zeros((1, 3, *size), np.uint8),
        np.full((1, 3, *size), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (1, 3, *size), np.uint8),
    ):
        message, bound = round_trip(small, blocks)
        assert growth(small, message) == pytest.approx(bound, rel=1e-3, abs=0.5)


def test_many_small_images_share_a_message(small: PhotoCodec) -> None:
    message, bound = round_trip(small, pictures(130, 2, 3))
    assert growth(small, message) == pytest.approx(bound, rel=1e-3)
    round_trip(small, np.empty((0, 3, 4, 4), np.uint8))


def test_a_photograph_needs_no_initial_bits(small: PhotoCodec) -> None:
    message, bound = round_trip(small, pictures(1, 96, 130))
    assert message.low_water == small.initial_words
    # What one lane costs, and a word that is not full.
    assert 32 * len(message.to_words(message.low_water)) < 1.0005 * bound + 96


def test_the_codec_is_a_lossless_model(small: PhotoCodec) -> None:
    assert isinstance(small, LosslessModel)
    assert (small.arithmetic, small.lanes, small.block.max_pixels) == ("exact", 1, 1 << 20)


def test_the_readable_coder_decodes_the_same_words(small: PhotoCodec) -> None:
    round_trip(small, pictures(1, 9, 12), RansNumpy())


@contextlib.contextmanager
def channels_last(codec: PhotoCodec) -> Iterator[None]:
    codec._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        codec._model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def test_other_settings_decode_the_same(small: PhotoCodec) -> None:
    blocks = pictures(3, 45, 38, seed=5)
    message = Message(1, small.initial_words)
    small.push(Rans(), message, blocks)
    for setting in (
        threads(2),
        channels_last(small),
        onednn(False),
        torch.autocast("cpu", torch.bfloat16),
    ):
        with setting:
            decoded = small.pop(Rans(), message.copy(), blocks.shape, blocks.dtype)
        np.testing.assert_array_equal(decoded, blocks)


def test_blocks_together_and_alone_have_the_same_distributions(small: PhotoCodec) -> None:
    blocks = pictures(5, 24, 40)
    together = Message(1, small.initial_words)
    bound = small.push(Rans(), together, blocks)
    lengths = small.bits(blocks)
    assert lengths.dtype == np.float64 and lengths.shape == (5,)
    assert lengths.sum() == pytest.approx(bound, rel=0.01)
    np.testing.assert_array_equal(lengths[::-1], small.bits(blocks[::-1]))


def test_a_fresh_process_decodes(small_file: Path, tmp_path: Path) -> None:
    blocks = pictures(1, 50, 70)
    codec = load(read_model_file(small_file))
    message = Message(1, codec.initial_words)
    codec.push(Rans(), message, blocks)
    words, restored = tmp_path / "words.npy", tmp_path / "restored.npy"
    np.save(words, message.to_words(message.low_water))
    program = (
        "import sys, torch, numpy as np\n"
        "from pathlib import Path\n"
        "torch.set_num_threads(2)\n"
        "from nc_bitswap.photo.release import load\n"
        "from nc_core.ans import Message, Rans\n"
        "from nc_core.model_file import read_model_file\n"
        "codec = load(read_model_file(Path(sys.argv[1])))\n"
        "assert codec.probe() == sys.argv[4]\n"
        "base = Message(1, codec.initial_words)\n"
        "message = Message.from_words(np.load(sys.argv[2]), 1, base)\n"
        "blocks = codec.pop(Rans(), message, (1, 3, 50, 70), np.dtype('uint8'))\n"
        "assert message.is_initial()\n"
        "np.save(sys.argv[3], blocks)\n"
    )
    arguments = [str(small_file), str(words), str(restored), codec.probe()]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=200)
    np.testing.assert_array_equal(np.load(restored), blocks)


def test_a_damaged_message_is_never_taken_for_an_image(small: PhotoCodec) -> None:
    blocks = pictures(1, 20, 30)
    message = Message(1, small.initial_words)
    small.push(Rans(), message, blocks)
    for index in (0, 3, -1):
        damaged = message.copy()
        damaged.stack[damaged.low_water :][: damaged.size - damaged.low_water][index] ^= 1 << 9
        with contextlib.suppress(CorruptFileError, ValueError):
            small.pop(Rans(), damaged, blocks.shape, blocks.dtype)
            assert not damaged.is_initial()


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 3, 0, 4), (3, 4, 4)])
def test_other_blocks_are_refused(small: PhotoCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="blocks are uint8"):
        small.push(Rans(), Message(1, 100), np.zeros(shape, np.uint8))


def test_integers_cost_what_real_numbers_cost(small: PhotoCodec) -> None:
    blocks = pictures(4, 64, 64, seed=3)
    model = small_model()
    round_predictors(model)
    with torch.no_grad():
        planes = to_planes(blocks)
        expected = float(model(planes, torch.Generator().manual_seed(2)).sum())
    assert small.bits(blocks).sum() == pytest.approx(expected, rel=0.01)


def test_lowering_keeps_predictors_exactly() -> None:
    model = small_model(replace(SMALL, widths=(4,)))
    with torch.no_grad():
        for layer in (model.lattice(0).linear[1], model.lattice(0).linear[2]):
            layer.weight.normal_(0, 0.05)
    sums = model.lattice(0).linear[1].weight.sum().item()
    round_predictors(model)
    units = model.lattice(0).linear[1].weight * 4096
    assert torch.equal(units, units.round())
    assert model.lattice(0).linear[1].weight.sum().item() == pytest.approx(sums, abs=2 / 4096)
    lowered = lower_model(model, pictures(2, 64, 64))
    assert lowered.lattice(0).linear[1].relative_error < 1e-6


def test_the_file_says_which_model_it_is(small_file: Path, tmp_path: Path) -> None:
    file = read_model_file(small_file)
    assert (file.family, load(file).id) == ("bitswap-photo", file.id)
    assert load(file).probe() == load(file).probe()
    other = write_model_file(tmp_path / "x.safetensors", "bitswap-photo", {}, {})
    with pytest.raises(DataError, match="not a model of family"):
        load(other)
    with pytest.raises(DataError, match="no checkpoint"):
        read_checkpoint(tmp_path / "missing.safetensors")


def test_checkpoints_have_natural_logarithms(tmp_path: Path) -> None:
    import json
    from dataclasses import asdict

    from safetensors.torch import save_file

    model = small_model()
    path = tmp_path / "checkpoint.safetensors"
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(weights, path, {"config": json.dumps(asdict(SMALL))})
    read = read_checkpoint(path)
    assert read.architecture == architecture_of(asdict(SMALL)) == SMALL
    before, after = (m.base.colours.out[0].bias.detach() for m in (model, read))
    torch.testing.assert_close(after[:2], before[:2] * np.log2(np.e))
    torch.testing.assert_close(after[2:4], before[2:4])
    torch.testing.assert_close(after[4:], before[4:] * np.log2(np.e))


def test_colour_transform_is_reversible() -> None:
    levels = np.array([0, 1, 2, 63, 127, 128, 200, 254, 255], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels)).reshape(1, 3, -1, 9)
    planes = to_planes(colours)
    assert planes[:, 0].min() >= 0 and planes.abs().max() <= 255
    np.testing.assert_array_equal(to_rgb(planes), colours)
    with pytest.raises(ValueError, match="outside"):
        to_rgb(torch.tensor([255.0, 255.0, 255.0]).view(1, 3, 1, 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 4), (8, 8), (9, 3)])
def test_phases_and_coarser_lattice_make_a_lattice(size: tuple[int, int]) -> None:
    fine, coarse = lattice_shapes(*size, 1)
    parts = [phase_shape(fine, phase) for phase in PHASES]
    assert sum(rows * columns for rows, columns in [coarse, *parts]) == fine[0] * fine[1]
    cells = torch.arange(float(coarse[0] * coarse[1])).view(1, 1, *coarse)
    whole = complete(-torch.ones(1, 1, *parts[0]), cells)
    assert whole.shape == cells.shape
    assert (whole[:, :, : parts[0][0], : parts[0][1]] == -1).all()
    assert (whole == -1).sum() == parts[0][0] * parts[0][1]


def test_weights_sum_to_a_power_of_two() -> None:
    logits = np.random.default_rng(0).integers(-4096, 4097, (3, 500))
    logits[:, :200] //= 64
    weights = mixture_weights(logits)
    assert (weights.sum(axis=0) == 1 << 14).all() and (weights >= 0).all()
    expected = np.exp2((logits - logits.max(axis=0)) / 64)
    np.testing.assert_allclose(weights / (1 << 14), expected / expected.sum(axis=0), atol=1e-4)


def test_files_of_large_images_are_tiled(
    small: PhotoCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "block", replace(small.block, max_pixels=2000), raising=False)
    images = pictures(2, 70, 90)
    path = tmp_path / "photos.ncz"
    rate = compress_source(ArraySource(images, "nchw"), path, small, Rans())
    assert rate.verified
    # Four tiles of an image, and so eight chunks.
    with path.open("rb") as file:
        assert len(ContainerReader(file, str(path)).chunk_lengths) == 8
