"""Answering ``search`` as the inner store would, although it cannot read what it holds.

What it can compare is left to it: readable copies by value, searchable fields by token. The rest is compared here, after
opening, page by page, so that ``limit=1`` does not read a namespace. Items of other tenants are passed over unopened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, GetOp, Item, Op, SearchItem, SearchOp

from ..core.context import EncryptionContext
from ..core.opaque import opaque
from ..errors import WrongLocation
from ..wrapping.search import is_searchable, search_token
from ..wrapping.stored_item import DICTIONARY
from .filters import Semantics
from .items import Found, Items, find_item
from .names import Names, Namespace, Place, is_pseudonymous

_FIRST_PAGE = 16
_LARGEST_PAGE = 1024


class Pushed(NamedTuple):
    """How a filter is answered.

    Attributes:
        filters: For the inner store, whose answers are merged: one per key that tokens may have been made with.
        exact: What it answers with these is what matches, so that nothing is left to compare.
        tokens: The names among them that are answered by token.
        trusted: The names whose conditions only the database can decide.
    """

    filters: list[dict[str, Any] | None]
    exact: bool
    tokens: frozenset[str] = frozenset()
    trusted: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return opaque(self)


def push_down(
    wanted: Mapping[str, Any] | None, items: Items, semantics: Semantics, context: EncryptionContext | None
) -> Pushed:
    """Divides a filter into what the database answers and what is compared after opening.

    Args:
        wanted: The filter, as the caller gave it.
        items: Knows which fields the database can look at.
        semantics: How the inner store compares.
        context: The context of the request. Tokens belong to one: without it they are left aside, and while plaintext is
            admitted too.
    """
    if not wanted:
        return Pushed([None], exact=True)
    copies: dict[str, Any] = {}
    tokens: dict[str, Any] = {}
    exact = True
    for name, condition in wanted.items():
        equal = _equal_to(condition)
        if semantics.field(name) in items.fields.readable and (semantics.known or isinstance(condition, str)):
            copies[name] = condition
            exact = exact and _excludes_missing(condition)
        elif name in items.fields.searchable and _has_token(equal, semantics) and not items.admission:
            tokens[name] = equal
        else:
            exact = False
    trusted = frozenset(name for name, condition in copies.items() if semantics.database_decides(condition))
    if not tokens:
        return Pushed([copies or None], exact, trusted=trusted)
    tenancy = items.tenancy
    filters: list[dict[str, Any] | None] = [
        {**copies, **{name: search_token(key, name, each, value) for name, value in tokens.items()}}
        for each in tenancy.contexts(context)
        for key in tenancy.keys(each)
    ]
    return Pushed(filters, exact, frozenset(tokens), trusted)


def _equal_to(condition: Any) -> Any:
    """Gives the one value that a condition admits; None if it is another kind of condition."""
    if isinstance(condition, dict):
        return condition.get("$eq") if len(condition) == 1 else None
    return condition


def _has_token(value: Any, semantics: Semantics) -> bool:
    # Where True is found as 1, the two would have to share a token.
    return is_searchable(value) and not (semantics.true_is_one and value in (0, 1))


def _excludes_missing(condition: Any) -> bool:
    """Says whether a condition is false of a field that is not there, as in items from before a field was made readable."""
    if isinstance(condition, dict):
        return (
            bool(condition)
            and all(op not in ("$eq", "$ne") or value is not None for op, value in condition.items())
            and ("$ne" not in condition)
        )
    return condition is not None


class Source:
    """One of the inner searches that make up a search: where to go on, and what was found.

    Attributes:
        prefix: The prefix in the inner store.
        wanted: The filter in the inner store.
        rows: How many rows were read.
        found: What was kept of them.
        done: Whether there is nothing more to read, or no need to.
    """

    def __init__(self, prefix: Namespace, wanted: dict[str, Any] | None, size: int) -> None:
        self.prefix = prefix
        self.wanted = wanted
        self.size = size
        self.rows = 0
        self.found: list[SearchItem] = []
        self.seen: set[Place] = set()
        self.done = False

    def restart(self, size: int) -> None:
        """Reads from the beginning, in one page: rows moved while they were read."""
        self.rows, self.found, self.seen, self.size = 0, [], set(), size


class Search:
    """One search: asks the inner store, as often as needed.

    Args:
        op: The search.
        items: Opens what is found.
        names: Where it stands.
        semantics: How the inner store compares.
        expected: The context of the request.
        inner: The inner store.
    """

    def __init__(
        self,
        op: SearchOp,
        *,
        items: Items,
        names: Names,
        semantics: Semantics,
        expected: EncryptionContext | None,
        inner: BaseStore,
    ) -> None:
        semantics.check(op.filter or {})
        self._op = op
        self._items = items
        self._names = names
        self._semantics = semantics
        self._expected = expected
        self._pushed = push_down(op.filter, items, semantics, expected)
        prefixes = names.prefixes(tuple(op.namespace_prefix), expected)
        self._needed = op.offset + op.limit
        as_asked = min(op.offset, op.limit) < 0  # what a store makes of that is its own affair
        everything_counts = self._pushed.exact and expected is None and not (names.pseudonymous and not op.namespace_prefix)
        self._direct = len(prefixes) * len(self._pushed.filters) == 1 and (everything_counts or as_asked)
        size = max(self._needed, 1 if self._pushed.exact else _FIRST_PAGE)
        self._sources = [Source(prefix, wanted, size) for prefix in prefixes for wanted in self._pushed.filters]
        self._refreshes = op.refresh_ttl and not self._direct and semantics.refreshes(inner)
        self._places: dict[int, Place] = {}
        self._answer: list[SearchItem] | None = None
        self.done = False

    @property
    def may_ask_again(self) -> bool:
        """Whether one question may not be enough."""
        return not self._direct

    def asks(self) -> list[Op]:
        """Gives what to ask the inner store next."""
        if self._answer is not None:
            return [GetOp(*self._places[id(item)], refresh_ttl=True) for item in self._answer]
        return [self._ask(source) for source in self._sources if not source.done]

    def _ask(self, source: Source) -> SearchOp:
        if self._direct:
            return self._op._replace(namespace_prefix=source.prefix, filter=source.wanted)
        return self._op._replace(
            namespace_prefix=source.prefix,
            filter=source.wanted,
            limit=source.size,
            offset=0 if self._op.query else source.rows,
            refresh_ttl=False,
        )

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answers to what was asked."""
        if self._answer is not None:
            self.done = True
            return
        for source, page in zip([source for source in self._sources if not source.done], answers, strict=True):
            self._read(source, page or [])
        if all(source.done for source in self._sources):
            self._answer = self._merged()
            self.done = not (self._refreshes and self._answer)

    def result(self) -> list[SearchItem]:
        """Gives the answer."""
        return self._answer or []

    def _read(self, source: Source, page: Sequence[SearchItem]) -> None:
        if self._op.query:  # a store ranks anew for each limit
            source.restart(source.size)
        if any(Place(row.namespace, row.key) in source.seen for row in page):
            source.restart(2 * (source.rows + source.size))
            return
        for row in page:
            source.rows += 1
            source.seen.add(Place(row.namespace, row.key))
            if (opened := self._open(source, row)) is not None:
                source.found.append(opened)
                if len(source.found) == self._needed and not self._direct:
                    break
        source.done = self._direct or len(source.found) >= self._needed or len(page) < source.size
        if not source.done:
            larger = 4 * source.size
            source.size = larger if self._op.query else max(source.size, min(larger, _LARGEST_PAGE))

    def _open(self, source: Source, row: SearchItem) -> SearchItem | None:
        """Opens a row; None for what does not count."""
        place = Place(row.namespace, row.key)
        if place.namespace == DICTIONARY and self._names.pseudonymous:
            return None
        if place.namespace[: len(source.prefix)] != source.prefix:
            raise WrongLocation("the database answered a search with an item of another namespace")
        if self._expected is not None:
            sealed = find_item(row)
            if sealed is not None and not self._items.tenancy.reads(sealed.head.context, self._expected):
                return None
        if self._names.pseudonymous and not self._items.admission and not is_pseudonymous(place.namespace):
            raise WrongLocation("an item under a readable name; allow_plaintext=True reads it until it is moved")
        found = self._items.open(row, place, self._expected)
        if not self._matches(found):
            return None
        item = SearchItem(found.namespace, found.key, found.value, row.created_at, row.updated_at, row.score)
        self._places[id(item)] = place
        return item

    def _matches(self, found: Found) -> bool:
        wanted = self._op.filter
        if not wanted:
            return True
        wanted = {name: condition for name, condition in wanted.items() if name not in self._pushed.trusted}
        if self._semantics.matches(found.value, wanted):
            return True
        tokens = {name: condition for name, condition in wanted.items() if name in self._pushed.tokens}
        if found.sealed and not self._semantics.matches(found.value, tokens):
            raise WrongLocation("the search token of an item is not that of the sealed value")
        return False

    def _merged(self) -> list[SearchItem]:
        if self._direct:
            return self._sources[0].found
        merged: dict[Place, SearchItem] = {}
        for source in self._sources:
            for item in source.found:
                merged.setdefault(Place(item.namespace, item.key), item)
        items = list(merged.values())
        if len(self._sources) > 1:
            if self._op.query:
                items.sort(key=_score, reverse=True)
            elif self._semantics.newest_first:
                items.sort(key=_updated, reverse=True)
        return items[self._op.offset : self._needed]


def _score(item: SearchItem) -> float:
    return float("-inf") if item.score is None else item.score


def _updated(item: Item) -> Any:
    return item.updated_at
