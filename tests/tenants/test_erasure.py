"""The record of an erasure."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from encrypted_serde.tenants.keyring import TenantKeyring
from tests.tenants.services import CountingWrapper

ACME = {"tenant_id": "acme-9183", "region": "eu"}


def test_the_record_says_what_was_destroyed_and_not_whose_it_was(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    ids = {keyring.encryption_key(ACME).id, keyring.rotate(ACME)}
    before = datetime.now(timezone.utc)
    record = keyring.erase(ACME)
    assert set(record.key_ids) == set(record.tombstones) == ids
    assert (record.context_names, record.generation, record.wrappers) == (("region", "tenant_id"), 2, (wrapper.name,))
    assert before <= record.time <= datetime.now(timezone.utc)
    assert record.time.utcoffset() == timedelta(0)
    written = json.loads(json.dumps(record.as_dict()))
    assert set(written["key_ids"]) == {key_id.hex() for key_id in ids}
    assert "acme-9183" not in repr(record) + json.dumps(written)


def test_a_second_erasure_knows_the_keys_of_the_first(keyring: TenantKeyring) -> None:
    old = keyring.encryption_key(ACME).id
    keyring.erase(ACME)
    new = keyring.encryption_key(ACME).id
    record = keyring.erase(ACME)
    assert record.key_ids == (new,)
    assert set(record.tombstones) == {old, new}
    assert record.generation == 2
