"""Metadata that can be found by equality without being readable.

A searchable key is stored in the database as a token: HMAC-SHA256 of its value under a key derived for this metadata key and
encryption context, first 16 bytes. A reader of the database sees which rows share a value, and how many; one who may also
choose values can test guesses. The value itself is sealed with the private metadata.
"""

from __future__ import annotations

import json
from typing import TypeGuard

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ..core.context import EncryptionContext
from ..core.encoding import b64url_encode
from ..core.keys import Key

PREFIX = "es1s."
TOKEN_SIZE = 16
Searchable = str | int | float | bool

EXACT = 1 << 53
"""From here on, several ints are one float."""


def is_searchable(value: object) -> TypeGuard[Searchable]:
    """Says whether a value gets a token: str, int, bool and whole floats do. Other floats have no one spelling."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) <= EXACT
    return isinstance(value, (str, int))


def search_token(key: Key, name: str, context: EncryptionContext, value: Searchable) -> str:
    """Returns the search token of a value.

    Args:
        key: The key that the row is written under, or was.
        name: The metadata key.
        context: The encryption context: tenants share no tokens.
        value: The value.
    """
    mac = HMAC(key.derive("search", name.encode("utf-8"), context.encoded), SHA256())
    value = int(value) if isinstance(value, float) else value  # 1.0 is found as 1, as it is in plaintext
    mac.update(json.dumps(value).encode("ascii"))
    return PREFIX + b64url_encode(mac.finalize()[:TOKEN_SIZE])


def field_token(key: Key, name: str, context: EncryptionContext, value: object, *, ends_at_nul: bool) -> str | None:
    """Returns the search token of a field of an item; None if its value has none.

    Args:
        key: As for `search_token`, as are the next two.
        name: The name of the field.
        context: The encryption context.
        value: The value, as it comes back from the store.
        ends_at_nul: Whether the store compares text up to U+0000, as SQLite does.
    """
    if not is_searchable(value):
        return None
    return search_token(key, name, context, until_nul(value) if ends_at_nul and isinstance(value, str) else value)


def until_nul(text: str) -> str:
    """Returns the text that SQLite compares: it ends at U+0000."""
    return text.partition("\0")[0]
