"""Two tenants with a key each, in one SQLite file. One of them asks to be forgotten. No network, no account, a few seconds.

    python examples/multi_tenant.py

Every tenant's data key is random, wrapped under one wrapping key and kept in a LangGraph store. Here the wrapping key is a
`Key` in memory; in production it lives in a key service (`encrypted_serde.kms.aws`, `.gcp`, `.vault`), and nothing else in
this file changes. Erasing a tenant destroys its data key: no checkpoint has to be found, and backups are covered too.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

os.environ["LANGSMITH_TRACING"] = "false"  # stays offline even where tracing is set up

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import ConfigurationError, EncryptedSerializer, Key, KeyErased, WrongContext, encryption_context
from encrypted_serde.audit import AuditEvent
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring

THREADS = {"acme": {"configurable": {"thread_id": "a-1"}}, "globex": {"configurable": {"thread_id": "g-1"}}}


def build_agent(saver: SqliteSaver) -> CompiledStateGraph:
    """An agent that knows nothing of tenants or keys."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", f"noted: {state['messages'][-1].content}")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def show_key_events(event: AuditEvent) -> None:
    """Prints what happens to keys. A real listener would write to the audit log: see encrypted_serde.audit."""
    if event.action.startswith("key_") and event.key_id is not None and event.context is not None:
        print(f"   audit: {event.action} {event.key_id.hex()[:12]} for {event.context['tenant_id']}")


def read(agent: CompiledStateGraph, tenant: str, thread: str) -> str:
    """Says what a tenant sees of a thread."""
    with encryption_context(tenant_id=tenant):
        try:
            return agent.get_state(THREADS[thread]).values["messages"][-1].content
        except (KeyErased, WrongContext) as error:
            return f"refused: {type(error).__name__}"


def main() -> None:
    """Runs all of it in a temporary directory."""
    wrapping_key = Key.generate()  # a real one comes from a key service or a secret store
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(sqlite3.connect(Path(directory, "checkpoints.sqlite"), check_same_thread=False)) as connection,
        SqliteStore.from_conn_string(str(Path(directory, "keys.sqlite"))) as key_store,
    ):
        key_store.setup()
        keys = TenantKeyring(key_store, LocalKeyWrapper(wrapping_key), audit=show_key_events)
        agent = build_agent(SqliteSaver(connection, serde=EncryptedSerializer(keys, required_context=("tenant_id",))))

        print("1. Each tenant talks to the agent, and gets a key with the first value that is written.")
        for tenant, thread in THREADS.items():
            with encryption_context(tenant_id=tenant):
                agent.invoke({"messages": [("human", f"a secret of {tenant}")]}, thread)
            print(f"   {tenant} sees: {read(agent, tenant, tenant)}")

        print("2. A tenant asks for the thread of the other one.")
        print(f"   acme sees: {read(agent, 'acme', 'globex')}")

        print("3. A request that forgot to say whose it is writes nothing.")
        try:
            agent.invoke({"messages": [("human", "whose am I?")]}, THREADS["acme"])
        except ConfigurationError as error:
            print(f"   refused: {error}")

        print("4. A new key for acme. What was written before stays readable.")
        keys.rotate({"tenant_id": "acme"})
        print(f"   acme sees: {read(agent, 'acme', 'acme')}")

        print("5. The wrapping key is replaced. Two keys are wrapped anew for acme, one for globex, and no data is touched.")
        replaced = TenantKeyring(
            key_store, LocalKeyWrapper(Key.generate()), unwrap_only=[LocalKeyWrapper(wrapping_key)], audit=show_key_events
        )
        replaced.rewrap()
        agent = build_agent(SqliteSaver(connection, serde=EncryptedSerializer(replaced, required_context=("tenant_id",))))

        print("6. globex asks to be forgotten.")
        replaced.erase({"tenant_id": "globex"})
        print(f"   globex sees: {read(agent, 'globex', 'globex')}")
        print(f"   acme sees: {read(agent, 'acme', 'acme')}")


if __name__ == "__main__":
    main()
