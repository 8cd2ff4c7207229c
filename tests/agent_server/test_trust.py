"""Which context is believed: in a request the context handler's answer alone; elsewhere a token, for its purpose and age."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph_sdk import EncryptionContext as RequestContext

from encrypted_serde import EncryptedSerdeError, Key, Keyring, KeyServiceError, LocalKeyWrapper, TenantKeyring
from encrypted_serde.agent_server import UntrustedContext, make_encryption
from encrypted_serde.agent_server.guard import TenantSaver
from encrypted_serde.agent_server.startup import TOKEN
from encrypted_serde.agent_server.tokens import CRON, REQUEST, RUN, TO_MAKE_RUNS, TO_WORK, Tokens
from encrypted_serde.agent_server.trust import Answer, Trust, answer
from encrypted_serde.asgi import error_response
from encrypted_serde.core.context import EncryptionContext
from tests.agent_server.rows import tenant_of
from tests.agent_server.test_handlers import ServiceKeys, decrypt_json

pytestmark = pytest.mark.filterwarnings("ignore:The Encryption API is in beta")

ACME, GLOBEX = (EncryptionContext.of({"tenant_id": name}) for name in ("acme", "globex"))


async def tenant(user: Any, ctx: RequestContext) -> Mapping[str, str]:
    return {"tenant_id": user}


async def in_request(encryption: Any, user: str, header: dict[str, Any], work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Does what the server's middleware does around an endpoint, the swallowed exception included."""

    async def request() -> Any:
        metadata = header
        with suppress(Exception):  # as the middleware
            metadata = await encryption._context_handler(user, RequestContext(metadata=header))
        return await asyncio.ensure_future(work(metadata))

    return await asyncio.ensure_future(request())


def seals(encryption: Any, model: str = "thread", field: str = "metadata") -> Callable[[Any], Awaitable[Any]]:
    async def work(metadata: Any) -> Any:
        ctx = RequestContext(model, metadata, field)
        return {**await encryption.get_json_encryptor()(ctx, {"a": 1}), "marker": ctx.metadata}

    return work


# --- within a request -------------------------------------------------------------------------------------------------


class Failing(ServiceKeys):
    """A key provider of which an error can be asked, for a number of calls."""

    calls, outages = 0, 10**9

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        self.calls += 1
        if self.calls > self.outages:
            return self.key
        return super().encryption_key(context)


def raising(error: BaseException) -> Any:
    async def context(user: Any, ctx: Any) -> Any:
        raise error

    return context


OUTAGE, REVOKED = KeyServiceError("away", retryable=True), KeyServiceError("revoked", retryable=False)
WAYS_OUT: dict[str, tuple[Any, Exception | None, int]] = {
    "the function raises": (raising(RuntimeError("the directory is down")), None, 403),
    "the function raises a KeyError": (raising(KeyError("tenant")), None, 403),
    "the function gives no context": (raising(TypeError()), None, 403),
    "the function asks a key service that is away": (raising(OUTAGE), None, 503),
    "the key service is away": (tenant, OUTAGE, 503),
    "the tenant's key was revoked": (tenant, REVOKED, 500),
    "choose knows no such tenant": (tenant, KeyError("acme"), 500),
    "the driver of the key store raises": (tenant, OSError("connection refused"), 500),
    "a call times out": (tenant, asyncio.TimeoutError(), 500),
}


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("strict", [False, True])
async def test_every_way_out_of_the_context_handler_is_an_answer_and_no_header_is_believed(
    key: Key, way: str, strict: bool
) -> None:
    function, error, status = WAYS_OUT[way]
    keys = Failing(key)
    stolen = Trust(keys).carried(ACME)  # as somebody who can read rows may find it
    keys.error = error
    encryption = make_encryption(keys, context_from_user=function, require_context_to_read=strict)
    with pytest.raises(EncryptedSerdeError) as caught:
        await in_request(encryption, "mallory", stolen, seals(encryption))
    response: Any = await error_response(None, caught.value)  # type: ignore[arg-type]
    assert response.status_code == status
    assert ("retry-after" in response.headers) == (status == 503)


async def test_a_request_with_a_user_brings_no_token_of_its_own(key: Key) -> None:
    encryption = make_encryption(key, context_from_user=tenant)
    stolen = Trust(Keyring(primary=key)).carried(ACME)
    row = await in_request(encryption, "globex", stolen, seals(encryption))
    assert tenant_of(row["a"]) == "globex"

    async def with_another(metadata: Any) -> Any:  # the server, or whoever changes what it carries
        return await seals(encryption)(stolen)

    with pytest.raises(UntrustedContext):
        await in_request(encryption, "globex", {}, with_another)


async def test_an_exception_that_escapes_leaves_a_request_that_may_do_nothing(key: Key) -> None:
    encryption = make_encryption(key, context_from_user=raising(GeneratorExit()))  # none of the exceptions that one catches
    stolen = Trust(Keyring(primary=key)).carried(ACME)

    async def request() -> Any:
        assert encryption._context_handler is not None
        with pytest.raises(GeneratorExit):
            await encryption._context_handler("mallory", RequestContext(metadata=stolen))
        return await seals(encryption)(stolen)

    with pytest.raises(UntrustedContext):
        await asyncio.ensure_future(request())


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "field", "purpose"),
    [
        ("thread", "metadata", None), ("thread", "config", None), ("assistant", "config", None), ("store", "value", None),
        ("run", "metadata", None), ("run", "input", None), ("run", "config", RUN), ("run", "kwargs", RUN),
        ("cron", "metadata", None), ("cron", "payload", CRON), (None, None, None),
    ],
)  # fmt: skip
async def test_rows_hold_the_context_without_a_token_unless_something_runs_from_them(
    key: Key, model: str | None, field: str | None, purpose: str | None
) -> None:
    encryption = make_encryption(key, context_from_user=tenant)
    row = await in_request(encryption, "acme", {}, seals(encryption, model, field))  # type: ignore[arg-type]
    marker = row["marker"]
    assert marker["tenant_id"] == "acme"
    if purpose is None:
        assert marker[TOKEN] == "none"
        with pytest.raises(UntrustedContext):
            await seals(encryption)(marker)
    else:
        Tokens(Keyring(primary=key)).check(marker[TOKEN], ACME, {purpose: 60})


async def test_the_empty_context_is_stored_without_its_token_too(key: Key) -> None:
    async def nothing(user: Any, ctx: Any) -> Mapping[str, str]:
        return {}

    encryption = make_encryption(key, context_from_user=nothing)
    assert (await in_request(encryption, "u", {}, seals(encryption)))["marker"] == {TOKEN: "none"}


@pytest.mark.parametrize("purpose", [REQUEST, RUN, CRON])
@pytest.mark.parametrize("model", ["run", "cron", "thread", "assistant", "store", None])
async def test_a_token_is_good_for_its_purpose_until_its_largest_age(
    key: Key, monkeypatch: pytest.MonkeyPatch, purpose: str, model: str | None
) -> None:
    encryption = make_encryption(key, context_from_user=tenant)
    carried = Trust(Keyring(primary=key)).carried(ACME, purpose)
    ages = TO_MAKE_RUNS if model in ("run", "cron", "thread") else TO_WORK
    now = time.time()
    for age in (0, ages.get(purpose, 0) - 5, ages.get(purpose, 0) + 5):
        monkeypatch.setattr(time, "time", lambda age=age: now + age)
        if purpose in ages and age <= ages[purpose]:
            assert tenant_of((await seals(encryption, model, "metadata")(carried))["a"]) == "acme"  # type: ignore[arg-type]
        else:
            with pytest.raises(UntrustedContext, match=r"too old|is for a"):
                await seals(encryption, model, "metadata")(carried)  # type: ignore[arg-type]


async def test_a_cron_makes_runs_under_a_token_of_their_own(key: Key) -> None:
    encryption = make_encryption(key, context_from_user=tenant)
    carried = Trust(Keyring(primary=key)).carried(ACME, CRON)
    run = (await seals(encryption, "run", "config")(carried))["marker"]
    assert tenant_of((await seals(encryption)(run))["a"]) == "acme"


async def test_a_token_is_worth_nothing_for_another_context(key: Key) -> None:
    trust = Trust(Keyring(primary=key))
    encryption = make_encryption(key, context_from_user=tenant)
    for metadata in (
        {**trust.carried(ACME), "tenant_id": "globex"},
        {**trust.carried(ACME), "role": "admin"},
        {TOKEN: trust.carried(ACME)[TOKEN]},
        {"tenant_id": "globex", TOKEN: trust.carried(ACME)[TOKEN]},
    ):
        with pytest.raises(UntrustedContext):
            await seals(encryption)(metadata)


async def test_a_token_dies_with_its_tenants_key() -> None:
    keys = TenantKeyring(InMemoryStore(), LocalKeyWrapper(Key.generate()))
    encryption = make_encryption(keys, context_from_user=tenant)
    token = Trust(keys).carried(ACME, RUN)
    row = await seals(encryption)(token)
    assert tenant_of(row["a"]) == "acme"
    keys.erase(ACME.pairs)
    with pytest.raises(UntrustedContext, match="KeyErased"):
        await seals(encryption)(token)


# --- what rows tell to somebody who reads or writes them ------------------------------------------------------------------


async def saver_of(keys: Keyring) -> TenantSaver:
    return TenantSaver(InMemorySaver(), keys, required_context=("tenant_id",), require_context_to_read=True)


def queued(monkeypatch: pytest.MonkeyPatch, metadata: Any) -> None:
    """From now on the server serves a run that it found with this context in its row."""
    module = SimpleNamespace(encryption_context=SimpleNamespace(get=lambda: metadata))
    monkeypatch.setitem(sys.modules, "langgraph_api.encryption.context", module)


# rule T-26
async def test_what_rows_hold_makes_no_client_a_tenant(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keyring(primary=key)
    encryption = make_encryption(keys, context_from_user=tenant, require_context_to_read=True)
    saver = await saver_of(keys)
    for model, field in (("thread", "metadata"), ("run", "config"), ("cron", "payload")):
        found = (await in_request(encryption, "acme", {}, seals(encryption, model, field)))["marker"]

        async def reads(metadata: Any) -> Any:
            queued(monkeypatch, metadata)  # what the middleware sets
            return await saver.aget_tuple({"configurable": {"thread_id": "t"}})

        for function, error in ((tenant, None), (raising(ValueError()), UntrustedContext)):
            client = make_encryption(keys, context_from_user=function, require_context_to_read=True)
            if error is None:
                row = await in_request(client, "globex", found, seals(client))
                assert tenant_of(row["a"]) == "globex"
            else:
                for work in (seals(client), reads):
                    with pytest.raises(error):
                        await in_request(client, "globex", found, work)


# rule T-27
async def test_somebody_who_writes_rows_runs_as_a_tenant_with_a_run_of_his_that_is_copied(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documented, and what ends it: the token's age, and its key."""
    keys = Keyring(primary=key)
    encryption, saver = make_encryption(keys, context_from_user=tenant), await saver_of(keys)
    copied = (await in_request(encryption, "acme", {}, seals(encryption, "run", "config")))["marker"]
    at: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint: Any = {**empty_checkpoint(), "channel_values": {"a": "secret"}, "channel_versions": {"a": "1"}}
    queued(monkeypatch, copied)
    await saver.aput(at, checkpoint, {"source": "loop", "step": 1}, {"a": "1"})
    found = await saver.aget_tuple(at)
    assert found is not None
    for changed in ({**copied, "tenant_id": "globex"}, {**copied, TOKEN: "none"}):
        queued(monkeypatch, changed)
        with pytest.raises(UntrustedContext):
            await saver.aget_tuple(at)
    queued(monkeypatch, copied)
    now = time.time() + TO_WORK[RUN] + 5
    monkeypatch.setattr(time, "time", lambda: now)
    with pytest.raises(UntrustedContext, match="too old"):
        await saver.aget_tuple(at)


# --- the key service is away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OUTAGE, REVOKED])
async def test_a_run_waits_for_its_key_and_a_request_does_not(
    key: Key, monkeypatch: pytest.MonkeyPatch, error: KeyServiceError
) -> None:
    monkeypatch.setattr("encrypted_serde.agent_server.trust._PAUSES", (0.0, 0.0, 0.0))
    keys = Failing(key)
    saver = TenantSaver(InMemorySaver(), keys)
    at: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint: Any = {**empty_checkpoint(), "channel_values": {"a": "secret"}, "channel_versions": {"a": "1"}}
    carried = Trust(keys).carried(ACME, RUN)
    queued(monkeypatch, carried)
    keys.error = error

    async def put() -> None:
        keys.calls = 0
        await saver.aput(at, checkpoint, {"source": "loop", "step": 1}, {"a": "1"})

    keys.outages = 3
    if error.retryable:
        await put()
    keys.outages = 100
    with pytest.raises(KeyServiceError):
        await put()
    assert keys.calls == (4 if error.retryable else 1)
    answer.set(Answer(carried, ACME))  # from here on this is a request
    with pytest.raises(KeyServiceError):
        await put()
    assert keys.calls == 1


# --- erased tenants ---------------------------------------------------------------------------------------------------


async def test_values_of_an_erased_tenant_stay_sealed_text_and_block_no_row() -> None:
    keys = TenantKeyring(InMemoryStore(), LocalKeyWrapper(Key.generate()))
    encryption = make_encryption(keys, context_from_user=tenant)
    rows = [await in_request(encryption, name, {}, seals(encryption)) for name in ("acme", "globex")]
    for row in rows:
        del row["marker"]
    keys.erase(ACME.pairs)
    assert await decrypt_json(encryption, rows[0]) == rows[0]
    assert await decrypt_json(encryption, rows[1]) == {"a": 1}
    assert await decrypt_json(encryption, {"a": rows[1]["a"], "b": rows[0]["a"]}) == {"a": 1, "b": rows[0]["a"]}
