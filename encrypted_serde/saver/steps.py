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


class Stream:
    """The rows of a call of ``list`` one by one; `now` and `later` give the next, as a list, or an empty one."""

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

    def close(self) -> None:
        """Lets go of the saver."""
        if self._rows is not None:
            self._rows.close()

    async def aclose(self) -> None:
        """Lets go of the saver."""
        if self._rows is not None:
            await self._rows.aclose()
