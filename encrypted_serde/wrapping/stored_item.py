"""What stands in a store's database for an item: the names that `EncryptedStore` writes, and maintenance finds.

Stored is ``{KEY: sealed text of the whole value, HANDLES: ..., **readable copies, **search tokens}``.
"""

from __future__ import annotations

KEY = "es1"
"""The field of a stored value that holds the sealed one."""

HANDLES = "es1v"
"""The field of a stored value that holds the handles of indexed texts."""

RESERVED = frozenset({KEY, HANDLES})

NAMED = "named."
"""Begins the inner type of an item that stands under pseudonyms: its names are sealed with it."""

DICTIONARY = ("es1",)
"""Where the labels of pseudonyms are kept, sealed. No pseudonym has a "1", so no namespace of a user can be it."""
