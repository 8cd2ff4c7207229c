"""Answering ``list_namespaces``: as it is, or with the labels behind pseudonyms."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from typing import Any

from langgraph.store.base import GetOp, Item, ListNamespacesOp, Op, SearchOp

from ..core.context import EncryptionContext
from ..errors import MalformedEnvelope, UnknownKey
from ..wrapping.stored_item import DICTIONARY
from .items import find_item
from .names import Namespace, Place, Pseudonyms, Remembered, is_pseudonym, is_reserved
from .search import Ground

_ALL = (1 << 31) - 1
_AT_ONCE = 1000  # questions in one call: a database takes so many parameters in a statement

LABEL = "label"
"""The one field of an entry of the dictionary."""


class ListNamespaces:
    """One listing of readable namespaces: the inner store's own, but for those that are reserved.

    Args:
        op: The listing.
        has_records: Whether the store keeps something in reserved namespaces, so that limit and offset come last.
    """

    def __init__(self, op: ListNamespacesOp, *, has_records: bool) -> None:
        self._op = op
        self._cuts = has_records and not any(
            condition.match_type == "prefix" and condition.path and condition.path[0] not in ("*", *DICTIONARY)
            for condition in op.match_conditions or ()
        )
        self._answer: list[Namespace] = []
        self.done = False

    def asks(self) -> list[Op]:
        """Returns what to ask the inner store next."""
        return [self._op._replace(limit=_ALL, offset=0) if self._cuts else self._op]

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answer."""
        self._answer = [namespace for namespace in answers[0] if not is_reserved(namespace)]
        if self._cuts:
            self._answer = self._answer[self._op.offset :][: self._op.limit]
        self.done = True

    def fork(self) -> ListNamespaces:
        """Returns a copy that goes on by itself."""
        return copy.copy(self)

    def result(self) -> list[Namespace]:
        """Returns the answer."""
        return self._answer


class ListPseudonyms:
    """One listing of namespaces whose labels are pseudonyms.

    The inner store returns all of them that match. Their labels are looked up in what this process remembers, then in the
    dictionary; where that has none, in an item of the namespace, which has its names sealed in it. What belongs to another
    tenant is left out. Sorting, limit and offset come last.

    Args:
        op: The listing.
        ground: What all operations of a store have in common.
        names: Makes the pseudonyms to ask with.
        seen: Labels that were seen before, and pseudonyms that belong to others.
        expected: The context of the request.
    """

    def __init__(
        self,
        op: ListNamespacesOp,
        ground: Ground,
        names: Pseudonyms,
        seen: tuple[Remembered, Remembered],
        expected: EncryptionContext | None,
    ) -> None:
        self._op = op
        self._items = ground.items
        self._names = names
        self._semantics = ground.semantics
        self._labels, self._foreign = seen
        self._expected = expected
        self._next: list[Op] = [
            op._replace(match_conditions=conditions, limit=_ALL, offset=0)
            for conditions in names.conditions(op.match_conditions, expected)
        ]
        self._asked: list[Op] = []
        self._answers: list[Any] = []
        self._take = ListPseudonyms._take_namespaces
        self._stored: list[Namespace] = []
        self._named: set[Namespace] = set()
        self._known: dict[str, str] = {}
        self.done = False

    def asks(self) -> list[Op]:
        """Returns what to ask the inner store next."""
        return self._next[:_AT_ONCE]

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answers to what was asked."""
        self._asked += self._next[:_AT_ONCE]
        self._answers += answers
        self._next = self._next[_AT_ONCE:]
        if not self._next:
            self._take(self)
            self._asked, self._answers = [], []
        self.done = not self._next

    def fork(self) -> ListPseudonyms:
        """Returns a copy that goes on by itself."""
        fork = copy.copy(self)
        fork._asked, fork._answers = [*self._asked], [*self._answers]
        fork._stored, fork._named, fork._known = [*self._stored], {*self._named}, {**self._known}
        return fork

    def result(self) -> list[Namespace]:
        """Returns the answer."""
        found = sorted(self._named, key=self._semantics.sort_key)
        return found[self._op.offset :][: self._op.limit]

    def _take_namespaces(self) -> None:
        namespaces = dict.fromkeys(chain(*self._answers))
        tokens = dict.fromkeys(chain(*namespaces))
        readable = {label for label in tokens if not is_pseudonym(label)}
        if self._names.moving_in:
            self._named.update(each for each in namespaces if not (readable.isdisjoint(each) or is_reserved(each)))
        others = readable.union(self._foreign.among(self._expected, tokens))
        self._stored = [namespace for namespace in namespaces if others.isdisjoint(namespace)]
        tokens = dict.fromkeys(chain(*self._stored))
        self._known = self._labels.among(self._expected, tokens)
        self._next = [GetOp(DICTIONARY, token, refresh_ttl=False) for token in tokens if token not in self._known]
        self._take = ListPseudonyms._take_entries
        if not self._next:
            self._take_entries()

    def _take_entries(self) -> None:
        for op, entry in zip(self._asked, self._answers, strict=True):
            if entry is not None and isinstance(op, GetOp):
                self._take_entry(op.key, entry)
        missing = []
        for namespace in self._stored:
            labels = tuple(map(self._known.get, namespace))
            if None not in labels:
                self._named.add(labels)  # type: ignore[arg-type]  # none of them is None
            elif not self._foreign.among(self._expected, namespace):
                missing.append(namespace)
        self._next = [SearchOp(namespace, limit=1, refresh_ttl=False) for namespace in missing]
        self._take = ListPseudonyms._take_items

    def _take_entry(self, token: str, entry: Item) -> None:
        sealed = find_item(entry)
        if sealed is not None and not self._items.tenancy.reads(sealed.head.context, self._expected):
            self._foreign.add(self._expected, token)
            return
        try:
            label = self._items.open(entry, Place(DICTIONARY, token), self._expected).value.get(LABEL)
        except UnknownKey:  # a key that is needed no more: `KeyRecords` saw that no item is under it
            return
        if not isinstance(label, str):
            raise MalformedEnvelope("an entry of the dictionary of labels holds no label")
        self._known[token] = label
        self._labels.add(self._expected, token, label)

    def _take_items(self) -> None:
        for op, found in zip(self._asked, self._answers, strict=True):
            if not found or not isinstance(op, SearchOp):
                continue  # it was emptied meanwhile
            item = found[0]
            sealed = find_item(item)
            if sealed is not None and not self._items.tenancy.reads(sealed.head.context, self._expected):
                continue
            opened = self._items.open(item, Place(item.namespace, item.key), self._expected)
            self._named.add(opened.namespace[: len(op.namespace_prefix)])
