"""A saver with an anchor: storing, reading and deleting, each as steps that the methods of `EncryptedSaver` run.

Stored rows are entered once they are stored. Deletions are announced, done, and ended whatever failed (rule A-3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple

from ..anchor.client import AnchorClient, NewWrites
from ..anchor.compare import View
from ..anchor.entries import Anchor, Entry, Kind
from ..anchor.ledger import Standing
from ..anchor.names import Spot
from ..core.binding import Place
from ..core.keys import KeyProvider
from ..errors import ConfigurationError, WrongLocation
from ..wrapping.steps import Step, Steps, Work
from .completeness import Kept, RowReader, id_of, spot_of
from .steps import Call, Page, list_call
from .traits import Traits
from .whole_history import WholeLister
from .wiring import At

T = TypeVar("T")
_METHODS = ("append", "newest", "entries", "threads")

_Rows = dict[Spot, tuple[str, str]]
"""Namespace and id of checkpoints, by their names in the anchor."""


def client_for(anchor: Anchor | None, keys: KeyProvider, traits: Traits) -> AnchorClient | None:
    """Checks the argument ``anchor``.

    Raises:
        TypeError: If it is no anchor.
        ConfigurationError: If it does not fit the saver.
    """
    if anchor is None:
        return None
    if isinstance(anchor, type) or not all(callable(getattr(anchor, name, None)) for name in _METHODS):
        raise TypeError(f"anchor must have {', '.join(_METHODS)}, like SqliteAnchor; not {type(anchor).__name__}")
    if traits.is_shallow:
        raise ConfigurationError(
            "a shallow saver overwrites its checkpoints, so an anchor cannot detect a deleted one. Use a full saver"
        )
    return AnchorClient(anchor, keys)


class Anchoring(RowReader):
    """What a saver does because it has an anchor, beside reading rows that are as the anchor knows them."""

    def lister(self) -> WholeLister:
        """Returns what answers one call of ``list``."""
        return WholeLister(self)

    # --- storing

    def checkpoint(
        self, at: At, checkpoint_id: str, versions: Sequence[T], store: Callable[[T], Steps[RunnableConfig]]
    ) -> Steps[RunnableConfig]:
        """Stores a checkpoint, and enters it.

        Args:
            at: Where it goes.
            checkpoint_id: The checkpoint.
            versions: Which channels to store; and all, if a deletion took the values that it shares with its parent.
            store: Stores it, given one of these.
        """
        entry: Entry = yield Work(partial(self.client.begin_checkpoint, at.place, checkpoint_id), is_heavy=True)
        stored = yield from store(versions[0])
        try:
            yield from self._stored([entry], at, checkpoint_id)
        except WrongLocation:
            stored = yield from store(versions[1])
            yield from self._seen(at, checkpoint_id)
        return stored

    def writes(self, at: At, writes: Sequence[tuple[str, Any]], task_id: str, batch: str, store: Step) -> Steps[None]:
        """Stores writes of a task, and enters them.

        Args:
            at: Where they go.
            writes: Their channels and values.
            task_id: The task.
            batch: What is sealed into all of them.
            store: Stores them.
        """
        checkpoint_id = at.checkpoint_id or ""
        slots = [WRITES_IDX_MAP.get(channel, position) for position, (channel, _) in enumerate(writes)]
        settles = self.wiring.traits.settles_slots
        new = NewWrites(checkpoint_id, task_id, slots, settles, settles and max(slots, default=0) < 0)
        begun = yield Work(partial(self.client.begin_writes, at.place, new), is_heavy=True)
        yield store
        yield from self._stored(self.client.writes_entries(begun, batch), at, checkpoint_id)

    def _stored(self, entries: Sequence[Entry], at: At, checkpoint_id: str) -> Steps[None]:
        """Enters what was stored; once more if a deletion may have taken it and it is there."""
        if (yield Work(partial(self.client.stored, entries), is_heavy=True)):
            yield from self._seen(at, checkpoint_id)

    # --- reading

    def found(
        self, asked: RunnableConfig, at: At, opened: Callable[[CheckpointTuple], CheckpointTuple]
    ) -> Steps[CheckpointTuple | None]:
        """Fetches a checkpoint that is as the anchor knows it, opens it, and enters it if it is new to the anchor."""
        kept = yield from self.row(asked, at)
        if kept is None:
            return None
        answer: CheckpointTuple = yield Work(partial(opened, kept.found), is_heavy=True)
        yield from self.enter(kept)
        return answer

    # --- deleting whole threads

    def delete_threads(self, thread_ids: Sequence[str], delete: Step) -> Steps[Any]:
        """Deletes whole threads. From the announcement on, what was entered of them before counts as absent."""
        threads = [*dict.fromkeys(map(str, thread_ids))]
        for thread_id in threads:
            yield Work(partial(self.client.announce, thread_id), is_heavy=True)
        has_failed = False
        try:
            return (yield delete)
        except Exception:
            has_failed = True
            raise
        finally:  # a call that was interrupted may still be done: it counts as done
            yield from self._each(threads, partial(self._end_thread, has_failed))

    def _end_thread(self, has_failed: bool, thread_id: str) -> Steps[None]:
        """Enters what became of a thread that was to be deleted, and of what was stored in it meanwhile."""
        view: View = yield Work(partial(self.client.thread, thread_id), is_heavy=True)
        in_doubt = [spot for spot in view.ledger.spots() if has_failed or view.ledger.checkpoint(spot) is Standing.GOING]
        left: _Rows = (yield from self._rows(view)) if in_doubt else {}
        kind = Kind.KEPT if has_failed and left else Kind.GONE
        gone = {spot: Kind.GONE for spot in in_doubt if spot not in left}
        yield Work(partial(self.client.end, view, gone, kind), is_heavy=True)
        if kind is Kind.GONE:
            for spot in in_doubt:
                if spot in left:
                    checkpoint_ns, checkpoint_id = left[spot]
                    yield from self._seen(At(Place.of(thread_id, checkpoint_ns), None, None), checkpoint_id)

    # --- deleting parts of threads

    def prune(self, thread_ids: Sequence[str], prune: Callable[[Sequence[str]], Step]) -> Steps[Any]:
        """Prunes threads. The newest checkpoint of a namespace, as the anchor knows it, stays required (rule A-4).

        A run may store rows meanwhile, and the inner saver prunes those too that are not the newest then. A thread that is not
        as the anchor knows it, or has a row that does not load, is left alone, and refused at the end.
        """
        named: dict[str, _Rows] = {}
        known: dict[str, set[Spot]] = {}
        refused: list[Exception] = []
        for thread_id in dict.fromkeys(map(str, thread_ids)):
            try:
                named[thread_id], known[thread_id] = yield from self._prunable(thread_id)
            except Exception as error:  # noqa: BLE001  # concerns this thread alone
                refused.append(error)
        result = None
        if named or not refused:
            result = yield from self._delete_parts(named, known, prune([*named]), takes_all=False)
        if refused:
            raise refused[0]
        return result

    def _prunable(self, thread_id: str) -> Steps[tuple[_Rows, set[Spot]]]:
        """Returns what may go of a thread, and all that is known of it but its newest checkpoints, which may not go.

        A namespace has a newest checkpoint that stays unless it is that of a subgraph's single call.
        """
        view: View = yield Work(partial(self.client.thread, thread_id), is_heavy=True)
        rows = yield from self._rows(view)
        if ended := {spot: Kind.GONE for spot in view.ledger.going() if spot not in rows}:  # of a deletion that did not end
            yield Work(partial(self.client.end, view, ended), is_heavy=True)
        known = {*_entered(view), *rows}
        for checkpoint_ns in {"", *(checkpoint_ns for checkpoint_ns, _ in rows.values() if ":" not in checkpoint_ns)}:
            at = At(Place.of(thread_id, checkpoint_ns), None, None)
            kept = yield from self._seen(at)
            if kept is None or kept.judged is None:
                continue
            newest = kept.judged.spot
            rows.pop(newest, None)
            known.discard(newest)
            if any(spot > newest for spot in rows if spot.namespace == newest.namespace):
                problem = "rows that were deleted on purpose are there, and newer than the newest: pruning would keep those"
                raise self.refused(problem, at.place, kept.judged.row.checkpoint_id)
        return rows, known

    def _end_unnamed(self, known: set[Spot], thread_id: str, *, any_may_go: bool = False) -> Steps[None]:
        """Enters what became of rows that were not named: of the newest ones, and of those that a run stored meanwhile.

        Such a row may be gone if a newer one is there and opens. For a namespace without rows, that of a call, a newer one of
        the root is enough. An entry that is made later, across this end, counts once its row is seen.

        Args:
            known: Rows that were there before, or were missing before: they are not looked at.
            thread_id: The thread.
            any_may_go: Whether such a row may be gone though none is newer.
        """
        view: View = yield Work(partial(self.client.thread, thread_id), is_heavy=True)
        rows = yield from self._rows(view)
        ended: dict[Spot, Kind] = {}
        tops: dict[bytes, bytes] = {}
        failed: Exception | None = None
        for spot in [spot for spot in view.ledger.spots() if spot not in known]:
            standing = view.ledger.checkpoint(spot)
            if spot in rows and standing is Standing.GOING:  # an earlier deletion named it, and did not end
                ended[spot] = Kind.KEPT
            if spot in rows or standing <= Standing.REPLACED:
                continue
            if any_may_go:
                ended[spot] = Kind.GONE
                continue
            if spot.namespace not in tops:
                try:
                    tops[spot.namespace] = yield from self._top(rows, spot.namespace, thread_id)
                except Exception as error:  # noqa: BLE001  # what is gone of this namespace stays required
                    tops[spot.namespace], failed = b"", error
            if tops[spot.namespace] > spot.checkpoint:
                ended[spot] = Kind.GONE
        kept = None if view.ledger.is_open else Kind.KEPT  # a deletion of the whole thread ends itself
        yield Work(partial(self.client.end, view, ended, kept), is_heavy=True)
        if failed is not None:
            raise failed

    def _top(self, rows: _Rows, namespace: bytes, thread_id: str) -> Steps[bytes]:
        """Returns the id of the newest row of a namespace, or else of the root, after it was verified."""
        spots = [spot for spot in rows if spot.namespace == namespace]
        spots = spots or [spot for spot, (checkpoint_ns, _) in rows.items() if not checkpoint_ns]
        if not spots:
            return b""
        checkpoint_ns, checkpoint_id = rows[max(spots)]
        yield from self._seen(At(Place.of(thread_id, checkpoint_ns), None, None), checkpoint_id)
        return max(spots).checkpoint

    def delete_for_runs(self, run_ids: Sequence[str], delete: Step) -> Steps[Any]:
        """Deletes what runs wrote: only rows that open are named, so that no forged ``run_id`` excuses a deletion."""
        named: dict[str, _Rows] = defaultdict(dict)
        known: dict[str, set[Spot]] = {}
        for run_id in run_ids:
            rows = yield Page(list_call(self.wiring.gated, None, None, filter={"run_id": run_id}))
            for found in rows:
                try:
                    yield Work(partial(self.opener.listed, found, None), is_heavy=True)
                except Exception:  # noqa: BLE001, S112  # it stays required, if the anchor knows it
                    continue
                thread_id = str(found.config["configurable"]["thread_id"])
                view: View = yield Work(partial(self.client.thread, thread_id), is_heavy=True)
                known.setdefault(thread_id, _entered(view))
                named[thread_id][view.spot(*spot_of(found))] = spot_of(found)
        return (yield from self._delete_parts(named, known, delete, takes_all=True))

    def _delete_parts(
        self, named: dict[str, _Rows], known: dict[str, set[Spot]], delete: Step, *, takes_all: bool
    ) -> Steps[Any]:
        """Deletes checkpoints: announces exactly these, deletes, and enters what became of each, and of what came meanwhile.

        Args:
            named: By thread, what may go.
            known: By thread, the rows of before that may not go or are named.
            delete: Does it.
            takes_all: Whether all that is named is gone afterwards, and any row that was stored meanwhile may be.
        """
        for thread_id, rows in named.items():
            yield Work(partial(self.client.announce, thread_id, [*rows]), is_heavy=True)
        is_done = False
        try:
            result = yield delete
            is_done = True
            return result
        finally:  # what is named comes last: while it is open, readers wait for the rest
            ends = [partial(self._end_unnamed, known[each], each, any_may_go=takes_all) for each in named]
            ends += [partial(self._end_parts, named[each], is_done and takes_all, each) for each in named]
            yield from self._each(ends, lambda end: end())

    def _end_parts(self, rows: _Rows, are_gone: bool, thread_id: str) -> Steps[None]:
        view: View = yield Work(partial(self.client.thread, thread_id), is_heavy=True)
        ended: dict[Spot, Kind] = {}
        failed: Exception | None = None
        for spot, (checkpoint_ns, checkpoint_id) in rows.items():
            config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}}
            try:
                found = None if are_gone else (yield Call(self.wiring.gated, "get_tuple", (config,)))
            except Exception as error:  # noqa: BLE001  # nobody knows whether it is there: its deletion stays open
                failed = error
                continue
            ended[spot] = Kind.GONE if found is None else Kind.KEPT
        yield Work(partial(self.client.end, view, ended), is_heavy=True)
        if failed is not None:
            raise failed

    # --- what both need

    def _each(self, subjects: Sequence[T], steps: Callable[[T], Steps[None]]) -> Steps[None]:
        """Does something with every subject, whatever failed with another one."""
        failed: Exception | None = None
        for subject in subjects:
            try:
                yield from steps(subject)
            except Exception as error:  # noqa: BLE001  # raised again below
                failed = failed or error
        if failed is not None:
            raise failed

    def _rows(self, view: View) -> Steps[_Rows]:
        """Returns the rows that the database has of a thread."""
        rows = yield Page(list_call(self.wiring.gated, {"configurable": {"thread_id": view.thread_id}}, None))
        return {view.spot(*spot_of(found)): spot_of(found) for found in rows if id_of(found) is not None}

    def _seen(self, at: At, checkpoint_id: str | None = None) -> Steps[Kept | None]:
        """Reads a row, the newest if no id is given, verifies it and enters it."""
        asked: RunnableConfig = {"configurable": {}}
        kept = yield from self.row(asked, at._replace(checkpoint_id=checkpoint_id))
        if kept is not None:
            yield Work(partial(self.opener.checkpoint, kept.found, at.context), is_heavy=True)
            yield from self.enter(kept)
        return kept


def _entered(view: View) -> set[Spot]:
    """Returns the checkpoints of a thread that have an entry. Of one that is being made, its writes may have entries alone."""
    return {spot for spot in view.ledger.spots() if view.ledger.checkpoint(spot) is not Standing.UNKNOWN}
