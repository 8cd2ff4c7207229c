"""Answering ``list(filter=)`` as the plain saver would, although most metadata cannot be read in the database.

What can be compared there is: readable keys by value, searchable keys by token. The rest is compared here, after opening
the metadata. What a filter means differs from saver to saver.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..core.context import EncryptionContext
from ..core.keys import Key
from ..core.opaque import opaque
from ..rows.manifest import survives_json
from ..wrapping.filters import Filter, divide, sqlite_extract, token_finds

_PATH = re.compile(r"[a-zA-Z0-9_.-]+")


class Semantics(NamedTuple):
    """What a filter means to a saver.

    Attributes:
        check: Raises what the saver would raise for a filter that it does not take.
        matches: Compares opened metadata with a filter.
        true_is_one: Whether ``True`` is found as ``1``.
        has_paths: Whether a dot in a key leads into a nested object. A key with one is no key of the metadata then.
    """

    check: Callable[[Filter], None]
    matches: Callable[[Filter, Filter], bool]
    true_is_one: bool = True
    has_paths: bool = False


class Plan(NamedTuple):
    """How one filter is answered.

    Attributes:
        pushed: Filters for the inner saver, whose answers are merged: one per key that rows may have been written under.
        rest: What is left to compare after opening.
    """

    pushed: list[dict[str, Any]]
    rest: dict[str, Any]

    def __repr__(self) -> str:
        return opaque(self)


def plan(
    wanted: Filter | None,
    readable_keys: Collection[str],
    searchable_keys: Collection[str],
    keys: Sequence[tuple[Key, EncryptionContext]],
    semantics: Semantics,
) -> Plan:
    """Divides a filter.

    Args:
        wanted: The filter, as the caller gave it.
        readable_keys: Metadata keys that are readable in the database.
        searchable_keys: Metadata keys that have search tokens there.
        keys: What those may have been made with; empty where tokens cannot be used.
        semantics: What filters mean to the saver.

    Raises:
        ValueError: As the plain saver, for a filter that it does not take; TypeError likewise.
    """
    semantics.check(wanted or {})

    def is_key(name: str) -> bool:
        return not (semantics.has_paths and "." in name)

    def is_copied(name: str, value: Any) -> bool:
        return is_key(name) and name in readable_keys and isinstance(value, (str, int, float)) and survives_json(value)

    def has_token(name: str, value: Any) -> bool:
        is_found = token_finds(value, true_is_one=semantics.true_is_one, objects_are_text=semantics.has_paths)
        return is_key(name) and name in searchable_keys and bool(keys) and is_found

    divided = divide(wanted, is_copied, has_token)
    return Plan(divided.filters(keys), divided.rest)


# --- what a filter means ---------------------------------------------------------------------------------------------


def _check_nothing(wanted: Filter) -> None:
    pass


def _equals(metadata: Filter, wanted: Filter) -> bool:
    return all(metadata.get(name) == value for name, value in wanted.items())


def _check_json(wanted: Filter) -> None:
    json.dumps(wanted)


def _contains(document: Any, wanted: Any) -> bool:
    """``document @> wanted`` of Postgres (its documentation, section 8.14.3), for what JSON can hold."""
    if isinstance(wanted, Mapping):
        return isinstance(document, Mapping) and all(
            name in document and _contains(document[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return isinstance(document, (list, tuple)) and all(any(_contains(item, value) for item in document) for value in wanted)
    if isinstance(wanted, bool) or isinstance(document, bool):
        return document is wanted
    return bool(document == wanted)


def _check_path(wanted: Filter) -> None:
    for name in wanted:
        if not _PATH.fullmatch(name):
            raise ValueError(f"invalid filter key {name!r}: letters, digits, underscores, dots and hyphens are allowed")


def _extracts(metadata: Filter, wanted: Filter) -> bool:
    return all(sqlite_extract(metadata, name) == _as_parameter(value) for name, value in wanted.items())


def _as_parameter(value: Any) -> Any:
    """Returns what SqliteSaver binds for the value of a filter."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"))
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


EQUALITY = Semantics(_check_nothing, _equals)
"""``==`` of Python, for each key."""

CONTAINMENT = Semantics(_check_json, _contains, true_is_one=False)
"""``jsonb @>`` of Postgres."""

JSON_PATH = Semantics(_check_path, _extracts, has_paths=True)
"""``json_extract`` of SQLite, by path."""
