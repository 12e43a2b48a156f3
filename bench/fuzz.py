"""Fuzzing: seeded mutations of every kind of file that is read, for a number or a time.

    python bench/fuzz.py --cases 100000 --minutes 20 --json bench/results/fuzz.json

Reading a mutated file must end in a result or in one clear error: no other exception, no crash of
the process, no case over 20 s, no allocation of 256 MB over what an honest file takes, nothing
executed, no file written, and no container accepted whose samples are not those that were
compressed. ``--case TARGET NUMBER`` writes the bytes of one case to standard output.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

SCHEMA = "nc.bench.fuzz/1"
EXTRA_BYTES = 256 << 20
BLOCK = 5000
# Share of the cases; containers are where the most can go wrong.
SHARES = {
    "containers": 30, "model-files": 14, "idx": 8, "npy": 12, "npz": 8, "pickles": 8,
    "images": 10, "recipes": 10,
}  # fmt: skip


@dataclass
class Outcome:
    """Cases of one target, and what went wrong with which."""

    cases: int = 0
    seconds: float = 0.0
    findings: list[dict[str, Any]] = field(default_factory=list)


def main() -> int:
    options = _options()
    if options.worker is not None:
        from fuzzing.worker import work

        name, first, last = options.worker
        work(name, options.seed, int(first), int(last), EXTRA_BYTES, sys.stdout)
        return 0
    if options.case is not None:
        from fuzzing.worker import case

        sys.stdout.buffer.write(case(options.case[0], options.seed, int(options.case[1]))[0])
        return 0
    outcomes = {name: Outcome() for name in SHARES if options.only in (None, name)}
    end = time.monotonic() + 60 * options.minutes
    total = sum(SHARES[name] for name in outcomes)
    goals = {name: options.cases * SHARES[name] // total for name in outcomes}
    while time.monotonic() < end:
        behind = [name for name in outcomes if outcomes[name].cases < goals[name]]
        if not behind:
            break
        name = min(behind, key=lambda n: outcomes[n].cases / goals[n])
        _block(name, outcomes[name], goals[name], options.seed)
        print(f"{name}: {outcomes[name].cases} of {goals[name]} cases, "
              f"{len(outcomes[name].findings)} findings", file=sys.stderr, flush=True)  # fmt: skip
    _report(outcomes, options)
    return 1 if any(outcome.findings for outcome in outcomes.values()) else 0


def _block(name: str, outcome: Outcome, goal: int, seed: int) -> None:
    """Run the next cases in a process of their own, and go on behind one that kills it."""
    first, last = outcome.cases, min(outcome.cases + BLOCK, goal)
    start = time.monotonic()
    while first < last:
        reached = first
        for words in _lines(name, seed, first, last):
            if words[0] == "start":
                reached = int(words[1])
            elif words[0] == "finding":
                number, kind, text = int(words[1]), words[2], " ".join(words[3:])
                outcome.findings.append({"case": number, "kind": kind, "text": text})
            elif words[0] == "died":
                text = f"one of {reached} to {reached + 49}: {' '.join(words[1:])}"
                outcome.findings.append({"case": reached, "kind": "died", "text": text})
                first = reached + 50
            else:
                first = last
    outcome.cases = last
    outcome.seconds += time.monotonic() - start


def _lines(name: str, seed: int, first: int, last: int) -> Iterator[list[str]]:
    command = [sys.executable, __file__, "--worker", name, str(first), str(last), "--seed", str(seed)]  # fmt: skip  # noqa: E501
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = False
        for line in process.stdout:
            words = line.split()
            if words and words[0] in ("start", "finding", "done"):
                done = words[0] == "done"
                yield words
        if process.wait() or not done:
            yield ["died", "exit", "code", str(process.returncode)]


def _report(outcomes: dict[str, Outcome], options: argparse.Namespace) -> None:
    kinds = Counter(f["kind"] for outcome in outcomes.values() for f in outcome.findings)
    for name, outcome in outcomes.items():
        print(f"{name:12} {outcome.cases:7} cases {len(outcome.findings):4} findings")
        for finding in outcome.findings[:10]:
            print(f"    {finding['case']} {finding['kind']}: {finding['text']}")
    print(f"{sum(o.cases for o in outcomes.values())} cases, findings: {dict(kinds) or 'none'}")
    if options.json:
        document = {
            "schema": SCHEMA,
            "python": platform.python_version(),
            "seed": options.seed,
            "extra_bytes": EXTRA_BYTES,
            "cases": sum(o.cases for o in outcomes.values()),
            "targets": {
                name: {"cases": o.cases, "seconds": round(o.seconds, 1), "findings": o.findings}
                for name, o in outcomes.items()
            },
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip  # noqa: E501
    parser.add_argument("--cases", type=int, default=100_000, help="in all (default: 100000)")
    parser.add_argument("--minutes", type=float, default=20, help="end after these (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: 0)")
    parser.add_argument("--only", choices=SHARES, help="fuzz this target only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there")
    parser.add_argument("--case", nargs=2, metavar=("TARGET", "NUMBER"), help="print one case")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
