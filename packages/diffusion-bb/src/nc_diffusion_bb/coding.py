"""What a diffusion model is told about coding: texts by key, as a file's header records them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nc_core.errors import UsageError

__all__ = ["ORDERS", "Coding", "Order", "default_spacing"]

Order = Literal["bit-swap", "bb-ans"]
ORDERS: tuple[Order, ...] = ("bit-swap", "bb-ans")

_ALL = "all"
_MOST_IMAGES = 1 << 12
_MOST_BINS = 64
_USUAL_STEPS = 100


@dataclass(frozen=True)
class Coding:
    """How images are coded.

    Args:
        respacing: which steps of the chain; see :func:`nc_diffusion_bb.respacing.chosen_steps`.
        order: of pushes and pops: latents as they are needed, or all of them first.
        batch_size: most images that go through the network side by side.
        bins_per_deviation: of latents in the order ``bit-swap``; fewer borrow fewer bits.
        clip: the predicted image is limited to the range of pixels.
    """

    respacing: str
    order: Order = "bit-swap"
    batch_size: int = 16
    bins_per_deviation: float = 2.0
    clip: bool = True

    @classmethod
    def of(cls, options: Mapping[str, str], steps: int) -> Coding:
        """What was told.

        Args:
            options: texts by key; keys that are missing mean the usual value.
            steps: of the model's full chain.

        Raises:
            ValueError: an unknown key, or a value that it cannot have.
        """
        from nc_diffusion_bb.respacing import chosen_steps

        unknown = sorted(set(options) - set(_DEFAULTS))
        if unknown:
            from nc_core.lead_in import LeadIn

            known = ", ".join(sorted([*_DEFAULTS, LeadIn.KEY]))
            raise ValueError(f"unknown coding option '{unknown[0]}'; known: {known}")
        given = {**_DEFAULTS, "respacing": default_spacing(steps), **options}
        given["respacing"] = "" if given["respacing"] == _ALL else given["respacing"]
        try:
            chosen_steps(steps, given["respacing"])
        except UsageError as error:
            raise ValueError(f"{error.message} ({error.hint})") from error
        order = given["order"]
        if order not in ORDERS:
            raise ValueError(f"no order '{order}'; there are {' and '.join(ORDERS)}")
        if given["clip"] not in ("on", "off"):
            raise ValueError(f"clip is on or off, not '{given['clip']}'")
        return cls(
            given["respacing"],
            order,
            int(_number("batch-size", given["batch-size"], 1, _MOST_IMAGES, whole=True)),
            _number("bins-per-deviation", given["bins-per-deviation"], 1, _MOST_BINS),
            given["clip"] == "on",
        )

    def to_mapping(self) -> dict[str, str]:
        """Texts by key; usual values are left out, but for steps and order."""
        told = {
            "batch-size": str(self.batch_size),
            "bins-per-deviation": _spelt(self.bins_per_deviation),
            "clip": "on" if self.clip else "off",
            "order": self.order,
            "respacing": self.respacing or _ALL,
        }
        always = {"order", "respacing"}
        return {key: text for key, text in told.items() if key in always or text != _DEFAULTS[key]}


_DEFAULTS = {
    "batch-size": "16",
    "bins-per-deviation": "2",
    "clip": "on",
    "order": "bit-swap",
    "respacing": "",
}


def default_spacing(steps: int) -> str:
    """``vlb100`` where the chain has it; 100 even steps of longer ones, all of shorter ones."""
    if steps <= _USUAL_STEPS:
        return ""
    return f"vlb{_USUAL_STEPS}" if steps < _USUAL_STEPS * _USUAL_STEPS else str(_USUAL_STEPS)


def _spelt(number: float) -> str:
    """The shortest text that means exactly this number."""
    return str(int(number)) if number.is_integer() else repr(number)


def _number(key: str, text: str, least: int, most: int, *, whole: bool = False) -> float:
    try:
        number = float(int(text) if whole else float(text))
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{key} is {kind} from {least} to {most}, not '{text}'")
    return number
