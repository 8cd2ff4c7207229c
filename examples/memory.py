"""An agent that remembers its user across threads, in an encrypted SQLite file. No network, no account, a few seconds.

    python examples/memory.py

The first process tells the agent something in one thread and asks in another. The second process has nothing but the file and
the key, and the agent still remembers: it finds what fits a question by meaning. Then we look at the file as somebody who
stole it would, and swap two memories as somebody who can write to it might.

Semantic search needs a sqlite3 that loads extensions. Where Python's own does not: pip install pysqlite3-binary
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

os.environ["LANGSMITH_TRACING"] = "false"  # stays offline even where tracing is set up

import sqlite3

if not hasattr(sqlite3.Connection, "enable_load_extension"):
    from pysqlite3 import dbapi2 as sqlite3  # type: ignore[no-redef]

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, EncryptedStore, Key, Keyring

ALLERGY = "I am allergic to penicillin"
FACTS = [ALLERGY, "I live in Lisbon with two cats", "my sister is called Ines"]
DIMS = 128


# --- an agent with a memory: nothing in this part knows of encryption ------------------------------------------------


def embed(texts: list[str]) -> list[list[float]]:
    """Stands in for an embedding model: counts words. Deterministic, and enough to find what fits."""
    vectors = []
    for text in texts:
        vector = [0.01] * DIMS
        for word in re.findall(r"[a-z]{3,}", text.lower()):
            vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMS] += 1.0
        vectors.append(vector)
    return vectors


def answer(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
    """Stands in for a model with a memory tool: keeps what it is told, and answers questions from what it kept."""
    text = str(state["messages"][-1].content)
    store = runtime.store
    assert store is not None
    if not text.endswith("?"):
        store.put(("users", "maria", "memories"), hashlib.sha256(text.encode()).hexdigest()[:8], {"text": text})
        return {"messages": [AIMessage("I will remember that.")]}
    (found,) = store.search(("users", "maria"), query=text, limit=1)
    return {"messages": [AIMessage(f"You told me: {found.value['text']}.")]}


def build_agent(store: BaseStore, keys: Keyring) -> CompiledStateGraph:
    """One node; its threads are forgotten with the process, its memory is not."""
    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=EncryptedSaver(InMemorySaver(), keys), store=store)


# --- its memory, encrypted: these are the only lines that matter -----------------------------------------------------


@contextmanager
def open_store(file: str) -> Iterator[BaseStore]:
    """Opens the memory in a file, under the key in ``ENCRYPTED_SERDE_KEY``. Names are pseudonyms, vectors are readable."""
    index = {"dims": DIMS, "embed": embed, "text_fields": ["text"]}
    with closing(sqlite3.connect(file, check_same_thread=False, isolation_level=None)) as connection:
        inner = SqliteStore(connection, index=index)
        store = EncryptedStore(inner, Keyring.from_env(), pseudonymous_names=True, readable_embeddings=True)
        store.setup()
        yield store


# --- what happens ----------------------------------------------------------------------------------------------------


def say(file: str, thread: str, *texts: str) -> None:
    """Talks to the agent in one thread."""
    with open_store(file) as store:
        agent = build_agent(store, Keyring.from_env())
        for text in texts:
            result = agent.invoke({"messages": [HumanMessage(text)]}, {"configurable": {"thread_id": thread}})
            print(f"   {thread}: {text}\n      {result['messages'][-1].content}")


def main() -> None:
    """What the first process does."""
    os.environ.pop("ENCRYPTED_SERDE_KEY_FILE", None)
    os.environ["ENCRYPTED_SERDE_KEY"] = Key.generate().to_text()  # yours comes from a secret store
    with tempfile.TemporaryDirectory() as directory:
        file = str(Path(directory) / "memory.sqlite")
        print(f"1. Process {os.getpid()}: told in one thread, asked in another")
        say(file, "monday", *FACTS)
        say(file, "tuesday", "which city do I live in?")
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, file], check=True)
        show_file(file)
        print("\n4. Somebody swaps two memories")
        swap_memories(file)
        show_refusal(file)


def ask_again(file: str) -> None:
    """What the second process does: it has the file and the key, nothing else."""
    print(f"\n2. Process {os.getpid()} remembers")
    say(file, "wednesday", "what am I allergic to?", "what is my sister called?")


def show_file(file: str) -> None:
    """Looks at the file without the key."""
    print("\n3. What somebody finds who copies the file")
    stored = Path(file).read_bytes()
    for text in (ALLERGY, "penicillin", "maria", "memories"):
        print(f"   {text!r} is in it: {text.encode() in stored}")
    with closing(sqlite3.connect(file)) as connection:
        for prefix, key, value in connection.execute("select prefix, key, value from store where prefix != 'es1' limit 2"):
            print(f"   {prefix}\n   {key}  {len(value)} bytes  {bytes(value)[:60].decode()}...")
        (vectors,) = connection.execute("select count(*) from store_vectors").fetchone()
        print(f"   and {vectors} vectors, from which much of a text can be guessed: readable_embeddings=True accepted that")


def swap_memories(file: str) -> None:
    """Exchanges what stands under two keys, with SQL."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        rows = connection.execute("select key, value from store where prefix != 'es1' limit 2").fetchall()
        (one, first), (other, second) = rows
        connection.execute("update store set value = ? where key = ?", (second, one))
        connection.execute("update store set value = ? where key = ?", (first, other))


def show_refusal(file: str) -> None:
    """Tries to read the memory. A demonstration that reads it anyway has failed itself."""
    with open_store(file) as store:
        try:
            store.search(("users", "maria"))
        except EncryptedSerdeError as error:
            print(f"   refused: {type(error).__name__}")
        else:
            sys.exit("   this should have been refused")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        ask_again(sys.argv[1])
    else:
        main()
