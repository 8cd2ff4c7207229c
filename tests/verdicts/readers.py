"""Every way to read a row, and what each says of it: what it returned, or the class of its refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from encrypted_serde import EncryptedSerdeError, Keyring
from encrypted_serde.maintenance import Report, reencrypt, scan, verify
from tests.lives.seen import normal, rows
from tests.verdicts.rows import PLACE, Place, Row, Rows, place_of
from tests.verdicts.stores import OPTIONS, Store

DELTA = "items"
COPY = "copy of it"


class Verdict(NamedTuple):
    """What a reader says of one row.

    Attributes:
        refused: Class of the refusal; empty if there is none. Errors that are not ours, which an inner saver raises of
            itself before the wrapper sees the row, are all ``raw``.
        found: What was read.
        said: The message, for whoever looks for the cause.
    """

    refused: str
    found: Any = None
    said: str = ""


def verdict(read: Callable[[], Any]) -> Verdict:
    try:
        return Verdict("", normal(read(), {}))
    except EncryptedSerdeError as error:
        return Verdict(type(error).__name__, None, str(error))
    except Exception as error:  # noqa: BLE001  # of the inner saver
        return Verdict("raw", None, f"{type(error).__name__}: {error}")


class Readings(NamedTuple):
    """What the saver says.

    Attributes:
        newest: Of the newest row of each thread and namespace.
        one: Of each row, by ``get_tuple``.
        listed: Of each row, by ``list`` with its id.
        threads: Of each thread, by ``list``.
        fast, verified: Of the history of the delta channel at each row.
    """

    newest: dict[tuple[str, str], Verdict]
    one: dict[Place, Verdict]
    listed: dict[Place, Verdict]
    threads: dict[str, Verdict]
    fast: dict[Place, Verdict]
    verified: dict[Place, Verdict]


def places_of(found: Rows) -> list[Place]:
    """Returns the places of all rows whose keys are what a saver can ask for: an empty id asks for the newest."""
    places = [Place(*(row[name] for name in PLACE)) for row in found.checkpoints]
    return sorted({place for place in places if all(isinstance(part, str) for part in place) and place.checkpoint_id})


def one_by_one(saver: Any, found: Rows) -> dict[Place, Verdict]:
    """Reads every row by its id."""
    return {place: verdict(lambda p=place: rows([saver.get_tuple(p.config)])) for place in places_of(found)}


def read(store: Store, found: Rows) -> Readings:
    """Reads every row in every way that a saver has, with a saver newly opened."""
    places = places_of(found)
    saver, slow = store.saver(), store.saver(verify_delta_history=True)
    spaces = sorted({place[:2] for place in places})
    walked = [] if store.loops_for_ever and _goes_round(found) else places
    return Readings(
        {space: verdict(lambda s=space: rows([saver.get_tuple(_config(*s))])) for space in spaces},
        one_by_one(saver, found),
        {place: verdict(lambda p=place: rows(list(saver.list(_listed(store, p))))) for place in places},
        {
            name: verdict(lambda t=name: rows(list(saver.list(_config(t)))))
            for name in sorted({place.thread_id for place in places})
        },
        {place: verdict(lambda p=place: _history(saver, p)) for place in walked},
        {place: verdict(lambda p=place: _history(slow, p)) for place in places},
    )


def _listed(store: Store, place: Place) -> dict[str, Any]:
    return _config(*place[:2]) if store.home.is_shallow else place.config


def _goes_round(found: Rows) -> bool:
    """Says whether a checkpoint is its own ancestor."""
    parents = {place_of(row): place_of(row)._replace(checkpoint_id=row["parent_checkpoint_id"]) for row in found.checkpoints}
    for start in parents:
        place = parents.get(start)
        for _ in parents:
            if place == start:
                return True
            place = parents.get(place) if place else None
    return False


def copied(store: Store, found: Rows) -> dict[str, Verdict]:
    """Copies each thread, and reads the copies. The copies are left there."""
    saver = store.saver()

    def copy(thread: str) -> Any:
        saver.copy_thread(thread, f"{COPY} {thread}")
        return [_elsewhere(row, thread) for row in rows(list(saver.list(_config(f"{COPY} {thread}"))))]

    return {thread: verdict(lambda t=thread: copy(t)) for thread in sorted({place.thread_id for place in places_of(found)})}


def _elsewhere(row: Any, thread: str) -> Any:
    return {**row, "where": (thread, *row["where"][1:])}


def _config(thread: str, space: str | None = None) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, **({} if space is None else {"checkpoint_ns": space})}}


def _history(saver: Any, place: Place) -> Any:
    found = saver.get_delta_channel_history(config=place.config, channels=[DELTA])[DELTA]
    return [write[1:] for write in found["writes"]], found.get("seed", "no seed")


# --- maintenance


class Failed(NamedTuple):
    """What a command says of the rows that failed: class and reason of each, by table and key."""

    rows: dict[tuple[str, tuple[Any, ...]], tuple[str, str]]
    left: int = 0


KEYS = {
    "checkpoints": PLACE,
    "writes": (*PLACE, "task_id", "idx"),
    "values": ("thread_id", "checkpoint_ns", "channel", "version"),
}


def key_of(table: str, row: Row) -> tuple[str, tuple[Any, ...]]:
    """Returns what `Failed.rows` calls a row."""
    return table, tuple(_told(row[name]) for name in KEYS[table])


def _told(part: Any) -> Any:
    return part if isinstance(part, (str, int)) or part is None else repr(part)


def _failed(store: Store, report: Report) -> Failed:
    tables = {name: table for table, name in store.names.items()}
    found = {}
    for failure in report.failures:
        table = tables[failure.table]
        found[_key(store, table, failure.row)] = (failure.error, failure.reason)
    return Failed(found, getattr(report, "left", 0))


def _key(store: Store, table: str, row: Row) -> tuple[str, tuple[Any, ...]]:
    """Returns what `key_of` returns for a row, also where some of its columns are no columns of the table."""
    if row.keys() >= set(KEYS[table]):
        return key_of(table, row)
    [found] = [one for one in store.stored.tables[table] if all(one[name] == value for name, value in row.items())]
    return key_of(table, found)


def verified(store: Store) -> Failed:
    return _failed(store, verify(store.address, store.key))  # type: ignore[arg-type]


def scanned(store: Store) -> None:
    scan(store.address)  # type: ignore[arg-type]


def rotated(store: Store) -> Failed:
    """Re-encrypts to another key."""
    keys = Keyring(primary=store.new, decrypt_only=[store.key])
    return _failed(store, reencrypt(store.address, keys, **OPTIONS))  # type: ignore[arg-type]


def left(store: Store, target: str) -> Failed:
    """Goes back to plaintext, or to a saver with a serializer alone."""
    return _failed(store, reencrypt(store.address, store.key, **OPTIONS, target=target))  # type: ignore[arg-type]
