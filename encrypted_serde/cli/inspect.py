"""``encrypted-serde inspect``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .exits import fail, failures


def inspect(
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="Sealed text (es1.), hex, base64, a file, or - for standard input.")
    ],
    type_tag: Annotated[
        str | None,
        typer.Option(
            "--type", "-t", metavar="TAG", help="The type tag stored beside a blob. Sealed text and bytes carry their own."
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
    """
    from .inspection import inspect_value

    if value.startswith("esk1-"):
        fail("this is the text of a key, not a stored value: it should not be on a command line")
    with failures():
        found = inspect_value(_read(value), type_tag)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)


def _read(value: str) -> bytes:
    if value == "-":
        return sys.stdin.buffer.read()
    return Path(value).read_bytes() if _is_file(value) else value.encode("utf-8", "surrogateescape")


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except (OSError, ValueError):  # a blob in hex is longer than any file name may be
        return False


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    title = f"{found['form']}, {found['total_bytes']} bytes"
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _rows(found):
        table.add_row(name, escape(text))
    console.print(table)
    console.print("The header is not authenticated: only opening the value with its key proves it.", style="yellow")


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    flags = [name for name, is_set in (("zstd", found["compressed"]), ("bound", found["bound"])) if is_set]
    shown = {
        **{name.replace("_", " "): str(found[name]) for name in ("version", "type_tag", "inner_type", "cipher", "key_id")},
        "context": _pairs(found["context"]),
        "flags": ", ".join(flags) or "none",
        "claims": _pairs(found["claims"]),
        **{name: f"{found[f'{name}_bytes']} bytes" for name in ("header", "nonce", "ciphertext", "tag")},
    }
    shown["ciphertext"] += " (compressed plaintext)" if found["compressed"] else ""
    return [*shown.items()]


def _pairs(pairs: Mapping[str, object]) -> str:
    # As Python literals: claims and contexts come from the writer of the row, and may hold control characters.
    return "\n".join(f"{name!r} = {value!r}" for name, value in pairs.items()) or "none"
