"""AES-256-GCM (NIST SP 800-38D) with a random 12-byte nonce.

With random nonces a data key may seal 2^32 values before the risk of a repeated nonce reaches 2^-32 (SP 800-38D, 8.3): fifty
days at a thousand values a second. A repeated nonce reveals plaintext and allows forgery. XAES-256-GCM costs the same and
has no such limit; take this one only where an auditor asks for it by name.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAME = "aes-256-gcm"
NONCE_PREFIX = 0
NONCE_REST = 12
MESSAGES_PER_PREFIX: int | None = None


def aead(data_key: bytes, nonce_prefix: bytes, /) -> AESGCM:
    """Prepares AES-256-GCM. The nonce prefix is empty."""
    return AESGCM(data_key)
