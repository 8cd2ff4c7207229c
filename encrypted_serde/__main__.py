"""Starts the ``encrypted-serde`` command, and says what to install where its extra is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command with the arguments of this process, and exits."""
    try:
        from .cli import database  # noqa: F401  # adds scan and reencrypt to the app
        from .cli.app import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"typer", "rich"}:
            raise
        sys.exit(f"the encrypted-serde command needs {missing}; install it with: pip install 'encrypted-serde[cli]'")
    app(prog_name="encrypted-serde")


if __name__ == "__main__":
    main()
