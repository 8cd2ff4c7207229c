"""Claims, as bytes: what a bound value says of its place, short and binary, behind its ciphertext.

There are few kinds, each with all its claims in one order, so that nothing can be left out, doubled or reordered. Parsers
accept exactly what the encoders produce. `docs/format.md` specifies the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import ConfigurationError, MalformedEnvelope
from .encoding import utf8

Claims = Mapping[str, "str | int"]
"""Claims by name: text, or a number."""

NO_CLAIMS: Claims = MappingProxyType({})

_MAX_NUMBER = (1 << 32) - 1
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_CALL_SIZE = 8
_SMALL = [bytes([number]) for number in range(128)]


# --- the parts: an encoder and a parser of each


class _Reader:
    """Takes parts of claims one after the other; MalformedEnvelope where they end too early."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 1

    def take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise MalformedEnvelope("the claims end too early")
        return self.data[start : self.position]


def _number(number: int) -> bytes:
    """Encodes a number in groups of 7 bits, the lowest first; all but the last have the high bit set."""
    if 0 <= number < 128:
        return _SMALL[number]
    if not 0 <= number <= _MAX_NUMBER:
        raise ConfigurationError(f"a claim is a number from 0 to {_MAX_NUMBER}")
    return bytes([number & 127 | 128]) + _number(number >> 7)


def _take_number(reader: _Reader) -> int:
    number = shift = 0
    while True:
        group = reader.take(1)[0]
        number |= (group & 127) << shift
        if group < 128:
            break
        shift += 7
        if shift > 28:
            raise MalformedEnvelope("a number in the claims is too long")
    if (shift and not group) or number > _MAX_NUMBER:
        raise MalformedEnvelope("a number in the claims that no writer writes so")
    return number


def _below_zero(number: int) -> bytes:
    if number >= 0:
        raise ConfigurationError("a special write has the negative number of its channel")
    return _number(-number)


def _take_below_zero(reader: _Reader) -> int:
    if (number := _take_number(reader)) == 0:
        raise MalformedEnvelope("a special write at the position of an ordinary one")
    return -number


def _text(text: str) -> bytes:
    encoded = utf8(text)
    return _number(len(encoded)) + encoded


def _take_text(reader: _Reader) -> str:
    return _decoded(reader.take(_take_number(reader)))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedEnvelope("text in the claims that is not UTF-8") from None


@lru_cache(maxsize=1024)
def _name(text: str) -> bytes:
    """Encodes an id: a UUID as 00 and its 16 bytes, any other text with its length plus one before it."""
    if _UUID.fullmatch(text):
        return b"\0" + bytes.fromhex(text.replace("-", ""))
    encoded = utf8(text)
    return _number(len(encoded) + 1) + encoded


def _take_name(reader: _Reader) -> str:
    size = _take_number(reader)
    if size == 0:
        return _uuid(reader.take(16))
    text = _decoded(reader.take(size - 1))
    if _UUID.fullmatch(text):
        raise MalformedEnvelope("a UUID in the claims that is stored as text")
    return text


@lru_cache(maxsize=1024)
def _uuid(data: bytes) -> str:
    digits = data.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _call(call: str) -> bytes:
    try:
        digits = bytes.fromhex(call)
    except ValueError:
        digits = b""
    if len(digits) != _CALL_SIZE or digits.hex() != call:
        raise ConfigurationError("the id of a call is 16 hexadecimal digits")
    return digits


class _Part(NamedTuple):
    encode: Callable[[Any], bytes]
    take: Callable[[_Reader], str | int]


_NUMBER, _BELOW_ZERO = _Part(_number, _take_number), _Part(_below_zero, _take_below_zero)
_NAME, _PATH = _Part(_name, _take_name), _Part(_text, _take_text)
_DIGITS = _Part(_call, lambda reader: reader.take(_CALL_SIZE).hex())
_VERSION = _Part(utf8, lambda reader: _decoded(reader.take(len(reader.data) - 1)))


# --- the kinds

_TASK = {"task_id": _NAME, "checkpoint_id": _NAME, "task_path": _PATH}
_COMMON = {**_TASK, "batch": _DIGITS}
_KINDS: dict[bytes, dict[str, _Part]] = {
    b"\1": {"version": _VERSION},
    b"\2": {**_COMMON, "idx": _NUMBER, "size": _NUMBER, "of": _NUMBER},
    b"\3": {**_TASK, "alone": _DIGITS, "idx": _BELOW_ZERO},
}
_BY_NAMES = {frozenset(parts): (kind, parts) for kind, parts in _KINDS.items()}


def encode_claims(claims: Claims) -> bytes | None:
    """Encodes claims.

    Returns:
        The claims as they are stored; None if they are not all of one kind.

    Raises:
        ConfigurationError: If one of them cannot be encoded.
    """
    if not claims:
        return b""
    kind, parts = _BY_NAMES.get(frozenset(claims), (b"", {}))
    return kind + b"".join([part.encode(claims[name]) for name, part in parts.items()]) or None


def decode_claims(data: bytes) -> Claims:
    """Reads what `encode_claims` gave, and nothing else.

    Raises:
        MalformedEnvelope: If a writer would not have written it.
    """
    if not data:
        return NO_CLAIMS
    if data[:1] == b"\2" and (common := _in_common(data[:-3])) and max(data[-3:]) < 128:  # three numbers of a byte each
        return {**common, "idx": data[-3], "size": data[-2], "of": data[-1]}
    if (parts := _KINDS.get(data[:1])) is None:
        raise MalformedEnvelope("claims of an unknown kind")
    return _taken(data, parts)


def _taken(data: bytes, parts: Mapping[str, _Part]) -> Claims:
    reader = _Reader(data)
    claims = {name: part.take(reader) for name, part in parts.items()}
    if reader.position != len(data):
        raise MalformedEnvelope("bytes are left over behind the claims")
    return claims


@lru_cache(maxsize=256)
def _in_common(data: bytes) -> Claims | None:
    """Reads what the writes of one call have in common; None if it is anything else."""
    try:
        return _taken(data, _COMMON)
    except MalformedEnvelope:
        return None


# --- the same, faster, for the writes of one call, which have most in common


def task_claims(task_id: str, checkpoint_id: str, task_path: str, call: str) -> bytes:
    """Encodes what the writes of one call have in common; `call` is its id, 16 hexadecimal digits.

    Raises:
        ConfigurationError: If one of them cannot be encoded.
    """
    return b"".join((_name(task_id), _name(checkpoint_id), _text(task_path), _call(call)))


def write_claims(task: bytes, idx: int, size: int, of: int) -> bytes:
    """Encodes the claims of an ordinary write: its position, how many there are, how many of them go to its channel."""
    if 0 <= idx < 128 and 0 <= size < 128 and 0 <= of < 128:
        return b"\2%b%c%c%c" % (task, idx, size, of)
    return b"".join((b"\2", task, _number(idx), _number(size), _number(of)))


def special_claims(task: bytes, idx: int) -> bytes:
    """Encodes the claims of a special write; `idx` is the negative number that LangGraph gives its channel."""
    return b"\3" + task + _below_zero(idx)
