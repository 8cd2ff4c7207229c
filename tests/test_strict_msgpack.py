"""LANGGRAPH_STRICT_MSGPACK=true: a compiled graph keeps our serializer, fails closed and applies the graph's allowlist.

LangGraph reads the variable when it is imported, so the graph runs in an interpreter of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

_PROGRAM = """
import dataclasses, json, logging, pickle, sqlite3, sys, typing

records = []
class Handler(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
logging.getLogger().addHandler(Handler())

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as Upstream
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from encrypted_serde import EncryptedSerializer, Key, PlaintextRefused

@dataclasses.dataclass
class Known:
    text: str

@dataclasses.dataclass
class Foreign:
    text: str

class State(typing.TypedDict):
    known: Known

key, raw = Key.generate(), bytes(16)
serde = EncryptedSerializer(key, legacy_keys=[raw])
saver = SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False), serde=serde)
builder = StateGraph(State)
builder.add_node("step", lambda state: {"known": Known(state["known"].text + "!")})
builder.add_edge(START, "step")
builder.add_edge("step", END)
graph = builder.compile(checkpointer=saver)
config = {"configurable": {"thread_id": "1"}}
result = graph.invoke({"known": Known("hello")}, config)["known"]
kept = graph.checkpointer.serde
stored = graph.get_state(config).values["known"]
during_the_run = list(records)

def refuses(row):
    try:
        kept.loads_typed(row)
    except PlaintextRefused:
        return True
    return False

legacy = Upstream.from_pycryptodome_aes(key=raw)
print(json.dumps({
    "type": type(kept).__module__ + "." + type(kept).__qualname__,
    "same": kept is serde,
    "tags": sorted({row[0] for row in saver.conn.execute("SELECT type FROM checkpoints UNION SELECT type FROM writes")}),
    "result": repr(result),
    "stored": repr(stored),
    "foreign": isinstance(kept.loads_typed(serde.dumps_typed(Foreign("x"))), Foreign),
    "foreign in the original": isinstance(serde.loads_typed(serde.dumps_typed(Foreign("x"))), Foreign),
    "known in a legacy row": isinstance(kept.loads_typed(legacy.dumps_typed(Known("x"))), Known),
    "foreign in a legacy row": isinstance(kept.loads_typed(legacy.dumps_typed(Foreign("x"))), Foreign),
    "plaintext refused": refuses(JsonPlusSerializer().dumps_typed("x")) and refuses(("pickle", pickle.dumps(1))),
    "log": during_the_run,
}))
"""


def _run(strict):
    environ = {name: value for name, value in os.environ.items() if name != "LANGGRAPH_STRICT_MSGPACK"}
    if strict:
        environ["LANGGRAPH_STRICT_MSGPACK"] = strict
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", _PROGRAM],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def strict():
    return _run("true")


@pytest.fixture(scope="module")
def permissive():
    return _run(None)


# rule T-22
def test_a_compiled_graph_keeps_our_serializer(strict):
    assert strict["type"] == "encrypted_serde.serializer.EncryptedSerializer"
    assert all(tag.endswith("+xaes-256-gcm") for tag in strict["tags"])


def test_the_graph_runs_and_reads_its_own_types_back(strict):
    assert strict["result"] == strict["stored"] == "Known(text='hello!')"


# rule T-22
def test_the_allowlist_of_the_graph_applies_to_what_was_sealed(strict):
    assert strict["foreign"] is False
    assert strict["foreign in the original"] is False


def test_the_allowlist_of_the_graph_applies_to_legacy_rows(strict):
    assert (strict["known in a legacy row"], strict["foreign in a legacy row"]) == (True, False)


def test_plaintext_is_still_refused(strict):
    assert strict["plaintext refused"] is True


def test_nothing_is_logged_about_a_serializer_that_cannot_be_strict(strict):
    assert strict["log"] == []


def test_without_the_variable_nothing_changes(permissive):
    assert permissive["same"] is True
    assert permissive["foreign"] is True
    assert permissive["result"] == permissive["stored"] == "Known(text='hello!')"
    assert permissive["plaintext refused"] is True
