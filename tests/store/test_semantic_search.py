"""With ``readable_embeddings`` a search by meaning ranks as the plain store's, and only vectors can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from encrypted_serde import ConfigurationError, Key, encryption_context
from encrypted_serde.store import EncryptedStore
from tests.postgres import PostgresUnavailable, temporary_database, wheel_postgres

from .embedding import DIMS, WordEmbeddings
from .places import any_store, bytes_of

DOCS = ("docs",)
VALUES: dict[str, dict[str, Any]] = {
    "tea": {"text": "likes green tea in the morning", "kind": "drink", "n": 1},
    "coffee": {"text": "coffee makes her nervous", "kind": "drink", "n": 2},
    "hike": {"text": "goes hiking in the morning", "kind": "sport", "n": 3},
    "chess": {"text": "plays chess", "kind": "sport", "n": 4, "notes": ["opens with e4", "likes green boards"]},
    "quiet": {"text": "never indexed green tea", "kind": "drink", "n": 5},
}
QUERIES: list[dict[str, Any]] = [
    {"query": "green tea"},
    {"query": "morning", "limit": 2},
    {"query": "green tea morning", "limit": 2, "offset": 1},
    {"query": "likes", "filter": {"kind": "drink"}},
    {"query": "likes", "filter": {"n": {"$ne": 1}}, "limit": 3},
    {"filter": {"kind": "sport"}},
]


def config(embedder: WordEmbeddings, fields: list[str]) -> dict[str, Any]:
    return {"dims": DIMS, "embed": embedder, "fields": fields, "text_fields": fields}


@pytest.fixture(scope="module")
def vector_postgres() -> Iterator[str]:
    """DSN of a Postgres that has pgvector; the wheel brings it."""
    try:
        with wheel_postgres() as dsn:
            yield dsn
    except PostgresUnavailable as error:
        pytest.skip(f"no pgvector: {error}")


@pytest.fixture(params=["InMemory", "Sqlite", "Postgres"])
def open_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Opens an empty store with an index."""
    kind = request.param
    if kind == "Sqlite":
        sqlite3 = pytest.importorskip("sqlite3")
        if not hasattr(sqlite3.Connection, "enable_load_extension"):  # this Python's cannot load sqlite-vec
            monkeypatch.setattr("langgraph.store.sqlite.base.sqlite3", pytest.importorskip("pysqlite3.dbapi2"))

    @contextmanager
    def opened(fields: list[str], embedder: WordEmbeddings) -> Iterator[BaseStore]:
        with ExitStack() as stack:
            place: Any = ":memory:"
            if kind == "Postgres":
                place = stack.enter_context(temporary_database(request.getfixturevalue("vector_postgres")))
            yield stack.enter_context(any_store(kind, place, index=config(embedder, fields)))

    return opened


def fill(store: BaseStore) -> None:
    for key, value in VALUES.items():
        store.put(DOCS, key, value, index=False if key == "quiet" else None)


def ranked(store: BaseStore, **search: Any) -> list[tuple[str, Any]]:
    return [(item.key, item.score and pytest.approx(item.score)) for item in store.search(DOCS, **search)]


@pytest.mark.parametrize("options", [{}, {"readable": ("kind",)}, {"pseudonymous_names": True, "searchable": ("kind",)}])
@pytest.mark.parametrize("fields", [["text"], ["$"], ["text", "notes[*]"]])
def test_it_ranks_as_the_plain_store(
    open_store: Callable[..., Any], key: Key, fields: list[str], options: dict[str, Any]
) -> None:
    with open_store(fields, WordEmbeddings()) as plain, open_store(fields, WordEmbeddings()) as inner:
        ours = EncryptedStore(inner, key, readable_embeddings=True, **options)
        fill(plain)
        fill(ours)
        for search in QUERIES:
            assert ranked(ours, **search) == ranked(plain, **search), search


def test_paths_of_one_item_and_their_replacement(open_store: Callable[..., Any], key: Key) -> None:
    with open_store(["text"], WordEmbeddings()) as plain, open_store(["text"], WordEmbeddings()) as inner:
        ours = EncryptedStore(inner, key, readable_embeddings=True)
        for store in (plain, ours):
            fill(store)
            store.put(DOCS, "tea", {"a": {"b": "volcano"}, "c": ["lava", "ash"]}, index=["a.b", "c[*]"])
            store.put(DOCS, "hike", {"text": "walks on a volcano"})
        for query in ("volcano", "ash", "morning tea"):
            assert ranked(ours, query=query) == ranked(plain, query=query)


def test_the_embedder_sees_texts_and_the_database_only_vectors(open_store: Callable[..., Any], key: Key) -> None:
    embedder = WordEmbeddings()
    with open_store(["text"], embedder) as inner:
        store = EncryptedStore(inner, key, readable_embeddings=True)
        fill(store)
        assert embedder.asked == [value["text"] for key, value in VALUES.items() if key != "quiet"]
        stored = bytes_of(inner)
    for value in VALUES.values():
        assert value["text"].encode() not in stored


def test_the_inner_store_goes_on_to_embed_for_others(open_store: Callable[..., Any], key: Key) -> None:
    embedder = WordEmbeddings()
    with open_store(["text"], embedder) as inner:
        EncryptedStore(inner, key, readable_embeddings=True).put(DOCS, "tea", VALUES["tea"])
        inner.put(("plain",), "k", {"text": "plain text"})
        assert [item.key for item in inner.search(("plain",), query="plain text")] == ["k"]
        assert embedder.asked[-2:] == ["plain text", "plain text"]


def test_an_index_is_refused_unless_its_vectors_may_be_read(key: Key) -> None:
    inner = InMemoryStore(index=config(WordEmbeddings(), ["text"]))
    with pytest.raises(ConfigurationError, match="readable_embeddings"):
        EncryptedStore(inner, key)
    inner.index_config = {}
    with pytest.raises(ConfigurationError):
        EncryptedStore(inner, key, readable_embeddings=True)


def test_a_search_by_meaning_gives_the_items_of_the_tenant_alone(open_store: Callable[..., Any], key: Key) -> None:
    with open_store(["text"], WordEmbeddings()) as inner:
        store = EncryptedStore(inner, key, readable_embeddings=True)
        for tenant in ("acme", "globex"):
            with encryption_context(tenant_id=tenant):
                for number in range(6):
                    store.put(DOCS, f"{tenant}-{number}", {"text": f"green tea {number}"})
        with encryption_context(tenant_id="acme"):
            found = store.search(DOCS, query="green tea 3", limit=4)
        assert len(found) == 4
        assert found[0].key == "acme-3"
        assert {item.key.split("-")[0] for item in found} == {"acme"}


async def test_asynchronous_calls_embed_asynchronously(key: Key) -> None:
    embedder = WordEmbeddings()
    store = EncryptedStore(InMemoryStore(index=config(embedder, ["text"])), key, readable_embeddings=True)
    await asyncio.gather(*(store.aput(DOCS, name, value) for name, value in VALUES.items()))
    found = await store.asearch(DOCS, query="green tea in the morning", limit=1)
    assert [item.key for item in found] == ["tea"]


def test_a_wrapper_of_a_store_that_was_wrapped_before_embeds_once(key: Key) -> None:
    inner = InMemoryStore(index=config(embedder := WordEmbeddings(), ["text"]))
    for _ in range(3):
        store = EncryptedStore(inner, key, readable_embeddings=True)
    store.put(DOCS, "tea", VALUES["tea"])
    assert embedder.asked == [VALUES["tea"]["text"]]
