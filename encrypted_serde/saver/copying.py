"""Copying a thread: every row is verified, and sealed again for its new place under the context it had."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple

from ..core.context import EncryptionContext
from ..core.opaque import opaque
from ..rows.writes import Task
from ..wrapping.steps import Steps, Work
from .base import WiredSaver
from .completeness import spot_of
from .steps import Call, Page, list_call


class _Copy(NamedTuple):
    """What is to be written to copy one row.

    Attributes:
        config: Where it goes.
        parent: The config to put it with.
        checkpoint: Opened.
        metadata: Opened.
        versions: Of all channels that have a value: all are new to the thread that is copied to.
        tasks: Its pending writes.
        context: What to write under: what it had; for a row from before the wrapper that of ``context=``, or the ambient one.
    """

    config: RunnableConfig
    parent: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    versions: ChannelVersions
    tasks: list[Task]
    context: EncryptionContext | None

    def __repr__(self) -> str:
        return opaque(self)


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
        copied: _Copy = yield Work(partial(_open, saver, target_thread_id, expected, row), is_heavy=True)
        yield from _store(writer, copied)


def _store(writer: WiredSaver, copied: _Copy) -> Steps[None]:
    arguments = (copied.parent, copied.checkpoint, copied.metadata, copied.versions)
    yield Call(writer, "put", arguments, copied.context)
    for task in copied.tasks:
        yield Call(writer, "put_writes", (copied.config, task.writes, task.task_id, task.task_path), copied.context)


def _open(saver: WiredSaver, target_thread_id: str, expected: EncryptionContext | None, found: CheckpointTuple) -> _Copy:
    opened, tasks, context = saver._opener.with_tasks(found, expected)
    place = {"thread_id": target_thread_id, "checkpoint_ns": found.config["configurable"].get("checkpoint_ns", "")}
    parent = {"checkpoint_id": found.parent_config["configurable"]["checkpoint_id"]} if found.parent_config else {}
    checkpoint = opened.checkpoint
    return _Copy(
        config={"configurable": {**place, "checkpoint_id": checkpoint["id"]}},
        parent={"configurable": {**place, **parent}},
        checkpoint=checkpoint,
        metadata=opened.metadata,
        versions={name: v for name, v in checkpoint["channel_versions"].items() if name in checkpoint["channel_values"]},
        tasks=tasks,
        context=context,
    )
