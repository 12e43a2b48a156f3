"""Draws docs/images/bits-back.svg: what each step of coding one digit does to the message.

    python docs/draw_bits_back.py --dataset mnist:test --item 0

The model is the shipped ``bitswap-mnist``, which has two levels of latents.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import nc_core
from nc_core.ans import Message, Rans
from nc_core.models import load_model
from nc_core.plots import Colours, look, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS = {
    "bit-swap": ("pop z1", "push x", "pop z2", "push z1", "push z2"),
    "bb-ans": ("pop z1", "pop z2", "push x", "push z1", "push z2"),
}
TITLES = {"bit-swap": "Bit-Swap", "bb-ans": "BB-ANS"}


class Watching(Rans):
    """A coder that notes how long the message is after every step."""

    def __init__(self) -> None:
        self.sizes: list[float] = []

    def pop(self, message: Message, distribution: Any) -> NDArray[np.int64]:
        """Pop, and note the size."""
        symbols = super().pop(message, distribution)
        self.sizes.append(message.bits)
        return symbols

    def push_intervals(self, message: Message, starts: Any, freqs: Any, precision: Any) -> None:
        """Push, and note the size."""
        super().push_intervals(message, starts, freqs, precision)
        self.sizes.append(message.bits)


def steps_of(digit: NDArray[np.uint8], order: str) -> list[float]:
    """Bits of the message after each step, less those of its initial words."""
    model: Any = load_model("bitswap-mnist", order=order)
    coder, message = Watching(), Message(1, model.initial_words, seed=0)
    start = message.bits
    model.push(coder, message, digit[None, None])
    return [size - start for size in coder.sizes[: len(STEPS["bit-swap"])]]


def draw(axes: Axes, order: str, sizes: list[float]) -> None:
    """One panel: a bar from the size before a step to the size after it."""
    before = 0.0
    for place, (step, after) in enumerate(zip(STEPS[order], sizes, strict=True)):
        colour = Colours.other if step.startswith("pop") else Colours.ours
        axes.bar(place, after - before, 0.62, before, color=colour)
        axes.annotate(
            f"{after - before:+,.0f}", (place, max(before, after)), xytext=(0, 3), fontsize=8,
            textcoords="offset points", ha="center",
        )  # fmt: skip
        axes.hlines(after, place + 0.31, place + 0.69, color=Colours.quiet, linewidth=0.8)
        before = after
    low = min(sizes)
    axes.axhline(0, color=Colours.text, linewidth=0.8)
    axes.axhspan(low, 0, color=Colours.background, alpha=0.35, zorder=0)
    axes.annotate(
        f"borrowed from random words: {-low:,.0f} bits", (2, low), xytext=(0, -5),
        textcoords="offset points", ha="center", va="top", fontsize=8,
    )  # fmt: skip
    axes.set_xticks(range(len(sizes)), STEPS[order])
    axes.set_title(f"{TITLES[order]}: the digit costs {sizes[-1]:,.0f} bits")
    axes.grid(visible=False, axis="x")


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist:test", help="digits (default mnist:test)")
    parser.add_argument("--item", type=int, default=0, help="which one (default 0)")
    default = Path(__file__).parent / "images" / "bits-back.svg"
    parser.add_argument("--out", type=Path, default=default, help="figure to write")
    options = parser.parse_args()
    digit = nc_core.open_dataset(options.dataset)[options.item]["image"]
    sizes = {order: steps_of(digit, order) for order in STEPS}
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 3.4))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, order in zip(panels, STEPS, strict=True):
            draw(axes, order, sizes[order])
        panels[0].set_ylabel("bits of the message, over its start")
        low, high = (end(map(end, sizes.values())) for end in (min, max))
        panels[0].set_ylim(1.15 * low, high - 0.15 * low)
        panels[0].yaxis.set_major_formatter("{x:,.0f}")
    rows = [
        [order, step, size]
        for order, values in sizes.items()
        for step, size in zip(STEPS[order], values, strict=True)
    ]
    save_figure(figure, options.out, ["order", "step", "bits_over_start"], rows)


if __name__ == "__main__":
    main()
