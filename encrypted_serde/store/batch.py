"""The steps of one batch: what the inner store is asked, in how many calls, and what its answers become.

A store runs the reads of a batch before its writes, and so does this one: the reads go to the inner store first, in one call,
and what they found is opened. A batch that is refused has written nothing. Then the writes go, in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from langgraph.store.base import BaseStore, Item, Op

from ..core.opaque import opaque
from ..wrapping.offload import LARGE
from ..wrapping.steps import Steps, Work
from ..wrapping.stored_item import KEY
from .dispatch import ask

T = TypeVar("T")


class Hidden(list[Any]):
    """A list whose text shows nothing of what it holds, since error reporters show the variables of a frame."""

    def __repr__(self) -> str:
        return f"<{len(self)}>"


class Question(NamedTuple):
    """What one operation asks the inner store, and how the answers are opened.

    Attributes:
        ops: What to ask.
        open: Opens the answers. It changes nothing but what it returns, so that it may be called again once a key is there.
    """

    ops: Sequence[Op]
    open: Callable[[Sequence[Any]], Any]

    def __repr__(self) -> str:
        return opaque(self)


Plan = Generator[Question, Any, T]
"""Yields one question after the other, is sent what was opened, returns the result of the operation. It asks for no key."""


class Started(NamedTuple):
    """A plan, and its first question."""

    plan: Plan[Any]
    question: Question


def answered(plans: Sequence[Started | None], inner: BaseStore, *, may_block: bool) -> Steps[Hidden]:
    """Asks the questions of several plans, always all of them at once, and returns their results.

    Args:
        plans: The plans, each with its first question. The result of None is None.
        inner: The inner store.
        may_block: Whether opening may ask a service for a key.
    """
    results = Hidden([None] * len(plans))
    waiting = {number: started for number, started in enumerate(plans) if started is not None}
    while waiting:
        asked, waiting = waiting, {}
        questions = Hidden(started.question for started in asked.values())
        answers = Hidden((yield from ask(inner, [op for question in questions for op in question.ops])))
        opened = yield Work(partial(_opened, questions, answers), partial(is_heavy, answers, may_block=may_block))
        for position, (number, (plan, _)) in enumerate(asked.items()):
            try:
                waiting[number] = Started(plan, plan.send(opened[position]))
            except StopIteration as done:
                results[number] = done.value
    return results


def _opened(questions: Sequence[Question], answers: Sequence[Any]) -> Hidden:
    found = iter(answers)
    return Hidden(question.open(Hidden(islice(found, len(question.ops)))) for question in questions)


def is_heavy(answers: Sequence[Any], *, may_block: bool) -> bool:
    """Says whether answers take long to open."""
    return (may_block and any(answers)) or sum(map(_size, answers)) >= LARGE


def _size(answer: Any) -> int:
    if isinstance(answer, list):
        return sum(map(_size, answer))
    text = answer.value.get(KEY) if isinstance(answer, Item) and isinstance(answer.value, dict) else None
    return len(text) if isinstance(text, str) else 0
