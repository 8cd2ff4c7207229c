"""Whole lives of a store, drawn from a seed and lived twice: by the plain store, and by ours. Every answer must be the same.

A life has tenants (each with a plain store of its own to compare with), odd values, deletions, expiry, searches with every
operator, offset and query, listings, batches, processes that begin anew, rotated keys, items that move in, and calls that are
cancelled. A share runs with the tests; ``python -m tests.store.lives --steps 200000`` runs as many steps as are wanted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime
import enum
import math
import random
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedStore, Key, Keyring, encryption_context
from encrypted_serde.errors import ConfigurationError
from tests.postgres import running_postgres, temporary_database

from .embedding import DIMS, WordEmbeddings
from .places import any_async_store, any_store, tell_every_write_apart

KINDS = ("InMemory", "Sqlite", "Postgres", "AsyncSqlite", "AsyncPostgres")
LENGTH = 40
"""Steps of one life."""


class Color(enum.Enum):
    """A value that JSON stores keep as text."""

    RED = "red"


@dataclasses.dataclass
class Address:
    """A value that SqliteStore keeps as an object."""

    city: str


def nested(depth: int) -> Any:
    """Returns lists inside of lists."""
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


SCALARS: list[Any] = [None, True, False, 0, 1, 2, 10, 9, -5, 2**60, 1.0, 0.5, -3.25, 1e16, 1e-7, -0.0, 1.5e300]
SCALARS += ["", "1", "10", "a", "B", "true", "é", "10abc", 'q"uote', "{}", "red", "bonn tea"]
ODD: list[Any] = [
    10**30,
    10**400,
    float("nan"),
    math.inf,
    "caf\ud83d",
    "a\0b",
    b"bytes",
    Color.RED,
    Address("Bonn"),
    uuid.UUID(int=1),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
    datetime.date(2024, 1, 2),
    {1: "a"},
    {"x": {2: "b"}},
    (1, (2,)),
    {1},
    ValueError("boom"),
    object(),
    nested(100),
    nested(252),
    nested(600),
]
FIELDS = ["kind", "user", "n", "meta"]
OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]
TEXTS = ["tea and bread", "ships at sea", "bread", "the sea", "a long walk"]
NAMESPACES = [("u", "1"), ("u", "10"), ("u", "1", "notes"), ("u", "2"), ("w",), ("é", "user%"), ("U", "1")]
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"readable": ("kind", "meta"), "searchable": ("user",)},
    {"pseudonymous_names": True},
    {"readable": ("user",), "searchable": ("kind",), "pseudonymous_names": True},
    {"searchable": ("kind", "user", "n"), "readable": ("meta",)},
)


class Difference(AssertionError):
    """The two stores answered differently."""


class Made(NamedTuple):
    """One step of a life."""

    tenant: str | None
    ops: list[Op]


class Draw:
    """Draws steps from a seed.

    Args:
        seed: Decides everything.
        kind: The kind of store: what it cannot be asked is not drawn.
    """

    def __init__(self, seed: int, kind: str) -> None:
        self.random = random.Random(seed)  # not for secrets
        self.kind = kind

    def chance(self, probability: float) -> bool:
        """Says yes so often."""
        return self.random.random() < probability

    def scalar(self) -> Any:
        """Draws a scalar."""
        return self.random.choice(SCALARS)

    def content(self) -> Any:
        """Draws what a field may hold."""
        draw = self.random.random()
        if draw < 0.7:
            return self.scalar()
        if draw < 0.85:
            return [self.scalar() for _ in range(self.random.randrange(3))]
        return {name: self.scalar() for name in self.random.sample(["x", "yy"], self.random.randrange(3))}

    def value(self) -> dict[str, Any]:
        """Draws a value; one in twelve has something odd in it."""
        value = {name: self.content() for name in self.random.sample(FIELDS, self.random.randrange(4))}
        if self.chance(0.5):
            value["text"] = self.random.choice(TEXTS)
        if self.chance(0.08):
            value[self.random.choice(FIELDS)] = self.random.choice(ODD)
        return value

    def condition(self) -> Any:
        """Draws a condition of a filter."""
        draw = self.random.random()
        if draw < 0.45:
            return self.scalar()
        if draw < 0.55:
            content = self.content()
            return content if not isinstance(content, dict) else None
        if draw < 0.95:
            return {self.random.choice(OPERATORS): self.scalar() for _ in range(self.random.choice((1, 1, 1, 2)))}
        return self.random.choice([{"$in": [1]}, {"x": 1}, {"$eq": {"x": 1}}, {"$ne": [1]}, {}])

    def filter(self) -> dict[str, Any] | None:
        """Draws a filter."""
        if self.chance(0.35):
            return None
        names = [*FIELDS, "meta.x", "bad name"]
        return {
            name: self.condition()
            for name in self.random.choices(names, weights=[4, 4, 4, 4, 1, 1], k=self.random.choice((1, 1, 2)))
        }

    def op(self, tenant: str | None) -> Op:
        """Draws one operation."""
        namespace = self.random.choice(NAMESPACES)
        key = f"{tenant or ''}{self.random.choice(['k1', 'k2', 'K1', 'a.b', '*', 'k 3'])}"
        draw = self.random.random()
        if draw < 0.4:
            ttl = self.random.choice([None, None, None, -1, 10]) if self.kind != "InMemory" else None
            index = None if self.kind == "InMemory" and self.chance(0.7) else False
            return PutOp(namespace, key, self.value(), index=index, ttl=ttl)
        if draw < 0.5:
            return PutOp(namespace, key, None)
        if draw < 0.62:
            return GetOp(namespace, key)
        if draw < 0.92:
            prefix = self.random.choice([(), namespace, namespace[:1], namespace])
            query = self.random.choice(TEXTS) if self.kind == "InMemory" and self.chance(0.25) else None
            return SearchOp(
                prefix, filter=self.filter(), limit=self.random.randrange(6), offset=self.random.randrange(4), query=query
            )
        paths = [(), namespace[:1], ("*",), namespace[-1:], ("*", "1")]
        conditions = tuple(
            MatchCondition(self.random.choice(("prefix", "suffix")), self.random.choice(paths))  # type: ignore[arg-type]
            for _ in range(self.random.randrange(3))
        )
        depth = self.random.choice([None, None, 1, 2])
        return ListNamespacesOp(conditions, depth, self.random.randrange(7), self.random.randrange(3))

    def step(self, tenants: list[str | None]) -> Made:
        """Draws one step: mostly one operation, sometimes a batch."""
        tenant = self.random.choice(tenants)
        return Made(tenant, [self.op(tenant) for _ in range(self.random.choice((1, 1, 1, 1, 2, 4)))])


class Life:
    """One life.

    Args:
        seed: Decides everything.
        kind: One of `KINDS`.
        inner: The store to wrap.
        plain: A plain store for each tenant.
    """

    draws = Draw
    all_options: tuple[dict[str, Any], ...] = OPTIONS

    def __init__(self, seed: int, kind: str, inner: BaseStore, plain: dict[str | None, BaseStore]) -> None:
        self.draw = self.draws(seed, kind)
        self.kind = kind
        self.inner = inner
        self.plain = plain
        self.options = dict(self.draw.random.choice(self.all_options))
        self.keys = Keyring(primary=Key.generate())
        self.done: list[Made] = []
        self.refused = False
        if kind == "InMemory":
            self.options["readable_embeddings"] = True
        self.store = self.begin()

    def begin(self) -> EncryptedStore:
        """Begins anew, as another process would."""
        return EncryptedStore(self.inner, self.keys, **self.options)

    async def live(self) -> int:
        """Lives, and returns how many steps that were.

        Raises:
            Difference: If an answer differs.
        """
        if None in self.plain and self.kind != "InMemory" and self.draw.chance(0.3):  # whose order is that of the first puts
            await self.move_in()
        for _ in range(LENGTH):
            draw = self.draw.random.random()
            if draw < 0.06:
                self.store = self.begin()
            elif draw < 0.09 and self.kind != "InMemory":
                self.keys = Keyring(primary=Key.generate(), decrypt_only=self.keys.search_keys({}))
                self.store = self.begin()
            elif draw < 0.12 and self.kind.startswith("Async"):
                await self.cancel()
            elif draw < 0.15 and hasattr(self.store, "sweep_ttl"):
                await self.sweep()
            else:
                await self.step(self.draw.step([*self.plain]))
                if self.kind == "InMemory" and self.refused:
                    break  # a get that was part of what failed has made a namespace, which decides about the order
        return len(self.done)

    async def move_in(self) -> None:
        """Plaintext items are there from before; the store reads them, and is then told to write each of them anew."""
        for _ in range(6):
            op = PutOp(
                self.draw.random.choice(NAMESPACES), self.draw.random.choice("abc"), {"kind": self.draw.scalar()}, index=False
            )
            for store in (self.inner, self.plain[None]):
                await ask(store, [op])
        old, self.options["allow_plaintext"] = dict(self.options), True
        self.store = self.begin()
        for _ in range(5):
            await self.step(self.draw.step([None]))
        everything = (
            await self.plain[None].asearch((), limit=10_000)
            if self.kind.startswith("Async")
            else self.plain[None].search((), limit=10_000)
        )
        for item in reversed(everything) if self.kind != "InMemory" else everything:
            await self.step(Made(None, [PutOp(item.namespace, item.key, item.value, index=False)]))
        self.options = old
        self.store = self.begin()

    async def step(self, made: Made) -> None:
        """Takes one step with both stores, and compares."""
        self.done.append(made)
        expected = await outcome(self.plain[made.tenant], made.ops)
        with context_of(made.tenant):
            found = await outcome(self.store, made.ops)
        if found != expected and not self.differs_by_design(made, expected, found):
            raise Difference(f"{self.kind} {self.options} {made}\nplain: {expected!r}\nours:  {found!r}")
        if isinstance(expected, Refused) or isinstance(found, Refused):
            self.refused = True
            await self.agree(made)

    async def agree(self, made: Made) -> None:
        """After an error: who failed halfway may have written halfway, so both get what the batch was about out of the way."""
        gone: list[Op] = [PutOp(op.namespace, op.key, None) for op in made.ops if isinstance(op, PutOp)]
        if gone:
            await ask(self.plain[made.tenant], gone)
            with context_of(made.tenant):
                await ask(self.store, gone)

    async def cancel(self) -> None:
        """Cancels a put somewhere in the middle. Either it happened, or nothing did."""
        tenant = self.draw.random.choice([*self.plain])
        op = PutOp(self.draw.random.choice(NAMESPACES), f"{tenant or ''}k1", {"kind": self.draw.random.random()}, index=False)
        with context_of(tenant):
            before = await self.store.aget(op.namespace, op.key)
            task = asyncio.ensure_future(self.store.abatch([op]))
            for _ in range(self.draw.random.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.store.abatch([GetOp(op.namespace, op.key)])  # what is in a queue runs before this
            after = await self.store.aget(op.namespace, op.key)
        values = [None if item is None else item.value for item in (before, after)]
        if values[1] not in (values[0], op.value):
            raise Difference(f"a cancelled put left {values[1]!r}")
        both: list[Op] = [op]
        await ask(self.plain[tenant], both)
        with context_of(tenant):
            await ask(self.store, both)

    async def sweep(self) -> None:
        """What has expired goes."""
        for store in [*self.plain.values(), self.store]:
            swept = store.sweep_ttl()  # type: ignore[attr-defined]
            if asyncio.iscoroutine(swept):
                await swept

    def differs_by_design(self, made: Made, expected: Any, found: Any) -> bool:
        """Says where ours need not answer as the plain store does. docs/store.md names each."""
        if isinstance(found, Refused) and found.error is not None and issubclass(found.error, ConfigurationError):
            return True if isinstance(expected, Refused) else is_beyond_limits(made.ops, self.kind)
        if isinstance(found, Refused) and isinstance(expected, Refused):
            return self.kind == "InMemory" or found.error is expected.error or any(isinstance(op, PutOp) for op in made.ops)
        if self.kind == "InMemory":  # it lists namespaces that a get only asked for, and fails where float() does
            return isinstance(expected, Refused) or any(isinstance(op, ListNamespacesOp) for op in made.ops)
        shares = len(self.plain) > 1 and not self.options.get("pseudonymous_names")
        return shares and any(isinstance(op, ListNamespacesOp) for op in made.ops)


def is_beyond_limits(ops: list[Op], kind: str) -> bool:
    """Says whether a put has what ours refuses and the plain store takes: too deep; in memory, what no serializer takes."""
    for op in ops:
        if isinstance(op, PutOp) and op.value is not None:
            for part in op.value.values():
                if kind == "InMemory" and any(part is odd for odd in ODD):
                    return True
                if isinstance(part, list) and depth_of(part) > 250:
                    return True
    return False


def depth_of(value: Any) -> int:
    """Counts lists inside of lists."""
    depth = 0
    while isinstance(value, list) and value:
        value, depth = value[0], depth + 1
    return depth


class Refused(NamedTuple):
    """An error in place of an answer."""

    error: type[BaseException] | None


async def ask(store: BaseStore, ops: list[Op]) -> list[Any]:
    """Asks a store as it wants to be asked."""
    inner = getattr(store, "inner", store)
    return await store.abatch(ops) if hasattr(inner, "_aqueue") else store.batch(ops)


async def outcome(store: BaseStore, ops: list[Op]) -> Any:
    """Returns what a store answers, in a form that can be compared."""
    try:
        return [comparable(result) for result in await ask(store, ops)]
    except Exception as error:  # noqa: BLE001  # whatever it is, both are to raise
        return Refused(type(error))


def comparable(result: Any) -> Any:
    """Makes an answer comparable: NaN equals itself, scores have a few digits, tuples are lists."""
    if isinstance(result, Item):
        score = getattr(result, "score", None)
        return result.namespace, result.key, normal(result.value), None if score is None else round(score, 6)
    return [comparable(one) for one in result] if isinstance(result, list) else result


def normal(value: Any) -> Any:
    """Makes a value comparable. The type of a number counts, True is not 1."""
    if isinstance(value, dict):
        return {(type(name).__name__, name): normal(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        depth = depth_of(value)
        return ("deep", depth) if depth > 50 else [normal(part) for part in value]
    return type(value).__name__, repr(value)


def context_of(tenant: str | None) -> Any:
    """The encryption context of a tenant; none for nobody."""
    return contextlib.nullcontext() if tenant is None else encryption_context(tenant_id=tenant)


@asynccontextmanager
async def stores(kind: str, number: int, dsn: str | None, folder: Path) -> AsyncIterator[list[BaseStore]]:
    """Opens empty stores of a kind."""
    index = {"index": {"dims": DIMS, "embed": WordEmbeddings(), "fields": ["text"]}} if kind == "InMemory" else {}
    async with AsyncExitStack() as stack:
        opened: list[BaseStore] = []
        for _ in range(number):
            if "Postgres" in kind:
                place: Any = stack.enter_context(temporary_database(str(dsn)))
            else:
                place = folder / f"{uuid.uuid4().hex}.sqlite"
            if kind.startswith("Async"):
                with any_store(kind.removeprefix("Async"), place) as plain:
                    tell_every_write_apart(plain)
                opened.append(await stack.enter_async_context(any_async_store(kind, place, ttl={"default_ttl": None})))
            else:
                options = index or {"ttl": {"default_ttl": None}}
                opened.append(stack.enter_context(any_store(kind, place, **options)))
                tell_every_write_apart(opened[-1])
        yield opened


async def clear(store: BaseStore) -> None:
    """Empties a store."""
    if isinstance(store, InMemoryStore):
        store._data.clear()
        store._vectors.clear()
        return
    done: Any = store.conn.execute("DELETE FROM store")  # type: ignore[attr-defined]
    if hasattr(done, "__await__"):
        await done
        if hasattr(store.conn, "commit") and "sqlite" in type(store).__module__:  # type: ignore[attr-defined]
            await store.conn.commit()  # type: ignore[attr-defined]


async def live_on(kind: str, seed: int, steps: int, make: Callable[[int], Awaitable[Life]]) -> int:
    """Lives one life after the other, each of the next seed, until so many steps are taken.

    Raises:
        Difference: If an answer differs. Names the seed.
    """
    taken = 0
    while taken < steps:
        life = await make(seed)
        try:
            taken += await life.live()
        except Difference as error:
            raise Difference(f"seed {seed} of {kind}: {error}") from None
        seed += 1
    return taken


async def live(kind: str, seed: int, steps: int, dsn: str | None) -> int:
    """Lives on a store of this kind; raises as `live_on`."""
    with tempfile.TemporaryDirectory() as folder:
        async with stores(kind, 3, dsn, Path(folder)) as (inner, *plain):

            async def make(seed: int) -> Life:
                for store in (inner, *plain):
                    await clear(store)
                tenants: dict[str | None, BaseStore] = {None: plain[0]} if seed % 3 == 0 else {"acme": plain[0]}
                if seed % 3 == 1 and kind != "InMemory":  # which sorts by what was put first, by whomever
                    tenants["globex"] = plain[1]
                return Life(seed, kind, inner, tenants)

            return await live_on(kind, seed, steps, make)


def main() -> None:
    """Lives as long as is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    with running_postgres() if any("Postgres" in kind for kind in kinds) else contextlib.nullcontext() as dsn:
        for kind in kinds:
            try:
                taken = asyncio.run(live(kind, arguments.seed, arguments.steps // len(kinds), dsn))
            except Difference as error:
                sys.exit(str(error))
            print(f"{kind}: {taken} steps without a difference", flush=True)


if __name__ == "__main__":
    main()
