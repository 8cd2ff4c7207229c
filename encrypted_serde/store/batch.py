"""The steps of one batch: what the inner store is asked, in how many calls, and what its answers become.

A store runs the reads of a batch before its writes, and so does this one: the reads go to the inner store first, in one call,
and what they found is opened. A batch that is refused has written nothing. Then the writes go, in one call.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any, Protocol

from langgraph.store.base import BaseStore, GetOp, Item, Op

from ..core.context import EncryptionContext
from ..wrapping.offload import LARGE
from ..wrapping.steps import Steps, Work
from ..wrapping.stored_item import KEY
from .dispatch import Ask
from .items import Items
from .names import Place


class Hidden(list[Any]):
    """A list whose text shows nothing of what it holds, since error reporters show the variables of a frame."""

    def __repr__(self) -> str:
        return f"<{len(self)}>"


class Plan(Protocol):
    """What one operation takes."""

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        ...

    def asks(self) -> Sequence[Op]:
        """Returns what to ask the inner store next."""
        ...

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answers to what was asked."""
        ...

    def fork(self) -> Plan:
        """Returns a copy that goes on by itself: to take answers may have to be done again, once a key is there."""
        ...

    def result(self) -> Any:
        """Returns the result of the operation."""
        ...


class Get:
    """One ``get``: from the first place that has the item.

    Args:
        op: The operation.
        places: Where to look.
        items: Opens what is found.
        expected: The context of the request.
    """

    def __init__(self, op: GetOp, places: Sequence[Place], items: Items, expected: EncryptionContext | None) -> None:
        self._op = op
        self._places = places
        self._items = items
        self._expected = expected
        self._answer: Item | None = None
        self.done = False

    def asks(self) -> list[Op]:
        """Asks for every place."""
        if self._places[0].key is self._op.key:
            return [self._op]
        return [self._op._replace(namespace=place.namespace, key=place.key) for place in self._places]

    def opened(self, answers: Sequence[Any]) -> Item | None:
        """Opens what was found first."""
        for place, item in zip(self._places, answers, strict=True):
            if item is not None:
                return Item(
                    value=self._items.open(item, place, self._expected).value,
                    key=self._op.key,
                    namespace=self._op.namespace,
                    created_at=item.created_at,
                    updated_at=item.updated_at,
                )
        return None

    def take(self, answers: Sequence[Any]) -> None:
        """Opens what was found."""
        self._answer = self.opened(answers)
        self.done = True

    def fork(self) -> Get:
        """See `Plan`."""
        return copy.copy(self)

    def result(self) -> Item | None:
        """Returns the item."""
        return self._answer


class Put:
    """One ``put`` or ``delete``, sealed already.

    Args:
        ops: What the inner store is told.
    """

    def __init__(self, ops: Sequence[Op]) -> None:
        self._ops = ops
        self.done = False

    def asks(self) -> Sequence[Op]:
        """Returns what the inner store is told."""
        return self._ops

    def take(self, answers: Sequence[Any]) -> None:
        """Takes nothing: there is nothing to know."""
        self.done = True

    def fork(self) -> Put:
        """See `Plan`."""
        return self

    def result(self) -> None:
        """Returns nothing."""
        return


def run(plans: Sequence[Plan], inner: BaseStore, *, may_block: bool) -> Steps[list[Any]]:
    """Runs the operations of a batch.

    Args:
        plans: What each of them takes.
        inner: The inner store.
        may_block: Whether opening may ask a service for a key.
    """
    current = Hidden(plans)
    while reads := [number for number, plan in enumerate(current) if not isinstance(plan, Put) and not plan.done]:
        asked = Hidden((current[number], current[number].asks()) for number in reads)
        answers = Hidden((yield Ask(inner, [op for _, ops in asked for op in ops])))
        taken = yield Work(partial(_taken, asked, answers), partial(is_heavy, answers, may_block=may_block))
        for number, plan in zip(reads, taken, strict=True):
            current[number] = plan
    if writes := [op for plan in plans if isinstance(plan, Put) for op in plan.asks()]:
        yield Ask(inner, writes)
    return Hidden(plan.result() for plan in current)


def _taken(asked: Sequence[tuple[Plan, Sequence[Op]]], answers: Sequence[Any]) -> Hidden:
    found = iter(answers)
    taken = Hidden()
    for plan, ops in asked:
        fork = plan.fork()
        fork.take(Hidden(islice(found, len(ops))))
        taken.append(fork)
    return taken


def is_heavy(answers: Sequence[Any], *, may_block: bool) -> bool:
    """Says whether answers take long to open."""
    return may_block or sum(map(_size, answers)) >= LARGE


def _size(answer: Any) -> int:
    if isinstance(answer, list):
        return sum(map(_size, answer))
    text = answer.value.get(KEY) if isinstance(answer, Item) and isinstance(answer.value, dict) else None
    return len(text) if isinstance(text, str) else 0
