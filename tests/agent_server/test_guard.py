"""`TenantSaver` without a server: which requests may change, copy, delete and read a thread."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from encrypted_serde import ConfigurationError, Key, Keyring, Sealer, WrongContext, encryption_context
from encrypted_serde.agent_server import UntrustedContext
from encrypted_serde.agent_server.guard import TenantSaver
from encrypted_serde.agent_server.trust import Trust
from encrypted_serde.audit import AuditEvent
from encrypted_serde.core.context import EncryptionContext
from encrypted_serde.saver.traits import overrides

NOBODY: dict[str, str] = {}


class Server:
    """Stands for the server: whose request is served, and the savers of its processes on one database."""

    def __init__(self, inner: Any, key: Key) -> None:
        self.inner, self.keys = inner, Keyring(primary=key)
        self.events: list[AuditEvent] = []
        self._trust = Trust(self.keys)
        self._served: Any = None

    def get(self) -> Any:
        return self._served

    def serve(self, tenant: str | None) -> None:
        """From now on a request of this tenant is served; of none where it is empty; no request at all for None."""
        context = {"tenant_id": tenant} if tenant else NOBODY
        self._served = None if tenant is None else self._trust.carried(EncryptionContext.of(context))

    def saver(self, **options: Any) -> TenantSaver:
        return TenantSaver(self.inner, self.keys, audit=self.events.append, **options)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: Key) -> AsyncIterator[Server]:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as inner:
        await inner.setup()
        running = Server(inner, key)
        module = SimpleNamespace(encryption_context=running)
        monkeypatch.setitem(sys.modules, "langgraph_api.encryption.context", module)
        yield running


def at(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


async def put(saver: TenantSaver, thread_id: str = "t") -> Any:
    checkpoint = {**empty_checkpoint(), "channel_values": {"text": "secret"}, "channel_versions": {"text": "1"}}
    config = await saver.aput(at(thread_id), checkpoint, {"source": "loop", "step": 1}, {"text": "1"})  # type: ignore[typeddict-item]
    await saver.aput_writes(config, [("text", "more")], "task")
    return config


@pytest.mark.parametrize("other", ["globex", ""])
@pytest.mark.parametrize("is_same_process", [True, False])
async def test_a_thread_is_changed_under_its_own_context_alone(server: Server, other: str, is_same_process: bool) -> None:
    saver = server.saver()
    server.serve("acme")
    config = await put(saver)
    another = saver if is_same_process else server.saver()
    server.serve(other)
    for call in (
        put(another),
        another.aput_writes(config, [("text", "x")], "task 2"),
        another.acopy_thread("t", "u"),
        another.adelete_thread("t"),
    ):
        with pytest.raises(WrongContext):
            await call
    assert ("refuse", "WrongContext") in [(event.action, event.outcome) for event in server.events]
    server.serve("acme")
    found = await saver.aget_tuple(at("t"))
    assert found is not None
    assert found.pending_writes == [("task", "text", "more")]
    assert [row async for row in saver.alist(at("u"))] == []


async def test_the_owner_copies_and_deletes_and_the_server_sweeps_by_itself(server: Server) -> None:
    saver = server.saver()
    server.serve("acme")
    await put(saver)
    await saver.acopy_thread("t", "u")
    copied = await saver.aget_tuple(at("u"))
    assert copied is not None
    assert copied.checkpoint["channel_values"] == {"text": "secret"}
    await saver.adelete_thread("u")
    server.serve(None)
    await saver.adelete_thread("t")
    server.serve("globex")
    await put(saver)  # another thread by now, and whose comes first has it


@pytest.mark.parametrize("is_same_process", [True, False])
async def test_a_copy_never_goes_into_a_thread_of_another_context(server: Server, is_same_process: bool) -> None:
    saver = server.saver()
    server.serve("globex")
    await put(saver, "u")
    server.serve("acme")
    await put(saver, "t")
    with pytest.raises(WrongContext):
        await (saver if is_same_process else server.saver()).acopy_thread("t", "u")
    server.serve("globex")
    assert len([row async for row in saver.alist(at("u"))]) == 1


class PruningSaver(AsyncSqliteSaver):
    """Prunes, as AsyncPostgresSaver does."""

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        for thread_id in thread_ids:
            await self.adelete_thread(thread_id)


async def test_threads_are_pruned_under_their_own_context_alone(server: Server) -> None:
    assert not overrides(type(server.saver()), "aprune")  # which the server looks at
    server.inner.__class__ = PruningSaver
    saver = server.saver()
    server.serve("globex")
    await put(saver, "u")
    server.serve("acme")
    await put(saver, "t")
    for other in ("globex", ""):
        server.serve(other)
        with pytest.raises(WrongContext):
            await saver.aprune(["u", "t"], strategy="delete")
    for owner, thread in (("acme", "t"), ("globex", "u")):
        server.serve(owner)
        assert await saver.aget_tuple(at(thread)) is not None
        await saver.aprune([thread], strategy="delete")
        assert await saver.aget_tuple(at(thread)) is None
    await put(saver, "u")
    server.serve(None)
    await saver.aprune(["u"], strategy="delete")  # the server's own sweeping
    server.serve("acme")
    await put(saver, "u")  # another thread by now


async def test_a_thread_that_cannot_be_opened_any_more_is_deleted_by_its_owner(server: Server) -> None:
    server.serve("acme")
    await put(server.saver())
    stranger = server.saver()
    await server.inner.conn.execute("UPDATE checkpoints SET checkpoint = x'00'")
    await stranger.adelete_thread("t")
    assert await stranger.aget_tuple(at("t")) is None


async def test_without_a_context_everything_is_read_unless_one_is_required_to_read(server: Server) -> None:
    server.serve("acme")
    await put(server.saver())
    server.serve("")
    assert await server.saver().aget_tuple(at("t")) is not None
    strict = server.saver(require_context_to_read=True)
    for call in (strict.aget_tuple(at("t")), anext(aiter(strict.alist(at("t"))))):
        with pytest.raises(UntrustedContext):
            await call


@pytest.mark.parametrize("other", ["globex", "", None])
def test_the_synchronous_methods_read_and_write_for_nobody_else_either(
    monkeypatch: pytest.MonkeyPatch, key: Key, other: str | None
) -> None:
    running = Server(InMemorySaver(), key)
    monkeypatch.setitem(sys.modules, "langgraph_api.encryption.context", SimpleNamespace(encryption_context=running))
    saver = running.saver(required_context=("tenant_id",), require_context_to_read=True)
    checkpoint = {**empty_checkpoint(), "channel_values": {"text": "secret"}, "channel_versions": {"text": "1"}}
    running.serve("acme")
    saver.put(at("t"), checkpoint, {"source": "loop", "step": 1}, {"text": "1"})  # type: ignore[arg-type]
    assert saver.get_tuple(at("t")) is not None
    running.serve(other)
    with pytest.raises(WrongContext):
        saver.get_tuple(at("t"))
    with pytest.raises(WrongContext):
        list(saver.list(at("t")))
    if not other:
        with pytest.raises(ConfigurationError, match="tenant_id"):
            saver.put(at("u"), checkpoint, {"source": "loop", "step": 1}, {"text": "1"})  # type: ignore[arg-type]


async def test_the_audit_names_the_user_whose_request_or_run_is_served(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    user = SimpleNamespace(identity="alice")
    context = SimpleNamespace(get=lambda: SimpleNamespace(user=user))
    monkeypatch.setitem(sys.modules, "langgraph_api.utils", SimpleNamespace(AuthContext=context))
    server.serve("acme")
    await put(server.saver())
    server.serve("globex")
    with pytest.raises(WrongContext):
        await server.saver().aget_tuple(at("t"))
    assert {(event.action, event.actor) for event in server.events} == {("seal", "alice"), ("refuse", "alice")}
    server.events.clear()
    server.serve("acme")
    with encryption_context(actor="a job"):
        await server.saver().aget_tuple(at("t"))
    assert {event.actor for event in server.events} == {"a job"}


async def test_a_thread_without_checkpoints_belongs_to_whoever_runs_on_it_first(server: Server) -> None:
    """Documented: the saver knows a thread by its checkpoints alone. Who may run on one is for Auth handlers to say."""
    saver = server.saver(required_context=("tenant_id",), require_context_to_read=True)
    server.serve("globex")
    await put(saver, "made for acme")
    server.serve("acme")
    with pytest.raises(WrongContext):
        await put(saver, "made for acme")


async def test_a_required_name_is_required_to_write_and_to_copy(server: Server) -> None:
    saver = server.saver(required_context=("tenant_id",))
    server.serve("")
    for call in (put(saver), saver.acopy_thread("t", "u")):
        with pytest.raises(UntrustedContext, match="tenant_id"):
            await call


async def test_a_thread_from_before_there_were_tenants_gets_one_where_such_threads_are_accepted(server: Server) -> None:
    server.keys = Sealer(server.keys, accept_contexts=({},))
    saver, elsewhere = server.saver(), server.saver()
    server.serve("")
    await put(saver)
    await put(elsewhere)
    server.serve("acme")
    await put(saver)
    server.serve("")
    for process in (saver, elsewhere):
        with pytest.raises(WrongContext):
            await put(process)


async def test_a_context_that_nobody_vouched_for_reads_and_writes_nothing(server: Server) -> None:
    saver = server.saver()
    server._served = {"tenant_id": "acme"}
    for call in (put(saver), saver.aget_tuple(at("t")), saver.adelete_thread("t")):
        with pytest.raises(UntrustedContext):
            await call
