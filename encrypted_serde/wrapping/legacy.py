"""Reads what langgraph's own `EncryptedSerializer` wrote: type tags that end in ``+aes``. Never writes.

Such a blob is ``nonce 16 | tag 16 | ciphertext``, in EAX mode or in GCM with a 16-byte nonce, under a raw AES key. It names no
key, and its type tag is *not* authenticated: whoever can write rows may relabel user-chosen ``bytes+aes`` as
``msgpack+aes``. So only inner types that cannot run code are admitted, and msgpack is always read strictly.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ..core.ciphers import Aead
from ..core.ciphers.eax import Eax
from ..errors import AuthenticationFailed, ConfigurationError, MalformedEnvelope, PlaintextRefused
from .upstream import allowed_msgpack_modules

CIPHER = "aes"
"""The cipher name upstream writes, for both modes."""

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
        for key in keys:
            if not isinstance(key, bytes):
                raise TypeError(f"legacy_keys are raw AES keys as bytes, not {type(key).__name__}")
            if len(key) not in (16, 24, 32):
                raise ConfigurationError(f"a legacy key is 16, 24 or 32 bytes, not {len(key)}")
            self._aeads += [Eax(key), AESGCM(key)]
        self.strict = strict_serializer(allowlist_from)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> LegacyReader:
        """Gives this reader with more types on the allowlist."""
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
            MalformedEnvelope: If it is shorter than nonce and tag.
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
        if len(blob) < _NONCE_SIZE + _TAG_SIZE:
            raise MalformedEnvelope("a legacy value is shorter than its nonce and tag")
        nonce, tag = blob[:_NONCE_SIZE], blob[_NONCE_SIZE : _NONCE_SIZE + _TAG_SIZE]
        ciphertext_and_tag = blob[_NONCE_SIZE + _TAG_SIZE :] + tag
        for aead in self._aeads:
            try:
                return aead.decrypt(nonce, ciphertext_and_tag, b"")
            except InvalidTag:
                continue
        raise AuthenticationFailed("a legacy value opens under none of the legacy keys")


def strict_serializer(like: object) -> JsonPlusSerializer:
    """Makes a serializer that constructs only LangGraph's safe types and those on the allowlist of another one."""
    allowed = allowed_msgpack_modules(like)
    names = () if allowed is True or not allowed else tuple(allowed)  # type: ignore[arg-type]
    return JsonPlusSerializer(allowed_msgpack_modules=names or None)
