"""The steps of a method that ask a saver something: a call of it, a page of rows, or rows one by one, page by page, merged.

`more` of a class of rows is steps that come to the next rows, or to None after the last. Where rows come newest first, nothing
of the saver stays open between two pages, and ``limit=1`` does not read a whole thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, closing, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from ..core.context import EncryptionContext, encryption_context
from ..core.opaque import opaque
from ..wrapping.steps import Steps

_FIRST_PAGE = 16
LARGEST_PAGE = 1024
"""Rows that are asked for at once, unless more share a checkpoint id."""


def ambient(context: EncryptionContext | None) -> AbstractContextManager[None]:
    """Makes a context the ambient one, if there is one: the gate of an inner saver opens unbound values with it."""
    return _NO_BLOCK if context is None else encryption_context(context.pairs)


_NO_BLOCK = nullcontext()


class Call(NamedTuple):
    """A call of a saver's method, whose asynchronous twin has an ``a`` before its name.

    Attributes:
        saver: Whose method.
        name: Of the method.
        arguments: For it.
        context: Made ambient meanwhile.
        named: Further arguments, by name.
    """

    saver: BaseCheckpointSaver[Any]
    name: str
    arguments: tuple[Any, ...]
    context: EncryptionContext | None = None
    named: Mapping[str, Any] = MappingProxyType({})

    def __repr__(self) -> str:
        return opaque(self)

    def begin(self, prefix: str = "") -> Any:
        """Calls the method, or its twin; the caller sees to the context."""
        return getattr(self.saver, f"{prefix}{self.name}")(*self.arguments, **self.named)

    def now(self) -> Any:
        """Calls it."""
        with ambient(self.context):
            return self.begin()

    async def later(self) -> Any:
        """Calls its twin."""
        with ambient(self.context):
            return await self.begin("a")


def list_call(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig | None, context: EncryptionContext | None, **named: Any
) -> Call:
    """Returns the call of a saver's ``list``, which the next two make; `named` are ``filter``, ``before`` and ``limit``."""
    return Call(saver, "list", (config,), context, {"filter": None, "before": None, "limit": None, **named})


class Page(NamedTuple):
    """All rows that a call of ``list`` gives. Nothing of the saver stays open afterwards."""

    call: Call

    def now(self) -> list[CheckpointTuple]:
        """Lists them."""
        with ambient(self.call.context), closing(self.call.begin()) as rows:
            return [*rows]

    async def later(self) -> list[CheckpointTuple]:
        """Lists them."""
        with ambient(self.call.context):
            async with aclosing(self.call.begin("a")) as rows:
                return [found async for found in rows]


More = Steps[Sequence[CheckpointTuple] | None]
"""Steps that come to the next rows, or to None after the last."""


class Stream:
    """The rows of a call of ``list`` one by one, in whatever order the saver has. As a step it comes to the next, in a list."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._rows: Any = None

    def now(self) -> list[CheckpointTuple]:
        """Returns the next row."""
        with ambient(self._call.context):
            self._rows = self._rows or self._call.begin()
            return [] if (found := next(self._rows, None)) is None else [found]

    async def later(self) -> list[CheckpointTuple]:
        """Returns the next row."""
        with ambient(self._call.context):
            self._rows = self._rows or self._call.begin("a")
            return [] if (found := await anext(self._rows, None)) is None else [found]

    def more(self) -> More:
        """Fetches the next row."""
        return (yield self) or None

    def close(self) -> None:
        """Lets go of the saver."""
        if self._rows is not None:
            self._rows.close()

    async def aclose(self) -> None:
        """Lets go of the saver."""
        if self._rows is not None:
            await self._rows.aclose()


class Paged:
    """Rows that come newest first, a page at a time.

    Rows of different threads or namespaces may share a checkpoint id, and ``before`` excludes the id it names. So the rows
    with the last id of a full page are held back, and begin the next page.

    Args:
        call: What to ask, but for the limit. It begins below the id in its ``before``, or with the newest.
    """

    def __init__(self, call: Call) -> None:
        self._call, self._size, self._is_done = call, _FIRST_PAGE, False

    def more(self) -> More:
        """Fetches the next page."""
        if self._is_done:
            return None
        call, size = self._call, self._size
        page: Sequence[CheckpointTuple] = yield Page(call._replace(named={**call.named, "limit": size}))
        if len(page) < size:
            self._is_done = True
            return page
        last = _checkpoint_id(page[-1])
        kept = [found for found in page if _checkpoint_id(found) != last]
        self._size = min(size * 4, LARGEST_PAGE) if kept else size * 4
        if kept:
            before: RunnableConfig = {"configurable": {"checkpoint_id": _checkpoint_id(kept[-1])}}
            self._call = call._replace(named={**call.named, "before": before})
        return kept


class Merged:
    """The answers to several calls, merged into one that has the newest first."""

    def __init__(self, *calls: Call) -> None:
        self._calls = calls

    def more(self) -> More:
        """Fetches all rows."""
        calls, self._calls = self._calls, ()
        answers: list[list[CheckpointTuple]] = []
        for call in calls:
            answers.append((yield Page(call)))
        rows = (found for answer in answers for found in answer)
        return sorted(rows, key=_checkpoint_id, reverse=True) if answers else None


def _checkpoint_id(found: CheckpointTuple) -> str:
    return str(found.config["configurable"]["checkpoint_id"])


Rows = Stream | Paged | Merged
"""The rows that a saver has for one call of ``list``."""
