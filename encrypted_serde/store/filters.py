"""What a filter means: it differs from store to store, and is compared here, after opening, as the inner store would.

Every row of this table was measured beside the plain stores (docs/store.md prints it):

* ``InMemoryStore``, and what `BaseStore` documents: Python's ``==``, missing is None, nested dicts, numbers by ``float()``.
* ``SqliteStore``: SQL over ``json_extract``. Missing is NULL, True is 1, a dotted key is a path, numbers sort before text.
* ``PostgresStore``: ``jsonb`` equality, and ``$gt`` and its like compare *text*, numbers too.
"""

from __future__ import annotations

import json
import math
import operator
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from langgraph.store.base import BaseStore, SearchItem, SearchOp

from ..wrapping.filters import Filter, json_text, number_of, sqlite_extract
from ..wrapping.json_form import describe, equal_as_json, json_form
from .values import Objects, PostgresValues, SqliteValues

RANGES: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS = frozenset({"$eq", "$ne", *RANGES})


class Semantics:
    """How a store that is not listed here is taken to compare: as `BaseStore` documents it, and `InMemoryStore` does it.

    Such a store is asked for no filter, since some apply ``limit`` first, and would return too few: RedisStore, DynamoDBStore.
    Whatever somebody stored, a condition is true or false. It raises only for what the program asks, as the plain store does.

    Args:
        matches_whole_labels: Whether the store finds nothing of ("users", "10") for ("users", "1").

    Attributes:
        newest_first: Without a query, answers come by ``updated_at``, newest first; otherwise as they were inserted.
        true_is_one: True is found as 1 and False as 0, and the other way round.
        known: The semantics were measured.
        has_paths: A dot in the name of a field leads into an object.
        finds_missing: ``{"f": None}`` also finds what has no ``f``.
        values: How it keeps values.
        separator: What the store puts between labels without keeping it out of them, so that ("a:b",) would be ("a", "b").
    """

    separator = ""
    newest_first = False
    true_is_one = True
    known = False
    has_paths = False
    finds_missing = False
    values: type[Objects] = Objects

    def __init__(self, *, matches_whole_labels: bool = False) -> None:
        self.matches_whole_labels = matches_whole_labels

    def check(self, wanted: Filter) -> None:
        """Refuses a filter that the inner store would refuse even if it held nothing.

        Raises:
            ValueError: For an unknown operator or an impossible name.
            TypeError: For a value that JSON cannot hold, where the store takes only that.
        """

    def pushes(self, condition: object) -> bool:
        """Says whether the database is asked about a condition on a readable field."""
        return False

    def cut(self, found: list[SearchItem], op: SearchOp, inner: BaseStore) -> list[SearchItem]:
        """Returns what ``limit`` and ``offset`` leave of everything that matches."""
        return found[op.offset : op.offset + op.limit]

    def field(self, name: str) -> str:
        """Returns the field of a value that a name in a filter reads."""
        return name

    def matches(self, value: Mapping[str, Any], wanted: Filter) -> bool:
        """Compares an opened value with a whole filter."""
        return all(self._meets(value, name, condition) for name, condition in wanted.items())

    def _meets(self, value: Mapping[str, Any], name: str, condition: Any) -> bool:
        return _memory_compare(value.get(name), condition)

    def database_decides(self, condition: object) -> bool:
        """Says whether only the database can answer a condition, so that its answer about a readable field counts."""
        return False

    def refreshes(self, inner: BaseStore) -> bool:
        """Says whether a search may push back the expiry of what it returns."""
        return inner.supports_ttl

    def sort_key(self, namespace: tuple[str, ...]) -> Any:
        """Returns what listed namespaces are sorted by."""
        return namespace


class MemorySemantics(Semantics):
    """`InMemoryStore`: see `Semantics`."""

    known = True
    finds_missing = True

    def pushes(self, condition: object) -> bool:
        """It compares with ``float()``, which some values that somebody stored do not survive."""
        return not isinstance(condition, dict) or condition.keys() <= {"$eq", "$ne"}

    def refreshes(self, inner: BaseStore) -> bool:
        """It has no expiry."""
        return False

    def cut(self, found: list[SearchItem], op: SearchOp, inner: BaseStore) -> list[SearchItem]:
        """Of a ranking, it fills up with items that have no score, whatever the offset."""
        if not (op.query and getattr(inner, "embeddings", None)):
            return super().cut(found, op, inner)
        scored = super().cut([item for item in found if item.score is not None], op, inner)
        return scored + [item for item in found if item.score is None][: op.limit - len(scored)]


class DynamoSemantics(Semantics):
    """`DynamoDBStore`."""

    separator = ":"


class _SqlSemantics(Semantics):
    _names: re.Pattern[str] | None = None
    newest_first = True
    known = True

    def pushes(self, condition: object) -> bool:
        """All of them."""
        return True

    def check(self, wanted: Filter) -> None:
        """As `Semantics.check`."""
        for name, condition in wanted.items():
            if self._names and not self._names.fullmatch(name):
                raise ValueError(
                    f"Invalid filter key: {name!r}. Filter keys must contain only alphanumeric characters, underscores, "
                    "hyphens, and dots between them."
                )
            conditions = condition if isinstance(condition, dict) else {"$eq": condition}
            for op, value in conditions.items():
                if op not in OPERATORS:
                    raise ValueError(f"Unsupported operator: {op}")
                json_text(value, _refuse)

    def sort_key(self, namespace: tuple[str, ...]) -> Any:
        """The text that the database sorts."""
        return ".".join(namespace)


class SqliteSemantics(_SqlSemantics):
    """`SqliteStore` and `AsyncSqliteStore`."""

    _names = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*")
    has_paths = True
    finds_missing = True
    values = SqliteValues

    def pushes(self, condition: object) -> bool:
        """Says whether the database is asked about a condition on a readable field."""
        return isinstance(condition, str)

    def field(self, name: str) -> str:
        """A dotted name is a path; the field is where it begins."""
        return name.partition(".")[0]

    def refreshes(self, inner: BaseStore) -> bool:
        """It does so only where its configuration says so."""
        return bool(inner.ttl_config and inner.ttl_config.get("refresh_on_read", False))

    def _meets(self, value: Mapping[str, Any], name: str, condition: Any) -> bool:
        found = sqlite_extract(value, name)
        if isinstance(condition, dict):
            return all(_sqlite_compare(found, op, wanted) for op, wanted in condition.items())
        if isinstance(condition, (list, tuple)):
            return found is not None and found == json_text(condition, describe)
        return _sqlite_compare(found, "$eq", condition)


class PostgresSemantics(_SqlSemantics):
    """`PostgresStore` and `AsyncPostgresStore`. Text is compared by code points, as a database with collation C does."""

    true_is_one = False
    values = PostgresValues

    def database_decides(self, condition: object) -> bool:
        """What sorts before what is decided by the collation of the database."""
        return isinstance(condition, dict) and not RANGES.keys().isdisjoint(condition)

    def refreshes(self, inner: BaseStore) -> bool:
        """It does so for every item that has an expiry."""
        return True

    def _meets(self, value: Mapping[str, Any], name: str, condition: Any) -> bool:
        if name not in value:  # NULL, of which nothing is true
            return isinstance(condition, dict) and not condition
        found = value[name]
        conditions = condition if isinstance(condition, dict) else {"$eq": condition}
        return all(_postgres_compare(found, op, wanted) for op, wanted in conditions.items())


_KNOWN: dict[str, type[Semantics]] = {
    "langgraph.store.memory.InMemoryStore": MemorySemantics,
    "langgraph_checkpoint_aws.store.dynamodb.base.DynamoDBStore": DynamoSemantics,
    "langgraph.store.sqlite.base.BaseSqliteStore": SqliteSemantics,
    "langgraph.store.postgres.base.BasePostgresStore": PostgresSemantics,
}


def semantics_of(inner: BaseStore) -> Semantics:
    """Finds the semantics of a store by its class, or by the nearest known class it inherits from."""
    for cls in type(inner).__mro__:
        if found := _KNOWN.get(f"{cls.__module__}.{cls.__qualname__}"):
            # What -sqlite before 3.1.2 and -postgres before 3.2.0 lack, which match a namespace by the beginning of a text.
            is_new = found is MemorySemantics or hasattr(sys.modules[cls.__module__], "_namespace_prefix_condition")
            return found(matches_whole_labels=is_new)
    return Semantics()


# --- memory


def _memory_compare(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        if any(name.startswith("$") for name in wanted):
            return all(_memory_operator(found, op, value) for op, value in wanted.items())
        return isinstance(found, dict) and all(_memory_compare(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(found, (list, tuple))
            and len(found) == len(wanted)
            and all(_memory_compare(one, other) for one, other in zip(found, wanted, strict=True))
        )
    return _equal(found, wanted)


def _equal(found: Any, wanted: Any) -> bool:
    try:
        return bool(found == wanted)
    except Exception:  # noqa: BLE001  # an array is neither, and classes compare as they like
        return False


def _memory_operator(found: Any, op: str, wanted: Any) -> bool:
    if op in ("$eq", "$ne"):
        return _equal(found, wanted) == (op == "$eq")
    if op in RANGES:
        limit = float(wanted)
        return (number := number_of(found)) is not None and RANGES[op](number, limit)
    raise ValueError(f"Unsupported operator: {op}")


# --- SQLite

_REAL = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)


def _sqlite_compare(found: float | str | None, op: str, wanted: Any) -> bool:
    if op in ("$eq", "$ne"):
        if wanted is None:
            return (found is None) == (op == "$eq")
        if found is None:
            return False
        if not isinstance(wanted, (str, int, float)):
            return op == "$ne"  # it is compared as a BLOB, which equals nothing
        wanted = wanted if isinstance(wanted, str) else float(wanted)
        return not _is_nan(wanted) and (found == wanted) == (op == "$eq")
    if found is None:
        return False
    compare = RANGES[op]
    if isinstance(wanted, (int, float)):
        return compare(_sqlite_real(found), float(wanted))
    if isinstance(wanted, str) and isinstance(found, str):
        return compare(found, wanted)
    return op in ("$lt", "$lte")  # numbers sort before text, and everything before a BLOB


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _sqlite_real(found: float | str) -> float:
    """``CAST(found AS REAL)``: of text, the number it begins with."""
    if isinstance(found, str):
        number = _REAL.match(found)
        return float(number[1]) if number else 0.0
    return float(found)


# --- Postgres


def _postgres_compare(found: Any, op: str, wanted: Any) -> bool:
    if op in ("$eq", "$ne"):
        return equal_as_json(found, wanted) == (op == "$eq")
    text = _postgres_text(found)
    return text is not None and RANGES[op](text, str(wanted))


def _postgres_text(value: Any) -> str | None:
    """``value->>'name'``."""
    kind, content = json_form(value)
    if kind == "null":
        return None
    return str(content) if kind == "text" else _jsonb_text((kind, content))


def _jsonb_text(form: tuple[str, Any]) -> str:
    kind, content = form
    if kind == "null":
        return "null"
    if kind == "bool":
        return "true" if content else "false"
    if kind == "number":
        return format(content if content else abs(content), "f")  # there is no -0
    if kind == "list":
        return f"[{', '.join(map(_jsonb_text, content))}]"
    if kind == "object":
        names = sorted(content, key=lambda name: (len(name.encode("utf-8", "replace")), name))
        return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {_jsonb_text(content[name])}" for name in names) + "}"
    return json.dumps(content, ensure_ascii=False)


# --- JSON


def _refuse(value: Any) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")
