"""Sends that ran once do not run again, wherever somebody who writes rows puts them."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.serde.types import TASKS as SENDS
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, MalformedEnvelope, WrongLocation
from encrypted_serde.core.format import bytes_of_text, sealed_text
from tests.saver.databases import Database, Place, PostgresDatabase
from tests.saver.threads import assert_refused, make_checkpoint
from tests.savers import async_postgres_saver, async_sqlite_saver

TASK, OTHER_TASK = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"

only_postgres = pytest.mark.parametrize("database_of_module", ["Postgres"], indirect=True)
only_sqlite = pytest.mark.parametrize("database_of_module", ["Sqlite"], indirect=True)


class _State(TypedDict):
    order: str
    done: Annotated[list, operator.add]


def _bank(saver: Any, transfers: list[str]) -> Any:
    """A graph that makes a transfer for every order that begins with PAY."""

    def transfer(arg: dict[str, str]) -> dict[str, Any]:
        transfers.append(arg["account"])
        return {"done": [arg["account"]]}

    builder = StateGraph(_State)
    builder.add_node("plan", lambda state: {})
    builder.add_node("transfer", transfer)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges(
        "plan",
        lambda state: [Send("transfer", {"account": state["order"]})] if state["order"].startswith("PAY") else END,
        ["transfer", END],
    )
    builder.add_edge("transfer", END)
    return builder.compile(checkpointer=saver)


def _paid_and_forked(database: Database, transfers: list[str]) -> tuple[dict[str, Any], Place, list[Any]]:
    """Pays once, then goes on from before. Gives the thread, its newest checkpoint, and the sealed sends of the payment."""
    config = {"configurable": {"thread_id": "one"}}
    graph = _bank(database.saver(), transfers)
    graph.invoke({"order": "hello", "done": []}, config)
    before = graph.get_state(config).config
    graph.invoke({"order": "PAY 250"}, config)
    graph.invoke({"order": "no, just say hello"}, before)
    newest = Place("one", "", graph.get_state(config).config["configurable"]["checkpoint_id"])
    sends = [value for (value,) in database.sql("SELECT {value} FROM {writes} WHERE channel = ?", SENDS)]
    assert transfers == ["PAY 250"]
    assert sends
    return config, newest, [sealed_text(send) if isinstance(database, PostgresDatabase) else send for send in sends]


# rule T-10
@pytest.mark.parametrize("version", [4, 4.0, True, "4", None, 3, 3.0, 1])
@pytest.mark.parametrize("forked", [True, False])
def test_sends_put_into_a_newer_checkpoint_do_not_run_again(database, version, forked):
    transfers: list[str] = []
    config, newest, sends = _paid_and_forked(database, transfers)

    def put_in(document: dict[str, Any]) -> None:
        document["channel_values"][SENDS] = sends * 3
        document["channel_versions"][SENDS] = max(document["channel_versions"].values())
        document["v"] = version
        if not forked:
            document["pending_sends"] = sends

    database.edit_checkpoint(newest, put_in)
    graph = _bank(database.saver(), transfers)
    unreadable = (TypeError,) if isinstance(database, PostgresDatabase) and version in (None, "4") else ()  # the saver's own
    for act in (
        lambda: graph.get_state(config),
        lambda: graph.invoke(None, config),
        lambda: graph.invoke({"order": "x"}, config),
    ):
        with pytest.raises((EncryptedSerdeError, *unreadable)) as caught:
            act()
        if not unreadable:
            assert type(caught.value) is (WrongLocation if type(version) is int else MalformedEnvelope)
    assert transfers == ["PAY 250"]


# rule T-10
def test_sends_of_deleted_checkpoints_do_not_run_again(database):
    transfers: list[str] = []
    config, newest, sends = _paid_and_forked(database, transfers)
    for table in ("checkpoints", "{writes}"):
        database.sql(f"DELETE FROM {table} WHERE checkpoint_id <> ?", newest.checkpoint_id)
    columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, {value}"
    value = sends[0] if isinstance(sends[0], bytes) else bytes_of_text(sends[0])
    database.sql(
        f"INSERT INTO {{writes}} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *newest,
        TASK,
        "~",
        0,
        SENDS,
        "bytes",
        value,
    )
    graph = _bank(database.saver(), transfers)
    for act in (lambda: graph.get_state(config), lambda: graph.invoke(None, config)):
        with pytest.raises(WrongLocation):
            act()
    assert transfers == ["PAY 250"]


# --- formats below 4: a saver of Postgres gathers the sends of a checkpoint from the writes of its parent


def _old_format(database: Database, *, sends: int = 2) -> tuple[Place, Place]:
    """Writes parent and child in format 3; the parent's two tasks send. Gives both."""
    saver = database.saver()
    config: dict[str, Any] = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
    places = []
    for step in range(2):
        checkpoint = {**make_checkpoint(step, {"log": [step]}, {"log": f"{step + 1:032}.0.5"}), "v": 3}
        config = saver.put(config, checkpoint, {"source": "loop", "step": step}, checkpoint["channel_versions"])
        places.append(Place("one", "", checkpoint["id"]))
        for task in (OTHER_TASK, TASK):
            saver.put_writes(config, [(SENDS, f"{step} {task[-1]} {number}") for number in range(sends)], task, f"~{task[-1]}")
    return places[0], places[1]


@only_sqlite
@pytest.mark.parametrize("whose", ["parent", "own"])
def test_a_saver_that_gathers_no_sends_has_none_to_give(database, whose):
    parent, child = _old_format(database)
    found = database.sql(f"SELECT {{value}} FROM {{writes}} WHERE {ROW}", *(parent if whose == "parent" else child))
    sends = [value for (value,) in found]
    database.edit_checkpoint(child, lambda document: document["channel_values"].update({SENDS: sends}))
    assert_refused(database, child, WrongLocation)


async def test_asynchronous_savers_refuse_old_sends_too(database):
    transfers: list[str] = []
    config, newest, sends = _paid_and_forked(database, transfers)
    database.edit_checkpoint(newest, lambda document: document["channel_values"].update({SENDS: sends}))
    database.edit_checkpoint(newest, lambda document: document.update(v=4.0))
    if isinstance(database, PostgresDatabase):
        opened = async_postgres_saver(database.connection.info.dsn, None)
    else:
        [(_, _, path)] = database.sql("PRAGMA database_list")
        opened = async_sqlite_saver(path, None)
    async with opened as inner:
        graph = _bank(EncryptedSaver(inner, database.key), transfers)
        with pytest.raises(MalformedEnvelope):
            await graph.ainvoke(None, config)
        with pytest.raises(MalformedEnvelope):
            [state async for state in graph.aget_state_history(config)]
    assert transfers == ["PAY 250"]
