"""Starts the ``encrypted-serde`` command, and says what to install where its extra is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command with the arguments of this process, and exits."""
    try:
        import rich  # noqa: F401  # what the commands print with

        from .cli.app import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"typer", "rich"}:
            raise
        sys.exit(f"the encrypted-serde command needs {missing}; install it with: pip install 'encrypted-serde[cli]'")
    except KeyboardInterrupt:  # while it starts
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
