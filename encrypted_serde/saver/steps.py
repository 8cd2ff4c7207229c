"""One description of what is done with a saver, and two drivers: for methods that block, and for those on an event loop.

A method is written once, as a generator. It yields what it needs done, is sent the result, and yields `Give` for what its
caller is to get. `run` and `arun` do what is yielded, each in its way.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractContextManager, aclosing, closing, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from ..core.context import EncryptionContext, encryption_context
from ..core.opaque import opaque
from ..core.waiting import aside


def ambient(context: EncryptionContext | None) -> AbstractContextManager[None]:
    """Makes a context the ambient one, if there is one: the gate of an inner saver opens unbound values with it."""
    return nullcontext() if context is None else encryption_context(context.pairs)


class Step(Protocol):
    """Something to be done."""

    def now(self) -> Any:
        """Does it."""
        ...

    async def later(self) -> Any:
        """Does it without holding the event loop."""
        ...


class Work(NamedTuple):
    """Something that only computes, and perhaps for long.

    Attributes:
        function: What to call.
        is_heavy: Whether it takes long, or may ask a service for a key.
    """

    function: Callable[[], Any]
    is_heavy: bool

    def now(self) -> Any:
        """Computes."""
        return self.function()

    async def later(self) -> Any:
        """Computes, in a thread if it is heavy. It may be done twice, if a key must be fetched for it."""
        return await aside(self.is_heavy, self.function)


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
        """Gives the next row."""
        with ambient(self._query.context):
            if self._rows is None:
                self._rows = self._query.rows()
            return [] if (found := next(self._rows, None)) is None else [found]

    async def later(self) -> list[CheckpointTuple]:
        """Gives the next row."""
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


class Give(NamedTuple):
    """What the caller is to get."""

    value: Any


Steps = Generator[Step | Give, Any, None]


def run(steps: Steps) -> Generator[Any, None, None]:
    """Drives steps, and gives what they give."""
    streams: list[Stream] = []
    try:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            if isinstance(step, Give):
                yield step.value
                answer = None
            else:
                _note(streams, step)
                answer = step.now()
    finally:
        steps.close()
        for stream in streams:
            stream.close()


async def arun(steps: Steps) -> AsyncGenerator[Any, None]:
    """Drives steps as `run` does, and never holds the event loop for long."""
    streams: list[Stream] = []
    try:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            if isinstance(step, Give):
                yield step.value
                answer = None
            else:
                _note(streams, step)
                answer = await step.later()
    finally:
        steps.close()
        for stream in streams:
            await stream.aclose()


def _note(streams: list[Stream], step: object) -> None:
    if isinstance(step, Stream) and step not in streams:
        streams.append(step)
