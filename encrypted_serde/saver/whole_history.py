"""Listing with an anchor: every row is held against it, and at the end what should have been listed."""

from __future__ import annotations

from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ..anchor.entries import id_bytes, id_text
from ..anchor.keeper import Keeper
from ..anchor.ledger import Ledger, Spot, Standing
from ..anchor.watch import Watch
from ..core.binding import Place
from .completeness import MISSING, Judged, RowReader, Verdict, found_writes, where_of
from .filters import Plan
from .listing import Asked, Lister, Row
from .open import RowOpener
from .steps import Steps, Work
from .wiring import At, Wiring


class WholeLister(Lister):
    """Answers one call of ``list`` or ``alist``.

    Args:
        wiring: The parts of the wrapper.
        opener: Verifies and opens what the inner saver returns.
        keeper: Asks the anchor.

    Attributes:
        listed: Namespace and id of every row that counts.
    """

    passes_over_erased = False  # whoever writes rows could make any row name a destroyed key

    def __init__(self, wiring: Wiring, opener: RowOpener, keeper: Keeper) -> None:
        super().__init__(wiring, opener)
        self._keeper = keeper
        self._reader = RowReader(wiring, opener, keeper)
        self._ledgers: dict[str, Ledger] = {}
        self._seen: list[tuple[str, str, str]] = []
        self._given = 0
        self.listed: set[tuple[str, str]] = set()

    def steps(self, asked: Asked) -> Steps:
        """Gives the rows as `Lister.steps` does.

        A thread is listed completely, as far as no filter and no limit cut it short.

        Raises:
            Incomplete: If the anchor knows more or newer than the database has.
            EncryptedSerdeError: As `Lister.steps` raises it.
        """
        thread_id = (asked.config or {"configurable": {}})["configurable"].get("thread_id")
        if thread_id is not None:
            yield from self._ledger(str(thread_id), asked)
        yield from super().steps(asked)
        if thread_id is not None and not asked.wanted and (asked.limit is None or asked.limit > 0):
            yield from self._require_all(str(thread_id), asked)

    def _row(self, asked: Asked, query: Plan, found: CheckpointTuple) -> Row:
        judged = yield from self._judged(asked, found)
        if judged is None:
            return None
        answer = yield from super()._row(asked, query, judged.found)
        if answer is not None:
            self._given += 1
            if judged.is_unknown:
                yield Work(partial(self._reader.enter, judged), is_heavy=True)
        return answer

    def _judged(self, asked: Asked, found: CheckpointTuple) -> Verdict:
        configurable = found.config["configurable"]
        thread_id, checkpoint_ns = str(configurable.get("thread_id")), configurable.get("checkpoint_ns", "")
        checkpoint_id = configurable.get("checkpoint_id")
        ledger = yield from self._ledger(thread_id, asked)
        if not isinstance(checkpoint_ns, str) or not isinstance(checkpoint_id, str):
            return Judged(found, "", Watch((), ledger), [])  # nothing that we stored: it will not open
        self._seen.append((thread_id, checkpoint_ns, checkpoint_id))
        where = where_of(thread_id, checkpoint_ns, asked.context)
        watch = Watch((yield Work(partial(self._keeper.tokens, where), self._wiring.sealer.may_block)), ledger)
        gaps = watch.writes(checkpoint_id, found_writes(found))
        judged: Judged | None = Judged(found, checkpoint_id, watch, gaps.unknown)
        if gaps.is_incomplete or watch.checkpoint(checkpoint_id) is Standing.DELETED:
            judged = yield from self._exact(asked, thread_id, checkpoint_ns, checkpoint_id)
        if judged is not None:
            self.listed.add((checkpoint_ns, checkpoint_id))
        return judged

    def _exact(self, asked: Asked, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> Verdict:
        """Asks both for one row again, the anchor first."""
        at = At(Place.of(thread_id, checkpoint_ns), checkpoint_id, asked.context)
        passed: dict[str, Any] = dict((asked.config or {"configurable": {}})["configurable"])
        passed |= {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}
        config: RunnableConfig = {"configurable": passed}
        return self._reader.exact(config, at, checkpoint_id)

    def _ledger(self, thread_id: str, asked: Asked) -> Any:
        if thread_id not in self._ledgers:
            where = where_of(thread_id, "", asked.context)
            self._ledgers[thread_id] = yield Work(partial(self._keeper.thread, where), is_heavy=True)
        return self._ledgers[thread_id]

    # --- what should have been listed

    def _require_all(self, thread_id: str, asked: Asked) -> Steps:
        expected = yield Work(partial(self._expected, thread_id, asked), self._wiring.sealer.may_block)
        for spot, checkpoint_ns in expected:
            if checkpoint_ns is not None:
                yield from self._exact(asked, thread_id, checkpoint_ns, id_text(spot[1]))
                continue
            where = where_of(thread_id, "", asked.context)
            ledger: Ledger = yield Work(partial(self._keeper.thread, where), is_heavy=True)
            if ledger.checkpoint(spot) is Standing.REQUIRED:
                problem = f"{MISSING}, with all of its namespace"
                raise self._reader.refused(problem, Place.of(thread_id, ""), id_text(spot[1]))

    def _expected(self, thread_id: str, asked: Asked) -> list[tuple[Spot, str | None]]:
        """Gives the checkpoints that should have been among the rows and were not.

        With the namespace of each; None for one that has no row left, and so no name.
        """
        configurable = (asked.config or {"configurable": {}})["configurable"]
        asked_ns, asked_id = configurable.get("checkpoint_ns"), configurable.get("checkpoint_id")
        before = asked.before["configurable"].get("checkpoint_id") if asked.before else None
        lowest: str | None = None
        if asked.limit is not None and self._given >= asked.limit:
            if not self._wiring.traits.newest_first:
                return []
            lowest = min(checkpoint_id for _, _, checkpoint_id in self._seen)
        names = self._names(
            thread_id, {asked_ns} if asked_ns is not None else {"", *(each for _, each, _ in self._seen)}, asked
        )
        tokens_of: dict[str, list[bytes]] = {}
        for token, each in names.items():
            tokens_of.setdefault(each, []).append(token)
        seen = {(token, id_bytes(each)) for _, ns, each in self._seen for token in tokens_of.get(ns, ())}
        expected = []
        for spot in self._ledgers[thread_id].required():
            checkpoint_id = id_text(spot[1])
            is_cut = (lowest is not None and checkpoint_id <= lowest) or (before and checkpoint_id >= before)
            is_other = (asked_ns is not None and spot[0] not in names) or asked_id not in (None, "", checkpoint_id)
            if spot not in seen and not is_cut and not is_other:
                expected.append((spot, names.get(spot[0])))
        return expected

    def _names(self, thread_id: str, namespaces: set[str], asked: Asked) -> dict[bytes, str]:
        """Gives namespaces by their tokens."""
        return {
            tokens.namespace: each
            for each in namespaces
            for tokens in self._keeper.tokens(where_of(thread_id, each, asked.context))
        }
