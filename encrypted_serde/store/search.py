"""Answering ``search`` as the inner store would, although it cannot read what it holds.

What it can compare is left to it: readable copies by value, searchable fields by token, the tenant by the mark of its context.
If nothing is left to compare, the inner store gets the very operation, and its answer counts if every row of it does. Otherwise
rows are read page by page, opened and compared, so that ``limit=1`` does not read a namespace. Items of other tenants are
passed over unopened, and so are rows of other namespaces that a store returns by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, GetOp, SearchItem, SearchOp

from ..core.context import EncryptionContext
from ..core.keys import Keyring
from ..errors import EncryptedSerdeError, KeyErased, WrongLocation
from ..wrapping.stored_item import MARK
from .batch import Hidden, Plan, Question
from .fields import is_exact, push_down
from .filters import Semantics
from .items import Found, Items
from .marks import Marks
from .names import Names, Namespace, Place, is_pseudonym, is_reserved

_FIRST_PAGE = 16
_LARGEST_PAGE = 1024
_EVERYTHING = (1 << 31) - 1
_LARGEST_ANSWER = 10_000  # of a store whose limits nobody measured


class Ground(NamedTuple):
    """What all searches of a store have in common.

    Attributes:
        inner: The inner store.
        items: Opens what is found.
        names: Where it is stored.
        semantics: How the inner store compares.
        marks: Where items can be found by the mark of their context.
    """

    inner: BaseStore
    items: Items
    names: Names
    semantics: Semantics
    marks: Marks

    @property
    def has_records(self) -> bool:
        """Whether names or tokens are made with keys, so that the store keeps something in reserved namespaces."""
        return self.names.pseudonymous or bool(self.items.fields.searchable)


class Hit(NamedTuple):
    """An item that counts, and where it is stored."""

    place: Place
    item: SearchItem


class Page(NamedTuple):
    """One page of rows, opened until there were as many items as needed: those that count, and where each row is stored."""

    hits: Hidden
    places: list[Place]


class Source:
    """One of the inner searches that make up a search: where to go on, and what was found.

    Attributes:
        prefix: The prefix in the inner store.
        wanted: The filter in the inner store.
        size: How many rows to ask for.
        rows: How many rows were read since the beginning.
        hits: What was kept of them.
        places: Where they are stored.
        known: How many rows were read before the last new beginning.
        done: Whether there is nothing more to read, or no need to.
    """

    def __init__(self, prefix: Namespace, wanted: dict[str, Any], size: int) -> None:
        self.prefix = prefix
        self.wanted = wanted or None
        self.known = 0
        self.done = False
        self.restart(size)

    def restart(self, size: int) -> None:
        """Begins anew, with one larger page."""
        self.rows, self.hits, self.places, self.size = 0, Hidden(), set[Place](), size

    def add(self, page: Page, needed: int) -> None:
        """Keeps what a page brought, and is done if that is as much as needed."""
        self.rows += len(page.places)
        self.hits += page.hits
        self.places.update(page.places)
        self.done = bool(self.hits) and len(self.hits) >= needed


class Search:
    """One search: asks the inner store, as often as needed. All keys that it needs are asked for when it is made.

    Args:
        op: The search.
        ground: What all searches have in common.
        expected: The context of the request.
    """

    def __init__(self, op: SearchOp, ground: Ground, expected: EncryptionContext | None) -> None:
        ground.semantics.check(op.filter or {})
        self._op = op
        self._ground = ground
        self._expected = expected
        items, tenancy = ground.items, ground.items.tenancy
        self._divided = push_down(op.filter, items.fields, ground.semantics, with_tokens=not items.admission)
        decides = ground.semantics.database_decides
        self._decided = {name for name, condition in self._divided.copies.items() if decides(condition)}
        keys = ((key, each) for each in tenancy.contexts(expected) for key in tenancy.keys(each))
        self._filters = self._divided.filters(keys, items.fields.stored_name)
        self._prefixes = ground.names.prefixes(tuple(op.namespace_prefix), expected)
        self._needed = op.offset + op.limit
        self._is_odd = min(op.offset, op.limit) < 0  # what a store makes of that is its own affair
        # Nothing of another tenant is among the rows: names that are pseudonyms belong to one.
        self._is_alone = expected is None or (ground.names.hides_tenants and bool(op.namespace_prefix))
        self._marks = [] if expected is None or not ground.marks.are_used else tenancy.marks(expected)

    def plan(self) -> Plan[list[SearchItem]]:
        """Returns the plan."""
        if not self._is_alone:
            yield from self._ground.marks.look(self._prefixes)
        sources, all_count = self._sources()
        if all_count and self._skips_own_alone():
            page = yield from self._as_asked(sources)
            if page is not None:
                return [hit.item for hit in page.hits]
        while waiting := [source for source in sources if not source.done]:
            pages = yield Question([self._page(source) for source in waiting], partial(self._pages, waiting))
            for source, page in zip(waiting, pages, strict=True):
                self._take(source, page)
        merged = self._merged(sources)
        found = Hidden(self._ground.semantics.cut([hit.item for hit in merged.values()], self._op, self._ground.inner))
        if found and self._op.refresh_ttl and self._ground.semantics.refreshes(self._ground.inner):
            places = [merged[Place(item.namespace, item.key)].place for item in found]
            yield Question([GetOp(*place, refresh_ttl=True) for place in places], len)
        return [*found]

    # --- what the inner store is asked

    def _sources(self) -> tuple[list[Source], bool]:
        """Returns what the database is asked, and whether all that it returns counts."""
        filters, all_count = self._filters, is_exact(self._divided)
        if not self._is_alone:
            marks = self._marks if all(map(self._ground.marks.are_complete, self._prefixes)) else []
            all_count = all_count and bool(marks)
            if marks and self._divided.tokens:  # both are made per context and key, in this order
                filters = [{**wanted, MARK: mark} for wanted, mark in zip(filters, marks, strict=True)]
            elif marks:
                filters = [{**wanted, MARK: mark} for wanted in filters for mark in marks]
        size = max(self._needed, 1 if all_count else _FIRST_PAGE)
        sources = [Source(prefix, wanted, size) for prefix in self._prefixes for wanted in filters]
        return sources, all_count or (self._is_odd and len(sources) == 1)

    def _skips_own_alone(self) -> bool:
        """Says whether nothing that does not count is among the rows that the inner store skips for ``offset``."""
        if self._op.offset <= 0:
            return True
        if not isinstance(self._ground.items.sealer.keys, Keyring):  # some may be under destroyed keys
            return False
        if self._op.namespace_prefix:
            return self._ground.semantics.matches_whole_labels and not self._ground.items.passed_over
        return self._expected is not None or not self._ground.has_records

    def _as_asked(self, sources: Sequence[Source]) -> Plan[Page | None]:
        """Asks the very question. The answer counts if every row of it does, and no other source has rows."""
        first, *others = sources
        asked = self._op._replace(namespace_prefix=first.prefix, filter=first.wanted)
        exist = [SearchOp(source.prefix, filter=source.wanted, limit=1, refresh_ttl=False) for source in others]
        page, *more = yield Question([asked, *exist], partial(self._opened_as_asked, first))
        return page if self._is_odd or (len(page.hits) == len(page.places) and not any(more)) else None

    def _opened_as_asked(self, source: Source, answers: Sequence[Any]) -> list[Any]:
        rows, *others = answers
        return [self._opened(source, rows or [], len(rows or [])), *map(bool, others)]

    def _page(self, source: Source) -> SearchOp:
        return self._op._replace(
            namespace_prefix=source.prefix,
            filter=source.wanted,
            limit=source.size,
            offset=0 if self._op.query else source.rows,
            refresh_ttl=False,
        )

    def _pages(self, sources: Sequence[Source], answers: Sequence[Any]) -> list[Page | None]:
        """Opens a page of each source. A page that repeats rows is None: rows moved, or the store does not obey ``offset``."""
        pages: list[Page | None] = []
        for source, rows in zip(sources, answers, strict=True):
            repeats = not self._op.query and any(Place(row.namespace, row.key) in source.places for row in rows or [])
            needed = self._needed if self._op.query else self._needed - len(source.hits)
            pages.append(None if repeats else self._opened(source, rows or [], needed))
        return pages

    def _take(self, source: Source, page: Page | None) -> None:
        if page is None:
            if source.rows <= source.known:  # a larger page brought nothing new
                source.done = True
            else:
                source.known = source.rows
                source.restart(2 * (source.rows + source.size))
        elif self._op.query:
            self._take_ranked(source, page)
        else:
            size = source.size
            source.add(page, self._needed)
            # Whether a store whose limits nobody measured gives short pages before the end is not known.
            source.done = source.done or len(page.places) < (size if self._ground.semantics.known else 1)
            source.size = max(size, min(4 * size, _LARGEST_PAGE))

    def _take_ranked(self, source: Source, page: Page) -> None:
        """Asks for more and more of a ranking, until a larger one brings nothing new.

        A store ranks vectors, of which an item may have many: a page that is shorter than asked for need not be the last. So
        the last question is for everything.
        """
        is_known = self._ground.semantics.known
        before, size = source.rows, source.size
        source.restart(size)
        source.add(page, self._needed)
        if source.done or size >= (_EVERYTHING if is_known else _LARGEST_ANSWER):
            source.done = True
        elif len(page.places) >= size or len(page.places) > before:
            source.size = 4 * size
        elif is_known:
            source.size = _EVERYTHING
        else:
            source.done = True

    # --- what counts

    def _opened(self, source: Source, rows: Sequence[SearchItem], needed: int) -> Page:
        """Opens rows, until there are as many items as needed."""
        hits, places = Hidden(), list[Place]()
        for row in rows:
            places.append(Place(row.namespace, row.key))
            self._open(source.prefix, places[-1], row, hits)
            if hits and len(hits) >= needed:
                break
        return Page(hits, places)

    def _open(self, prefix: Namespace, place: Place, row: SearchItem, hits: Hidden) -> None:
        """Opens a row, and keeps it if it counts. It returns nothing: what was found shall be no variable of a frame."""
        try:
            found = self._found(prefix, place, row)
            counts = found is not None and self._matches(found)
        except EncryptedSerdeError as error:
            self._ground.items.tell(error, place)
            raise
        if found is not None and counts:
            item = SearchItem(found.namespace, found.key, found.value, row.created_at, row.updated_at, row.score)
            hits.append(Hit(place, item))

    def _found(self, prefix: Namespace, place: Place, row: SearchItem) -> Found | None:
        items, names = self._ground.items, self._ground.names
        if is_reserved(place.namespace):
            return None
        if tuple(place.namespace[: len(prefix)]) != prefix:
            items.pass_over(place)
            return None
        try:
            found = items.open_own(row, place, self._expected)
        except KeyErased:  # told by the audit; a tenant that starts anew is not blocked by its old items
            items.passed_over[KeyErased.__name__] += 1
            return None
        if found and names.pseudonymous and not items.admission and not all(map(is_pseudonym, place.namespace)):
            raise WrongLocation("an item under a readable name; allow_plaintext=True reads it until it is moved")
        return found

    def _matches(self, found: Found) -> bool:
        wanted = self._op.filter
        if not wanted:
            return True
        semantics = self._ground.semantics
        wanted = {name: condition for name, condition in wanted.items() if name not in self._decided}
        if semantics.matches(found.value, wanted):
            return True
        tokens = {name: condition for name, condition in wanted.items() if name in self._divided.tokens}
        if found.sealed and not semantics.matches(found.value, tokens):
            raise WrongLocation("the search token of an item is not that of the sealed value")
        return False

    def _merged(self, sources: Sequence[Source]) -> dict[Place, Hit]:
        """Returns what all sources found, by the names that the caller knows, in the order of the inner store."""
        merged: dict[Place, Hit] = {}
        for source in sources:
            for hit in source.hits:
                merged.setdefault(Place(hit.item.namespace, hit.item.key), hit)
        if len(sources) == 1 or not (self._op.query or self._ground.semantics.newest_first):
            return merged
        by = _score if self._op.query else _updated
        return dict(sorted(merged.items(), key=lambda named: by(named[1].item), reverse=True))


def _score(item: SearchItem) -> Any:
    return float("-inf") if item.score is None else item.score


def _updated(item: SearchItem) -> Any:
    return item.updated_at
