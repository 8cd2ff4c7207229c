"""Reads what langgraph's own `EncryptedSerializer` wrote: type tags that end in ``+aes``. Never writes.

Such a blob is ``nonce 16 | tag 16 | ciphertext``, in EAX mode or in GCM with a 16-byte nonce, under a raw AES key. It names no
key, and its type tag is *not* authenticated: somebody who can write rows may relabel user-chosen ``bytes+aes`` as
``msgpack+aes``. So only inner types that cannot run code are admitted, and msgpack is always read strictly.

Agent Server from 0.18 on writes ``LGAES-ENVELOPE`` NUL NUL, a version (1) and a key id before the same three parts, always in
EAX mode, with that header as associated data. These are read too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ..core.ciphers import Aead
from ..core.ciphers.eax import Eax
from ..errors import AuthenticationFailed, ConfigurationError, MalformedEnvelope, PlaintextRefused, UnsupportedFormat
from .upstream import allowed_msgpack_modules

CIPHER = "aes"
"""The cipher name upstream writes, for both modes."""

ENVELOPE_MAGIC = b"LGAES-ENVELOPE\0\0"
"""What Agent Server from 0.18 on puts before its own AES values and blobs: a header that names the key, authenticated."""

_ENVELOPE_VERSION = 1
_ENVELOPE_KEY_ID = 16
_ENVELOPE_HEADER = len(ENVELOPE_MAGIC) + 1 + _ENVELOPE_KEY_ID
_NONCE_SIZE = 16
_TAG_SIZE = 16
_INNER_TYPES = frozenset({"null", "bytes", "bytearray", "msgpack"})


class LegacyReader:
    """Opens ``+aes`` values under any of a few raw keys.

    Args:
        keys: Raw AES keys of 16, 24 or 32 bytes, as upstream was given them; for ``LANGGRAPH_AES_KEY`` that is
            ``os.environ["LANGGRAPH_AES_KEY"].encode()``.
        allowlist_from: A serializer whose msgpack allowlist applies here too, where it has one.

    Raises:
        TypeError: If a key is not bytes.
        ConfigurationError: If a key has another length.
    """

    def __init__(self, keys: Iterable[bytes], *, allowlist_from: object = None) -> None:
        self._aeads: list[Aead] = []
        self._by_key_id: dict[bytes, Aead] = {}
        if isinstance(keys, (bytes, str)):
            raise TypeError("legacy_keys takes several keys: write [key]")
        for key in keys:
            if not isinstance(key, bytes):
                raise TypeError(f"legacy_keys are raw AES keys as bytes, not {type(key).__name__}")
            if len(key) not in (16, 24, 32):
                raise ConfigurationError(f"a legacy key is 16, 24 or 32 bytes, not {len(key)}")
            self._aeads += [Eax(key), AESGCM(key)]
            self._by_key_id[sha256(b"langgraph-aes-key-id-v1\0" + key).digest()[:_ENVELOPE_KEY_ID]] = Eax(key)
        self.strict = strict_serializer(allowlist_from)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> LegacyReader:
        """Returns this reader with more types on the allowlist."""
        clone = copy.copy(self)
        clone.strict = self.strict.with_msgpack_allowlist(extra_allowlist)
        return clone

    def __deepcopy__(self, memo: object) -> LegacyReader:
        return self  # nothing of it ever changes

    def __bool__(self) -> bool:
        return bool(self._aeads)

    def open(self, inner_type: str, blob: bytes) -> bytes:
        """Opens one value. The MAC is checked before anything else is done with it.

        Args:
            inner_type: The type tag without ``+aes``.
            blob: As stored.

        Returns:
            The plaintext, which only a strict serializer may read.

        Raises:
            MalformedEnvelope: If it is shorter than nonce and tag, or an envelope of Agent Server cut in its header.
            UnsupportedFormat: If it is an envelope of Agent Server of a version that is not known.
            AuthenticationFailed: If it opens under none of the keys, in neither mode.
            PlaintextRefused: If the inner type could run code (or is unknown): it was not authenticated.
        """
        plaintext = self._decrypt(blob)
        if inner_type not in _INNER_TYPES:
            raise PlaintextRefused(
                f"legacy value of inner type {inner_type!r} refused: its type was not authenticated, only "
                f"{', '.join(sorted(_INNER_TYPES))} are read"
            )
        return plaintext

    def _decrypt(self, blob: bytes) -> bytes:
        header, aeads = self._header(blob)
        sealed = blob[len(header) :]
        if len(sealed) < _NONCE_SIZE + _TAG_SIZE:
            raise MalformedEnvelope("a legacy value is shorter than its nonce and tag")
        nonce, tag = sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE : _NONCE_SIZE + _TAG_SIZE]
        ciphertext_and_tag = sealed[_NONCE_SIZE + _TAG_SIZE :] + tag
        for aead in aeads:
            try:
                return aead.decrypt(nonce, ciphertext_and_tag, header)
            except InvalidTag:
                continue
        raise AuthenticationFailed("a legacy value opens under none of the legacy keys")

    def _header(self, blob: bytes) -> tuple[bytes, Sequence[Aead]]:
        """Returns the header of the server's newer envelope, and what may open it; no header for all older values."""
        if not blob.startswith(ENVELOPE_MAGIC):
            return b"", self._aeads
        header = blob[:_ENVELOPE_HEADER]
        if len(header) < _ENVELOPE_HEADER:
            raise MalformedEnvelope("an AES envelope of Agent Server is cut in its header")
        if (version := header[len(ENVELOPE_MAGIC)]) != _ENVELOPE_VERSION:
            raise UnsupportedFormat(f"an AES envelope of Agent Server has version {version}; {_ENVELOPE_VERSION} is read")
        aead = self._by_key_id.get(header[-_ENVELOPE_KEY_ID:])
        return header, [] if aead is None else [aead]


def strict_serializer(like: object) -> JsonPlusSerializer:
    """Makes a serializer that constructs only LangGraph's safe types and those on the allowlist of another one."""
    allowed = allowed_msgpack_modules(like)
    names = () if allowed is True or not allowed else tuple(allowed)  # type: ignore[arg-type]
    return JsonPlusSerializer(allowed_msgpack_modules=names or None)
