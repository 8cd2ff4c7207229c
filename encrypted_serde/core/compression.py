"""Optional compression of the plaintext: an 8-byte length followed by exactly one zstd frame.

The length is written so that a reader can refuse a decompression bomb before decoding anything. Compressing secrets next to
text that an attacker chooses reveals, by the length, whether they resemble each other; it is therefore off by default.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import ConfigurationError, MalformedEnvelope, UnsupportedFormat

MAX_SIZE = 1 << 30
"""Largest value that is compressed or decompressed: 1 GiB. A larger one is sealed uncompressed."""

LEVEL = 3
"""zstd's own default: smaller output costs several times the time."""

_LENGTH_SIZE = 8


def _import_zstd() -> Any:
    # Python 3.14 has zstd in its standard library, for the others backports.zstd is the same module.
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_zstd = _import_zstd()

INSTALL = "install it with: pip install 'encrypted-serde[zstd]'"


def check_compression(compression: str | None) -> bool:
    """Checks the option ``compression``.

    Returns:
        Whether to compress.

    Raises:
        ConfigurationError: If it is neither ``"zstd"`` nor None, or zstd is not installed.
    """
    if compression is None:
        return False
    if compression != "zstd":
        raise ConfigurationError(f"unknown compression {compression!r}; choose 'zstd' or None")
    if _zstd is None:
        raise ConfigurationError(f"compression='zstd' needs zstd; {INSTALL}")
    return True


def compress(plaintext: bytes) -> bytes | None:
    """Compresses a value.

    Returns:
        The length and the frame, or None where that would not be smaller.
    """
    if len(plaintext) > MAX_SIZE:
        return None
    packed: bytes = len(plaintext).to_bytes(_LENGTH_SIZE, "big") + _zstd.compress(plaintext, LEVEL)
    return packed if len(packed) < len(plaintext) else None


def decompress(packed: bytes) -> bytes:
    """Returns back what `compress` took.

    Raises:
        UnsupportedFormat: If zstd is not installed.
        MalformedEnvelope: If the length is over the limit or not the frame's, or there is not exactly one whole frame.
    """
    if _zstd is None:
        raise UnsupportedFormat(f"this value is compressed with zstd, which is not there; {INSTALL}")
    size = int.from_bytes(packed[:_LENGTH_SIZE], "big")
    if len(packed) < _LENGTH_SIZE or size > MAX_SIZE:
        raise MalformedEnvelope(f"a compressed value states a length over the limit of {MAX_SIZE} bytes, or none")
    decoder = _zstd.ZstdDecompressor()
    try:
        # One byte more than stated, so that a frame that goes on is noticed and never decoded further.
        plaintext: bytes = decoder.decompress(memoryview(packed)[_LENGTH_SIZE:], max_length=size + 1)
    except _zstd.ZstdError:
        raise MalformedEnvelope("a compressed value does not decompress") from None
    if len(plaintext) != size or not decoder.eof or decoder.unused_data:
        raise MalformedEnvelope("a compressed value is not one zstd frame of the stated length")
    return plaintext
