"""The steps of one batch: what the inner store is asked, in how many calls, and what its answers become.

Everything goes to the inner store in one call. Two things need more: a search whose answers are compared after opening may go
on to the next page, and pseudonyms may have to be looked up. A store runs the reads of a batch before its writes; so where a
read may ask again, the writes wait until it is done.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import islice
from typing import Any, Protocol

from langgraph.store.base import GetOp, Item, Op

from ..core.context import EncryptionContext
from .items import Items
from .names import Place

Steps = Generator[list[Op], list[Any], list[Any]]
"""Gives lists of operations for the inner store, takes its results, returns those of the batch."""


class Plan(Protocol):
    """What one operation takes.

    Attributes:
        done: Whether its result is there.
        may_ask_again: Whether it may read on after its first answers.
    """

    done: bool

    @property
    def may_ask_again(self) -> bool:
        """See above."""
        ...

    def asks(self) -> list[Op]:
        """Gives what to ask the inner store next."""
        ...

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the answers to what was asked."""
        ...

    def result(self) -> Any:
        """Gives the result of the operation."""
        ...


class Get:
    """One ``get``: from the first place that has the item.

    Args:
        op: The operation.
        places: Where to look.
        items: Opens what is found.
        expected: The context of the request.
    """

    may_ask_again = False

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

    def take(self, answers: Sequence[Any]) -> None:
        """Opens what was found."""
        self.done = True
        for place, item in zip(self._places, answers, strict=True):
            if item is not None:
                value = self._items.open(item, place, self._expected).value
                self._answer = Item(
                    value=value,
                    key=self._op.key,
                    namespace=self._op.namespace,
                    created_at=item.created_at,
                    updated_at=item.updated_at,
                )
                return

    def result(self) -> Item | None:
        """Gives the item."""
        return self._answer


class Put:
    """One ``put`` or ``delete``, sealed already.

    Args:
        ops: What the inner store is told.
    """

    may_ask_again = False

    def __init__(self, ops: list[Op]) -> None:
        self._ops = ops
        self.done = False

    def asks(self) -> list[Op]:
        """Gives what the inner store is told."""
        return self._ops

    def take(self, answers: Sequence[Any]) -> None:
        """Takes nothing: there is nothing to know."""
        self.done = True

    def result(self) -> None:
        """Gives nothing."""
        return


def run(plans: Sequence[Plan]) -> Steps:
    """Runs the operations of a batch."""
    phases: list[Sequence[Plan]] = [plans]
    if any(plan.may_ask_again for plan in plans):
        phases = [[plan for plan in plans if not isinstance(plan, Put)], [plan for plan in plans if isinstance(plan, Put)]]
    for pending in phases:
        while pending:
            asked = [(plan, plan.asks()) for plan in pending]
            answers = iter((yield [op for _, ops in asked for op in ops]))
            for plan, ops in asked:
                plan.take([*islice(answers, len(ops))])
            pending = [plan for plan in pending if not plan.done]
    return [plan.result() for plan in plans]
