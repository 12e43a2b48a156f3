"""The paper's experiments: many chains of images, each on a message of its own.

An experiment codes a number of images one after the other on one message. The paper has 100
experiments of 100 images, which cover the 10,000 test digits, or the test images of CIFAR-10,
exactly once. Images are padded to the networks' shape first, and all of it is coded.

With D dimensions of a padded image, and L words of a message, its head being one of them:

    nets      32 (L - L before the image) / D, so that a word is the smallest difference
    total     32 (L - L_rest + 1), bits; L_rest is L just before the first push of all
    cmas      total / (D images so far): the cumulative moving average, initial bits included
    elbos     single-sample ELBO of the image under the real-valued model, bits per dimension
    borrowed  bits below the initial words that were ever used; what bits-back coding needs

``total`` counts what the first push borrows as the paper does, and not what a later level needs
beyond the pixels that were just pushed; ``borrowed`` does.

Reference: Friso Kingma, Pieter Abbeel, Jonathan Ho, "Bit-Swap: Recursive Bits-Back Coding for
Lossless Compression with Hierarchical Latent Variables", arXiv 1905.06845, section 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_bitswap.codec import POP, PUSH, BitswapCodec, Order
from nc_bitswap.data import ModelImages
from nc_bitswap.discretization import LatentBins
from nc_bitswap.experiment_results import ARRAYS, Results
from nc_bitswap.model import HierarchicalVAE
from nc_bitswap.release import FAMILY, float_model, load
from nc_bitswap.side_by_side import Messages, SideBySide, SideBySideChain
from nc_core.ans import Message, Rans
from nc_core.errors import UsageError, WorkError
from nc_core.model_file import ModelFile
from nc_core.protocols import Dataset

__all__ = [
    "Experiments",
    "choose_images",
    "own_dims",
    "plan_experiments",
    "run_experiments",
]

Progress = Callable[[int, int], None]

# Experiments that run in step: enough for networks to be fast, few enough to be lost at Ctrl-C.
_DIMS_AT_ONCE = 1 << 15
# A latent never borrows more than its precision.
_BITS_PER_LATENT = 28
_ELBO_BATCH = 50


def choose_images(available: int, experiments: int, images: int, seed: int) -> NDArray[np.int64]:
    """Indices of the images of every experiment, (experiments, images), none of them twice.

    For 10,000 images, seed 100 and experiments of 100 images these are the original's, however
    many experiments there are.

    Raises:
        UsageError: not enough images.
    """
    if experiments * images > available:
        raise UsageError(
            f"{experiments} experiments of {images} images need {experiments * images:,} images, "
            f"and there are {available:,}",
            "use fewer --experiments or --images",
        )
    order = np.random.RandomState(seed).permutation(available)
    return order[: experiments * images].reshape(experiments, images).astype(np.int64)


@dataclass(frozen=True)
class Experiments:
    """What all experiments of a run have in common.

    Args:
        codec: the model that codes.
        floats: the same in floating point, for ELBOs; None for none.
        images: of the dataset, in the shape that the model takes.
        indices: of the images of every experiment, (experiments, images).
        seed: of initial words and ELBOs.
        decode: decode everything as well, and compare.
    """

    codec: BitswapCodec
    floats: HierarchicalVAE | None
    images: ModelImages
    indices: NDArray[np.int64]
    seed: int
    decode: bool


def plan_experiments(
    file: ModelFile, data: Dataset, experiments: int, images: int, seed: int, *, decode: bool
) -> Experiments:
    """Experiments with a model on images of a dataset.

    Raises:
        UsageError: another kind of model, or not enough images.
        DataError: images that the model cannot code.
    """
    if file.family != FAMILY:
        raise UsageError(
            f"model '{file.name}' is of family '{file.family}', not '{FAMILY}'",
            "'nc eval rate' measures models of any kind",
        )
    codec = load(file)
    chosen = ModelImages(data, codec.image_shape, codec.padding)
    return Experiments(
        codec=codec,
        floats=float_model(file) if file.extras() else None,
        images=chosen,
        indices=choose_images(len(chosen), experiments, images, seed),
        seed=seed,
        decode=decode,
    )


def own_dims(data: Dataset, shape: tuple[int, int, int]) -> int:
    """Dimensions of an image that are not padding; all of them where sizes vary.

    Args:
        data: the images.
        shape: (channels, height, width) of the padded.
    """
    channels, *padded = shape
    sides = data.shape[1:] if data.layout == "chw" else data.shape[:2]
    within = [
        most if side is None else min(side, most) for side, most in zip(sides, padded, strict=True)
    ]
    return channels * within[0] * within[1]


def run_experiments(
    experiments: Experiments,
    order: Order,
    bits: int,
    results: Results,
    progress: Progress | None = None,
) -> None:
    """Run the experiments that have no results yet, and keep those of a few at a time.

    Args:
        experiments: which.
        order: of coding.
        bits: log2 of the number of bins of a latent.
        results: where arrays and messages are kept.
        progress: called with (images done, images in all).

    Raises:
        UsageError: a number of bits that the model's bins do not have.
        WorkError: a message does not decode to its images.
    """
    try:
        bins = experiments.codec.bins.with_bits(bits)
    except ValueError as error:
        raise UsageError(f"--bits {bits}: {error}") from error
    count = experiments.indices.size
    waiting = results.unfinished
    done = count - len(waiting) * experiments.indices.shape[1]
    for group in _groups(waiting, experiments.codec.networks.architecture.dims):

        def tell(images: int, before: int = done) -> None:
            if progress is not None:
                progress(before + images, count)

        arrays, messages, seconds = _run_group(experiments, order, bins, group, tell)
        results.add(group, arrays, messages, seconds)
        done += arrays["nets"].size


def _groups(waiting: NDArray[np.int64], dims: int) -> Iterator[NDArray[np.int64]]:
    size = max(1, _DIMS_AT_ONCE // dims)
    return (waiting[start : start + size] for start in range(0, len(waiting), size))


def _run_group(
    experiments: Experiments,
    order: Order,
    bins: LatentBins,
    group: NDArray[np.int64],
    tell: Callable[[int], None],
) -> tuple[dict[str, NDArray[np.float64]], list[Message], dict[str, float]]:
    """Arrays (experiments of the group, images), the messages, and CPU seconds."""
    indices = experiments.indices[group]
    pixels = experiments.images.load(indices.ravel())
    pixels = pixels.reshape(*indices.shape, *pixels.shape[1:])
    chain = SideBySideChain(experiments.codec.networks, bins, len(group))
    words = chain.depth * bins.dims * _BITS_PER_LATENT // 32 + 1
    initial = [Message(1, words, (experiments.seed << 32) + int(number)) for number in group]
    messages = Messages([message.copy() for message in initial])
    start = time.process_time()
    arrays = _encode(chain, order, pixels, messages, tell)
    seconds = {"encode_seconds": time.process_time() - start}
    if experiments.decode:
        start = time.process_time()
        copies = Messages([message.copy() for message in messages.all])
        _check_decoding(chain, order, pixels, copies)
        seconds["decode_seconds"] = time.process_time() - start
    arrays["elbos"] = np.stack(
        [
            _elbos(experiments.floats, images, (experiments.seed << 32) + int(number))
            for number, images in zip(group, pixels, strict=True)
        ]
    )
    return {name: arrays[name] for name in ARRAYS}, messages.all, seconds


def _encode(
    chain: SideBySideChain,
    order: Order,
    pixels: NDArray[np.uint8],
    messages: Messages,
    tell: Callable[[int], None],
) -> dict[str, NDArray[np.float64]]:
    count, length = pixels.shape[:2]
    dims = pixels[0, 0].size
    sizes = np.empty((count, length + 1), np.int64)
    lowest = np.empty((count, length), np.int64)
    sizes[:, 0] = messages.sizes()
    coder: Any = SideBySide(Rans())
    for image in range(length):
        symbols = pixels[:, image].reshape(count, -1).T.astype(np.int64)
        PUSH[order](coder, messages, chain, symbols)  # type: ignore[arg-type]
        sizes[:, image + 1] = messages.sizes()
        lowest[:, image] = [message.low_water for message in messages.all]
        tell(count * (image + 1))
    rest = np.array(messages.words_before_push)[:, None]
    total = 32.0 * (sizes[:, 1:] - rest + 1)
    return {
        "nets": 32.0 * np.diff(sizes) / dims,
        "total": total,
        "cmas": total / (dims * np.arange(1, length + 1)),
        "borrowed": 32.0 * (messages.initial_words - lowest),
    }


def _check_decoding(
    chain: SideBySideChain, order: Order, pixels: NDArray[np.uint8], messages: Messages
) -> None:
    """Decode all images, the last one first; messages must be back at their initial words."""
    coder: Any = SideBySide(Rans())
    for image in range(pixels.shape[1] - 1, -1, -1):
        decoded = POP[order](coder, messages, chain)  # type: ignore[arg-type]
        if not np.array_equal(decoded.T, pixels[:, image].reshape(len(pixels), -1)):
            raise WorkError(f"image {image} of an experiment does not come back")
    if not all(message.is_initial() for message in messages.all):
        raise WorkError("an experiment does not end at its initial words")


def _elbos(
    model: HierarchicalVAE | None, pixels: NDArray[np.uint8], seed: int
) -> NDArray[np.float64]:
    """Single-sample ELBOs of images (n, C, H, W) in bits per dimension; NaN without a model."""
    if model is None:
        return np.full(len(pixels), np.nan)
    generator = torch.Generator().manual_seed(seed % (1 << 63))
    parts = []
    for start in range(0, len(pixels), _ELBO_BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + _ELBO_BATCH]))
        with torch.no_grad():
            terms = model(batch, model.noise(len(batch), generator=generator))
        parts.append(terms.information().double().numpy() / pixels[0].size)
    return np.concatenate(parts)
