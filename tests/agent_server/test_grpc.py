"""The handlers behind the server's own gRPC service, the way in which the Postgres server calls them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamSerializer

from encrypted_serde import Key, Keyring
from encrypted_serde.agent_server.trust import TOKEN, Trust
from encrypted_serde.core.context import NO_CONTEXT, EncryptionContext
from encrypted_serde.core.format import find_sealed
from encrypted_serde.core.sealer import Sealer
from tests.agent_server.grpc_service import Refused, Service, grpc_service
from tests.agent_server.rows import is_sealed, tenant_of
from tests.agent_server.server import WHOLE_ROWS, needs_server
from tests.places import at
from tests.tampering import changed

pytestmark = needs_server

OLD, NEW = Key.generate(), Key.generate()
AES_KEY = "0123456789abcdef"
BLOB = b"\0\xff a checkpoint " * 100
MARKER = "__encryption_context__"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environ = {
        "TENANTS": "user",
        "ENCRYPTED_SERDE_KEY": NEW.to_text(),
        "ENCRYPTED_SERDE_DECRYPT_KEYS": OLD.to_text(),
        "OLD_AES_KEY": AES_KEY,
        "LANGGRAPH_AES_KEY": AES_KEY,
    }
    with grpc_service(tmp_path_factory.mktemp("grpc"), "./encryption.py:encryption", environ) as running:
        yield running


def vouched(tenant: str, key: Key = NEW) -> dict[str, str]:
    return Trust(Keyring(primary=key)).carried(EncryptionContext.of({"tenant_id": tenant}))


def sealed_blob(key: Key, tenant: str | None) -> bytes:
    context = EncryptionContext.of({"tenant_id": tenant}) if tenant else NO_CONTEXT
    return Sealer(key).seal_bound("bytes", BLOB, at("blob"), context=context)


def key_id(sealed: bytes | str | None) -> bytes:
    found = find_sealed(sealed)
    assert found is not None
    return found.head.key_id


# --- blobs ------------------------------------------------------------------------------------------------------------


def test_a_blob_comes_back_whoever_reads_it(service: Service) -> None:
    sealed = service.encrypt_blob(BLOB, vouched("acme"))
    assert BLOB[:16] not in sealed
    assert tenant_of(sealed) == "acme"
    for metadata in ({}, vouched("acme"), vouched("globex"), {"tenant_id": "globex"}):
        assert service.decrypt_blob(sealed, metadata) == (BLOB, None)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"tenant_id": "acme"},
        {"tenant_id": "acme", TOKEN: "refused"},
        {"tenant_id": "acme", TOKEN: vouched("globex")[TOKEN]},
        {"tenant_id": "acme", "role": "x", TOKEN: vouched("acme")[TOKEN]},
        {"tenant_id": "acme", TOKEN: vouched("acme", Key.generate())[TOKEN]},
        {"tenant_id": "acme", TOKEN: sealed_blob(NEW, "acme").hex()},
        {"tenant_id": 7, TOKEN: vouched("acme")[TOKEN]},
    ],
    ids=["none", "no token", "refused", "another's", "one pair more", "another key's", "a blob", "no str"],
)
def test_nothing_is_written_under_a_context_that_nobody_vouched_for(service: Service, metadata: dict[str, Any]) -> None:
    for call in (service.encrypt_blob, service.encrypt_json):
        data: Any = BLOB if call == service.encrypt_blob else {"a": 1}
        with pytest.raises(Refused, match="encryption context") as caught:
            call(data, metadata)
        assert not {"acme", "globex", "secret"} & set(str(caught.value).replace("'", " ").split())


def test_a_blob_under_an_old_key_comes_with_its_replacement(service: Service) -> None:
    plaintext, replacement = service.decrypt_blob(sealed_blob(OLD, "acme"))
    assert (plaintext, key_id(replacement), tenant_of(replacement or b"")) == (BLOB, NEW.id, "acme")
    assert service.decrypt_blob(replacement or b"") == (BLOB, None)


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        (sealed_blob(NEW, "acme").replace(b"acme", b"acmf"), "was changed"),
        (changed(sealed_blob(NEW, "acme")), "was changed"),
        (sealed_blob(Key.generate(), "acme"), "does not hold"),
        (b"never encrypted, and long enough for nonce and tag", "none of the legacy keys"),
        (Sealer(NEW).seal_bound("json", BLOB, at("json", "k"), context=NO_CONTEXT), "was changed"),
        (Sealer(NEW).seal_bound("json", BLOB, at("blob"), context=NO_CONTEXT), "is stored where"),
    ],
    ids=["other tenant", "tampered", "missing key", "plaintext", "a JSON value", "another inner type"],
)
def test_a_blob_that_is_not_ours_is_refused(service: Service, blob: bytes, error: str) -> None:
    with pytest.raises(Refused, match=error) as caught:
        service.decrypt_blob(blob)
    assert "acm" not in str(caught.value)


def test_a_blob_of_the_servers_own_aes_encryption_opens(service: Service) -> None:
    upstream = UpstreamSerializer.from_pycryptodome_aes(key=AES_KEY.encode())
    _, blob = upstream.cipher.encrypt(BLOB)
    assert service.decrypt_blob(blob) == (BLOB, None)


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_a_value_moves_between_models_and_fields(service: Service) -> None:
    data = {"owner": "alice", "ssn": "1", "nested": {"configurable": [1.5, None]}, "nothing": None}
    row = service.encrypt_json(data, vouched("acme"), "cron", "metadata")
    assert [name for name in data if is_sealed(row[name])] == ["ssn", "nested"]
    for model, field in (("run", "kwargs"), ("thread", "values"), ("assistant", "context")):
        assert service.decrypt_json(row, model, field) == (data, None)


def test_nested_configs_are_sealed_at_each_level_that_the_server_merges(service: Service) -> None:
    data: dict[str, Any] = {
        "tags": ["x"],
        "recursion_limit": 7,
        "configurable": {"api_key": "k", "thread_id": "t"},
        "metadata": {"m": 1},
    }
    if WHOLE_ROWS:  # from 0.18 on the core itself takes them apart
        inner = {name: service.encrypt_json(data[name], vouched("acme"), "run", name) for name in ("configurable", "metadata")}
        row = {**service.encrypt_json({"tags": ["x"], "recursion_limit": 7}, vouched("acme"), "run", "config"), **inner}
        for name in inner:
            assert service.decrypt_json(row[name], "run", name) == (data[name], None)
        return
    row = service.encrypt_json(data, vouched("acme"), "run", "config")
    assert is_sealed(row["tags"])
    assert is_sealed(row["configurable"]["api_key"])
    assert row["configurable"]["thread_id"] == "t"
    assert service.decrypt_json(row, "run", "config") == (data, None)


def test_an_object_comes_with_a_replacement_of_its_old_values_only(service: Service) -> None:
    new = service.encrypt_json({"a": 1, "owner": "alice"}, vouched("acme"))
    old = Sealer(OLD).seal_bound("json", b'"b"', at("json", "b"), context=NO_CONTEXT)
    text = "es1." + b64encode(old, altchars=b"-_").decode().rstrip("=")
    plaintext, replacement = service.decrypt_json({**new, "b": text, "plain": "c"})
    assert plaintext == {"a": 1, "b": "b", "owner": "alice", "plain": "c"}
    assert {name: value for name, value in replacement.items() if name != "b"} == {**new, "plain": "c"}
    assert key_id(replacement["b"]) == NEW.id
    assert service.decrypt_json(replacement) == (plaintext, None)


def test_a_row_of_the_servers_own_aes_encryption_is_read_by_the_server_itself(service: Service) -> None:
    row = {"a": aes_text({"b": [1]}), "plain": 2, MARKER: {"__langgraph_encryption_type__": "aes"}}
    assert service.decrypt_json(row) == ({"a": {"b": [1]}, "plain": 2}, None)


def test_a_row_with_values_of_both_is_refused_by_the_server_before_it_asks_us(service: Service) -> None:
    row = service.encrypt_json({"a": 1}, vouched("acme"))
    with pytest.raises(Refused, match="AES-encrypted values"):
        service.decrypt_json({**row, "b": aes_text("c")})


def aes_text(value: Any) -> str:
    upstream = UpstreamSerializer.from_pycryptodome_aes(key=AES_KEY.encode())
    return "encrypted.aes:" + b64encode(upstream.cipher.encrypt(json.dumps(value).encode())[1]).decode()
