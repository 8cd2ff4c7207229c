"""A saver with an anchor: the methods that enter what they store and delete, and hold what they read against it.

They stand in a subclass that `EncryptedSaver` chooses when it is given an anchor. Without one nothing of this runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple

from ..anchor.entries import Anchor, Kind, id_bytes
from ..anchor.keeper import BegunWrites, Keeper, NewWrites, Pending, Unsettled, Where
from ..anchor.lag import LaggingAnchor
from ..anchor.ledger import Spot
from ..core.keys import KeyProvider
from ..errors import ConfigurationError
from .base import WiredSaver
from .completeness import RowReader, where_of
from .copying import copy_steps, spot_of
from .listing import Asked
from .optional import require_judgeable
from .steps import Call, Give, Page, Query, Step, Steps, Work, arun, run
from .traits import Traits, overrides
from .whole_history import WholeLister

_METHODS_OF_ANCHORS = ("append", "newest", "entries", "threads")


def keeper_for(anchor: Anchor | None, max_lag: float | None, keys: KeyProvider, traits: Traits) -> Keeper | None:
    """Checks the arguments ``anchor`` and ``max_lag``.

    Raises:
        TypeError: If it is no anchor.
        ConfigurationError: If the two do not fit together, or the anchor does not fit the saver or the keys.
    """
    if anchor is None:
        if max_lag is not None:
            raise ConfigurationError("max_lag is the lag of an anchor: give anchor= too")
        return None
    if isinstance(anchor, type) or not all(callable(getattr(anchor, name, None)) for name in _METHODS_OF_ANCHORS):
        raise TypeError(f"anchor must have {', '.join(_METHODS_OF_ANCHORS)}, like SqliteAnchor; not {type(anchor).__name__}")
    if traits.is_shallow:
        raise ConfigurationError("a shallow saver overwrites its checkpoints, so no anchor can miss one: use a full saver")
    return Keeper(anchor if max_lag is None else LaggingAnchor(anchor, max_lag), keys)


@lru_cache(maxsize=256)
def anchored(cls: type[WiredSaver]) -> type[WiredSaver]:
    """Gives the subclass of a saver's class that keeps an anchor. It has no method that the class does not have."""
    members: dict[str, Any] = {**_METHODS, **{name: method for name, method in _OPTIONAL.items() if overrides(cls, name)}}
    members |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__, "_plain": cls}
    members["_chosen_for"] = vars(cls)["_chosen_for"]
    return type(cls.__name__, (cls,), members)


def _keeper(self: WiredSaver) -> Keeper:
    return cast("Keeper", self._wiring.keeper)


# --- storing


def put(
    self: Any, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
) -> RunnableConfig:
    """Seals a checkpoint, stores it, and enters it."""
    pending = _begin_checkpoint(self, config, checkpoint)
    stored: RunnableConfig = self._plain.put(self, config, checkpoint, metadata, new_versions)
    _keeper(self).stored(pending)
    return stored


async def aput(
    self: Any, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
) -> RunnableConfig:
    """Seals a checkpoint, stores it, and enters it."""
    pending = await asyncio.to_thread(_begin_checkpoint, self, config, checkpoint)
    stored: RunnableConfig = await self._plain.aput(self, config, checkpoint, metadata, new_versions)
    await asyncio.to_thread(_keeper(self).stored, pending)
    return stored


def put_writes(self: Any, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
    """Seals the writes of a task, stores them, and enters them."""
    begun = _begin_writes(self, config, writes, task_id)
    batch = self._put_writes(config, writes, task_id, task_path)
    _keeper(self).stored_writes(begun, batch)


async def aput_writes(
    self: Any, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
) -> None:
    """Seals the writes of a task, stores them, and enters them."""
    begun = await asyncio.to_thread(_begin_writes, self, config, writes, task_id)
    batch = await self._aput_writes(config, writes, task_id, task_path)
    await asyncio.to_thread(_keeper(self).stored_writes, begun, batch)


def _begin_checkpoint(self: WiredSaver, config: RunnableConfig, checkpoint: Checkpoint) -> Pending:
    return _keeper(self).begin_checkpoint(_place(self, config), checkpoint["id"])


def _begin_writes(self: WiredSaver, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str) -> BegunWrites:
    slots = [WRITES_IDX_MAP.get(channel, position) for position, (channel, _) in enumerate(writes)]
    settles = self._wiring.traits.settles_slots
    checkpoint_id = config["configurable"]["checkpoint_id"]
    new = NewWrites(checkpoint_id, task_id, slots, first_stays=settles, newest_stays=settles and max(slots, default=0) < 0)
    return _keeper(self).begin_writes(_place(self, config), new)


def _place(self: WiredSaver, config: RunnableConfig) -> Where:
    configurable = config["configurable"]
    return where_of(str(configurable["thread_id"]), configurable.get("checkpoint_ns") or "", self._context_of(config))


# --- reading


def get_tuple(self: WiredSaver, config: RunnableConfig) -> CheckpointTuple | None:
    """Fetches a checkpoint, verifies it, and compares it with the anchor. None only if neither knows one."""
    [found] = run(_get_steps(self, config))
    return found  # type: ignore[no-any-return]  # steps give anything


async def aget_tuple(self: WiredSaver, config: RunnableConfig) -> CheckpointTuple | None:
    """Fetches a checkpoint, verifies it, and compares it with the anchor, as `get_tuple` does."""
    [found] = [found async for found in arun(_get_steps(self, config))]
    return found  # type: ignore[no-any-return]  # steps give anything


def _get_steps(self: WiredSaver, config: RunnableConfig) -> Steps:
    asked, at = yield Work(partial(self._asked, config), self._wiring.sealer.may_block)
    reader = RowReader(self._wiring, self._opener, _keeper(self))
    judged = yield from reader.row(asked, at)
    if judged is None:
        yield Give(None)
        return
    opened = yield Work(partial(self._open, config, asked, judged.found, at), is_heavy=True)
    if judged.is_unknown:
        yield Work(partial(reader.enter, judged), is_heavy=True)
    yield Give(opened)


def list_(
    self: WiredSaver,
    config: RunnableConfig | None,
    *,
    filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
    before: RunnableConfig | None = None,
    limit: int | None = None,
) -> Iterator[CheckpointTuple]:
    """Lists checkpoints, verified, and all that the anchor knows of the thread if neither filter nor limit cut it short."""
    lister = WholeLister(self._wiring, self._opener, _keeper(self))
    return run(lister.steps(self._listed(config, filter, before, limit)))


def alist(
    self: WiredSaver,
    config: RunnableConfig | None,
    *,
    filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
    before: RunnableConfig | None = None,
    limit: int | None = None,
) -> AsyncIterator[CheckpointTuple]:
    """Lists checkpoints as `list` does."""
    lister = WholeLister(self._wiring, self._opener, _keeper(self))
    return arun(lister.steps(self._listed(config, filter, before, limit)))


# --- deleting: entered first, so that what stands there after a crash counts as absent


class _Tried(NamedTuple):
    """A step that may fail; gives the exception, or None."""

    step: Step

    def now(self) -> Exception | None:
        try:
            self.step.now()
        except Exception as error:  # noqa: BLE001  # raised again once the anchor is in order
            return error
        return None

    async def later(self) -> Exception | None:
        try:
            await self.step.later()
        except Exception as error:  # noqa: BLE001  # raised again once the anchor is in order
            return error
        return None


def _where(self: WiredSaver, thread_id: object) -> Where:
    """Gives a thread as the anchor is asked for it where there is no run's config."""
    return where_of(str(thread_id), "", None if callable(self._context) else self._context)


def _delete_steps(self: WiredSaver, thread_ids: Sequence[str], call: Call) -> Steps:
    for thread_id in thread_ids:
        yield Work(partial(_keeper(self).mark, _where(self, thread_id), Kind.DELETED), is_heavy=True)
    yield call


def _thin_steps(self: WiredSaver, kept: dict[str, list[Spot]], call: Call) -> Steps:
    """Deletes parts of threads.

    Args:
        self: The saver.
        kept: By thread, the checkpoints that the call must leave alone.
        call: The call.
    """
    keeper = _keeper(self)
    for thread_id in kept:
        yield Work(partial(keeper.mark, _where(self, thread_id), Kind.THINNED), is_heavy=True)
    error = yield _Tried(call)
    for thread_id, spots in kept.items():
        where = _where(self, thread_id)
        unsettled: Unsettled = yield Work(partial(keeper.unsettled, where), is_heavy=True)
        rows = yield Page(Query(self._wiring.gated, {"configurable": {"thread_id": thread_id}}, None))
        yield Work(partial(_settle, keeper, where, unsettled, rows, spots), is_heavy=True)
    if error is not None:
        raise error


def _settle(keeper: Keeper, where: Where, unsettled: Unsettled, rows: Sequence[CheckpointTuple], spots: Sequence[Spot]) -> None:
    keeper.settle(unsettled, [*spots, *(spot for row in rows for spot in _spots(keeper, where, row))])


def _spots(keeper: Keeper, where: Where, found: CheckpointTuple) -> list[Spot]:
    checkpoint_ns, checkpoint_id = spot_of(found)
    return keeper.spots(where._replace(checkpoint_ns=checkpoint_ns), [checkpoint_id])


def _prune_steps(self: WiredSaver, thread_ids: Sequence[str], strategy: str) -> Steps:
    call = Call(self._wiring.gated, "prune", (thread_ids,), None, {"strategy": strategy})
    if strategy == "delete":
        yield from _delete_steps(self, thread_ids, call)
        return
    yield from require_judgeable(self, thread_ids)
    kept: dict[str, list[Spot]] = {}
    for thread_id in thread_ids:  # pruning may take anything but the newest checkpoint of the root graph
        where = _where(self, thread_id)
        watch = yield Work(partial(_keeper(self).newest, where), is_heavy=True)
        newest = max(watch.required(), key=id_bytes, default=None)
        kept[str(thread_id)] = [] if newest is None else _keeper(self).spots(where, [newest])
    yield from _thin_steps(self, kept, call)


def _delete_for_runs_steps(self: WiredSaver, run_ids: Sequence[str]) -> Steps:
    keeper = _keeper(self)
    doomed: dict[str, set[Spot]] = {}
    for run_id in run_ids:
        rows = yield Page(Query(self._wiring.gated, None, None, {"run_id": run_id}))
        for found in rows:
            # Verified, or a run_id that somebody wrote there would excuse a deletion.
            yield Work(partial(self._opener.metadata, found, None), is_heavy=True)
            thread_id = str(found.config["configurable"]["thread_id"])
            doomed.setdefault(thread_id, set()).update(_spots(keeper, _where(self, thread_id), found))
    kept: dict[str, list[Spot]] = {}
    for thread_id, spots in doomed.items():
        ledger = yield Work(partial(keeper.thread, _where(self, thread_id)), is_heavy=True)
        kept[thread_id] = [spot for spot in ledger.required() if spot not in spots]
    yield from _thin_steps(self, kept, Call(self._wiring.gated, "delete_for_runs", (run_ids,)))


def _copy_steps(self: WiredSaver, source_thread_id: str, target_thread_id: str) -> Steps:
    """Copies what is there as the anchor knows it: a thread that lacks something is not copied at all."""
    expected, _ = self._for_copying()
    lister = WholeLister(self._wiring, self._opener, _keeper(self))
    yield from lister.steps(Asked({"configurable": {"thread_id": source_thread_id}}, expected, None, None, None))
    yield from copy_steps(self, source_thread_id, target_thread_id, lister.listed)


def _drain(steps: Steps) -> None:
    for _ in run(steps):
        pass


async def _adrain(steps: Steps) -> None:
    async for _ in arun(steps):
        pass


def delete_thread(self: WiredSaver, thread_id: str) -> None:
    """Enters that a thread is deleted, and deletes it."""
    _drain(_delete_steps(self, [thread_id], Call(self._wiring.gated, "delete_thread", (thread_id,))))


async def adelete_thread(self: WiredSaver, thread_id: str) -> None:
    """Enters that a thread is deleted, and deletes it."""
    await _adrain(_delete_steps(self, [thread_id], Call(self._wiring.gated, "delete_thread", (thread_id,))))


def prune(self: WiredSaver, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
    """Prunes threads as the inner saver does, and enters what is gone. The newest checkpoint of each is missed if it went."""
    _drain(_prune_steps(self, thread_ids, strategy))


async def aprune(self: WiredSaver, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
    """Prunes threads as `prune` does."""
    await _adrain(_prune_steps(self, thread_ids, strategy))


def delete_for_runs(self: WiredSaver, run_ids: Sequence[str]) -> None:
    """Deletes what runs wrote as the inner saver does, and enters what is gone. Anything else that went is missed."""
    _drain(_delete_for_runs_steps(self, run_ids))


async def adelete_for_runs(self: WiredSaver, run_ids: Sequence[str]) -> None:
    """Deletes what runs wrote as `delete_for_runs` does."""
    await _adrain(_delete_for_runs_steps(self, run_ids))


def copy_thread(self: WiredSaver, source_thread_id: str, target_thread_id: str) -> None:
    """Copies a thread that is complete. Every row is sealed and entered for its new place."""
    _drain(_copy_steps(self, source_thread_id, target_thread_id))


async def acopy_thread(self: WiredSaver, source_thread_id: str, target_thread_id: str) -> None:
    """Copies a thread as `copy_thread` does."""
    await _adrain(_copy_steps(self, source_thread_id, target_thread_id))


_METHODS: dict[str, Callable[..., Any]] = {
    "put": put,
    "aput": aput,
    "put_writes": put_writes,
    "aput_writes": aput_writes,
    "get_tuple": get_tuple,
    "aget_tuple": aget_tuple,
    "list": list_,
    "alist": alist,
}

_OPTIONAL: dict[str, Callable[..., Any]] = {
    "delete_thread": delete_thread,
    "adelete_thread": adelete_thread,
    "prune": prune,
    "aprune": aprune,
    "delete_for_runs": delete_for_runs,
    "adelete_for_runs": adelete_for_runs,
    "copy_thread": copy_thread,
    "acopy_thread": acopy_thread,
}
