"""What a fresh process repeats, to be compared: items, words, files and how damage ends."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.testing.contract import told
from nc_core.testing.fresh import manager_with
from nc_core.testing.pickle_watch import watch_pickle

__all__ = ["digest_arrays", "digest_item", "replay_coder", "replay_dataset", "replay_model"]

Event = dict[str, Any]
_CHANGES = 6  # of one chunk


def digest_arrays(arrays: list[NDArray[Any]]) -> str:
    """Hex sha256 of dtypes, shapes and samples."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def digest_item(item: Mapping[str, NDArray[Any]]) -> str:
    """Hex sha256 of an item of a dataset."""
    names = ",".join(item)
    return f"{names} {digest_arrays([np.asarray(value) for value in item.values()])}"


def replay_dataset(
    location: str, folder: str, indices: list[int], files: list[str]
) -> Iterator[Event]:
    """Open a dataset and read items, as if from that folder; yields their digests."""
    os.chdir(folder)
    from nc_core.datasets.opening import open_dataset

    dataset = open_dataset(location, manager_with(files))
    yield {"event": "read", "sha256": [digest_item(dataset[index]) for index in indices]}


def replay_coder(
    location: str, words: list[int], lanes: int, max_precision: int, files: list[str]
) -> Iterator[Event]:
    """Pop what the contract of a coder pushed."""
    from nc_core.ans.message import Message
    from nc_core.models import load_coder
    from nc_core.testing.coder_cases import coder_cases

    cases = coder_cases(max_precision)
    case = next(case for case in cases if case.symbols.shape[1] == lanes)
    message = Message.from_words(np.array(words, np.uint32), lanes)
    popped = load_coder(location, manager_with(files)).pop(message, case.distribution)
    yield {"event": "popped", "sha256": digest_arrays([np.asarray(popped, np.int64)])}


def replay_model(location: str, container: str, files: list[str]) -> Iterator[Event]:
    """Decode a container, make it again, and decode it with every kind of damage.

    Yields:
        events ``decoded`` and ``encoded`` with digests, ``trying`` and ``ended`` for each piece
        of damage that no checksum catches, ``pickle`` with every use of it, ``end``.
    """
    seen = watch_pickle()
    from nc_core.ans import Rans
    from nc_core.container import ContainerReader
    from nc_core.header import Header
    from nc_core.lossless import compress_source, decode_container
    from nc_core.models import find_model_file
    from nc_core.testing.samples import SampleImages

    family, file = find_model_file(location, manager_with(files))
    model, coder = family.load()(file), Rans()  # as the contract has it, without a lead-in
    data = Path(container).read_bytes()
    reader = ContainerReader(io.BytesIO(data), "container")
    header = Header.from_json(reader.header, "container")
    images = [item.samples for item in decode_container(reader, header, model, coder, threads=2)]
    yield {"event": "decoded", "sha256": digest_arrays(images)}
    again = Path("again.ncz")
    compress_source(SampleImages(images), again, model, coder, threads=3, verify=False)
    yield {"event": "encoded", "sha256": hashlib.sha256(again.read_bytes()).hexdigest()}
    yield {"event": "pickle", "calls": list(seen)}
    for what, ending in _damaged(reader, header, model, coder):
        yield {"event": "trying" if ending is None else "ended", "what": what, "ending": ending}
    yield {"event": "end"}


def _damaged(reader: Any, header: Any, model: Any, coder: Any) -> Iterator[tuple[str, str | None]]:
    """Decode the last chunk with changed bytes and without its end."""
    from nc_core.blocks import plan_chunks
    from nc_core.chunks import CODE, decode_chunk
    from nc_core.errors import CorruptFileError

    tiles = list(plan_chunks(header.content, header.tiling))[-1]
    payloads = [payload for kind, payload in reader.chunks() if kind == CODE]
    seed = len(payloads) - 1
    shape = (len(tiles), *tiles[0].shape)
    for what, damaged in _variants(payloads[seed]):
        yield what, None
        try:
            blocks = decode_chunk(damaged, shape, tiles[0].dtype, seed, header, model, coder)
        except CorruptFileError:
            ending = "refused"
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            ending = f"raises {told(error)}"
        else:
            ending = "blocks" if blocks.shape == shape else f"gives the shape {blocks.shape}"
        yield what, ending


def _variants(payload: bytes) -> Iterator[tuple[str, bytes]]:
    generator = np.random.default_rng(3)
    for place in generator.integers(0, len(payload), _CHANGES):
        changed = bytearray(payload)
        changed[place] ^= int(generator.integers(1, 256))
        yield f"another byte {place} of a chunk", bytes(changed)
    for end in (len(payload) - 4, len(payload) // 2 // 4 * 4, 16):
        yield f"only the first {end} bytes of a chunk", payload[:end]
    yield "nothing but ones in a chunk", payload[:12] + b"\xff" * (len(payload) - 12)
