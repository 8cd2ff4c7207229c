"""A second reader of the wire format, written from docs/format.md alone. It imports nothing of encrypted_serde, on purpose.

It is meant to be read beside that page, in the order of its sections. Every refusal is a `Refused` that carries the name of
the error class which the page gives for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import string
import struct
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC


class Refused(Exception):
    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class Opened(NamedTuple):
    inner_type: str
    plaintext: bytes
    context: dict[str, str]
    claims: dict[str, str | int]
    associated_data: bytes
    data_key: bytes


# --- three building blocks ------------------------------------------------------------------------------------------


def lp(field: bytes) -> bytes:
    return len(field).to_bytes(2, "big") + field


class Cursor:
    """Takes bytes off the front of a value; MalformedEnvelope where there are too few."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        if len(self.data) < size:
            raise Refused("MalformedEnvelope")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def field(self) -> bytes:
        return self.take(int.from_bytes(self.take(2), "big"))

    def take_last(self, size: int) -> bytes:
        if len(self.data) < size:
            raise Refused("MalformedEnvelope")
        start = len(self.data) - size
        taken, self.data = self.data[start:], self.data[:start]
        return taken

    def last_field(self) -> bytes:
        return self.take_last(int.from_bytes(self.take_last(2), "big"))


def pairs(mapping: Mapping[str, str]) -> bytes:
    encoded = {name.encode(): value.encode() for name, value in mapping.items()}
    return b"".join(lp(name) + lp(encoded[name]) for name in sorted(encoded))


def parse_pairs(data: bytes) -> dict[str, str]:
    cursor, found = Cursor(data), {}
    while cursor.data:
        name, value = cursor.field(), cursor.field()
        try:
            found[name.decode()] = value.decode()
        except UnicodeDecodeError:
            raise Refused("MalformedEnvelope") from None
    # Injective: disorder, doubled names and everything else that a writer would not write shows here.
    if pairs(found) != data or b"\0" in b"".join(text.encode() for pair in found.items() for text in pair):
        raise Refused("MalformedEnvelope")
    return found


def base64url(text: str) -> bytes | None:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text, re.ASCII) or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if base64.urlsafe_b64encode(data).decode().rstrip("=") == text else None


# --- keys -----------------------------------------------------------------------------------------------------------


def derive(secret: bytes, purpose: str, *fields: bytes) -> bytes:
    info = lp(b"encrypted-serde/1") + lp(purpose.encode()) + b"".join(map(lp, fields))
    # RFC 5869 with a salt of 32 zero bytes, which is what "none" means there, and one block of output.
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def key_id(secret: bytes) -> bytes:
    return derive(secret, "key-id")


def parse_key_text(text: str) -> bytes | None:
    """Gives the secret, or None where the text is no key."""
    data = base64url(text.removeprefix("esk1-"))
    if not text.startswith("esk1-") or len(text) != 53 or data is None:
        return None
    secret = data[:32]
    if set(secret) <= set(string.printable.encode()) or len(set(secret)) < 17:
        return None
    return secret if key_id(secret)[:4] == data[32:] else None


# --- ciphers --------------------------------------------------------------------------------------------------------


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def open_xaes(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    inner_key = cmac(key, b"\0\1X\0" + nonce[:12]) + cmac(key, b"\0\2X\0" + nonce[:12])
    return AESGCM(inner_key).decrypt(nonce[12:], ciphertext, associated_data)


def open_gcm(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    return AESGCM(key).decrypt(nonce, ciphertext, associated_data)


def open_eax(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    body, tag = ciphertext[:-16], ciphertext[-16:]
    omacs = [cmac(key, bytes(15) + bytes([t]) + data) for t, data in enumerate((nonce, associated_data, body))]
    expected = bytes(a ^ b ^ c for a, b, c in zip(*omacs, strict=True))
    if not hmac.compare_digest(expected, tag):
        raise InvalidTag
    return Cipher(algorithms.AES(key), modes.CTR(omacs[0])).decryptor().update(body)


CIPHERS = {"xaes-256-gcm": (24, open_xaes), "aes-256-gcm": (12, open_gcm), "aes-256-eax": (16, open_eax)}


# --- a sealed value -------------------------------------------------------------------------------------------------


def parse_sealed_bytes(data: bytes) -> tuple[str, bytes] | None:
    """Gives type tag and blob, or None where this is no sealed value but plaintext."""
    if data[:4] != bytes.fromhex("C1455331"):
        return None
    cursor = Cursor(data[4:])
    try:
        type_tag = cursor.field()
    except Refused:
        return None
    if not re.fullmatch(rb"[a-z0-9+._-]{1,32}", type_tag) or b"+" not in type_tag:
        return None
    return type_tag.decode(), cursor.data


def parse_sealed_text(text: str) -> tuple[str, bytes] | None:
    data = base64url(text[4:]) if text.startswith("es1.") else None
    return None if data is None else parse_sealed_bytes(data)


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def parse_claims(data: bytes) -> dict[str, str | int]:
    if not data:
        return {}
    cursor = Cursor(data)
    kind = cursor.take(1)
    claims: dict[str, str | int] = {}
    try:
        if kind == b"\1":
            claims["version"] = cursor.take(len(cursor.data)).decode()
        elif kind in (b"\2", b"\3"):
            claims["task_id"], claims["checkpoint_id"] = parse_name(cursor), parse_name(cursor)
            claims["task_path"] = cursor.take(parse_number(cursor)).decode()
            claims["batch" if kind == b"\2" else "alone"] = cursor.take(8).hex()
            claims["idx"] = parse_number(cursor) if kind == b"\2" else -parse_number(cursor)
        if kind == b"\2":
            claims["size"], claims["of"] = parse_number(cursor), parse_number(cursor)
    except UnicodeDecodeError:
        raise Refused("MalformedEnvelope") from None
    if not claims or cursor.data or (kind == b"\3" and claims["idx"] == 0):
        raise Refused("MalformedEnvelope")
    return claims


def parse_number(cursor: Cursor) -> int:
    groups = [cursor.take(1)[0]]
    while groups[-1] & 0x80:
        groups.append(cursor.take(1)[0])
    number = sum((group & 0x7F) << 7 * position for position, group in enumerate(groups))
    if number >= 1 << 32 or (len(groups) > 1 and groups[-1] == 0):
        raise Refused("MalformedEnvelope")
    return number


def parse_name(cursor: Cursor) -> str:
    size = parse_number(cursor)
    if size == 0:
        digits = cursor.take(16).hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    text = cursor.take(size - 1).decode()
    if UUID.fullmatch(text):
        raise Refused("MalformedEnvelope")
    return text


def check_context(context: dict[str, str]) -> None:
    names = all(re.fullmatch(r"[a-z][a-z0-9_.-]{0,63}", name) for name in context)
    values = all(1 <= len(value.encode()) <= 1024 for value in context.values())
    if len(context) > 16 or not names or not values:
        raise Refused("MalformedEnvelope")


def decompress(packed: bytes) -> bytes:
    try:
        zstd = import_module("compression.zstd")
    except ImportError:
        zstd = import_module("backports.zstd")
    size = int.from_bytes(packed[:8], "big")
    if len(packed) < 8 or size > 1 << 30:
        raise Refused("MalformedEnvelope")
    decoder = zstd.ZstdDecompressor()
    try:
        plaintext = decoder.decompress(packed[8:], max_length=size + 1)
    except zstd.ZstdError:
        raise Refused("MalformedEnvelope") from None
    if len(plaintext) != size or not decoder.eof or decoder.unused_data:
        raise Refused("MalformedEnvelope")
    return plaintext


# --- what EncryptedSaver stores --------------------------------------------------------------------------------------


class Extension(NamedTuple):
    code: int
    data: bytes


def parse_msgpack(cursor: Cursor) -> Any:
    """Reads msgpack: what a manifest, a normal form and a stored checkpoint are made of."""
    first = cursor.take(1)[0]
    if first < 0x80 or first >= 0xE0:
        return first if first < 0x80 else first - 256
    if first in _MSGPACK_CONSTANTS:
        return _MSGPACK_CONSTANTS[first]
    if first in (0xCA, 0xCB):
        return struct.unpack(">f" if first == 0xCA else ">d", cursor.take(4 << first - 0xCA))[0]
    if 0xCC <= first <= 0xD3:
        return int.from_bytes(cursor.take(1 << (first & 3)), "big", signed=first >= 0xD0)
    if 0xD4 <= first <= 0xD8:
        return Extension(cursor.take(1)[0], cursor.take(1 << first - 0xD4))
    kind, size = _msgpack_size(first, cursor)
    if kind == "map":
        return {parse_msgpack(cursor): parse_msgpack(cursor) for _ in range(size)}
    if kind == "array":
        return [parse_msgpack(cursor) for _ in range(size)]
    if kind == "extension":
        return Extension(cursor.take(1)[0], cursor.take(size))
    return cursor.take(size).decode() if kind == "text" else cursor.take(size)


_MSGPACK_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_MSGPACK_SIZES = {0xC4: "bytes", 0xC7: "extension", 0xD9: "text"}  # of 1, 2 and 4 bytes, one code after the other


def _msgpack_size(first: int, cursor: Cursor) -> tuple[str, int]:
    if first < 0xC0:
        return ("map", first & 15) if first < 0x90 else ("array", first & 15) if first < 0xA0 else ("text", first & 31)
    if first >= 0xDC:
        return "array" if first < 0xDE else "map", int.from_bytes(cursor.take(2 << (first & 1)), "big")
    for start, kind in _MSGPACK_SIZES.items():
        if start <= first < start + 3:
            return kind, int.from_bytes(cursor.take(1 << first - start), "big")
    raise Refused("MalformedEnvelope")


def manifest_digest(checkpoint: Mapping[str, Any], readable_metadata: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(normal_form(checkpoint, readable_metadata)).digest()[:16]


def normal_form(checkpoint: Mapping[str, Any], readable_metadata: Mapping[str, Any]) -> bytes:
    for exact in (checkpoint.get("v", 0), readable_metadata.get("step", 0)):
        if type(exact) is not int:
            raise Refused("MalformedEnvelope")
    covered = {name: value for name, value in checkpoint.items() if name not in ("channel_values", "pending_sends")}
    return canonical_msgpack([covered, readable_metadata])


def canonical_msgpack(value: Any) -> bytes:
    """Encodes what JSON gave, as the digest of a manifest takes it."""
    if isinstance(value, dict):
        items = sorted((name.encode(), item) for name, item in value.items())
        encoded = [canonical_msgpack(name.decode()) + canonical_msgpack(item) for name, item in items]
        return _sized(len(value), 0x80, 16, (None, 0xDE, 0xDF)) + b"".join(encoded)
    if isinstance(value, list):
        return _sized(len(value), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(canonical_msgpack, value))
    if isinstance(value, str):
        return _sized(len(value.encode()), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + value.encode()
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, float) and not value.is_integer():
        return b"\xcb" + struct.pack(">d", value)
    return _integer(int(value))


def _sized(size: int, short: int, limit: int, longer: tuple[int | None, int, int]) -> bytes:
    if size < limit:
        return bytes([short | size])
    width = next(width for width in range(3) if longer[width] is not None and size < 1 << (8 << width))
    return bytes([longer[width]]) + size.to_bytes(1 << width, "big")


def _integer(number: int) -> bytes:
    if -32 <= number < 128:
        return number.to_bytes(1, "big", signed=number < 0)
    bits = number.bit_length() if number >= 0 else (~number).bit_length() + 1
    width = next(width for width in range(4) if bits <= 8 << width)
    return bytes([(0xCC if number >= 0 else 0xD0) + width]) + number.to_bytes(1 << width, "big", signed=number < 0)


def search_token(secret: bytes, metadata_key: str, context: Mapping[str, str], value: str | int | bool) -> str:
    key = derive(secret, "search", metadata_key.encode(), pairs(context))
    mac = hmac.digest(key, json.dumps(value).encode("ascii"), hashlib.sha256)
    return "es1s." + base64.urlsafe_b64encode(mac[:16]).decode().rstrip("=")


# --- what EncryptedStore and EncryptedCache store --------------------------------------------------------------------


def pseudonym(secret: bytes, context: Mapping[str, str], namespace: list[str], key: str | None = None) -> str:
    """Of the only label of a namespace, or of a key in it."""
    purpose = b"label" if key is None else b"key"
    name = namespace[0].encode() if key is None else b"".join(lp(field.encode()) for field in (*namespace, key))
    mac = hmac.digest(derive(secret, "name", purpose, pairs(context)), name, hashlib.sha256)[:16]
    return base64.b32encode(mac).decode().rstrip("=").lower()


def split_names(plaintext: bytes) -> tuple[list[str], str, bytes]:
    """Namespace, key and value of an item whose inner type begins with ``named.``."""
    cursor = Cursor(plaintext)
    labels = [cursor.field().decode() for _ in range(int.from_bytes(cursor.take(2), "big"))]
    return labels, cursor.field().decode(), cursor.data


def cache_key(secret: bytes, context: Mapping[str, str], namespace: list[str], key: str) -> str:
    name = b"".join(lp(field.encode()) for field in (*namespace, key))
    return hmac.digest(derive(secret, "name", b"entry", pairs(context)), name, hashlib.sha256).hex()[:32]


# --- reading: the steps of the table --------------------------------------------------------------------------------


def open_value(
    secrets: list[bytes],
    type_tag: str,
    blob: bytes,
    *,
    expected_context: Mapping[str, str] | None = None,
    location: list[str] | None = None,
    known_claims: Mapping[str, str | int] | None = None,
) -> Opened:
    """Opens a blob; a bound one, found at `location`, where that is given."""
    # 1: the type tag
    if "+" not in type_tag:
        raise Refused("PlaintextRefused")
    inner_type, _, cipher = type_tag.rpartition("+")
    if not re.fullmatch(r"[a-z0-9+._-]{1,32}", type_tag, re.ASCII) or not inner_type:
        raise Refused("MalformedEnvelope")
    if cipher not in CIPHERS:
        raise Refused("UnsupportedCipher")
    # 2: the header
    cursor = Cursor(blob)
    version = cursor.take(1)[0]
    if version == 0:
        raise Refused("MalformedEnvelope")
    if version > 1:
        raise Refused("UnsupportedFormat")
    flags = cursor.take(1)[0]
    if flags > 3:
        raise Refused("UnsupportedFormat")
    stored_id = cursor.take(32)
    encoded_context = cursor.last_field()
    encoded_claims = cursor.last_field() if flags & 2 else b""
    nonce_size, decrypt = CIPHERS[cipher]
    if len(cursor.data) < nonce_size + 16:
        raise Refused("MalformedEnvelope")
    front, tail = blob[:34], blob[34 + len(cursor.data) :]
    context = parse_pairs(encoded_context)
    check_context(context)
    claims = parse_claims(encoded_claims)
    # 3: bound or unbound
    if bool(flags & 2) != (location is not None):
        raise Refused("WrongLocation")
    # 4: the context
    if expected_context is not None and pairs(expected_context) != encoded_context:
        raise Refused("WrongContext")
    # 5: the key
    secret = {key_id(secret): secret for secret in secrets}.get(stored_id)
    if secret is None:
        raise Refused("UnknownKey")
    # 6: the AEAD
    nonce = cursor.take(nonce_size)
    place = b"".join(lp(field.encode()) for field in location or [])
    associated_data = lp(b"encrypted-serde/1") + lp(type_tag.encode()) + front + lp(place) + tail
    data_key = derive(secret, "data-key", cipher.encode(), encoded_context)
    try:
        plaintext = decrypt(data_key, nonce, cursor.data, associated_data)
    except InvalidTag:
        raise Refused("AuthenticationFailed") from None
    # 7: the claims
    if any(claims.get(name) != value for name, value in (known_claims or {}).items()):
        raise Refused("WrongLocation")
    # 8: decompression
    if flags & 1:
        plaintext = decompress(plaintext)
    return Opened(inner_type, plaintext, context, claims, associated_data, data_key)


# --- rows of langgraph's own serializer -----------------------------------------------------------------------------


def open_legacy(key: bytes, blob: bytes) -> bytes:
    nonce, tag, ciphertext = blob[:16], blob[16:32], blob[32:]
    for decrypt in (open_eax, open_gcm):
        try:
            return decrypt(key, nonce, ciphertext + tag, b"")
        except InvalidTag:
            continue
    raise Refused("AuthenticationFailed")
