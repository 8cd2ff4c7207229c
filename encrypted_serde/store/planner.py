"""From what a user asks to what the inner store is asked: seals what is put, and plans what is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, Op, PutOp, SearchOp

from ..audit import BatchSealing
from ..core.context import EncryptionContext
from ..wrapping.stored_item import DICTIONARY
from .batch import Get, Plan, Put, Steps, run
from .embedding import NOT_INDEXED, Index
from .filters import Semantics
from .items import Items
from .listing import LABEL, ListNamespaces, ListPseudonyms
from .names import Names, Place, Pseudonyms, Remembered
from .search import Search


class Surroundings(NamedTuple):
    """What planning needs to know.

    Attributes:
        inner: The inner store.
        items: Seals and opens items.
        names: Where they stand.
        semantics: How the inner store compares.
        indexing: Says what is indexed; None where the inner store has no index.
    """

    inner: BaseStore
    items: Items
    names: Names
    semantics: Semantics
    indexing: Index | None


class Planner:
    """Plans batches.

    Args:
        around: What there is.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._remembered = Remembered()
        self._written = Remembered()

    def steps(self, ops: Sequence[Op]) -> Steps:
        """Gives the steps of a batch. Everything is sealed before the first of them.

        Raises:
            EncryptedSerdeError: If an item does not open, or another cannot be sealed.
            ValueError: If a filter or a namespace is refused.
        """
        items, index = self._around.items, self._around.indexing
        expected = items.tenancy.now()
        entries = self._new_labels(ops, expected)
        texts: dict[str, str] = {}
        plans = self._plans(ops, entries, expected, texts)
        if index is None or not texts:
            results = yield from run(plans)
        else:
            with index.embedding(texts):
                results = yield from run(plans)
        for token, label in entries.items():
            self._written.add(expected, token, label)
        return results[: len(ops)]

    def get(self, op: GetOp) -> Get:
        """Plans one ``get``."""
        items = self._around.items
        expected = items.tenancy.now()
        return Get(op, self._around.names.places(tuple(op.namespace), op.key, expected), items, expected)

    def _plans(
        self, ops: Sequence[Op], entries: Mapping[str, str], expected: EncryptionContext | None, texts: dict[str, str]
    ) -> list[Plan]:
        count = len(entries) + sum(isinstance(op, PutOp) and op.value is not None for op in ops)
        if not count:
            return [self._delete(op, expected) if isinstance(op, PutOp) else self._read(op, expected) for op in ops]
        batch = self._around.items.sealer.batch(count, context=expected)
        plans = [self._put(op, batch, expected, texts) if isinstance(op, PutOp) else self._read(op, expected) for op in ops]
        if entries:
            plans.append(Put([self._entry(batch, token, label) for token, label in entries.items()]))
        return plans

    def _read(self, op: Op, expected: EncryptionContext | None) -> Plan:
        items, names, semantics = self._around.items, self._around.names, self._around.semantics
        if isinstance(op, GetOp):
            return Get(op, names.places(tuple(op.namespace), op.key, expected), items, expected)
        if isinstance(op, SearchOp):
            return Search(op, items=items, names=names, semantics=semantics, expected=expected, inner=self._around.inner)
        if not isinstance(op, ListNamespacesOp):
            raise ValueError(f"Unknown operation type: {type(op)}")
        if not isinstance(names, Pseudonyms):
            return ListNamespaces(op)
        return ListPseudonyms(op, items=items, names=names, semantics=semantics, remembered=self._remembered, expected=expected)

    def _put(self, op: PutOp, batch: BatchSealing, expected: EncryptionContext | None, texts: dict[str, str]) -> Plan:
        if op.value is None:
            return self._delete(op, expected)
        names, index = self._around.names, self._around.indexing
        first, *others = names.places(tuple(op.namespace), op.key, expected)
        gone = [PutOp(*place, value=None) for place in others]
        indexed = NOT_INDEXED if index is None else index.of(op)
        texts.update(indexed.texts)
        stored = self._around.items.seal(batch, first, op, indexed, named=names.pseudonymous)
        return Put([PutOp(*first, value=stored, index=indexed.paths, ttl=op.ttl), *gone])

    def _delete(self, op: PutOp, expected: EncryptionContext | None) -> Plan:
        places = self._around.names.places(tuple(op.namespace), op.key, expected)
        return Put([PutOp(*place, value=None) for place in places])

    def _new_labels(self, ops: Sequence[Op], expected: EncryptionContext | None) -> dict[str, str]:
        """Gives the pseudonyms of labels that are put and that this process has not written to the dictionary yet."""
        names = self._around.names
        if not isinstance(names, Pseudonyms):
            return {}
        found: dict[str, str] = {}
        for op in ops:
            if isinstance(op, PutOp) and op.value is not None:
                found.update(names.labels(op.namespace, expected))
        written = self._written.under(expected)
        return {token: label for token, label in found.items() if token not in written}

    def _entry(self, batch: BatchSealing, token: str, label: str) -> Op:
        op = PutOp(DICTIONARY, token, {LABEL: label})
        stored = self._around.items.seal(batch, Place(DICTIONARY, token), op, NOT_INDEXED, named=False)
        return op._replace(value=stored, index=False)
