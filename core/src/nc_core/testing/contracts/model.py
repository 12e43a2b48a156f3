"""The contract of a lossless model: exact, honest about its bits, the same everywhere.

The checks of its files are in :mod:`nc_core.testing.contracts.model_files`.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message, Rans, RansNumpy
from nc_core.coding import checked_coding, coding_of, told_anew
from nc_core.entry_points import canonical
from nc_core.errors import CorruptFileError, MissingDependencyError
from nc_core.lossless import compress_source
from nc_core.models import find_model_file
from nc_core.plugins import PluginManager
from nc_core.protocols import LosslessModel
from nc_core.testing.contract import (
    ContractError,
    NotCheckedError,
    Subject,
    require,
    told,
    told_to_user,
)
from nc_core.testing.fresh import Report, run_afresh
from nc_core.testing.replay import replay_model
from nc_core.testing.samples import BlockCase, SampleImages, block_cases, sample_images

__all__ = ["CHECKS", "ModelSubject"]

_ID = re.compile(r"[0-9a-f]{64}")
_SECONDS = 300.0
# Of the code length; what a message takes more, and what float arithmetic may differ by.
_EXCESS, _EXCESS_BITS = 0.005, 64.0
_ROUNDING = {"exact": 1e-9, "float": 1e-5}
# Latents that are drawn anew cost other bits.
_DRAWS, _DRAWS_BITS = 0.1, 64.0


class ModelSubject(Subject):
    """A lossless model, loaded.

    Args:
        location: name of a pretrained model, or path of a model file or run directory.
        manager: where names are looked up.

    Raises:
        NotCheckedError: what it needs is not installed.
    """

    def __init__(self, location: str, manager: PluginManager) -> None:
        super().__init__(manager)
        self.location = str(Path(location).absolute()) if Path(location).exists() else location
        self.coder = Rans()
        self._first: dict[int, tuple[Message, float]] = {}
        self._bits: dict[int, Any] = {}
        try:
            self.spec, self.file = find_model_file(self.location, manager)
            self.model: Any = self.spec.load()(self.file)
        except MissingDependencyError as error:
            raise NotCheckedError(told_to_user(error)) from error

    @cached_property
    def cases(self) -> list[BlockCase]:
        """Blocks that it must code."""
        return list(block_cases(self.model.block))

    @cached_property
    def images(self) -> list[NDArray[Any]]:
        """Images that it must code."""
        return sample_images(self.model.block)

    @cached_property
    def container(self) -> Path:
        """The images in a file."""
        return self.compress("images.ncz", threads=1)

    def compress(self, name: str, threads: int) -> Path:
        """The images in another file."""
        path = self.folder / name
        source = SampleImages(self.images)
        compress_source(source, path, self.model, self.coder, threads=threads, verify=False)
        return path

    @cached_property
    def report(self) -> Report:
        """What a fresh process made of that file, with another number of threads."""
        return run_afresh(
            replay_model,
            self.manager,
            {"location": self.location, "container": str(self.container)},
            seconds=_SECONDS,
            # Threads that wait must not spin: there may be fewer cores.
            environment={"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
        )

    def message(self) -> Message:
        """An empty message of the shape that the model wants."""
        return Message(self.model.lanes, self.model.initial_words, seed=7)

    def first(self, case: BlockCase) -> tuple[Message, float]:
        """What the first push of a case gave; for several checks, which must not change it."""
        if id(case) not in self._first:
            self._first[id(case)] = self.pushed(case.blocks)
        return self._first[id(case)]

    def bits(self, case: BlockCase) -> Any:
        """What the model's ``bits`` gave for a case, once for several checks."""
        if id(case) not in self._bits:
            self._bits[id(case)] = self.model.bits(case.blocks)
        return self._bits[id(case)]

    def pushed(self, blocks: NDArray[Any], coder: Any = None) -> tuple[Message, float]:
        """A message that holds blocks, and their code length in bits, as the model says."""
        message = self.message()
        bits = 0.0
        group = self.model.group or len(blocks)
        for start in range(0, len(blocks), group):
            bits += self.model.push(coder or self.coder, message, blocks[start : start + group])
        return message, bits

    def popped(
        self, message: Message, like: NDArray[Any], coder: Any = None, model: Any = None
    ) -> list[NDArray[Any]]:
        """The groups of blocks of a message, in the order in which they were pushed."""
        model = model or self.model
        group = model.group or len(like)
        sizes = [min(group, len(like) - start) for start in range(0, len(like), group)]
        groups = [
            model.pop(coder or self.coder, message, (size, *like.shape[1:]), like.dtype)
            for size in reversed(sizes)
        ]
        return groups[::-1]


def it_is_a_lossless_model(subject: ModelSubject) -> None:
    """It offers all that the engine asks for."""
    model = subject.model
    lacking = [
        name
        for name in (*LosslessModel.__annotations__, "push", "pop", "bits", "probe")
        if not hasattr(model, name)
    ]
    require(not lacking, f"{type(model).__name__} lacks {', '.join(lacking)}")
    require(
        model.arithmetic in _ROUNDING, f"arithmetic is {model.arithmetic!r}, not exact or float"
    )
    require(
        model.lanes >= 1 and model.initial_words >= 0 and model.group != 0,
        f"lanes = {model.lanes}, group = {model.group}, initial_words = {model.initial_words}: "
        "there is at least one lane, and a group has at least one block",
    )
    require(
        bool(_ID.fullmatch(model.probe())), "its probe is not a sha256 of 64 hexadecimal digits"
    )
    require(
        model.probe() == model.probe(), "its probe differs from call to call; use a fixed input"
    )


def it_says_who_it_is(subject: ModelSubject) -> None:
    """Its id and name are those of its model file, its package the one that provides it."""
    model, provider = subject.model, subject.spec.provider
    require(
        model.id == subject.file.id,
        f"its id is {model.id[:12]}, and that of its file {subject.file.id[:12]}: "
        "a decoder would not find it",
    )
    require(
        model.name == subject.file.name,
        f"its name is {model.name!r}, and that of its file {subject.file.name!r}",
    )
    packages = {row.distribution for row in subject.manager.plugins if row.path is None}
    if provider is not None and provider.distribution in packages:
        require(
            canonical(model.package[0]) == provider.distribution,
            f"it says that package {model.package[0]} implements it, "
            f"and {provider.distribution} provides it",
        )


def blocks_come_back_exactly(subject: ModelSubject) -> None:
    """Blocks come back to the last bit: random, extreme, single, odd."""
    for case in subject.cases:
        _compare(subject, case, subject.first(case)[0].copy())


def every_coder_does(subject: ModelSubject) -> None:
    """Another coder gives the same words, and the same blocks back."""
    case = min(subject.cases, key=lambda case: case.blocks.size)
    message, _ = subject.pushed(case.blocks, RansNumpy())
    require(
        np.array_equal(message.to_words(), subject.first(case)[0].to_words()),
        f"rans-numpy and rans give different words: {case}",
    )
    _compare(subject, case, message, RansNumpy())


def the_message_grows_by_what_it_says(subject: ModelSubject) -> None:
    """A message grows by the code length that push returns, and hardly more."""
    for case in subject.cases:
        message, said = subject.first(case)
        grown = message.bits - subject.message().bits
        require(
            abs(grown - said) <= _EXCESS * abs(said) + _EXCESS_BITS,
            f"push says {said:.1f} bits, and the message grew by {grown:.1f} bits: {case}",
        )


def bits_are_those_of_push(subject: ModelSubject) -> None:
    """Bits is a code length for each block, and together they are what push returns."""
    latents = subject.model.initial_words > 0
    for case in subject.cases:
        bits = subject.bits(case)
        require(
            isinstance(bits, np.ndarray)
            and bits.shape == (len(case.blocks),)
            and bits.dtype == np.float64,
            f"bits gives {_described(bits)}, not float64 of shape ({len(case.blocks)},): {case}",
        )
        require(bool(np.isfinite(bits).all()), f"bits gives {bits}: {case}")
        _, said = subject.first(case)
        share, some = (_DRAWS, _DRAWS_BITS * len(bits)) if latents else (1e-6, 1.0)
        require(
            abs(bits.sum() - said) <= share * abs(said) + some,
            f"bits says {bits.sum():.1f} bits in all, and push {said:.1f}: {case}",
        )


def a_batch_does_not_change_bits(subject: ModelSubject) -> None:
    """A block has the same bits alone and in a batch, unless the model declares to adapt."""
    if getattr(subject.model, "adaptive", False):
        return
    tolerance = _ROUNDING[subject.model.arithmetic]
    for case in subject.cases:
        together = subject.bits(case)
        if len(together) == 1:
            continue
        for index, bits in enumerate(together):
            alone = float(subject.model.bits(case.blocks[index : index + 1])[0])
            require(
                abs(alone - bits) <= tolerance * abs(alone),
                f"block {index} has {bits:.3f} bits in a batch of {len(together)} "
                f"and {alone:.3f} bits alone: {case}",
            )


def equal_blocks_give_equal_words(subject: ModelSubject) -> None:
    """The same blocks give the same words each time."""
    for case in subject.cases:
        first, again = subject.first(case)[0], subject.pushed(case.blocks)[0]
        same = np.array_equal(first.to_words(), again.to_words())
        require(same, f"a second push gives other words: {case}")


def what_it_was_told_can_be_told_again(subject: ModelSubject) -> None:
    """Coding options, where it has them, can be told again; unknown ones are refused."""
    coding = coding_of(subject.model)
    with_coding = getattr(subject.model, "with_coding", None)
    if with_coding is None:
        require(not coding, "it has coding options, and no with_coding to tell them again")
        return
    again = coding_of(with_coding(checked_coding(coding)))
    require(again == coding, f"told {coding} again, it says that it was told {again}")
    try:
        with_coding({"no-such-option": "1"})
    except ValueError:
        return
    require(False, "with_coding takes an option 'no-such-option', and should raise ValueError")


def what_it_was_told_is_enough_to_decode(subject: ModelSubject) -> None:
    """A model that is loaded anew, and told the same, decodes what this one coded."""
    case = subject.cases[0]
    coding = coding_of(subject.model)
    again: Any = told_anew(subject.spec.load()(subject.file), coding)
    message = subject.first(case)[0].copy()
    what = f"loaded anew and told {coding}" if coding else "loaded anew"
    try:
        groups = subject.popped(message, case.blocks, model=again)
    except (CorruptFileError, ValueError) as error:
        raise ContractError(f"{what}, it decodes nothing: {told(error)}: {case}") from error
    same = np.array_equal(np.concatenate(groups), case.blocks) and message.is_initial()
    require(same, f"{what}, it decodes something else than the first one coded: {case}")


def _compare(subject: ModelSubject, case: BlockCase, message: Message, coder: Any = None) -> None:
    """Pop what was pushed; it must be the same, and the message as it was at first."""
    groups = subject.popped(message, case.blocks, coder)
    start = 0
    for group in groups:
        expected = case.blocks[start : start + len(group)]
        start += len(group)
        require(
            group.dtype == expected.dtype and group.shape == expected.shape,
            f"popped {_described(group)}, not {_described(expected)}: {case}",
        )
        wrong = int((group != expected).sum())
        require(wrong == 0, f"{wrong} of {expected.size} samples came back changed: {case}")
    require(
        message.is_initial(),
        f"after everything was popped the message is not as it was at first: {case}",
    )


def _described(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return f"a {type(value).__name__}"
    return f"{value.dtype} of shape {value.shape}"


CHECKS = (
    it_is_a_lossless_model,
    it_says_who_it_is,
    blocks_come_back_exactly,
    every_coder_does,
    the_message_grows_by_what_it_says,
    bits_are_those_of_push,
    a_batch_does_not_change_bits,
    equal_blocks_give_equal_words,
    what_it_was_told_can_be_told_again,
    what_it_was_told_is_enough_to_decode,
)
