"""The steps of a method that ask a saver something: a call of it, a page of rows, or rows one by one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, aclosing, closing, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from ..core.context import EncryptionContext, encryption_context
from ..core.opaque import opaque


def ambient(context: EncryptionContext | None) -> AbstractContextManager[None]:
    """Makes a context the ambient one, if there is one: the gate of an inner saver opens unbound values with it."""
    return nullcontext() if context is None else encryption_context(context.pairs)


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

    def now(self) -> Any:
        """Calls it."""
        with ambient(self.context):
            return getattr(self.saver, self.name)(*self.arguments, **self.named)

    async def later(self) -> Any:
        """Calls its twin."""
        with ambient(self.context):
            return await getattr(self.saver, f"a{self.name}")(*self.arguments, **self.named)


class Query(NamedTuple):
    """What a saver is asked to list.

    Attributes:
        saver: The saver.
        config: As its ``list`` takes it.
        context: Made ambient meanwhile.
        filter: As its ``list`` takes it, as are the next two.
        before: See above.
        limit: See above.
    """

    saver: BaseCheckpointSaver[Any]
    config: RunnableConfig | None
    context: EncryptionContext | None
    filter: dict[str, Any] | None = None
    before: RunnableConfig | None = None
    limit: int | None = None

    def __repr__(self) -> str:
        return opaque(self)

    def rows(self) -> Any:
        """Starts listing."""
        return self.saver.list(self.config, filter=self.filter, before=self.before, limit=self.limit)

    def arows(self) -> Any:
        """Starts listing asynchronously."""
        return self.saver.alist(self.config, filter=self.filter, before=self.before, limit=self.limit)


class Page(NamedTuple):
    """All rows that a query gives. Nothing of the saver stays open afterwards."""

    query: Query

    def now(self) -> list[CheckpointTuple]:
        """Lists them."""
        with ambient(self.query.context), closing(self.query.rows()) as rows:
            return [*rows]

    async def later(self) -> list[CheckpointTuple]:
        """Lists them."""
        with ambient(self.query.context):
            async with aclosing(self.query.arows()) as rows:
                return [found async for found in rows]


class Stream:
    """The rows of a query one by one; each call of `now` or `later` gives the next, as a list, or an empty one."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._rows: Any = None

    def now(self) -> list[CheckpointTuple]:
        """Returns the next row."""
        with ambient(self._query.context):
            if self._rows is None:
                self._rows = self._query.rows()
            return [] if (found := next(self._rows, None)) is None else [found]

    async def later(self) -> list[CheckpointTuple]:
        """Returns the next row."""
        with ambient(self._query.context):
            if self._rows is None:
                self._rows = self._query.arows()
            return [] if (found := await anext(self._rows, None)) is None else [found]

    def close(self) -> None:
        """Lets go of the saver."""
        if self._rows is not None:
            self._rows.close()

    async def aclose(self) -> None:
        """Lets go of the saver."""
        if self._rows is not None:
            await self._rows.aclose()
