"""What the tamper tests share: a provider and a serializer that record what they are asked, and edits of stored bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_SINGLE_ARG, JsonPlusSerializer

from encrypted_serde import Key, Keyring
from encrypted_serde.core.ciphers import CIPHERS
from encrypted_serde.core.encoding import lp, pl

FRONT = 34
"""Bytes of version, flags and key id: what comes before the nonce."""


class RecordingKeyring(Keyring):
    """A keyring that notes every key it is asked for to read with."""

    def __init__(self, *, primary: Key) -> None:
        super().__init__(primary=primary)
        self.asked: list[tuple[bytes, dict[str, str]]] = []

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        self.asked.append((key_id, dict(context)))
        return super().decryption_key(key_id, context)


class RecordingSerializer(JsonPlusSerializer):
    """The usual serializer, pickles included, that notes everything it is asked to deserialize."""

    def __init__(self) -> None:
        super().__init__(pickle_fallback=True)
        self.read: list[tuple[str, bytes]] = []

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        self.read.append(data)
        return super().loads_typed(data)


def flip(data: bytes, bit: int) -> bytes:
    """Changes one bit; bit 0 is the lowest of the first byte."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def changed(stored: bytes) -> bytes:
    """Changes one bit of the nonce of a blob or of sealed bytes, which only the AEAD notices."""
    start = 6 + stored[5] if stored.startswith(b"\xc1ES1") else 0
    return flip(stored, 8 * (start + FRONT + 1))


def front(*, version: int = 1, flags: int = 0, key_id: bytes) -> bytes:
    """Writes a front down field by field, right or wrong."""
    return bytes([version, flags]) + key_id


def tail(context: bytes = b"", claims: bytes | None = None) -> bytes:
    """Writes a tail down field by field, right or wrong."""
    return (b"" if claims is None else pl(claims)) + pl(context)


def forge(
    key: Key,
    cipher: str,
    type_tag: str,
    plaintext: bytes,
    *,
    flags: int = 0,
    location: bytes = b"",
    context: bytes = b"",
    claims: bytes | None = None,
    derived_from: bytes | None = None,
) -> bytes:
    """Seals with the primitives alone, as somebody who holds the key could: authentic, whatever front and tail say."""
    chosen = CIPHERS[cipher]
    nonce = bytes(range(chosen.NONCE_PREFIX + chosen.NONCE_REST))
    data_key = key.derive("data-key", cipher.encode(), context if derived_from is None else derived_from)
    aead = chosen.aead(data_key, nonce[: chosen.NONCE_PREFIX])
    first, last = front(flags=flags, key_id=key.id), tail(context, claims)
    associated_data = lp(b"encrypted-serde/1") + lp(type_tag.encode()) + first + lp(location) + last
    return first + nonce + aead.encrypt(nonce[chosen.NONCE_PREFIX :], plaintext, associated_data) + last


def run_command(path: object) -> bytes:
    """Gives msgpack that makes a permissive `JsonPlusSerializer` run ``os.system`` to create a file."""
    call = ormsgpack.packb(("os", "system", f"touch {path}"))
    return ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_SINGLE_ARG, call))
