"""RedisStore, whose filters were not measured: nothing readable, nothing movable, answers as `BaseStore` documents them.

Needs the extra ``test-redis`` (see tests/coverage/servers/redis.py); without it these tests say so and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.store.base import BaseStore, GetOp, Item, PutOp, SearchOp

from encrypted_serde import Key
from encrypted_serde.errors import AuthenticationFailed, PlaintextRefused
from encrypted_serde.store import EncryptedStore
from tests.coverage.row import Unavailable
from tests.coverage.servers.redis import RedisPlace, client, server_with_modules

from .lives_elsewhere import live
from .test_leaks import NAMES, SECRETS, found_in, plant

redis_store = pytest.importorskip("langgraph.store.redis", reason='pip install "encrypted-serde[test-redis]"')

NAMESPACE = ("memories",)
ITEMS: dict[str, dict[str, Any]] = {
    "one": {"kind": "fact", "city": "Bonn", "n": 1},
    "two": {"kind": "fact", "city": "Ulm", "n": 2},
    "three": {"kind": "wish", "city": "Bonn", "n": 3},
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"pseudonymous_names": True},
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    try:
        with server_with_modules() as found:
            yield found
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def inner(url: str) -> Iterator[BaseStore]:
    with client(url) as connection:
        connection.flushall()
    with redis_store.RedisStore.from_conn_string(url) as store:
        store.setup()
        yield store


@pytest.fixture
def place(url: str) -> Iterator[RedisPlace]:
    with client(url) as connection:
        yield RedisPlace(url, connection)


def answers(store: BaseStore) -> list[Any]:
    for key, value in ITEMS.items():
        store.put(NAMESPACE, key, value)
    store.put((*NAMESPACE, "deeper"), "four", {"city": "Bonn"})
    store.put(NAMESPACE, "two", ITEMS["two"] | {"n": 22})
    store.delete(NAMESPACE, "three")
    asked = [
        [store.get(NAMESPACE, "one"), store.get(NAMESPACE, "two"), store.get(NAMESPACE, "three"), store.get(("none",), "one")],
        store.search(NAMESPACE),
        store.search(NAMESPACE, filter={"city": "Bonn"}),
        store.search(NAMESPACE, filter={"city": "Bonn", "kind": "fact"}),
        store.search((*NAMESPACE, "deeper")),
        store.search(("none",)),
        *store.batch([PutOp(NAMESPACE, "five", {"n": 5}), SearchOp(NAMESPACE, filter={"n": 22}), GetOp(NAMESPACE, "one")])[1:2],
        store.search(NAMESPACE, limit=10, offset=10),
    ]
    named = [store.list_namespaces(), store.list_namespaces(prefix=NAMESPACE, max_depth=1)]
    return [*([_told(item) for item in found] for found in asked), *(sorted(found) for found in named)]


def _told(item: Item | None) -> Any:
    return item and (tuple(item.namespace), item.key, item.value)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_store_on_redis_answers_as_the_plain_one(inner: BaseStore, url: str, key: Key, options: dict[str, Any]) -> None:
    expected = answers(inner)
    with client(url) as connection:
        for stored in connection.scan_iter("store:*"):
            connection.delete(stored)
    found = answers(EncryptedStore(inner, key, **options))
    assert [sorted(one, key=repr) for one in found] == [sorted(one, key=repr) for one in expected]  # it has no order


@pytest.mark.parametrize("options", OPTIONS)
def test_conditions_that_redis_does_not_know_are_compared_after_opening(
    inner: BaseStore, key: Key, options: dict[str, Any]
) -> None:
    ours = EncryptedStore(inner, key, **options)
    for name, content in ITEMS.items():
        ours.put(NAMESPACE, name, content)
    assert {item.key for item in ours.search(NAMESPACE, filter={"n": {"$gt": 1}})} == {"two", "three"}
    assert {item.key for item in ours.search(NAMESPACE, filter={"city": {"$ne": "Bonn"}})} == {"two"}
    assert {item.key for item in ours.search(NAMESPACE, filter={"kind": {"$ne": "fact"}, "n": {"$lte": 3}})} == {"three"}


async def test_random_lives_on_redis_are_answered_as_by_memory() -> None:
    assert await live("Redis", seed=1, steps=200) > 0


@pytest.mark.parametrize(("options", "readable"), [({}, NAMES), ({"pseudonymous_names": True}, [])])
def test_redis_shows_no_value(
    inner: BaseStore, place: RedisPlace, key: Key, options: dict[str, Any], readable: list[str]
) -> None:
    plant(EncryptedStore(inner, key, **options))
    stored = repr(place.dump()).replace("\\\\", "").encode()  # it escapes what stands in a name
    assert found_in(stored, SECRETS) == []
    assert found_in(stored, [name for name in NAMES if "-" in name]) == readable


@pytest.mark.parametrize(("value", "error"), [("moved", AuthenticationFailed), ("plaintext", PlaintextRefused)])
def test_what_was_moved_or_written_without_a_key_on_redis_is_refused(
    inner: BaseStore, place: RedisPlace, key: Key, value: str, error: type[Exception]
) -> None:
    ours = EncryptedStore(inner, key)
    for name, content in ITEMS.items():
        ours.put(NAMESPACE, name, content)
    rows = {row["json"]["key"]: (address, row) for address, row in place.dump().items() if "json" in row}
    address, row = rows["one"]
    row["json"]["value"] = rows["two"][1]["json"]["value"] if value == "moved" else {"city": "Bonn"}
    place.set(address, row)
    assert ours.get(NAMESPACE, "two") is not None
    with pytest.raises(error):
        ours.get(NAMESPACE, "one")
    with pytest.raises(error):
        ours.search(NAMESPACE)
