"""Delta channels store only what was written, and rebuild their value from the checkpoints before."""

from __future__ import annotations

from typing import Annotated, TypedDict

import ormsgpack
import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.graph import START, StateGraph

from encrypted_serde import AuthenticationFailed, EncryptedSaver, PlaintextRefused, WrongLocation
from tests.saver.databases import Place, PostgresDatabase
from tests.saver.threads import assert_refused, make_checkpoint


def _append(items, writes):
    return [*(items or []), *(item for write in writes for item in write)]


class _State(TypedDict, total=False):
    items: Annotated[list, DeltaChannel(_append, snapshot_frequency=3)]
    count: int


class _WithoutSnapshots(TypedDict, total=False):
    items: Annotated[list, DeltaChannel(_append)]
    count: int


def _graph(saver, state=_State):
    builder = StateGraph(state)
    builder.add_node("left", lambda state: {"items": [f"left {len(state['items'])}"], "count": len(state["items"])})
    builder.add_node("right", lambda state: {"items": [f"right {len(state['items'])}"]})
    builder.add_edge(START, "left")
    builder.add_edge("left", "right")
    return builder.compile(checkpointer=saver)


def _config(thread, **more):
    return {"configurable": {"thread_id": thread, **more}}


def _run(open_saver, config, durability="async"):
    for number in range(4):
        _graph(open_saver()).invoke({"items": [f"input {number}"]}, config, durability=durability)
    graph = _graph(open_saver())
    states = list(graph.get_state_history(config))
    fork = graph.update_state(states[2].config, {"items": ["forked"]}, as_node="left")
    _graph(open_saver()).invoke(None, fork, durability=durability)
    return [(state.values, state.next) for state in _graph(open_saver()).get_state_history(config)]


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_a_delta_channel_is_rebuilt_as_with_the_plain_saver(store, verify, durability):
    plain = _run(store.plain, _config("plain"), durability)
    sealed = _run(lambda: store.saver(verify_delta_history=verify), _config("sealed"), durability)
    assert sealed == plain
    assert len(sealed[0][0]["items"]) > 5


def test_a_snapshot_of_none_stays_a_snapshot(store):
    versions = {"items": f"{1:032}.0.5"}
    for saver in (store.plain(), store.saver()):
        config = _config(type(saver).__name__, checkpoint_ns="")
        stored = saver.put(config, make_checkpoint(0, {"items": _DeltaSnapshot(None)}, versions), {"source": "loop"}, versions)
        assert saver.get_tuple(stored).checkpoint["channel_values"] == {"items": _DeltaSnapshot(None)}


def test_the_history_is_what_the_plain_saver_gives(store):
    _run(store.plain, _config("plain"))
    _run(store.saver, _config("sealed"))

    def history(saver, thread):
        found = []
        for row in list(saver.list(_config(thread, checkpoint_ns=""))):
            entry = saver.get_delta_channel_history(config=row.config, channels=["items", "count"])
            for channel in ("items", "count"):
                writes = [(name, value) for _, name, value in entry[channel]["writes"]]
                found.append((writes, entry[channel].get("seed")))
        return found

    plain = history(store.plain(), "plain")
    assert history(store.saver(), "sealed") == plain
    assert history(store.saver(verify_delta_history=True), "sealed") == plain
    assert any(seed is not None for _, seed in plain)


def test_verified_history_leaves_out_the_fast_way(store):
    fast, verified = store.saver(), store.saver(verify_delta_history=True)
    for name in ("get_delta_channel_history", "aget_delta_channel_history"):
        has_fast = getattr(type(store.plain()), name) is not getattr(BaseCheckpointSaver, name)
        assert (getattr(type(fast), name) is not getattr(EncryptedSaver, name)) is has_fast
        assert getattr(type(verified), name) is getattr(EncryptedSaver, name)


def _delta_writes(database, thread="one"):
    return database.sql(
        "SELECT checkpoint_id, task_id, idx, {value} FROM {writes} WHERE thread_id = ? AND channel = 'items' "
        "ORDER BY checkpoint_id, task_id, idx",
        thread,
    )


def _read(database, verify, thread="one"):
    return _graph(database.saver(verify_delta_history=verify), _WithoutSnapshots).get_state(_config(thread)).values["items"]


@pytest.mark.parametrize("verify", [False, True])
def test_a_write_of_another_thread_is_refused(database, verify):
    for thread in ("one", "two"):
        _graph(database.saver(), _WithoutSnapshots).invoke({"items": ["a", thread]}, _config(thread))
    ours, theirs = _delta_writes(database)[-1], _delta_writes(database, "two")[-1]
    database.sql(
        "UPDATE {writes} SET {value} = ? WHERE thread_id = 'one' AND checkpoint_id = ? AND channel = 'items'",
        theirs[3],
        ours[0],
    )
    with pytest.raises(AuthenticationFailed):
        _read(database, verify)


@pytest.mark.parametrize("verify", [False, True])
def test_a_plaintext_write_in_the_history_is_refused(database, verify):
    _graph(database.saver(), _WithoutSnapshots).invoke({"items": ["a"]}, _config("one"))
    made_up = database.plain().serde.dumps_typed(["made up"])
    database.sql("UPDATE {writes} SET type = ?, {value} = ? WHERE channel = 'items'", *made_up)
    with pytest.raises(PlaintextRefused):
        _read(database, verify)


def test_a_write_of_another_checkpoint_is_seen_only_where_history_is_verified(database):
    _graph(database.saver(), _WithoutSnapshots).invoke({"items": ["a"]}, _config("one"))
    first, second, *_ = _delta_writes(database)
    database.sql("UPDATE {writes} SET {value} = ? WHERE checkpoint_id = ? AND task_id = ? AND idx = ?", first[3], *second[:3])
    with pytest.raises(WrongLocation):
        _read(database, verify=True)
    with pytest.raises(WrongLocation):  # two copies of one write in one history are seen without it, too
        _read(database, verify=False)


def test_a_parent_that_was_changed_is_seen_only_where_history_is_verified(database):
    saver = database.saver()
    for number in range(2):
        _graph(saver, _WithoutSnapshots).invoke({"items": [str(number)]}, _config("one"))
    rows = [Place(*row.config["configurable"].values()) for row in saver.list(_config("one", checkpoint_ns=""))]
    whole = _read(database, verify=False)
    parent_of_first = rows[2].checkpoint_id
    database.sql(
        "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE checkpoint_id = ?", parent_of_first, rows[1].checkpoint_id
    )
    database.sql(
        "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE checkpoint_id = ?", rows[3].checkpoint_id, rows[1].checkpoint_id
    )
    with pytest.raises(WrongLocation, match="parent"):
        _read(database, verify=True)
    assert _read(database, verify=False) != whole  # the documented limit of the fast way


def test_a_snapshot_passed_off_as_a_value_is_refused(database):
    saver = database.saver()
    _run(lambda: saver, _config("one"))
    heads = [row for row in saver.list(_config("one", checkpoint_ns="")) if "items" in row.checkpoint["channel_values"]]
    here = Place(*heads[0].config["configurable"].values())

    def unwrapped(packed):
        return ormsgpack.unpackb(packed, ext_hook=lambda code, data: ormsgpack.unpackb(data))

    if isinstance(database, PostgresDatabase):
        for version, blob in database.sql("SELECT version, blob FROM checkpoint_blobs WHERE channel = 'items'"):
            database.sql("UPDATE checkpoint_blobs SET type = 'bytes', blob = ? WHERE version = ?", unwrapped(blob), version)
    else:
        [(blob,)] = database.sql("SELECT checkpoint FROM checkpoints WHERE checkpoint_id = ?", here.checkpoint_id)
        database.store_checkpoint(here, unwrapped(blob))
    assert_refused(database, here, AuthenticationFailed)
