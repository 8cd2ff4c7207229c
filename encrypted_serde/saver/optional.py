"""The methods that a saver has only if the saver it wraps has them.

LangGraph and Agent Server find out by looking at the *type* of a saver whether a method is its own or the base class's. So
the wrapper's type is made to fit: a subclass, cached, with just those that the inner saver's type overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import lru_cache, partial, wraps
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import DeltaChannelHistory

from ..wrapping.steps import Steps, Work, arun, run
from .base import WiredSaver
from .completeness import spot_of
from .listing import Asked
from .open import OpenedRow
from .steps import Call, Page, list_call
from .traits import overrides


def class_for(
    wrapper: type[WiredSaver], cls: type[WiredSaver], inner: type[Any], *, verify_delta_history: bool
) -> type[WiredSaver]:
    """Returns the subclass that has the optional methods of an inner saver.

    Args:
        wrapper: `EncryptedSaver` itself.
        cls: The class that was called: the same, or somebody's subclass, whose own methods come first.
        inner: The class of the saver it wraps.
        verify_delta_history: Leave out the fast way to a delta channel's history; the slow one goes through verified rows.
    """
    names = [name for name in _METHODS if overrides(inner, name)]
    if verify_delta_history:
        names = [name for name in names if name not in _FAST_HISTORY]
    called: type[WiredSaver] = vars(cls).get("_chosen_for", cls)
    return _subclass(wrapper, called, frozenset(names))  # type: ignore[arg-type]  # a class is hashable


@lru_cache(maxsize=256)
def _subclass(wrapper: type[WiredSaver], cls: type[WiredSaver], names: frozenset[str]) -> type[WiredSaver]:
    members: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    members["_chosen_for"] = cls
    if cls is wrapper:
        return type(cls.__name__, (cls,), {**members, **{name: _METHODS[name] for name in names}})
    return type(cls.__name__, (cls, _subclass(wrapper, wrapper, names)), members)  # type: ignore[arg-type]  # as above


def delete_thread(self: WiredSaver, thread_id: str, **named: Any) -> Steps[Any]:
    """Deletes a thread. Arguments and result are those of the inner saver. With an anchor the deletion is entered there."""
    yield from self._before_deleting([thread_id])
    delete = Call(self._wiring.gated, "delete_thread", (thread_id,), None, named)
    try:
        if self._anchoring is None:
            return (yield delete)
        return (yield from self._anchoring.delete_threads([thread_id], delete))
    finally:
        self._forget([thread_id])


def prune(self: WiredSaver, thread_ids: Sequence[str], **named: Any) -> Steps[Any]:
    """Prunes threads, as the inner saver does. Arguments and result are those of the inner saver.

    With an anchor what is gone is entered, and the newest checkpoint stays required.
    """

    def prune_those(chosen: Sequence[str]) -> Call:
        return Call(self._wiring.gated, "prune", (chosen,), None, named)

    yield from self._before_deleting(thread_ids)
    is_whole = named.get("strategy") == "delete"
    try:
        if self._anchoring is None or isinstance(thread_ids, str):  # which the inner saver refuses
            return (yield prune_those(thread_ids))
        if is_whole:
            return (yield from self._anchoring.delete_threads(thread_ids, prune_those(thread_ids)))
        return (yield from self._anchoring.prune(thread_ids, prune_those))
    finally:
        self._forget(thread_ids)


def delete_for_runs(self: WiredSaver, run_ids: Sequence[str], **named: Any) -> Steps[Any]:
    """Deletes what runs wrote, as the inner saver does: ``run_id`` is a readable metadata key. Returns its result."""
    delete = Call(self._wiring.gated, "delete_for_runs", (run_ids,), None, named)
    try:
        if self._anchoring is None:
            return (yield delete)
        return (yield from self._anchoring.delete_for_runs(run_ids, delete))
    finally:
        self._wiring.remembered.forget_all()


def copy_thread(self: WiredSaver, source_thread_id: str, target_thread_id: str) -> Steps[None]:
    """Copies a thread. Every row is verified, and sealed again for its new place under the context it had."""
    only = None
    if self._anchoring is not None:  # a thread that lacks something is not copied at all
        lister, (expected, _) = self._anchoring.lister(), self._for_copying()
        source: RunnableConfig = {"configurable": {"thread_id": source_thread_id}}
        yield from lister.steps(Asked(source, expected, None, None, None))
        only = lister.listed
    yield from copy_steps(self, source_thread_id, target_thread_id, only)


def copy_steps(
    saver: WiredSaver, source_thread_id: str, target_thread_id: str, only: Container[tuple[str, str]] | None = None
) -> Steps[None]:
    """Copies a thread, oldest checkpoint first. What it had in other rows than were listed is not copied.

    Args:
        saver: What to read and write with.
        source_thread_id: The thread to copy.
        target_thread_id: What the copy is called.
        only: Namespaces and ids of the checkpoints to copy; None for all.
    """
    expected, writer = saver._for_copying()
    source: RunnableConfig = {"configurable": {"thread_id": source_thread_id}}
    found = yield Page(list_call(saver._wiring.gated, source, expected))
    for row in reversed(found):
        if only is not None and spot_of(row) not in only:
            continue
        opened: OpenedRow = yield Work(partial(saver._opener.row, row, expected), is_heavy=True)
        yield from _store(writer, opened, target_thread_id)


def _store(writer: WiredSaver, row: OpenedRow, target_thread_id: str) -> Steps[None]:
    """Writes a row to another thread, under the context it has. There all its channels that have a value are new."""
    config, checkpoint, metadata, parent_config, _ = row.checkpoint
    place = {"thread_id": target_thread_id, "checkpoint_ns": config["configurable"].get("checkpoint_ns", "")}
    parent = {"checkpoint_id": parent_config["configurable"]["checkpoint_id"]} if parent_config else {}
    versions = {name: v for name, v in checkpoint["channel_versions"].items() if name in checkpoint["channel_values"]}
    yield Call(writer, "put", ({"configurable": {**place, **parent}}, checkpoint, metadata, versions), row.context)
    stored = {"configurable": {**place, "checkpoint_id": checkpoint["id"]}}
    for (task_id, task_path), writes in _by_task(row).items():
        yield Call(writer, "put_writes", (stored, writes, task_id, task_path), row.context)


def _by_task(row: OpenedRow) -> dict[tuple[str, str], list[tuple[str, Any]]]:
    """Returns pending writes by task and its path, which is empty for writes from before the wrapper."""
    tasks: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for write, (task_id, channel, value) in zip(row.writes, row.checkpoint.pending_writes or (), strict=True):
        path = (write.claims and write.claims.task_path) or ""
        tasks.setdefault((task_id, path), []).append((channel, value))
    return tasks


def get_delta_channel_history(
    self: WiredSaver, *, config: RunnableConfig, channels: Sequence[str]
) -> Steps[Mapping[str, DeltaChannelHistory]]:
    """Returns writes and seeds of delta channels, each authenticated to thread, namespace and channel."""
    asked, at = self._asked_to_read(config)
    found = yield Call(self._wiring.gated, "get_delta_channel_history", (), at.context, {"config": asked, "channels": channels})
    opened: Mapping[str, DeltaChannelHistory] = yield Work(lambda: self._opener.history(found, at), is_heavy=True)
    return opened


def setup(self: WiredSaver) -> Any:
    """Sets up the inner saver's database. Await the result where the inner saver's own is awaited."""
    return cast("Any", self._wiring.gated).setup()


def _twins(steps: Callable[..., Steps[Any]]) -> dict[str, Callable[..., Any]]:
    """Makes a method of its steps, and its asynchronous twin."""

    @wraps(steps)
    def now(*arguments: Any, **named: Any) -> Any:
        return run(steps(*arguments, **named))

    @wraps(steps)
    async def later(*arguments: Any, **named: Any) -> Any:
        return await arun(steps(*arguments, **named))

    later.__name__ = later.__qualname__ = f"a{steps.__name__}"
    return {now.__name__: now, later.__name__: later}


_FAST_HISTORY = _twins(get_delta_channel_history)
_METHODS = {
    **_twins(delete_thread),
    **_twins(prune),
    **_twins(delete_for_runs),
    **_twins(copy_thread),
    "setup": setup,
    **_FAST_HISTORY,
}
