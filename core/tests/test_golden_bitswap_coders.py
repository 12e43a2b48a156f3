"""Vectors of the original scalar coders, Bit-Swap's and BB-ANS's: tables, runs, files.

Coder and rounding rules are oracles of these tests only: the product has one coder, of another
layout, and tables of its own.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

BBANS_RUNS = ["binary_20", "binary_random_40", "beta_binomial_50"]
TABLE_ROWS = ["pixel_q8", "latent_uniform_q6", "latent_top_q10"]


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "bitswap"

    def load(name):
        path = folder / name
        return json.loads(path.read_text()) if path.suffix == ".json" else np.load(path)

    return load


class ScalarCoder:
    """The original scalar coders: a head in [2**32, 2**64) over a stack of 32-bit words."""

    def __init__(self, words, head=1 << 32):
        self.words, self.head = [int(word) for word in words], int(head)

    def push(self, start, freq, precision):
        if self.head >= freq << (64 - precision):
            self.words.append(self.head & 0xFFFFFFFF)
            self.head >>= 32
        self.head = (self.head // freq << precision) + self.head % freq + start

    def count(self, precision):
        return self.head & ((1 << precision) - 1)

    def pop(self, start, freq, precision):
        offset = self.count(precision) - start
        assert 0 <= offset < freq
        self.head = freq * (self.head >> precision) + offset
        if self.head < 1 << 32:
            self.head = self.head << 32 | self.words.pop()

    def top_first(self):
        return [self.head >> 32, self.head & 0xFFFFFFFF, *reversed(self.words)]

    def bottom_first(self):
        return [*self.words, self.head]


def one_per_symbol(pmf, precision, *, nearest):
    """Frequencies of Bit-Swap (cut off) and BB-ANS (to nearest): 1 + p * (2**precision - S)."""
    total = 1 << precision
    scaled = pmf * (total - pmf.shape[-1])
    freqs = (np.rint(scaled) if nearest else np.trunc(scaled)).astype(np.int64) + 1
    largest = freqs.argmax(axis=-1, keepdims=True)
    spare = total - freqs.sum(axis=-1, keepdims=True)
    np.put_along_axis(freqs, largest, np.take_along_axis(freqs, largest, -1) + spare, -1)
    return freqs


# BB-ANS: scalar coder and its operations


def test_the_scalar_coder_of_bb_ans_replays(golden):
    rans_vectors = golden("rans_vectors.npz")
    coder = ScalarCoder([])
    names = ("starts", "freqs", "precisions")
    rows = [rans_vectors[f"scalar64/{name}"].tolist() for name in names]
    for row in zip(*rows, strict=True):
        coder.push(*row)
    assert coder.top_first() == rans_vectors["scalar64/words"].tolist()


@pytest.mark.parametrize("run", BBANS_RUNS)
def test_bb_ans_runs_replay(golden, run):
    vectors, facts = golden("bbans_vectors.npz"), golden("bbans_vectors.json")[run]
    words, ops = vectors[f"{run}/words0"].tolist(), vectors[f"{run}/ops"].tolist()
    coder = ScalarCoder(words[:1:-1], words[0] << 32 | words[1])
    after_each, bits = [len(words)], 0.0
    per_image = len(ops) // facts["n_images"]
    for index, (kind, *interval) in enumerate(ops):
        (coder.push if kind else coder.pop)(*interval)
        _, freq, precision = interval
        bits += (1 if kind else -1) * (precision - math.log2(freq))
        if (index + 1) % per_image == 0:
            after_each.append(len(coder.words) + 2)
    assert coder.top_first() == vectors[f"{run}/words1"].tolist()
    assert after_each == vectors[f"{run}/words_after_each"].tolist() == facts["words_after_each"]
    assert bits == pytest.approx(facts["info_bits"], abs=1e-6)
    assert 32 * (after_each[-1] - after_each[0]) == facts["net_bits"]


@pytest.mark.parametrize("run", BBANS_RUNS)
def test_bb_ans_operations_are_those_of_its_tables(golden, run):
    vectors, facts = golden("bbans_vectors.npz"), golden("bbans_vectors.json")[run]
    ops = vectors[f"{run}/ops"].astype(np.int64)
    latents, image = vectors[f"{run}/latent_idx"], vectors[f"{run}/x"][0]
    pops, pixels, priors = np.split(
        ops[: 2 * len(latents) + 784], [len(latents), len(latents) + 784]
    )
    assert set(pops[:, 3]) == {facts["q_precision"]}
    # Pushed from the last to the first.
    assert np.array_equal(priors[::-1, 1], latents)
    assert set(map(tuple, priors[:, [0, 2, 3]])) == {(1, 1, facts["prior_precision"])}
    if run == "beta_binomial_50":
        probabilities = vectors[f"{run}/pixel_probs"]
        freqs = one_per_symbol(probabilities, facts["obs_precision"], nearest=True)
        buckets = vectors[f"{run}/pixel_buckets"].astype(np.int64)
        assert np.array_equal(np.diff(buckets), freqs)
        which = vectors[f"{run}/pixels"]
    else:
        ones = vectors[f"{run}/bernoulli_p"].astype(np.float64)
        pmf = np.stack([1 - ones, ones], axis=-1)
        freqs = one_per_symbol(pmf, facts["obs_precision"], nearest=True)
        which = np.arange(784)
    rows, symbols = np.arange(len(which)), image[which].astype(np.int64)
    assert np.array_equal(pixels[::-1][which, 2], freqs[rows, symbols])
    starts = np.cumsum(freqs, axis=1)[rows, symbols] - freqs[rows, symbols]
    assert np.array_equal(pixels[::-1][which, 1], starts)


# Bit-Swap: 31-bit tables, scalar coder, complete runs, files


def logistic_frequencies(mu, scale, endpoints):
    arguments = np.clip((mu[:, None] - endpoints) / scale[:, None], None, 700)
    upper = 1 / (1 + np.exp(arguments))
    pmf = np.diff(upper, axis=1, prepend=0.0, append=1.0)
    return one_per_symbol(pmf, 31, nearest=False)


@pytest.mark.parametrize("kind", TABLE_ROWS)
def test_bit_swaps_tables_come_out_integer_for_integer(golden, kind):
    vectors = golden("intpmf_ans.npz")
    parameters = [vectors[f"{kind}/{name}"] for name in ("mu", "scale", "endpoints")]
    freqs = logistic_frequencies(*parameters)
    assert np.array_equal(freqs, vectors[f"{kind}/pmf_int"])
    assert (freqs.sum(axis=1) == 1 << 31).all()
    assert freqs.min() >= 1


@pytest.mark.parametrize("kind", TABLE_ROWS)
def test_bit_swaps_scalar_coder_replays(golden, kind):
    vectors = golden("intpmf_ans.npz")
    freqs = vectors[f"{kind}/pmf_int"]
    ends = np.cumsum(freqs, axis=1)
    *words, head = vectors[f"{kind}/state0"].tolist()
    encoder, decoder = ScalarCoder(words, head), ScalarCoder(words, head)
    for row, symbol in enumerate(vectors[f"{kind}/symbols"]):
        freq = int(freqs[row, symbol])
        encoder.push(int(ends[row, symbol]) - freq, freq, 31)
    assert encoder.bottom_first() == vectors[f"{kind}/state_after_encode"].tolist()
    decoded = []
    for row in reversed(range(len(freqs))):
        symbol = int(np.searchsorted(ends[row], decoder.count(31), side="right"))
        freq = int(freqs[row, symbol])
        decoder.pop(int(ends[row, symbol]) - freq, freq, 31)
        decoded.append(symbol)
    assert decoded[::-1] == vectors[f"{kind}/decoded_from_state0"].tolist()
    assert decoder.bottom_first() == vectors[f"{kind}/state_after_decode"].tolist()


@pytest.mark.parametrize("scheme", ["bs1", "bs0"])
def test_complete_bit_swap_runs_replay(golden, scheme):
    vectors = golden("encode_run_mnist_nz2.npz")
    facts = golden("encode_run_mnist_nz2.json")[f"bitswap{scheme[-1]}"]
    *words, head = vectors[f"{scheme}/state0"].tolist()
    coder = ScalarCoder(words, head)
    lengths, offset, bits = [len(words) + 1], 0, 0.0
    names = ("op_kind", "op_quantbits", "op_len")
    ops = list(zip(*(vectors[f"{scheme}/{name}"].tolist() for name in names), strict=True))
    starts, freqs = vectors[f"{scheme}/starts"].tolist(), vectors[f"{scheme}/freqs"].tolist()
    for kind, _, length in ops:
        symbols = range(offset, offset + length)
        for index in symbols if kind else reversed(symbols):
            (coder.push if kind else coder.pop)(starts[index], freqs[index], 31)
            bits += (1 if kind else -1) * (31 - math.log2(freqs[index]))
        offset += length
        lengths.append(len(coder.words) + 1)
    assert coder.bottom_first() == vectors[f"{scheme}/state_final"].tolist()
    assert lengths[0] == facts["len_state0"]
    # Five operations an image; what is left after the first run of pops is what was borrowed.
    assert lengths[5::5] == facts["len_after_image"]
    assert lengths[1 if scheme == "bs1" else 2] == facts["len_restbits"]
    assert bits == pytest.approx(facts["info_bits"], rel=1e-4)


def test_bit_swaps_first_image_takes_its_operations_from_the_tables(golden):
    vectors = golden("encode_run_mnist_nz2.npz")
    lows, highs = vectors["bins_lo0"], vectors["bins_hi0"]
    inner = lows[:, None] + (highs - lows)[:, None] * (np.arange(1, 1024) / 1024)
    pixels = ((np.arange(1, 256) - 127.5) / 127.5 - 1 / 255)[None]
    top = golden("bins.npz")["top_endpoints_q10"].astype(np.float64).reshape(1, -1)
    offset = 0
    for name, endpoints in [("q0", inner), ("p0", pixels), ("q1", top), ("p1", inner)]:
        mu, scale = (vectors[f"bs1/img0/{name}_{part}"] for part in ("mu", "scale"))
        window = slice(offset, offset + len(mu))
        freqs = logistic_frequencies(mu, scale, endpoints)
        chosen = vectors["bs1/symbols"][window].astype(np.int64)[:, None]
        ours = np.take_along_axis(freqs, chosen, 1)[:, 0]
        assert np.array_equal(ours, vectors["bs1/freqs"][window])
        offset += len(mu)


def test_bit_swaps_demo_file_has_the_documented_layout(golden):
    vectors, facts = golden("demo_file_crop_nz4.npz"), golden("demo_file_crop_nz4.json")
    *_, low, high, blocks, height, width = vectors["file_words"].tolist()
    assert (blocks, height, width) == (facts["n_blocks"], facts["h"], facts["w"])
    assert len(vectors["file_words"]) == facts["n_words"]
    assert 1 << 32 <= (high << 32 | low) < 1 << 64
    samples = height * width * 3
    assert 32 * facts["n_words"] / samples == pytest.approx(facts["bits_per_dim"], abs=0.02)
    cropped = vectors["cropped"]
    assert np.array_equal(cropped, vectors["image"][:height, :width])
    rows = cropped.reshape(height // 32, 32, width // 32, 32, 3).swapaxes(1, 2)
    assert np.array_equal(rows.reshape(blocks, 32, 32, 3), vectors["blocks"])
    initial = np.random.RandomState(100).randint(1 << 16, (1 << 32) - 1, 10_000, np.uint32)
    assert np.array_equal(initial[:5], vectors["init_first5"])
