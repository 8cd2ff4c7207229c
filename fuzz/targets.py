"""What is fuzzed: every parser that meets bytes which somebody else chose.

A target takes bytes. It passes if nothing but an `EncryptedSerdeError` comes out of the package, and what is stated beside each
holds. `tests/test_fuzz.py` runs all of them over their seeds, without Atheris.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from encrypted_serde import EncryptedSerdeError, Key, Keyring, Sealer
from encrypted_serde.core.claims import decode_claims, encode_claims
from encrypted_serde.core.context import EncryptionContext, parse_context
from encrypted_serde.core.encoding import encode_pairs
from encrypted_serde.core.format import Sealed, bytes_of_text, find_sealed, is_sealed, sealed_text
from encrypted_serde.errors import ConfigurationError
from encrypted_serde.maintenance.checkpoints import look_at_metadata, look_at_values
from encrypted_serde.maintenance.table import Row
from encrypted_serde.rows.stored import find_part, find_typed
from encrypted_serde.wrapping.admission import Admission
from encrypted_serde.wrapping.gate import Gate
from encrypted_serde.wrapping.inert import pack, unpack
from encrypted_serde.wrapping.legacy import LegacyReader

Target = Callable[[bytes], None]

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "tests" / "vectors" / "v1.json").read_text(encoding="utf-8"))


def _sealed_vectors() -> list[dict[str, Any]]:
    authentic = [
        one for one in VECTORS["refused"] if "blob" in one and one["error"] == "WrongContext"
    ]  # they open where nothing is expected
    return [*authentic, *VECTORS["sealed"], *VECTORS["zstd"], *VECTORS["zstd_refused"]]


_KEYS = [Key.from_text(one["text"]) for one in VECTORS["key_texts"]]
_SEALER = Sealer(Keyring(primary=_KEYS[0], decrypt_only=_KEYS[1:]))
_AUTHENTIC = {(one["type_tag"], one["blob"]) for one in _sealed_vectors()}
_LEGACY = LegacyReader({bytes.fromhex(one["key"]) for one in VECTORS["legacy"]})
_AUTHENTIC_LEGACY = {one["blob"] for one in VECTORS["legacy"]}
_GATES = (Gate(Admission(_SEALER)), Gate(Admission(_SEALER, plaintext=True, unbound=True, legacy_keys=[bytes(range(32))])))


class Broken(Exception):
    """Something came out that must not."""


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _split(data: bytes) -> tuple[str, bytes]:
    """Takes a type tag, up to the first NUL, and what follows."""
    tag, _, rest = data.partition(b"\0")
    return _text(tag), rest


def blob(data: bytes) -> None:
    """A type tag and a blob: header and claims. What opens under our keys is one of the vectors, byte for byte."""
    type_tag, stored = _split(data)
    try:
        sealed = Sealed.of_blob(type_tag, stored)
        _look_at(sealed)
        _SEALER.open(type_tag, stored)
    except EncryptedSerdeError:
        return
    _must((type_tag, stored.hex()) in _AUTHENTIC, "a value opened that nobody sealed")


def sealed_bytes(data: bytes) -> None:
    """Sealed bytes. Recognising them never raises, and agrees with parsing them."""
    recognised = is_sealed(data)
    try:
        sealed = find_sealed(data)
    except EncryptedSerdeError:
        _must(recognised, "refused, but not recognised")
        return
    _must(recognised == (sealed is not None), "recognised and parsed differ")
    if sealed is not None:
        try:
            _look_at(sealed)
        except EncryptedSerdeError:
            return


def text(data: bytes) -> None:
    """Sealed text. There is one text for some bytes and no other."""
    stored = _text(data)
    recognised = is_sealed(stored)
    try:
        sealed = find_sealed(stored)
    except EncryptedSerdeError:
        _must(recognised, "refused, but not recognised")
        return
    _must(recognised == (sealed is not None), "recognised and parsed differ")
    if (decoded := bytes_of_text(stored)) is not None:
        _must(sealed_text(decoded) == stored, "two texts of the same bytes")


def _look_at(sealed: Sealed) -> None:
    head = sealed.head
    _must(len(head.key_id) == 32, "a key id of another length")
    _must(encode_claims(sealed.claims) == sealed.encoded_claims, "claims that are not canonical")
    _must(sealed.ciphertext_size >= 0, "a ciphertext of less than nothing")
    parts = (sealed.start, sealed.nonce, sealed.end, len(sealed.data))
    _must([*parts] == sorted(parts), "parts that overlap")
    _must(sealed.is_bound or not sealed.claims, "claims of an unbound value")
    repr(sealed), repr(head.context), sealed.is_compressed, sealed.ciphertext_size


def claims(data: bytes) -> None:
    """Claims. What is read has one encoding and no other."""
    try:
        read = decode_claims(data)
    except EncryptedSerdeError:
        return
    _must(encode_claims(read) == data, "claims that are not canonical")


def legacy(data: bytes) -> None:
    """A blob of langgraph's own serializer. What opens is one of the vectors, whatever it is labelled as."""
    inner_type, stored = _split(data)
    try:
        _LEGACY.open(inner_type, stored)
    except EncryptedSerdeError:
        return
    _must(stored.hex() in _AUTHENTIC_LEGACY, "a legacy value opened that nobody sealed")


def gate(data: bytes) -> None:
    """Reading through the gate never raises and builds no object; what came out can be packed again."""
    type_tag, stored = _split(data)
    for one in _GATES:
        loaded = one.loads_typed((type_tag, stored))
        repr(loaded)
        if hasattr(loaded, "entries"):
            dict(loaded)
        if type_tag in {"null", "bytes", "msgpack"}:
            one.dumps_typed(loaded)


def inert(data: bytes) -> None:
    """Msgpack taken apart; put together again it is the same value."""
    try:
        value = unpack(data)
    except EncryptedSerdeError:
        return
    packed = pack(value)
    _must(pack(unpack(packed)) == packed, "changed by packing and unpacking")


def cell(data: bytes) -> None:
    """A cell of a database, as a scan sees it: no key, and no row may end the scan."""
    type_tag, stored = _split(data)
    for part in (stored, stored[: len(stored) // 2]):
        found = find_typed(type_tag, part, len(stored))
        repr(found)
    for value in (stored, _text(stored)):
        find_part(value)
    for decode in (unpack, json.loads):
        try:
            value = decode(stored)
        except (EncryptedSerdeError, ValueError, RecursionError):
            continue
        find_part(value)
        row = Row({}, (), 0)
        for seen in look_at_metadata(row, value, ()) if decode is json.loads else ():
            repr(seen)
        for seen in look_at_values(row, value, "value") if isinstance(value, dict) else ():
            repr(seen)


def key_text(data: bytes) -> None:
    """A key as text, hex, base64 or bytes: refused with ConfigurationError, or there and back unchanged."""
    written = _text(data)
    for parse in (Key.from_text, Key.from_hex, Key.from_base64):
        try:
            key = parse(written)
        except ConfigurationError as error:
            _must(len(written) < 12 or written not in str(error), "the text of a key in an error")
            continue
        _must(Key.from_text(key.to_text()) == key, "another key came back")
        _must(key.to_text() not in repr(key) + str(key), "a key that shows itself")
    try:
        Key.from_bytes(data)
    except ConfigurationError:
        return


def context(data: bytes) -> None:
    """An encoded context is canonical or refused; names and values from a caller are checked in the same way."""
    try:
        parsed = parse_context(data)
    except EncryptedSerdeError:
        pass
    else:
        _must(encode_pairs(parsed.pairs) == parsed.encoded == data, "a context that is not canonical")
        _must(EncryptionContext.of(parsed.pairs).encoded == data, "read, but could not have been written")
    parts = _text(data).split("\0")
    pairs = dict(zip(parts[::2], parts[1::2], strict=False))
    try:
        made = EncryptionContext.of(pairs)
    except ConfigurationError:
        return
    _must(dict(parse_context(made.encoded).pairs) == pairs, "written, but read differently")


TARGETS: dict[str, Target] = {
    one.__name__: one for one in (blob, sealed_bytes, text, claims, legacy, gate, inert, cell, key_text, context)
}
