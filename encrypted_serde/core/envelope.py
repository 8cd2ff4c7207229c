"""The envelope: how one value is sealed and opened. The whole security argument of this package is in this file.

What is sealed. ``blob = header | nonce | ciphertext | tag``. The header names the key and carries the encryption context and,
for bound values, claims; it is readable, and authenticated together with everything else that gives the value its meaning:

    associated data = LP("encrypted-serde/1") | LP(type tag) | LP(location) | header

* The *type tag* (``msgpack+xaes-256-gcm``) decides which deserialiser runs, so nobody may relabel it.
* The *location* is where the value belongs: thread, namespace, channel. It is not stored. The reader says where it found the
  value, and a value that was moved does not open.
* The *claims* are further facts about the place that only some readers know. They are stored, and compared by those who do.
* The *context* (tenant) is also an input of the data key: two tenants never share one, even under one `Key`.
* The *key id* is a hash of the secret. AES-GCM by itself lets somebody craft one ciphertext that opens under two keys; a
  ciphertext that names its key by hash cannot.

How it is opened. Checks run from cheap and harmless to costly: type tag, version, flags and header, bound or not, expected
context, key, AEAD, claims, decompression. The context is compared before any key is looked for, so a request of tenant A
never unwraps a key of tenant B. Nothing is returned, decompressed or deserialised before the AEAD has accepted it.

Randomness. Every random byte comes from the kernel: those of a value in the call that seals it, those of a `Batch` in the
saver call that it serves. With XAES-256-GCM the first 12 bytes of the nonce are kept for up to 2^16 values, the other 12 are
fresh for each, and two processes that share the first part after a fork therefore still never share a nonce (but by the
chance that `ciphers` states).

`docs/format.md` specifies the bytes. Version 1 never changes.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import repeat
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag

from ..errors import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerdeError,
    MalformedEnvelope,
    UnknownKey,
    UnsupportedCipher,
    UnsupportedFormat,
    WrongContext,
    WrongLocation,
)
from .ciphers import CIPHERS, DEFAULT, TAG_SIZE, Aead, Cipher, get_cipher
from .compression import check_compression, compress, decompress
from .context import (
    NO_CONTEXT,
    EncryptionContext,
    check_accepted_contexts,
    check_required_context,
    current,
    parse_context,
)
from .encoding import b64url_decode, decode_pairs, encode_pairs, lp, lps, take_field
from .keys import PROTOCOL, Key, KeyProvider, as_key_provider
from .randomness import AT_ONCE, random_bytes

VERSION = 1
FLAG_ZSTD = 1
FLAG_BOUND = 2
SEALED_MAGIC = b"\xc1ES1"
"""First bytes of a self-describing sealed value. 0xC1 is the one byte that never starts a msgpack message."""
SEALED_TEXT_PREFIX = "es1."
MAX_PLAINTEXT = (1 << 31) - 1 - TAG_SIZE
"""Largest value, in bytes: what one call of the AEAD takes."""

_CONTEXT = 36  # version, flags, key id and the length of the context come before it
_TYPE_TAG = re.compile(r"[a-z0-9+._-]{1,32}", re.ASCII)
_LARGE = 1 << 13  # from here on assembling in place is cheaper than joining
_CACHED = 1024  # entries of each cache; contexts in headers are chosen by whoever writes rows
_BATCH_ID_SIZE = 8
_NO_CLAIMS: Mapping[str, str] = MappingProxyType({})


class Opened(NamedTuple):
    """What an authentic value holds.

    Attributes:
        inner_type: Name of the serialiser's own format, e.g. ``msgpack``.
        plaintext: The serialised value.
        claims: The authenticated facts about its place; empty for unbound values.
    """

    inner_type: str
    plaintext: bytes
    claims: Mapping[str, str]


class Header(NamedTuple):
    """The readable part of a blob. *Not authenticated* until the blob was opened.

    Attributes:
        flags: `FLAG_ZSTD`, `FLAG_BOUND`.
        key_id: Which key it was sealed under.
        context: The encryption context.
        claims: The claims; empty for unbound values.
        end: Where the nonce begins.
    """

    flags: int
    key_id: bytes
    context: EncryptionContext
    claims: Mapping[str, str]
    end: int


# --- the pieces of the format ---------------------------------------------------------------------------------------


def make_location(surface: str, *fields: str) -> bytes:
    """Encodes the place a value belongs to, for `Sealer.seal` and `Sealer.open`.

    Args:
        surface: What kind of place it is, e.g. ``value`` or ``write``.
        *fields: What identifies it, e.g. thread, namespace and channel.

    Raises:
        ConfigurationError: If a field is longer than 65535 bytes.
    """
    return lps((surface, *fields))


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


def context_end(data: bytes, start: int = 0) -> int:
    """Gives the offset behind the context: the end of an unbound header.

    Raises:
        MalformedEnvelope: If the blob is shorter than any blob.
        UnsupportedFormat: If that is because it has another version.
    """
    try:
        return start + _CONTEXT + (data[start + 34] << 8 | data[start + 35])
    except IndexError:
        _parse_header_start(data[start:])
        raise MalformedEnvelope("the value ends inside its header") from None


def parse_header(data: bytes, start: int = 0) -> Header:
    """Reads the header of a blob, *without* authenticating it.

    Args:
        data: Bytes that hold a blob.
        start: Where the blob begins.

    Raises:
        UnsupportedFormat: If the version or a flag is unknown.
        MalformedEnvelope: If it is cut, or not exactly what a writer would have written.
    """
    end = context_end(data, start)
    flags, key_id, context = _parse_header_start(data[start:end])
    claims = _NO_CLAIMS
    if flags & FLAG_BOUND:
        encoded, end = take_field(data, end)
        claims = decode_pairs(encoded)
    return Header(flags, key_id, context, claims, end)


@lru_cache(maxsize=_CACHED)
def _parse_header_start(start: bytes) -> tuple[int, bytes, EncryptionContext]:
    if not start or start[0] == 0:
        raise MalformedEnvelope("not a sealed value: it is empty or begins with version 0")
    if start[0] > VERSION:
        raise UnsupportedFormat(f"format version {start[0]}: written by a newer release of encrypted-serde")
    context, _ = take_field(start, _CONTEXT - 2)
    if start[1] & ~(FLAG_ZSTD | FLAG_BOUND):
        raise UnsupportedFormat(f"unknown flags {start[1]:#04x}: written by a newer release of encrypted-serde")
    return start[1], start[2 : _CONTEXT - 2], parse_context(context)


def parse_sealed(data: bytes) -> tuple[str, int] | None:
    """Recognises sealed bytes: ``C1 45 53 31 | LP(type tag) | blob``.

    Returns:
        The type tag and where the blob begins; None if the data is something else, which is plaintext then.
    """
    if not data.startswith(SEALED_MAGIC):
        return None
    try:
        field, start = take_field(data, len(SEALED_MAGIC))
    except MalformedEnvelope:
        return None
    type_tag = field.decode("ascii", "replace")
    return (type_tag, start) if "+" in type_tag and _TYPE_TAG.fullmatch(type_tag) else None


def parse_sealed_text(text: str) -> bytes | None:
    """Recognises sealed text: ``es1.`` and canonical base64url of sealed bytes.

    Returns:
        The sealed bytes; None if the text is something else (a user's own "es1.hello"), which is plaintext then.
    """
    if not text.startswith(SEALED_TEXT_PREFIX):
        return None
    data = b64url_decode(text[len(SEALED_TEXT_PREFIX) :])
    return data if data is not None and parse_sealed(data) else None


def _associated_data(type_tag: str, location: bytes, header: bytes) -> bytes:
    return b"".join((PROTOCOL, lp(type_tag.encode("ascii")), lp(location), header))


def _seal_into_one(head: bytes, aead: Aead, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Gives ``head | nonce | ciphertext | tag`` with at most one copy of a large value."""
    if len(plaintext) < _LARGE:
        return head + nonce + aead.encrypt(nonce, plaintext, associated_data)
    if len(plaintext) > MAX_PLAINTEXT:
        raise ConfigurationError(f"a value of {len(plaintext)} bytes is too large: the limit is {MAX_PLAINTEXT} bytes")
    # A BytesIO hands out the very bytes object it assembled, so the cipher can write where the result will be. For large
    # values this costs the AEAD and nothing else; joining would fault in the same number of pages a second time.
    head += nonce
    buffer = io.BytesIO()
    buffer.seek(len(head) + len(plaintext) + TAG_SIZE - 1)
    buffer.write(b"\0")
    with buffer.getbuffer() as view:
        view[: len(head)] = head
        aead.encrypt_into(nonce, plaintext, associated_data, view[len(head) :])
    return buffer.getvalue()


def _decrypt(aead: Aead, blob: bytes, nonce: int, ciphertext: int, associated_data: bytes) -> bytes:
    """Opens what stands in a blob from these two offsets on: the fresh part of the nonce, then ciphertext and tag."""
    data = blob[ciphertext:] if len(blob) < _LARGE else memoryview(blob)[ciphertext:]
    try:
        return aead.decrypt(blob[nonce:ciphertext], data, associated_data)
    except (InvalidTag, ValueError, OverflowError):  # a nonce cut short is a ValueError, 2 GiB and more an OverflowError
        if not TAG_SIZE <= len(data) <= MAX_PLAINTEXT + TAG_SIZE:
            raise MalformedEnvelope("the value ends inside its nonce or tag, or is larger than any that is written") from None
        raise AuthenticationFailed("the value was changed, or stands in a place it was not sealed for") from None


# --- the core -------------------------------------------------------------------------------------------------------


def _data_key(key: Key, cipher: str, context: bytes) -> bytes:
    return key.derive("data-key", cipher.encode("ascii"), context)


def _aead(key: Key, cipher: Cipher, context: EncryptionContext, prefix: bytes) -> Aead:
    return cipher.aead(_data_key(key, cipher.NAME, context.encoded), prefix)


class _Writer:
    """A key made ready to write under one context: the AEAD of the current nonce prefix, and all that repeats per value."""

    __slots__ = ("_cipher", "_data_key", "budget", "headers", "key_id", "state", "tags")

    def __init__(self, key: Key, cipher: Cipher, context: EncryptionContext) -> None:
        tail = key.id + lp(context.encoded)
        self.key_id = key.id
        self.headers = [bytes((VERSION, flags)) + tail for flags in range(4)]
        self.tags: dict[str, tuple[str, bytes]] = {}
        self._cipher = cipher
        self._data_key = _data_key(key, cipher.NAME, context.encoded)
        self.renew()

    def renew(self) -> None:
        """Draws a nonce prefix and says how many values may be sealed with it, each taking one item of `budget`."""
        prefix = random_bytes(self._cipher.NONCE_PREFIX)
        # One assignment, so that no thread sees the AEAD of one prefix with another prefix. Two threads that renew at once
        # waste a prefix, nothing else.
        self.state = (self._cipher.aead(self._data_key, prefix), prefix, self.headers[0] + prefix)
        limit = self._cipher.MESSAGES_PER_PREFIX
        # The value that found the budget spent is the first of the next one.
        self.budget: Iterator[bool] = repeat(True) if limit is None else repeat(True, limit - 1)

    def add_tag(self, inner_type: str) -> tuple[str, bytes]:
        """Prepares an inner type: its type tag, and the associated data of its unbound values."""
        type_tag = make_type_tag(inner_type, self._cipher.NAME)
        tag = (type_tag, _associated_data(type_tag, b"", self.headers[0]))
        _remember(self.tags, inner_type, tag)
        return tag


class _Reader:
    """What the unbound values of one type, key, context and nonce prefix have in common, parsed and prepared once."""

    __slots__ = ("aead", "associated_data", "ciphertext", "context", "flags", "key_id", "nonce", "proven")

    def __init__(self, header: Header, nonce: int, ciphertext: int) -> None:
        self.flags, self.key_id, self.context = header[:3]
        self.nonce, self.ciphertext = nonce, ciphertext
        self.aead: Aead | None = None
        self.associated_data = b""
        self.proven = False


class _Type:
    """A type tag, parsed, with the readers of its unbound values by their header and nonce prefix.

    `usual` is how long header and prefix of the last value were. Both state their own length, so bytes that equal a known
    header and prefix are these and nothing else, and the next value need not be parsed to find its reader.
    """

    __slots__ = ("cipher", "inner_type", "readers", "tag", "usual")

    def __init__(self, type_tag: str) -> None:
        self.tag = type_tag
        self.inner_type, self.cipher = split_type_tag(type_tag)
        self.readers: dict[bytes, _Reader] = {}
        self.usual = 0

    def reader(self, blob: bytes) -> _Reader:
        """Finds the reader of a blob by parsing it, or makes one. It has no key yet, and is not remembered."""
        nonce = context_end(blob) + self.cipher.NONCE_PREFIX
        if known := self.readers.get(blob[:nonce]):
            self.usual = nonce
            return known
        header = parse_header(blob)
        if header.flags & FLAG_BOUND:
            raise WrongLocation("a value that is bound to a place (by EncryptedSaver) stands where unbound ones belong")
        return _Reader(header, nonce, nonce + self.cipher.NONCE_REST)


class Sealer:
    """Seals and opens values. Everything of this package that encrypts goes through one of these.

    `seal` and `open` are for values that may stand anywhere, `seal_bound` and `open_bound` for values that belong to one
    place. Neither opens what the other sealed.

    Args:
        keys: A `Key` or any `KeyProvider`.
        cipher: What to write with: ``"xaes-256-gcm"``, ``"aes-256-gcm"`` or ``"aes-256-eax"``. All of them are read.
        compression: ``"zstd"`` to compress values that get smaller by it. The length of a value then tells about its
            content.
        required_context: Names without which nothing is sealed, so that a forgotten `encryption_context` is an error and
            not a value of nobody.
        accept_contexts: Contexts that are read besides the expected one, e.g. ``({},)`` for rows from before there were
            tenants. Every tenant can read them.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If the cipher or compression is unknown, zstd is not installed, or a context name or context
            cannot be one.
    """

    def __init__(
        self,
        keys: Key | KeyProvider,
        *,
        cipher: str = DEFAULT,
        compression: str | None = None,
        required_context: Iterable[str] = (),
        accept_contexts: Iterable[Mapping[str, str]] = (),
    ) -> None:
        self.keys = as_key_provider(keys)
        self._encryption_key = self.keys.encryption_key
        self._decryption_key = self.keys.decryption_key
        self._cipher = get_cipher(cipher)
        self._nonce_size = self._cipher.NONCE_REST
        self._compress = check_compression(compression)
        self._required = check_required_context(required_context)
        self._accepted = check_accepted_contexts(accept_contexts)
        self._writers: dict[bytes, _Writer] = {}
        self._types: dict[str, _Type] = {}
        self._aeads: dict[tuple[bytes, str, bytes, bytes], Aead] = {}

    def seal(self, inner_type: str, plaintext: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Seals a value that is not bound to a place.

        Args:
            inner_type: Name of the format of the plaintext, e.g. ``msgpack``.
            plaintext: Up to 2^31 - 17 bytes.
            context: The encryption context; the ambient `encryption_context` when None.

        Returns:
            The type tag and the blob.

        Raises:
            ConfigurationError: If the inner type makes no valid type tag, the value is too large, or the context lacks a
                required name.
            KeyServiceError: If the key cannot be had.
        """
        writer = self._writer(context)
        type_tag, associated_data = writer.tags.get(inner_type) or writer.add_tag(inner_type)
        aead, prefix, head = writer.state
        if self._compress and (packed := compress(plaintext)) is not None:
            header = writer.headers[FLAG_ZSTD]
            plaintext, head, associated_data = packed, header + prefix, _associated_data(type_tag, b"", header)
        nonce = random_bytes(self._nonce_size)
        return type_tag, _seal_into_one(head, aead, nonce, plaintext, associated_data)

    def open(self, type_tag: str, blob: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Opens what `seal` gave.

        Args:
            type_tag: As stored.
            blob: As stored.
            context: The expected encryption context; the ambient `encryption_context` when None, and where there is none
                either, the one stored with the value serves.

        Returns:
            The inner type and the plaintext.

        Raises:
            UnsupportedCipher: If the type tag names another cipher.
            UnsupportedFormat: If the version or a flag is unknown, or zstd is needed and not installed.
            MalformedEnvelope: If it has not the shape of a sealed value.
            WrongLocation: If it is bound to a place.
            WrongContext: If it was sealed under another context than the expected one, and that is not an accepted one.
            UnknownKey: If the provider does not have its key.
            KeyErased: If its key was destroyed.
            KeyServiceError: If its key cannot be had now.
            AuthenticationFailed: If anything was changed.
        """
        kind = self._types.get(type_tag) or self._type(type_tag)
        reader = kind.readers.get(blob[: kind.usual]) or kind.reader(blob)
        key = self._key(reader.key_id, reader.context, context)
        aead = reader.aead
        if aead is None:
            end = context_end(blob)
            aead = reader.aead = _aead(key, kind.cipher, reader.context, blob[end : reader.nonce])
            reader.associated_data = _associated_data(type_tag, b"", blob[:end])
        plaintext = _decrypt(aead, blob, reader.nonce, reader.ciphertext, reader.associated_data)
        if not reader.proven:  # only now: what was not authentic takes no place in the cache
            reader.proven = True
            _remember(kind.readers, blob[: reader.nonce], reader)
        return kind.inner_type, decompress(plaintext) if reader.flags & FLAG_ZSTD else plaintext

    def seal_bound(
        self,
        inner_type: str,
        plaintext: bytes,
        location: bytes,
        claims: Mapping[str, str],
        *,
        context: EncryptionContext | None = None,
    ) -> bytes:
        """Seals a value that belongs to one place, as sealed bytes: ``C1 45 53 31 | LP(type tag) | blob``.

        Args:
            inner_type: Name of the format of the plaintext, e.g. ``msgpack``.
            plaintext: Up to 2^31 - 17 bytes.
            location: Where the value belongs, from `make_location`: what every reader knows.
            claims: Further facts about the place, compared by the readers that know them. Readable in the header.
            context: The encryption context; the ambient `encryption_context` when None.

        Raises:
            ConfigurationError: If inner type, location or claims cannot be encoded, the value is too large, or the context
                lacks a required name.
            KeyServiceError: If the key cannot be had.
        """
        return self._seal_bound(inner_type, plaintext, location, claims, context, random_bytes(self._nonce_size))

    def batch(self, count: int, *, context: EncryptionContext | None = None) -> Batch:
        """Prepares to seal about so many bound values, drawing nonces for them at once.

        Args:
            count: How many values are expected. More may be sealed; then, and beyond what the kernel gives at once, each
                draws its own.
            context: The encryption context; the ambient `encryption_context` of this moment when None.
        """
        size = self._nonce_size
        random = random_bytes(_BATCH_ID_SIZE + size * min(count, (AT_ONCE - _BATCH_ID_SIZE) // size))
        nonces = [random[start : start + size] for start in range(_BATCH_ID_SIZE, len(random), size)]
        resolved = (current.get() or NO_CONTEXT) if context is None else context
        return Batch(self, random[:_BATCH_ID_SIZE].hex(), nonces, resolved)

    def _seal_bound(
        self,
        inner_type: str,
        plaintext: bytes,
        location: bytes,
        claims: Mapping[str, str],
        context: EncryptionContext | None,
        nonce: bytes,
    ) -> bytes:
        writer = self._writer(context)
        type_tag, _ = writer.tags.get(inner_type) or writer.add_tag(inner_type)
        aead, prefix, _ = writer.state
        flags = FLAG_BOUND
        if self._compress and (packed := compress(plaintext)) is not None:
            plaintext, flags = packed, FLAG_BOUND | FLAG_ZSTD
        header = writer.headers[flags] + lp(encode_pairs(claims))
        associated_data = _associated_data(type_tag, location, header)
        head = SEALED_MAGIC + lp(type_tag.encode("ascii")) + header + prefix
        return _seal_into_one(head, aead, nonce, plaintext, associated_data)

    def open_bound(
        self, data: bytes, location: bytes, claims: Mapping[str, str], *, context: EncryptionContext | None = None
    ) -> Opened:
        """Opens what `seal_bound` gave.

        Args:
            data: As stored.
            location: Where the value was found, from `make_location`.
            claims: What else the reader knows of the place. Each of these must stand in the value, equal.
            context: As for `open`.

        Raises:
            WrongLocation: If it is not bound to a place, or a claim differs.
            AuthenticationFailed: If anything was changed, or it was sealed for another location.
            EncryptedSerdeError: As for `open`.
        """
        if (parsed := parse_sealed(data)) is None:
            raise MalformedEnvelope("not a sealed value")
        type_tag, start = parsed
        kind = self._types.get(type_tag) or self._type(type_tag)
        header = parse_header(data, start)
        if not header.flags & FLAG_BOUND:
            raise WrongLocation("a value that is not bound to a place stands where only bound ones belong")
        nonce = header.end + kind.cipher.NONCE_PREFIX
        key = self._key(header.key_id, header.context, context)
        slot = (key.id, kind.cipher.NAME, header.context.encoded, data[header.end : nonce])
        aead = self._aeads.get(slot)
        known = aead is not None
        if aead is None:
            aead = _aead(key, kind.cipher, header.context, slot[3])
        associated_data = _associated_data(type_tag, location, data[start : header.end])
        plaintext = _decrypt(aead, data, nonce, nonce + kind.cipher.NONCE_REST, associated_data)
        if not known:
            _remember(self._aeads, slot, aead)
        for name, value in claims.items():
            if header.claims.get(name) != value:
                del plaintext  # error reporters show the variables of a frame
                raise WrongLocation(f"the value was sealed with another {name} than that of the place it was found in")
        if header.flags & FLAG_ZSTD:
            plaintext = decompress(plaintext)
        return Opened(kind.inner_type, plaintext, header.claims)

    def refused(self, error: EncryptedSerdeError) -> None:
        """Takes note of a refusal that a caller decided on. This class tells nobody, `AuditedSealer` does."""

    def admitted(self, kind: str, size: int | None) -> None:
        """Takes note of a value that a caller admits unsealed, or sealed by langgraph's own serializer. See `refused`."""

    def _writer(self, context: EncryptionContext | None) -> _Writer:
        if context is None:
            context = current.get() or NO_CONTEXT
        writer = self._writers.get(context.encoded)
        if writer is None and (missing := self._required - context.pairs.keys()):  # before a key is asked for
            raise ConfigurationError(f"nothing is sealed without {', '.join(sorted(missing))} in the encryption_context")
        key = self._encryption_key(context.pairs)
        if writer is None or writer.key_id != key.id:
            writer = _Writer(key, self._cipher, context)
            _remember(self._writers, context.encoded, writer)
        elif not next(writer.budget, False):
            writer.renew()
        return writer

    def _key(self, key_id: bytes, stored: EncryptionContext, context: EncryptionContext | None) -> Key:
        """Finds the key of a stored value, after comparing its context with the expected one."""
        expected = current.get() if context is None else context
        if expected is not None and expected.encoded != stored.encoded and stored.encoded not in self._accepted:
            raise WrongContext(f"sealed under the context {stored!r}, expected was {expected!r} (names only are shown)")
        key = self._decryption_key(key_id, stored.pairs)
        if key.id != key_id:
            raise UnknownKey(f"asked for key {key_id.hex()}, the key provider gave another", key_id)
        return key

    def _type(self, type_tag: str) -> _Type:
        kind = _Type(type_tag)
        _remember(self._types, type_tag, kind)
        return kind


class Batch:
    """Seals the bound values of one call of a saver; made by `Sealer.batch`. Its nonces are used once each, and only by it.

    Attributes:
        id: 16 random hexadecimal digits, for values that must be found together.
        context: The encryption context that all its values are sealed under.
    """

    __slots__ = ("_nonces", "_process", "_sealer", "context", "id")

    def __init__(self, sealer: Sealer, name: str, nonces: list[bytes], context: EncryptionContext) -> None:
        self.id = name
        self._process = os.getpid()
        self._sealer = sealer
        self._nonces = nonces
        self.context = context

    def seal(self, inner_type: str, plaintext: bytes, location: bytes, claims: Mapping[str, str]) -> bytes:
        """Seals one value as `Sealer.seal_bound` does. Threads may share a batch."""
        try:
            nonce = self._nonces.pop()  # atomic: no nonce is handed out twice
        except IndexError:
            nonce = b""
        if not nonce or os.getpid() != self._process:  # a fork shares nonces that were drawn before it
            nonce = random_bytes(self._sealer._nonce_size)
        return self._sealer._seal_bound(inner_type, plaintext, location, claims, self.context, nonce)


_K = TypeVar("_K")
_V = TypeVar("_V")


def _remember(cache: dict[_K, _V], slot: _K, value: _V) -> None:
    """Adds to a cache that starts anew when it is full. Needs no lock: each step is one atomic operation."""
    if len(cache) >= _CACHED:
        cache.clear()
    cache[slot] = value
