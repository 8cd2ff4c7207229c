"""AES-256-EAX (Bellare, Rogaway, Wagner, FSE 2004) with a 16-byte nonce and a 16-byte tag, composed of CMAC and CTR.

``tag = OMAC_0(nonce) xor OMAC_1(associated data) xor OMAC_2(ciphertext)``, where ``OMAC_t(x) = CMAC(0^15 || t || x)`` and
OMAC_0(nonce) starts the counter. A data key may seal 2^48 values at a risk of 2^-32. It passes over the data twice, so it
costs about ten times as much as AES-GCM: take it where EAX is what a policy names.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.constant_time import bytes_eq

NAME = "aes-256-eax"
NONCE_PREFIX = 0
NONCE_REST = 16
MESSAGES_PER_PREFIX: int | None = None

_TAG_SIZE = 16


class Eax:
    """EAX under one key of 16, 24 or 32 bytes. Holds no state of a message, so threads may share it."""

    def __init__(self, key: bytes) -> None:
        self._aes = algorithms.AES(key)
        # The first block of each OMAC is the same for every message: start from a copy.
        self._omacs = [_start(self._aes, number) for number in range(3)]

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Returns ciphertext and tag."""
        counter = self._omac(0, nonce)
        ciphertext = Cipher(self._aes, modes.CTR(counter)).encryptor().update(data)
        return ciphertext + self._tag(counter, associated_data, ciphertext)

    def encrypt_into(self, nonce: bytes, data: bytes, associated_data: bytes | None, buf: memoryview, /) -> int:
        """Writes ciphertext and tag to a buffer of exactly their length."""
        counter = self._omac(0, nonce)
        size = len(data)
        # update_into asks for a block less one byte of space beyond the data; the place of the tag provides it.
        Cipher(self._aes, modes.CTR(counter)).encryptor().update_into(data, buf)
        buf[size:] = self._tag(counter, associated_data, buf[:size])
        return size + _TAG_SIZE

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None, /) -> bytes:
        """Returns the plaintext, after the tag was found right.

        Raises:
            InvalidTag: If anything was changed.
        """
        view = memoryview(data)
        ciphertext, tag = view[:-_TAG_SIZE], view[-_TAG_SIZE:]
        counter = self._omac(0, nonce)
        if len(tag) != _TAG_SIZE or not bytes_eq(self._tag(counter, associated_data, ciphertext), bytes(tag)):
            raise InvalidTag
        return Cipher(self._aes, modes.CTR(counter)).decryptor().update(ciphertext)

    def _tag(self, counter: bytes, associated_data: bytes | None, ciphertext: bytes | memoryview) -> bytes:
        header, body = self._omac(1, associated_data or b""), self._omac(2, ciphertext)
        parts = [int.from_bytes(part, "big") for part in (counter, header, body)]
        return (parts[0] ^ parts[1] ^ parts[2]).to_bytes(_TAG_SIZE, "big")

    def _omac(self, number: int, data: bytes | memoryview) -> bytes:
        mac = self._omacs[number].copy()
        mac.update(data)  # type: ignore[arg-type]  # any buffer will do; the annotation names bytes only
        return mac.finalize()


def _start(aes: algorithms.AES, number: int) -> CMAC:
    mac = CMAC(aes)
    mac.update(bytes(15) + bytes([number]))
    return mac


def aead(data_key: bytes, nonce_prefix: bytes, /) -> Eax:
    """Prepares AES-256-EAX. The nonce prefix is empty."""
    return Eax(data_key)
