"""The byte encodings that everything else is built from, and strict base64url.

``LP(x)`` is a field with its length before it, ``PL(x)`` one with its length behind it, which is read from the end, and
``pairs(m)`` a canonical map of text to text. All are injective: two different inputs never share an encoding. That is what
allows them to be fed to HKDF and to be in associated data. Parsers accept exactly what the encoders produce and nothing
else.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping

from ..errors import ConfigurationError, MalformedEnvelope

MAX_FIELD = 0xFFFF
"""Longest field, in bytes: its length must fit two bytes."""


_LENGTHS = [size.to_bytes(2, "big") for size in range(256)]


def lp(field: bytes) -> bytes:
    """Encodes one field as a 2-byte big-endian length followed by the field.

    Args:
        field: At most 65535 bytes.

    Raises:
        ConfigurationError: If the field is longer.
    """
    size = len(field)
    return (_LENGTHS[size] if size < 256 else _length(size)) + field


def pl(field: bytes) -> bytes:
    """Encodes one field as the field followed by its 2-byte big-endian length, to be read from the end.

    Raises:
        ConfigurationError: If the field is longer than 65535 bytes.
    """
    size = len(field)
    return field + (_LENGTHS[size] if size < 256 else _length(size))


def _length(size: int) -> bytes:
    if size > MAX_FIELD:
        raise ConfigurationError(f"a field of {size} bytes is too long: the limit is {MAX_FIELD} bytes")
    return size.to_bytes(2, "big")


def lps(fields: Iterable[str]) -> bytes:
    """Encodes several text fields, one ``LP`` after the other.

    Raises:
        ConfigurationError: If a field is too long or is no valid Unicode (a lone surrogate).
    """
    return b"".join([lp(utf8(field)) for field in fields])


def utf8(text: str) -> bytes:
    """Encodes text as UTF-8, exactly as given: no normalisation.

    Raises:
        ConfigurationError: If the text holds a lone surrogate.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigurationError("text with a lone surrogate cannot be encoded as UTF-8") from None


def encode_pairs(pairs: Mapping[str, str]) -> bytes:
    """Encodes a map of names to values: ``LP(name) LP(value)`` per pair, ascending by the bytes of the name.

    An empty map is zero bytes.

    Raises:
        ConfigurationError: If a name or value is too long, holds U+0000 or a lone surrogate.
    """
    parts: list[bytes] = []
    for name in sorted(pairs):  # by code points, which is the order of their UTF-8 bytes
        value = pairs[name]
        if "\0" in name or "\0" in value:
            raise ConfigurationError("U+0000 is not allowed in a name or value")
        parts += (lp(utf8(name)), lp(utf8(value)))
    return b"".join(parts)


def take_field(data: bytes, start: int) -> tuple[bytes, int]:
    """Reads one ``LP`` field.

    Args:
        data: Where to read.
        start: Offset of the length.

    Returns:
        The field, and the offset just after it.

    Raises:
        MalformedEnvelope: If the data ends inside the field.
    """
    try:
        end = start + 2 + (data[start] << 8 | data[start + 1])
    except IndexError:
        end = len(data) + 1
    if end > len(data):
        raise MalformedEnvelope("the data ends inside a length-prefixed field")
    return data[start + 2 : end], end


def decode_pairs(data: bytes) -> dict[str, str]:
    """Reads what `encode_pairs` wrote, and nothing else.

    Raises:
        MalformedEnvelope: On disorder, duplicates, bad UTF-8, U+0000 or trailing bytes.
    """
    pairs: dict[str, str] = {}
    position, previous = 0, None
    while position < len(data):
        name, position = take_field(data, position)
        value, position = take_field(data, position)
        if previous is not None and name <= previous:
            raise MalformedEnvelope("names are not strictly ascending")
        previous = name
        if b"\0" in name or b"\0" in value:
            raise MalformedEnvelope("U+0000 in a name or value")
        try:
            pairs[name.decode("utf-8")] = value.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedEnvelope("a name or value is not UTF-8") from None
    return pairs


_FROM_URLSAFE = bytes.maketrans(b"-_+/=", b"+/***")  # "*" is no base64, so the characters it replaces are refused
_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")


def b64url_encode(data: bytes) -> str:
    """Encodes bytes as base64url (RFC 4648, section 5) without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URLSAFE, b"=").decode("ascii")


def b64url_decode(text: str) -> bytes | None:
    """Decodes canonical base64url without padding.

    Python's own decoder skips foreign characters and ignores the unused bits of the last one, so two texts could stand for
    the same bytes. Here exactly one does: what skips characters is too short, and the unused bits must be zero.

    Returns:
        The bytes, or None if the text is not the canonical encoding of anything.
    """
    length = len(text)
    try:
        data = binascii.a2b_base64(text.encode("ascii").translate(_FROM_URLSAFE) + b"=" * (-length % 4))
    except (UnicodeEncodeError, binascii.Error):
        return None
    if len(data) != length * 3 // 4 or length % 4 == 1:
        return None
    end = len(data) % 3  # so many bytes have their bits in the last, incomplete group
    return data if not end or text[-1] in _LAST[end] else None


_LAST = ("", "AQgw", "AEIMQUYcgkosw048")
"""The last characters whose unused bits are zero, by the number of bytes in the last group."""
