"""Explains a sealed value without a key: what its header says, and how large its parts are.

Everything here is read from bytes that were *not authenticated*. It answers "which key do I need?" and "whose row is this?" for
an operator who looks at a database, and must decide nothing about what a value may do.
"""

from __future__ import annotations

import re
import string
from typing import Any

from ..core.ciphers import TAG_SIZE
from ..core.encoding import b64url_decode
from ..core.format import FRONT, SEALED_MAGIC, SEALED_TEXT_PREFIX, VERSION, Sealed, find_sealed, nonce_size
from ..errors import MalformedEnvelope, PlaintextRefused, UnsupportedCipher
from ..wrapping.legacy import CIPHER as LEGACY_CIPHER

_TEXT = frozenset(string.printable.encode("ascii"))
_HEX = re.compile(r"(?:0x|\\x)?((?:[0-9a-fA-F]{2})+)|[xX]'((?:[0-9a-fA-F]{2})+)'")


def inspect_value(value: bytes, type_tag: str | None = None) -> dict[str, Any]:
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
    if not value or not _TEXT.issuperset(value):
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
    if type_tag.endswith(f"+{LEGACY_CIPHER}"):
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
