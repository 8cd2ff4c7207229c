"""Reading with an anchor: it is asked before the database is, and it names the row.

What the anchor knows was stored earlier, so the database must show it. Only a deletion through a wrapper can take something
away in the meantime, and that is announced before it begins. So a reader that does not find a row asks both once more.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ..anchor.client import AnchorClient
from ..anchor.compare import MISSING, FoundRow, FoundWrite, Judged, View
from ..anchor.entries import id_bytes
from ..anchor.ledger import Standing
from ..audit import tell_refused
from ..core.binding import Place, WriteClaims
from ..core.format import find_sealed
from ..core.opaque import opaque
from ..errors import EncryptedSerdeError, Incomplete
from ..wrapping.steps import Steps, Work
from .open import RowOpener
from .steps import Call, Page, list_call
from .wiring import At, Wiring

UNANCHORED = "unanchored"
"""How rows are counted that the anchor did not require yet, among the `admitted_reads`."""


class Kept(NamedTuple):
    """A row that the anchor does not object to. It is not verified yet.

    Attributes:
        found: As the inner saver returned it.
        view: What the anchor says.
        judged: The comparison; None for a row that will not open, since it has no id.
    """

    found: CheckpointTuple
    view: View
    judged: Judged | None

    def __repr__(self) -> str:
        return opaque(self)


Verdict = Generator[Any, Any, Kept | None]
"""Steps that come to a row, or to none."""


class RowReader:
    """Fetches rows that are as the anchor knows them.

    Args:
        wiring: The parts of the wrapper.
        opener: Verifies and opens rows.
        client: Asks the anchor.

    Attributes:
        wiring: As given, as are the next two.
        opener: See above.
        client: See above.
    """

    def __init__(self, wiring: Wiring, opener: RowOpener, client: AnchorClient) -> None:
        self.wiring, self.opener, self.client = wiring, opener, client

    def row(self, asked: RunnableConfig, at: At) -> Verdict:
        """Fetches the checkpoint that a config names, or else the newest. None if there is none, as the anchor agrees.

        Raises:
            Incomplete: If the anchor requires more or newer than the database has.
        """
        return self.newest(asked, at) if at.checkpoint_id is None else self.exact(asked, at, at.checkpoint_id)

    def exact(self, asked: RunnableConfig, at: At, checkpoint_id: str) -> Verdict:
        """Fetches one checkpoint by its id. Raises as `row` does."""
        config, problem, last = naming(asked, at, checkpoint_id), MISSING, None
        for _ in range(2):
            view: View = yield Work(partial(self.client.checkpoint, at.place, checkpoint_id), is_heavy=True)
            found = yield Call(self.wiring.gated, "get_tuple", (config,), at.context)
            standing = view.ledger.checkpoint(view.spot(at.place.checkpoint_ns, checkpoint_id))
            if standing is Standing.DELETED or (found is None and standing is not Standing.REQUIRED):
                return None  # if it is there, it was put back, or its deletion is not done yet
            if found is not None:
                judged = view.judge(FoundRow(at.place.checkpoint_ns, checkpoint_id, found_writes(found)))
                if judged.problem is None:
                    return Kept(found, view, judged)
                problem, last = judged.problem, found
        if last is not None:  # what was changed or moved is refused as that
            yield Work(partial(self.opener.checkpoint, last, at.context), is_heavy=True)
        raise self.refused(problem, at.place, checkpoint_id)

    def newest(self, asked: RunnableConfig, at: At) -> Verdict:
        """Fetches the newest checkpoint that counts. Raises as `row` does.

        That is the newest that the anchor requires, fetched by its id, unless the database has a newer one that was not
        deleted on purpose (rule A-1).
        """
        place = at.place
        for _ in range(2):
            view: View = yield Work(partial(self.client.newest, place), is_heavy=True)
            required = view.newest(place.checkpoint_ns)
            found = yield Call(self.wiring.gated, "get_tuple", (naming(asked, at, None),), at.context)
            top = None if found is None else id_of(found)
            if found is not None and top is None:
                return Kept(found, view, None)
            if found is not None and top is not None and top == required:
                judged = view.judge(FoundRow(place.checkpoint_ns, top, found_writes(found)))
                if judged.problem is None:
                    self.client.remember(view, judged.spot)
                    return Kept(found, view, judged)
            wanted = required if top is None or (required and id_bytes(top) < id_bytes(required)) else top
            if wanted is None:
                return None
            kept = yield from self.exact(asked, at, wanted)
            if kept is None and wanted == top:  # deleted on purpose, and there all the same
                return (yield from self._behind(asked, at))
            if kept is not None:
                return kept
        raise self.refused(MISSING, place, required)

    def _behind(self, asked: RunnableConfig, at: At) -> Verdict:
        """Looks behind rows that were deleted on purpose and are there all the same."""
        rows: list[CheckpointTuple] = yield Page(list_call(self.wiring.gated, naming(asked, at, None), at.context))
        view: View = yield Work(partial(self.client.place, at.place), is_heavy=True)
        ids = {checkpoint_id for found in rows if (checkpoint_id := id_of(found)) is not None}
        if (required := view.newest(at.place.checkpoint_ns)) is not None:
            ids = {each for each in ids if id_bytes(each) > id_bytes(required)} | {required}
        for checkpoint_id in sorted(ids, key=id_bytes, reverse=True):
            if view.ledger.checkpoint(view.spot(at.place.checkpoint_ns, checkpoint_id)) is not Standing.DELETED:
                kept = yield from self.exact(asked, at, checkpoint_id)
                if kept is not None:
                    return kept
        return None

    def enter(self, kept: Kept) -> Steps[None]:
        """Enters a row that opened and is not required yet: a process may have died before it did (rule A-5)."""
        if kept.judged is not None and kept.judged.is_news:
            entered = yield Work(partial(self.client.enter, kept.view, kept.judged), is_heavy=True)
            if entered:
                self.wiring.admission.admitted[UNANCHORED] += entered

    def refused(self, problem: str, place: Place, checkpoint_id: str | None) -> Incomplete:
        """Returns the error for what is missing, of which the audit is told."""
        error = Incomplete(problem)
        error.row = At(place, checkpoint_id, None).named
        tell_refused(self.wiring.sealer, error)
        return error


def id_of(found: CheckpointTuple) -> str | None:
    """Returns the id of a row; None if it has none that we could have stored."""
    checkpoint_id = found.config["configurable"].get("checkpoint_id")
    return checkpoint_id if isinstance(checkpoint_id, str) else None


def spot_of(found: CheckpointTuple) -> tuple[str, str]:
    """Returns the namespace and the id of a row."""
    configurable = found.config["configurable"]
    return configurable.get("checkpoint_ns", ""), configurable["checkpoint_id"]


def found_writes(found: CheckpointTuple) -> list[FoundWrite]:
    """Returns the writes of a row as they name themselves. They are authenticated when the row is opened, and not before."""
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


def naming(asked: RunnableConfig, at: At, checkpoint_id: str | None) -> RunnableConfig:
    """Returns a config that asks for another checkpoint of the same place, the newest if None; what was asked if that does.

    Some savers give back the config that they were asked with.
    """
    given = asked["configurable"]
    if "thread_id" in given and (given.get("checkpoint_id") or None) == checkpoint_id:
        return asked
    configurable = {name: value for name, value in given.items() if name != "checkpoint_id"}
    configurable |= {"thread_id": at.place.thread_id, "checkpoint_ns": at.place.checkpoint_ns}
    return {"configurable": configurable if checkpoint_id is None else {**configurable, "checkpoint_id": checkpoint_id}}
