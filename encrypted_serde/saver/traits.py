"""What is known of the savers that are wrapped. A saver that is not listed here gets the cautious treatment.

Two traits are found by looking at the saver, without touching its database: whether it prunes, and whether it asks its
serializer for JSON. The others cannot be: they show only in what a row is like when it comes back.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver

from ..wrapping import json_gate
from .filters import CONTAINMENT, EQUALITY, JSON_PATH, Semantics


class Traits(NamedTuple):
    """How a saver treats what it is handed. Hand it to `EncryptedSaver` for a saver of your own that is not known here.

    The defaults suit every saver that gives back what it was given. A trait that a saver has and that is not declared makes
    its rows be refused, never accepted unverified; one that is declared and that it has not weakens what its attribute says.

    Attributes:
        asks_serde: It gets the bytes of every value from its ``serde``, when it stores it. Values may be handed over
            unsealed then, to be sealed when asked for. Otherwise they are sealed beforehand.
        inlines_scalars: It stores str, int, float and bool channels in JSON, beside the checkpoint. They are handed over as
            sealed text then, so that they stay where they were and none is lost.
        is_shallow: It keeps one checkpoint per thread and namespace, with no parent. Whatever id was asked for, it gives that
            one; that a parent is missing is accepted.
        gathers_sends: It puts the sends among a parent's writes into ``pending_sends`` of every checkpoint that it reads,
            whatever its format. In format 4, where they have no meaning, they are left out.
        mixes_writes: It gives the writes of other checkpoints of the thread along. Those are left out.
        stores_all_values: It stores the value of every channel with every checkpoint. False for a saver that stores one value
            per channel and version, and returns those that the versions of a checkpoint name: there a value that was not
            sealed may be from before the checkpoint, and one that the manifest does not list is held to its version alone.
        newest_first: ``list`` gives rows in descending order of their checkpoint id, whatever thread and namespace.
        filters: What ``list(filter=)`` means.
        prunes: It has ``prune``, which may leave a checkpoint without its parent. Found by itself.
        settles_slots: Of two writes to one slot it is known which stays: the first of ordinary ones; the newest of special
            ones in a call that has no others.
        reuses_versions: It keeps one value per channel and version, and counts versions as whole numbers, so that a fork
            overwrites values of the branch it left. Versions get random low bits then.
        text_versions: It stores channel versions as text, whatever they were.
        added_keys: Keys that it adds to checkpoints. They are dropped; somebody who can write rows may write anything there.
        lists_all: Asked for the checkpoints of the root namespace it lists those of every namespace of the thread.
        lists_stubs: It lists checkpoints without their content. Each is fetched by itself then.
        root_name: What it calls the root namespace in what it lists.
        asks_json: It asks its serializer for JSON, as langgraph-checkpoint-redis does. Every channel value is handed over as
            sealed text then. Found by itself.
    """

    asks_serde: bool = False
    inlines_scalars: bool = True
    is_shallow: bool = False
    gathers_sends: bool = False
    mixes_writes: bool = False
    stores_all_values: bool = True
    newest_first: bool = False
    filters: Semantics = EQUALITY
    prunes: bool = False
    settles_slots: bool = False
    reuses_versions: bool = False
    text_versions: bool = False
    added_keys: frozenset[str] = frozenset()
    lists_all: bool = False
    lists_stubs: bool = False
    root_name: str = ""
    asks_json: bool = False


_BY_VERSION = Traits(stores_all_values=False)
_MEMORY = _BY_VERSION._replace(asks_serde=True, inlines_scalars=False, settles_slots=True)
_SQLITE = _MEMORY._replace(stores_all_values=True, newest_first=True, filters=JSON_PATH)
_POSTGRES = _BY_VERSION._replace(asks_serde=True, newest_first=True, filters=CONTAINMENT, settles_slots=True)
_SHALLOW = _BY_VERSION._replace(
    asks_serde=True, inlines_scalars=False, is_shallow=True, gathers_sends=True, filters=CONTAINMENT
)
_MYSQL = _BY_VERSION._replace(filters=CONTAINMENT)
_REDIS = Traits(gathers_sends=True, text_versions=True, added_keys=frozenset({"type"}), lists_all=True, asks_json=True)
_SHALLOW_REDIS = _REDIS._replace(is_shallow=True, mixes_writes=True, root_name="__empty__")
_PLAIN_REDIS = _BY_VERSION._replace(inlines_scalars=False, reuses_versions=True)

_KNOWN = {
    "langgraph.checkpoint.memory.InMemorySaver": _MEMORY,
    "langgraph.checkpoint.sqlite.SqliteSaver": _SQLITE,
    "langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver": _SQLITE,
    "langgraph.checkpoint.postgres.PostgresSaver": _POSTGRES,
    "langgraph.checkpoint.postgres.aio.AsyncPostgresSaver": _POSTGRES,
    "langgraph.checkpoint.postgres.shallow.ShallowPostgresSaver": _SHALLOW,
    "langgraph.checkpoint.postgres.shallow.AsyncShallowPostgresSaver": _SHALLOW,
    "langgraph.checkpoint.mysql.base.BaseMySQLSaver": _MYSQL,
    "langgraph.checkpoint.mysql.shallow.BaseShallowSyncMySQLSaver": _SHALLOW,
    "langgraph.checkpoint.mysql.shallow.BaseShallowAsyncMySQLSaver": _SHALLOW,
    "langgraph.checkpoint.redis.base.BaseRedisSaver": _REDIS,
    "langgraph.checkpoint.redis.shallow.ShallowRedisSaver": _SHALLOW_REDIS,
    "langgraph.checkpoint.redis.ashallow.AsyncShallowRedisSaver": _SHALLOW_REDIS._replace(lists_stubs=True),
    "langgraph_checkpoint_plainredis.saver.RedisSaver": _PLAIN_REDIS,
    "langgraph_checkpoint_plainredis.saver.AsyncRedisSaver": _PLAIN_REDIS,
}


def traits_of(saver: BaseCheckpointSaver[Any]) -> Traits:
    """Finds the traits of a saver by its class, or by the nearest known class it inherits from; its database is not touched."""
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(saver).__mro__)
    known = next((_KNOWN[name] for name in names if name in _KNOWN), Traits())
    return with_probed(known, saver)


def with_probed(traits: Traits, saver: BaseCheckpointSaver[Any]) -> Traits:
    """Adds the traits that show on the saver itself."""
    return traits._replace(
        prunes=traits.prunes or overrides(type(saver), "prune") or overrides(type(saver), "aprune"),
        asks_json=traits.asks_json or json_gate.is_needed_by(saver.serde),
    )


def overrides(cls: type[Any], name: str) -> bool:
    """Says whether a saver's class has a method of its own, as LangGraph and Agent Server find it out."""
    return getattr(cls, name, None) is not getattr(BaseCheckpointSaver, name, None)


_RANDOM_BITS = 24


def next_of_its_own(current: int | None) -> int:
    """Returns a greater version that no other branch of the thread will draw: a whole number with 24 random low bits.

    Versions that were counted one by one come before it. It stays below 2^53 for 2^29 steps.
    """
    return (((current or 0) >> _RANDOM_BITS) + 1 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
