"""Where items of a tenant can be found by the mark of its context, in the database.

Every item that is put has the mark. Rows from before have none, and would not be found: so a process looks once at every prefix
that a tenant searches. Where a row without a mark is found, all rows are read, and their contexts compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langgraph.store.base import SearchOp

from ..core.bounded import Bounded
from ..wrapping.stored_item import MARK
from .batch import Plan, Question
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

    def look(self, prefixes: Iterable[Namespace]) -> Plan[None]:
        """Looks for rows without a mark. A store that cannot be asked for one is read, page by page."""
        if not self.are_used:
            return
        wanted = {MARK: None} if self._finds_missing else None
        rows = dict.fromkeys((each for each in prefixes if each not in self._complete and not self.are_complete(each)), 0)
        while rows:
            ops = [
                SearchOp(prefix, filter=wanted, limit=self._size(offset), offset=offset, refresh_ttl=False)
                for prefix, offset in rows.items()
            ]
            for op, (length, are_marked) in zip(ops, (yield Question(ops, _looked)), strict=True):
                if are_marked and not self._finds_missing and length == op.limit:
                    rows[op.namespace_prefix] += length
                else:
                    self._complete[op.namespace_prefix] = are_marked
                    del rows[op.namespace_prefix]

    def _size(self, offset: int) -> int:
        if self._finds_missing:
            return 1
        return _LARGEST_PAGE if offset else _PAGE


def _looked(pages: Sequence[Any]) -> list[tuple[int, bool]]:
    """Returns for each page how many rows it has, and whether all of them have marks."""
    return [
        (len(page or ()), all(isinstance(row.value, dict) and isinstance(row.value.get(MARK), str) for row in page or ()))
        for page in pages
    ]
