"""Real graphs on real savers: a conversation is interrupted, resumed by somebody else with the key, and by nobody without.

The second process is another saver object on the same database with a serializer of its own; for InMemorySaver, which has
no database, the storage of the first one is handed over.
"""

from __future__ import annotations

import operator
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt

from encrypted_serde import (
    AuthenticationFailed,
    EncryptedSerializer,
    Key,
    Keyring,
    PlaintextRefused,
    UnknownKey,
    WrongContext,
    encryption_context,
)
from tests.savers import ALL_SAVERS, ASYNC_SAVERS, SYNC_SAVERS, any_saver
from tests.tampering import changed, run_command

SECRET = "the patient was told on monday"
CONFIG = {"configurable": {"thread_id": "thread-1"}}


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    found: Annotated[list[str], operator.add]
    count: int


def _model(state: State) -> dict[str, Any]:
    call = {"name": "search", "args": {"query": SECRET}, "id": "call-1"}
    return {"messages": [AIMessage("", tool_calls=[call])], "count": state.get("count", 0) + 1}


def _fan_out(state: State) -> list[Send]:
    return [Send("search", {"part": part}) for part in ("a", "b")]


def _search(part: dict[str, str]) -> dict[str, Any]:
    return {"found": [f"{part['part']}: {SECRET}"]}


def _answer(state: State, answer: str = "yes") -> dict[str, Any]:
    return {"messages": [ToolMessage(f"{answer}: {SECRET}", tool_call_id="call-1"), AIMessage(SECRET)]}


def _ask(state: State) -> dict[str, Any]:
    return _answer(state, interrupt({"question": SECRET}))


def _graph(saver, *, ask=False):
    """Compiles a graph that pauses before its last node; or, if told to ask, inside it, which async needs Python 3.11 for."""
    builder = StateGraph(State)
    for name, node in {"model": _model, "search": _search, "ask": _ask if ask else _answer}.items():
        builder.add_node(name, node)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", _fan_out, ["search"])
    builder.add_edge("search", "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=saver, interrupt_before=None if ask else ["ask"])


def _check_paused(result):
    assert [message.type for message in result["messages"]] == ["human", "ai"]
    assert sorted(result["found"]) == [f"a: {SECRET}", f"b: {SECRET}"]


def _check_finished(values):
    assert [message.type for message in values["messages"]] == ["human", "ai", "tool", "ai"]
    assert values["messages"][1].tool_calls[0]["args"] == {"query": SECRET}
    assert values["messages"][2].content == f"yes: {SECRET}"
    assert values["count"] == 1


START_STATE = {"messages": [HumanMessage(SECRET)]}


@asynccontextmanager
async def _open(kind, place, serde, earlier=None):
    async with any_saver(kind, place, serde) as saver:
        if isinstance(earlier, InMemorySaver):
            saver.storage, saver.writes, saver.blobs = earlier.storage, earlier.writes, earlier.blobs
        yield saver


@pytest.mark.parametrize("cipher", ["xaes-256-gcm", "aes-256-gcm", "aes-256-eax"])
@pytest.mark.parametrize("kind", SYNC_SAVERS)
async def test_a_graph_is_interrupted_and_resumed_elsewhere(kind, saver_place, key, cipher):
    place = saver_place(kind)
    async with _open(kind, place, EncryptedSerializer(key, cipher=cipher)) as first:
        paused = _graph(first, ask=True).invoke(START_STATE, CONFIG)
        _check_paused(paused)
        assert paused["__interrupt__"][0].value == {"question": SECRET}
    async with _open(kind, place, EncryptedSerializer(key), first) as second:
        graph = _graph(second, ask=True)
        _check_finished(graph.invoke(Command(resume="yes"), CONFIG))
        _check_finished(graph.get_state(CONFIG).values)
        assert len(list(graph.get_state_history(CONFIG))) == 5


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("kind", ASYNC_SAVERS)
async def test_an_async_graph_is_interrupted_and_resumed_elsewhere(kind, saver_place, key, compression):
    place = saver_place(kind)
    async with _open(kind, place, EncryptedSerializer(key, compression=compression)) as first:
        _check_paused(await _graph(first).ainvoke(START_STATE, CONFIG))
    async with _open(kind, place, EncryptedSerializer(key), first) as second:
        graph = _graph(second)
        _check_finished(await graph.ainvoke(None, CONFIG))
        _check_finished((await graph.aget_state(CONFIG)).values)
        assert len([state async for state in graph.aget_state_history(CONFIG)]) == 5


async def _run(kind, saver):
    graph = _graph(saver)
    if kind in SYNC_SAVERS:
        return graph.invoke(START_STATE, CONFIG)
    return await graph.ainvoke(START_STATE, CONFIG)


async def _state(kind, saver):
    graph = _graph(saver)
    return graph.get_state(CONFIG) if kind in SYNC_SAVERS else await graph.aget_state(CONFIG)


async def _history(kind, saver):
    graph = _graph(saver)
    if kind in SYNC_SAVERS:
        return list(graph.get_state_history(CONFIG))
    return [state async for state in graph.aget_state_history(CONFIG)]


async def _resume(kind, saver):
    graph = _graph(saver)
    if kind in SYNC_SAVERS:
        return graph.invoke(None, CONFIG)
    return await graph.ainvoke(None, CONFIG)


@pytest.mark.parametrize("kind", ALL_SAVERS)
async def test_a_graph_is_refused_without_its_key_and_not_begun_anew(kind, saver_place, key):
    place = saver_place(kind)
    async with _open(kind, place, EncryptedSerializer(key)) as first:
        await _run(kind, first)
    async with _open(kind, place, EncryptedSerializer(Key.generate()), first) as second:
        with pytest.raises(UnknownKey, match=key.id.hex()):
            await _state(kind, second)
        with pytest.raises(UnknownKey):
            await _resume(kind, second)


@pytest.mark.parametrize("kind", ALL_SAVERS)
async def test_a_graph_goes_on_under_a_new_key_while_the_old_one_is_readable(kind, saver_place, key):
    place = saver_place(kind)
    async with _open(kind, place, EncryptedSerializer(key)) as first:
        await _run(kind, first)
    rotated = EncryptedSerializer(Keyring(primary=Key.generate(), decrypt_only=[key]))
    async with _open(kind, place, rotated, first) as second:
        _check_finished(await _resume(kind, second))


@pytest.mark.parametrize("kind", ALL_SAVERS)
async def test_the_context_of_the_caller_reaches_the_serializer_in_every_saver(kind, saver_place, serde):
    place = saver_place(kind)
    async with _open(kind, place, serde) as saver:
        with encryption_context(tenant_id="acme"):
            await _run(kind, saver)
        with pytest.raises(WrongContext), encryption_context(tenant_id="umbrella"):
            await _state(kind, saver)
        with encryption_context(tenant_id="acme"):
            _check_finished(await _resume(kind, saver))


@pytest.mark.parametrize("kind", ALL_SAVERS)
async def test_a_conversation_begun_in_plaintext_goes_on_encrypted_during_a_migration(kind, saver_place, key):
    place = saver_place(kind)
    async with _open(kind, place, None) as first:
        await _run(kind, first)
    async with _open(kind, place, EncryptedSerializer(key), first) as closed:
        with pytest.raises(PlaintextRefused):
            await _state(kind, closed)
    migrating = EncryptedSerializer(key, allow_plaintext=True)
    async with _open(kind, place, migrating, first) as second:
        _check_finished(await _resume(kind, second))
    assert sum(migrating.admitted_reads.values()) > 0


# --- databases edited by SQL ----------------------------------------------------------------------------------------

# Where each database keeps the values that the serializer sealed: table, column of the value.
_SEALED = {
    "Sqlite": [("checkpoints", "checkpoint"), ("writes", "value")],
    "Postgres": [("checkpoint_blobs", "blob"), ("checkpoint_writes", "blob")],
}


@asynccontextmanager
async def _rows(kind, place):
    """Gives a function that runs SQL on the database, whose parameters are written as ``?``."""
    if "Sqlite" in kind:
        with closing(sqlite3.connect(place, isolation_level=None)) as db:
            yield lambda statement, *values: db.execute(statement, values).fetchall()
    else:
        with psycopg.connect(place, autocommit=True) as db:

            def run(statement, *values):
                cursor = db.execute(statement.replace("?", "%s"), values)
                return cursor.fetchall() if cursor.description else []

            yield run


# rule T-1
@pytest.mark.parametrize("kind", ["Sqlite", "AsyncSqlite", "Postgres", "AsyncPostgres"])
async def test_every_stored_value_is_sealed_and_none_shows_the_secret(kind, saver_place, serde):
    place = saver_place(kind)
    async with _open(kind, place, serde) as saver:
        await _run(kind, saver)
        await _resume(kind, saver)
    async with _rows(kind, place) as sql:
        for table, column in _SEALED[kind.removeprefix("Async")]:
            rows = sql(f"SELECT type, {column} FROM {table} WHERE type <> 'empty'")
            assert len(rows) > 3
            assert {row[0].partition("+")[2] for row in rows} == {"xaes-256-gcm"}
            assert not any(SECRET.encode() in bytes(row[1]) for row in rows)
            assert all(bytes(row[1])[2:34] == serde._sealer.keys.primary.id for row in rows)


# rule T-3
@pytest.mark.parametrize("kind", ["Sqlite", "AsyncSqlite", "Postgres", "AsyncPostgres"])
async def test_a_plaintext_row_written_by_sql_is_refused_and_runs_nothing(kind, saver_place, serde, tmp_path):
    place, canary, proof = saver_place(kind), tmp_path / "canary", tmp_path / "proof"
    JsonPlusSerializer().loads_typed(("msgpack", run_command(proof)))
    assert proof.exists(), "the attack works on the default serializer; if it no longer does, this test shows nothing"
    async with _open(kind, place, serde) as saver:
        await _run(kind, saver)
        async with _rows(kind, place) as sql:
            for table, column in _SEALED[kind.removeprefix("Async")]:
                sql(f"UPDATE {table} SET type = 'msgpack', {column} = ? WHERE type <> 'empty'", run_command(canary))
        with pytest.raises(PlaintextRefused):
            await _state(kind, saver)
        with pytest.raises(PlaintextRefused):
            await _resume(kind, saver)
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["Sqlite", "AsyncSqlite", "Postgres", "AsyncPostgres"])
@pytest.mark.parametrize("which", [0, 1])
async def test_one_bit_changed_by_sql_is_refused(kind, saver_place, serde, which):
    place = saver_place(kind)
    table, column = _SEALED[kind.removeprefix("Async")][which]
    async with _open(kind, place, serde) as saver:
        await _run(kind, saver)
        async with _rows(kind, place) as sql:
            for (value,) in set(sql(f"SELECT {column} FROM {table} WHERE type <> 'empty'")):
                sql(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", changed(bytes(value)), value)
        with pytest.raises(AuthenticationFailed):
            await _history(kind, saver)


@pytest.mark.parametrize("kind", ["Sqlite", "AsyncSqlite", "Postgres", "AsyncPostgres"])
async def test_a_row_relabelled_by_sql_is_refused(kind, saver_place, serde):
    place = saver_place(kind)
    async with _open(kind, place, serde) as saver:
        await _run(kind, saver)
        async with _rows(kind, place) as sql:
            for table, _ in _SEALED[kind.removeprefix("Async")]:
                sql(f"UPDATE {table} SET type = 'bytes+xaes-256-gcm' WHERE type = 'msgpack+xaes-256-gcm'")
        with pytest.raises(AuthenticationFailed):
            await _state(kind, saver)
