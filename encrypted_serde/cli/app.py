"""The ``encrypted-serde`` command: `app`, to which each module of commands adds its own. Needs the extra ``cli``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..core.keys import Key
from ..errors import EncryptedSerdeError
from .inspection import Inspection, inspect_value

EXIT_REFUSED = 1
"""Exit code where the input was understood and refused. Wrong usage is 2."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    # A traceback that shows local variables would show key texts.
    pretty_exceptions_enable=False,
    help="Keys, a look at sealed values, and the databases they stand in.",
    epilog="Exit codes: 0 done, 1 refused (the message says why), 2 wrong usage, 3 something is left or was found.",
)


def fail(message: str) -> NoReturn:
    """Prints a message to standard error and exits with `EXIT_REFUSED`."""
    print(f"encrypted-serde: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_REFUSED)


@contextmanager
def failures() -> Iterator[None]:
    """Turns the errors of this package and of files into one line on standard error and an exit code."""
    try:
        yield
    except EncryptedSerdeError as error:
        fail(f"{type(error).__name__}: {error}")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")


@app.callback()
def _root() -> None:
    """Without a callback, an app with a single command would lose that command's name."""


@app.command()
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
        # O_EXCL: neither an existing key nor the target of a planted link is overwritten.
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key.to_text() + "\n")
    print(f"wrote {out}, key id {key.id.hex()}")


@app.command()
def inspect(
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE", help="Sealed text (es1.), hex, base64, a file, or - for standard input."),
    ],
    type_tag: Annotated[
        str | None,
        typer.Option(
            "--type",
            "-t",
            metavar="TAG",
            help="The type tag stored beside a blob. Sealed text and bytes carry their own.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explains a stored value. Needs no key, decrypts nothing.

    Shows version, cipher, key id, encryption context, claims, flags and sizes, as the header states them. The header is not
    authenticated here: only opening the value with its key proves that what it says is true.

    A row of a checkpointer with serde=EncryptedSerializer(...) is a blob and a type tag, in two columns. EncryptedSaver stores
    sealed bytes or sealed text, which carry the type tag.

    For example:

        encrypted-serde inspect es1.wUVTMQ...
        encrypted-serde inspect 0100a3... --type msgpack+xaes-256-gcm
        sqlite3 app.db "select hex(checkpoint) from checkpoints limit 1" |
          encrypted-serde inspect - --type msgpack+xaes-256-gcm
    """
    with failures():
        found = inspect_value(_read(value), type_tag)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found)


def _read(value: str) -> bytes:
    if value == "-":
        return sys.stdin.buffer.read()
    return Path(value).read_bytes() if _is_file(value) else value.encode("utf-8", "surrogateescape")


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except OSError:  # a blob in hex is longer than any file name may be
        return False


def _show(found: Inspection) -> None:
    console = Console(highlight=False)
    table = Table(
        title=f"{found.form}, {found.total_bytes} bytes",
        title_justify="left",
        show_header=False,
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _rows(found):
        table.add_row(name, escape(text))
    console.print(table)
    console.print("The header is not authenticated: only opening the value with its key proves it.", style="yellow")


def _rows(found: Inspection) -> list[tuple[str, str]]:
    flags = [name for name, is_set in (("zstd", found.compressed), ("bound", found.bound)) if is_set]
    return [
        ("version", str(found.version)),
        ("type tag", found.type_tag),
        ("inner type", found.inner_type),
        ("cipher", found.cipher),
        ("key id", found.key_id),
        ("context", _pairs(found.context)),
        ("flags", ", ".join(flags) or "none"),
        ("claims", _pairs(found.claims)),
        ("header", f"{found.header_bytes} bytes"),
        ("nonce", f"{found.nonce_bytes} bytes"),
        ("ciphertext", f"{found.ciphertext_bytes} bytes" + (" (compressed plaintext)" if found.compressed else "")),
        ("tag", f"{found.tag_bytes} bytes"),
    ]


def _pairs(pairs: Mapping[str, str]) -> str:
    # As Python literals: claims and contexts come from whoever wrote the row, and may hold control characters.
    return "\n".join(f"{name!r} = {value!r}" for name, value in pairs.items()) or "none"
