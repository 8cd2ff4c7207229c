"""The handlers by themselves, as `langgraph_sdk.Encryption` holds them."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamSerializer
from langgraph_sdk import DecryptResult, Encryption
from langgraph_sdk import EncryptionContext as RequestContext

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerdeError,
    Key,
    KeyErased,
    Keyring,
    KeyServiceError,
    MalformedEnvelope,
    PlaintextRefused,
    UnknownKey,
    WrongContext,
    WrongLocation,
    encryption_context,
)
from encrypted_serde.agent_server import HandlerError, UntrustedContext, make_encryption, trust_header
from encrypted_serde.agent_server.codec import DEEPEST, SERVER_KEYS, SERVER_PLACES
from encrypted_serde.agent_server.served import hidden_keys, hidden_places
from encrypted_serde.asgi import status_of
from encrypted_serde.audit import AuditEvent
from encrypted_serde.core.encoding import b64url_encode
from encrypted_serde.core.format import SEALED_TEXT_PREFIX
from encrypted_serde.core.sealer import Sealer
from tests.agent_server.rows import is_sealed, tenant_of
from tests.agent_server.server import WHOLE_ROWS
from tests.places import at

pytestmark = pytest.mark.filterwarnings("ignore:The Encryption API is in beta")

USER = {"tenant_id": "acme"}
AES_KEY = b"0123456789abcdef"


async def tenant(user: Any, ctx: RequestContext) -> Mapping[str, str]:
    return {"tenant_id": user["tenant_id"]}


async def context_for(encryption: Encryption, user: Any, **header: Any) -> RequestContext:
    """Does what the server's middleware does, in a task of its own, so that the token alone counts as in a queued run."""
    assert encryption._context_handler is not None
    metadata = await asyncio.ensure_future(encryption._context_handler(user, RequestContext(metadata=header)))
    return RequestContext(model="thread", field="metadata", metadata=json.loads(json.dumps(metadata)))


def encrypt_json(encryption: Encryption, data: Any, ctx: RequestContext | None = None) -> Any:
    handler = encryption.get_json_encryptor()
    assert handler is not None
    given = ctx or RequestContext()
    return handler(RequestContext(given.model, dict(given.metadata), given.field), data)  # one for each call, as of the server


def decrypt_json(encryption: Encryption, data: Any) -> Any:
    handler = encryption.get_json_decryptor()
    assert handler is not None
    return handler(RequestContext(), data)


# --- what is sealed, and how it comes back ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "es1.", "es1.hello", "encrypted.aes:AAAA", "", "ü\ud800", 0, -1, 2**70, 1.5, True, False, [], {},
        [None, {"a": [1e300]}],
        {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}}, {"lc": 2, "type": "constructor", "id": ["os"]},
    ],
)  # fmt: skip
async def test_a_value_comes_back_as_json_and_nothing_else(key: Key, value: Any) -> None:
    encryption = make_encryption(key)
    row = await encrypt_json(encryption, {"k": value})
    assert is_sealed(row["k"])
    opened = await decrypt_json(encryption, row)
    assert opened == {"k": value}
    assert type(opened["k"]) is type(value)


async def test_exactly_one_layer_is_opened(key: Key) -> None:
    encryption = make_encryption(key)
    once = await encrypt_json(encryption, {"k": "v"})
    twice = await encrypt_json(encryption, once)
    assert twice["k"] != once["k"]
    assert await decrypt_json(encryption, twice) == once


async def test_none_and_skipped_keys_are_left_alone_and_no_key_is_added(key: Key) -> None:
    row = await encrypt_json(make_encryption(key, skip=("team",)), {"a": None, "team": "x", "owner": "o"})
    assert (row["a"], row["team"], is_sealed(row["owner"]), row.keys()) == (None, "x", True, {"a", "team", "owner"})


async def test_a_value_of_another_inner_type_is_refused(key: Key) -> None:
    sealed = Sealer(key).seal_bound("msgpack", b"\xc0", at("json", "a"))
    with pytest.raises(WrongLocation):
        await decrypt_json(make_encryption(key), {"a": SEALED_TEXT_PREFIX + b64url_encode(sealed)})


@pytest.mark.parametrize("change", ["cut", "of the server's own AES", "under another name"])
async def test_every_refusal_is_told_to_the_audit_once(key: Key, change: str) -> None:
    events: list[AuditEvent] = []
    encryption = make_encryption(key, audit=events.append)
    sealed = (await encrypt_json(encryption, {"a": 1}))["a"]
    rows = {
        "cut": {"a": sealed[:60]},
        "of the server's own AES": {"a": "encrypted.aes:AAAA"},
        "under another name": {"b": sealed},
    }
    with pytest.raises(EncryptedSerdeError) as caught:
        await decrypt_json(encryption, rows[change])
    assert [event.outcome for event in events if event.action == "refuse"] == [type(caught.value).__name__]


async def test_what_is_skipped_is_never_opened(key: Key) -> None:
    sealed = await encrypt_json(make_encryption(key, skip=()), {"owner": "alice"})
    assert await decrypt_json(make_encryption(key), sealed) == sealed


# rule F-41
async def test_a_value_opens_only_under_its_own_key_name(key: Key) -> None:
    encryption = make_encryption(key)
    row = await encrypt_json(encryption, {"a": 1})
    with pytest.raises(AuthenticationFailed):
        await decrypt_json(encryption, {"b": row["a"]})


async def test_an_ambient_context_of_the_application_changes_nothing(key: Key) -> None:
    encryption = make_encryption(key, context_from_user=tenant)
    ctx = await context_for(encryption, USER)
    with encryption_context(tenant_id="globex"):
        row = await encrypt_json(encryption, {"a": 1}, ctx)
        assert tenant_of(row["a"]) == "acme"
        assert await decrypt_json(encryption, row) == {"a": 1}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="langgraph-api needs Python 3.11")
def test_the_keys_that_the_server_never_shows_us_are_those_we_leave_alone() -> None:
    if WHOLE_ROWS:
        names = importlib.import_module("langgraph_runtime_inmem.encryption")
        hidden, paths = names.NEVER_ENCRYPT_FIELDS, names.NEVER_ENCRYPT_PATHS
    else:
        schema = importlib.import_module("langgraph_api.schema")
        hidden, paths = schema.NEVER_ENCRYPT_FIELDS_GLOBAL, schema.NEVER_ENCRYPT_PATHS
    assert hidden == SERVER_KEYS == hidden_keys()
    assert {(path.split(".")[0], *path.split(".")[-2:]) for path in paths} == SERVER_PLACES == hidden_places()


CUT = SEALED_TEXT_PREFIX + b64url_encode(b"\xc1ES1\x00\x11json+xaes-256-gcm\x01\x02")
"""Begins as sealed text does, and is cut."""


@pytest.mark.parametrize("name", [*sorted(SERVER_KEYS), "__anything__"])
async def test_a_client_makes_no_row_unreadable_by_a_key_that_the_server_hides(key: Key, name: str) -> None:
    encryption = make_encryption(key)
    row = await encrypt_json(encryption, {"note": "x"})
    assert await decrypt_json(encryption, {**row, name: CUT}) == {"note": "x", name: CUT}


@pytest.mark.parametrize(("model", "field", "name"), sorted(SERVER_PLACES))
async def test_nor_by_one_that_it_hides_in_one_place(key: Key, model: str, field: str, name: str) -> None:
    encryption = make_encryption(key)
    handler = encryption.get_json_decryptor()
    assert handler is not None
    assert await handler(RequestContext(model=model, field=field), {name: CUT}) == {name: CUT}
    with pytest.raises(MalformedEnvelope):
        await decrypt_json(encryption, {name: CUT})


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value, "b": 1, "c": []} if level else {"a": value}
    return value


@pytest.mark.parametrize("levels", [1, 100, DEEPEST])
async def test_what_is_sealed_can_be_sent_again_in_a_list_of_rows(key: Key, levels: int) -> None:
    encryption = make_encryption(key)
    opened = await decrypt_json(encryption, await encrypt_json(encryption, {"k": nested(levels)}))
    assert opened == {"k": nested(levels)}
    assert orjson.dumps([{"kwargs": {"config": {"configurable": opened}}}])


@pytest.mark.parametrize("levels", [DEEPEST + 1, 252, 900, 3000])
async def test_what_is_nested_too_deep_to_be_sent_again_is_not_accepted(key: Key, levels: int) -> None:
    with pytest.raises(HandlerError) as caught:
        await encrypt_json(make_encryption(key), {"k": nested(levels)})
    assert status_of(caught.value) == 422


async def test_an_object_that_the_server_looks_into_stays_one_where_it_is_empty(key: Key) -> None:
    row = await encrypt_json(make_encryption(key), {"configurable": {}, "metadata": {}, "other": {}})
    assert (row["configurable"], row["metadata"], is_sealed(row["other"])) == ({}, {}, True)


@pytest.mark.parametrize(
    "data", [{"k": object()}, {"k": {1, 2}}, {"k" * 70_000: 1}, {"\ud800": 1}, {"owner": "encrypted.aes:x"}]
)
async def test_data_that_cannot_be_sealed_never_shows_itself_to_the_client(key: Key, data: Any) -> None:
    with pytest.raises(HandlerError) as caught:
        await encrypt_json(make_encryption(key), data)
    assert not isinstance(caught.value, ValueError)
    assert "kkk" not in str(caught.value)


async def test_a_loop_is_no_json(key: Key) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(HandlerError):
        await encrypt_json(make_encryption(key), {"k": loop})


# --- the context ------------------------------------------------------------------------------------------------------


def not_async(user: Any, ctx: Any) -> Any:
    return {}


async def one_argument(user: Any) -> Any:
    return {}


class Callable:
    async def __call__(self, user: Any, ctx: Any) -> Any:
        return USER

    async def method(self, user: Any, ctx: Any) -> Any:
        return USER


@pytest.mark.parametrize("function", [not_async, one_argument, 42, partial(not_async, 1), Callable, "tenant"])
def test_a_context_handler_of_the_wrong_shape_is_refused_at_once(key: Key, function: Any) -> None:
    with pytest.raises(TypeError, match="context_from_user must"):
        make_encryption(key, context_from_user=function)


@pytest.mark.parametrize("function", [Callable(), Callable().method, partial(tenant)])
async def test_a_context_handler_may_be_any_async_callable(key: Key, function: Any) -> None:
    encryption = make_encryption(key, context_from_user=function)
    row = await encrypt_json(encryption, {"a": 1}, await context_for(encryption, USER))
    assert tenant_of(row["a"]) == "acme"


async def fails(user: Any, ctx: Any) -> Any:
    raise ValueError("tenant acme is not known")


def gives(result: Any) -> Any:
    async def context(user: Any, ctx: Any) -> Any:
        return result

    return context


@pytest.mark.parametrize(
    "function",
    [fails, *map(gives, [None, "acme", {"tenant_id": 7}, {"tenant_id": ""}, {"__es1__": "x"}, {"A": "b"}])],
)
async def test_a_context_handler_that_fails_stops_writing_and_does_not_fall_back_to_the_header(key: Key, function: Any) -> None:
    encryption = make_encryption(key, context_from_user=function)
    ctx = await context_for(encryption, USER, tenant_id="globex")
    assert ctx.metadata == {"__es1__": "refused"}
    with pytest.raises(UntrustedContext):
        await encrypt_json(encryption, {"a": 1}, ctx)
    assert encryption._blob_encryptor is not None
    with pytest.raises(UntrustedContext):
        await encryption._blob_encryptor(ctx, b"a")


async def test_where_there_is_a_context_handler_no_context_is_no_context_of_ours(key: Key) -> None:
    with pytest.raises(UntrustedContext):
        await encrypt_json(make_encryption(key, context_from_user=tenant), {"a": 1}, RequestContext())


async def test_without_a_context_handler_no_client_can_choose_a_context(key: Key) -> None:
    encryption = make_encryption(key)
    assert tenant_of((await encrypt_json(encryption, {"a": 1}, await context_for(encryption, USER)))["a"]) is None
    with pytest.raises(UntrustedContext):
        await encrypt_json(encryption, {"a": 1}, await context_for(encryption, USER, tenant_id="acme"))
    with pytest.raises(UntrustedContext):
        await encrypt_json(encryption, {"a": 1}, RequestContext(metadata={"tenant_id": "acme"}))


def test_trust_header_needs_names() -> None:
    with pytest.raises(ConfigurationError):
        trust_header()


def test_skip_is_a_collection(key: Key) -> None:
    with pytest.raises(TypeError):
        make_encryption(key, skip="owner")


async def test_a_token_is_worth_nothing_under_another_key(key: Key) -> None:
    encryption = make_encryption(key, context_from_user=tenant)
    other = make_encryption(Key.generate(), context_from_user=tenant)
    with pytest.raises(UntrustedContext):
        await encrypt_json(encryption, {"a": 1}, await context_for(other, USER))


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_value_under_an_old_key_comes_with_a_replacement() -> None:
    old, new = Key.generate(), Key.generate()
    row = await encrypt_json(make_encryption(old), {"a": 1, "none": None})
    keys = Keyring(primary=new, decrypt_only=[old])
    result = await decrypt_json(make_encryption(keys), row)
    assert isinstance(result, DecryptResult)
    assert result.plaintext == {"a": 1, "none": None}
    assert await decrypt_json(make_encryption(new), result.replacement) == {"a": 1, "none": None}


async def test_a_value_under_a_key_we_do_not_have_passes_only_under_the_switch(key: Key) -> None:
    foreign = await encrypt_json(make_encryption(Key.generate()), {"a": 1})
    with pytest.raises(UnknownKey):
        await decrypt_json(make_encryption(key), foreign)
    tolerant = make_encryption(key, allow_foreign=True)
    assert await decrypt_json(tolerant, foreign) == foreign
    tampered = await encrypt_json(tolerant, {"a": 1})
    with pytest.raises(AuthenticationFailed):
        await decrypt_json(tolerant, {"b": tampered["a"]})


class ServiceKeys:
    """A key provider that is no Keyring, and so may have to ask a service. Notes the threads that it is asked in."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.threads: set[int] = set()
        self.error: Exception | None = None

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        self.threads.add(threading.get_ident())
        if self.error:
            raise self.error
        return self.key

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        self.threads.add(threading.get_ident())
        return self.key


async def test_a_provider_that_may_block_is_never_asked_on_the_event_loop(key: Key) -> None:
    keys = ServiceKeys(key)
    encryption = make_encryption(keys, context_from_user=tenant)
    ctx = await context_for(encryption, USER)
    await decrypt_json(encryption, await encrypt_json(encryption, {"a": 1}, ctx))
    assert encryption._blob_encryptor is not None
    assert encryption._blob_decryptor is not None
    await encryption._blob_decryptor(ctx, await encryption._blob_encryptor(ctx, b"b"))
    assert keys.threads
    assert threading.get_ident() not in keys.threads


@pytest.mark.parametrize("error", [KeyServiceError("down", retryable=True), KeyErased("gone", b"k" * 32)])
async def test_reading_does_not_fail_for_want_of_a_key_to_write_with(key: Key, error: Exception) -> None:
    keys = ServiceKeys(key)
    encryption = make_encryption(keys)
    row = await encrypt_json(encryption, {"a": 1})
    keys.error = error
    assert await decrypt_json(encryption, row) == {"a": 1}
    with pytest.raises(type(error)):
        await encrypt_json(encryption, {"a": 1})


async def test_the_audit_is_told_of_values_and_not_of_tokens(key: Key) -> None:
    events: list[AuditEvent] = []
    encryption = make_encryption(key, context_from_user=tenant, audit=events.append)
    row = await encrypt_json(encryption, {"a": 1, "b": 2}, await context_for(encryption, USER))
    await decrypt_json(encryption, {"a": row["a"]})
    assert [(event.action, dict(event.context or {})) for event in events] == [("seal", USER), ("seal", USER), ("open", USER)]


async def test_requests_at_the_same_time_keep_their_tenants(key: Key) -> None:
    encryption = make_encryption(ServiceKeys(key), context_from_user=tenant)

    async def one(name: str) -> str | None:
        ctx = await context_for(encryption, {"tenant_id": name})
        return tenant_of((await encrypt_json(encryption, {"a": name}, ctx))["a"])

    names = [f"t{number}" for number in range(50)]
    assert await asyncio.gather(*map(one, names)) == names


# --- moving in --------------------------------------------------------------------------------------------------------


def aes(data: bytes) -> bytes:
    return UpstreamSerializer.from_pycryptodome_aes(key=AES_KEY).cipher.encrypt(data)[1]


async def test_values_of_the_servers_aes_encryption_open_with_the_old_key_only(key: Key) -> None:
    row = {"a": "encrypted.aes:" + b64encode(aes(b'{"b": [1]}')).decode(), "c": "plain"}
    assert await decrypt_json(make_encryption(key, legacy_keys=[AES_KEY]), row) == {"a": {"b": [1]}, "c": "plain"}
    with pytest.raises(PlaintextRefused):
        await decrypt_json(make_encryption(key), row)
    with pytest.raises(AuthenticationFailed):
        await decrypt_json(make_encryption(key, legacy_keys=[AES_KEY[::-1]]), row)
    assert await decrypt_json(make_encryption(key, allow_foreign=True), row) == row


async def test_blobs_of_before_open_under_their_switch_only(key: Key) -> None:
    blob = b"never encrypted, but long enough for nonce and tag"

    async def read(data: bytes, **switches: Any) -> Any:
        handler = make_encryption(key, **switches)._blob_decryptor
        assert handler is not None
        return await handler(RequestContext(), data)

    with pytest.raises(PlaintextRefused):
        await read(blob)
    with pytest.raises(PlaintextRefused):
        await read(aes(blob))
    with pytest.raises(AuthenticationFailed):
        await read(blob, legacy_keys=[AES_KEY])
    assert await read(blob, allow_plaintext=True) == blob
    assert await read(aes(blob), legacy_keys=[AES_KEY]) == blob
    assert await read(blob, legacy_keys=[AES_KEY], allow_plaintext=True) == blob


# --- who reads --------------------------------------------------------------------------------------------------------


class Asking:
    """Stands for the server's own module that knows whose request is served."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.metadata: Any = None
        module = SimpleNamespace(encryption_context=SimpleNamespace(get=lambda: self.metadata))
        monkeypatch.setitem(sys.modules, "langgraph_api.encryption.context", module)


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Asking:
    return Asking(monkeypatch)


async def test_with_a_context_required_to_read_values_of_another_tenant_stay_sealed(key: Key, asking: Asking) -> None:
    encryption = make_encryption(key, context_from_user=tenant, required_context=("tenant_id",), require_context_to_read=True)
    acme, globex = [await context_for(encryption, {"tenant_id": name}) for name in ("acme", "globex")]
    row = {**await encrypt_json(encryption, {"a": 1}, acme), **await encrypt_json(encryption, {"b": 2}, globex)}
    asking.metadata = acme.metadata
    assert await decrypt_json(encryption, row) == {"a": 1, "b": row["b"]}
    asking.metadata = None  # the server by itself
    assert await decrypt_json(encryption, row) == {"a": 1, "b": 2}
    for nobody in ({}, {"tenant_id": "acme"}, {"__es1__": "refused"}):
        asking.metadata = nobody
        with pytest.raises(UntrustedContext):
            await decrypt_json(encryption, row)


async def test_a_value_that_stayed_sealed_is_not_sealed_again_by_another_tenant(key: Key, asking: Asking) -> None:
    encryption = make_encryption(key, context_from_user=tenant, require_context_to_read=True)
    acme, globex = [await context_for(encryption, {"tenant_id": name}) for name in ("acme", "globex")]
    row = await encrypt_json(encryption, {"a": 1}, acme)
    with pytest.raises(WrongContext):
        await encrypt_json(encryption, row, globex)
    for text in ("es1.", "es1.hello", row["a"]):  # one's own, and what only looks sealed
        await encrypt_json(encryption, {"a": text}, acme)


async def test_a_blob_of_another_tenant_is_refused_if_a_context_is_required_to_read(key: Key, asking: Asking) -> None:
    encryption = make_encryption(key, context_from_user=tenant, require_context_to_read=True)
    acme, globex = [await context_for(encryption, {"tenant_id": name}) for name in ("acme", "globex")]
    assert encryption._blob_encryptor is not None
    assert encryption._blob_decryptor is not None
    blob = await encryption._blob_encryptor(acme, b"x")
    asking.metadata = globex.metadata
    with pytest.raises(WrongContext):
        await encryption._blob_decryptor(RequestContext(), blob)


async def test_values_from_before_there_were_tenants_are_read_where_that_is_said(key: Key, asking: Asking) -> None:
    row = await encrypt_json(make_encryption(key), {"a": 1})
    options: Any = {"context_from_user": tenant, "require_context_to_read": True}
    asking.metadata = (await context_for(make_encryption(key, **options), USER)).metadata
    assert await decrypt_json(make_encryption(key, **options), row) == row
    assert await decrypt_json(make_encryption(Sealer(key, accept_contexts=({},)), **options), row) == {"a": 1}


async def test_without_a_required_name_nothing_is_written(key: Key) -> None:
    async def region(user: Any, ctx: RequestContext) -> Mapping[str, str]:
        return {"region": "eu"}

    events: list[AuditEvent] = []
    encryption = make_encryption(key, context_from_user=region, required_context=("tenant_id",), audit=events.append)
    with pytest.raises(UntrustedContext, match="no tenant_id"):
        await encrypt_json(encryption, {"a": 1}, await context_for(encryption, USER))
    assert [(event.action, event.outcome) for event in events] == [("refuse", "UntrustedContext")]


@pytest.mark.parametrize("options", [{"required_context": ("tenant_id",)}, {"require_context_to_read": True}])
def test_a_context_that_nobody_gives_cannot_be_required(key: Key, options: Any) -> None:
    with pytest.raises(ConfigurationError, match="context_from_user"):
        make_encryption(key, **options)
