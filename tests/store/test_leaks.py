"""Nothing that was planted is found in the database: values, and with pseudonyms names."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.store.base import BaseStore

from encrypted_serde import Key
from encrypted_serde.store import EncryptedStore

from .places import bytes_of

SECRETS = [f"S3CRET-{number}" for number in range(8)]
NAMES = ["L4BEL-a", "L4BEL-b", "K3Y-c"]


def plant(store: BaseStore) -> None:
    text, nested, name, number, listed, bytes_, searched, old = SECRETS
    store.put((NAMES[0], NAMES[1]), NAMES[2], {"text": old})
    value: dict[str, Any] = {"text": text, "nested": {"deep": [nested]}, name: 1, "list": [listed], "city": searched}
    value |= {"number": int(number.removeprefix("S3CRET-")) + 987654321000, "bytes": bytes_}
    store.put((NAMES[0], NAMES[1]), NAMES[2], value)
    store.search((NAMES[0],), filter={"city": searched})
    store.search((NAMES[0],), filter={"text": text})
    store.list_namespaces(prefix=(NAMES[0],))


def found_in(stored: bytes, planted: list[str]) -> list[str]:
    return [secret for secret in planted if secret.encode() in stored or secret.encode().hex().encode() in stored]


def test_the_scan_finds_what_a_plain_store_leaks(inner: BaseStore) -> None:
    plant(inner)
    assert len(found_in(bytes_of(inner), SECRETS[:1] + SECRETS[4:7])) == 4
    assert found_in(bytes_of(inner), NAMES) == NAMES


@pytest.mark.parametrize("options", [{}, {"searchable": ("city",)}])
def test_no_value_leaks(inner: BaseStore, key: Key, options: dict[str, Any]) -> None:
    plant(EncryptedStore(inner, key, **options))
    stored = bytes_of(inner)
    assert found_in(stored, [*SECRETS, "987654321003"]) == []
    assert found_in(stored, NAMES) == NAMES


@pytest.mark.parametrize("options", [{}, {"searchable": ("city",)}])
def test_with_pseudonyms_no_name_leaks_either(inner: BaseStore, key: Key, options: dict[str, Any]) -> None:
    plant(EncryptedStore(inner, key, pseudonymous_names=True, **options))
    assert found_in(bytes_of(inner), [*SECRETS, *NAMES]) == []


def test_what_is_made_readable_is_all_that_can_be_read(inner: BaseStore, key: Key) -> None:
    plant(EncryptedStore(inner, key, readable=("text",)))
    assert found_in(bytes_of(inner), SECRETS) == [SECRETS[0]]
