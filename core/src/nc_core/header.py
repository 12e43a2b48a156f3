"""The header of a container: all that a decoder needs to start, checked before it is believed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nc_core.blocks import Tiling
from nc_core.coding import checked_coding, coding_of, told
from nc_core.container import ContainerReader
from nc_core.content import Content, checked_text
from nc_core.errors import CorruptFileError, DataError
from nc_core.rates import Rate

if TYPE_CHECKING:
    from nc_core.protocols import LosslessModel

__all__ = ["Header", "check_block", "stored_rate"]

_MAX_CHUNK_PIXELS = 1 << 24
_MAX_LANES = 1 << 20
_MAX_INITIAL_WORDS = 1 << 26
_MAX_BOUND_BITS = 1e18


@dataclass(frozen=True)
class Header:
    """What is recorded of a container.

    Args:
        file: name of the container, for messages.
        content: what it holds.
        codec: distribution and version that made it.
        model, model_id: name, and the sha256 of what decoding needs.
        coder: name of the entropy coder.
        arithmetic: ``exact`` or ``float``.
        tables: version of the integer tables.
        probe: 16 hex digits of the model's numerics probe.
        lanes, group, initial_words: shape of each chunk's message.
        tiling: how items were cut.
        order: of bits-back coding, for readers; None where the model has one only. A message
            says itself which it was made in.
        coding: what the model was told, which decoding needs; empty for most models.
    """

    file: str
    content: Content
    codec: tuple[str, str]
    model: str
    model_id: str
    coder: str
    arithmetic: str
    tables: int
    probe: str
    lanes: int
    group: int | None
    initial_words: int
    tiling: Tiling
    order: str | None = None
    coding: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def describing(cls, content: Content, model: LosslessModel, coder: str) -> Header:
        """The header of a new container."""
        return cls(
            file="",
            content=content,
            codec=model.package,
            model=model.name,
            model_id=model.id,
            coder=coder,
            arithmetic=model.arithmetic,
            tables=model.tables,
            probe=model.probe()[:16],
            lanes=model.lanes,
            group=model.group,
            initial_words=model.initial_words,
            tiling=_model_tiling(model),
            order=getattr(model, "order", None),
            coding=checked_coding(coding_of(model)),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; what has its usual value is left out."""
        data: dict[str, Any] = {
            "arithmetic": self.arithmetic,
            "codec": list(self.codec),
            "coder": self.coder,
            "content": self.content.to_json(),
            "lanes": self.lanes,
            "model": self.model,
            "model_id": self.model_id,
            "probe": self.probe,
            "tables": self.tables,
            "tiling": [self.tiling.height, self.tiling.width, self.tiling.pixels],
        }
        if self.group is not None:
            data["group"] = self.group
        if self.initial_words:
            data["initial_words"] = self.initial_words
        if self.order is not None:
            data["order"] = self.order
        if self.coding:
            data["coding"] = dict(self.coding)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], file: str) -> Header:
        """Read what :meth:`to_json` wrote.

        Raises:
            CorruptFileError: anything else.
        """
        try:
            codec = [checked_text(word) for word in data["codec"]]
            return cls(
                file=file,
                content=Content.from_json(data["content"], file),
                codec=(codec[0], codec[1]),
                model=checked_text(data["model"]),
                model_id=checked_text(data["model_id"]),
                coder=checked_text(data["coder"]),
                arithmetic=checked_text(data["arithmetic"]),
                tables=_integer(data["tables"], 0, 1 << 31),
                probe=checked_text(data["probe"]),
                lanes=_integer(data["lanes"], 1, _MAX_LANES),
                group=_integer(data["group"], 1, 1 << 31) if "group" in data else None,
                initial_words=_integer(data.get("initial_words", 0), 0, _MAX_INITIAL_WORDS),
                tiling=_tiling(*(_integer(n, 0, _MAX_CHUNK_PIXELS) for n in data["tiling"])),
                order=checked_text(data["order"]) if "order" in data else None,
                coding=_coding(data["coding"]) if "coding" in data else {},
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{file}: its header lacks what a decoder needs") from error

    def told(self, model: LosslessModel) -> LosslessModel:
        """The model, told the coding options that the container was made with.

        Another model than that of the container stays as it is; :meth:`check_model` refuses it.

        Raises:
            CorruptFileError: it does not take them.
        """
        if model.id != self.model_id:
            return model
        try:
            return told(model, self.coding)
        except ValueError as error:
            raise CorruptFileError(
                f"{self.file}: made with coding options that model '{self.model}' refuses: {error}"
            ) from error

    def check_model(self, model: LosslessModel) -> None:
        """Refuse to decode with another model, other tables, arithmetic or shape of message.

        Raises:
            CorruptFileError: one of these differs.
        """
        if model.id != self.model_id:
            raise CorruptFileError(
                f"{self.file}: made with model '{self.model}' (id {self.model_id[:12]}), "
                f"not with '{model.name}' (id {model.id[:12]})"
            )
        if model.tables != self.tables:
            raise CorruptFileError(
                f"{self.file}: uses integer tables version {self.tables}, "
                f"this program has version {model.tables}",
                f"pip install --upgrade {self.codec[0]}",
            )
        if model.probe()[:16] != self.probe:
            raise CorruptFileError(
                f"{self.file}: this machine computes other numbers than the one that made it "
                f"({' '.join(self.codec)}, {self.arithmetic} arithmetic)",
                f"here: {' '.join(model.package)}, {platform.machine()} {platform.system()}, "
                f"Python {platform.python_version()}",
            )
        names = ("arithmetic", "lanes", "group", "initial_words")
        fits = all(getattr(self, name) == getattr(model, name) for name in names)
        if not fits or self.tiling != _model_tiling(model) or self.coding != coding_of(model):
            raise CorruptFileError(
                f"{self.file}: damaged, its header does not fit model '{self.model}'"
            )
        try:
            check_block(self.content, model)
        except DataError as error:
            raise CorruptFileError(f"{self.file}: {error.message}") from error


def check_block(content: Content, model: LosslessModel) -> None:
    """Refuse content that the model cannot code.

    Raises:
        DataError: a number of channels or a dtype outside the model's block.
    """
    for item in content.items:
        label = item.name or content.name
        if item.dtype not in model.block.dtypes:
            raise DataError(
                f"{label}: {item.dtype} samples; model '{model.name}' codes "
                f"{' and '.join(model.block.dtypes)}"
            )
        if item.planes[0] not in model.block.channels:
            raise DataError(
                f"{label}: {item.planes[0]} channels; model '{model.name}' codes "
                f"{', '.join(map(str, model.block.channels))}",
                None if model.name == "predictive" else "model 'predictive' codes 1 to 4 channels",
            )


def stored_rate(reader: ContainerReader, header: Header) -> Rate:
    """The rate record of a container, without its times, which no file holds.

    Raises:
        CorruptFileError: the footer has no such numbers.
    """
    content = header.content
    try:
        rates = reader.footer["rates"]
        payload = _integer(rates["payload_bits"], 0, 8 * reader.size)
        initial = _integer(rates["initial_bits"], 0, payload)
        bound = _number(rates["bound_bits"], _MAX_BOUND_BITS)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{header.file}: damaged, its footer holds no rates") from error
    return Rate(
        items=len(content),
        dims=content.dims,
        pixels=content.pixels,
        total_bits=8 * reader.size,
        payload_bits=payload,
        initial_bits=initial,
        bound_bits=bound,
    )


def _coding(value: Any) -> dict[str, str]:
    if not value:
        raise ValueError("no coding options are left out, not written as none")
    return checked_coding(value)


def _model_tiling(model: LosslessModel) -> Tiling:
    block = model.block
    return Tiling(block.height or 0, block.width or 0, block.max_pixels)


def _tiling(height: int, width: int, pixels: int) -> Tiling:
    if pixels == 0 or height * width > _MAX_CHUNK_PIXELS:
        raise ValueError("a chunk of no or of too many pixels")
    return Tiling(height, width, pixels)


def _integer(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(value)
    return value


def _number(value: Any, most: float) -> float:
    if type(value) not in (int, float) or not abs(value) < most:
        raise ValueError(value)
    return float(value)
