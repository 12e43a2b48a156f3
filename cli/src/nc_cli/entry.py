"""Entry point of the console scripts: Ctrl-C is answered in one line from the first import on."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Import the application and run it."""
    try:
        from nc_cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("nc: interrupted\n")
        sys.exit(130)
    run()
