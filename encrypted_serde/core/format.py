"""The bytes of the format, both ways and without a key: type tag, front, tail, sealed bytes, sealed text.

A blob begins with what looks random to a database that compresses (key id, nonce, ciphertext); what repeats from row to row
(claims, context) follows the tag and is read from the end.

A stored value is parsed once, here, into a `Sealed`; opening, audit, scans and inspection all take that. `docs/format.md`
specifies the bytes. Version 1 never changes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ..errors import ConfigurationError, MalformedEnvelope, UnsupportedCipher, UnsupportedFormat
from .ciphers import CIPHERS, TAG_SIZE, Cipher
from .claims import NO_CLAIMS, Claims, decode_claims
from .context import EncryptionContext, parse_context
from .encoding import b64url_decode, b64url_encode, lp
from .keys import PROTOCOL

VERSION = 1
FLAG_ZSTD = 1
FLAG_BOUND = 2
SEALED_MAGIC = b"\xc1ES1"
"""First bytes of a self-describing sealed value. 0xC1 is the one byte that never starts a msgpack message."""
SEALED_TEXT_PREFIX = "es1."
MAX_PLAINTEXT = (1 << 31) - 1 - TAG_SIZE
"""Largest value, in bytes: what one call of the AEAD takes."""

FRONT = 34
"""Bytes of a blob before its nonce: version, flags and key id."""

_LONGEST_TAG = 32
_BEFORE_TAG = len(SEALED_MAGIC) + 2
_TYPE_TAG = re.compile(r"[a-z0-9+._-]{1,32}", re.ASCII)


def make_type_tag(inner_type: str, cipher: str) -> str:
    """Joins inner type and cipher name.

    Raises:
        ConfigurationError: If the result is longer than 32 characters or has others than ``a-z 0-9 + . _ -``, which some
            databases cut, fold or misread.
    """
    type_tag = f"{inner_type}+{cipher}"
    if not inner_type or not _TYPE_TAG.fullmatch(type_tag):
        raise ConfigurationError(
            f"the serializer's type {inner_type!r} makes the type tag {type_tag!r}; 1 to 32 of a-z 0-9 + . _ - are allowed"
        )
    return type_tag


def split_type_tag(type_tag: str) -> tuple[str, Cipher]:
    """Cuts a type tag into inner type and cipher, at the last ``+``.

    Raises:
        UnsupportedCipher: If the cipher is not one of ours.
        MalformedEnvelope: If it is no type tag at all.
    """
    inner_type, plus, cipher = type_tag.rpartition("+")
    if not plus or not inner_type or not _TYPE_TAG.fullmatch(type_tag):
        raise MalformedEnvelope("a type tag is <inner type>+<cipher>, 1 to 32 of a-z 0-9 + . _ -")
    if cipher not in CIPHERS:
        raise UnsupportedCipher(f"cipher {cipher!r} is not one of: {', '.join(CIPHERS)}")
    return inner_type, CIPHERS[cipher]


def make_front(flags: int, key_id: bytes) -> bytes:
    """Writes how a blob begins: ``01 | flags | key id``."""
    return bytes((VERSION, flags)) + key_id


def authenticated_start(type_tag: str, front: bytes) -> bytes:
    """Returns how the associated data of a value begins: ``LP("encrypted-serde/1") | LP(type tag) | front``."""
    return PROTOCOL + lp(type_tag.encode("ascii")) + front


def _check_front(front: bytes) -> None:
    if not front or front[0] == 0:
        raise MalformedEnvelope("not a sealed value: it is empty or begins with version 0")
    if front[0] > VERSION:
        raise UnsupportedFormat(f"format version {front[0]}: written by a newer release of encrypted-serde")
    if front[1:2] and front[1] & ~(FLAG_ZSTD | FLAG_BOUND):
        raise UnsupportedFormat(f"unknown flags {front[1]:#04x}: written by a newer release of encrypted-serde")
    if len(front) < FRONT:
        raise MalformedEnvelope("the value ends inside its key id")


class Head:
    """What sealed values of one type, key, context and flags have in common; the same object for all of them.

    Attributes:
        type_tag: As stored.
        inner_type: Format of the plaintext.
        cipher: What they were sealed with.
        flags: `FLAG_ZSTD`, `FLAG_BOUND`.
        key_id: Which key they were sealed under.
        context: The encryption context.
        authenticated: How their associated data begins, see `authenticated_start`.
        least: Bytes of nonce and tag, which every value has.
        tail: Bytes of the context and of its length, with which every value ends.
    """

    __slots__ = ("authenticated", "cipher", "context", "flags", "inner_type", "key_id", "least", "tail", "type_tag")

    def __init__(self, type_tag: str, front: bytes, context: bytes) -> None:
        self.type_tag = type_tag
        self.inner_type, self.cipher = split_type_tag(type_tag)
        _check_front(front)
        self.flags = front[1]
        self.key_id = front[2:]
        self.context: EncryptionContext = parse_context(context)
        self.authenticated = authenticated_start(type_tag, front)
        self.least = nonce_size(self.cipher) + TAG_SIZE
        self.tail = len(context) + 2


class Sealed:
    """A stored value, parsed. *Nothing in it is authenticated* until it was opened.

    Attributes:
        head: What it has in common with other values.
        data: The bytes that hold it.
        start: Where its blob begins in them.
        nonce: Where its nonce begins.
        end: Where its tag ends, and claims and context begin.
        encoded_claims: The claims as stored; not parsed yet.
    """

    __slots__ = ("_missing", "data", "encoded_claims", "end", "head", "nonce", "start")

    def __init__(self, head: Head, data: bytes, start: int, missing: int = 0) -> None:
        self.head, self.data, self.start, self._missing = head, data, start, missing
        self.nonce = nonce = start + FRONT
        end = len(data) - head.tail
        self.encoded_claims = b""
        if head.flags & FLAG_BOUND:
            if (stop := end - 2) < 0:
                raise MalformedEnvelope("the value begins inside the length of its claims")
            end = stop - (data[stop] << 8 | data[stop + 1])
            self.encoded_claims = data[max(end, 0) : stop]
        if end + missing - nonce < head.least:
            raise MalformedEnvelope("the value ends inside its nonce or tag")
        self.end = end

    @classmethod
    def of_blob(cls, type_tag: str, blob: bytes, size: int = 0) -> Sealed:
        """Parses a blob beside its type tag.

        Args:
            type_tag: As stored.
            blob: The blob, or so much of its beginning and end that no more than ciphertext is missing between them.
            size: Of the whole blob, if a part is missing.

        Raises:
            UnsupportedCipher: If the type tag names a cipher that is not ours.
            UnsupportedFormat: If the version or a flag is unknown.
            MalformedEnvelope: If it is cut, or not what a writer would have written.
        """
        stop = len(blob) - 2
        first = stop - (blob[stop] << 8 | blob[stop + 1]) if stop >= FRONT else 0
        if first < FRONT:
            raise _misshapen(type_tag, blob[:FRONT])
        return cls(_head(type_tag, blob[:FRONT], blob[first:stop]), blob, 0, max(size - len(blob), 0))

    @classmethod
    def of_bytes(cls, data: bytes) -> Sealed:
        """Parses sealed bytes. Raises as `of_blob` does, and MalformedEnvelope if it is no sealed value at all."""
        if (sealed := _parse(data)) is None:
            raise MalformedEnvelope("not a sealed value")
        return sealed

    @property
    def claims(self) -> Claims:
        """What a bound value says of its place; empty for an unbound one.

        Raises:
            MalformedEnvelope: If it is not what a writer would have written.
        """
        return decode_claims(self.encoded_claims)

    @property
    def is_bound(self) -> bool:
        """Whether it belongs to one place."""
        return bool(self.head.flags & FLAG_BOUND)

    @property
    def is_compressed(self) -> bool:
        """Whether its plaintext is a zstd frame."""
        return bool(self.head.flags & FLAG_ZSTD)

    @property
    def ciphertext_size(self) -> int:
        """Bytes of its ciphertext without the tag."""
        return self.end + self._missing - self.nonce - self.head.least

    @property
    def tail_size(self) -> int:
        """Bytes of claims and context behind the tag, with their lengths."""
        return len(self.data) - self.end

    def __repr__(self) -> str:
        return f"<Sealed {self.head.type_tag}, {len(self.data)} bytes>"


class Opened(NamedTuple):
    """What an authentic value holds.

    Attributes:
        inner_type: Name of the serialiser's own format, e.g. ``msgpack``.
        plaintext: The serialised value.
        claims: The authenticated facts about its place; empty for unbound values.
    """

    inner_type: str
    plaintext: bytes
    claims: Claims = NO_CLAIMS

    def __repr__(self) -> str:  # error reporters show the variables of a frame
        return f"<Opened {self.inner_type}, {len(self.plaintext)} bytes>"


def nonce_size(cipher: Cipher) -> int:
    """Returns the bytes of a whole nonce."""
    return cipher.NONCE_PREFIX + cipher.NONCE_REST


@lru_cache(maxsize=1024)
def _head(type_tag: str, front: bytes, context: bytes) -> Head:
    # Bounded: contexts are chosen by writers of rows. What does not parse is not remembered.
    return Head(type_tag, front, context)


@lru_cache(maxsize=1024)
def _sealed_head(prefix: bytes, context: bytes) -> Head:
    """Parses sealed bytes up to the nonce. Malformed is what has no type tag, too."""
    type_tag = _tag_of(prefix) or ""
    return _head(type_tag, prefix[_BEFORE_TAG + len(type_tag) :], context)


def _tag_of(data: bytes) -> str | None:
    """Returns the type tag that sealed bytes begin with; None for somebody's own data, which may begin alike."""
    end = _end_of_tag(data)
    type_tag = data[_BEFORE_TAG:end].decode("ascii", "replace")
    return type_tag if "+" in type_tag and end <= len(data) and _TYPE_TAG.fullmatch(type_tag) else None


def _end_of_tag(data: bytes) -> int:
    """Returns where a type tag would end; 0 if there is none."""
    size = data[4] << 8 | data[5] if data.startswith(SEALED_MAGIC) and len(data) > _BEFORE_TAG else 0
    return _BEFORE_TAG + size if 0 < size <= _LONGEST_TAG else 0


def _parse(data: bytes, size: int = 0) -> Sealed | None:
    if not (start := _end_of_tag(data)):
        return None
    nonce, stop = start + FRONT, len(data) - 2
    first = stop - (data[stop] << 8 | data[stop + 1])
    try:
        if first < nonce:
            raise _misshapen(_tag_of(data) or "", data[start:nonce])
        head = _sealed_head(data[:nonce], data[first:stop])
    except MalformedEnvelope:
        if _tag_of(data) is None:
            return None
        raise
    return Sealed(head, data, start, size - len(data) if size > len(data) else 0)


def _misshapen(type_tag: str, front: bytes) -> MalformedEnvelope:
    """Returns the error for a value without a tail. What is wrong before that is raised first."""
    split_type_tag(type_tag)
    _check_front(front)
    return MalformedEnvelope("the value ends inside its front, or a length in its tail is too large")


def is_sealed(value: object) -> bool:
    """Identifies sealed bytes and sealed text, whatever their header says. Never raises."""
    data = bytes_of_text(value) if isinstance(value, str) else value
    return isinstance(data, bytes) and _tag_of(data) is not None


def find_sealed(value: object, size: int = 0) -> Sealed | None:
    """Parses sealed bytes or sealed text.

    Args:
        value: Anything. Of sealed bytes a part may be missing between beginning and end, as for `Sealed.of_blob`.
        size: Of the whole sealed bytes, if a part is missing.

    Returns:
        None if it is anything else (a user's own "es1.hello" too), which is plaintext then.

    Raises:
        UnsupportedCipher: If it is sealed with a cipher that is not ours.
        UnsupportedFormat: If a newer release sealed it.
        MalformedEnvelope: If it is cut, or not what a writer would have written.
    """
    if type(value) is bytes:
        return _parse(value, size)
    if isinstance(value, str):
        data = bytes_of_text(value)
        return None if data is None else _parse(data, size)
    return None


def sealed_text(sealed: bytes) -> str:
    """Returns sealed bytes as text: ``es1.`` and base64url without padding."""
    return SEALED_TEXT_PREFIX + b64url_encode(sealed)


def bytes_of_text(text: str) -> bytes | None:
    """Returns the bytes of sealed text; None if it is not the canonical text of bytes that begin as sealed ones do."""
    if not text.startswith(SEALED_TEXT_PREFIX):
        return None
    data = b64url_decode(text[len(SEALED_TEXT_PREFIX) :])
    return data if data is not None and data.startswith(SEALED_MAGIC) else None


def sealed_text_prefixes(key_id: bytes, inner_type: str) -> list[str]:
    """Returns how bound sealed text of one inner type under a key begins, for every cipher: what a database can compare."""
    prefixes = []
    for cipher in CIPHERS:
        for flags in (FLAG_BOUND, FLAG_BOUND | FLAG_ZSTD):
            tag = lp(make_type_tag(inner_type, cipher).encode("ascii"))
            head = SEALED_MAGIC + tag + make_front(flags, key_id)
            prefixes.append(sealed_text(head[: len(head) // 3 * 3]))
    return prefixes
