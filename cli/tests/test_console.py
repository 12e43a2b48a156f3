"""What is printed: tables, JSON, amounts and progress."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nc_core.command_line.console import (
    format_bytes,
    format_table,
    print_heading,
    print_json,
    print_table,
)
from nc_core.command_line.progress import progress, reported_progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert format_table([["a", 1], ["bcd", 200]], ["name", "bits"]) == [
        "name  bits",
        "a        1",
        "bcd    200",
    ]


def test_floats_are_printed_with_six_digits_and_nothing_as_a_dash() -> None:
    assert format_table([[math.pi, None], [12.0, "x"]]) == ["3.14159  -", "     12  x"]


def test_a_table_without_rows_is_its_header() -> None:
    assert format_table([], ["name", "bits"]) == ["name  bits"]
    assert format_table([]) == []


def test_rows_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        format_table([["a"], ["b", "c"]])


def test_the_last_column_is_wrapped_to_the_width() -> None:
    rows = [["name", "a summary of more than a few words in all"]]
    assert format_table(rows, width=32) == [
        "name  a summary of more than a",
        "      few words in all",
    ]


def test_a_terminal_that_is_too_narrow_still_gets_readable_text() -> None:
    lines = format_table([["a-very-long-name", "some words that follow it closely"]], width=10)
    assert all(len(line) <= len("a-very-long-name") + 2 + 24 for line in lines)


def test_what_goes_to_a_pipe_is_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([["name", "word " * 100]])
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(("no_color", "codes"), [("", True), ("1", False)])
def test_headings_are_bold_on_a_terminal_unless_colour_is_unwanted(
    monkeypatch: pytest.MonkeyPatch, no_color: str, codes: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_heading("Models")
    assert ("\x1b[" in terminal.getvalue()) is codes


def test_json_is_one_document_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(
        {
            "nan": math.nan,
            "infinities": [math.inf, -math.inf],
            "numbers": (1, 2.5, np.float32(0.5), np.int64(3)),
            "array": np.array([1.0, np.nan]),
            "path": Path("a/b"),
            "nothing": None,
            "text": "ä",
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "infinities": [None, None],
        "numbers": [1, 2.5, 0.5, 3],
        "array": [1.0, None],
        "path": str(Path("a/b")),
        "nothing": None,
        "text": "ä",
    }


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (15_394_305, "15.4 MB"),
        (7_000_000_000_000_000, "7000.0 TB"),
    ],
)
def test_amounts_of_bytes_are_in_decimal_units(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_progress_elsewhere_than_on_a_terminal_is_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("coding", 4000, interval_seconds=0) as advance:
        advance(1000)
        advance(3000)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, last = captured.err.splitlines()
    assert first.startswith("nc: coding: 1,000 of 4,000 items (25%), ")
    assert last == "nc: coding: 4,000 of 4,000 items (100%), 0 s left"


def test_progress_in_bytes_or_without_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 2_000_000, "bytes", interval_seconds=0) as advance:
        advance(500_000)
    with progress("sampling", None, "samples", interval_seconds=0) as advance:
        advance(7)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("nc: reading: 500.0 kB of 2.0 MB (25%)")
    assert last == "nc: sampling: 7 samples"


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("coding", 2) as advance:
        advance(1)
        advance(1)
    assert capsys.readouterr().err == ""


def test_time_left_does_not_count_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with reported_progress("training", "steps") as tell:
        for step in range(901, 960):
            tell(step, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    shown = re.search(r"([\d,]+) of 1,000 steps .*?, (?:(\d+) min )?(\d+) s left", lines[-1])
    assert shown is not None
    left = 60 * int(shown[2] or 0) + int(shown[3])
    assert left == pytest.approx(1000 - int(shown[1]), abs=90)
    assert left > 30


@pytest.mark.parametrize("resumed", [False, True])
def test_how_long_earlier_runs_took_is_not_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], resumed: bool
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress("coding", 100, resumed=resumed) as advance:
        for amount in (
            50,
            2,
            2,
            1,
        ):  # each unit of work takes 20 seconds, 48 of them were done before
            now += 20.0 * min(amount, 2)
            advance(amount)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert ("left" in lines[0]) is not resumed
    assert "55 of 100 items (55%)" in lines[-1]
    assert lines[-1].endswith(", 15 min 0 s left" if resumed else ", 1 min 55 s left")


def test_a_bar_does_not_change_more_often_than_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    now, shown = 100.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(
        "nc_core.command_line.progress._share",
        lambda done, *_: shown.append(done) or "",
    )
    with progress("coding", 1000) as advance:
        for _ in range(1000):
            now += 0.01
            advance(1)
    assert shown[0] == pytest.approx(50, abs=1)
    assert len(shown) == pytest.approx(96, abs=10)
    assert shown[-1] == 1000


def impatient_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What standard error becomes, where bars appear at once."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("nc_core.command_line.progress._DELAY_SECONDS", 0.0)
    return terminal


def test_long_work_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = impatient_terminal(monkeypatch)
    with progress("coding", 2) as advance:
        advance(1)
        advance(1)
    assert "coding" in terminal.getvalue()
    assert "2 of 2 items" in terminal.getvalue()


def test_fractions_of_work_end_a_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = impatient_terminal(monkeypatch)
    monkeypatch.setattr("nc_core.command_line.progress._SHOWN_SECONDS", 60.0)
    with progress("coding", 1) as advance:
        for _ in range(10):
            advance(0.1)
    assert "1 of 1 items (100%)" in terminal.getvalue()


def test_a_worker_that_outlives_the_block_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = impatient_terminal(monkeypatch)
    with pytest.raises(ValueError, match="wrong"), progress("coding", 2) as advance:
        raise ValueError("wrong")
    worker = threading.Thread(target=advance, args=(1,))
    worker.start()
    worker.join()
    assert terminal.getvalue() == ""


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("coding", 2) as advance:
        advance(2)
    assert terminal.getvalue() == ""


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with progress("coding", 2, interval_seconds=0) as advance:
        advance(1)
    assert terminal.getvalue().startswith("nc: coding: 1 of 2 items")
