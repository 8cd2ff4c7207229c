"""``encrypted-serde keygen`` and ``encrypted-serde key-id``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.keys import Key, Keyring
from .exits import failures, write_new
from .options import DatabaseName


def keygen(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write to a new file, mode 0600. An existing file is never touched."),
    ] = None,
) -> None:
    """Draws a new key and prints its text.

    The text is the secret: 53 characters that begin with esk1- and end in a checksum. Put it into a secret store, and hand it
    to the application as ENCRYPTED_SERDE_KEY, or as a file that ENCRYPTED_SERDE_KEY_FILE names. Without the key nobody can read
    the data again: keep a copy where your backups are not.

    For example:

        encrypted-serde keygen --out /run/secrets/langgraph.key

        export ENCRYPTED_SERDE_KEY="$(encrypted-serde keygen)"
    """
    key = Key.generate()
    if out is None:
        print(key.to_text())
        return
    with failures():
        write_new(out, key.to_text())
    print(f"wrote {out}, key id {key.id.hex()}")


def key_id(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A file with the text of a key.")] = None,
    database_name: DatabaseName = None,
) -> None:
    """Prints the id of a key.

    It is that of the key in FILE, or of the one that ENCRYPTED_SERDE_KEY gives to write with. An id is 64 hex digits and no
    secret: every sealed value names it. It is what --current-key takes.
    """
    with failures():
        if file is None:
            key = Keyring.from_env(database=database_name).primary
        else:
            key = Key.from_text(file.read_text(encoding="utf-8-sig").strip())
            key = key if database_name is None else key.for_database(database_name)
    print(key.id.hex())
