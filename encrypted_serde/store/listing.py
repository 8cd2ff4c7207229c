"""Answering ``list_namespaces``: as it is, or with the labels that pseudonyms stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langgraph.store.base import GetOp, Item, ListNamespacesOp, Op, SearchOp

from ..core.context import EncryptionContext
from ..errors import MalformedEnvelope
from ..wrapping.stored_item import DICTIONARY
from .filters import Semantics
from .items import Items, find_item
from .names import Namespace, Place, Pseudonyms, Remembered, is_pseudonymous

_ALL = (1 << 31) - 1

LABEL = "label"
"""The one field of an entry of the dictionary."""


class ListNamespaces:
    """One listing of readable namespaces: the inner store's own."""

    may_ask_again = False

    def __init__(self, op: ListNamespacesOp) -> None:
        self._op = op
        self._answer: list[Namespace] = []
        self.done = False

    def asks(self) -> list[Op]:
        """Gives what to ask the inner store next."""
        return [self._op]

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answer."""
        self._answer = answers[0]
        self.done = True

    def result(self) -> list[Namespace]:
        """Gives the answer."""
        return self._answer


class ListPseudonyms:
    """One listing of namespaces whose labels are pseudonyms.

    The inner store gives all of them that match. Their labels are looked up in what this process remembers, then in the
    dictionary; where that has none, in an item of the namespace, which has its names sealed in it. What belongs to another
    tenant is left out. Sorting, limit and offset come last.

    Args:
        op: The listing.
        items: Opens entries and items.
        names: Makes the pseudonyms to ask with.
        semantics: How the inner store sorts.
        remembered: Labels that were seen before.
        expected: The context of the request.
    """

    may_ask_again = False  # not for what a write of the same batch could change

    def __init__(
        self,
        op: ListNamespacesOp,
        *,
        items: Items,
        names: Pseudonyms,
        semantics: Semantics,
        remembered: Remembered,
        expected: EncryptionContext | None,
    ) -> None:
        self._op = op
        self._items = items
        self._names = names
        self._semantics = semantics
        self._remembered = remembered
        self._expected = expected
        self._next: list[Op] = [
            op._replace(match_conditions=conditions, limit=_ALL, offset=0)
            for conditions in names.conditions(op.match_conditions, expected)
        ]
        self._take: Callable[[Sequence[Op], Sequence[Any]], None] = self._take_namespaces
        self._stored: list[Namespace] = []
        self._named: set[Namespace] = set()
        self._foreign: set[str] = set()
        self.done = False

    def asks(self) -> list[Op]:
        """Gives what to ask the inner store next."""
        return self._next

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answers to what was asked."""
        asked, self._next = self._next, []
        self._take(asked, answers)
        self.done = not self._next

    def result(self) -> list[Namespace]:
        """Gives the answer."""
        found = sorted(self._named, key=self._semantics.sort_key)
        return found[self._op.offset :][: self._op.limit]

    def _take_namespaces(self, asked: Sequence[Op], answers: Sequence[list[Namespace]]) -> None:
        known = self._remembered.under(self._expected)
        unknown: dict[str, None] = {}
        for namespace in dict.fromkeys(namespace for answer in answers for namespace in answer):
            labels = [known.get(token) for token in namespace]
            if None not in labels:
                self._named.add(tuple(labels))  # type: ignore[arg-type]  # none of them is None
            elif is_pseudonymous(namespace):
                self._stored.append(namespace)
                unknown.update(dict.fromkeys(token for token in namespace if token not in known))
            elif self._names.moving_in and namespace != DICTIONARY:
                self._named.add(namespace)
        self._next = [GetOp(DICTIONARY, token, refresh_ttl=False) for token in unknown]
        self._take = self._take_entries

    def _take_entries(self, asked: Sequence[Op], answers: Sequence[Item | None]) -> None:
        for op, entry in zip(asked, answers, strict=True):
            if entry is not None and isinstance(op, GetOp):
                self._take_entry(op.key, entry)
        known = self._remembered.under(self._expected)
        missing = []
        for namespace in self._stored:
            labels = [known.get(token) for token in namespace]
            if None not in labels:
                self._named.add(tuple(labels))  # type: ignore[arg-type]  # none of them is None
            elif self._foreign.isdisjoint(namespace):
                missing.append(namespace)
        self._next = [SearchOp(namespace, limit=1, refresh_ttl=False) for namespace in missing]
        self._take = self._take_items

    def _take_entry(self, token: str, entry: Item) -> None:
        sealed = find_item(entry)
        if sealed is not None and not self._items.tenancy.reads(sealed.head.context, self._expected):
            self._foreign.add(token)
            return
        label = self._items.open(entry, Place(DICTIONARY, token), self._expected).value.get(LABEL)
        if not isinstance(label, str):
            raise MalformedEnvelope("an entry of the dictionary of labels holds no label")
        self._remembered.add(self._expected, token, label)

    def _take_items(self, asked: Sequence[Op], answers: Sequence[Sequence[Item]]) -> None:
        for op, found in zip(asked, answers, strict=True):
            if not found or not isinstance(op, SearchOp):
                continue  # it was emptied meanwhile
            item = found[0]
            sealed = find_item(item)
            if sealed is not None and not self._items.tenancy.reads(sealed.head.context, self._expected):
                continue
            opened = self._items.open(item, Place(item.namespace, item.key), self._expected)
            self._named.add(opened.namespace[: len(op.namespace_prefix)])
