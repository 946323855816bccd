"""Entry point of the `emul` command: says what to install where its libraries are missing, else hands over."""

from __future__ import annotations

import sys

from .extras import require
from .pipes import outputs

#: What every command needs beyond the core, by import name; a command that needs more says so itself.
NEEDED = ("typer", "rich")


def main() -> None:
    """Runs the command line; exit status 2 and one sentence on stderr where it cannot."""
    try:
        require(*NEEDED)
    except ImportError as error:
        print(f"emul: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    from .commands import app

    with outputs():
        app(prog_name="emul")


if __name__ == "__main__":
    main()
