"""Which items of a file the lead-ins of its chunks hold, read off the messages themselves."""

from __future__ import annotations

from typing import BinaryIO

from nc_core.ans.groups import pop_number
from nc_core.blocks import plan_chunks
from nc_core.chunks import CODE, chunk_message
from nc_core.container import ContainerReader
from nc_core.header import Header
from nc_core.lead_in import LeadIn
from nc_core.protocols import Coder

__all__ = ["items_of_lead_ins"]


def items_of_lead_ins(file: BinaryIO, name: str, coder: Coder) -> int | None:
    """How many items of a container were coded by lead-ins alone, as its messages say.

    Args:
        file: seekable, open for reading.
        name: what to call it in errors.
        coder: reads its words.

    Returns:
        None where the model had no lead-in.

    Raises:
        CorruptFileError: damage.
    """
    reader = ContainerReader(file, name)
    header = Header.from_json(reader.header, name)
    if header.coding.get(LeadIn.KEY) != LeadIn.PREDICTIVE:
        return None
    payloads = (payload for kind, payload in reader.chunks() if kind == CODE)
    beyond: set[int] = set()  # items of which the model coded something
    chunks = plan_chunks(header.content, header.tiling)
    for seed, (tiles, payload) in enumerate(zip(chunks, payloads, strict=True)):
        message = chunk_message(payload, seed, header)
        count = 1 + pop_number(coder, message, len(tiles))
        beyond.update(tile.item for tile in tiles[count:])
    return len(header.content) - len(beyond)
