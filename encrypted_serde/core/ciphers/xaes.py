"""XAES-256-GCM (https://c2sp.org/XAES-256-GCM): AES-256-GCM with a 24-byte nonce.

The first 12 bytes of the nonce derive an AES-256-GCM key (a CMAC-based KDF, SP 800-108r1), the other 12 are its nonce.
With 24 random bytes a key may seal 2^80 values at a risk of 2^-32 (a repeated nonce being what is risked). Where the first
12 bytes are kept for m values the limit is 2^65 / m; we keep them for 2^16, which leaves 2^49 values per data key.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAME = "xaes-256-gcm"
NONCE_PREFIX = 12
NONCE_REST = 12
MESSAGES_PER_PREFIX: int | None = 1 << 16

_COUNTER_1 = b"\x00\x01X\x00"
_COUNTER_2 = b"\x00\x02X\x00"


def aead(data_key: bytes, nonce_prefix: bytes, /) -> AESGCM:
    """Derives the AES-256-GCM key of one nonce prefix: two blocks of CMAC."""
    # ECB is the bare block cipher here: CMAC of a single full block is AES(M xor K1).
    block_cipher = Cipher(algorithms.AES256(data_key), modes.ECB()).encryptor()  # noqa: S305
    subkey = _double(block_cipher.update(bytes(16)))
    messages = _COUNTER_1 + nonce_prefix + _COUNTER_2 + nonce_prefix
    masked = int.from_bytes(messages, "big") ^ int.from_bytes(subkey + subkey, "big")
    return AESGCM(block_cipher.update(masked.to_bytes(32, "big")))


def _double(block: bytes) -> bytes:
    """Doubles in GF(2^128), as CMAC's subkey K1 does (SP 800-38B, 6.1)."""
    doubled = int.from_bytes(block, "big") << 1
    if doubled >> 128:
        doubled = (doubled & ((1 << 128) - 1)) ^ 0x87
    return doubled.to_bytes(16, "big")
