"""Mutations: of bytes anywhere, and of what lies behind checksums, which are made right again."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = [
    "mutate_bytes",
    "mutate_container",
    "mutate_npz",
    "mutate_png",
    "mutate_safetensors",
    "mutate_text",
    "mutated_json",
]

_BYTES = (0, 1, 2, 7, 8, 0x0D, 0x20, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS = (0, 1, 2, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 255, 2**16, 2**31, 2**53, 2**64, 10**30, 0.5, -1e300, 1e400,
    "", "x", "..", "../x", "/etc/x", "C:x", "nul", "a\nb", "\u202e", "\ud800", "x" * 5000,
    [], [1], [1, 2, 3, 4], [2**40, 2**40], [[[]]], {}, {"a": 1},
)  # fmt: skip
_TEXTS = (
    "!!python/object/apply:os.system ['touch PWNED']", "&a [*a]", "*b", "? {}", "- -", ": ",
    "<<: *x", "{" * 50, "[" * 2000, "1e999", "0x", ".nan", "~", "'", '"', "\t", "\x00", "---",
    "...", "extends: x", "\\u0000", "null", "999999999999999999999999", "\U0001f642",
    "training: {duration: 9e9 steps}", "%TAG ! x",
)  # fmt: skip


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """One to four changes at places that need not mean anything."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        change = random.choice(_BYTE_CHANGES)
        change(out, random)
    return bytes(out)


def _flip(out: bytearray, random: Random) -> None:
    if out:
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)


def _replace(out: bytearray, random: Random) -> None:
    if out:
        out[random.randrange(len(out))] = random.choice(_BYTES)


def _number(out: bytearray, random: Random) -> None:
    size = random.choice((2, 4, 8))
    if len(out) >= size:
        start = random.randrange(len(out) - size + 1)
        value = random.choice(_NUMBERS) % (1 << 8 * size)
        out[start : start + size] = value.to_bytes(size, random.choice(("little", "big")))


def _delete(out: bytearray, random: Random) -> None:
    start = random.randrange(len(out) + 1)
    del out[start : start + random.choice((1, 2, 16, 1000))]


def _insert(out: bytearray, random: Random) -> None:
    start = random.randrange(len(out) + 1)
    out[start:start] = random.randbytes(random.choice((1, 4, 64)))


def _repeat(out: bytearray, random: Random) -> None:
    start = random.randrange(len(out) + 1)
    part = out[start : start + random.choice((4, 64, 1000))]
    out[start:start] = part * random.choice((1, 3))


def _truncate(out: bytearray, random: Random) -> None:
    del out[random.randrange(len(out) + 1) :]


_BYTE_CHANGES: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip, _flip, _replace, _number, _delete, _insert, _repeat, _truncate,
)  # fmt: skip


def mutate_text(text: str, random: Random) -> str:
    """Lines and words of a text changed for what confuses parsers."""
    lines = text.splitlines()
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(lines) + 1)
        action = random.randrange(5)
        if action == 0 or not lines or at == len(lines):
            lines.insert(at, " " * random.randrange(4) + random.choice(_TEXTS))
        elif action == 1:
            del lines[at]
        elif action == 2:
            lines.insert(at, lines[random.randrange(len(lines))])
        elif action == 3:
            key, colon, _ = lines[at].partition(":")
            lines[at] = f"{key}{colon} {random.choice(_TEXTS)}"
        else:
            where = random.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:where] + random.choice(_TEXTS) + lines[at][where:]
    return "\n".join(lines)


def mutated_json(value: Any, random: Random) -> Any:
    """A copy of JSON data with one part replaced, left out, doubled or renamed."""
    copy = json.loads(json.dumps(value))
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                collect(node[key])

    collect(copy)
    if not places:
        return random.choice(_VALUES)
    node, key = random.choice(places)
    action = random.randrange(6)
    if action == 0:
        del node[key]
    elif action == 1 and isinstance(node, list):
        node.insert(key, node[key])
    elif action == 2 and isinstance(node, dict):
        node[random.choice(("", "x", "items", key + "x"))] = node.pop(key)
    elif action == 3 and type(node[key]) is int:
        node[key] += random.choice((-1, 1, 1 << 20))
    else:
        node[key] = random.choice(_VALUES)
    return copy


_PREFIX = struct.Struct("<8sHI")


def mutate_container(data: bytes, random: Random) -> bytes:
    """Header, chunks or footer of an ``.ncz`` file changed, with checksums that are right."""
    signature, version, length = _PREFIX.unpack_from(data)
    header = json.loads(data[_PREFIX.size : _PREFIX.size + length])
    at = _PREFIX.size + length + 4
    chunks: list[tuple[bytes, bytes]] = []
    while data[at : at + 4] != b"FOOT":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += size + 12
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    footer = json.loads(data[at + 8 : at + 8 + size])
    honest = True
    what = random.randrange(7)
    index = random.randrange(len(chunks))
    kind, payload = chunks[index]
    if what <= 1:
        header = mutated_json(header, random)
    elif what == 2:
        footer, honest = mutated_json(footer, random), False
    elif what <= 4:
        chunks[index] = kind, mutate_bytes(payload, random)
    elif what == 5:
        chunks[index] = random.choice((b"CODE", b"ICCP", b"EXIF", b"NEWS", b"FOOT")), payload
    elif random.random() < 0.5:
        del chunks[index]
    else:
        chunks.insert(random.randrange(len(chunks)), chunks[index])
    head = _PREFIX.pack(signature, version, len(_json(header))) + _json(header)
    out = io.BytesIO()
    out.write(head + struct.pack("<I", zlib.crc32(head)))
    lengths = [_write_chunk(out, *chunk) for chunk in chunks]
    start = out.tell()
    _write_chunk(out, b"FOOT", _json({**footer, "chunks": lengths} if honest else footer))
    out.write(struct.pack("<Q4s", start, b"ncz."))
    return out.getvalue()


def _write_chunk(out: io.BytesIO, kind: bytes, payload: bytes) -> int:
    head = struct.pack("<4sI", kind, len(payload))
    out.write(head + payload + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))))
    return len(payload) + 12


def _json(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def mutate_safetensors(data: bytes, random: Random) -> bytes:
    """The header of a model file changed, or the JSON document in it, or its tensors."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    what = random.randrange(4)
    if what == 0:
        header = mutated_json(header, random)
    elif what <= 2:
        document = mutated_json(json.loads(header["__metadata__"]["nc"]), random)
        header["__metadata__"]["nc"] = _json(document).decode("utf-8", "replace")
    else:
        body = mutate_bytes(body, random)
    text = _json(header)
    return struct.pack("<Q", len(text)) + text + body


def mutate_npz(data: bytes, random: Random) -> bytes:
    """Members of an archive changed inside, with checksums that are right."""
    out = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            member = old.read(name)
            renamed = random.choice((name, name, name, "x.npy", "../x.npy", ".npy"))
            new.writestr(renamed, mutate_bytes(member[:200], random) + member[200:])
    return out.getvalue()


def mutate_png(data: bytes, random: Random) -> bytes:
    """Chunks of a PNG file changed, with checksums that are right."""
    chunks, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    index = random.randrange(len(chunks))
    kind, payload = chunks[index]
    chunks[index] = kind, mutate_bytes(payload, random)
    if random.random() < 0.2:
        chunks.insert(random.randrange(len(chunks)), random.choice(chunks))
    out = bytearray(data[:8])
    for kind, payload in chunks:
        body = kind + payload
        out += struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))
    return bytes(out)
