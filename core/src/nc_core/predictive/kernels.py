"""The loops of the predictive codec, compiled; encoder and decoder run the same code.

All arithmetic of ``code`` is in integers. ``normal_equations`` runs in the encoder only, which
transmits what comes of it. The algorithm is described in ``docs/predictive.md``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types as t

from nc_core.ans.compiled import kernel, primitive
from nc_core.ans.kernels.interval import OK, OUT_OF_WORDS, pop_interval
from nc_core.predictive.layout import CLASSES, FEATURES, PAD, PRECISION, TOP, UNSET, USED
from nc_core.predictive.tables import LEVELS, SIGMOID_LIMIT

__all__ = ["OK", "code", "normal_equations"]

_TOTAL = 1 << PRECISION
_SIGNS = 16
_ERROR_LIMIT = 1 << 14
_SUM_LIMIT = 1 << 22
_ARGUMENT = SIGMOID_LIMIT << 14
_FRACTION = 8  # fractional bits of predictions and scales
_I32 = t.int32[::1]
_I64 = t.int64[::1]
_READ = t.Array(t.int64, 1, "C", readonly=True)


@primitive
def _describe(f: Any, planes: Any, p: Any, stride: Any, size: Any, plane: Any) -> None:
    """Differences of neighbours that are known already, own and of the planes before."""
    north = p - stride
    far = north - stride
    w, n, nw, ne = planes[p - 1], planes[north], planes[north - 1], planes[north + 1]
    ww, nn = planes[p - 2], planes[far]
    f[0] = w - nw
    f[1] = n - nw
    f[2] = ne - n
    f[3] = w - ww
    f[4] = n - nn
    f[5] = ne - planes[far + 1]
    f[6] = nw - planes[far - 1]
    f[7] = nw - planes[north - 2]
    f[8] = ne - planes[north + 2]
    f[9] = ww - planes[p - 3]
    f[10] = nn - planes[far - stride]
    if plane > 0:
        r = p - size
        above, below = r - stride, r + stride
        x, n, s = planes[r], planes[above], planes[below]
        f[11] = x - planes[r - 1]
        f[12] = x - n
        f[13] = planes[r + 1] - x
        f[14] = s - x
        f[15] = planes[above - 1] - n
        f[16] = planes[above + 1] - n
        f[17] = planes[below - 1] - s
        f[18] = planes[below + 1] - s
    if plane > 1:
        r = p - 2 * size
        x = planes[r]
        f[19] = x - planes[r - 1]
        f[20] = x - planes[r - stride]
        f[21] = planes[r + 1] - x
        f[22] = planes[r + stride] - x


@primitive
def _class(f: Any, plane: Any, shift: Any) -> Any:
    """Four degrees of activity, twice: the steeper slope is horizontal or vertical."""
    a, b = abs(f[0]), abs(f[1])
    activity = a + b + abs(f[2])
    if plane > 0:
        activity = (activity + abs(f[11]) + abs(f[12]) + abs(f[13]) + abs(f[14])) >> 1
    activity >>= shift
    degree = (activity > 4) + (activity > 10) + (activity > 24)
    return 2 * degree + (a > b)


@primitive
def _expected_error(errors: Any, f: Any, p: Any, stride: Any, size: Any, plane: Any) -> Any:
    """Mean error to expect, 5 fractional bits, times 256: from errors nearby and from slopes.

    The weights are a non-negative least squares fit over natural images.
    """
    north, far = p - stride, p - 2 * stride
    w, n, nw, ne = errors[p - 1], errors[north], errors[north - 1], errors[north + 1]
    ww, nn, nnw, nne = errors[p - 2], errors[far], errors[far - 1], errors[far + 1]
    nee, nww = errors[north + 2], errors[north - 2]
    slope = (abs(f[0]) + abs(f[1]) + abs(f[2])) << 5
    if plane == 0:
        return (
            49 * w + 46 * n + 10 * nw + 17 * ne + 31 * ww + 27 * nn + 6 * nnw + 8 * nne
            + 21 * nee + 10 * nww + 6 * slope
        )  # fmt: skip
    r = p - size
    below = 16 * errors[r] + 4 * (errors[r + 1] + errors[r + stride])
    if plane > 1:
        below += 2 * errors[r - size]
    return (
        35 * w + 31 * n + 11 * nw + 15 * ne + 23 * ww + 20 * nn + 8 * nnw + 10 * nne
        + 15 * nee + 9 * nww + 4 * slope + below
    )  # fmt: skip


@primitive
def _counts_below(edge: Any, inverse_scale: Any, sigmoid: Any, room: Any) -> Any:
    """Counts of a logistic below an edge, both relative to the mean; ``room`` in all."""
    z = (edge * inverse_scale) >> 20
    z = min(max(z, -_ARGUMENT), _ARGUMENT - 1) + _ARGUMENT
    i = z >> 8
    u = sigmoid[i] + (((sigmoid[i + 1] - sigmoid[i]) * (z & 255)) >> 8)
    return (u * room) >> 22


@primitive
def _find(
    value: Any, guess: Any, low: Any, high: Any, origin: Any, inverse_scale: Any, sigmoid: Any,
    room: Any,
) -> Any:  # fmt: skip
    """The symbol that owns a count: a walk from a guess, halving the rest when it gets long."""
    left, right, tries = low, high + 1, 0
    x = guess
    while right - left > 1:
        x = min(max(x, left + 1), right - 1)
        edge = (x << _FRACTION) - origin
        if _counts_below(edge, inverse_scale, sigmoid, room) + (x - low) <= value:
            left = x
            x += 1
        else:
            right = x
            x -= 1
        tries += 1
        if tries > 4:
            x = (left + right) >> 1
    return left


@primitive
def _prepare(planes: Any, errors: Any, p: Any, stride: Any, i: Any, j: Any, middle: Any) -> None:
    """Fill what lies outside the plane and would be read at this sample."""
    if i == 0:
        if j == 0 and planes[p] == UNSET:
            planes[p] = middle
        # Above the first row lies what was coded last; before the first sample, what was
        # first in the plane before.
        x, e = (planes[p], np.int32(32)) if j == 0 else (planes[p - 1], errors[p - 1])
        first = -PAD if j == 0 else 0
        for row in range(1, TOP + 1):
            above = p - row * stride
            for at in range(above + first, above + 3):
                planes[at] = x
                errors[at] = e
    if j == 0:
        for at in range(p - PAD, p):
            planes[at] = planes[p - stride]
            errors[at] = errors[p - stride]


@primitive
def _finish_row(planes: Any, errors: Any, end: Any, stride: Any, width: Any, last: Any) -> None:
    """Repeat the last sample of a row to the right, and the last row below."""
    for at in range(end, end + PAD):
        planes[at] = planes[end - 1]
        errors[at] = errors[end - 1]
    if last:
        for at in range(end - width - PAD, end + PAD):
            planes[at + stride] = planes[at]
            errors[at + stride] = errors[at]


@kernel(
    t.int64(
        t.uint64[::1], t.uint32[::1], _I64,  # heads, stack, cursor
        _I64, t.int64, t.int64, t.int64,  # shape and shift, first, last, decode
        _I64, _I64, _I32, _I32, _I32,  # bounds, weights, samples, planes, errors
        _I64, _I64, _I64,  # sums, biases, features
        _READ, _READ, _READ,  # sigmoid, inverse, levels
        t.uint64[::1], t.uint64[::1],  # starts, freqs
    )
)  # fmt: skip
def code(
    heads: Any, stack: Any, cursor: Any, shape: Any, first: Any, last: Any, decode: Any,
    bounds: Any, weights: Any, samples: Any, planes: Any, errors: Any,
    sums: Any, biases: Any, f: Any, sigmoid: Any, inverse: Any, levels: Any,
    starts: Any, freqs: Any,
) -> Any:  # fmt: skip
    """Code samples ``first .. last - 1``: give their intervals, or pop them from a message.

    Decoding one sample (``last == first + 1``) also gives its interval.
    """
    channels, height, width, shift = shape[1], shape[2], shape[3], shape[4]
    stride = width + 2 * PAD
    size = (height + TOP + 1) * stride
    head = heads[0]
    words = cursor[0]
    j = first % width
    i = first // width % height
    c = first // (width * height) % channels
    for n in range(first, last):
        p = c * size + (i + TOP) * stride + PAD + j
        low, high = bounds[2 * c], bounds[2 * c + 1]
        if i == 0 or j == 0:
            _prepare(planes, errors, p, stride, i, j, np.int32((low + high) >> 1))
        x = low
        start, freq = np.int64(0), np.int64(_TOTAL)
        if low < high:
            _describe(f, planes, p, stride, size, c)
            at = (c * CLASSES + _class(f, c, shift)) * FEATURES
            total = np.int64(0)
            for k in range(FEATURES):
                total += f[k] * weights[at + k]
            west, north = np.int64(planes[p - 1]), np.int64(planes[p - stride])
            mu = ((west + north) << (_FRACTION - 1)) + total
            expected = (_expected_error(errors, f, p, stride, size, c) >> (8 + shift)) + 5
            level = c * LEVELS + levels[min(expected, 4095)]
            signs = (
                (west << _FRACTION > mu)
                + 2 * (north << _FRACTION > mu)
                + 4 * (planes[p - stride + 1] << _FRACTION > mu)
                + 8 * (f[11] + f[12] > 0 if c > 0 else planes[p - stride - 1] << _FRACTION > mu)
            )
            context = (level >> 2) * _SIGNS + signs
            mu += biases[context] >> 5
            mu = min(max(mu, low << _FRACTION), high << _FRACTION)
            # The scale of a logistic is its mean error over 2 ln 2.
            ratio = (sums[2 * level] << 12) // sums[2 * level + 1]
            scale = max(((expected << shift) * ratio * 1477) >> 20, 8)
            inverse_scale = (1 << 34) // scale
            room = _TOTAL - (high - low + 1)
            origin = mu + (1 << (_FRACTION - 1))
            if decode:
                value = np.int64(head & np.uint64(_TOTAL - 1))
                guess = (mu + ((inverse[value >> 12] * scale) >> 14) + 128) >> _FRACTION
                x = _find(value, guess, low, high, origin, inverse_scale, sigmoid, room)
            else:
                x = np.int64(samples[n])
            edge = (x << _FRACTION) - origin
            end = np.int64(_TOTAL)
            if x > low:
                start = _counts_below(edge, inverse_scale, sigmoid, room) + (x - low)
            if x < high:
                end = _counts_below(edge + (1 << _FRACTION), inverse_scale, sigmoid, room) + (
                    x + 1 - low
                )
            freq = end - start
            error = (x << _FRACTION) - mu
            size_of_error = min(abs(error) >> 3, _ERROR_LIMIT << shift)
            errors[p] = size_of_error
            sums[2 * level] += size_of_error >> shift
            sums[2 * level + 1] += expected
            if sums[2 * level + 1] > _SUM_LIMIT:
                sums[2 * level] >>= 1
                sums[2 * level + 1] >>= 1
            if abs(error) < 8192 << shift:
                biases[context] += error - (biases[context] >> 5)
        else:
            errors[p] = 0
        planes[p] = x
        slot = 0 if decode else n - first
        starts[slot], freqs[slot] = np.uint64(start), np.uint64(freq)
        if decode:
            samples[n] = x
            head, words, enough = pop_interval(
                head, stack, words, np.uint64(start), np.uint64(freq), np.uint64(PRECISION)
            )
            if not enough:
                return OUT_OF_WORDS
        j += 1
        if j == width:
            _finish_row(planes, errors, p + 1, stride, width, i == height - 1)
            j = 0
            i += 1
            if i == height:
                i = 0
                c = c + 1 if c + 1 < channels else 0
    if decode:
        heads[0] = head
        cursor[0] = words
        cursor[1] = min(cursor[1], cursor[0])
    return OK


@kernel(
    t.void(
        _I32, _I64, t.int64, t.int64, t.int64, t.int64,  # planes, shape, image, plane, step, shift
        _I64, t.float32[::1], t.float32[:, :, ::1],  # f, row, gram
    )
)  # fmt: skip
def normal_equations(
    planes: Any, shape: Any, image: Any, plane: Any, step: Any, shift: Any,
    f: Any, row: Any, gram: Any,
) -> Any:  # fmt: skip
    """Add every ``step``-th sample of one plane to the least squares of its class.

    Args:
        planes: int32, (B * C * H * W,), without padding; the border is left out.
        shape: (B, C, H, W).
        image: its number.
        plane: its number.
        step: samples from one to the next.
        shift: as in ``code``.
        f: room for FEATURES numbers.
        row: the same.
        gram: float32, (CLASSES, FEATURES, FEATURES): sums of weighted products of differences;
            the last row takes their products with what is to be predicted.
    """
    height, width = shape[2], shape[3]
    size = height * width
    origin = (image * shape[1] + plane) * size
    used = USED[plane]
    for i in range(TOP, height - 1):
        for j in range(TOP + 3 * i % step, width - TOP, step):
            p = origin + i * width + j
            _describe(f, planes, p, width, size, plane)
            activity = 0
            for k in range(used):
                activity += abs(f[k])
            for k in range(FEATURES):
                row[k] = np.float32(f[k])
            target = np.float32(2 * planes[p] - planes[p - 1] - planes[p - width]) * np.float32(0.5)
            weight = np.float32(1) / np.float32((8 << shift) + activity)
            sums = gram[_class(f, plane, shift)]
            for k in range(used):
                factor = weight * row[k]
                line = sums[k]
                for m in range(FEATURES):
                    line[m] += factor * row[m]
            factor = weight * target
            line = sums[FEATURES - 1]
            for m in range(FEATURES):
                line[m] += factor * row[m]
