"""Claims, as bytes: what a bound value says of its place, short and binary, behind its ciphertext.

There are four kinds, each with all its parts in one order, so that nothing can be left out, doubled or reordered. Parsers
accept exactly what the encoders produce. `docs/format.md` specifies the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from ..errors import ConfigurationError, MalformedEnvelope
from .encoding import utf8

Claims = Mapping[str, "str | int"]
"""Claims by name: text, or a number."""

NO_CLAIMS: Claims = MappingProxyType({})

_VERSION, _WRITE, _SPECIAL = b"\1", b"\2", b"\3"
_CALL_SIZE = 8
_UUID_SIZE = 16
_MAX_NUMBER = (1 << 32) - 1
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_CALL = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SMALL = [bytes([number]) for number in range(128)]


# --- writing


def version_claims(version: str) -> bytes:
    """Encodes the version of a channel."""
    return _VERSION + utf8(version)


def write_claims(task: bytes, idx: int, size: int, of: int) -> bytes:
    """Encodes the claims of an ordinary write.

    Args:
        task: From `task_claims`.
        idx: Its position among the writes of its call.
        size: How many ordinary writes these are.
        of: How many of them go to its channel.
    """
    return b"".join((_WRITE, task, _number(idx), _number(size), _number(of)))


def special_claims(task: bytes, idx: int) -> bytes:
    """Encodes the claims of a special write; `idx` is the negative number that LangGraph gives its channel."""
    if idx >= 0:
        raise ConfigurationError("a special write has the negative number of its channel")
    return _SPECIAL + task + _number(-idx)


def encode_claims(claims: Claims) -> bytes:
    """Encodes what `decode_claims` returned.

    Raises:
        ConfigurationError: If these are no claims, or one of them is missing.
    """
    encode = _ENCODERS.get(frozenset(claims))
    if encode is None:
        raise ConfigurationError("a value is sealed with all the claims of its place, and no others")
    return encode(**claims)


@lru_cache(maxsize=1024)
def task_claims(task_id: str, checkpoint_id: str, task_path: str, call: str) -> bytes:
    """Encodes what the writes of one call have in common.

    Args:
        task_id: Id of the task.
        checkpoint_id: The checkpoint that they belong to.
        task_path: Path of the task.
        call: Id of the call: 16 hexadecimal digits.

    Raises:
        ConfigurationError: If a text cannot be encoded, or the id of the call is none.
    """
    if not _CALL.fullmatch(call):
        raise ConfigurationError("the id of a call is 16 hexadecimal digits")
    path = utf8(task_path)
    return b"".join((_name(task_id), _name(checkpoint_id), _number(len(path)), path, bytes.fromhex(call)))


@lru_cache(maxsize=1024)
def _name(text: str) -> bytes:
    """Encodes an id: a UUID as 00 and its 16 bytes, any other text with its length plus one before it."""
    if _UUID.fullmatch(text):
        return b"\0" + bytes.fromhex(text.replace("-", ""))
    encoded = utf8(text)
    return _number(len(encoded) + 1) + encoded


def _number(number: int) -> bytes:
    """Encodes a number in groups of 7 bits, the lowest first; all but the last have the high bit set."""
    if 0 <= number < 128:
        return _SMALL[number]
    if not 0 <= number <= _MAX_NUMBER:
        raise ConfigurationError(f"a claim is a number from 0 to {_MAX_NUMBER}")
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _ordinary(batch: str, idx: int, size: int, of: int, **task: str) -> bytes:
    return write_claims(task_claims(call=batch, **task), idx, size, of)


def _special(alone: str, idx: int, **task: str) -> bytes:
    return special_claims(task_claims(call=alone, **task), idx)


_TASK = ("task_id", "checkpoint_id", "task_path")
_ENCODERS: Mapping[frozenset[str], Callable[..., bytes]] = {
    frozenset(): bytes,
    frozenset({"version"}): version_claims,
    frozenset({*_TASK, "batch", "idx", "size", "of"}): _ordinary,
    frozenset({*_TASK, "alone", "idx"}): _special,
}


# --- reading


def decode_claims(data: bytes) -> Claims:
    """Reads what the encoders wrote, and nothing else.

    Raises:
        MalformedEnvelope: If a writer would not have written it.
    """
    if not data:
        return NO_CLAIMS
    kind, reader = data[:1], _Reader(data)
    claims: dict[str, str | int]
    if kind == _VERSION:
        return {"version": _text(data[1:])}
    if kind == _WRITE:
        claims = {**reader.task("batch"), "idx": reader.number(), "size": reader.number(), "of": reader.number()}
    elif kind == _SPECIAL:
        claims = {**reader.task("alone"), "idx": -reader.number()}
        if claims["idx"] == 0:
            raise MalformedEnvelope("a special write at the position of an ordinary one")
    else:
        raise MalformedEnvelope("claims of an unknown kind")
    if reader.position != len(data):
        raise MalformedEnvelope("bytes are left over behind the claims")
    return claims


class _Reader:
    """Takes the parts of claims one after the other; MalformedEnvelope where they end too early."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 1

    def take(self, size: int) -> bytes:
        start, end = self.position, self.position + size
        if end > len(self.data):
            raise MalformedEnvelope("the claims end too early")
        self.position = end
        return self.data[start:end]

    def number(self) -> int:
        number = group = self.take(1)[0]
        if group < 128:
            return number
        number, shift = group & 127, 0
        while group > 127:
            group, shift = self.take(1)[0], shift + 7
            number |= (group & 127) << shift
            if shift > 28:
                break
        if group == 0 or group > 127 or number > _MAX_NUMBER:
            raise MalformedEnvelope("a number in the claims that no writer writes so")
        return number

    def name(self) -> str:
        size = self.number()
        if size == 0:
            return _uuid(self.take(_UUID_SIZE))
        text = _text(self.take(size - 1))
        if _UUID.fullmatch(text):
            raise MalformedEnvelope("a UUID in the claims that stands there as text")
        return text

    def task(self, call: str) -> dict[str, str | int]:
        return {
            "task_id": self.name(),
            "checkpoint_id": self.name(),
            "task_path": _text(self.take(self.number())),
            call: self.take(_CALL_SIZE).hex(),
        }


@lru_cache(maxsize=1024)
def _uuid(data: bytes) -> str:
    digits = data.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedEnvelope("text in the claims that is not UTF-8") from None
