"""The VAEs of BB-ANS: the original's numbers, exact round trips, rates at their bound."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nc_bitswap.bbans.chain import EqualMassBins, VaeChain, zero_counts
from nc_bitswap.bbans.codec import BbansCodec
from nc_bitswap.bbans.importers import recognise
from nc_bitswap.bbans.model import Architecture, Vae, beta_binomial_log_mass
from nc_bitswap.bbans.networks import LOG_ODDS_LIMIT, folded
from nc_bitswap.bbans.release import float_model, load, lower_model, write_model
from nc_core.ans import Message, Rans, RansNumpy
from nc_core.datasets.mnist import Mnist
from nc_core.errors import CorruptFileError, DataError
from nc_core.frame import Frame
from nc_core.model_file import read_model_file

WEIGHTS = {"binary_20": "threshold", "binary_random_40": "random", "beta_binomial_50": "no"}
SMALL = {
    "bernoulli": Architecture("bernoulli", 6, 7, 12, 4),
    "beta-binomial": Architecture("beta-binomial", 6, 7, 12, 4),
}


@pytest.fixture(scope="module")
def vectors(shared: Path) -> Any:
    return np.load(shared / "golden" / "bitswap" / "bbans_vectors.npz")


def original(shared: Path, run: str) -> Vae:
    vae = recognise(load_file(shared / "golden" / "bitswap" / f"bbans_{run}.safetensors"))
    assert vae is not None
    return vae


def digits(shared: Path, run: str, split: str, count: int) -> Any:
    """The first digits as a run sees them, (count, 1, 28, 28)."""
    mnist = Mnist(shared / "data" / "mnist", split, "mnist", WEIGHTS[run])
    return np.stack([mnist[index]["image"] for index in range(count)])[:, None]


def small_vae(likelihood: str) -> Vae:
    """Untrained, with running statistics that are not those of the start."""
    torch.manual_seed(0)
    vae = Vae(SMALL[likelihood])
    vae(torch.from_numpy(patterns(vae.architecture, 32).reshape(32, -1)), torch.zeros(32, 4))
    return vae.eval()


def patterns(architecture: Architecture, count: int, seed: int = 0) -> Any:
    generator = np.random.default_rng(seed)
    shape = (count, *architecture.image_shape)
    return generator.integers(0, architecture.top, shape, np.uint8, endpoint=True)


@pytest.fixture(scope="module", params=list(SMALL))
def small_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    vae = small_vae(request.param)
    path = tmp_path_factory.mktemp("models") / f"small-{request.param}.safetensors"
    write_model(path, vae, patterns(vae.architecture, 16))
    return path


@pytest.fixture(scope="module")
def small(small_file: Path) -> BbansCodec:
    return load(read_model_file(small_file))


@pytest.mark.parametrize("run", WEIGHTS)
def test_networks_give_the_originals_parameters(shared: Path, vectors: Any, run: str) -> None:
    vae = original(shared, run)
    image = torch.from_numpy(vectors[f"{run}/x"][:1].reshape(1, -1))
    bins = EqualMassBins.of(8)
    latents = bins.values(vectors[f"{run}/latent_idx"][None])
    with torch.no_grad():
        means, deviations = vae.posterior(image)
        outputs = vae.decode(torch.from_numpy(latents))
    np.testing.assert_allclose(means.ravel(), vectors[f"{run}/post_mean"].ravel(), atol=1e-5)
    np.testing.assert_allclose(deviations.ravel(), vectors[f"{run}/post_std"].ravel(), atol=1e-5)
    if run == "beta_binomial_50":
        alpha, beta = torch.exp(outputs).chunk(2, 1)
        np.testing.assert_allclose(alpha, vectors[f"{run}/alpha"], rtol=2e-4)
        np.testing.assert_allclose(beta, vectors[f"{run}/beta"], rtol=2e-4)
        pixels = vectors[f"{run}/pixels"]
        masses = vectors[f"{run}/pixel_probs"]
        values = torch.arange(256.0, dtype=torch.double).expand(len(pixels), 256)
        shapes = [part[0, pixels, None].double().expand(-1, 256) for part in (alpha, beta)]
        found = torch.exp(beta_binomial_log_mass(values, shapes[0], shapes[1])).numpy()
        # The original keeps every mass above 1e-10 and normalises.
        np.testing.assert_allclose(found, masses, rtol=1e-3, atol=2e-8)
    else:
        ones = torch.sigmoid(outputs)
        np.testing.assert_allclose(ones[0], vectors[f"{run}/bernoulli_p"], atol=2e-5)


@pytest.mark.parametrize("run", WEIGHTS)
def test_datasets_give_the_originals_images(shared: Path, vectors: Any, run: str) -> None:
    images = vectors[f"{run}/x"]
    found = digits(shared, run, "test", len(images))
    np.testing.assert_array_equal(found.reshape(len(images), -1), images.reshape(len(images), -1))


@pytest.mark.parametrize("run", WEIGHTS)
def test_exact_networks_cost_what_real_ones_do(shared: Path, run: str) -> None:
    vae = original(shared, run)
    networks = lower_model(vae, digits(shared, run, "train", 256))
    codec = BbansCodec(run, "0" * 64, networks, EqualMassBins.of(12))
    blocks = digits(shared, run, "test", 100)
    pixels = torch.from_numpy(blocks.reshape(len(blocks), -1))
    generator, draws = torch.Generator().manual_seed(0), []
    with torch.no_grad():
        for _ in range(40):
            noise = torch.randn((len(pixels), vae.architecture.latents), generator=generator)
            draws.append(float(vae(pixels, noise).information.sum()))
    error = float(np.std(draws, ddof=1))
    assert codec.bits(blocks).sum() == pytest.approx(np.mean(draws), abs=4 * error)


def test_a_message_of_digits_is_no_larger_than_the_originals(shared: Path) -> None:
    run, count = "beta_binomial_50", 100
    codec = BbansCodec(
        run,
        "0" * 64,
        lower_model(original(shared, run), digits(shared, run, "train", 256)),
        EqualMassBins.of(10),
    )
    blocks = digits(shared, run, "test", count)
    message = Message(1, codec.initial_words)
    before = message.bits
    said = codec.push(Rans(), message, blocks)
    grown = message.bits - before
    # The original's message has 3349 words after these, 50 of which it began with.
    assert grown < 32 * (3349 - 50)
    assert grown == pytest.approx(said, rel=0.001)
    found = codec.pop(Rans(), message, blocks.shape, blocks.dtype)
    np.testing.assert_array_equal(found, blocks)
    assert message.is_initial()


@pytest.mark.parametrize("likelihood", SMALL)
def test_folded_networks_are_the_same_function(likelihood: str) -> None:
    vae = small_vae(likelihood)
    networks = folded(vae)
    pixels = torch.from_numpy(patterns(vae.architecture, 9, seed=1).reshape(9, -1))
    octaves = 1 if likelihood == "bernoulli" else 1 / np.log(2)
    with torch.no_grad():
        latents = vae.posterior(pixels)[0]
        for real, fold in zip(vae.posterior(pixels), networks.posterior(pixels), strict=True):
            torch.testing.assert_close(fold, real, rtol=1e-4, atol=1e-5)
        expected = vae.decode(latents) * octaves
        torch.testing.assert_close(networks.likelihood(latents), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2, 9, 70])
def test_blocks_come_back_in_groups_of_any_size(small: BbansCodec, count: int) -> None:
    blocks = patterns(small.architecture, count, seed=2)
    message = Message(1, small.initial_words)
    small.push(Rans(), message, blocks)
    np.testing.assert_array_equal(small.pop(Rans(), message, blocks.shape, blocks.dtype), blocks)
    assert message.is_initial()


def test_a_batch_changes_neither_words_nor_bits(small: BbansCodec) -> None:
    blocks = patterns(small.architecture, 5, seed=3)[..., 1:, 2:]
    alone = np.concatenate([small.bits(blocks[k : k + 1]) for k in range(len(blocks))])
    np.testing.assert_array_equal(small.bits(blocks), alone)
    words = []
    for coder in (Rans(), RansNumpy()):
        message = Message(1, small.initial_words)
        small.push(coder, message, blocks)
        words.append(message.to_words())
    np.testing.assert_array_equal(words[0], words[1])


def test_equal_images_in_different_places_draw_equal_latents(small: BbansCodec) -> None:
    blocks = patterns(small.architecture, 2, seed=4)
    bits = small.bits(np.concatenate([blocks, blocks[::-1]]))
    np.testing.assert_array_equal(bits, bits[[3, 2, 1, 0]])


def test_grey_levels_are_refused_by_binary_models(tmp_path: Path) -> None:
    vae = small_vae("bernoulli")
    write_model(tmp_path / "b.safetensors", vae, patterns(vae.architecture, 16))
    codec = load(read_model_file(tmp_path / "b.safetensors"))
    blocks = patterns(vae.architecture, 3)
    blocks[1, 0, 2, 2] = 2
    with pytest.raises(DataError, match="codes pixels of 0 and 1; there is one of 2"):
        codec.push(Rans(), Message(1, codec.initial_words), blocks)


def test_other_shapes_are_refused(small: BbansCodec) -> None:
    for shape in ((1, 3, 6, 7), (1, 1, 7, 7), (1, 1, 0, 7)):
        with pytest.raises(ValueError, match="blocks are uint8"):
            small.bits(np.zeros(shape, np.uint8))


def test_damaged_messages_are_refused_or_end_elsewhere(small: BbansCodec) -> None:
    blocks = patterns(small.architecture, 20, seed=5)
    message = Message(1, small.initial_words)
    small.push(Rans(), message, blocks)
    message.heads[0] ^= np.uint64(1 << 17)
    try:
        found = small.pop(Rans(), message, blocks.shape, blocks.dtype)
    except CorruptFileError:
        return
    assert not message.is_initial() or not np.array_equal(found, blocks)


def test_files_hold_both_networks(small_file: Path) -> None:
    file = read_model_file(small_file)
    vae = small_vae(file.config["architecture"]["likelihood"])
    for key, value in float_model(file).state_dict().items():
        torch.testing.assert_close(value, vae.state_dict()[key])
    assert load(file).probe() == load(file).probe()


def test_files_of_other_models_are_refused(small_file: Path) -> None:
    file = read_model_file(small_file)
    file.config["architecture"]["likelihood"] = "poisson"
    with pytest.raises(DataError, match="not a model of family 'bbans'"):
        load(file)


def test_bins_have_equal_mass() -> None:
    bins = EqualMassBins.of(6)
    assert bins.bits == 6
    below = [NormalDist().cdf(edge / 2**20) for edge in bins.edges.tolist()]
    np.testing.assert_allclose(np.diff(below), 1 / 64, rtol=1e-4)
    np.testing.assert_array_equal(bins.centres, -bins.centres[::-1])
    assert (np.diff(np.sort(np.concatenate([bins.edges, bins.centres]))) > 0).all()
    again = EqualMassBins.from_tensors(bins.tensors())
    np.testing.assert_array_equal(again.edges, bins.edges)
    with pytest.raises(ValueError, match="do not part"):
        EqualMassBins(bins.edges[1:], bins.centres)


def test_counts_of_log_odds_are_those_of_the_sigmoid() -> None:
    odds = np.arange(-LOG_ODDS_LIMIT, LOG_ODDS_LIMIT + 1) / 256
    counts = zero_counts()
    assert counts.min() >= 1
    assert counts.max() < 1 << 20
    np.testing.assert_allclose(counts / 2**20, 1 / (1 + np.exp(odds)), atol=2.0**-20)


def test_the_chain_has_the_shapes_of_its_blocks(small: BbansCodec) -> None:
    frame = Frame(small.architecture.image_shape, 3, 4, "zero")
    chain = VaeChain(small._networks, small._bins, frame, 5)
    assert chain.prior().shape == (20, 1)
    assert chain.likelihood(0, np.zeros((20, 1), np.int64)).shape == (60, 1)
    assert chain.posterior(1, np.zeros((60, 1), np.int64)).shape == (20, 1)


def test_weights_that_do_not_fit_are_named() -> None:
    weights = small_vae("beta-binomial").state_dict()
    square = Vae(Architecture("beta-binomial", 6, 6, 12, 4)).state_dict()
    assert recognise({"infer_in.1.v": torch.zeros(1)}) is None
    with pytest.raises(DataError, match="of 42 pixels, which are no square image"):
        recognise(weights)
    assert recognise(square | {"n": torch.full((100, 36), 255.0)}) is not None
    with pytest.raises(DataError, match="its 'n' is not 255"):
        recognise(square | {"n": torch.full((100, 36), 3.0)})
    with pytest.raises(DataError, match=r"'bn3.bias' is of shape \(5,\), not of shape \(12,\)"):
        recognise(square | {"bn3.bias": torch.zeros(5)})
    with pytest.raises(DataError, match=r"'fc9.bias' is of shape"):
        recognise(square | {"fc9.bias": torch.zeros(5)})
    del square["fc22.bias"]
    with pytest.raises(DataError, match=r"'fc22.bias' is missing"):
        recognise(square)
