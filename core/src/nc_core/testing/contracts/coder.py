"""The contract of an entropy coder: a stack that loses no bit and never invents one."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any

import numpy as np

from nc_core.ans.distributions import Categorical, Uniform
from nc_core.ans.message import Message
from nc_core.ans.rans_numpy import RansNumpy
from nc_core.errors import CorruptFileError, MissingDependencyError
from nc_core.models import load_coder
from nc_core.plugins import PluginManager
from nc_core.protocols import Coder
from nc_core.specs import CoderSpec
from nc_core.testing.coder_cases import CoderCase, coder_cases
from nc_core.testing.contract import (
    ContractError,
    NotCheckedError,
    Subject,
    require,
    told,
    told_to_user,
)
from nc_core.testing.fresh import run_afresh
from nc_core.testing.replay import digest_arrays, replay_coder

__all__ = ["CHECKS", "CoderSubject"]

_REFERENCE_WORDS = "rans-64-32"
_EXCESS = 0.001  # of the ideal code length, that a long message may take more
_SECONDS = 120.0
_WORD_BITS = 32


class CoderSubject(Subject):
    """A coder.

    Args:
        location: its name.
        manager: where it is looked up.

    Raises:
        NotCheckedError: what it needs is not installed.
    """

    def __init__(self, location: str, manager: PluginManager) -> None:
        super().__init__(manager)
        self.location = location
        self.spec = manager.find(CoderSpec, location)
        try:
            self.coder: Any = load_coder(location, manager)
        except MissingDependencyError as error:
            raise NotCheckedError(told_to_user(error)) from error

    @cached_property
    def cases(self) -> list[CoderCase]:
        """What it must code."""
        return list(coder_cases(self.spec.max_precision))

    def pushed(self, case: CoderCase, spare: int = 0, coder: Any = None) -> Message:
        """A message that holds a case, on ``spare`` more lanes than it needs."""
        message = Message(case.symbols.shape[1] + spare, initial_words=8, seed=5)
        (coder or self.coder).push(message, case.symbols, case.distribution)
        return message


def it_is_a_coder(subject: CoderSubject) -> None:
    """It offers push, pop and push_intervals, and has the name of its record."""
    require(
        isinstance(subject.coder, Coder),
        f"{type(subject.coder).__name__} lacks one of name, push, pop and push_intervals",
    )
    require(
        subject.coder.name == subject.spec.name,
        f"its name is {subject.coder.name!r}, and that of its record {subject.spec.name!r}",
    )


def pop_undoes_push(subject: CoderSubject) -> None:
    """Pop returns the symbols that were pushed, and leaves the message as it was before."""
    for case in subject.cases:
        for spare in (0, 2):
            message = subject.pushed(case, spare)
            popped = np.asarray(subject.coder.pop(message, case.distribution))
            require(
                popped.shape == case.symbols.shape,
                f"popped the shape {popped.shape} instead of {case.symbols.shape}: {case}",
            )
            wrong = int((popped != case.symbols).sum())
            require(wrong == 0, f"{wrong} of {popped.size} symbols came back changed: {case}")
            require(
                message.is_initial(),
                f"after everything was popped the message is not as it was at first: {case}",
            )


def it_is_a_stack(subject: CoderSubject) -> None:
    """What was pushed last is popped first."""
    first, second = subject.cases[0], subject.cases[3]
    message = Message(1)
    for case in (first, second):
        subject.coder.push(message, case.symbols, case.distribution)
    for case in (second, first):
        popped = subject.coder.pop(message, case.distribution)
        require(
            np.array_equal(popped, case.symbols),
            f"after two pushes, the symbols came back changed or in another order: {case}",
        )


def intervals_are_pushed_like_symbols(subject: CoderSubject) -> None:
    """push_intervals puts the same words on the message as push."""
    for case in subject.cases:
        message = Message(case.symbols.shape[1], initial_words=8, seed=5)
        starts, freqs = case.distribution.intervals(case.symbols)
        subject.coder.push_intervals(message, starts, freqs, case.distribution.precision)
        require(
            np.array_equal(message.to_words(), subject.pushed(case).to_words()),
            f"push and push_intervals give different words: {case}",
        )


def its_words_are_those_it_declares(subject: CoderSubject) -> None:
    """Its words are those of the format that it declares."""
    references = _readers(subject)
    if not references:
        raise NotCheckedError(f"no other coder has words '{subject.spec.words}'")
    for case in subject.cases:
        own = subject.pushed(case).to_words()
        for reference in references:
            expected = subject.pushed(case, coder=reference).to_words()
            require(
                np.array_equal(own, expected),
                f"its words differ from those of '{reference.name}', and both are declared "
                f"as '{subject.spec.words}': {case}",
            )


def messages_are_as_short_as_they_can_be(subject: CoderSubject) -> None:
    """A message grows by the ideal code length, and hardly more."""
    for case in subject.cases:
        _, freqs = case.distribution.intervals(case.symbols)
        ideal = float((case.distribution.precision - np.log2(freqs.astype(np.float64))).sum())
        message = subject.pushed(case)
        grown = message.bits - Message(message.lanes, initial_words=8, seed=5).bits
        # A lane's last word may hold less than it could.
        allowed = ideal * (1 + _EXCESS) + message.lanes
        require(
            grown <= allowed and math.isfinite(grown),
            f"{grown:.1f} bits for symbols of {ideal:.1f} bits: {case}",
        )
        require(
            grown >= ideal * (1 - _EXCESS) - message.lanes,
            f"{grown:.1f} bits cannot hold symbols of {ideal:.1f} bits: {case}",
        )


def impossible_symbols_are_refused(subject: CoderSubject) -> None:
    """An impossible symbol raises ValueError and leaves the message as it is."""
    table = Categorical(np.array([0, 3, 5, 0, 8]), (3, 1))
    for symbol in (0, 3, 5, -1):
        symbols = np.array([[1], [symbol], [4]])
        message = Message(1, initial_words=8, seed=5)
        what = f"symbol {symbol} of the frequencies 0, 3, 5, 0, 8"
        _expect(ValueError, what, partial(subject.coder.push, message, symbols, table))
        require(message.is_initial(), f"{what} was refused, but the message has changed")


def an_empty_stack_is_an_error(subject: CoderSubject) -> None:
    """Popping more than the message holds raises CorruptFileError; no bits are invented."""
    for lanes in (1, 3):
        message = Message(lanes)
        wanted = Uniform(256, (200, lanes))
        what = f"popping 200 x {lanes} bytes from an empty message"
        _expect(CorruptFileError, what, partial(subject.coder.pop, message, wanted))


def a_truncated_message_is_an_error(subject: CoderSubject) -> None:
    """A message that lost its last words raises CorruptFileError when its symbols are popped."""
    case = subject.cases[0]
    message = Message(1)
    subject.coder.push(message, case.symbols, case.distribution)
    words = message.to_words()
    for kept in (2, len(words) // 2, len(words) - 1):
        short = Message.from_words(words[:kept], 1)
        what = f"popping everything from the first {kept} of {len(words)} words"
        _expect(CorruptFileError, what, partial(subject.coder.pop, short, case.distribution))


def a_fresh_process_reads_its_words(subject: CoderSubject) -> None:
    """A fresh process pops the same symbols."""
    case = next(case for case in subject.cases if case.symbols.shape[1] == 3)
    message = Message(3)
    subject.coder.push(message, case.symbols, case.distribution)
    report = run_afresh(
        replay_coder,
        subject.manager,
        {
            "location": subject.location,
            "words": message.to_words().tolist(),
            "lanes": 3,
            "max_precision": subject.spec.max_precision,
        },
        seconds=_SECONDS,
    )
    found = report.event("popped", "pop symbols that were pushed here")["sha256"]
    require(
        found == digest_arrays([case.symbols.astype(np.int64)]),
        f"a fresh process popped other symbols: {case}",
    )


def threads_do_not_disturb_each_other(subject: CoderSubject) -> None:
    """One coder serves several threads, each with a message of its own."""
    expected = [subject.pushed(case).to_words() for case in subject.cases]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: subject.pushed(case).to_words(), subject.cases))
    for case, one, other in zip(subject.cases, expected, found, strict=True):
        require(np.array_equal(one, other), f"four threads give other words: {case}")


def _readers(subject: CoderSubject) -> list[Any]:
    """Other coders of the same words; core's own in plain NumPy is always there."""
    if subject.spec.words == _REFERENCE_WORDS:
        return [RansNumpy()]
    others = (
        spec
        for spec in subject.manager.specs(CoderSpec)
        if spec.words == subject.spec.words and spec.name != subject.spec.name
    )
    return [spec.load()() for spec in others]


def _expect(kind: type[Exception], what: str, act: Callable[[], object]) -> None:
    """Fail unless something raises an exception of that kind."""
    try:
        act()
    except kind:
        return
    except Exception as error:  # of other people's code: whatever it is, it should be the other
        raise ContractError(f"{what} raises {told(error)}, not {kind.__name__}") from error
    raise ContractError(f"{what} raises nothing, and should raise {kind.__name__}")


CHECKS = (
    it_is_a_coder,
    pop_undoes_push,
    it_is_a_stack,
    intervals_are_pushed_like_symbols,
    its_words_are_those_it_declares,
    messages_are_as_short_as_they_can_be,
    impossible_symbols_are_refused,
    an_empty_stack_is_an_error,
    a_truncated_message_is_an_error,
    a_fresh_process_reads_its_words,
    threads_do_not_disturb_each_other,
)
