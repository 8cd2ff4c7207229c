"""Threads in every form in which a checkpointer may have left them, and what replaying them gives."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Annotated, Any, TypedDict

import psycopg
from Crypto.Cipher import AES
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.mysql.pymysql import PyMySQLSaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamEncryptedSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key, Keyring, Sealer
from tests import mariadb
from tests.saver.graphs import run_until_asked, whole_graph

OLD_KEY = Key.generate()
NEW_KEY = Key.generate()
LEGACY_KEYS = (b"0123456789abcdef" * 2, b"fedcba9876543210")
BOTH = Keyring(primary=NEW_KEY, decrypt_only=[OLD_KEY])
EVERYTHING: dict[str, Any] = {"allow_plaintext": True, "allow_unbound": True, "legacy_keys": LEGACY_KEYS}
"""Every switch of `reencrypt`."""

CONFIGURABLE = {"user_email": "ann@example.org"}  # LangGraph puts it into the metadata

Wrap = Callable[[BaseCheckpointSaver], BaseCheckpointSaver]


def _serde(serde: Any) -> Wrap:
    def wrap(saver: BaseCheckpointSaver) -> BaseCheckpointSaver:
        saver.serde = serde
        return saver

    return wrap


FORMS: dict[str, Wrap] = {
    "plaintext": lambda saver: saver,
    "upstream-eax": _serde(UpstreamEncryptedSerializer.from_pycryptodome_aes(key=LEGACY_KEYS[0])),
    "upstream-gcm": _serde(UpstreamEncryptedSerializer.from_pycryptodome_aes(key=LEGACY_KEYS[1], mode=AES.MODE_GCM)),
    "serde-old-key": _serde(EncryptedSerializer(OLD_KEY)),
    "serde-zstd-new-key": _serde(EncryptedSerializer(NEW_KEY, compression="zstd")),
    "saver-old-key": lambda saver: EncryptedSaver(saver, OLD_KEY, searchable_metadata=["user_email"]),
    "saver-gcm-new-key": lambda saver: EncryptedSaver(saver, Sealer(NEW_KEY, cipher="aes-256-gcm")),
}
"""How each kind of thread is written, given a plain saver."""


@contextmanager
def open_saver(place: Any) -> Iterator[BaseCheckpointSaver]:
    """Opens a plain saver on a SQLite path or a Postgres DSN, as another process would."""
    if str(place).startswith("postgresql:"):
        with psycopg.connect(place, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
            saver: BaseCheckpointSaver = PostgresSaver(connection)
            saver.setup()
            yield saver
    elif str(place).startswith("mysql:"):
        with closing(mariadb.connect(place)) as connection:
            saver = PyMySQLSaver(connection)
            saver.setup()
            yield saver
    else:
        with closing(sqlite3.connect(place, check_same_thread=False)) as connection:
            saver = SqliteSaver(connection)
            saver.setup()
            yield saver


def _extend(state: list, writes: Any) -> list:
    return [*state, *(item for part in writes for item in part)]


class DeltaState(TypedDict):
    log: Annotated[list, DeltaChannel(_extend, list, snapshot_frequency=2)]
    messages: list[AnyMessage]


def delta_graph(saver: Any) -> Any:
    """A delta channel with a snapshot every second time, and messages, which are extension objects."""
    builder = StateGraph(DeltaState)
    for number in range(3):
        builder.add_node(f"n{number}", lambda state, n=number: {"log": [f"step {n}"], "messages": [AIMessage(f"said {n}")]})
    builder.add_edge(START, "n0")
    builder.add_edge("n0", "n1")
    builder.add_edge("n1", "n2")
    builder.add_edge("n2", END)
    return builder.compile(checkpointer=saver)


def config_of(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, **CONFIGURABLE}}


def write_threads(saver: Any, name: str) -> None:
    """Writes two threads: one that waits at an interrupt, and one with a delta channel."""
    run_until_asked(saver, config_of(f"{name}/asked"))
    graph = delta_graph(saver)
    for turn in range(2):
        graph.invoke({"log": [f"turn {turn}"], "messages": [HumanMessage("hello")]}, config_of(f"{name}/delta"))


def replay(saver: Any, name: str) -> dict[str, list[Any]]:
    """Gives the whole history of both threads, and of the subgraph in the first."""
    asked = whole_graph(saver)
    history = {
        "asked": [*asked.get_state_history(config_of(f"{name}/asked"))],
        "delta": [*delta_graph(saver).get_state_history(config_of(f"{name}/delta"))],
    }
    history["child"] = [*saver.list({"configurable": {"thread_id": f"{name}/asked"}})]
    return history


def write_every_form(place: Any, forms: Mapping[str, Wrap] = FORMS) -> dict[str, dict[str, list[Any]]]:
    """Fills a database with threads of every form, and gives what replaying them gives where they were written."""
    histories = {}
    for name, wrap in forms.items():
        with open_saver(place) as plain:
            saver = wrap(plain)
            write_threads(saver, name)
            histories[name] = replay(saver, name)
    return histories


def replay_strictly(place: Any, forms: Mapping[str, Wrap] = FORMS, **options: Any) -> dict[str, dict[str, list[Any]]]:
    """Replays all threads with a saver that has the new key only, and every switch off."""
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, NEW_KEY, **options)
        return {name: replay(saver, name) for name in forms}


def assert_same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compares histories value by value."""
    for name, threads in expected.items():
        for thread, history in threads.items():
            assert len(found[name][thread]) == len(history), (name, thread)
            for number, (one, other) in enumerate(zip(found[name][thread], history, strict=True)):
                assert _comparable(one) == _comparable(other), (name, thread, number)


def _comparable(state: Any) -> Any:
    """Sorts pending writes: savers of MySQL give them in the order of random task ids, `EncryptedSaver` as they were made."""
    writes = getattr(state, "pending_writes", None)
    return state if writes is None else state._replace(pending_writes=sorted(writes, key=repr))
