"""Answering ``search`` as the inner store would, although it cannot read what it holds.

What it can compare is left to it: readable copies by value, searchable fields by token, the tenant by the mark of its context.
If nothing is left to compare, the inner store gets the very operation, and its answer counts if every row of it does. Otherwise
rows are read page by page, opened and compared, so that ``limit=1`` does not read a namespace. Items of other tenants are
passed over unopened, and so are rows of other namespaces that a store returns by mistake.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, GetOp, Item, Op, SearchItem, SearchOp

from ..core.context import EncryptionContext
from ..core.keys import Keyring
from ..errors import KeyErased, WrongLocation
from ..wrapping.stored_item import MARK
from .fields import push_down
from .filters import Semantics
from .items import Found, Items, find_item
from .marks import Marks
from .names import Names, Namespace, Place, is_pseudonym, is_reserved

_FIRST_PAGE = 16
_LARGEST_PAGE = 1024
_EVERYTHING = (1 << 31) - 1
_LARGEST_ANSWER = 10_000  # of a store whose limits nobody measured


class State(Enum):
    """What a search does next."""

    LOOKING = "finds out whether all rows of a namespace have marks"
    AS_ASKED = "the inner store gets the very operation"
    PAGING = "rows are read page by page, opened and compared"
    REFRESHING = "the expiry of what is returned is pushed back"
    DONE = "the answer is there"


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


class Source:
    """One of the inner searches that make up a search: where to go on, and what was found.

    Attributes:
        prefix: The prefix in the inner store.
        wanted: The filter in the inner store.
        size: How many rows to ask for.
        rows: How many rows were read since the beginning.
        found: What was kept of them.
        known: How many rows were read before the last new beginning.
        done: Whether there is nothing more to read, or no need to.
    """

    def __init__(self, prefix: Namespace, wanted: dict[str, Any], size: int) -> None:
        self.prefix = prefix
        self.wanted = wanted or None
        self.size = size
        self.rows = 0
        self.found: list[SearchItem] = []
        self.done = False
        self._seen: set[Place] = set()
        self.known = 0

    def fork(self) -> Source:
        """Returns a copy that goes on by itself."""
        fork = copy.copy(self)
        fork.found, fork._seen = [*self.found], {*self._seen}
        return fork

    def read(self, page: Sequence[SearchItem], open_row: Callable[[Source, SearchItem], None], needed: int) -> None:
        """Opens a page, until there are as many items as needed."""
        for row in page:
            self.rows += 1
            self._seen.add(Place(row.namespace, row.key))
            open_row(self, row)
            if self.found and len(self.found) >= needed:
                self.done = True
                return

    def repeats(self, page: Sequence[SearchItem]) -> bool:
        """Says whether a page has rows that were read: rows moved meanwhile, or the store does not obey ``offset``."""
        return any(Place(row.namespace, row.key) in self._seen for row in page)

    def restart(self, size: int) -> None:
        """Begins anew, with one larger page."""
        self.known = max(self.known, self.rows)
        self.rows, self.found, self._seen, self.size = 0, [], set(), size


class Search:
    """One search: asks the inner store, as often as needed.

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
        items = ground.items
        self._pushed = push_down(op.filter, items.fields, ground.semantics, with_tokens=not items.admission)
        self._prefixes = ground.names.prefixes(tuple(op.namespace_prefix), expected)
        self._needed = op.offset + op.limit
        self._is_odd = min(op.offset, op.limit) < 0  # what a store makes of that is its own affair
        # Nothing of another tenant is among the rows: names that are pseudonyms belong to one.
        self._is_alone = expected is None or (ground.names.hides_tenants and bool(op.namespace_prefix))
        self._sources: list[Source] = []
        self._places: dict[int, Place] = {}
        self._answer: list[SearchItem] = []
        self._dropped = 0
        self._state = State.LOOKING
        self._looks = [] if self._is_alone else ground.marks.looks(self._prefixes)
        if not self._looks:
            self._begin()

    @property
    def done(self) -> bool:
        """Whether the answer is there."""
        return self._state is State.DONE

    def fork(self) -> Search:
        """Returns a copy that goes on by itself."""
        fork = copy.copy(self)
        fork._looks = [*map(copy.copy, self._looks)]
        fork._sources = [source.fork() for source in self._sources]
        fork._places = dict(self._places)
        return fork

    def asks(self) -> list[Op]:
        """Returns what to ask the inner store next."""
        if self._state is State.LOOKING:
            return [look.asks() for look in self._looks]
        if self._state is State.REFRESHING:
            return [GetOp(*self._places[id(item)], refresh_ttl=True) for item in self._answer]
        if self._state is State.AS_ASKED:
            first, *others = self._sources
            asked = self._op._replace(namespace_prefix=first.prefix, filter=first.wanted)
            return [asked, *(_exists(source) for source in others)]
        return [self._page(source) for source in self._sources if not source.done]

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answers to what was asked."""
        if self._state is State.LOOKING:
            self._take_looks(answers)
        elif self._state is State.AS_ASKED:
            self._take_as_asked(answers)
        elif self._state is State.PAGING:
            self._take_pages(answers)
        else:
            self._state = State.DONE

    def result(self) -> list[SearchItem]:
        """Returns the answer."""
        return self._answer

    # --- each state

    def _take_looks(self, answers: Sequence[Any]) -> None:
        self._looks = [look for look, answer in zip(self._looks, answers, strict=True) if not look.take(answer or [])]
        if not self._looks:
            self._begin()

    def _begin(self) -> None:
        """Decides what the database compares, and whether that is all."""
        ground, pushed = self._ground, self._pushed
        filters = pushed.filters(ground.items.fields, ground.items.tenancy, self._expected)
        is_exact = pushed.is_exact
        if not self._is_alone:
            marks = self._marks()
            is_exact = is_exact and bool(marks)
            if marks and pushed.divided.tokens:  # both are made per context and key, in this order
                filters = [{**wanted, MARK: mark} for wanted, mark in zip(filters, marks, strict=True)]
            elif marks:
                filters = [{**wanted, MARK: mark} for wanted in filters for mark in marks]
        size = max(self._needed, 1 if is_exact else _FIRST_PAGE)
        self._sources = [Source(prefix, wanted, size) for prefix in self._prefixes for wanted in filters]
        if self._is_odd and len(self._sources) == 1:
            is_exact = True
        self._state = State.AS_ASKED if is_exact and self._skips_own_alone() else State.PAGING

    def _marks(self) -> list[str]:
        marks = self._ground.marks
        if self._expected is None or not marks.are_used or not all(map(marks.are_complete, self._prefixes)):
            return []
        return self._ground.items.tenancy.marks(self._expected)

    def _skips_own_alone(self) -> bool:
        """Says whether nothing that does not count is among the rows that the inner store skips for ``offset``."""
        if self._op.offset <= 0:
            return True
        if not isinstance(self._ground.items.sealer.keys, Keyring):  # some may be under destroyed keys
            return False
        if self._op.namespace_prefix:
            return self._ground.semantics.matches_whole_labels and not self._ground.items.passed_over
        return self._expected is not None or not self._ground.has_records

    def _take_as_asked(self, answers: Sequence[Any]) -> None:
        page, *others = answers
        source = self._sources[0]
        source.read(page or [], self._open, len(page or []))
        if not self._is_odd and (self._dropped or any(others)):
            source.restart(source.size)
            source.known, source.done = 0, False
            self._state = State.PAGING
        else:
            self._answer = source.found
            self._state = State.DONE

    def _take_pages(self, answers: Sequence[Any]) -> None:
        for source, page in zip([source for source in self._sources if not source.done], answers, strict=True):
            if self._op.query:
                self._take_ranked(source, page or [])
            else:
                self._take_page(source, page or [])
        if all(source.done for source in self._sources):
            self._answer = self._merged()
            refreshes = self._op.refresh_ttl and self._ground.semantics.refreshes(self._ground.inner)
            self._state = State.REFRESHING if refreshes and self._answer else State.DONE

    def _take_page(self, source: Source, page: Sequence[SearchItem]) -> None:
        """Goes on behind the last row, until a page has no more."""
        if source.repeats(page):
            if source.rows <= source.known:  # a larger page brought nothing new
                source.done = True
            else:
                source.restart(2 * (source.rows + source.size))
            return
        size = source.size
        source.read(page, self._open, self._needed)
        # Whether a store whose limits nobody measured gives short pages before the end is not known.
        if len(page) < (size if self._ground.semantics.known else 1):
            source.done = True
        source.size = max(size, min(4 * size, _LARGEST_PAGE))

    def _take_ranked(self, source: Source, page: Sequence[SearchItem]) -> None:
        """Asks for more and more of a ranking, until a larger one brings nothing new.

        A store ranks vectors, of which an item may have many: a page that is shorter than asked for need not be the last. So
        the last question is for everything.
        """
        is_known = self._ground.semantics.known
        before = source.rows
        source.restart(source.size)
        source.read(page, self._open, self._needed)
        if source.done or source.size >= (_EVERYTHING if is_known else _LARGEST_ANSWER):
            source.done = True
        elif len(page) >= source.size or len(page) > before:
            source.size *= 4
        elif is_known:
            source.size = _EVERYTHING
        else:
            source.done = True

    # --- one row

    def _page(self, source: Source) -> SearchOp:
        return self._op._replace(
            namespace_prefix=source.prefix,
            filter=source.wanted,
            limit=source.size,
            offset=0 if self._op.query else source.rows,
            refresh_ttl=False,
        )

    def _open(self, source: Source, row: SearchItem) -> None:
        """Opens a row, and keeps it if it counts. It returns nothing: what was found shall be no variable of a frame."""
        place = Place(row.namespace, row.key)
        found = self._opened(source, place, row)
        if found is None or not self._matches(found):
            self._dropped += 1
            return
        item = SearchItem(found.namespace, found.key, found.value, row.created_at, row.updated_at, row.score)
        self._places[id(item)] = place
        source.found.append(item)

    def _opened(self, source: Source, place: Place, row: SearchItem) -> Found | None:
        items, names = self._ground.items, self._ground.names
        if is_reserved(place.namespace):
            return None
        if tuple(place.namespace[: len(source.prefix)]) != source.prefix:
            items.pass_over(place)
            return None
        if self._expected is not None:
            sealed = find_item(row)
            if sealed is not None and not items.tenancy.reads(sealed.head.context, self._expected):
                return None
        if names.pseudonymous and not items.admission and not all(map(is_pseudonym, place.namespace)):
            raise WrongLocation("an item under a readable name; allow_plaintext=True reads it until it is moved")
        try:
            return items.open(row, place, self._expected)
        except KeyErased:  # told by the audit; a tenant that starts anew is not blocked by its old items
            items.passed_over[KeyErased.__name__] += 1
            return None

    def _matches(self, found: Found) -> bool:
        wanted = self._op.filter
        if not wanted:
            return True
        semantics = self._ground.semantics
        wanted = {name: condition for name, condition in wanted.items() if name not in self._pushed.trusted}
        if semantics.matches(found.value, wanted):
            return True
        tokens = {name: condition for name, condition in wanted.items() if name in self._pushed.divided.tokens}
        if found.sealed and not semantics.matches(found.value, tokens):
            raise WrongLocation("the search token of an item is not that of the sealed value")
        return False

    def _merged(self) -> list[SearchItem]:
        merged: dict[Place, SearchItem] = {}
        for source in self._sources:
            for item in source.found:
                merged.setdefault(Place(item.namespace, item.key), item)
        items = list(merged.values())
        if len(self._sources) > 1:
            if self._op.query:
                items.sort(key=_score, reverse=True)
            elif self._ground.semantics.newest_first:
                items.sort(key=_updated, reverse=True)
        return self._ground.semantics.cut(items, self._op, self._ground.inner)


def _exists(source: Source) -> SearchOp:
    return SearchOp(source.prefix, filter=source.wanted, limit=1, refresh_ttl=False)


def _score(item: SearchItem) -> float:
    return float("-inf") if item.score is None else item.score


def _updated(item: Item) -> Any:
    return item.updated_at
