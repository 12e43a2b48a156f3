"""A figure of compressed images: bars of what each costs in a chain, above the image itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message, Rans
from nc_core.plots import Colours, check_suffix, look, save_figure
from nc_core.protocols import LosslessModel

__all__ = ["code_in_a_chain", "plot_digits"]


def code_in_a_chain(
    model: LosslessModel, images: NDArray[np.uint8], seed: int = 0
) -> NDArray[np.float64]:
    """Bits by which a message grows with each image, (n,): their net cost.

    Args:
        model: any.
        images: (n, C, h, w).
        seed: of the initial words.

    Raises:
        ValueError: images that the model does not take.
    """
    coder, message = Rans(), Message(model.lanes, model.initial_words, seed)
    marks = [message.bits]
    for image in images:
        model.push(coder, message, image[None])
        marks.append(message.bits)
    return np.diff(marks)


def plot_digits(
    images: NDArray[np.uint8], bits: NDArray[np.float64], name: str, path: Path
) -> None:
    """Bars of bits, with the images below them.

    Args:
        images: (n, C, h, w), C = 1 or 3.
        bits: net cost of each, (n,).
        name: of the model.
        path: of the figure; the numbers go beside it as CSV.

    Raises:
        UsageError: a format that cannot be saved.
    """
    check_suffix(path)
    pixels = images.shape[2] * images.shape[3]
    with look():
        from matplotlib.figure import Figure
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        figure = Figure(figsize=(max(0.42 * len(images), 3.6) + 1.2, 3.4))
        axes = figure.add_subplot()
        axes.bar(range(len(images)), bits, color=Colours.ours, width=0.72)
        label = f"mean: {bits.mean():,.0f} bits, {bits.mean() / pixels:.3f} per pixel"
        axes.axhline(bits.mean(), color=Colours.quiet, linestyle="--", linewidth=1, label=label)
        zoom = 22 / max(images.shape[2:])
        for place, image in enumerate(images):
            shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
            axes.add_artist(AnnotationBbox(
                OffsetImage(shown, zoom=zoom, cmap="gray_r"), (place, 0), xybox=(0, -18),
                xycoords="data", boxcoords="offset points", frameon=False,
            ))  # fmt: skip
        axes.set_xticks([])
        axes.set(title=f"Net bits of each image, one after the other, with {name}",
                 ylabel="bits", xlabel="\n")  # fmt: skip
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper right")
        axes.margins(y=0.2)
    rows = [[place, float(value), float(value) / pixels] for place, value in enumerate(bits)]
    save_figure(figure, path, ["image", "net_bits", "bits_per_pixel"], rows)
