"""Somebody edits the raw cells: what is read afterwards is what was written, less at most what deleting takes away.

Every record a saver stored is taken apart (`tests.coverage.layers`), so one pass serves all savers. After each edit everything
is read by a new saver, and the database is put back as it was.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import ormsgpack

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, Key
from tests.coverage.graph_steps import call, gather
from tests.coverage.layers import REMOVED, SEALED, SEALED_TEXT, Leaf, leaves
from tests.coverage.row import Place, Row
from tests.saver.graphs import whole_graph

REFUSED, LISTED, UNCHANGED, ACCEPTED = "refused", "listed", "unchanged", "accepted"
"""An error of ours or of the saver · as if something were deleted · the same is read · something else is read."""

_LABELS = ("msgpack", "bytes", "json", "null")
_SPECIAL = frozenset({"__interrupt__", "__resume__", "__error__", "__scheduled__"})
_THREADS = ("one", "two")
_NAMESPACES = [(thread, namespace) for thread in _THREADS for namespace in ("", "child")]
_FORGED = {"log": ["forged"], "question": "forged"}

Records = dict[Hashable, Any]
Edit = dict[Hashable, Any]


class Seen(NamedTuple):
    """One checkpoint as a reader sees it, comparable.

    Attributes:
        content: Checkpoint and metadata.
        parent: Id of the parent.
        writes: The pending writes, by task.
    """

    content: str
    parent: str | None
    writes: dict[str, list[tuple[str, str]]]


class Reader:
    """Reads everything through wrapped savers, opened anew each time.

    Attributes:
        lists: Whether the saver lists what can be verified. One lists rows without their content, and those are refused.
    """

    def __init__(self, row: Row, place: Place, mode: str, key: Key) -> None:
        self._row, self._place, self._mode, self._key = row, place, mode, key
        self.lists = True

    async def find_out(self) -> None:
        try:
            await self.read()
        except EncryptedSerdeError:
            self.lists = False

    async def read(self) -> dict[Any, Seen]:
        """Gives each checkpoint by where it was asked for and where it says that it stands."""
        found: dict[Any, Seen] = {}
        async with self._row.open(self._place.where, None) as inner:
            saver = EncryptedSaver(inner, self._key)
            for thread, namespace in _NAMESPACES:
                config = {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
                newest = await call(saver, "get_tuple", self._mode, config)
                listed = await gather(saver, "list", self._mode, config) if self.lists else []
                for way, tuple_ in [*([("newest", newest)] if newest else []), *(("listed", each) for each in listed)]:
                    at = tuple_.config["configurable"]
                    found[way, thread, namespace, at["thread_id"], at["checkpoint_ns"], at["checkpoint_id"]] = _seen(tuple_)
        return found


async def outcomes(row: Row, place: Place, mode: str) -> dict[str, dict[str, int]]:
    """Fills a database through a wrapped saver, and counts for each kind of edit what came of it."""
    key = Key.generate()
    async with row.open(place.where, None) as inner:
        saver = EncryptedSaver(inner, key)
        for thread in _THREADS:
            config = {"configurable": {"thread_id": thread}}
            await call(whole_graph(saver), "invoke", mode, {"question": f"why {thread}", "log": []}, config)
    stored = place.dump()
    reader = Reader(row, place, mode, key)
    await reader.find_out()
    original = await reader.read()
    counts: dict[str, dict[str, int]] = {}
    for kind, edits in _KINDS.items():
        counted: Counter[str] = Counter()
        for edit in _sample(list(edits(stored)), row.edits):
            if _applied(edit, place):
                counted[await _outcome(reader, original)] += 1
            for address in edit:
                place.set(address, stored.get(address))
        counts[kind] = dict(counted)
    if await reader.read() != original:
        raise RuntimeError("the database was not put back as it was")
    return counts


def _sample(edits: list[Edit], most: int) -> list[Edit]:
    return edits if len(edits) <= most else random.Random(1).sample(edits, most)  # the same on every run


def _applied(edit: Edit, place: Place) -> bool:
    try:
        for address, record in edit.items():
            place.set(address, record)
    except Exception:  # noqa: BLE001  # the database itself does not take it, each with an error of its own
        return False
    return True


async def _outcome(reader: Reader, original: dict[Any, Seen]) -> str:
    try:
        found = await reader.read()
    except EncryptedSerdeError:
        return REFUSED
    except Exception:  # noqa: BLE001  # a saver that stumbles over its own row has let nothing through either
        return REFUSED
    if found == original:
        return UNCHANGED
    written = {at[1:]: seen for at, seen in original.items()}
    return LISTED if all(_is_less(seen, written.get(at[1:])) for at, seen in found.items()) else ACCEPTED


def _is_less(found: Seen, original: Seen | None) -> bool:
    """Says whether deletions, and a parent that prune took away, explain all that is different."""
    if original is None or found.content != original.content or found.parent not in (None, original.parent):
        return False
    for task, writes in found.writes.items():
        before = original.writes.get(task, [])
        ordinary = [[write for write in each if write[0] not in _SPECIAL] for each in (writes, before)]
        if ordinary[0] not in ([], ordinary[1]) or any(write not in before for write in writes):
            return False
    return True


def _seen(tuple_: Any) -> Seen:
    writes: dict[str, list[tuple[str, str]]] = {}
    for task, channel, value in tuple_.pending_writes or ():
        writes.setdefault(task, []).append((channel, repr(value)))
    parent = tuple_.parent_config["configurable"]["checkpoint_id"] if tuple_.parent_config else None
    checkpoint = dict(sorted(tuple_.checkpoint.items()))
    return Seen(repr((_ordered(checkpoint), _ordered(tuple_.metadata))), parent, writes)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return value


# --- edits: each gives the records that change


def _sealed(stored: Records) -> list[tuple[Hashable, Leaf]]:
    return [(address, leaf) for address, record in stored.items() for leaf in leaves(record) if leaf.is_sealed]


def _swaps(stored: Records) -> Iterator[Edit]:
    """Two sealed values of one form change places, from record to record."""
    sealed = _sealed(stored)
    for form in (bytes, str):
        alike = [(address, leaf) for address, leaf in sealed if isinstance(leaf.value, form)]
        random.Random(2).shuffle(alike)
        for (address, leaf), (other_address, other) in pairwise(alike):
            if address != other_address and leaf.value != other.value:
                yield {address: leaf.put(other.value), other_address: other.put(leaf.value)}


def _relabelled(stored: Records) -> Iterator[Edit]:
    """The type that stands beside a value, or inside a sealed one, becomes another."""
    for address, record in stored.items():
        for leaf in leaves(record):
            if leaf.value in _LABELS:
                for label in ("msgpack", "bytes", "json", "pickle"):
                    if label != leaf.value:
                        yield {address: leaf.put(label)}
    for address, leaf in _sealed(stored):
        if isinstance(leaf.value, bytes):
            size = int.from_bytes(leaf.value[len(SEALED) : len(SEALED) + 2], "big")
            start = len(SEALED) + 2
            _, _, cipher = leaf.value[start : start + size].partition(b"+")
            tag = b"bytes+" + cipher
            yield {address: leaf.put(SEALED + len(tag).to_bytes(2, "big") + tag + leaf.value[start + size :])}


def _plaintexts(stored: Records) -> Iterator[Edit]:
    """Plaintext takes the place of a sealed value."""
    for address, leaf in _sealed(stored):
        if isinstance(leaf.value, str):
            yield {address: leaf.put("forged")}
        else:
            yield {address: leaf.put(ormsgpack.packb(_FORGED))}
            yield {address: leaf.put(b"forged")}


def _cut(stored: Records) -> Iterator[Edit]:
    """One character or byte of a sealed value becomes another."""
    for address, leaf in _sealed(stored):
        half = max(len(leaf.value) // 2, len(SEALED_TEXT))
        if isinstance(leaf.value, str):
            other = "A" if leaf.value[half] != "A" else "B"
            yield {address: leaf.put(leaf.value[:half] + other + leaf.value[half + 1 :])}
        else:
            yield {address: leaf.put(leaf.value[:half] + bytes([leaf.value[half] ^ 1]) + leaf.value[half + 1 :])}


def _deleted(stored: Records) -> Iterator[Edit]:
    """One record, or one sealed value within a record, is taken away."""
    for address in stored:
        yield {address: None}
    for address, leaf in _sealed(stored):
        try:
            rest = leaf.put(REMOVED)
        except TypeError:
            continue  # an encoding is wrapped around nothing but this value
        if rest is not REMOVED:
            yield {address: rest}


_KINDS: dict[str, Callable[[Records], Iterator[Edit]]] = {
    "swapped": _swaps,
    "relabelled": _relabelled,
    "plaintext": _plaintexts,
    "one bit changed": _cut,
    "one deleted": _deleted,
}
