"""Asking the inner saver for rows: page by page, with one filter or several, and nothing of it open longer than needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from itertools import islice
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from ..core.context import NO_CONTEXT, EncryptionContext, current
from ..core.envelope import Sealer
from ..core.keys import Key, SearchKeyProvider
from ..wrapping.gate import Admission
from ..wrapping.offload import is_heavy
from .filters import Pager, Plan, check_answer, matches, merge, plan
from .inner import Habits
from .open import RowOpener, ambient


class Lister:
    """Answers ``list`` and ``alist``.

    Args:
        gated: The inner saver, behind its gate.
        opener: Verifies and opens what it returns.
        sealer: Knows the keys that search tokens are made with.
        habits: How the inner saver lists.
        admission: While a switch for moving in is on, rows may lack tokens.
        readable_keys: Metadata keys that are readable in the database.
        searchable_keys: Metadata keys that have tokens there.
    """

    def __init__(
        self,
        gated: BaseCheckpointSaver[Any],
        opener: RowOpener,
        sealer: Sealer,
        habits: Habits,
        admission: Admission,
        readable_keys: Collection[str],
        searchable_keys: Collection[str],
    ) -> None:
        self._gated = gated
        self._opener = opener
        self._sealer = sealer
        self._habits = habits
        self._admission = admission
        self._readable_keys = readable_keys
        self._searchable_keys = searchable_keys

    def list(
        self,
        asked: RunnableConfig | None,
        context: EncryptionContext | None,
        wanted: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Iterator[CheckpointTuple]:
        """Gives the verified rows that match a filter, newest first or in the inner saver's order.

        Args:
            asked: The config to ask the inner saver with.
            context: The expected encryption context.
            wanted: The filter.
            before: Only checkpoints before this one.
            limit: At most so many.

        Raises:
            EncryptedSerdeError: As `RowOpener.checkpoint` raises it.
        """
        query = self._plan(wanted, context)
        with closing(self._found(asked, context, query, before, limit)) as rows:
            answers = (found for found in rows if self._is_wanted(asked, query, found, context))
            for found in answers if limit is None else islice(answers, limit):
                yield self._answer(wanted, found, context)

    async def alist(
        self,
        asked: RunnableConfig | None,
        context: EncryptionContext | None,
        wanted: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Gives them as `list` does. Large rows are opened off the event loop."""
        query = self._plan(wanted, context)
        given = 0
        async with aclosing(self._afound(asked, context, query, before, limit)) as rows:
            async for found in rows:
                if limit is not None and given >= limit:
                    return
                if self._is_wanted(asked, query, found, context):
                    given += 1
                    if is_heavy(found):
                        yield await asyncio.to_thread(self._answer, wanted, found, context)
                    else:
                        yield self._answer(wanted, found, context)

    def _is_wanted(
        self, asked: RunnableConfig | None, query: Plan, found: CheckpointTuple, context: EncryptionContext | None
    ) -> bool:
        self._opener.check_identity(asked, found)
        return not query.rest or matches(self._opener.metadata(found, context), query.rest, contains=self._habits.contains)

    def _answer(
        self, wanted: Mapping[str, Any] | None, found: CheckpointTuple, context: EncryptionContext | None
    ) -> CheckpointTuple:
        opened = self._opener.checkpoint(found, context)
        check_answer(cast("Mapping[str, Any]", opened.metadata), wanted, contains=self._habits.contains)
        return opened

    def _plan(self, wanted: Mapping[str, Any] | None, context: EncryptionContext | None) -> Plan:
        context = current.get() if context is None else context
        keys: Sequence[Key] = ()
        # Rows in plaintext have no tokens, and without a context no token can be computed that would find all.
        if not self._admission and context is not None and isinstance(self._sealer.keys, SearchKeyProvider):
            keys = self._sealer.keys.search_keys(context.pairs)
            if len(keys) > 1 and not self._habits.newest_first:
                keys = ()
        return plan(
            wanted,
            readable_keys=self._readable_keys,
            searchable_keys=self._searchable_keys,
            keys=keys,
            context=context or NO_CONTEXT,
            contains=self._habits.contains,
        )

    def _found(
        self,
        asked: RunnableConfig | None,
        context: EncryptionContext | None,
        query: Plan,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Generator[CheckpointTuple, None, None]:
        limit = None if query.rest else limit
        if len(query.pushed) > 1:
            yield from merge([self._ask(asked, context, pushed, before, limit) for pushed in query.pushed])
        elif limit is None and self._habits.newest_first:
            pager = Pager(_checkpoint_id(before))
            while not pager.done:
                yield from pager.feed(self._ask(asked, context, query.pushed[0], _before(pager), pager.size))
        else:
            rows = self._gated.list(asked, filter=query.pushed[0] or None, before=before, limit=limit)
            with closing(cast("Any", rows)):
                while True:
                    with ambient(context):
                        found = next(rows, None)
                    if found is None:
                        return
                    yield found

    def _ask(
        self,
        asked: RunnableConfig | None,
        context: EncryptionContext | None,
        pushed: dict[str, Any],
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Sequence[CheckpointTuple]:
        with (
            ambient(context),
            closing(cast("Any", self._gated.list(asked, filter=pushed or None, before=before, limit=limit))) as rows,
        ):
            return [*rows]

    async def _afound(
        self,
        asked: RunnableConfig | None,
        context: EncryptionContext | None,
        query: Plan,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> AsyncGenerator[CheckpointTuple, None]:
        limit = None if query.rest else limit
        if len(query.pushed) > 1:
            for found in merge([await self._aask(asked, context, pushed, before, limit) for pushed in query.pushed]):
                yield found
        elif limit is None and self._habits.newest_first:
            pager = Pager(_checkpoint_id(before))
            while not pager.done:
                for found in pager.feed(await self._aask(asked, context, query.pushed[0], _before(pager), pager.size)):
                    yield found
        else:
            rows = self._gated.alist(asked, filter=query.pushed[0] or None, before=before, limit=limit)
            async with aclosing(cast("Any", rows)):
                while True:
                    with ambient(context):
                        next_found = await anext(rows, None)
                    if next_found is None:
                        return
                    yield next_found

    async def _aask(
        self,
        asked: RunnableConfig | None,
        context: EncryptionContext | None,
        pushed: dict[str, Any],
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Sequence[CheckpointTuple]:
        rows = self._gated.alist(asked, filter=pushed or None, before=before, limit=limit)
        with ambient(context):
            async with aclosing(cast("Any", rows)):
                return [found async for found in rows]


def _checkpoint_id(config: RunnableConfig | None) -> str | None:
    return None if config is None else config["configurable"].get("checkpoint_id")


def _before(pager: Pager) -> RunnableConfig | None:
    return None if pager.before is None else {"configurable": {"checkpoint_id": pager.before}}
