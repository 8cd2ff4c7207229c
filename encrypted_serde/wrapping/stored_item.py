"""What is stored in a store's database for an item: the names that `EncryptedStore` writes, and maintenance finds.

Stored is ``{MARK: ..., KEY: sealed text of the whole value, HANDLES: ..., **readable copies, **search tokens}``. A copy or
token of a field inside of another one (``a.b``, on stores where a dot leads into an object) has a name that `path_name` makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.encoding import b64url_encode, lps, take_field
from ..core.keys import Key

KEY = "es1"
"""The field of a stored value that holds the sealed one."""

HANDLES = "es1v"
"""The field of a stored value that holds the handles of indexed texts."""

MARK = "es1c"
"""The field of a stored value that tells which items have one encryption context, and not which one."""

RESERVED = frozenset({KEY, HANDLES, MARK})

NAMED = "named."
"""Begins the inner type of an item that is stored under pseudonyms: its names are sealed with it."""

DICTIONARY = ("es1",)
"""Where the labels of pseudonyms are kept, sealed. No pseudonym has a "1", so no namespace of a user can be it. What begins
with it is reserved: the records of keys are kept below it."""

NO_MARK = "-"
"""The mark of what is the store's own, so that no search for a mark finds it."""

ABSENT = object()
"""A field that a value does not have."""

_COUNT = 2  # bytes that count the labels of an item
_MARK_SIZE = 16
_PATH = "es1p-"


def context_mark(key: Key, context: bytes) -> str:
    """Returns the mark of a context: the first bytes of a key derived for it, in base64url.

    Args:
        key: The key that the item is sealed under.
        context: The encryption context, encoded.
    """
    return b64url_encode(key.derive("mark", context)[:_MARK_SIZE])


def with_names(inner_type: str, data: bytes, namespace: Sequence[str], key: str) -> tuple[str, bytes]:
    """Puts the names of an item before its value, to be sealed with it."""
    return NAMED + inner_type, len(namespace).to_bytes(_COUNT, "big") + lps((*namespace, key)) + data


def without_names(inner_type: str, data: bytes) -> tuple[str, bytes, tuple[str, ...] | None]:
    """Takes the names away again: labels, then the key. They are None for a value that was sealed without."""
    if not inner_type.startswith(NAMED):
        return inner_type, data, None
    names, position = [], _COUNT
    for _ in range(int.from_bytes(data[:_COUNT], "big") + 1):
        name, position = take_field(data, position)
        names.append(bytes(name).decode("utf-8"))
    return inner_type[len(NAMED) :], data[position:], tuple(names)


def at_path(value: Any, path: str) -> Any:
    """Returns what a path of names leads to; `ABSENT` if it leads nowhere."""
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    return value


def path_name(path: str) -> str:
    """Returns the name under which a copy or token of a field inside of another one is stored."""
    return _PATH + path.encode("utf-8").hex()


def path_of(name: str) -> str | None:
    """Returns the path that `path_name` made a name of; None if it made none."""
    if not name.startswith(_PATH):
        return None
    try:
        return bytes.fromhex(name[len(_PATH) :]).decode("utf-8")
    except ValueError:
        return None
