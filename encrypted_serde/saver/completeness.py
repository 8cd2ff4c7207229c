"""Reading with an anchor: what it is asked before the database is, and how rows are held against it.

The anchor is read first. What it knows then was stored earlier, so the database must show it; what was stored in between, it
shows as well. Only a deletion through a wrapper can make something disappear in the meantime, and that is entered before it
begins: whoever misses something asks both once more, and finds it entered.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ..anchor.compare import FoundRow
from ..anchor.entries import id_bytes
from ..anchor.keeper import Keeper, Where
from ..anchor.ledger import Standing
from ..anchor.watch import FoundWrite, Watch, WriteGaps
from ..audit import tell_refused
from ..core.binding import Place, WriteClaims
from ..core.context import NO_CONTEXT, EncryptionContext, current
from ..core.format import find_sealed
from ..errors import EncryptedSerdeError, Incomplete
from .base import WiredSaver
from .open import RowOpener
from .steps import Call, Give, Page, Query, Step, Work
from .wiring import At, Wiring

UNANCHORED = "unanchored"
"""How rows are counted that the anchor did not know, among the `admitted_reads`."""

MISSING = "a checkpoint that the anchor knows is missing in the database"


class Judged(NamedTuple):
    """A row that the anchor has nothing against.

    Attributes:
        found: As the inner saver gave it.
        checkpoint_id: Its id.
        watch: What the anchor says of it.
        unknown: Writes of it that the anchor does not know.
    """

    found: CheckpointTuple
    checkpoint_id: str
    watch: Watch
    unknown: list[FoundWrite]

    @property
    def is_unknown(self) -> bool:
        """Whether something of it is not entered."""
        return bool(self.unknown) or (bool(self.watch.tokens) and self.watch.checkpoint(self.checkpoint_id) is Standing.UNKNOWN)


Verdict = Generator[Step | Give, Any, Judged | None]
"""Steps that come to a row, or to none."""


class RowReader:
    """Fetches rows that are as the anchor knows them.

    Args:
        wiring: The parts of the wrapper.
        opener: Verifies and opens rows.
        keeper: Asks the anchor.
    """

    def __init__(self, wiring: Wiring, opener: RowOpener, keeper: Keeper) -> None:
        self._wiring = wiring
        self._opener = opener
        self._keeper = keeper

    def row(self, asked: RunnableConfig, at: At) -> Verdict:
        """Fetches the checkpoint that a config names, or else the newest. None if there is none, as the anchor agrees.

        Raises:
            Incomplete: If the anchor knows more or newer than the database has.
        """
        return self.newest(asked, at) if at.checkpoint_id is None else self.exact(asked, at, at.checkpoint_id)

    def exact(self, asked: RunnableConfig, at: At, checkpoint_id: str) -> Verdict:
        """Fetches one checkpoint, which `asked` names. Raises as `row` does."""
        problem, row = MISSING, None
        where = where_of(at.place.thread_id, at.place.checkpoint_ns, at.context)
        for _ in range(2):
            watch: Watch = yield Work(partial(self._keeper.checkpoint, where, checkpoint_id), is_heavy=True)
            found = yield self._get(asked, at)
            standing = watch.checkpoint(checkpoint_id)
            if found is None and standing is not Standing.REQUIRED:
                return None
            if found is not None:
                if standing is Standing.DELETED:  # its row was put back, or was not deleted yet when a process died
                    return None
                gaps = watch.writes(checkpoint_id, found_writes(found))
                if not gaps.is_incomplete:
                    return Judged(found, checkpoint_id, watch, gaps.unknown)
                problem, row = problem_of(gaps), found
        if row is not None:  # what was changed or moved is refused as that
            yield Work(partial(self._opener.checkpoint, row, at.context), is_heavy=True)
        raise self.refused(problem, at.place, checkpoint_id)

    def newest(self, asked: RunnableConfig, at: At) -> Verdict:
        """Fetches the newest checkpoint. Raises as `row` does."""
        where = where_of(at.place.thread_id, at.place.checkpoint_ns, at.context)
        newest: str | None = None
        for _ in range(2):
            watch: Watch = yield Work(partial(self._keeper.newest, where), is_heavy=True)
            newest = max(watch.required(), key=id_bytes, default=None)
            found = yield self._get(asked, at)
            if found is None:
                if newest is None:
                    return None
                continue
            checkpoint_id = found.config["configurable"].get("checkpoint_id")
            if not isinstance(checkpoint_id, str):
                return Judged(found, "", Watch((), watch.ledger), [])  # nothing that we stored: it will not open
            if newest == checkpoint_id:
                gaps = watch.writes(checkpoint_id, found_writes(found))
                if not gaps.is_incomplete:
                    self._keeper.remember(watch, checkpoint_id)
                    return Judged(found, checkpoint_id, watch, gaps.unknown)
            is_older = newest is not None and id_bytes(checkpoint_id) < id_bytes(newest)
            # The database may sort otherwise than we do; then it has both.
            if newest is not None and is_older and (yield from self.exact(_naming(asked, at, newest), at, newest)) is None:
                continue
            judged = yield from self.exact(_naming(asked, at, checkpoint_id), at, checkpoint_id)
            return judged if judged is not None else (yield from self._newest_left(asked, at))
        raise self.refused(MISSING, at.place, newest)

    def _newest_left(self, asked: RunnableConfig, at: At) -> Verdict:
        """Looks behind rows that were deleted on purpose and stand there all the same."""
        where = where_of(at.place.thread_id, at.place.checkpoint_ns, at.context)
        watch: Watch = yield Work(partial(self._keeper.place, where), is_heavy=True)
        rows: list[CheckpointTuple] = yield Page(Query(self._wiring.gated, _naming(asked, at, None), at.context))
        for found in rows:
            checkpoint_id = found.config["configurable"]["checkpoint_id"]
            if watch.checkpoint(checkpoint_id) is not Standing.DELETED:
                judged = yield from self.exact(_naming(asked, at, checkpoint_id), at, checkpoint_id)
                if judged is not None:
                    return judged
        if watch.required():
            raise self.refused(MISSING, at.place, max(watch.required(), key=id_bytes))
        return None

    def enter(self, judged: Judged) -> None:
        """Enters what is authentic and was not entered by whoever stored it: a process may have died in between."""
        self._wiring.admission.admitted[UNANCHORED] += self._keeper.enter_found(
            judged.watch, judged.checkpoint_id, judged.unknown
        )

    def refused(self, problem: str, place: Place, checkpoint_id: str | None) -> Incomplete:
        """Gives the error for what is missing, of which the audit is told."""
        error = Incomplete(problem)
        row = {"thread": place.thread_id, "namespace": place.checkpoint_ns}
        error.row = row if checkpoint_id is None else {**row, "checkpoint": checkpoint_id}
        tell_refused(self._wiring.sealer, error)
        return error

    def _get(self, asked: RunnableConfig, at: At) -> Call:
        return Call(self._wiring.gated, "get_tuple", (asked,), at.context)


def where_of(thread_id: str, checkpoint_ns: str, context: EncryptionContext | None) -> Where:
    """Gives a place as an anchor is asked for it, under the expected context or else the ambient one."""
    return Where(thread_id, checkpoint_ns, (context or current.get() or NO_CONTEXT).pairs)


def found_writes(found: CheckpointTuple) -> list[FoundWrite]:
    """Gives the writes of a row as they name themselves. They are authenticated when the row is opened, and not before."""
    writes = []
    for _, _, value in found.pending_writes or ():
        try:
            sealed = find_sealed(value)
            if sealed is not None:
                claims = WriteClaims.read(sealed.claims)
                writes.append(FoundWrite(claims.task_id or "", claims.idx or 0, claims.saved_as))
        except EncryptedSerdeError:
            continue  # opening the row says what is wrong with it
    return writes


def rows_of_thread(saver: WiredSaver, thread_id: str) -> list[FoundRow]:
    """Gives the rows of a thread, each verified, for `encrypted_serde.anchor.compare`."""
    rows: list[FoundRow] = []
    for found in saver._wiring.gated.list({"configurable": {"thread_id": thread_id}}):
        saver._opener.check_identity({"configurable": {"thread_id": thread_id}}, found)
        saver._opener.checkpoint(found, None)
        configurable = found.config["configurable"]
        rows.append(FoundRow(configurable.get("checkpoint_ns", ""), configurable["checkpoint_id"], found_writes(found)))
    return rows


def problem_of(gaps: WriteGaps) -> str:
    """Says what the writes of a checkpoint lack."""
    if gaps.missing:
        return "writes that the anchor knows are missing in the database"
    return f"an older write of task {gaps.stale[0].task_id} was put back"


def _naming(asked: RunnableConfig, at: At, checkpoint_id: str | None) -> RunnableConfig:
    configurable = {name: value for name, value in asked["configurable"].items() if name != "checkpoint_id"}
    configurable["checkpoint_ns"] = at.place.checkpoint_ns
    return {"configurable": configurable if checkpoint_id is None else {**configurable, "checkpoint_id": checkpoint_id}}
