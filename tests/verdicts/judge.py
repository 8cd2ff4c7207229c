"""The one assertion: all readers say the same of a row, and re-encryption makes nothing good.

What is compared, and what is not, on purpose:

* ``raw``: an inner saver may fail over a row before the wrapper sees it. Then every reader refuses it, in whatever class.
* The fast way to a delta channel's history authenticates each write and not the chain (docs/saver.md): it may accept where
  rows were refused, and must accept where none was.
* `verify` also says that a parent is missing from the middle of a thread; a saver that is asked for one row cannot.
* Rows that belong to no checkpoint are read by maintenance alone.
* A task whose writes are not complete counts as not run; the history of a delta channel cannot do without them, and is refused.
* Going back to plaintext leaves what nobody sealed: a checkpoint without a manifest, and plaintext that belongs to no sealed
  one. It also leaves, and reports, an incomplete set of writes and one at another position.
* Of two things wrong with a row each reader names the one it comes to first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from encrypted_serde import EncryptedSerializer
from tests.verdicts import readers
from tests.verdicts.readers import Failed, Readings, Verdict, key_of
from tests.verdicts.rows import Place, Rows, place_of
from tests.verdicts.stores import Store

ROTATE = "reencrypt"
LEAVING = ("plaintext", "serde")
BLOCKED = ("Blocked", "Unconvertible")
"""What re-encryption says of a row that belongs to one that it refuses, or that a plain saver would take otherwise."""

NO_MANIFEST = "EncryptedSaver did not write it"
NOT_COMPLETE = "writes of a task are missing"
CUT = "Incomplete"
"""What `verify` says where a parent is missing from the middle of a thread."""


def judge(store: Store, edited: Rows, *, ways: tuple[str, ...] = ("copy", "scan", "rotate", "plaintext")) -> Iterator[str]:
    """Reads the edited rows in every way, and says where two readers differ.

    Args:
        store: Where they are read. What was in it is replaced.
        edited: The rows.
        ways: Which of the expensive ways to go.
    """
    store.store(edited)
    seen = readers.read(store, edited)
    failed = Failed({}) if store.address is None else readers.verified(store)
    yield from _saver(edited, seen, failed)
    if "copy" in ways and store.home.copies:
        copies = readers.copied(store, edited)
        yield from _threads("copy_thread", edited, seen, copies)
        store.store(edited)
    if store.address is None:
        return
    yield from _verify(edited, seen, failed)
    if "scan" in ways:
        readers.scanned(store)
    if "rotate" in ways:
        yield from _rotate(store, edited, seen, failed)
        store.store(edited)
    for target in LEAVING:
        if target in ways:
            yield from _left(store, edited, seen, failed, target)
            store.store(edited)


def _saver(edited: Rows, seen: Readings, failed: Failed) -> Iterator[str]:
    for place, one in seen.one.items():
        if not _same(one, seen.listed[place]):
            yield f"get_tuple and list of {place}: {_says(one)}, {_says(seen.listed[place])}"
    for space, newest in seen.newest.items():
        place = max(place for place in seen.one if place[:2] == space)
        if newest.refused != seen.one[place].refused:
            yield f"the newest of {space}: {_says(newest)}, by its id {_says(seen.one[place])}"
    yield from _threads("list", edited, seen, seen.threads)
    for place, slow in seen.verified.items():
        yield from _history(edited, seen, failed, place, slow)


def _history(edited: Rows, seen: Readings, failed: Failed, place: Place, slow: Verdict) -> Iterator[str]:
    fast = seen.fast.get(place, slow)
    rows = _classes(seen, lambda other: other[:2] == place[:2])
    classes = rows | {failed.rows[key][0] for key in _in_namespace(edited, place) if key in failed.rows}
    for way, found in (("delta history", fast), ("verified delta history", slow)):
        is_known = found.refused in classes or rows or found.said.startswith(NOT_COMPLETE)
        if found.refused and not is_known:
            yield f"{way} of {place}: {_says(found)}, the rows of its namespace {classes or 'accepted'}"
    if not rows and not fast.refused and not slow.refused and fast.found != slow.found:
        yield f"delta history of {place}: {fast.found!r:.200}, verified {slow.found!r:.200}"
    if seen.one[place].refused and not slow.refused:
        yield f"verified delta history of {place} accepted, get_tuple {_says(seen.one[place])}"


def _in_namespace(edited: Rows, place: Place) -> Iterator[Any]:
    for table, rows in edited.tables.items():
        yield from (key_of(table, row) for row in rows if (row["thread_id"], row["checkpoint_ns"]) == place[:2])


def _threads(reader: str, edited: Rows, seen: Readings, threads: dict[str, Verdict]) -> Iterator[str]:
    for thread, whole in threads.items():
        classes = _classes(seen, lambda place, t=thread: place.thread_id == t)
        rows = sum(row["thread_id"] == thread for row in edited.checkpoints)
        if whole.refused and rows > sum(place.thread_id == thread for place in seen.one):
            continue  # over a row that has an id that nobody can ask for
        if bool(whole.refused) != bool(classes) or (whole.refused and whole.refused not in classes):
            yield f"{reader} of thread {thread!r}: {_says(whole)}, its rows {classes or 'accepted'}"


def _classes(seen: Readings, wanted: Any) -> set[str]:
    return {one.refused for place, one in seen.one.items() if one.refused and wanted(place)}


def _verify(edited: Rows, seen: Readings, failed: Failed) -> Iterator[str]:
    for place, one in seen.one.items():
        found = dict(failed.rows[key] for key in _belonging(edited, place) if key in failed.rows)
        if _is_cut(edited, place):
            found.pop(CUT, None)
        if bool(found) != bool(one.refused) or (one.refused not in ("", "raw") and one.refused not in found):
            yield f"verify of {place}: {found or 'accepted'}, get_tuple {_says(one)}"


def _belonging(edited: Rows, place: Place) -> Iterator[Any]:
    """Returns the keys of all rows that a saver reads for a checkpoint."""
    row = edited.at(place)
    yield key_of("checkpoints", row)
    yield from (key_of("writes", write) for write in edited.writes if place_of(write) == place)
    found = row["document"].get("channel_versions") if isinstance(row["document"], dict) else None
    versions = found if isinstance(found, dict) else {}
    for value in edited.values or ():
        is_named = value["channel"] in versions and versions[value["channel"]] == value["version"]
        if is_named and (value["thread_id"], value["checkpoint_ns"]) == place[:2]:
            yield key_of("values", value)


def _is_cut(edited: Rows, place: Place) -> bool:
    parent = edited.at(place)["parent_checkpoint_id"]
    return bool(parent) and not any(place_of(row) == place._replace(checkpoint_id=parent) for row in edited.checkpoints)


# --- re-encryption


def _rotate(store: Store, edited: Rows, seen: Readings, failed: Failed) -> Iterator[str]:
    done = readers.rotated(store)
    yield from _untouched(ROTATE, store, edited, failed, done)
    after = readers.one_by_one(store.saver(rotated=True), edited)
    for place, before in seen.one.items():
        reported = any(key in done.rows for key in _belonging(edited, place))
        if bool(before.refused) != bool(after[place].refused) or (before.found != after[place].found and not reported):
            yield f"{place} before reencrypt: {_says(before)}, afterwards {_says(after[place])}"


def _left(store: Store, edited: Rows, seen: Readings, failed: Failed, target: str) -> Iterator[str]:
    done = readers.left(store, target)
    yield from _untouched(f"reencrypt to {target}", store, edited, failed, done)
    after = readers.one_by_one(store.home.inner(EncryptedSerializer(store.key) if target == "serde" else None), edited)
    for place, before in seen.one.items():
        # A shallow saver that is not wrapped reads the sends among all writes of a namespace.
        keys = (_in_namespace if store.home.is_shallow else _belonging)(edited, place)
        if not before.refused and not any(key in done.rows for key in keys):
            found = after[place]
            if found.found != before.found:
                yield f"{place} before reencrypt to {target}: {before.found!r:.300}, afterwards {found!r:.300}"


def _untouched(command: str, store: Store, edited: Rows, failed: Failed, done: Failed) -> Iterator[str]:
    """Every row that `verify` refuses is refused in the same class, and left as it was.

    Going back to plaintext may name it with the checkpoint that it belongs to, and leaves what nobody sealed.
    """
    sealed = [row for row in edited.checkpoints if _is_sealed(edited, row, failed)]
    covered = {key for row in sealed for key in _belonging(edited, place_of(row))}
    reported = {key for row in sealed if key_of("checkpoints", row) in done.rows for key in _belonging(edited, place_of(row))}
    for key, (error, reason) in failed.rows.items():
        said = done.rows.get(key, ("",))[0]
        is_same = said == error or (command != ROTATE and said in BLOCKED)
        is_left = command != ROTATE and (key in reported or (error == "PlaintextRefused" and key not in covered))
        if error != CUT and not is_same and not is_left:
            yield f"{command} of {key}: {done.rows.get(key, 'accepted')}, verify {error}: {reason}"
    before, after = _by_key(edited), _by_key(store.load())
    for key in before.keys() | after.keys():
        changed = repr(before.get(key)) != repr(after.get(key))
        if changed and (key in done.rows or failed.rows.get(key, (CUT,))[0] != CUT):
            yield f"{command} changed {key}, which verify refuses: {failed.rows.get(key)}, {done.rows.get(key)}"


def _is_sealed(edited: Rows, row: Any, failed: Failed) -> bool:
    has_key = edited.values is not None or not isinstance(row["metadata"], dict) or "es1" in row["metadata"]
    return has_key and NO_MANIFEST not in failed.rows.get(key_of("checkpoints", row), ("", ""))[1]


def _by_key(found: Rows) -> dict[Any, Any]:
    return {key_of(table, row): _comparable(row) for table, rows in found.tables.items() for row in rows}


def _comparable(row: Any) -> Any:
    if isinstance(row, dict):
        return {str(name): _comparable(row[name]) for name in sorted(row, key=str)}
    if isinstance(row, (list, tuple)):
        return [_comparable(part) for part in row]
    return row


def _same(one: Verdict, other: Verdict) -> bool:
    return one.refused == other.refused and one.found == other.found


def _says(one: Verdict) -> str:
    return f"{one.refused} ({one.said[:160]})" if one.refused else "accepted"
