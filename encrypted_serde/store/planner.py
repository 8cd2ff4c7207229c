"""From what a user asks to what the inner store is asked: seals what is put, and plans what is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from langgraph.store.base import GetOp, Item, ListNamespacesOp, Op, PutOp, SearchOp

from ..audit import BatchSealing
from ..core.context import NO_CONTEXT, EncryptionContext
from ..wrapping.offload import is_large
from ..wrapping.steps import Steps, Work
from ..wrapping.stored_item import DICTIONARY
from .batch import Get, Hidden, Plan, Put, is_heavy, run
from .checks import checked
from .dispatch import Ask
from .embedding import NOT_INDEXED, Handle, Index, forget
from .listing import LABEL, ListNamespaces, ListPseudonyms
from .names import Place, Pseudonyms, Remembered
from .records import KeyRecords, record_ops
from .search import Ground, Search


class Sealed:
    """What is put by one batch, sealed.

    Attributes:
        puts: The plan of each put, by its position in the batch.
        more: What goes along: entries of the dictionary of labels, and records of keys.
        handles: The texts that the inner store embeds.
    """

    def __init__(self) -> None:
        self.puts: dict[int, Put] = {}
        self.more: list[Op] = []
        self.handles: list[Handle] = []


class Planner:
    """Plans batches.

    Args:
        ground: What all operations of a store have in common.
        index: Says what is indexed; None where the inner store has no index.
    """

    def __init__(self, ground: Ground, index: Index | None) -> None:
        self._ground = ground
        self._index = index
        self._labels = Remembered()
        self._foreign = Remembered()
        self._written = Remembered()
        self._records = KeyRecords(ground.inner, ground.items) if ground.has_records else None

    @property
    def gets_at_once(self) -> bool:
        """Whether a ``get`` takes one question and nothing before it."""
        return not self._ground.names.pseudonymous

    def get(self, op: GetOp) -> Get:
        """Plans one ``get``."""
        op = checked(op)
        items = self._ground.items
        expected = items.tenancy.now()
        items.tenancy.check_reading(expected)
        return Get(op, self._ground.names.places(tuple(op.namespace), op.key, expected), items, expected)

    @property
    def puts_at_once(self) -> bool:
        """Whether a ``put`` takes one question, and nothing goes along with it."""
        return self._records is None and self._index is None

    def put(self, op: PutOp) -> Sequence[Op]:
        """Seals one ``put``, and returns what to ask the inner store."""
        op = checked(op)
        tenancy = self._ground.items.tenancy
        expected = tenancy.now()
        tenancy.check_writing(expected)
        batch = None if op.value is None else self._ground.items.sealer.batch(1, context=expected)
        return self._put(op, batch, Sealed(), expected).asks()

    def steps(self, ops: Sequence[Op]) -> Steps[list[Any]]:
        """Returns the steps of a batch. Everything is sealed before the first of them, and read before anything is written.

        Raises:
            EncryptedSerdeError: If an item does not open, or another cannot be sealed.
            ValueError: If a filter or a namespace is refused.
        """
        alone = ops[0] if len(ops) == 1 else None
        if (isinstance(alone, GetOp) and self.gets_at_once) or (isinstance(alone, PutOp) and self.puts_at_once):
            return [(yield from self._alone(alone))]
        ops = Hidden(map(checked, ops))
        may_block = self._ground.items.sealer.may_block
        expected = self._expected(ops)
        if self._needs_all_keys(ops):
            yield from self._records.check(expected)  # type: ignore[union-attr]  # it is there
        sealed, plans = yield Work(partial(self._plans, ops, expected), partial(_is_heavy, ops, may_block=may_block))
        results = yield from run(plans, self._ground.inner, may_block=may_block)
        forget(sealed.handles)
        self._remember(sealed.more, expected)
        return Hidden(results[: len(ops)])

    def _alone(self, op: GetOp | PutOp) -> Steps[Item | None]:
        """Does what takes one question: without the plans of a batch, and their copies."""
        inner, may_block = self._ground.inner, self._ground.items.sealer.may_block
        if isinstance(op, PutOp):
            asks = yield Work(partial(self.put, op), may_block or is_large(op.value))
            yield Ask(inner, asks)
            return None
        get = self.get(op)
        answers = yield Ask(inner, get.asks())
        item: Item | None = yield Work(partial(get.opened, answers), partial(is_heavy, answers, may_block=may_block))
        return item

    def _expected(self, ops: Sequence[Op]) -> EncryptionContext | None:
        tenancy = self._ground.items.tenancy
        expected = tenancy.now()
        if any(isinstance(op, PutOp) for op in ops):
            tenancy.check_writing(expected)
        if not all(isinstance(op, PutOp) for op in ops):
            tenancy.check_reading(expected)
        return expected

    def _needs_all_keys(self, ops: Sequence[Op]) -> bool:
        """Says whether an answer depends on every key that names or tokens were made with."""
        if self._records is None:
            return False
        searchable = self._ground.items.fields.searchable
        return self._ground.names.pseudonymous or any(
            isinstance(op, SearchOp) and op.filter and not searchable.isdisjoint(op.filter) for op in ops
        )

    def _plans(self, ops: Sequence[Op], expected: EncryptionContext | None) -> tuple[Sealed, Hidden]:
        sealed = self._seal(ops, expected)
        plans = Hidden(
            sealed.puts.get(number, _OVERTAKEN) if isinstance(op, PutOp) else self._read(op, expected)
            for number, op in enumerate(ops)
        )
        if sealed.more:
            plans.append(Put(sealed.more))
        return sealed, plans

    # --- reading

    def _read(self, op: Op, expected: EncryptionContext | None) -> Plan:
        ground = self._ground
        if isinstance(op, GetOp):
            return Get(op, ground.names.places(tuple(op.namespace), op.key, expected), ground.items, expected)
        if isinstance(op, SearchOp):
            return Search(op, ground, expected)
        if not isinstance(op, ListNamespacesOp):
            raise ValueError(f"Unknown operation type: {type(op)}")
        if not isinstance(ground.names, Pseudonyms):
            return ListNamespaces(op, has_records=ground.has_records)
        return ListPseudonyms(op, ground, ground.names, (self._labels, self._foreign), expected)

    # --- writing

    def _seal(self, ops: Sequence[Op], expected: EncryptionContext | None) -> Sealed:
        sealed = Sealed()
        puts = _last_of_each(ops)
        values = [op for _, op in puts if op.value is not None]
        context = expected or NO_CONTEXT
        labels = self._new_labels(values, expected) if values else {}
        records = self._records.missing(context) if values and self._records else []
        batch = None
        if values:
            batch = self._ground.items.sealer.batch(len(values) + len(labels) + len(records), context=expected)
        for number, op in puts:
            sealed.puts[number] = self._put(op, batch, sealed, expected)
        if batch is not None:
            entries = [PutOp(DICTIONARY, token, {LABEL: label}, index=False) for token, label in labels.items()]
            sealed.more = [self._own(batch, op) for op in (*entries, *record_ops(records))]
        return sealed

    def _put(self, op: PutOp, batch: BatchSealing | None, sealed: Sealed, expected: EncryptionContext | None) -> Put:
        names = self._ground.names
        first, *others = names.places(tuple(op.namespace), op.key, expected)
        gone = [PutOp(*place, value=None) for place in others]
        if op.value is None or batch is None:
            return Put([PutOp(*first, value=None), *gone])
        indexed = NOT_INDEXED if self._index is None else self._index.of(op)
        sealed.handles += indexed.handles.values()
        stored = self._ground.items.seal(batch, first, op, indexed, named=names.pseudonymous)
        return Put([PutOp(*first, value=stored, index=indexed.paths, ttl=op.ttl), *gone])

    def _own(self, batch: BatchSealing, op: PutOp) -> Op:
        """Seals an item of the store's own."""
        place = Place(op.namespace, op.key)
        return op._replace(value=self._ground.items.seal(batch, place, op, NOT_INDEXED, named=False))

    def _new_labels(self, puts: Sequence[PutOp], expected: EncryptionContext | None) -> dict[str, str]:
        """Returns the pseudonyms of labels that are put and that this process has not written to the dictionary yet."""
        names = self._ground.names
        if not isinstance(names, Pseudonyms):
            return {}
        found = {token: label for op in puts for token, label in names.labels(op.namespace, expected).items()}
        written = self._written.among(expected, found)
        return {token: label for token, label in found.items() if token not in written}

    def _remember(self, more: Sequence[Op], expected: EncryptionContext | None) -> None:
        """Remembers what of the store's own is written."""
        records = [Place(op.namespace, op.key) for op in more if isinstance(op, PutOp) and op.namespace != DICTIONARY]
        if records and self._records:
            self._records.written(expected or NO_CONTEXT, records)
        for op in more:
            if isinstance(op, PutOp) and op.namespace == DICTIONARY:
                self._written.add(expected, op.key)


_OVERTAKEN = Put([])
"""A put that a later one of the same batch replaces: of these a store keeps the last, in the place of the first."""


def _last_of_each(ops: Sequence[Op]) -> list[tuple[int, PutOp]]:
    """Returns the puts that count, each with the position of the first for its item."""
    last: dict[Place, tuple[int, PutOp]] = {}
    for number, op in enumerate(ops):
        if isinstance(op, PutOp):
            place = Place(op.namespace, op.key)
            last[place] = (last[place][0] if place in last else number, op)
    return [*last.values()]


def _is_heavy(ops: Sequence[Op], *, may_block: bool) -> bool:
    """Says whether a batch takes long to seal."""
    return may_block or any(isinstance(op, PutOp) and is_large(op.value) for op in ops)
