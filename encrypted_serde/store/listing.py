"""Answering ``list_namespaces``: as it is, or with the labels behind pseudonyms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from langgraph.store.base import GetOp, Item, ListNamespacesOp, Op, SearchItem, SearchOp

from ..core.context import EncryptionContext
from ..errors import MalformedEnvelope, UnknownKey
from ..wrapping.stored_item import DICTIONARY
from .batch import Plan, Question
from .names import Namespace, Place, Pseudonyms, Remembered, is_pseudonym, is_reserved
from .search import Ground

_ALL = (1 << 31) - 1
_AT_ONCE = 1000  # questions in one call: a database takes so many parameters in a statement

LABEL = "label"
"""The one field of an entry of the dictionary."""


def list_readable(op: ListNamespacesOp, *, has_records: bool) -> Plan[list[Namespace]]:
    """Lists readable namespaces: the inner store's own answer, but for those that are reserved.

    Args:
        op: The listing.
        has_records: Whether the store keeps something in reserved namespaces, so that limit and offset come last.
    """
    cuts = has_records and not any(
        condition.match_type == "prefix" and condition.path and condition.path[0] not in ("*", *DICTIONARY)
        for condition in op.match_conditions or ()
    )
    [namespaces] = yield Question([op._replace(limit=_ALL, offset=0) if cuts else op], list)
    found = [namespace for namespace in namespaces if not is_reserved(namespace)]
    return found[op.offset :][: op.limit] if cuts else found


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
        self._semantics = ground.semantics
        self._moving_in = names.moving_in
        self._labels, self._foreign = seen
        self._expected = expected
        self._asked: list[Op] = [
            op._replace(match_conditions=conditions, limit=_ALL, offset=0)
            for conditions in names.conditions(op.match_conditions, expected)
        ]

    def plan(self) -> Plan[list[Namespace]]:
        """Returns the plan."""
        answers = yield from _each(self._asked, lambda op, namespaces: namespaces)
        namespaces = dict.fromkeys(chain(*answers))
        tokens = dict.fromkeys(chain(*namespaces))
        readable = {label for label in tokens if not is_pseudonym(label)}
        named = set[Namespace]()
        if self._moving_in:
            named.update(each for each in namespaces if not (readable.isdisjoint(each) or is_reserved(each)))
        others = readable.union(self._foreign.among(self._expected, tokens))
        stored = [namespace for namespace in namespaces if others.isdisjoint(namespace)]
        known = yield from self._looked_up(dict.fromkeys(chain(*stored)))
        unnamed: list[Op] = []
        for namespace in stored:
            labels = tuple(known[token] for token in namespace if token in known)
            if len(labels) == len(namespace):
                named.add(labels)
            elif not self._foreign.among(self._expected, namespace):
                unnamed.append(SearchOp(namespace, limit=1, refresh_ttl=False))
        named.update(filter(None, (yield from _each(unnamed, self._named))))
        return sorted(named, key=self._semantics.sort_key)[self._op.offset :][: self._op.limit]

    def _looked_up(self, tokens: dict[str, None]) -> Plan[dict[str, str]]:
        """Returns the labels behind pseudonyms, as far as this process or the dictionary knows them."""
        known = self._labels.among(self._expected, tokens)
        asked = [GetOp(DICTIONARY, token, refresh_ttl=False) for token in tokens if token not in known]
        found = yield from _each(asked, self._label)
        return known | {op.key: label for op, label in zip(asked, found, strict=True) if label is not None}

    def _label(self, op: GetOp, entry: Item | None) -> str | None:
        """Opens an entry of the dictionary, and remembers it; None if there is none of the caller."""
        if entry is None:
            return None
        try:
            found = self._items.open_own(entry, Place(DICTIONARY, op.key), self._expected)
        except UnknownKey:  # a key that is needed no more: `KeyRecords` saw that no item is under it
            return None
        if found is None:
            self._foreign.add(self._expected, op.key)
            return None
        label = found.value.get(LABEL)
        if not isinstance(label, str):
            raise MalformedEnvelope("an entry of the dictionary of labels holds no label")
        self._labels.add(self._expected, op.key, label)
        return label

    def _named(self, op: SearchOp, found: Sequence[SearchItem]) -> Namespace | None:
        """Opens an item of a namespace, which has the labels in it; None if there is none of the caller."""
        if not found:  # it was emptied meanwhile
            return None
        opened = self._items.open_own(found[0], Place(found[0].namespace, found[0].key), self._expected)
        return None if opened is None else opened.namespace[: len(op.namespace_prefix)]


def _each(ops: Sequence[Op], open_one: Callable[[Any, Any], Any]) -> Plan[list[Any]]:
    """Asks for each operation, and opens each answer: as many in one call as a database takes."""
    opened: list[Any] = []
    for start in range(0, len(ops), _AT_ONCE):
        part = ops[start : start + _AT_ONCE]
        opened += yield Question(part, partial(_opened, open_one, part))
    return opened


def _opened(open_one: Callable[[Any, Any], Any], ops: Sequence[Op], answers: Sequence[Any]) -> list[Any]:
    return [open_one(op, answer) for op, answer in zip(ops, answers, strict=True)]
