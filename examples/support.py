"""A support engineer looks at a sealed thread, without the application's code. No network, no account, a few seconds.

    python examples/support.py

The application runs once and stores a conversation, sealed. Then somebody with the file and the key, and nothing else, reads
it: with e-mail addresses masked, a reason, and a line in the audit. Then a row is changed: it stays hidden, and the reason is
shown.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ["LANGSMITH_TRACING"] = "false"  # stays offline even where tracing is set up
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from encrypted_serde import EncryptedSaver, Key, encryption_context
from encrypted_serde.view import AuditFile, Checkpoint, as_json, open_view


@dataclasses.dataclass
class Order:
    """A class of the application. A person who looks does not need it."""

    number: int
    paid: bool


class State(MessagesState):
    """What the application keeps."""

    order: Order


def talk(state: State) -> dict[str, Any]:
    """What a model and its tools would do."""
    call = {"name": "find_order", "args": {"number": 4711}, "id": "call_1"}
    return {
        "messages": [
            AIMessage("", tool_calls=[call]),
            ToolMessage("shipped, bill to ann@example.org", tool_call_id="call_1", name="find_order"),
            AIMessage("It is on its way. Shall I pay the postage back?"),
        ],
        "order": Order(4711, paid=True),
    }


def pay(state: State) -> Command[Any]:
    """Asks a person before it pays."""
    interrupt({"pay back": "4.90 EUR"})
    return Command()


def run_application(path: Path, key: Key) -> None:
    """The application: a graph with a checkpointer, as everywhere."""
    builder = StateGraph(State)
    builder.add_sequence([talk, pay]).add_edge(START, "talk")
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.setup()
        graph = builder.compile(checkpointer=EncryptedSaver(saver, key))
        with encryption_context(tenant_id="acme"):
            graph.invoke({"messages": [HumanMessage("Where is my order?")]}, {"configurable": {"thread_id": "42"}})


def show(checkpoint: Checkpoint) -> None:
    """Prints a conversation, and what the graph waits for."""
    if checkpoint.line.refused:
        print(f"  hidden: {checkpoint.line.refused}")
        return
    for channel in checkpoint.channels:
        for message in channel.messages or ():
            said = " ".join(block.text for block in message.blocks)
            calls = ", ".join(f"{call.name} {as_json(call.arguments)}" for call in message.tool_calls)
            print(f"  {message.role:>9}  {said or 'calls ' + calls}")
    order = checkpoint.channel("order")
    print(f"  order      {as_json(order.value) if order and order.value else None}")
    print(f"  next       {', '.join(checkpoint.next)}")


def main() -> None:
    """Runs all of it in a temporary directory."""
    with tempfile.TemporaryDirectory() as folder:
        path, looks, key = Path(folder) / "app.db", Path(folder) / "looks.jsonl", Key.generate()
        run_application(path, key)
        print("What anybody with the file can read of it: ", end="")
        print("nothing" if b"ann@example.org" not in path.read_bytes() else "everything")

        print("\nWhat the support sees, with the key and a reason:")
        audit = AuditFile(looks, "app.db")
        with open_view(path, key, actor="dana", reason="ticket 4711", audit=audit, mask=["email"]) as view:
            show(view.thread("42").latest())

        print("\nWith the context of another tenant:")
        with open_view(path, key, context={"tenant_id": "globex"}, reason="ticket 4711") as view:
            print(f"  {len(view.threads().lines)} threads")
            show(view.thread("42").latest())

        print("\nAfter somebody changed a row:")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE checkpoints SET parent_checkpoint_id = NULL")
        with open_view(path, key, reason="ticket 4711") as view:
            show(view.thread("42").latest())

        print("\nWho looked:")
        print("  " + looks.read_text().strip())


if __name__ == "__main__":
    main()
