"""How a command ends: exit codes, and errors as one line that shows no secret."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from ..errors import EncryptedSerdeError

EXIT_REFUSED = 1
"""Exit code where the input was understood and refused, or a service, a database or a file failed."""

EXIT_USAGE = 2
"""Exit code of wrong usage."""

EXIT_FOUND = 3
"""Exit code where a command did its work, and what it found, or did not find, is what it was asked to tell of."""

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_SECRET = re.compile(r"\S*(?:://|@|passw|pwd)[\s\S]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """Cuts a text where a URL or a password may begin: nobody can say where it ends."""
    return _SECRET.sub("(not shown)", text)


def fail(message: str) -> NoReturn:
    """Prints a message to standard error and exits with `EXIT_REFUSED`."""
    print(f"encrypted-serde: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_REFUSED)


def writable(path: Path | None) -> Path | None:
    """Refuses a file that could not be written, before the work is done and not after; and one that holds something else.

    A report replaces an older report. Both are JSON objects.
    """
    if path is not None:
        place = path if path.exists() else path.parent
        if path.is_dir() or not place.exists() or not os.access(place, os.W_OK):
            raise typer.BadParameter(f"{path} cannot be written")
        if path.is_file() and _begins(path) not in (b"", b"{"):
            raise typer.BadParameter(f"{path} exists and is no report")
    return path


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1)


def write_new(path: Path, text: str) -> None:
    """Writes a secret to a new file, which its owner alone can read. Neither a file nor the target of a link is overwritten."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")


@contextmanager
def failures() -> Iterator[None]:
    """Turns the errors of this package and of files into one line on standard error and an exit code."""
    try:
        yield
    except EncryptedSerdeError as error:
        fail(f"{type(error).__name__}: {error}")
    except OSError as error:
        if error.filename is None:  # standard output
            raise
        fail(f"{redacted(str(error.filename))}: {error.strerror}")
