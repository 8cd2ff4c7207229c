"""Graphs change while their threads live: keys go, come back, change their class. The plain saver is right."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from encrypted_serde import EncryptedSaver, WrongLocation
from tests.changing_graphs import LIVES, config_of, graph_of, lived
from tests.saver.databases import Database, MemoryDatabase


@pytest.mark.parametrize("verifies", [False, True], ids=["", "verified delta history"])
@pytest.mark.parametrize("life", LIVES, ids=lambda life: "-".join(life))
def test_a_thread_lives_on_when_its_graph_changes(store: Database, life: list[str], verifies: bool) -> None:
    plain = store.plain()
    expected = lived(life, plain)
    store.clear()
    assert lived(life, store.saver(verify_delta_history=verifies)) == expected


def test_another_process_goes_on_with_the_thread(store: Database) -> None:
    for kind in ("with", "without", "without", "with"):
        graph_of(kind, store.saver()).invoke({"n": 1}, config_of())
    seen = [*graph_of("with", store.saver()).get_state_history(config_of())]
    assert seen[0].values["notes"] == ["a", "a"]


# --- what a manifest lists on savers that store a value per channel and version


def _put(
    saver: EncryptedSaver, values: Any, versions: dict[str, str], new: dict[str, str], parent: Any = None, again: str = ""
) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["id"] = again or checkpoint["id"]
    checkpoint["v"] = 4
    checkpoint["channel_values"], checkpoint["channel_versions"] = values, versions
    config = parent or {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    return saver.put(config, checkpoint, {"source": "loop", "step": 1, "parents": {}}, new)


V1 = {"kept": "00001.1", "lost": "00001.2", "nothing": "00001.3"}


@pytest.fixture
def memory() -> MemoryDatabase:
    return MemoryDatabase()


def test_a_value_of_the_parent_stays_required_though_the_channel_is_lost(memory: MemoryDatabase) -> None:
    parent = _put(memory.saver(), {"kept": [1], "lost": [2], "nothing": None}, V1, V1)
    child = _put(memory.saver(), {"kept": [1]}, V1, {}, parent)  # another process, which reads the parent
    found = memory.saver().get_tuple(child)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"kept": [1], "lost": [2], "nothing": None}
    del memory.inner.blobs["1", "", "lost", V1["lost"]]
    with pytest.raises(WrongLocation, match="'lost' is missing"):
        memory.saver().get_tuple(child)


def test_a_checkpoint_that_another_process_stored_again_is_remembered_as_it_is_now(memory: MemoryDatabase) -> None:
    writer, saver = memory.saver(), memory.saver()
    parent = _put(writer, {"kept": [1]}, V1, {"kept": V1["kept"]})
    assert saver.get_tuple(parent) is not None
    _put(writer, {"kept": [1], "lost": [2], "nothing": None}, V1, V1, again=parent["configurable"]["checkpoint_id"])
    assert saver.get_tuple(parent) is not None
    found = saver.get_tuple(_put(saver, {"kept": [1]}, V1, {}, parent))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"kept": [1], "lost": [2], "nothing": None}


def test_a_value_that_is_stored_nowhere_is_not_required(memory: MemoryDatabase) -> None:
    saver = memory.saver()
    parent = _put(saver, {"kept": [1]}, V1, {"kept": V1["kept"]})
    child = _put(saver, {"kept": [1], "lost": []}, V1, {}, parent)
    found = saver.get_tuple(child)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"kept": [1]}


def test_a_value_that_nobody_lists_is_returned_for_its_version_alone(memory: MemoryDatabase) -> None:
    saver = memory.saver()
    parent = _put(saver, {"kept": [1], "lost": [2]}, V1, V1)
    _put(saver, {"kept": [1]}, {"kept": V1["kept"]}, {}, parent)
    gone = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "gone"}}
    orphan = _put(saver, {"kept": [1]}, V1, {}, gone)
    found = saver.get_tuple(orphan)
    assert found is not None
    assert found.checkpoint["channel_values"]["lost"] == [2]
    other = _put(saver, {"lost": [3]}, {"lost": "00002.1"}, {"lost": "00002.1"}, parent)
    assert saver.get_tuple(other) is not None
    memory.inner.blobs["1", "", "lost", V1["lost"]] = memory.inner.blobs["1", "", "lost", "00002.1"]
    with pytest.raises(WrongLocation):
        saver.get_tuple(orphan)


@pytest.mark.parametrize("forged", [("null", b""), ("msgpack", b"\x90"), ("bytes", b"x")], ids=["None", "msgpack", "bytes"])
def test_what_stands_unsealed_in_an_empty_place_is_refused(memory: MemoryDatabase, forged: tuple[str, bytes]) -> None:
    saver = memory.saver(allow_plaintext=True)
    config = _put(saver, {"kept": [1]}, V1, V1)
    memory.inner.blobs["1", "", "lost", V1["lost"]] = forged
    with pytest.raises(WrongLocation):
        saver.get_tuple(config)


def test_a_checkpoint_whose_parent_was_forged_is_not_stored(memory: MemoryDatabase) -> None:
    parent = _put(memory.saver(), {"kept": [1]}, V1, V1)
    del memory.inner.blobs["1", "", "kept", V1["kept"]]
    with pytest.raises(WrongLocation):
        _put(memory.saver(), {"kept": [1]}, V1, {}, parent)
