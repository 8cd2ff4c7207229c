"""Fields of a value that the database can look at, and how a filter is divided between it and us."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from ..wrapping.filters import Divided, Filter, divide, token_finds
from ..wrapping.search import is_searchable
from ..wrapping.stored_item import ABSENT, RESERVED, at_path, path_name, path_of
from .filters import Semantics


class Fields(NamedTuple):
    """Which fields of a value the database can look at.

    Attributes:
        searchable: It sees a token of these.
        readable: It sees a copy of these.
        have_paths: A dot in a name leads into an object, as the filters of the inner store take it.
    """

    searchable: frozenset[str]
    readable: frozenset[str]
    have_paths: bool

    @classmethod
    def of(cls, searchable: Collection[str], readable: Collection[str], semantics: Semantics) -> Fields:
        """Checks what a user names.

        Raises:
            TypeError: If it is a single str, or holds something else than str.
            ConfigurationError: If a name is one of the store's own, or cannot be asked for, or is given twice; if the filters
                of the inner store were not measured.
        """
        found = cls(_names("searchable", searchable), _names("readable", readable), semantics.has_paths)
        if (found.searchable or found.readable) and not semantics.known:
            raise ConfigurationError(
                "searchable= and readable= are for InMemoryStore, SqliteStore and PostgresStore: the filters of other stores "
                "were not measured, so all is compared after opening"
            )
        if both := found.searchable & found.readable:
            raise ConfigurationError(f"fields cannot be readable and searchable: {', '.join(sorted(both))}")
        try:
            semantics.check(dict.fromkeys(found.searchable | found.readable))
        except ValueError as error:
            raise ConfigurationError(f"a field that the inner store cannot search for: {error}") from None
        return found

    def stored_name(self, name: str) -> str:
        """Returns the name under which the copy or token of a field is stored; another name is returned as it is."""
        is_path = self.have_paths and "." in name
        return path_name(name) if is_path and (name in self.readable or name in self.searchable) else name

    def get(self, value: Mapping[str, Any], name: str) -> Any:
        """Returns a field of a value; `ABSENT` if it has none."""
        return at_path(value, name) if self.have_paths else value.get(name, ABSENT)


def _names(option: str, names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise TypeError(f"{option} takes several names: write ({names!r},)")
    found = frozenset(names)
    if wrong := [name for name in found if not isinstance(name, str)]:
        raise TypeError(f"{option} takes names of fields, not {type(wrong[0]).__name__}")
    if reserved := [name for name in found if name in RESERVED or path_of(name)]:
        raise ConfigurationError(f"{option}: {min(reserved)!r} is the name of a field of the store's own")
    return found


def push_down(wanted: Filter | None, fields: Fields, semantics: Semantics, *, with_tokens: bool) -> Divided:
    """Divides a filter into what the database answers and what is compared after opening.

    Args:
        wanted: The filter, as the caller gave it.
        fields: Which fields the database can look at.
        semantics: How the inner store compares.
        with_tokens: Use tokens. They are left aside while plaintext is admitted, which has none.
    """
    return divide(
        {name: _simple(condition) for name, condition in (wanted or {}).items()},
        lambda name, condition: _is_readable(name, fields, semantics) and semantics.pushes(condition),
        lambda name, condition: (
            with_tokens
            and name in fields.searchable
            and token_finds(condition, true_is_one=semantics.true_is_one, objects_are_text=semantics.has_paths)
        ),
    )


def is_exact(divided: Divided) -> bool:
    """Says whether what the database answers is what matches, so that nothing is left to compare."""
    return not divided.rest and all(map(_excludes_missing, divided.copies.values()))


def _is_readable(name: str, fields: Fields, semantics: Semantics) -> bool:
    return name in fields.readable or semantics.field(name) in fields.readable


def _simple(condition: Any) -> Any:
    """Returns the value itself for ``{"$eq": value}``, if it is one that has a token."""
    if isinstance(condition, dict) and len(condition) == 1 and is_searchable(value := condition.get("$eq")):
        return value
    return condition


def _excludes_missing(condition: Any) -> bool:
    """Says whether a condition is false of a field that is not there, as in items from before a field was made readable."""
    if isinstance(condition, dict):
        return (
            bool(condition)
            and all(op not in ("$eq", "$ne") or value is not None for op, value in condition.items())
            and ("$ne" not in condition)
        )
    return condition is not None
