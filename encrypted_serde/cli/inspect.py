"""``encrypted-serde inspect``: explains a sealed value without a key, by what its header says and how large its parts are.

Everything here is read from bytes that were *not authenticated*. It answers "which key do I need?" and "whose row is this?" for
an operator who looks at a database, and must decide nothing about what a value may do.
"""

from __future__ import annotations

import json
import re
import string
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.ciphers import TAG_SIZE
from ..core.encoding import b64url_decode
from ..core.format import FRONT, SEALED_MAGIC, SEALED_TEXT_PREFIX, VERSION, Sealed, find_sealed, nonce_size
from ..errors import MalformedEnvelope, PlaintextRefused, UnsupportedCipher
from .exits import fail, failures
from .options import Text, flag

_PRINTABLE = frozenset(string.printable.encode("ascii"))
_HEX = re.compile(r"(?:0x|\\x)?((?:[0-9a-fA-F]{2})+)|[xX]'((?:[0-9a-fA-F]{2})+)'")


def inspect(
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="Sealed text (es1.), hex, base64, a file, or - for standard input.")
    ],
    type_tag: Annotated[
        Text,
        typer.Option(
            "--type", "-t", metavar="TAG", help="The type tag stored beside a blob. Sealed text and bytes carry their own."
        ),
    ] = None,
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False,
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
    if value.startswith("esk1-"):
        fail("this is the text of a key, not a stored value: it should not be on a command line")
    with failures():
        found = _inspect(_read(value), type_tag)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)


def _read(value: str) -> bytes:
    if value == "-":
        return sys.stdin.buffer.read()
    try:
        is_file = Path(value).is_file()
    except (OSError, ValueError):  # a blob in hex is longer than any file name may be
        is_file = False
    return Path(value).read_bytes() if is_file else value.encode("utf-8", "surrogateescape")


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text as Printed

    console = Console(highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, part in found.items():
        table.add_row(name.replace("_", " "), Printed(_pairs(part) if isinstance(part, Mapping) else str(part)))
    console.print(table)
    console.print("The header is not authenticated: only opening the value with its key proves it.", style="yellow")


def _pairs(pairs: Mapping[str, object]) -> str:
    # As Python literals: claims and contexts come from the writer of the row, and may hold control characters.
    return "\n".join(f"{name!r} = {value!r}" for name, value in pairs.items()) or "none"


def _inspect(value: bytes, type_tag: str | None = None) -> dict[str, Any]:
    r"""Explains a sealed value in any form in which a database or a colleague may hand it over.

    Args:
        value: A blob or sealed bytes, raw; or as text sealed text, hex (``0x``, ``\x`` and ``X'...'`` as databases print it)
            or base64 in either alphabet. White space around text does not matter.
        type_tag: What is stored beside a blob. Not looked at for values that carry their own.

    Returns:
        What can be said without opening it, as types that JSON knows. None of it is authenticated.

    Raises:
        PlaintextRefused: If it is not a sealed value, or the type tag names no cipher.
        UnsupportedCipher: If the type tag names a cipher that is not ours.
        UnsupportedFormat: If a newer release wrote it.
        MalformedEnvelope: If it is cut or no encoding of anything, or a blob comes without its type tag.
    """
    if not value or not _PRINTABLE.issuperset(value):
        return _inspect_bytes(value, type_tag)
    text = value.decode("ascii").strip()
    if text.startswith(SEALED_TEXT_PREFIX):
        if (sealed := find_sealed(text)) is None:
            raise PlaintextRefused(f"begins with {SEALED_TEXT_PREFIX!r} but is not sealed text: readers take it for plaintext")
        return _described(sealed, "sealed text", len(text))
    return _inspect_bytes(_decode(text), type_tag)


def _decode(text: str) -> bytes:
    if match := _HEX.fullmatch(text):
        return bytes.fromhex(match[1] or match[2])
    data = b64url_decode(text.rstrip("=").translate(str.maketrans("+/", "-_")))
    if data is None:
        raise MalformedEnvelope("neither sealed text (es1.) nor hex nor base64")
    return data


def _inspect_bytes(data: bytes, type_tag: str | None) -> dict[str, Any]:
    if data.startswith(SEALED_MAGIC):
        if (sealed := find_sealed(data)) is None:
            raise PlaintextRefused("begins like sealed bytes but holds no type tag: readers take it for plaintext")
        return _described(sealed, "sealed bytes", len(data))
    if type_tag is None:
        raise MalformedEnvelope(
            "not sealed bytes or sealed text; if it is a blob, give the type tag that is stored beside it, "
            "such as msgpack+xaes-256-gcm"
        )
    if "+" not in type_tag:
        raise PlaintextRefused(f"the type {type_tag!r} names no cipher: this value was never sealed")
    if type_tag.endswith("+aes"):
        raise UnsupportedCipher(
            f"{type_tag!r} was written by langgraph's own EncryptedSerializer; it names no key and no context"
        )
    return _described(Sealed.of_blob(type_tag, data), "blob", len(data))


def _described(sealed: Sealed, form: str, total: int) -> dict[str, Any]:
    head = sealed.head
    return {
        "form": form,
        "version": VERSION,
        "type_tag": head.type_tag,
        "inner_type": head.inner_type,
        "cipher": head.cipher.NAME,
        "key_id": head.key_id.hex(),
        "context": dict(head.context.pairs),
        "bound": sealed.is_bound,
        "claims": dict(sealed.claims),
        "compressed": sealed.is_compressed,
        "total_bytes": total,
        "header_bytes": FRONT + sealed.tail_size,
        "nonce_bytes": nonce_size(head.cipher),
        "ciphertext_bytes": sealed.ciphertext_size,
        "tag_bytes": TAG_SIZE,
    }
