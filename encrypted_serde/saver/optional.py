"""The methods that a saver has only if the saver it wraps has them.

LangGraph and Agent Server find out by looking at the *type* of a saver whether a method is its own or the base class's. So
the wrapper's type is made to fit: a subclass, cached, with just those that the inner saver's type overrides.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from ..core.context import EncryptionContext, current, encryption_context
from ..core.envelope import parse_header, parse_sealed, parse_sealed_text
from ..errors import ConfigurationError
from .manifest import KEY
from .open import ambient
from .seal import Place
from .writes import Task

if TYPE_CHECKING:
    from .saver import EncryptedSaver


def class_for(
    cls: type[EncryptedSaver], inner: BaseCheckpointSaver[Any], *, verify_delta_history: bool
) -> type[EncryptedSaver]:
    """Gives the subclass that has the optional methods of an inner saver.

    Args:
        cls: The wrapper's class.
        inner: The saver it wraps.
        verify_delta_history: Leave out the fast way to a delta channel's history. The base class's goes through the
            wrapper's own verified ``get_tuple``.
    """
    base = BaseCheckpointSaver
    names = [name for name in _METHODS if getattr(type(inner), name, None) is not getattr(base, name, None)]
    if verify_delta_history:
        names = [name for name in names if name not in _FAST_HISTORY]
    return _subclass(cls, frozenset(names))  # type: ignore[arg-type]  # a class is hashable; its instances' __hash__ is meant


@lru_cache(maxsize=256)
def _subclass(cls: type[EncryptedSaver], names: frozenset[str]) -> type[EncryptedSaver]:
    members: dict[str, Any] = {name: _METHODS[name] for name in names}
    members |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls,), members)


def prune(self: EncryptedSaver, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
    """Prunes threads, as the inner saver does."""
    self._gated.prune(thread_ids, strategy=strategy)


async def aprune(self: EncryptedSaver, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
    """Prunes threads, as the inner saver does."""
    await self._gated.aprune(thread_ids, strategy=strategy)


def delete_for_runs(self: EncryptedSaver, run_ids: Sequence[str]) -> None:
    """Deletes what runs wrote, as the inner saver does: ``run_id`` is a readable metadata key."""
    self._gated.delete_for_runs(run_ids)


async def adelete_for_runs(self: EncryptedSaver, run_ids: Sequence[str]) -> None:
    """Deletes what runs wrote, as the inner saver does: ``run_id`` is a readable metadata key."""
    await self._gated.adelete_for_runs(run_ids)


def copy_thread(self: EncryptedSaver, source_thread_id: str, target_thread_id: str) -> None:
    """Copies a thread. Every row is verified, and sealed again for its new place under the context it had."""
    expected, writer = _for_copying(self)
    with ambient(expected):
        found = [*self._gated.list({"configurable": {"thread_id": source_thread_id}})]
    for row in map(partial(_Copy.of, self, target_thread_id, expected), reversed(found)):
        with row.context():
            writer.put(row.parent, row.checkpoint, row.metadata, row.versions)
            for task in row.tasks:
                writer.put_writes(row.config, task.writes, task.task_id, task.task_path)


async def acopy_thread(self: EncryptedSaver, source_thread_id: str, target_thread_id: str) -> None:
    """Copies a thread as `copy_thread` does."""
    expected, writer = _for_copying(self)
    with ambient(expected):
        found = [row async for row in self._gated.alist({"configurable": {"thread_id": source_thread_id}})]
    for row in map(partial(_Copy.of, self, target_thread_id, expected), reversed(found)):
        with row.context():
            await writer.aput(row.parent, row.checkpoint, row.metadata, row.versions)
            for task in row.tasks:
                await writer.aput_writes(row.config, task.writes, task.task_id, task.task_path)


def _for_copying(saver: EncryptedSaver) -> tuple[EncryptionContext | None, EncryptedSaver]:
    """Gives the context that a thread to be copied must have, and a saver that writes under the ambient one."""
    source = saver._context
    if callable(source) and current.get() is None:
        raise ConfigurationError("copy_thread has no run's config to ask context= with: use an encryption_context")
    writer = copy.copy(saver)
    writer._context = None
    return (None if callable(source) else source), writer


class _Copy(NamedTuple):
    """What is to be written to copy one row."""

    config: RunnableConfig
    parent: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    versions: ChannelVersions
    tasks: list[Task]
    stored: EncryptionContext | None

    @classmethod
    def of(
        cls, saver: EncryptedSaver, target_thread_id: str, expected: EncryptionContext | None, found: CheckpointTuple
    ) -> _Copy:
        stored = _stored_context(found)
        opened = saver._opener.checkpoint(found, expected)
        place = {"thread_id": target_thread_id, "checkpoint_ns": found.config["configurable"].get("checkpoint_ns", "")}
        parent = {"checkpoint_id": found.parent_config["configurable"]["checkpoint_id"]} if found.parent_config else {}
        checkpoint = opened.checkpoint
        return cls(
            config={"configurable": {**place, "checkpoint_id": checkpoint["id"]}},
            parent={"configurable": {**place, **parent}},
            checkpoint=checkpoint,
            metadata=opened.metadata,
            versions={c: v for c, v in checkpoint["channel_versions"].items() if c in checkpoint["channel_values"]},
            tasks=saver._opener.tasks(found, expected),
            stored=stored,
        )

    def context(self) -> AbstractContextManager[None]:
        """Gives the context to write in: the one the row had; the caller's for a row from before the wrapper."""
        return nullcontext() if self.stored is None else encryption_context(self.stored.pairs)


def _stored_context(found: CheckpointTuple) -> EncryptionContext | None:
    text = (found.metadata or {}).get(KEY)
    sealed = parse_sealed_text(text) if isinstance(text, str) else None
    parsed = parse_sealed(sealed) if sealed else None
    return parse_header(sealed, parsed[1]).context if sealed and parsed else None


def get_delta_channel_history(
    self: EncryptedSaver, *, config: RunnableConfig, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Gives writes and seeds of delta channels, each authenticated to thread, namespace and channel."""
    asked, context = self._inner_config(config), self._context_of(config)
    with ambient(context):
        found = self._gated.get_delta_channel_history(config=asked, channels=channels)
    return self._opener.history(found, Place.of_config(asked), context)


async def aget_delta_channel_history(
    self: EncryptedSaver, *, config: RunnableConfig, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Gives writes and seeds of delta channels, as `get_delta_channel_history` does."""
    asked, context = self._inner_config(config), self._context_of(config)
    with ambient(context):
        found = await self._gated.aget_delta_channel_history(config=asked, channels=channels)
    return self._opener.history(found, Place.of_config(asked), context)


def setup(self: EncryptedSaver) -> Any:
    """Sets up the inner saver's database. Await the result where the inner saver's own is awaited."""
    return cast("Any", self._gated).setup()


_FAST_HISTORY: dict[str, Callable[..., Any]] = {
    "get_delta_channel_history": get_delta_channel_history,
    "aget_delta_channel_history": aget_delta_channel_history,
}

_METHODS: dict[str, Callable[..., Any]] = {
    "prune": prune,
    "aprune": aprune,
    "delete_for_runs": delete_for_runs,
    "adelete_for_runs": adelete_for_runs,
    "copy_thread": copy_thread,
    "acopy_thread": acopy_thread,
    "setup": setup,
    **_FAST_HISTORY,
}
