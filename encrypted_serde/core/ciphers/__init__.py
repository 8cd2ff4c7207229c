"""The ciphers: bytes in, bytes out. What is encrypted, under which key and with what associated data is decided elsewhere.

A `Cipher` turns a 32-byte data key and a *nonce prefix* into an `Aead` that finishes the work with the rest of the nonce.
The prefix exists for XAES-256-GCM, which derives an AES-GCM key from the first 12 bytes of its nonce: keeping them for many
values spares that derivation. The other ciphers have an empty prefix.
"""

from __future__ import annotations

from typing import Protocol

from ...errors import ConfigurationError
from . import eax, gcm, xaes

TAG_SIZE = 16
"""Bytes of authentication tag at the end of every ciphertext, the same for all ciphers here."""


class Aead(Protocol):
    """Authenticated encryption with associated data, for one key. Safe to share between threads.

    The interface is that of ``cryptography``'s `AESGCM`, which is used as it is where a cipher ends in AES-GCM.
    """

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Returns ciphertext and tag."""
        ...

    def encrypt_into(self, nonce: bytes, data: bytes, associated_data: bytes, buf: memoryview, /) -> int:
        """Writes ciphertext and tag to a buffer of exactly their length."""
        ...

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes, /) -> bytes:
        """Returns the plaintext of ciphertext and tag.

        Raises:
            cryptography.exceptions.InvalidTag: If anything was changed. Nothing is returned then.
        """
        ...


class Cipher(Protocol):
    """One way to encrypt.

    Attributes:
        NAME: Its one spelling, in options and on the wire.
        NONCE_PREFIX: Bytes of the nonce that `aead` takes.
        NONCE_REST: Bytes of the nonce that are drawn afresh for every value.
        MESSAGES_PER_PREFIX: Values that may share a nonce prefix, or None where it is empty.
    """

    NAME: str
    NONCE_PREFIX: int
    NONCE_REST: int
    MESSAGES_PER_PREFIX: int | None

    def aead(self, data_key: bytes, nonce_prefix: bytes, /) -> Aead:
        """Prepares encryption under a data key and the first bytes of the nonce."""
        ...


DEFAULT = xaes.NAME

CIPHERS: dict[str, Cipher] = {module.NAME: module for module in (xaes, gcm, eax)}
"""The registry: every cipher that can be written or read, by name."""


def get_cipher(name: str) -> Cipher:
    """Finds a cipher for an option.

    Raises:
        TypeError: If the name is not str.
        ConfigurationError: If there is no such cipher. The message lists those there are.
    """
    if not isinstance(name, str):
        raise TypeError(f"cipher must be a str, not {type(name).__name__}")
    if name not in CIPHERS:
        raise ConfigurationError(f"unknown cipher {name!r}; choose one of: {', '.join(CIPHERS)}")
    return CIPHERS[name]
