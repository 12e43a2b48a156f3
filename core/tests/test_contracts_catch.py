"""Every contract catches what breaks it, and says so in plain words."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import contract_offenders
from nc_core.plugins import PluginManager
from nc_core.testing import ContractError, ModelContract, nothing_leaks
from nc_core.testing.contracts import CONTRACTS
from nc_core.testing.fresh import run_afresh
from nc_core.testing.suite import check_plugin

Distribution = Callable[..., Path]


@pytest.fixture
def offenders(nc_distribution: Distribution, monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    """The plugin of which everything is wrong, installed beside core."""
    nc_distribution("nc-offenders", {}, {"offenders": "contract_offenders"})
    monkeypatch.setenv("NC_PLUGINS", "nc-offenders")
    manager = PluginManager()
    manager.discover()
    assert manager.broken == ()
    return manager


def complaint(manager: PluginManager, kind: str, name: str, check: str) -> str:
    """What a check says of a subject."""
    (function,) = (c for c in CONTRACTS[kind].checks if c.__name__ == check)
    with CONTRACTS[kind].subject(name, manager) as subject, pytest.raises(ContractError) as caught:
        function(subject)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        (
            "loses-a-bit",
            "pop_undoes_push",
            "1 of 1000 symbols came back changed: random bytes below 251 (1000 steps, 1 lanes)",
        ),
        (
            "invents-bits",
            "an_empty_stack_is_an_error",
            "popping 200 x 1 bytes from an empty message raises nothing, "
            "and should raise CorruptFileError",
        ),
        (
            "wastes-bits",
            "messages_are_as_short_as_they_can_be",
            "8195.0 bits for symbols of 7971.5 bits: random bytes below 251 (1000 steps, 1 lanes)",
        ),
        (
            "wastes-bits",
            "its_words_are_those_it_declares",
            "its words differ from those of 'rans-numpy', and both are declared as 'rans-64-32': "
            "random bytes below 251 (1000 steps, 1 lanes)",
        ),
        (
            "takes-the-impossible",
            "impossible_symbols_are_refused",
            "symbol 0 of the frequencies 0, 3, 5, 0, 8 raises nothing, and should raise ValueError",
        ),
    ],
)
def test_a_wrong_coder_is_caught(
    offenders: PluginManager, name: str, check: str, words: str
) -> None:
    assert complaint(offenders, "coder", name, check) == words


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        (
            "forgets-a-sample",
            "blocks_come_back_exactly",
            "1 of 182 samples came back changed: random: 1 x 2 x 7 x 13 blocks of uint8",
        ),
        (
            "batch-counts",
            "a_batch_does_not_change_bits",
            "block 0 has 6528.013 bits in a batch of 3 and 6528.000 bits alone: "
            "random: 3 x 4 x 12 x 17 blocks of uint8",
        ),
        (
            "lies-about-bits",
            "the_message_grows_by_what_it_says",
            "push says 364.0 bits, and the message grew by 728.0 bits: "
            "random: 1 x 1 x 7 x 13 blocks of uint8",
        ),
        (
            "elbo-of-its-own",
            "bits_are_those_of_push",
            "bits says 582.4 bits in all, and push 728.0: random: 1 x 1 x 7 x 13 blocks of uint8",
        ),
        (
            "uses-pickle",
            "no_pickle_is_read_or_written",
            "pickle.dumps, called by contract_offenders; pickle.loads, called by "
            "contract_offenders: a pickle can run anything, so use safetensors and JSON",
        ),
        (
            "any-weights",
            "it_says_who_it_is",
            "its id is aaaaaaaaaaaa, and that of its file 000000000000: "
            "a decoder would not find it",
        ),
        (
            "remembers-the-process",
            "a_fresh_process_decodes",
            "a fresh process was to decode a file that was made here, and failed: "
            "CorruptFileError: container: 0.png does not match its checksum after decoding",
        ),
        (
            "crashes-on-damage",
            "damage_that_no_checksum_catches_does_no_harm",
            "decoding with another byte 467 of a chunk raises IndexError: index 149 is out of "
            "bounds for axis 0 with size 140; pop should raise CorruptFileError or ValueError",
        ),
        (
            "saves-too-late",
            "pushing_goes_on_from_what_was_saved",
            "push goes on from the first state that it saved to other words or bits: "
            "random: 1 x 1 x 7 x 13 blocks of uint8",
        ),
        (
            "saves-too-late",
            "popping_goes_on_from_what_was_saved",
            "pop saves nothing, though its journal is due: random: 1 x 1 x 7 x 13 blocks of uint8",
        ),
        (
            "forgets-what-it-was-told",
            "what_it_was_told_can_be_told_again",
            "told {'steps': '10'} again, it says that it was told {'steps': '11'}",
        ),
        (
            "listens-to-anything",
            "what_it_was_told_can_be_told_again",
            "with_coding takes an option 'no-such-option', and should raise ValueError",
        ),
        (
            "every-load-differs",
            "what_it_was_told_is_enough_to_decode",
            "loaded anew, it decodes something else than the first one coded: "
            "random: 1 x 1 x 7 x 13 blocks of uint8",
        ),
    ],
)
def test_a_wrong_model_is_caught(
    offenders: PluginManager, name: str, check: str, words: str
) -> None:
    assert complaint(offenders, "model", name, check) == words


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        (
            "wrong-dtype",
            "items_have_the_declared_dtype_and_shape",
            "item 0 is float32, and uint8 is declared",
        ),
        (
            "new-each-time",
            "items_are_the_same_each_time",
            "item 9 differs when read twice; whatever is random must come from a seed "
            "and the index",
        ),
        (
            "out-of-range",
            "items_lie_in_the_declared_range",
            "item 0 holds values from 0 to 59, and the declared range is 0 to 1",
        ),
        (
            "wraps-around",
            "there_is_nothing_outside",
            "item -1 returns an item, and should raise IndexError",
        ),
        (
            "hashes-names",
            "a_fresh_process_reads_the_same",
            "item 0 differs in a fresh process",
        ),
    ],
)
def test_a_wrong_dataset_is_caught(
    offenders: PluginManager, name: str, check: str, words: str
) -> None:
    assert complaint(offenders, "dataset", name, check) == words


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        (
            "undeclared-metric",
            "names_and_units_are_declared",
            "it returned 'perplexity', which its record does not declare (entropy)",
        ),
        (
            "other-unit",
            "names_and_units_are_declared",
            "'entropy' is in 'nat', and 'bit' is declared",
        ),
        (
            "not-a-number",
            "values_are_finite_numbers",
            "'entropy' is nan, not a finite number",
        ),
        (
            "own-seed",
            "equal_seeds_give_equal_values",
            "'entropy' was 0.0, and then 1.0, for one request; "
            "whatever is random must come from the request's seed",
        ),
    ],
)
def test_a_wrong_evaluator_is_caught(
    offenders: PluginManager, name: str, check: str, words: str
) -> None:
    assert re.sub(r"\d+\.0", "0.0", complaint(offenders, "evaluator", name, check)) == re.sub(
        r"\d+\.0", "0.0", words
    )


HEADER = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec
"""
HOOK = """
@hookimpl
def nc_commands():
    return [CommandSpec(name="wrong", summary="{summary}", target="{target}")]
"""


def installed_plugin(
    nc_distribution: Distribution, monkeypatch: pytest.MonkeyPatch, source: str, **modules: str
) -> PluginManager:
    """A plugin of that source, beside core."""
    nc_distribution("nc-wrong", {"wrong_plugin": source, **modules}, {"wrong": "wrong_plugin"})
    monkeypatch.setenv("NC_PLUGINS", "nc-wrong")
    manager = PluginManager()
    manager.discover()
    return manager


@pytest.mark.parametrize(
    ("source", "check", "words"),
    [
        (
            HEADER + HOOK.format(summary="two\\nlines", target="m:a"),
            "it_loads_and_its_records_are_valid",
            "nc_commands failed: ValueError: summary of 'wrong' must be one line of printable text",
        ),
        (
            HEADER + HOOK.format(summary="wrong", target="m:a").replace("nc_comm", "nc_cumm"),
            "it_loads_and_its_records_are_valid",
            "implements an unknown hook nc_cummands; did you mean 'nc_commands'?",
        ),
        (
            HEADER,
            "it_provides_something",
            "no hook of the plugin returned a record",
        ),
        (
            HEADER + "import numpy" + HOOK.format(summary="wrong", target="m:a"),
            "it_loads_without_heavy_imports",
            "loading plugin 'wrong' and calling its hooks imports numpy; "
            "import that inside the functions behind the targets",
        ),
        (
            HEADER + "print('hello')" + HOOK.format(summary="wrong", target="m:a"),
            "it_loads_without_heavy_imports",
            "loading plugin 'wrong' prints 'hello\\n'",
        ),
        (
            HEADER + HOOK.format(summary="wrong " * 30, target="m:a"),
            "its_summaries_are_short",
            "the summary of command 'wrong' has 180 characters; lists have room for 100",
        ),
        (
            HEADER + HOOK.format(summary="wrong", target="wrong_cli:command"),
            "its_targets_can_be_imported",
            "command 'wrong' cannot be loaded: ModuleNotFoundError: No module named 'wrong_cli'",
        ),
    ],
)
def test_a_wrong_plugin_is_caught(
    nc_distribution: Distribution,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    check: str,
    words: str,
) -> None:
    manager = installed_plugin(nc_distribution, monkeypatch, source)
    assert complaint(manager, "plugin", "nc-wrong", check) == words


def test_a_faultless_model_passes_all_checks(offenders: PluginManager) -> None:
    with CONTRACTS["model"].subject("faultless", offenders) as subject:
        for check in CONTRACTS["model"].checks:
            check(subject)


def test_the_suite_goes_on_after_a_failure_and_keeps_the_words(
    nc_distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CoderSpec

@hookimpl
def nc_coders():
    target = "contract_offenders:LosesABit"
    return [CoderSpec(name="loses-a-bit", summary="wrong", target=target)]
"""
    manager = installed_plugin(nc_distribution, monkeypatch, source)
    (plugin,) = (row for row in manager.plugins if row.name == "wrong")
    results = {result.check: result for result in check_plugin(plugin, manager)}
    assert results["it_loads_without_heavy_imports"].state == "passed"
    assert results["pop_undoes_push"].state == "failed"
    assert (results["pop_undoes_push"].message or "").startswith("1 of 1000 symbols came back")
    assert results["an_empty_stack_is_an_error"].state == "passed"
    assert [result.task.name for result in results.values()][-1] == "loses-a-bit"


# Processes that do not come to their end


def test_a_process_that_hangs_is_stopped(offenders: PluginManager) -> None:
    report = run_afresh(contract_offenders.forever, offenders, {}, seconds=3)
    assert report.failure == "did not end within 3 s"
    with pytest.raises(ContractError) as caught:
        report.event("decoded", "decode a file")
    assert str(caught.value) == ("a fresh process was to decode a file, and did not end within 3 s")


def test_a_process_that_dies_keeps_its_events(offenders: PluginManager) -> None:
    report = run_afresh(contract_offenders.suddenly, offenders, {}, seconds=120)
    assert report.failure == "was killed by signal 9"
    assert [event["event"] for event in report.events] == ["begun"]


# What the guard around every test of a contract catches


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda: os.environ.update(NC_LEFT="1"), "environment variables"),
        (lambda: random.seed(1), "the state of Python's random"),
        (lambda: np.random.seed(1), "the state of numpy.random"),
        (lambda: np.seterr(over="raise"), "numpy's handling of errors"),
        (lambda: os.chdir("/"), "the working directory"),
    ],
)
def test_what_leaks_is_named_and_put_back(act: Callable[[], object], what: str) -> None:
    before = Path.cwd()
    with pytest.raises(ContractError, match=f"^left changed behind: {what};"), nothing_leaks():
        act()
    assert "NC_LEFT" not in os.environ
    assert Path.cwd() == before
    with nothing_leaks():
        pass


def test_what_a_failing_block_changed_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NC_LEAK", raising=False)
    with pytest.raises(KeyError), nothing_leaks():
        os.environ["NC_LEAK"] = "1"
        raise KeyError
    assert "NC_LEAK" not in os.environ


def test_a_thread_that_goes_on_is_named() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="prefetcher")
    with pytest.raises(ContractError, match="thread 'prefetcher'"), nothing_leaks():
        thread.start()
    end.set()
    thread.join()


def test_a_test_of_a_contract_is_not_overridden_without_a_reason() -> None:
    with pytest.raises(TypeError, match="overrides a test of the contract"):

        class Silent(ModelContract):
            def test_every_coder_does(self) -> None:
                """Do nothing."""

    class Known(ModelContract):
        @pytest.mark.xfail(reason="needs the compiled coder")
        def test_every_coder_does(self) -> None:
            """Do nothing."""

    assert Known.name == ""
