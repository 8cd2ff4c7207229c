"""What long-term memory costs when it is sealed: `EncryptedStore` beside the store it wraps, each in a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from langgraph.store.base import BaseStore, PutOp

from encrypted_serde import EncryptedStore, Key, Sealer
from tests.store.places import any_store

from .pairs import Effort, Sample, call_sample
from .places import Places

OURS, PLAIN = "EncryptedStore", "plain store"

_KEY = Key.generate()
_BATCH = 500
_FEW = 100


def memory(number: int, words: int = 270) -> dict[str, Any]:
    """A memory of about 2 kB as JSON (of 0.3 kB with 35 words), with a topic that 20 of 100 000 share."""
    text = " ".join(f"{number * 7919 + word * 104729:x}" for word in range(words))
    return {"text": text, "topic": f"topic {number % 5000}", "number": number}


@dataclass(frozen=True)
class Work:
    """Something that is asked of a store again and again.

    Attributes:
        call: Asks it of a store.
        items: How many items the store holds.
        namespaces: How many namespaces they stand in.
        options: For `EncryptedStore`.
        words: How long its items are.
        sql: Said to both databases before the items are written.
        compression: For the `Sealer` of `EncryptedStore`.
    """

    call: Callable[[BaseStore], Any]
    items: int = _FEW
    namespaces: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    words: int = 270
    sql: str = ""
    compression: str | None = None

    def wrap(self, store: BaseStore) -> EncryptedStore:
        """Wraps a store."""
        return EncryptedStore(store, Sealer(_KEY, compression=self.compression), **self.options)

    def fill(self, store: BaseStore) -> None:
        """Puts the items."""
        for start in range(0, self.items, _BATCH):
            numbers = range(start, min(start + _BATCH, self.items))
            store.batch(
                [PutOp(_namespace(number % self.namespaces), str(number), memory(number, self.words)) for number in numbers]
            )


def _namespace(number: int) -> tuple[str, ...]:
    return ("users", str(number), "memories")


_VALUE = memory(1)

PUT = Work(lambda store: store.put(_namespace(0), "0", _VALUE))
GET = Work(lambda store: store.get(_namespace(0), "0"))
SEARCH = Work(
    lambda store: store.search(("users",), filter={"topic": "topic 4711"}),
    100_000,
    options={"searchable": ("topic",)},
    words=35,
)
SEARCH_LARGE = replace(SEARCH, words=270)
SEARCH_ZSTD = replace(SEARCH_LARGE, items=20_000, compression="zstd")
IN_ITS_ROW = "ALTER TABLE store SET (toast_tuple_target = 8160)"
PUT_IN_ITS_ROW, GET_IN_ITS_ROW = replace(PUT, sql=IN_ITS_ROW), replace(GET, sql=IN_ITS_ROW)
SEARCH_IN_ITS_ROW = replace(SEARCH_LARGE, items=20_000, sql=IN_ITS_ROW)
LIST = Work(lambda store: store.list_namespaces(limit=1000), 10_000, 1000, {"pseudonymous_names": True})


PAGED = 4000
_PAGE = 100
TENANT, NOBODY = "under a tenant", "without one"


def read_in_pages(store: BaseStore) -> int:
    """Reads a namespace page by page with ``offset=``, as deepagents lists files."""
    count = 0
    while page := store.search(_namespace(0), limit=_PAGE, offset=count):
        count += len(page)
    return count


@contextmanager
def page_samples(places: Places, effort: Effort, kind: str) -> Iterator[tuple[Sample, Sample]]:
    """Gives samples that read 4 000 items in pages: those of a tenant, and those of nobody."""
    work = Work(read_in_pages, PAGED, words=35)
    with ExitStack() as stack:
        samples = []
        for context in ({"tenant_id": "acme"}, {}):
            inner = stack.enter_context(any_store(kind, stack.enter_context(places.place(kind))))
            store = EncryptedStore(inner, _KEY, context=context or None)
            work.fill(store)
            if kind == "Postgres":
                inner.conn.execute("VACUUM ANALYZE store")
            samples.append(call_sample(lambda store=store: work.call(store), 1))
        yield samples[0], samples[1]


EXTERNAL, AS_CREATED = "SET STORAGE EXTERNAL", "as created"


@contextmanager
def external_samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
    """Gives samples that put an item of 40 kB: where Postgres is told not to compress it, and where it tries."""
    value = memory(1, 5400)
    with ExitStack() as stack:
        samples = []
        for alter in ("ALTER TABLE store ALTER COLUMN value SET STORAGE EXTERNAL", "SELECT 1"):
            inner = stack.enter_context(any_store("Postgres", stack.enter_context(places.place("Postgres"))))
            inner.conn.execute(alter)
            store = EncryptedStore(inner, _KEY)
            samples.append(call_sample(lambda store=store: store.put(_namespace(0), "0", value), effort.batch))
        yield samples[0], samples[1]


@contextmanager
def store_samples(places: Places, effort: Effort, kind: str, work: Work) -> Iterator[tuple[Sample, Sample]]:
    """Gives the samples of our store and of the plain one, both filled alike."""
    with ExitStack() as stack:
        samples = []
        for wrap in (work.wrap, lambda store: store):
            inner = stack.enter_context(any_store(kind, stack.enter_context(places.place(kind))))
            store = wrap(inner)
            if work.sql:
                inner.conn.execute(work.sql)
            work.fill(store)
            if kind == "Postgres":
                inner.conn.execute("VACUUM ANALYZE store")
            samples.append(call_sample(lambda store=store: work.call(store), effort.batch))
        yield samples[0], samples[1]
