"""Model files: one ``.safetensors`` file each, with its configuration in the header.

    metadata    key "nc": canonical JSON with ``schema``, ``family``, ``config``, ``name``,
                ``info``, ``id`` and ``checksum``
    tensors     what decoding needs, and below ``float/`` what only training needs

A file names its family, which the plugins provide, never something to import. Its ``id`` is the
sha256 of what decoding needs: family, configuration, and name, dtype, shape and bytes of every
tensor outside ``float/``. Its ``checksum`` covers the rest as well. Both are computed again
whenever a file is read, so a :class:`ModelFile` in memory is always whole.

Known models lie in ``$NC_DATA/models/ID.safetensors``, where a decoder finds them by id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.container import canonical_json
from nc_core.datasets.locations import data_folder
from nc_core.errors import DataError, MissingDependencyError
from nc_core.files import atomic_write, describe_os_error

__all__ = [
    "EXTRAS",
    "MAX_NAME",
    "SCHEMA",
    "ModelFile",
    "read_model_file",
    "store_model",
    "stored_model",
    "write_model_file",
]

SCHEMA = "nc.model/1"
EXTRAS = "float/"
MAX_NAME = 100
"""Characters of the name of a model."""

_KEY = "nc"
_ZIP = b"PK\x03\x04"
_IMPORT = "'nc run PACKAGE import-checkpoint' makes a model file of a checkpoint"
_MAX_HEADER_BYTES = 1 << 24
_MAX_AXES = 8
_MAX_SIDE = 1 << 40
_ID = re.compile(r"[0-9a-f]{64}")
_FAMILY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a model file holds, checked; a family's ``load`` makes a model of it.

    Args:
        name: what the model is called in messages and containers.
        family: name of its model family.
        config: plain JSON data, in the family's own schema.
        id: sha256 of what decoding needs, 64 hex digits.
        info: plain JSON data that decoding does not need: recipe, steps, licence.
    """

    name: str
    family: str
    config: Mapping[str, Any]
    id: str
    info: Mapping[str, Any] = field(default_factory=dict)
    _tensors: Tensors = field(default_factory=dict, repr=False)

    @classmethod
    def without_weights(cls, name: str, family: str, model_id: str) -> ModelFile:
        """The stand-in for a model that has no file, only a registered id."""
        return cls(name, family, {}, model_id)

    def renamed(self, name: str) -> ModelFile:
        """The same model under another name, which is no part of its id."""
        return replace(self, name=name)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tensors that decoding needs, by name."""
        return {n: tensor for n, tensor in self._tensors.items() if not n.startswith(EXTRAS)}

    def extras(self) -> dict[str, NDArray[Any]]:
        """The tensors that only training needs, by name without the prefix ``float/``."""
        found = self._tensors.items()
        return {n.removeprefix(EXTRAS): tensor for n, tensor in found if n.startswith(EXTRAS)}


def write_model_file(
    path: Path,
    family: str,
    config: Mapping[str, Any],
    tensors: Tensors,
    *,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
    force: bool = True,
) -> ModelFile:
    """Write a model file, whole or not at all; equal content gives equal bytes.

    Args:
        path: ends in ``.safetensors``.
        family: name of the model family, kebab-case.
        config: plain JSON data that decoding needs; it is part of the id.
        tensors: NumPy arrays by name; below ``float/`` what decoding does not need.
        name: what to call the model, one line of at most 100 characters; by default the file's.
        info: plain JSON data to keep with it; not part of the id.
        force: replace an existing file.

    Returns:
        What was written.

    Raises:
        DataError: the file exists and ``force`` is off, or it cannot be written.
        TypeError, ValueError: a dtype that a model file does not hold, or config that is no JSON.

    Example:
        >>> file = write_model_file(path, "vae", {"width": 2}, {"w": np.zeros(2, np.float32)})
        >>> read_model_file(path).id == file.id
        True
    """
    arrays = {key: _little_endian(array) for key, array in tensors.items()}
    digests = _digests(arrays)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "family": family,
        "config": json.loads(canonical_json(config)),
        "name": path.stem if name is None else name,
        "info": json.loads(canonical_json(info or {})),
    }
    document["id"] = _identity(document, digests)
    document["checksum"] = _checksum(document, digests)
    _check_document(document, str(path))
    text = canonical_json(document).decode()
    data = _safetensors().numpy.save(arrays, {_KEY: text})
    with atomic_write(path, force=force) as file:
        file.write(data)
    return _model(document, arrays)


def read_model_file(path: Path) -> ModelFile:
    """Read a model file and check all of it.

    Raises:
        DataError: missing, no model file, of another schema, or damaged.
        MissingDependencyError: safetensors is not installed.
    """
    safetensors = _safetensors()
    try:
        _check_header_size(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            document = _parse_document(file.metadata() or {}, str(path))
            for key in file.keys():  # noqa: SIM118 - not a mapping
                _check_layout(file.get_slice(key), f"{path}: tensor '{key}'")
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise describe_os_error(error, path) from error
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: not a whole model file ({error})") from error
    digests = _digests(arrays)
    if document["id"] != _identity(document, digests):
        raise DataError(f"{path}: damaged, its weights are not those of its id")
    if document["checksum"] != _checksum(document, digests):
        raise DataError(f"{path}: damaged (checksum)")
    return _model(document, arrays)


def store_model(file: ModelFile) -> Path:
    """Put what decoding needs of a model among the known models; once is enough.

    Raises:
        DataError: the store cannot be written.
    """
    path = _stored_path(file.id)
    if path.exists():
        try:
            if read_model_file(path).id == file.id:
                return path
        except DataError:  # damaged: the good one at hand takes its place
            pass
    write_model_file(path, file.family, file.config, file.tensors(), name=file.name, info=file.info)
    return path


def stored_model(model_id: str) -> ModelFile | None:
    """The known model of that id, or None.

    Raises:
        DataError: it is there, and damaged.
    """
    if not _ID.fullmatch(model_id):  # ids come from containers, and become file names here
        return None
    path = _stored_path(model_id)
    if not path.exists():
        return None
    file = read_model_file(path)
    if file.id != model_id:
        raise DataError(f"{path}: holds another model (id {file.id[:12]})", f"remove {path}")
    return file


def _stored_path(model_id: str) -> Path:
    return data_folder() / "models" / f"{model_id}.safetensors"


def _digests(arrays: Tensors) -> list[list[Any]]:
    """Name, dtype, shape and sha256 of the bytes of each tensor, by name."""
    return [
        [key, array.dtype.name, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
        for key, array in sorted(arrays.items())
    ]


def _identity(document: Mapping[str, Any], digests: Iterable[list[Any]]) -> str:
    needed = {
        "family": document["family"],
        "config": document["config"],
        "tensors": [digest for digest in digests if not digest[0].startswith(EXTRAS)],
    }
    return hashlib.sha256(canonical_json(needed)).hexdigest()


def _checksum(document: Mapping[str, Any], digests: list[list[Any]]) -> str:
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(canonical_json(rest | {"tensors": digests})).hexdigest()


def _model(document: Mapping[str, Any], arrays: Tensors) -> ModelFile:
    return ModelFile(
        document["name"],
        document["family"],
        document["config"],
        document["id"],
        document["info"],
        arrays,
    )


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    """C-contiguous and little-endian, as files and ids have it."""
    if array.dtype.name not in _DTYPES.values():
        raise TypeError(f"a model file cannot hold {array.dtype} tensors")
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _check_header_size(path: Path) -> None:
    """Refuse a header that is larger than any model needs, before it is read."""
    with path.open("rb") as file:
        prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if prefix.startswith(_ZIP):
        raise DataError(
            f"{path}: a zip archive, as PyTorch's checkpoints are, not a model file", _IMPORT
        )
    if len(prefix) < 8 or length + 8 > path.stat().st_size:
        raise DataError(f"{path}: not a whole model file")
    if length > _MAX_HEADER_BYTES:
        raise DataError(f"{path}: not a model file, its header claims {length:,} bytes")


def _check_layout(view: Any, what: str) -> None:
    """Refuse dtypes and shapes that NumPy cannot hold."""
    if view.get_dtype() not in _DTYPES:
        raise DataError(f"{what} has dtype {view.get_dtype()}, which a model file does not hold")
    shape = view.get_shape()
    if len(shape) > _MAX_AXES or any(side > _MAX_SIDE for side in shape):
        raise DataError(f"{what} has an impossible shape")


def _parse_document(metadata: Mapping[str, str], path: str) -> dict[str, Any]:
    if _KEY not in metadata:
        raise DataError(f"{path}: safetensors, but not a model file of nc", _IMPORT)
    try:
        document = json.loads(metadata[_KEY])
        canonical_json(document)  # refuses what has no canonical form: NaN, lone surrogates
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged, unreadable JSON") from error
    _check_document(document, path)
    return dict(document)


def _check_document(document: Any, path: str) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    if str(schema).startswith("nc.checkpoint/"):
        raise DataError(
            f"{path}: a checkpoint to resume from, not a model file", "give the run directory"
        )
    if schema != SCHEMA:
        raise DataError(
            f"{path}: a model file of schema {schema!r}; this program reads '{SCHEMA}'",
            "pip install --upgrade nc-core",
        )
    name, family = document.get("name"), document.get("family")
    if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= MAX_NAME):
        raise DataError(
            f"{path}: the name of a model must be one line of at most {MAX_NAME} characters"
        )
    if not (isinstance(family, str) and _FAMILY.fullmatch(family)):
        raise DataError(f"{path}: the name of a model family must be kebab-case")
    if not (isinstance(document.get("config"), dict) and isinstance(document.get("info"), dict)):
        raise DataError(f"{path}: damaged, it lacks its configuration")
    if not all(isinstance(document.get(key), str) for key in ("id", "checksum")):
        raise DataError(f"{path}: damaged, it lacks its id")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependencyError(
            "model files need safetensors, which is not installed", "pip install 'nc-core[torch]'"
        ) from error
    return safetensors
