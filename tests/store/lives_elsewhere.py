"""Whole lives, as in `lives`, of stores whose comparisons nobody measured: RedisStore, DynamoDBStore.

Ours answers there as `BaseStore` documents it, so it is compared with `InMemoryStore`, order aside. What those two stores
cannot do is not drawn: a `get` in a namespace of several labels on Redis, a search below a namespace on DynamoDB.
``python -m tests.store.lives_elsewhere --steps 4000`` needs the extra ``test-redis``, or ``test-savers``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from tests.coverage.servers import aws, redis

from . import lives
from .lives import Difference, Draw, Life, Made, live_on

EVERYTHING = 1000


@contextmanager
def redis_store() -> Iterator[tuple[BaseStore, Callable[[], Any]]]:
    """Opens a RedisStore, and what empties it."""
    from langgraph.store.redis import RedisStore

    with redis.server_with_modules() as url, RedisStore.from_conn_string(url) as store, redis.client(url) as client:
        store.setup()

        def clear() -> None:
            if found := [*client.scan_iter("store:*")]:
                client.delete(*found)

        yield store, clear


@contextmanager
def dynamodb_store() -> Iterator[tuple[BaseStore, Callable[[], Any]]]:
    """Opens a DynamoDBStore, and what empties it."""
    from langgraph_checkpoint_aws import DynamoDBStore

    with aws.server(), DynamoDBStore.from_table_name("memories") as store:
        store.setup()

        def clear() -> None:
            for row in store.client.scan(TableName="memories")["Items"]:
                store.client.delete_item(TableName="memories", Key={"PK": row["PK"], "SK": row["SK"]})

        yield store, clear


KINDS = {"Redis": redis_store, "DynamoDB": dynamodb_store}


class Elsewhere(Draw):
    """Draws what both stores can be asked."""

    def op(self, tenant: str | None) -> Op:
        """Draws one operation."""
        op = super().op(tenant)
        if isinstance(op, PutOp):
            return op._replace(namespace=self._namespace(op.namespace), key=self._key(op.key), index=False, ttl=None)
        if isinstance(op, GetOp):
            return op._replace(namespace=self._namespace(op.namespace), key=self._key(op.key))
        if isinstance(op, SearchOp):
            prefix = self._namespace(op.namespace_prefix or ("u",))
            return op._replace(namespace_prefix=prefix, query=None, limit=EVERYTHING if self.chance(0.5) else op.limit + 1)
        return op

    def _namespace(self, namespace: tuple[str, ...]) -> tuple[str, ...]:
        if self.kind != "Redis":
            return namespace
        return ("at" + "".join(namespace).replace("%", "").replace("U", "v"),)  # it finds no prefix of one letter

    def _key(self, key: str) -> str:
        return key.replace("K1", "k9") if self.kind == "Redis" else key  # it does not tell K1 from k1


class LifeElsewhere(Life):
    """A life beside `InMemoryStore`."""

    draws = Elsewhere
    all_options = ({}, {"pseudonymous_names": True})

    async def move_in(self) -> None:
        """Items move in, but not on DynamoDB, which takes no floats."""
        if self.kind != "DynamoDB":
            await super().move_in()

    async def sweep(self) -> None:
        """Nothing expires."""

    async def step(self, made: Made) -> None:
        """Takes one step with both stores, one operation after the other, and compares."""
        self.done.append(made)
        for op in made.ops:
            if isinstance(op, ListNamespacesOp):
                continue
            whole = op._replace(limit=EVERYTHING, offset=0) if isinstance(op, SearchOp) else op
            expected = await lives.outcome(self.plain[made.tenant], [whole])
            with lives.context_of(made.tenant):
                found = await lives.outcome(self.store, [op])
            if isinstance(found, lives.Refused) and lives.is_beyond_limits([op], "InMemory"):
                await self.agree(Made(made.tenant, [op]))
            elif isinstance(expected, lives.Refused):  # memory compares with float(), which fails for some values
                continue
            elif isinstance(found, lives.Refused) or not same(op, self.among(op, expected[0]), found[0]):
                raise Difference(f"{self.options} {op}\nmemory: {expected!r}\nours: {found!r}")

    def among(self, op: Op, expected: Any) -> Any:
        """Leaves out what DynamoDBStore does not look for: items below a namespace."""
        if self.kind != "DynamoDB" or not isinstance(op, SearchOp):
            return expected
        return [one for one in expected if one[0] == op.namespace_prefix]


def same(op: Op, expected: Any, found: Any) -> bool:
    """Says whether an answer is one that memory could have given in another order."""
    if not isinstance(op, SearchOp):
        return bool(expected == found)
    count = min(op.limit, max(0, len(expected) - op.offset))
    known = {*map(repr, expected)}
    return len(found) == count == len({*map(repr, found)}) and all(repr(one) in known for one in found)


async def live(kind: str, seed: int, steps: int) -> int:
    """Lives until so many steps are taken; raises as `live_on`."""
    with ExitStack() as stack:
        inner, clear = stack.enter_context(KINDS[kind]())

        async def make(seed: int) -> Life:
            clear()
            tenants: list[str | None] = [None] if seed % 3 == 0 else ["acme", "globex"]
            return LifeElsewhere(seed, kind, inner, {tenant: InMemoryStore() for tenant in tenants})

        return await live_on(kind, seed, steps, make)


def main() -> None:
    """Lives as long as is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=[*KINDS], required=True)
    arguments = parser.parse_args()
    try:
        print(f"{asyncio.run(live(arguments.kind, arguments.seed, arguments.steps))} steps without a difference")
    except Difference as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
