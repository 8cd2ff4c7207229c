"""Threads written straight through a saver's own methods: two of everything, so that there is something to swap."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from encrypted_serde import EncryptedSerdeError
from tests.saver.databases import Database, Place

TASKS = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b")

SCALARS = ("note", "other")
LISTS = ("log", "more")


def make_checkpoint(step: int, values: dict[str, Any], versions: dict[str, Any]) -> Checkpoint:
    return {
        "v": 4,
        "id": str(uuid6(clock_seq=step)),
        "ts": datetime.now(timezone.utc).isoformat(),
        "channel_values": values,
        "channel_versions": versions,
        "versions_seen": {"node": dict(versions)},
        "updated_channels": sorted(versions),
    }


def write_thread(saver: Any, thread_id: str, checkpoint_ns: str = "", steps: int = 2, **configurable: Any) -> list[Place]:
    """Writes checkpoints of two scalar channels, two lists and one that is None, each with pending writes of two tasks.

    Returns:
        Where they stand, oldest first.
    """
    place = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, **configurable}
    config: dict[str, Any] = {"configurable": place}
    versions: dict[str, Any] = {}
    written = []
    for step in range(steps):
        text = f"{thread_id}/{checkpoint_ns}/{step}"
        values = {channel: f"{channel} of {text}" for channel in SCALARS}
        values |= {channel: [f"{channel} of {text}"] for channel in LISTS}
        values["nothing"] = None
        versions = {channel: saver.get_next_version(versions.get(channel), None) for channel in values}
        checkpoint = make_checkpoint(step, values, versions)
        metadata = {"source": "loop", "step": step, "parents": {}, "author": f"author of {text}"}
        stored = saver.put(config, checkpoint, metadata, versions)
        for task in TASKS:
            saver.put_writes(stored, [("note", f"written by {text}"), ("log", [task])], task, f"~path of {task[-1]}")
        saver.put_writes(stored, [(RESUME, f"answer of {text}")], TASKS[0])
        saver.put_writes(stored, [(INTERRUPT, f"interrupt of {text}")], TASKS[1])
        saver.put_writes(stored, [(ERROR, f"error of {text}")], TASKS[1])
        written.append(Place(thread_id, checkpoint_ns, checkpoint["id"]))
        config = {"configurable": {**place, "checkpoint_id": checkpoint["id"]}}
    return written


def writes_of(saver: Any, place: Place) -> list[tuple[str, str, Any]]:
    return saver.get_tuple(place.config).pending_writes


def assert_refused(database: Database, place: Place, error: type[EncryptedSerdeError], saying: str | None = None) -> None:
    """Both ways of reading a checkpoint refuse it, with exactly this class and a message that names the row and no value."""
    for read in (lambda saver: saver.get_tuple(place.config), lambda saver: list(saver.list(place.config))):
        with pytest.raises(EncryptedSerdeError, match=saying) as caught:
            read(database.saver())
        message = str(caught.value)
        assert type(caught.value) is error, message
        assert all(repr(name) in message for name in place), message
        assert " of one/" not in message
        assert " of two/" not in message
