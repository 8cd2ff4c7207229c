"""Wraps data keys under one `Key` held in memory: for tests, for one machine, for teams without a key service.

Format of a wrapped key, 93 bytes: ``0x01 | id of the wrapping key, 32 | nonce, 12 | ciphertext, 32 | tag, 16``. It is
AES-256-GCM under ``HKDF(key, "wrap", pairs(context))``, with the first 33 bytes as associated data. Nonces are random: a
context wraps a handful of keys, far from the 2^32 at which a repeated nonce becomes likelier than 2^-32.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..core.encoding import encode_pairs
from ..core.keys import KEY_SIZE, Key
from ..errors import ConfigurationError
from . import refused

_VERSION = b"\x01"
_NONCE = 12
_HEADER = len(_VERSION) + KEY_SIZE
_LENGTH = _HEADER + _NONCE + KEY_SIZE + 16


class LocalKeyWrapper:
    """Wraps under a `Key` of one's own. Somebody who has that key and the key store can read every tenant.

    Args:
        key: The key-encryption key. Use it for nothing else.

    Raises:
        TypeError: If it is not a `Key`.

    Attributes:
        name: ``local:`` and the id of the key.
    """

    def __init__(self, key: Key) -> None:
        if not isinstance(key, Key):
            raise TypeError(f"a LocalKeyWrapper takes a Key, not {type(key).__name__}")
        self.name = f"local:{key.id.hex()}"
        self._key = key
        self._header = _VERSION + key.id

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key for one context.

        Raises:
            ConfigurationError: If it is not 32 bytes.
        """
        if len(secret) != KEY_SIZE:
            raise ConfigurationError(f"a data key is {KEY_SIZE} bytes, not {len(secret)}")
        nonce = os.urandom(_NONCE)
        return self._header + nonce + self._aead(context).encrypt(nonce, secret, self._header)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts what `wrap` gave, for the same context.

        Raises:
            AuthenticationFailed: If it was changed, or was wrapped for another context or under another key.
        """
        if len(wrapped) != _LENGTH or not wrapped.startswith(self._header):
            raise refused(self.name)
        nonce, ciphertext = wrapped[_HEADER : _HEADER + _NONCE], wrapped[_HEADER + _NONCE :]
        try:
            return self._aead(context).decrypt(nonce, ciphertext, self._header)
        except InvalidTag:
            raise refused(self.name) from None

    def _aead(self, context: Mapping[str, str]) -> AESGCM:
        return AESGCM(self._key.derive("wrap", encode_pairs(context)))
