"""Listing with an anchor: every row is compared with it, and what must be among the rows is there or refused."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ..anchor.compare import MISSING, FoundRow, View
from ..anchor.entries import id_bytes, id_text
from ..anchor.names import Spot
from ..core.binding import Place
from ..wrapping.steps import Steps, Work
from .completeness import Kept, RowReader, Verdict, found_writes, id_of
from .filters import Plan
from .listing import Asked, Lister, Row, is_odd
from .steps import More, Rows
from .wiring import At

_PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2)  # seconds, until a deletion counts as one whose process died


class WholeLister(Lister):
    """Answers one call of ``list`` or ``alist``.

    Args:
        reader: Reads rows that are as the anchor knows them.

    Attributes:
        listed: Namespace and id of every row that counts.
    """

    passes_over_erased = False  # somebody who writes rows could make any row name a destroyed key

    def __init__(self, reader: RowReader) -> None:
        super().__init__(reader.wiring, reader.opener)
        self._reader, self._client = reader, reader.client
        self._views: dict[str, View] = {}
        self._seen: dict[Spot, str] = {}
        self._thread_id, self._due = "", list[Spot]()
        self.listed: set[tuple[str, str]] = set()

    def steps(self, asked: Asked) -> Steps[None]:
        """Returns the rows as `Lister.steps` does. Of one thread everything is there that the anchor requires.

        Raises:
            Incomplete: If the anchor requires more or newer than the database has.
            EncryptedSerdeError: As `Lister.steps` raises it.
        """
        thread_id = (asked.config or {"configurable": {}})["configurable"].get("thread_id")
        if thread_id is None or is_odd(asked.limit):
            yield from super().steps(asked)
        else:
            yield from self._thread(str(thread_id), asked)

    def _thread(self, thread_id: str, asked: Asked) -> Steps[None]:
        """Lists a thread page by page until so many rows count as were asked for.

        The filter is not handed to the database, which could leave out rows without a trace.
        """
        yield Work(partial(self._plan, asked), self._wiring.sealer.may_block)  # refuses what is no filter
        plan, view = Plan([{}], dict(asked.wanted or {})), (yield from self._view(thread_id))
        self._thread_id, self._due = thread_id, self._expected(view, asked)
        rows = self._rows(asked._replace(limit=None), plan)
        descends = self._wiring.traits.newest_first and all(spot.checkpoint[:1] == b"u" for spot in self._due)
        if (yield from self._answers(asked, plan, rows.more if descends else partial(self._every, rows))):
            yield from self._require(None)

    def _every(self, rows: Rows) -> More:
        """Fetches all rows, of a saver whose order says nothing, before any is returned."""
        every: list[CheckpointTuple] = []
        while (page := (yield from rows.more())) is not None:
            every += page
        for found in every:
            self._note(self._thread_id, found)
        yield from self._require(None)
        return every or None

    def _row(self, asked: Asked, query: Plan, listed: CheckpointTuple) -> Row:
        yield from self._require(id_of(listed))  # rows of one thread come newest first, or all of them are here
        kept = yield from self._judged(asked, listed)
        if kept is None:
            return None
        answer = yield from super()._row(asked, query, kept.found)
        if answer is not None and kept.judged is not None:
            self._client.forget(kept.view, kept.judged.spot)
            yield from self._reader.enter(kept)
        return answer

    def _judged(self, asked: Asked, found: CheckpointTuple) -> Verdict:
        configurable = found.config["configurable"]
        thread_id, checkpoint_ns = str(configurable.get("thread_id")), configurable.get("checkpoint_ns", "")
        checkpoint_id = id_of(found)
        view: View = yield from self._view(thread_id)
        if not isinstance(checkpoint_ns, str) or checkpoint_id is None:
            return Kept(found, view, None)  # nothing that we stored: it will not open
        judged = view.judge(FoundRow(checkpoint_ns, checkpoint_id, found_writes(found)))
        self._note(thread_id, found)
        kept: Kept | None = Kept(found, view, judged) if judged.counts else None
        if judged.problem is not None:  # another process may have stored something since
            at = At(Place.of(thread_id, checkpoint_ns), checkpoint_id, asked.context)
            kept = yield from self._reader.exact(asked.config or {"configurable": {}}, at, checkpoint_id)
        if kept is not None:
            self.listed.add((checkpoint_ns, checkpoint_id))
        return kept

    def _note(self, thread_id: str, found: CheckpointTuple) -> None:
        checkpoint_ns, checkpoint_id = found.config["configurable"].get("checkpoint_ns", ""), id_of(found)
        if isinstance(checkpoint_ns, str) and checkpoint_id is not None:
            self._seen[self._views[thread_id].spot(checkpoint_ns, checkpoint_id)] = checkpoint_ns

    def _view(self, thread_id: str) -> Steps[View]:
        if thread_id not in self._views:
            self._views[thread_id] = yield Work(partial(self._client.thread, thread_id), is_heavy=True)
        return self._views[thread_id]

    # --- what must be among the rows

    def _expected(self, view: View, asked: Asked) -> list[Spot]:
        """Returns the checkpoints that must be among the answers, but for filter and limit; the newest last."""
        configurable: RunnableConfig | dict[str, Any] = (asked.config or {"configurable": {}})["configurable"]
        checkpoint_ns, exact = configurable.get("checkpoint_ns"), configurable.get("checkpoint_id")
        before = asked.before["configurable"].get("checkpoint_id") if asked.before else None
        namespace = None if checkpoint_ns is None else view.names.namespace(view.thread_id, str(checkpoint_ns))
        expected = view.missing((), namespace)
        if exact:
            expected = [spot for spot in expected if id_text(spot.checkpoint) == exact]
        if before:
            expected = [spot for spot in expected if id_text(spot.checkpoint) < before]
        return expected[::-1]

    def _require(self, above: str | None) -> Steps[None]:
        """Refuses if a checkpoint above an id (or any) must have been listed by now, and was not."""
        absent = []
        while self._due and (above is None or self._due[-1].checkpoint > id_bytes(above)):
            spot = self._due.pop()
            if spot not in self._seen:
                absent.append(spot)
        if absent:
            thread_id = self._thread_id
            view, gone = yield from self._gone(thread_id, absent)
            if gone:
                known = {view.names.namespace(thread_id, each): each for each in {"", *self._seen.values()}}
                checkpoint_ns = known.get(gone[0].namespace)
                problem = MISSING if checkpoint_ns is not None else f"{MISSING}, with all of its namespace"
                raise self._reader.refused(problem, Place.of(thread_id, checkpoint_ns), id_text(gone[0].checkpoint))

    def _gone(self, thread_id: str, absent: Sequence[Spot]) -> Steps[tuple[View, list[Spot]]]:
        """Returns which absent checkpoints are still required; waits while a deletion is open, which may end these too."""
        for pause in _PAUSES:
            yield Work(partial(time.sleep, pause), is_heavy=True)
            view: View = yield Work(partial(self._client.thread, thread_id), is_heavy=True)
            gone = [spot for spot in view.missing(self._seen) if spot in absent]
            if not gone or not view.ledger.going():
                break
        return view, gone
