"""From what a user asks to what the inner store is asked: seals what is put, and plans what is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from langgraph.store.base import GetOp, Item, ListNamespacesOp, Op, PutOp, SearchOp

from ..core.bounded import Bounded
from ..core.context import NO_CONTEXT, EncryptionContext
from ..core.sealer import Batch
from ..wrapping.offload import is_large
from ..wrapping.steps import Steps, Work
from ..wrapping.stored_item import DICTIONARY, HANDLES
from .batch import Hidden, Plan, Question, Started, answered, is_heavy
from .dispatch import ask
from .embedding import Handle, Index, forget
from .listing import LABEL, ListPseudonyms, list_readable
from .names import REMEMBERED, Place, Pseudonyms, Remembered, checked
from .records import KeyRecords
from .search import Ground, Search


class Prepared:
    """A batch before the inner store is asked: what is put is sealed, what is read is planned.

    Attributes:
        reads: The plan of each operation that reads; None for a put.
        writes: What the inner store is told of each item that is put.
        own: What goes along: entries of the dictionary of labels, and records of keys.
        handles: The texts that the inner store embeds.
    """

    def __init__(self) -> None:
        self.reads: list[Started | None] = []
        self.writes: list[Op] = []
        self.own: list[PutOp] = []
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
        self._written: Bounded[Place, None] = Bounded(REMEMBERED)
        self._records = KeyRecords(ground.inner, ground.items) if ground.has_records else None

    def is_simple(self, ops: Sequence[Op]) -> bool:
        """Says whether a batch takes one question, and nothing before or after: a ``get``, or a ``put`` of readable names."""
        if len(ops) != 1:
            return False
        if isinstance(ops[0], GetOp):
            return not self._ground.names.pseudonymous
        return isinstance(ops[0], PutOp) and self._records is None and self._index is None

    def question(self, op: GetOp | PutOp) -> Question:
        """Returns the question of a simple operation. What is put is sealed already."""
        op = checked(op)
        is_put = isinstance(op, PutOp)
        expected = self._ground.items.tenancy.expected(writes=is_put, reads=not is_put)
        if isinstance(op, GetOp):
            return self._get(op, expected)
        batch = None if op.value is None else self._ground.items.sealer.batch(1, context=expected)
        return Question(self._put(op, batch, [], expected), _nothing)

    def steps(self, ops: Hidden) -> Steps[list[Any]]:
        """Returns the steps of a batch. Everything is sealed before the first of them, and read before anything is written.

        Raises:
            EncryptedSerdeError: If an item does not open, or another cannot be sealed.
            ValueError: If a filter or a namespace is refused.
        """
        inner, may_block = self._ground.inner, self._ground.items.sealer.may_block
        if self.is_simple(ops):  # without the plans of a batch
            takes_key = isinstance(ops[0], PutOp) and _is_heavy(ops, may_block=may_block)
            question = yield Work(partial(self.question, ops[0]), takes_key)
            answers = yield from ask(inner, question.ops)
            return [(yield Work(partial(question.open, answers), partial(is_heavy, answers, may_block=may_block)))]
        ops = Hidden(map(checked, ops))
        are_puts = [isinstance(op, PutOp) for op in ops]
        expected = self._ground.items.tenancy.expected(writes=any(are_puts), reads=not all(are_puts))
        if self._needs_all_keys(ops):
            yield from self._records.check(expected)  # type: ignore[union-attr]  # it is there
        prepared = yield Work(partial(self._prepared, ops, expected), partial(_is_heavy, ops, may_block=may_block))
        results = yield from answered(prepared.reads, inner, may_block=may_block)
        if prepared.writes:
            yield from ask(inner, [*prepared.writes, *prepared.own])
        forget(prepared.handles)
        for op in prepared.own:
            self._written[Place(op.namespace, op.key)] = None
        return results

    def _needs_all_keys(self, ops: Sequence[Op]) -> bool:
        """Says whether an answer depends on every key that names or tokens were made with."""
        if self._records is None:
            return False
        searchable = self._ground.items.fields.searchable
        return self._ground.names.pseudonymous or any(
            isinstance(op, SearchOp) and op.filter and not searchable.isdisjoint(op.filter) for op in ops
        )

    def _prepared(self, ops: Sequence[Op], expected: EncryptionContext | None) -> Prepared:
        prepared = Prepared()
        self._seal([*_last_of_each(ops).values()], prepared, expected)
        for op in ops:
            plan = None if isinstance(op, PutOp) else self._read(op, expected)
            prepared.reads.append(None if plan is None else Started(plan, next(plan)))
        return prepared

    # --- reading

    def _read(self, op: Op, expected: EncryptionContext | None) -> Plan[Any]:
        ground = self._ground
        if isinstance(op, GetOp):
            return _once(self._get(op, expected))
        if isinstance(op, SearchOp):
            return Search(op, ground, expected).plan()
        if not isinstance(op, ListNamespacesOp):
            raise ValueError(f"Unknown operation type: {type(op)}")
        if not isinstance(ground.names, Pseudonyms):
            return list_readable(op, has_records=ground.has_records)
        return ListPseudonyms(op, ground, ground.names, (self._labels, self._foreign), expected).plan()

    def _get(self, op: GetOp, expected: EncryptionContext | None) -> Question:
        places = self._ground.names.places(tuple(op.namespace), op.key, expected)
        is_same = places[0].key is op.key
        ops = [op] if is_same else [op._replace(namespace=place.namespace, key=place.key) for place in places]
        return Question(ops, partial(self._opened, op, places, expected))

    def _opened(
        self, op: GetOp, places: Sequence[Place], expected: EncryptionContext | None, found: Sequence[Item | None]
    ) -> Item | None:
        """Opens what was found first."""
        for place, item in zip(places, found, strict=True):
            if item is not None:
                value = self._ground.items.open(item, place, expected).value
                return Item(
                    value=value, key=op.key, namespace=op.namespace, created_at=item.created_at, updated_at=item.updated_at
                )
        return None

    # --- writing

    def _seal(self, puts: Sequence[PutOp], prepared: Prepared, expected: EncryptionContext | None) -> None:
        values = [op for op in puts if op.value is not None]
        own = self._own(values, expected) if values else []
        batch = self._ground.items.sealer.batch(len(values) + len(own), context=expected) if values else None
        for op in puts:
            prepared.writes += self._put(op, batch, prepared.handles, expected)
        if batch is not None:
            seal = partial(self._ground.items.seal, batch, handles={}, named=False)
            prepared.own = [op._replace(value=seal(Place(op.namespace, op.key), op)) for op in own]

    def _put(self, op: PutOp, batch: Batch | None, handles: list[Handle], expected: EncryptionContext | None) -> list[Op]:
        """Seals an item, and returns what the inner store is told of it."""
        names = self._ground.names
        first, *others = names.places(tuple(op.namespace), op.key, expected)
        gone = [PutOp(*place, value=None) for place in others]
        if op.value is None or batch is None:
            return [PutOp(*first, value=None), *gone]
        indexed = {} if self._index is None else self._index.of(op)
        handles += indexed.values()
        stored = self._ground.items.seal(batch, first, op, indexed, named=names.pseudonymous)
        index: Literal[False] | list[str] = [f"{HANDLES}.{name}" for name in indexed] or False
        return [PutOp(*first, value=stored, index=index, ttl=op.ttl), *gone]

    def _own(self, puts: Sequence[PutOp], expected: EncryptionContext | None) -> list[PutOp]:
        """Returns the store's own items that puts need and that this process has not written yet: labels, and a record."""
        names, own = self._ground.names, list[PutOp]()
        if isinstance(names, Pseudonyms):
            labels = {token: label for op in puts for token, label in names.labels(op.namespace, expected).items()}
            own += [PutOp(DICTIONARY, token, {LABEL: label}, index=False) for token, label in labels.items()]
        if self._records:
            own.append(self._records.record(expected or NO_CONTEXT))
        return [op for op in own if Place(op.namespace, op.key) not in self._written]


def _once(question: Question) -> Plan[Any]:
    return (yield question)


def _nothing(answers: Sequence[Any]) -> None:
    """What a put returns."""


def _last_of_each(ops: Sequence[Op]) -> dict[Place, PutOp]:
    """Returns the puts that count: a store keeps the last for an item, in the place of the first."""
    return {Place(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}


def _is_heavy(ops: Sequence[Op], *, may_block: bool) -> bool:
    """Says whether a batch takes long to seal."""
    return may_block or any(isinstance(op, PutOp) and is_large(op.value) for op in ops)
