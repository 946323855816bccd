"""`python -m emul`: the `emul` command."""

from .cli import main

if __name__ == "__main__":
    main()
