"""How large a real Postgres database gets: one conversation of 200 messages over 52 checkpoints, kept in different ways."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import psycopg
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from encrypted_serde import EncryptedSaver, Key, Sealer

from .places import Places, Setup
from .serializers import SERIALIZERS, UPSTREAM_EAX

STEPS, MESSAGES_OF_A_STEP = 50, 4
CHARACTERS = (400, 2000)
"""How long each message of a conversation is: chat, and an agent that writes and is given documents."""

_KEY = Key.generate()

SETUPS = (
    Setup("plain saver"),
    Setup(UPSTREAM_EAX, serde=SERIALIZERS[UPSTREAM_EAX]),
    Setup("EncryptedSaver", wrap=lambda saver: EncryptedSaver(saver, _KEY)),
    Setup("EncryptedSaver, zstd", wrap=lambda saver: EncryptedSaver(saver, Sealer(_KEY, compression="zstd"))),
)
"""The ways to keep it; the first is what the others are compared with."""


class DatabaseSize(NamedTuple):
    """What one way took.

    Attributes:
        name: Which way.
        characters: Of each message.
        size: Bytes of all tables of the saver, with their indexes and TOAST.
        checkpoints: How many checkpoints there are.
    """

    name: str
    characters: int
    size: int
    checkpoints: int


class _State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    step: int


@lru_cache(maxsize=1)
def _prose() -> str:
    """English as people write it, of which hardly a part comes twice: the docstrings of Python's own library."""
    texts: list[str] = []
    for module in sorted(Path(ast.__file__).parent.glob("*.py")):
        tree = ast.parse(module.read_text(encoding="utf-8", errors="replace"))
        documented = (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)))
        texts.extend(text for node in documented if (text := ast.get_docstring(node)))
    return "\n".join(texts)


def _talk(size: int, state: _State) -> dict[str, Any]:
    prose, first = _prose(), len(state["messages"])
    said = [prose[number * size : (number + 1) * size] for number in range(first, first + MESSAGES_OF_A_STEP)]
    kinds = (HumanMessage, AIMessage)
    new = [kinds[number % 2](text, id=f"message-{first + number}") for number, text in enumerate(said)]
    return {"messages": new, "step": state["step"] + 1}


def _conversation(size: int) -> StateGraph:
    graph = StateGraph(_State)
    graph.add_node("talk", partial(_talk, size))
    graph.add_edge(START, "talk")
    graph.add_conditional_edges("talk", lambda state: "talk" if state["step"] < STEPS else END, ["talk", END])
    return graph


def database_sizes(places: Places) -> Iterator[DatabaseSize]:
    """Has each conversation of `CHARACTERS` once with each of `SETUPS`, in a database of its own."""
    thread: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": STEPS + 5}
    for characters, setup in product(CHARACTERS, SETUPS):
        with places.saver("Postgres", setup) as saver:
            _conversation(characters).compile(checkpointer=saver).invoke({"messages": [], "step": 0}, thread)
            inner = getattr(saver, "inner", saver)
            yield DatabaseSize(setup.name, characters, _size(inner.conn), sum(1 for _ in saver.list(thread)))


def _size(connection: psycopg.Connection[Any]) -> int:
    connection.execute("VACUUM ANALYZE")
    row = connection.execute(
        "SELECT sum(pg_total_relation_size(oid))::bigint AS size FROM pg_class"
        " WHERE relkind = 'r' AND relname LIKE 'checkpoint%'"
    ).fetchone()
    return row["size"]
