"""Entry point of the `emul` command: says what to install where its libraries are missing, else hands over."""

from __future__ import annotations

import sys

from .extras import require

#: What `emul` needs beyond the core, by import name: the extras that pyproject.toml calls torch and report.
NEEDED = ("torch", "typer", "rich", "matplotlib", "sklearn", "scipy")


def main() -> None:
    """Runs the command line; exit status 2 and one sentence on stderr where it cannot."""
    try:
        require(*NEEDED)
    except ImportError as error:
        print(f"emul: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    from .commands import app

    app(prog_name="emul")


if __name__ == "__main__":
    main()
