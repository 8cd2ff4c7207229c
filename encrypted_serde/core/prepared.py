"""What repeats per key, context and nonce prefix, made once: the caches of a `Sealer`. Nothing here decides anything.

All caches are bounded and start anew when they are full, because contexts in headers are chosen by whoever writes rows. They
need no lock: each step is one atomic operation, and what is lost is made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple, TypeVar

from .ciphers import Aead, Cipher
from .context import EncryptionContext
from .encoding import lp
from .format import SEALED_MAGIC, Head, header_start, make_type_tag, tag_data
from .keys import Key
from .randomness import random_bytes

CACHED = 1024
"""Entries of each cache."""

_K = TypeVar("_K")
_V = TypeVar("_V")


def remember(cache: dict[_K, _V], slot: _K, value: _V) -> None:
    """Adds to a cache that starts anew when it is full."""
    if len(cache) >= CACHED:
        cache.clear()
    cache[slot] = value


def associated_data(tag: bytes, location: bytes, header: bytes) -> bytes:
    """Joins what is authenticated beside a value; `tag` is what `tag_data` gave."""
    return b"".join((tag, lp(location), header))


def make_aead(key: Key, cipher: Cipher, context: EncryptionContext, prefix: bytes) -> Aead:
    """Derives a data key and prepares a cipher under it for one nonce prefix."""
    return cipher.aead(data_key(key, cipher, context), prefix)


def data_key(key: Key, cipher: Cipher, context: EncryptionContext) -> bytes:
    """Derives the data key of a cipher and a context."""
    return key.derive("data-key", cipher.NAME.encode("ascii"), context.encoded)


class Tag(NamedTuple):
    """A type tag, ready to be written.

    Attributes:
        text: The type tag.
        data: See `tag_data`.
        magic: How sealed bytes with this tag begin.
        unbound: The associated data of unbound values.
    """

    text: str
    data: bytes
    magic: bytes
    unbound: bytes


class Writer:
    """A key made ready to write under one context: the AEAD of the current nonce prefix, and all that repeats per value.

    Attributes:
        key_id: Of the key.
        headers: How a header begins, by flags.
        tags: By inner type.
        state: The AEAD, its nonce prefix, and header and prefix of unbound values.
        budget: One item for each value that may still be sealed under this prefix.
    """

    __slots__ = ("_cipher", "_data_key", "budget", "headers", "key_id", "state", "tags")

    def __init__(self, key: Key, cipher: Cipher, context: EncryptionContext) -> None:
        self.key_id = key.id
        self.headers = [header_start(flags, key.id, context.encoded) for flags in range(4)]
        self.tags: dict[str, Tag] = {}
        self._cipher = cipher
        self._data_key = data_key(key, cipher, context)
        self.renew()

    def renew(self) -> None:
        """Draws a nonce prefix and says how many values may be sealed with it."""
        prefix = random_bytes(self._cipher.NONCE_PREFIX)
        # One assignment, so that no thread sees the AEAD of one prefix with another prefix. Two threads that renew at once
        # waste a prefix, nothing else.
        self.state = (self._cipher.aead(self._data_key, prefix), prefix, self.headers[0] + prefix)
        limit = self._cipher.MESSAGES_PER_PREFIX
        # The value that found the budget spent is the first of the next one.
        self.budget: Iterator[bool] = repeat(True) if limit is None else repeat(True, limit - 1)

    def add_tag(self, inner_type: str) -> Tag:
        """Prepares an inner type.

        Raises:
            ConfigurationError: If it makes no valid type tag.
        """
        text = make_type_tag(inner_type, self._cipher.NAME)
        data = tag_data(text)
        tag = Tag(text, data, SEALED_MAGIC + lp(text.encode("ascii")), associated_data(data, b"", self.headers[0]))
        remember(self.tags, inner_type, tag)
        return tag


class Reader:
    """What the unbound values of one head and nonce prefix have in common, parsed and prepared once.

    Attributes:
        head: Theirs.
        nonce: Where the fresh part of the nonce begins.
        ciphertext: Where the ciphertext begins.
        aead: Opens them, once there is a key.
        associated_data: Theirs.
        is_proven: Whether one of them was authentic.
    """

    __slots__ = ("aead", "associated_data", "ciphertext", "head", "is_proven", "nonce")

    def __init__(self, head: Head, nonce: int, ciphertext: int) -> None:
        self.head, self.nonce, self.ciphertext = head, nonce, ciphertext
        self.aead: Aead | None = None
        self.associated_data = b""
        self.is_proven = False


class Readers:
    """The readers of one type tag, by header and nonce prefix.

    `usual` is how long header and prefix of the last value were. Both state their own length, so bytes that equal a known
    header and prefix are these and nothing else, and the next value need not be parsed to find its reader.
    """

    __slots__ = ("known", "usual")

    def __init__(self) -> None:
        self.known: dict[bytes, Reader] = {}
        self.usual = 0
