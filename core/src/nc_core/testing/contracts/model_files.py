"""The contract of a lossless model's files: they decode elsewhere, or say why they do not."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.container import ContainerReader
from nc_core.errors import CorruptFileError, MissingDependencyError, NcError
from nc_core.header import Header
from nc_core.lossless import decode_container
from nc_core.model_file import read_model_file, write_model_file
from nc_core.testing.contract import ContractError, NotCheckedError, require, told, told_to_user
from nc_core.testing.contracts.model import ModelSubject
from nc_core.testing.guard import random_numbers_kept
from nc_core.testing.replay import digest_arrays

__all__ = ["CHECKS"]

_PLACES = 24  # where a file is damaged


def files_decode(subject: ModelSubject) -> None:
    """A file of images of several shapes decodes to the same images."""
    _compare(subject.images, _decoded(subject.container.read_bytes(), subject.model, subject))


def threads_do_not_change_a_byte(subject: ModelSubject) -> None:
    """Coding with three threads gives the same file as with one."""
    one, three = subject.container, subject.compress("three.ncz", threads=3)
    require(one.read_bytes() == three.read_bytes(), "three threads make another file than one")


def a_fresh_process_decodes(subject: ModelSubject) -> None:
    """A fresh process with another number of threads decodes the file to the same images."""
    found = subject.report.event("decoded", "decode a file that was made here")["sha256"]
    require(found == digest_arrays(subject.images), "a fresh process decodes to other images")


def a_fresh_process_makes_the_same_file(subject: ModelSubject) -> None:
    """A fresh process with another number of threads makes the same file, byte for byte."""
    found = subject.report.event("encoded", "make the file again")["sha256"]
    expected = hashlib.sha256(subject.container.read_bytes()).hexdigest()
    require(found == expected, "a fresh process makes another file of the same images")


def no_pickle_is_read_or_written(subject: ModelSubject) -> None:
    """No pickle is read or written when the model is loaded, codes and decodes."""
    calls = subject.report.event("pickle", "load the model, decode and encode")["calls"]
    require(
        not calls, f"{'; '.join(calls)}: a pickle can run anything, so use safetensors and JSON"
    )


def damage_that_no_checksum_catches_does_no_harm(subject: ModelSubject) -> None:
    """Damaged words end in an error that says so, or in blocks that a checksum can refuse."""
    events = subject.report.events
    subject.report.event("pickle", "load the model, decode and encode")
    for event in events:
        if event["event"] == "ended":
            require(
                event["ending"] in {"refused", "blocks"},
                f"decoding with {event['what']} {event['ending']}; pop should raise "
                "CorruptFileError or ValueError",
            )
    if subject.report.failure is not None:
        tried = [event["what"] for event in events if event["event"] == "trying"]
        last = f", decoding with {tried[-1]}" if tried else ""
        raise ContractError(f"a fresh process {subject.report.failure}{last}")


def a_damaged_file_is_refused(subject: ModelSubject) -> None:
    """A flipped bit or a missing end of a file raises CorruptFileError."""
    for what, data in _damaged(subject.container.read_bytes()):
        try:
            _decoded(data, subject.model, subject)
        except CorruptFileError:
            continue
        except Exception as error:  # of other people's code: whatever else it is, it is a fault
            raise ContractError(f"a file with {what} raises {told(error)}") from error
        raise ContractError(f"a file with {what} decodes as if nothing were wrong")


def a_model_of_another_id_is_refused(subject: ModelSubject) -> None:
    """A model of another id does not decode the file."""
    _expect_refusal(subject, _Stranger(subject.model), "a model of another id")


def wrong_weights_are_refused(subject: ModelSubject) -> None:
    """The same model with one bit of its weights changed does not decode the file."""
    file = subject.file
    tensors = file.tensors()
    if not tensors:
        return
    name = sorted(name for name, tensor in tensors.items() if tensor.size)[0]
    tensors[name] = _changed(tensors[name])
    path = subject.folder / "changed.safetensors"
    try:
        write_model_file(path, file.family, file.config, tensors, name=file.name)
        with random_numbers_kept():  # a network is built with random weights, and then filled
            other = subject.spec.load()(read_model_file(path))
    except MissingDependencyError as error:
        raise NotCheckedError(told_to_user(error)) from error
    except NcError:
        return  # refused already
    what = f"the model with one bit of tensor '{name}' changed"
    require(other.id != subject.model.id, f"{what} has the same id")
    _expect_refusal(subject, other, what)


class _Stranger:
    """A model that is the same but for its id."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.id = hashlib.sha256(model.id.encode()).hexdigest()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _expect_refusal(subject: ModelSubject, model: Any, what: str) -> None:
    try:
        _decoded(subject.container.read_bytes(), model, subject)
    except CorruptFileError:
        return
    raise ContractError(f"{what} decodes the file, and should be refused")


def _decoded(data: bytes, model: Any, subject: ModelSubject) -> list[NDArray[Any]]:
    reader = ContainerReader(io.BytesIO(data), "the file")
    header = Header.from_json(reader.header, "the file")
    return [item.samples for item in decode_container(reader, header, model, subject.coder)]


def _compare(images: list[NDArray[Any]], decoded: list[NDArray[Any]]) -> None:
    require(len(decoded) == len(images), f"{len(decoded)} of {len(images)} images came back")
    for index, (image, found) in enumerate(zip(images, decoded, strict=True)):
        require(
            found.dtype == image.dtype and np.array_equal(found, image),
            f"image {index} of {image.dtype} {image.shape} came back changed",
        )


def _damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    generator = np.random.default_rng(4)
    places = {0, 9, len(data) - 1, *map(int, generator.integers(0, len(data), _PLACES))}
    for place in sorted(places):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(generator.integers(8))
        yield f"a flipped bit in byte {place} of {len(data)}", bytes(flipped)
    for end in (0, 10, len(data) // 2, len(data) - 1):
        yield f"only its first {end} of {len(data)} bytes", data[:end]


def _changed(tensor: NDArray[Any]) -> NDArray[Any]:
    """The tensor with the lowest bit of its first byte flipped."""
    data = bytearray(np.ascontiguousarray(tensor).tobytes())
    data[0] ^= 1
    return np.frombuffer(bytes(data), tensor.dtype).reshape(tensor.shape)


CHECKS = (
    files_decode,
    threads_do_not_change_a_byte,
    a_fresh_process_decodes,
    a_fresh_process_makes_the_same_file,
    no_pickle_is_read_or_written,
    damage_that_no_checksum_catches_does_no_harm,
    a_damaged_file_is_refused,
    a_model_of_another_id_is_refused,
    wrong_weights_are_refused,
)
