"""What is edited: two threads and a namespace, with everything that a row can have."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS, _DeltaSnapshot
from langgraph.types import Send

from encrypted_serde import EncryptedSaver
from tests.saver.threads import make_checkpoint
from tests.verdicts.rows import Place

TASK_IDS = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b")
CHANNELS = ("note", "count", "log", "nothing", "items", "late")
THREADS = (("one", "", 3), ("one", "child", 1), ("two", "", 2))


def write(saver: EncryptedSaver) -> dict[tuple[str, str], list[Place]]:
    """Writes it.

    Returns:
        The checkpoints of each thread and namespace, oldest first.
    """
    return {(thread, space): _write(saver, thread, space, steps) for thread, space, steps in THREADS}


def _write(saver: EncryptedSaver, thread: str, space: str, steps: int) -> list[Place]:
    place = {"thread_id": thread, "checkpoint_ns": space}
    config: dict[str, Any] = {"configurable": place}
    versions: dict[str, Any] = {}
    places = []
    for step in range(steps):
        values = _values(f"{thread}/{space}/{step}", step)
        new = {
            name: saver.get_next_version(versions.get(name), None) for name in [*values, "gone"] if name != "kept" or not step
        }
        if step:
            new.pop("gone")  # a channel that the graph has no more: its version stays
        versions = {**versions, **new}
        checkpoint = make_checkpoint(step, values, versions)
        metadata = {
            "source": "loop" if step else "input",
            "step": step,
            "parents": {},
            "author": f"author {step}",
            "user": "alice",
        }
        stored = saver.put(config, checkpoint, {**metadata, "private": f"{thread} {step}"}, new)
        _write_writes(saver, stored, f"{thread}/{space}/{step}", step)
        places.append(Place(thread, space, checkpoint["id"]))
        config = {"configurable": {**place, "checkpoint_id": checkpoint["id"]}}
    return places


def _values(text: str, step: int) -> dict[str, Any]:
    values: dict[str, Any] = {"note": f"note {text}", "count": step, "log": [text], "nothing": None, "kept": [text[:3]]}
    if step == 0:
        values["items"] = _DeltaSnapshot([text])
        values["gone"] = [text]
    if step:
        values["late"] = {"at": text}
    return values


def _write_writes(saver: EncryptedSaver, stored: Any, text: str, step: int) -> None:
    first, second = TASK_IDS
    saver.put_writes(stored, [("note", text), ("items", [text]), ("items", [f"{text} again"])], first, "~path of a")
    saver.put_writes(stored, [("log", [text]), (TASKS, Send("node", {"of": text}))], second, "~path of b")
    saver.put_writes(stored, [(RESUME, f"answer {text}")], first)
    if step:
        saver.put_writes(stored, [(INTERRUPT, f"question {text}")], second)
        saver.put_writes(stored, [(ERROR, f"error {text}")], second)
