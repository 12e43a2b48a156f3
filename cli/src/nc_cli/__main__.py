"""``python -m nc_cli``: the command line where another program is called ``nc``."""

from __future__ import annotations

from nc_cli.entry import main

if __name__ == "__main__":
    main()
