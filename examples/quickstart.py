"""An agent whose state lives encrypted in a SQLite file. A second process resumes it. No network, no account, a few seconds.

    python examples/quickstart.py

The first process runs an agent until it asks a human for approval, and ends. The second one has nothing but the file and the
key; it approves, and the agent goes on. Then we look at the file as somebody who stole it would, and try two things that
somebody who can write to it might: change a row, and put a row of their own.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

os.environ["LANGSMITH_TRACING"] = "false"  # stays offline even where tracing is set up

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

from encrypted_serde import EncryptedSerdeError, EncryptedSerializer, Key, Keyring

IBAN = "DE89370400440532013000"
CONFIG = {"configurable": {"thread_id": "customer-17"}}


# --- an agent: nothing in this part knows of encryption --------------------------------------------------------------


@tool
def transfer(iban: str, euros: int) -> str:
    """Transfers money, once a human said yes."""
    answer = interrupt(f"transfer {euros} EUR to {iban}?")
    return f"{euros} EUR were sent to {iban}" if answer == "yes" else "a human declined"


def call_model(state: MessagesState) -> dict:
    """Stands in for a chat model: asks for the tool first, then reports what the tool said."""
    last = state["messages"][-1]
    if isinstance(last, HumanMessage):
        call = {"name": "transfer", "args": {"iban": IBAN, "euros": 250}, "id": "call-1"}
        answer = AIMessage("", tool_calls=[call])
    else:
        answer = AIMessage(f"Done: {last.content}.")
    return {"messages": [GenericFakeChatModel(messages=iter([answer])).invoke(state["messages"])]}


def build_agent(saver: SqliteSaver) -> CompiledStateGraph:
    """The usual loop of model and tools."""
    graph = StateGraph(MessagesState)
    graph.add_node("model", call_model)
    graph.add_node("tools", ToolNode([transfer]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=saver)


# --- its state, encrypted: these are the only lines that matter ------------------------------------------------------


@contextmanager
def open_agent(file: str) -> Iterator[CompiledStateGraph]:
    """Gives the agent, its state in this file, sealed under the key in ENCRYPTED_SERDE_KEY."""
    serde = EncryptedSerializer(Keyring.from_env())
    with closing(sqlite3.connect(file, check_same_thread=False)) as connection:
        yield build_agent(SqliteSaver(connection, serde=serde))


# --- the demonstration -----------------------------------------------------------------------------------------------


def main() -> None:
    """Runs it all, in a directory that is removed afterwards."""
    # An application gets its key from a secret store. Here it is drawn, and inherited by the second process.
    os.environ.pop("ENCRYPTED_SERDE_KEY_FILE", None)  # this example has a key of its own
    os.environ["ENCRYPTED_SERDE_KEY"] = Key.generate().to_text()
    with tempfile.TemporaryDirectory() as directory:
        file = str(Path(directory, "agent.sqlite"))
        print(f"1. Process {os.getpid()} runs the agent until it needs a human")
        with open_agent(file) as agent:
            result = agent.invoke({"messages": [HumanMessage(f"Please send 250 EUR to {IBAN}")]}, CONFIG)
            print(f"   it asks: {result['__interrupt__'][0].value}\n")

        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, file], check=True)

        show_file(file)
        print("\n4. Somebody changes one bit of the newest row")
        with changed_row(file, lambda type_tag, blob: (type_tag, blob[:60] + bytes([blob[60] ^ 1]) + blob[61:])):
            show_refusal(file)
        print("\n5. Somebody replaces the newest row by one that was never encrypted")
        with changed_row(file, lambda type_tag, blob: JsonPlusSerializer().dumps_typed({"v": 4, "id": "forged"})):
            show_refusal(file)
        print("\n6. The row put back as it was")
        with open_agent(file) as agent:
            print(f"   reads again: {len(agent.get_state(CONFIG).values['messages'])} messages")


def resume(file: str) -> None:
    """What the second process does: it has the file and the key, nothing else."""
    print(f"2. Process {os.getpid()} reads the state, and approves")
    with open_agent(file) as agent:
        print(f"   first message: {agent.get_state(CONFIG).values['messages'][0].content}")
        result = agent.invoke(Command(resume="yes"), CONFIG)
        print(f"   last message: {result['messages'][-1].content}\n")


def show_file(file: str) -> None:
    """Looks at the file without the key."""
    print("3. What somebody finds who copies the file")
    stored = Path(file).read_bytes()
    print(f"   {len(stored)} bytes; the account number is in them: {IBAN.encode() in stored}")
    with closing(sqlite3.connect(file)) as connection:
        query = "select '{0}', type, {1} from {0} order by checkpoint_id desc limit 2"
        for table, column in (("checkpoints", "checkpoint"), ("writes", "value")):
            for name, type_tag, blob in connection.execute(query.format(table, column)):
                print(f"   {name:<12} {type_tag}  {len(blob):5} bytes  {blob[:8].hex()}...{blob[-16:].hex()}")
        (metadata,) = connection.execute("select metadata from checkpoints order by checkpoint_id desc").fetchone()
    print(f"   readable all the same, since SqliteSaver does not pass it through serde=:\n   metadata     {metadata.decode()}")


@contextmanager
def changed_row(file: str, change: Callable[[str, bytes], tuple[str, bytes]]) -> Iterator[None]:
    """Changes the newest checkpoint with SQL, and puts it back."""
    newest = "checkpoint_id = (select max(checkpoint_id) from checkpoints)"
    update = f"update checkpoints set type = ?, checkpoint = ? where {newest}"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        original = connection.execute(f"select type, checkpoint from checkpoints where {newest}").fetchone()
        connection.execute(update, change(*original))
        yield
        connection.execute(update, original)


def show_refusal(file: str) -> None:
    """Tries to read the state, and shows how that fails. A demonstration that reads it anyway has failed itself."""
    with open_agent(file) as agent:
        try:
            agent.get_state(CONFIG)
        except EncryptedSerdeError as error:
            print(f"   refused: {type(error).__name__}: {error}")
        else:
            sys.exit("   this should have been refused")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        resume(sys.argv[1])
    else:
        main()
