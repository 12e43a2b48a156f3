"""Coding: exact round trips, rates at their bound, and files that decode anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nc_bitswap.chain import BlockChain
from nc_bitswap.codec import ORDERS, BitswapCodec, Order
from nc_bitswap.discretization import LatentBins, find_bins
from nc_bitswap.layers import data_dependent_init
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_bitswap.release import float_model, load, lower_model, write_model
from nc_core.ans import Message, Rans, RansNumpy
from nc_core.errors import CorruptFileError, DataError
from nc_core.frame import Frame
from nc_core.lossless import compress_source, decode_container
from nc_core.model_file import read_model_file, write_model_file
from nc_core.protocols import LosslessModel
from nc_core.sources import ArraySource
from nc_core.testing.torch_settings import threads


def noisy_images(count: int, shape: tuple[int, int, int], seed: int = 0) -> Any:
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 200, (count, 1, 1, 1))
    return (base + generator.integers(0, 55, (count, *shape))).astype(np.uint8)


def small_model(**shape: Any) -> HierarchicalVAE:
    settings = {"channels": 1, "height": 8, "width": 8, "hidden": 6, "processing": 1, "blocks": 2}
    torch.manual_seed(4)
    model = HierarchicalVAE(Architecture(**(settings | shape)))
    with data_dependent_init(model):
        model(torch.from_numpy(noisy_images(16, model.architecture.image_shape)))
    return model.eval()


def write_small(path: Path, model: HierarchicalVAE, bits: int = 6, **options: Any) -> Path:
    images = noisy_images(16, model.architecture.image_shape)
    bins = find_bins(
        model, images, bits, generator=torch.Generator().manual_seed(0), samples_per_bin=4,
        strategy=options.pop("strategy", "uniform"),
    )  # fmt: skip
    write_model(path, model, bins, images, **options)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> BitswapCodec:
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    return load(read_model_file(write_small(path, small_model())))


@pytest.fixture(scope="module")
def golden_file(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shared / "golden" / "bitswap"
    arrays = np.load(folder / "encode_run_mnist_nz2.npz")
    model = HierarchicalVAE(Architecture(levels=2, hidden=16, processing=1, blocks=2))
    model.load_state_dict(load_file(folder / "encode_run_mnist_nz2.model.safetensors"))
    bins = LatentBins.from_extremes(10, [(arrays["bins_lo0"], arrays["bins_hi0"])], 256)
    path = tmp_path_factory.mktemp("models") / "golden.safetensors"
    write_model(path, model, bins, mnist(shared)[5000:5064])
    return path


@pytest.fixture(scope="module")
def golden_codec(golden_file: Path) -> BitswapCodec:
    return load(read_model_file(golden_file))


def mnist(shared: Path) -> Any:
    import gzip

    data = gzip.decompress((shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    digits = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return np.pad(digits, ((0, 0), (0, 0), (2, 2), (2, 2)))


def round_trip(
    codec: LosslessModel, blocks: Any, coder: Any = None, decoder: Any = None
) -> tuple[Message, float]:
    """Code blocks, decode them, and return the message in between, and the bound."""
    coder = coder or Rans()
    message = Message(codec.lanes, codec.initial_words, seed=1)
    bound = codec.push(coder, message, blocks)
    coded = message.copy()
    decoded = codec.pop(decoder or coder, message, blocks.shape, blocks.dtype)
    np.testing.assert_array_equal(decoded, blocks)
    assert message.is_initial()
    return coded, bound


def growth(codec: LosslessModel, message: Message) -> float:
    return message.bits - Message(codec.lanes, codec.initial_words, seed=1).bits


def payload_bits(message: Message) -> int:
    return 32 * len(message.to_words(message.low_water))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("size", [(8, 8), (5, 8), (1, 1)])
def test_blocks_come_back_and_so_does_the_message(
    small: BitswapCodec, order: Order, count: int, size: tuple[int, int]
) -> None:
    codec = small.with_order(order)
    for blocks in (
        noisy_images(count, (1, *size), seed=3),
        np.zeros((count, 1, *size), np.uint8),
        np.full((count, 1, *size), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (count, 1, *size), np.uint8),
    ):
        message, bound = round_trip(codec, blocks)
        # One bit says the order, five the size of every group but the first.
        assert bound < growth(codec, message) < 1.0001 * bound + 2 + 5 * (count - 1)


@pytest.mark.parametrize(
    "shape",
    [
        {"levels": 1},
        {"levels": 3, "blocks": 4},
        {"channels": 3, "latent_channels": 2, "conditional_scale": True},
        {"processing": 0, "blocks": 0},
    ],
)
def test_every_shape_of_model_codes(tmp_path: Path, shape: dict[str, Any]) -> None:
    path = write_small(tmp_path / "model.safetensors", small_model(**shape), padding="edge")
    codec = load(read_model_file(path))
    assert isinstance(codec, LosslessModel)
    for order in ORDERS:
        blocks = noisy_images(5, (codec.image_shape[0], 8, 6))
        round_trip(codec.with_order(order), blocks)


@pytest.mark.parametrize("bits", [4, 12])
def test_few_and_many_bins_code(tmp_path: Path, bits: int) -> None:
    path = write_small(tmp_path / "model.safetensors", small_model(), bits)
    round_trip(load(read_model_file(path)), noisy_images(3, (1, 8, 8)))


def test_bins_of_quantiles_code(tmp_path: Path) -> None:
    path = write_small(tmp_path / "m.safetensors", small_model(), 4, strategy="quantile")
    round_trip(load(read_model_file(path)), noisy_images(3, (1, 8, 8)))


def test_coders_write_the_same_words(small: BitswapCodec) -> None:
    blocks = noisy_images(3, (1, 8, 8))
    fast, _ = round_trip(small, blocks, Rans(), RansNumpy())
    plain, _ = round_trip(small, blocks, RansNumpy(), Rans())
    np.testing.assert_array_equal(fast.to_words(), plain.to_words())


def test_parameters_do_not_depend_on_batch_or_threads(small: BitswapCodec) -> None:
    blocks = noisy_images(7, (1, 8, 8)).astype(np.int64)
    networks, bins, frame = small._networks, small._bins, Frame((1, 8, 8), 8, 8, "zero")

    def means(images: Any) -> Any:
        chain = BlockChain(networks, bins, frame, len(images))
        return chain.posterior(1, images.reshape(-1, 1)).kernel_arguments()[0].reshape(-1, 16)

    together = means(blocks)
    with threads(2):
        np.testing.assert_array_equal(together, means(blocks))
    alone = np.concatenate([means(block[None]) for block in blocks])
    np.testing.assert_array_equal(together, alone)


def test_code_lengths_are_each_block_s_own(small: BitswapCodec) -> None:
    blocks = noisy_images(6, (1, 8, 8))
    lengths = small.bits(blocks)
    assert lengths.dtype == np.float64
    np.testing.assert_array_equal(lengths[::-1], small.bits(blocks[::-1]))
    _, bound = round_trip(small, blocks)
    assert lengths.sum() == pytest.approx(bound, rel=0.1)


def test_the_integer_networks_are_as_good_as_the_real_ones(tmp_path: Path) -> None:
    model = small_model()
    codec = load(read_model_file(write_small(tmp_path / "m.safetensors", model, 10)))
    images = noisy_images(64, (1, 8, 8), seed=9)
    with torch.no_grad():
        draws = [model(torch.from_numpy(images)).information().mean() for _ in range(20)]
    expected = float(torch.stack(draws).mean())
    assert codec.bits(images).mean() == pytest.approx(expected, rel=0.02)


def test_groups_borrow_from_what_is_coded_already(small: BitswapCodec) -> None:
    first = noisy_images(200, (1, 8, 8))
    one, _ = round_trip(small, first[:1])
    all_of_them, _ = round_trip(small, first)
    # Two hundred blocks borrow about what one of them does.
    borrowed = [small.initial_words - message.low_water for message in (one, all_of_them)]
    assert borrowed[1] <= 1.5 * borrowed[0] + 2


def test_damaged_messages_are_refused(small: BitswapCodec) -> None:
    blocks = noisy_images(4, (1, 8, 8))
    message = Message(1, small.initial_words, seed=1)
    small.push(Rans(), message, blocks)
    message.cursor[0] = 3
    with pytest.raises(CorruptFileError):
        small.pop(Rans(), message, blocks.shape, blocks.dtype)


def test_blocks_of_another_kind_are_refused(small: BitswapCodec) -> None:
    message = Message(1, small.initial_words)
    for blocks in (
        np.zeros((1, 3, 8, 8), np.uint8),
        np.zeros((1, 1, 9, 8), np.uint8),
        np.zeros((1, 1, 8, 8), np.uint16),
    ):
        with pytest.raises(ValueError, match="blocks are uint8"):
            small.push(Rans(), message, blocks)
    with pytest.raises(ValueError, match="no order"):
        small.with_order("swap-bit")  # type: ignore[arg-type]


def test_files_hold_the_order_and_large_images_are_tiled(
    small: BitswapCodec, tmp_path: Path
) -> None:
    from nc_core.container import ContainerReader
    from nc_core.header import Header

    image = noisy_images(1, (1, 21, 13))[0, 0]
    codec = small.with_order("bb-ans")
    path = tmp_path / "image.ncz"
    rate = compress_source(ArraySource(image), path, codec, Rans())
    assert rate.verified
    assert rate.initial_bits > 0
    with path.open("rb") as file:
        reader = ContainerReader(file, str(path))
        header = Header.from_json(reader.header, str(path))
        (item,) = decode_container(reader, header, small, Rans())
    np.testing.assert_array_equal(item.samples, image)


def test_a_model_is_the_same_after_its_file(small: BitswapCodec, tmp_path: Path) -> None:
    path = write_small(tmp_path / "again.safetensors", small_model())
    again = load(read_model_file(path))
    assert (again.id, again.probe()) == (small.id, small.probe())
    assert float_model(read_model_file(path)).architecture == Architecture(1, 8, 8, 2, 1, 6, 1, 2)


def test_a_file_without_real_weights_codes_but_does_not_train(tmp_path: Path) -> None:
    whole = read_model_file(write_small(tmp_path / "m.safetensors", small_model()))
    file = write_model_file(tmp_path / "x.safetensors", whole.family, whole.config, whole.tensors())
    assert load(file).id == whole.id
    with pytest.raises(DataError, match="integers for coding only"):
        float_model(file)


def test_files_of_other_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    write_model_file(path, "bitswap", {"padding": "zero"}, {"a": np.zeros(1, np.int32)})
    with pytest.raises(DataError, match="not a model of family"):
        load(read_model_file(path))


@pytest.mark.parametrize("order", ORDERS)
def test_the_golden_run_has_the_original_s_length(
    shared: Path, golden_codec: BitswapCodec, order: Order
) -> None:
    folder = shared / "golden" / "bitswap"
    arrays = np.load(folder / "encode_run_mnist_nz2.npz")
    document = json.loads((folder / "encode_run_mnist_nz2.json").read_text())
    blocks = arrays["images"][:, None]
    scheme = "1" if order == "bit-swap" else "0"
    lengths = []
    for seed in range(8):
        message = Message(1, golden_codec.initial_words, seed)
        bits = golden_codec.with_order(order).push(Rans(), message, blocks)
        lengths.append(bits / 3072)
    expected = document[f"bitswap{scheme}"]["info_bits"] / 3072
    # The original's numbers are of one draw of the latents, good to 0.05 for one image.
    assert np.mean(lengths) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("order", ORDERS)
def test_digits_cost_what_the_original_pays(
    shared: Path, golden_codec: BitswapCodec, order: Order
) -> None:
    chosen = np.random.RandomState(100).choice(10000, (100, 100), replace=False)[0]
    codec = golden_codec.with_order(order)
    blocks = mnist(shared)[chosen]
    message, bound = round_trip(codec, blocks)
    expected = {"bit-swap": 1.2713, "bb-ans": 1.2681}[order]
    assert growth(codec, message) / blocks.size == pytest.approx(expected, abs=0.005)
    # Beside the bound, five bits for every group.
    assert growth(codec, message) == pytest.approx(bound, rel=1e-3)


def test_the_payload_stays_at_the_bound(shared: Path, golden_codec: BitswapCodec) -> None:
    blocks = mnist(shared)[:300, :, 2:30, 2:30]
    message, bound = round_trip(golden_codec, blocks)
    # All that is lost are the bits which the first digit borrows: 1 % of 300 digits.
    assert payload_bits(message) < 1.012 * bound


def test_a_file_decodes_in_a_fresh_process_with_other_threads(
    shared: Path, golden_file: Path, tmp_path: Path
) -> None:
    digits = mnist(shared)[:12, 0, 2:30, 2:30]
    path = tmp_path / "digits.ncz"
    codec = load(read_model_file(golden_file))
    compress_source(ArraySource(digits, "nhw"), path, codec, Rans(), verify=False)
    program = (
        "import sys, torch, numpy as np\n"
        "torch.set_num_threads(2)\n"
        "from nc_bitswap.release import load\n"
        "from nc_core.ans import Rans\n"
        "from nc_core.container import ContainerReader\n"
        "from nc_core.header import Header\n"
        "from nc_core.lossless import decode_container\n"
        "from nc_core.model_file import read_model_file\n"
        "from pathlib import Path\n"
        "codec = load(read_model_file(Path(sys.argv[1])))\n"
        "with open(sys.argv[2], 'rb') as file:\n"
        "    reader = ContainerReader(file, sys.argv[2])\n"
        "    header = Header.from_json(reader.header, sys.argv[2])\n"
        "    items = [i.samples for i in decode_container(reader, header, codec, Rans())]\n"
        "np.save(sys.argv[3], np.stack(items))\n"
    )
    restored = tmp_path / "restored.npy"
    arguments = [str(golden_file), str(path), str(restored)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=120)
    np.testing.assert_array_equal(np.load(restored), digits)


def test_lowering_leaves_the_model_alone() -> None:
    model = small_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    lowered = lower_model(model, noisy_images(4, (1, 8, 8)))
    assert lowered is not model
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
