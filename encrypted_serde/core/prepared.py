"""What repeats per key, context and nonce prefix, made once: the caches of a `Sealer`. Nothing here decides anything.

All caches are bounded, because contexts in stored values are chosen by writers of rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

from ..errors import ConfigurationError, WrongLocation
from .bounded import Bounded
from .ciphers import TAG_SIZE, Aead, Cipher
from .context import EncryptionContext
from .encoding import lp, pl
from .format import FRONT, MAX_PLAINTEXT, SEALED_MAGIC, Head, Sealed, authenticated_start, make_front, make_type_tag
from .keys import Key
from .randomness import random_bytes


def associated_data(start: bytes, location: bytes, tail: bytes) -> bytes:
    """Joins what is authenticated beside a value.

    Args:
        start: From `format.authenticated_start`.
        location: Where the value belongs; empty for unbound ones.
        tail: What follows its tag.
    """
    return b"".join((start, lp(location), tail))


def make_aead(key: Key, cipher: Cipher, context: EncryptionContext, prefix: bytes) -> Aead:
    """Derives a data key and prepares a cipher under it for one nonce prefix."""
    return cipher.aead(data_key(key, cipher, context), prefix)


def data_key(key: Key, cipher: Cipher, context: EncryptionContext) -> bytes:
    """Derives the data key of a cipher and a context."""
    return key.derive("data-key", cipher.NAME.encode("ascii"), context.encoded)


class Tag(NamedTuple):
    """A type tag, ready to be written under one key and context.

    Attributes:
        text: The type tag.
        starts: How the associated data begins, by flags.
        bound: How sealed bytes begin, up to the nonce, by flags.
        unbound: The associated data of unbound values, by the first flag.
    """

    text: str
    starts: list[bytes]
    bound: list[bytes]
    unbound: list[bytes]


class Writer:
    """A key made ready to write under one context: the AEAD of the current nonce prefix, and all that repeats per value.

    Attributes:
        key_id: Of the key.
        fronts: How a blob begins, by flags.
        tail: How a blob ends: with the context.
        tags: By inner type.
        state: The AEAD, its nonce prefix, and front and prefix of unbound values.
        budget: One item for each value that may still be sealed under this prefix.
    """

    __slots__ = ("_cipher", "_data_key", "budget", "fronts", "key_id", "state", "tags", "tail")

    def __init__(self, key: Key, cipher: Cipher, context: EncryptionContext) -> None:
        self.key_id = key.id
        self.fronts = [make_front(flags, key.id) for flags in range(4)]
        self.tail = pl(context.encoded)
        self.tags: Bounded[str, Tag] = Bounded()
        self._cipher = cipher
        self._data_key = data_key(key, cipher, context)
        self.renew()

    def renew(self) -> None:
        """Draws a nonce prefix and says how many values may be sealed with it."""
        prefix = random_bytes(self._cipher.NONCE_PREFIX)
        # One assignment, so that no thread sees the AEAD of one prefix with another prefix. Two threads that renew at once
        # waste a prefix, nothing else.
        self.state = (self._cipher.aead(self._data_key, prefix), prefix, self.fronts[0] + prefix)
        limit = self._cipher.MESSAGES_PER_PREFIX
        # The value that exhausts a budget counts towards the next.
        self.budget: Iterator[bool] = repeat(True) if limit is None else repeat(True, limit - 1)

    def add_tag(self, inner_type: str) -> Tag:
        """Prepares an inner type.

        Raises:
            ConfigurationError: If it makes no valid type tag.
        """
        text = make_type_tag(inner_type, self._cipher.NAME)
        magic = SEALED_MAGIC + lp(text.encode("ascii"))
        starts = [authenticated_start(text, front) for front in self.fronts]
        unbound = [associated_data(start, b"", self.tail) for start in starts[:2]]
        tag = Tag(text, starts, [magic + front for front in self.fronts], unbound)
        self.tags[inner_type] = tag
        return tag


class Reader:
    """What the unbound values of one head and nonce prefix have in common, parsed and prepared once.

    Attributes:
        head: Theirs.
        tail: What follows their tag.
        body: Where ciphertext and tag are.
        aead: Opens them, once one of them was authentic.
        associated_data: Theirs.
    """

    __slots__ = ("aead", "associated_data", "body", "head", "tail")

    def __init__(self, head: Head, ciphertext: int, tail: bytes) -> None:
        self.head, self.tail, self.body = head, tail, slice(ciphertext, -len(tail))
        self.aead: Aead | None = None
        self.associated_data = associated_data(head.authenticated, b"", tail)


class Readers:
    """The readers of one type tag.

    A tail states its own length at its end, and front and nonce have fixed ones, so bytes that begin and end as known ones do
    have their front, nonce prefix and tail, and nothing else. They need not be parsed to find their reader.

    Attributes:
        known: Readers by front and nonce prefix: the last one, where contexts share them (a cipher without a prefix).
        start: Where front and nonce prefix are.
        nonce: Where the fresh part of the nonce is.
    """

    __slots__ = ("_whole", "known", "nonce", "start")

    def __init__(self, cipher: Cipher) -> None:
        self.known: Bounded[bytes, Reader] = Bounded()
        self._whole: Bounded[bytes, Reader] = Bounded()
        self.start = slice(FRONT + cipher.NONCE_PREFIX)
        self.nonce = slice(self.start.stop, self.start.stop + cipher.NONCE_REST)

    def note(self, blob: bytes, reader: Reader) -> None:
        """Remembers a reader of which a value was authentic."""
        start = blob[self.start]
        self.known[start] = self._whole[start + reader.tail] = reader

    def find(self, type_tag: str, blob: bytes) -> Reader:
        """Finds the reader of a value by parsing it, or makes one. That one has no key yet, and is not remembered.

        Raises:
            WrongLocation: If it is bound to a place.
            EncryptedSerdeError: As `Sealed.of_blob` raises it.
        """
        sealed = Sealed.of_blob(type_tag, blob)
        if sealed.is_bound:
            _ = sealed.claims  # malformed ones are said to be so first
            raise WrongLocation("a value that is bound to a place (by EncryptedSaver) is stored where unbound ones belong")
        start, tail = blob[self.start], blob[sealed.end :]
        if (reader := self._whole.get(start + tail)) is None:
            return Reader(sealed.head, self.nonce.stop, tail)
        self.known[start] = reader
        return reader


def seal_large(start: bytes, aead: Aead, nonce: bytes, plaintext: bytes, data: bytes, tail: bytes) -> bytes:
    """Returns ``start | nonce | ciphertext | tag | tail`` with one copy of the value.

    Args:
        start: All that comes before the nonce.
        aead: The cipher.
        nonce: The fresh part of the nonce.
        plaintext: The value.
        data: The associated data.
        tail: All that comes behind the tag.

    Raises:
        ConfigurationError: If the value is too large.
    """
    size = len(plaintext)
    if size > MAX_PLAINTEXT:
        raise ConfigurationError(f"a value of {size} bytes is too large: the limit is {MAX_PLAINTEXT} bytes")
    # A BytesIO hands out the very bytes object it assembled, so the cipher can write where the result will be. For large
    # values this costs the AEAD and nothing else; joining would fault in the same number of pages a second time.
    buffer = io.BytesIO()
    buffer.seek(len(start) + len(nonce) + size + TAG_SIZE)
    buffer.write(tail)
    with buffer.getbuffer() as view:
        first = len(start) + len(nonce)
        view[:first] = start + nonce
        aead.encrypt_into(nonce, plaintext, data, view[first : first + size + TAG_SIZE])
    return buffer.getvalue()
