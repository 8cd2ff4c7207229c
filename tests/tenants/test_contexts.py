"""Tenants per request: the context reaches every thread and task, forgetting it is refused, and so is another tenant's row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from encrypted_serde import (
    ConfigurationError,
    EncryptedSerializer,
    Key,
    Keyring,
    WrongContext,
    encryption_context,
)
from encrypted_serde.core.sealer import Sealer
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.places import at
from tests.tenants.services import CountingWrapper


class Asked:
    """A key provider that notes what it was asked for."""

    def __init__(self) -> None:
        self.inner = Keyring(primary=Key.generate())
        self.contexts: list[dict[str, str]] = []

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        self.contexts.append(dict(context))
        return self.inner.encryption_key(context)

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        self.contexts.append(dict(context))
        return self.inner.decryption_key(key_id, context)


def build(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("agent", lambda state: {"messages": [("ai", "hello")]})
    builder.add_node("tools", lambda state: {"messages": [("ai", "done")]})
    builder.add_edge(START, "agent")
    builder.add_edge("agent", "tools")
    return builder.compile(checkpointer=saver)


def stored_contexts(saver: InMemorySaver) -> dict[str, set[str]]:
    """The tenants that the rows of each thread were sealed for."""
    found: dict[str, set[str]] = {}
    blobs = [(key[0], value) for key, value in saver.blobs.items()]
    blobs += [(key[0], (write[2])) for key, writes in saver.writes.items() for write in writes.values()]
    for thread, (type_tag, blob) in blobs:
        if type_tag != "empty":
            found.setdefault(thread, set()).add(blob[-2 - int.from_bytes(blob[-2:], "big") : -2].decode())
    return found


def tenant_of(thread: str) -> str:
    return f"\0\x09tenant_id\0{chr(len('tenant-' + thread))}tenant-{thread}"


def message(thread: str) -> dict[str, Any]:
    return {"messages": [("human", f"from {thread}")]}


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


@pytest.fixture
def saver(keyring: TenantKeyring) -> InMemorySaver:
    return InMemorySaver(serde=EncryptedSerializer(keyring, required_context=("tenant_id",)))


def test_threads_each_write_for_their_own_tenant(saver: InMemorySaver) -> None:
    app = build(saver)

    def one(thread: str) -> None:
        with encryption_context(tenant_id=f"tenant-{thread}"):
            app.invoke(message(thread), config(thread))

    threads = [str(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, threads))
    assert stored_contexts(saver) == {thread: {tenant_of(thread)} for thread in threads}


async def test_tasks_each_write_for_their_own_tenant(saver: InMemorySaver) -> None:
    app = build(saver)

    async def one(thread: str) -> None:
        with encryption_context(tenant_id=f"tenant-{thread}"):
            [_ async for _ in app.astream(message(thread), config(thread))]
            state = await app.aget_state(config(thread))
            assert len(state.values["messages"]) == 3

    threads = [str(number) for number in range(8)]
    await asyncio.gather(*map(one, threads))
    assert stored_contexts(saver) == {thread: {tenant_of(thread)} for thread in threads}


def test_a_batch_writes_for_the_tenant_it_was_called_for(saver: InMemorySaver) -> None:
    app = build(saver)
    with encryption_context(tenant_id="tenant-x"):
        app.batch([message(str(n)) for n in range(4)], [config(str(n)) for n in range(4)])
    assert stored_contexts(saver) == {str(number): {tenant_of("x")} for number in range(4)}


async def test_an_asynchronous_batch_writes_for_the_tenant_it_was_called_for(saver: InMemorySaver) -> None:
    app = build(saver)
    with encryption_context(tenant_id="tenant-x"):
        await app.abatch([message(str(n)) for n in range(4)], [config(str(n)) for n in range(4)])
    assert stored_contexts(saver) == {str(number): {tenant_of("x")} for number in range(4)}


def test_a_graph_that_was_called_without_a_tenant_writes_nothing(saver: InMemorySaver, wrapper: CountingWrapper) -> None:
    with pytest.raises(ConfigurationError, match="tenant_id"):
        build(saver).invoke(message("1"), config("1"))
    assert saver.get_tuple(config("1")) is None
    assert not saver.blobs
    assert not saver.writes
    assert wrapper.total == 0


# --- required_context and accept_contexts -----------------------------------------------------------------------------


def test_a_write_without_the_required_context_is_refused_before_a_key_is_asked_for() -> None:
    keys = Asked()
    serde = EncryptedSerializer(keys, required_context=("tenant_id", "region"))
    for given in ({}, {"tenant_id": "acme"}, {"region": "eu"}):
        with encryption_context(given), pytest.raises(ConfigurationError) as caught:
            serde.dumps_typed("secret")
        assert "acme" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="region, tenant_id"):
        serde.dumps_typed("secret")
    assert keys.contexts == []
    with encryption_context(tenant_id="acme", region="eu", more="x"):
        assert serde.loads_typed(serde.dumps_typed("secret")) == "secret"


def test_a_bound_write_without_the_required_context_is_refused() -> None:
    sealer = Sealer(Key.generate(), required_context=("tenant_id",))
    location = at("value", "1", "", "messages")
    with pytest.raises(ConfigurationError):
        sealer.seal_bound("bytes", b"x", location)
    with encryption_context(tenant_id="acme"):
        assert sealer.open_bound(sealer.seal_bound("bytes", b"x", location), location).plaintext == b"x"


def test_a_row_of_another_tenant_is_refused_before_its_key_is_asked_for() -> None:
    keys = Asked()
    serde = EncryptedSerializer(keys)
    with encryption_context(tenant_id="globex"):
        sealed = serde.dumps_typed("theirs")
    keys.contexts.clear()
    with encryption_context(tenant_id="acme"), pytest.raises(WrongContext):
        serde.loads_typed(sealed)
    assert keys.contexts == []


def test_rows_from_before_tenants_are_read_where_they_are_accepted(key: Key) -> None:
    before = EncryptedSerializer(key).dumps_typed("old")
    with encryption_context(tenant_id="globex"):
        theirs = EncryptedSerializer(key).dumps_typed("theirs")
    with encryption_context(tenant_id="acme"):
        with pytest.raises(WrongContext):
            EncryptedSerializer(key).loads_typed(before)
        serde = EncryptedSerializer(key, accept_contexts=({},))
        assert serde.loads_typed(before) == "old"
        with pytest.raises(WrongContext):
            serde.loads_typed(theirs)
        assert EncryptedSerializer(key, accept_contexts=({}, {"tenant_id": "globex"})).loads_typed(theirs) == "theirs"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"required_context": "tenant_id"}, TypeError),
        ({"required_context": (1,)}, TypeError),
        ({"required_context": ("Tenant",)}, ConfigurationError),
        ({"accept_contexts": {}}, TypeError),
        ({"accept_contexts": "x"}, TypeError),
        ({"accept_contexts": ({"tenant_id": 1},)}, TypeError),
        ({"accept_contexts": ({"Tenant": "x"},)}, ConfigurationError),
    ],
)
def test_options_that_cannot_be_meant_are_refused(key: Key, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        EncryptedSerializer(key, **options)
