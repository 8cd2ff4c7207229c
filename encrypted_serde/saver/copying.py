"""Copying a thread: every row is verified, and sealed again for its new place under the context it had."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig

from ..wrapping.steps import Steps, Work
from .base import WiredSaver
from .completeness import spot_of
from .open import OpenedRow
from .steps import Call, Page, list_call


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
