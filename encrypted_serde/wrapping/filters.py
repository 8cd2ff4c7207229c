"""How a filter is divided between a database that cannot read what it holds and us: for savers and stores alike."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..core.context import EncryptionContext
from ..core.keys import Key
from ..core.opaque import opaque
from .json_form import describe
from .search import EXACT, is_searchable, search_token, until_nul
from .stored_item import ABSENT, at_path

Filter = Mapping[str, Any]
Condition = Callable[[str, Any], bool]
"""Says of a name and what is wanted of it whether the database can be asked."""


class Divided(NamedTuple):
    """A filter, divided.

    Attributes:
        copies: Conditions that the database compares with readable copies.
        tokens: Values that it finds by token.
        rest: Conditions that are compared after opening.
    """

    copies: dict[str, Any]
    tokens: dict[str, Any]
    rest: dict[str, Any]

    def __repr__(self) -> str:
        return opaque(self)

    def filters(
        self, keys: Iterable[tuple[Key, EncryptionContext]], stored_name: Callable[[str], str] = str
    ) -> list[dict[str, Any]]:
        """Returns the filters for the database, whose answers are merged: one per key that tokens may be made with."""
        copies = {stored_name(name): condition for name, condition in self.copies.items()}
        if not self.tokens:
            return [copies]
        return [
            copies | {stored_name(name): search_token(key, name, context, value) for name, value in self.tokens.items()}
            for key, context in keys
        ]


def divide(wanted: Filter | None, is_copied: Condition, has_token: Condition) -> Divided:
    """Divides a filter, name by name."""
    divided = Divided({}, {}, {})
    for name, condition in (wanted or {}).items():
        if is_copied(name, condition):
            divided.copies[name] = condition
        elif has_token(name, condition):
            divided.tokens[name] = condition
        else:
            divided.rest[name] = condition
    return divided


def token_finds(value: object, *, true_is_one: bool, objects_are_text: bool) -> bool:
    """Says whether everything that equals a value has the same token, so that the database finds all of it.

    Args:
        value: What is wanted.
        true_is_one: Whether True is found as 1, and 10**16 as 1e16, which would have to share a token.
        objects_are_text: Whether lists and objects equal their text, as in SQLite.
    """
    if not is_searchable(value):
        return False
    if isinstance(value, str):
        return not (objects_are_text and value[:1] in ("[", "{"))
    return not true_is_one or (value not in (0, 1) and abs(value) <= EXACT)


def sqlite_extract(value: Any, path: str) -> float | str | None:
    """``json_extract(value, '$.path')`` of SQLite: None for NULL and for what is missing, text for lists and objects."""
    found = at_path(value, path)
    if found is ABSENT or found is None or isinstance(found, str):
        return until_nul(found) if isinstance(found, str) else None
    if isinstance(found, (int, float)):
        if isinstance(found, float) and not math.isfinite(found):
            return None
        return int(found) if isinstance(found, int) and -_INT64 <= found < _INT64 else number_of(found)
    text = json_text(found, describe)
    return json.loads(text) if text.startswith('"') else text  # a date is stored as text


_INT64 = 1 << 63


def number_of(found: Any) -> float | None:
    """Returns what ``float()`` makes of a value that somebody stored; an int beyond all floats is infinite."""
    try:
        return float(found)
    except OverflowError:
        return math.inf if found > 0 else -math.inf
    except (TypeError, ValueError):
        return None


def json_text(value: Any, default: Callable[[Any], Any]) -> str:
    """Returns a value as SQLite keeps JSON: without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=default)
