"""Another process, which shares nothing but the database and the key, takes over where the first one stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.saver.databases import SqliteDatabase
from tests.saver.graphs import run_until_asked, whole_graph

ROOT = Path(__file__).parents[2]

_RESUME = """
import json, sqlite3, sys
from encrypted_serde import EncryptedSaver, Key
from tests.saver.graphs import answer, whole_graph

kind, place, key, said = sys.argv[1:]
config = {"configurable": {"thread_id": "one"}}

def run(inner):
    saver = EncryptedSaver(inner, Key.from_text(key))
    result = answer(saver, config, said)
    waiting = [each.value for each in result.pop("__interrupt__", [])]
    history = [state.metadata["step"] for state in whole_graph(saver).get_state_history(config)]
    print(json.dumps({"result": result, "waiting": waiting, "history": history}))

if kind == "Sqlite":
    from langgraph.checkpoint.sqlite import SqliteSaver
    with SqliteSaver.from_conn_string(place) as inner:
        run(inner)
else:
    from langgraph.checkpoint.postgres import PostgresSaver
    with PostgresSaver.from_conn_string(place) as inner:
        run(inner)
"""


def _python(program, *arguments, optimise=False, **environ):
    command = [sys.executable, *(["-O"] if optimise else []), "-W", "error::UserWarning", "-c", program, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _where(database):
    if isinstance(database, SqliteDatabase):
        return "Sqlite", database.sql("PRAGMA database_list")[0][2]
    return "Postgres", database.connection.info.dsn


def test_interrupts_are_answered_by_other_processes(database):
    config = {"configurable": {"thread_id": "one"}}
    run_until_asked(database.saver(), config)
    kind, place = _where(database)
    first = _python(_RESUME, kind, place, database.key.to_text(), "yes")
    assert first["waiting"] == [{"ask": "second?"}]
    second = _python(_RESUME, kind, place, database.key.to_text(), "no")
    assert second["result"]["answer"] == "yes, no"
    assert second["waiting"] == []
    here = whole_graph(database.saver())
    assert here.get_state(config).values["answer"] == "yes, no"
    assert [state.metadata["step"] for state in here.get_state_history(config)] == second["history"]


_STRICT = """
import copy, dataclasses, json, logging, os, sqlite3, typing

records = []
class Handler(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
logging.getLogger().addHandler(Handler())

from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as Upstream
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key

@dataclasses.dataclass
class Known:
    text: str

@dataclasses.dataclass
class Foreign:
    text: str

class State(typing.TypedDict):
    known: Known
    answer: str

def ask(state):
    assert isinstance(state["known"], Known), state
    return {"known": Known(state["known"].text + "!"), "answer": interrupt("?")}

def finish(state):
    assert isinstance(state["known"], Known), state
    return {}

builder = StateGraph(State)
builder.add_node("ask", ask)
builder.add_node("finish", finish)
builder.add_edge(START, "ask")
builder.add_edge("ask", "finish")
builder.add_edge("finish", END)
key, raw = Key.generate(), bytes(16)
config = {"configurable": {"thread_id": "1"}}

def before(name):
    return {"fresh": None, "plaintext": None, "upstream": Upstream.from_pycryptodome_aes(key=raw),
            "ours": EncryptedSerializer(key)}[name]

switches = {"fresh": {}, "plaintext": {"allow_plaintext": True}, "upstream": {"legacy_keys": [raw]},
            "ours": {"allow_unbound": True}}
if os.environ["LANGGRAPH_STRICT_MSGPACK"] == "false":
    del switches["upstream"], switches["plaintext"]  # read strictly, and only a strict graph says what it allows
report = {}
for kind in ("InMemory", "Sqlite"):
    for start, options in switches.items():
        serde = before(start)
        inner = InMemorySaver(serde=serde) if kind == "InMemory" else SqliteSaver(
            sqlite3.connect(":memory:", check_same_thread=False), serde=serde)
        saver = EncryptedSaver(inner, key, **options)
        builder.compile(checkpointer=saver if start == "fresh" else inner).invoke({"known": Known("hello")}, config)
        graph = builder.compile(checkpointer=saver)
        del records[:]
        result = graph.invoke(Command(resume="yes"), config)
        kept = graph.checkpointer
        saved = saver.put({"configurable": {"thread_id": "2", "checkpoint_ns": ""}}, {"v": 4, "id": "1", "ts": "",
            "channel_values": {"known": Known("x"), "foreign": Foreign("x")},
            "channel_versions": {"known": "1", "foreign": "1"}, "versions_seen": {}}, {"source": "loop"},
            {"known": "1", "foreign": "1"})
        values = kept.get_tuple(saved).checkpoint["channel_values"]
        report[f"{kind} {start}"] = {
            "type": type(kept).__name__,
            "result": repr(result["known"]),
            "stored": repr(graph.get_state(config).values["known"]),
            "known": isinstance(values["known"], Known),
            "foreign": isinstance(values["foreign"], Foreign),
            "copied": repr(copy.copy(kept).get_tuple(config).checkpoint["channel_values"]["known"]),
            "same database": kept.inner is inner,
            "log": [each for each in records if "allowlist" in each or "strict" in each.lower()],
        }
print(json.dumps(report))
"""


@pytest.mark.parametrize("strict", [True, False])
def test_the_allowlist_of_a_graph_applies_under_strict_msgpack_and_dataclasses_stay_what_they_are(strict):
    report = _python(_STRICT, LANGGRAPH_STRICT_MSGPACK="true" if strict else "false")
    assert len(report) == (8 if strict else 4)
    for found in report.values():
        if not strict:
            found["log"] = []  # LangGraph warns about every type then
        assert found == {
            "type": "EncryptedSaver",
            "result": "Known(text='hello!')",
            "stored": "Known(text='hello!')",
            "known": True,
            "foreign": not strict,
            "copied": "Known(text='hello!')",
            "same database": True,
            "log": [],
        }
