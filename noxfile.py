"""Tasks for developers: ``nox -s dev|lint|types|docs|bench|fuzz|plugin|demo``."""

from __future__ import annotations

from pathlib import Path

import nox

ROOT = Path(__file__).parent
PEERS = ROOT.parent / "shared" / "peers"
PACKAGES = ("bitswap", "rd-bounds", "diffusion-bb")
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
        *(word for name in PACKAGES for word in ("-e", f"./packages/{name}")),
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
    install(session, "mypy", "pytest", "types-PyYAML", "./core[torch,plots]", "./cli")
    session.run(
        "mypy", "core/src", "cli/src", "bench", *(f"packages/{name}/src" for name in PACKAGES)
    )


@nox.session
def docs(session: nox.Session) -> None:
    """Write the reference pages that are made from the code."""
    install(session, "./core", "./cli")
    session.run("python", "docs/generate.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure coder, codecs and start-up beside their peers, in one run."""
    install(
        session,
        "./core[classical,plots,craystack,torch]", "./cli",
        *(f"./packages/{name}" for name in PACKAGES), "constriction",
    )  # fmt: skip
    for wheel in PEERS.glob("craystack-*.whl"):
        session.install("--no-deps", str(wheel))
    names = session.posargs or ["coder", "photographs", "startup", "bitswap"]
    for name in names:
        session.run("python", f"bench/{name}.py", "--json", f"bench/results/{name}.json")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Mutated files of every kind that is read, for 20 minutes or 100,000 cases."""
    install(session, "./core[torch]", "./cli", "./packages/bitswap")
    session.run("python", "bench/fuzz.py", *session.posargs)


@nox.session(venv_backend="none")
def plugin(session: nox.Session) -> None:
    """A new package from nothing to compressed digits, in a clean environment of wheels."""
    session.run("bash", "bench/plugin_kit.sh", *session.posargs, external=True)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on a photograph: a file, its rate, and the classical codecs beside it."""
    install(session, "./core[classical,plots]", "./cli", "./packages/bitswap")
    models = ["--model", "bitswap-photo", "--model", "predictive"]
    session.run("nc", "compare", *session.posargs, *models, "-o", "nc-compare", "--force")
