"""Tasks for developers: ``nox -s dev|lint|types|docs|bench|demo``."""

from __future__ import annotations

from pathlib import Path

import nox

ROOT = Path(__file__).parent
PEERS = ROOT.parent / "shared" / "peers"
nox.options.sessions = ["lint", "types"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, *packages: str) -> None:
    session.install("-c", "constraints.txt", *packages)


@nox.session
def dev(session: nox.Session) -> None:
    """Make .venv: everything editable, with all tools."""
    session.run("python", "-m", "venv", ".venv", external=True)
    session.run(
        ".venv/bin/pip", "install", "-q", "-c", "constraints.txt",
        "-e", "./core[classical,plots]", "-e", "./cli",
        "hypothesis", "mypy", "pytest", "pytest-timeout", "ruff", "tox", "nox",
        external=True,
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    install(session, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Type annotations, strictly."""
    install(session, "mypy", "types-PyYAML", "./core[torch,plots]", "./cli")
    session.run("mypy", "core/src", "cli/src")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the reference pages that are made from the code."""
    install(session, "./core", "./cli")
    session.run("python", "docs/generate.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure coder, predictive codec and start-up beside their peers, in one run."""
    install(session, "./core[classical,plots,craystack]", "./cli", "constriction")
    for wheel in PEERS.glob("craystack-*.whl"):
        session.install("--no-deps", str(wheel))
    names = session.posargs or ["coder", "predictive", "startup"]
    for name in names:
        session.run("python", f"bench/{name}.py", "--json", f"bench/results/{name}.json")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on a photograph: a file, its rate, and the classical codecs beside it."""
    install(session, "./core[classical,plots]", "./cli")
    session.run("nc", "compare", *session.posargs, "-o", "nc-compare", "--force")
