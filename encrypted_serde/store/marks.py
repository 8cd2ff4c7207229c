"""Where items of a tenant can be found by the mark of its context, in the database.

Every item that is put has the mark. Rows from before have none, and would not be found: so a process looks once at every prefix
that a tenant searches. Where a row without a mark is found, all rows are read, and their contexts compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.store.base import SearchOp

from ..core.bounded import Bounded
from ..wrapping.stored_item import MARK
from .filters import Semantics
from .items import Items
from .names import Namespace

_PAGE = 1024
_LARGEST_PAGE = 4096
_REMEMBERED = 4096


class Marks:
    """What this process knows about the prefixes that were searched: bounded, since anybody may search for any.

    Args:
        items: Knows whether plaintext is admitted, which has no marks, and whether marks can be made.
        semantics: How the inner store compares.

    Attributes:
        are_used: Whether items can be found by mark at all.
    """

    def __init__(self, items: Items, semantics: Semantics) -> None:
        self.are_used = items.tenancy.has_marks and semantics.known and not items.admission
        self._finds_missing = semantics.finds_missing
        self._complete: Bounded[Namespace, bool] = Bounded(_REMEMBERED)

    def are_complete(self, prefix: Namespace) -> bool:
        """Says whether all rows under a prefix are known to have marks."""
        return any(self._complete.get(prefix[:depth]) for depth in range(len(prefix) + 1))

    def looks(self, prefixes: Sequence[Namespace]) -> list[Look]:
        """Returns what has to be looked at before items under these prefixes are found by mark."""
        if not self.are_used:
            return []
        return [Look(self, each) for each in prefixes if each not in self._complete and not self.are_complete(each)]

    def settle(self, prefix: Namespace, *, is_complete: bool) -> None:
        """Remembers what was found."""
        self._complete[prefix] = is_complete


class Look:
    """Looks for a row without a mark under one prefix. A store that cannot be asked for one is read, page by page."""

    def __init__(self, marks: Marks, prefix: Namespace) -> None:
        self._marks = marks
        self._prefix = prefix
        self._asks_for_missing = marks._finds_missing
        self._size = 1 if self._asks_for_missing else _PAGE
        self._rows = 0

    def asks(self) -> SearchOp:
        """Returns what to ask the inner store next."""
        wanted = {MARK: None} if self._asks_for_missing else None
        return SearchOp(self._prefix, filter=wanted, limit=self._size, offset=self._rows, refresh_ttl=False)

    def take(self, page: Sequence[Any]) -> bool:
        """Takes the answer, and says whether there is nothing more to ask."""
        self._rows += len(page)
        is_complete = all(isinstance(row.value, dict) and isinstance(row.value.get(MARK), str) for row in page)
        if is_complete and not self._asks_for_missing and len(page) == self._size:
            self._size = _LARGEST_PAGE
            return False
        self._marks.settle(self._prefix, is_complete=is_complete)
        return True
