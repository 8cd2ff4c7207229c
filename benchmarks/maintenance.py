"""Re-encryption: how much it costs beside its own UPDATE statements, whether two workers share it, and that its memory is flat.

``python -m benchmarks ratios --only re-encrypt`` compares times. ``python -m benchmarks.maintenance`` measures peak memory, in
a process for each number of rows: 10 000 and 100 000.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from encrypted_serde import Key, Keyring
from encrypted_serde.maintenance import reencrypt
from encrypted_serde.maintenance.coder import SAVER, Coder
from encrypted_serde.maintenance.database import open_database
from tests.savers import postgres_saver, sqlite_saver

from .pairs import Effort, Sample
from .payloads import messages
from .places import Places

ROWS = 3000
"""Rows that are re-encrypted in a sample of time."""

_KEYS = (Key.generate(), Key.generate())
_PER_THREAD = 50


# --- databases full of plaintext ------------------------------------------------------------------------------------


def fill(kind: str, place: Any, rows: int) -> str:
    """Fills a new database with so many rows, of which a third are checkpoints. Gives what `reencrypt` takes for it."""
    return _fill_sqlite(place, rows) if kind == "Sqlite" else _fill_postgres(place, rows)


def _checkpoint(number: int, values: dict[str, Any]) -> dict[str, Any]:
    versions = dict.fromkeys(("question", "count", "messages"), f"{number:032}.5")
    return {
        "v": 4,
        "ts": "2026-01-01T00:00:00+00:00",
        "id": f"{number:036}",
        "channel_values": values,
        "channel_versions": versions,
        "versions_seen": {"agent": versions},
        "updated_channels": ["messages"],
    }


def _metadata(number: int) -> dict[str, Any]:
    return {"source": "loop", "step": number, "parents": {}, "user_email": "ann@example.org"}


def _key(number: int) -> tuple[str, str, str]:
    return f"thread-{number // _PER_THREAD}", "", f"{number:036}"


def _fill_sqlite(place: Any, rows: int) -> str:
    serde = JsonPlusSerializer()
    value = messages(3, size=300)
    type_tag, write = serde.dumps_typed(value)
    with sqlite_saver(place, None):
        pass
    connection = sqlite3.connect(place)
    with connection:
        for number in range(rows // 3):
            checkpoint = _checkpoint(number, {"question": "why", "count": number, "messages": value})
            connection.execute(
                "INSERT INTO checkpoints VALUES (?, ?, ?, NULL, ?, ?, ?)",
                (*_key(number), *serde.dumps_typed(checkpoint), json.dumps(_metadata(number)).encode()),
            )
            for idx in range(2):
                connection.execute(
                    "INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value) "
                    "VALUES (?, ?, ?, 'task', ?, 'messages', ?, ?)",
                    (*_key(number), idx, type_tag, write),
                )
    connection.close()
    return str(place)


def _fill_postgres(dsn: str, rows: int) -> str:
    type_tag, write = JsonPlusSerializer().dumps_typed(messages(3, size=300))
    with postgres_saver(dsn, None):
        pass
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata) FROM STDIN") as copy:
            for number in range(rows // 3):
                checkpoint = _checkpoint(number, {"question": "why", "count": number})
                copy.write_row((*_key(number), Jsonb(checkpoint), Jsonb(_metadata(number))))
        with cursor.copy("COPY checkpoint_blobs FROM STDIN") as copy:
            for number in range(rows // 3):
                copy.write_row((*_key(number)[:2], "messages", f"{number:032}.5", type_tag, write))
        with cursor.copy(
            "COPY checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob) FROM STDIN"
        ) as copy:
            for number in range(rows // 3):
                copy.write_row((*_key(number), "task", 0, "messages", type_tag, write))
    parts = conninfo_to_dict(dsn)
    return f"postgresql:///{quote(str(parts.pop('dbname')))}?{urlencode(parts)}"


# --- times ----------------------------------------------------------------------------------------------------------


def _timed(run: Any) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def rotation(kind: str, places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
    """Compares a rotation of every row, up to the scan behind it, with the same UPDATE statements writing unchanged bytes."""
    with places.place(kind) as place:
        database = fill(kind, place, ROWS)
        turns = itertools.cycle((_KEYS, _KEYS[::-1]))

        def rotate() -> float:
            new, old = next(turns)
            pages = [time.perf_counter()]
            progress = lambda _: pages.append(time.perf_counter())  # noqa: E731
            done = reencrypt(database, Keyring(primary=new, decrypt_only=[old]), progress=progress)
            if done.left or done.rewritten != ROWS:
                raise RuntimeError("not every row was rewritten")
            return pages[-1] - pages[0]

        rotate()
        yield rotate, lambda: _timed(lambda: rewrite_unchanged(database))


def rewrite_unchanged(database: str) -> None:
    """Writes every row as it is, in the pages and with the statements of a re-encryption."""
    coder = Coder(_KEYS[0], target=SAVER, cipher=None, compression=None, legacy_keys=(), context=None)
    with open_database(database, write=True) as opened:
        for table in opened.tables:
            for context in opened.pages(table, (), 100, coder, lock=True, hurried=False):
                with context as page:
                    page.store([(row, _as_stored(table, row.stored)) for row in page.rows])


def _as_stored(table: str, stored: Any) -> tuple[Any, ...]:
    if table == "writes":
        return stored[1].type_tag, stored[2]
    if table != "checkpoints":
        return stored[0].type_tag, stored[0].value
    if hasattr(stored, "packed"):
        return stored.type_tag, stored.packed, stored.metadata
    return json.dumps(stored.document["channel_values"]), json.dumps(stored.metadata)


def two_workers(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
    """Compares two processes at one Postgres database with one, from when they are ready to when both are done."""
    with places.place("Postgres") as place:
        database = fill("Postgres", place, ROWS)
        turns = itertools.cycle((_KEYS, _KEYS[::-1]))

        def rotate(number: int) -> float:
            new, old = next(turns)
            keys = {"ENCRYPTED_SERDE_KEY": new.to_text(), "ENCRYPTED_SERDE_DECRYPT_KEYS": old.to_text()}
            workers = [_start("work", database, keys) for _ in range(number)]
            for worker in workers:
                worker.stdout.readline()
            start = time.perf_counter()
            for worker in workers:
                worker.stdin.close()
            for worker in workers:
                if worker.wait():
                    raise RuntimeError("a worker failed")
                worker.stdout.close()
            return time.perf_counter() - start

        reencrypt(database, _KEYS[1])
        yield lambda: rotate(2), lambda: rotate(1)


def _start(what: str, database: str, keys: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.maintenance", what, database]
    return subprocess.Popen(command, env={**os.environ, **keys}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


rotations = {
    kind: contextmanager(lambda places, effort, kind=kind: rotation(kind, places, effort)) for kind in ("Sqlite", "Postgres")
}
workers = contextmanager(two_workers)


# --- memory, and the processes --------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Measures peak memory, or is one of the processes that are measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.maintenance")
    parser.add_argument("what", choices=["memory", "work"], nargs="?", default="memory")
    parser.add_argument("database", nargs="?")
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000])
    options = parser.parse_args(arguments)
    if options.what == "work":
        print("ready", flush=True)
        sys.stdin.read()
        start = time.perf_counter()
        done = reencrypt(options.database, Keyring.from_env())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"rewritten": done.rewritten, "left": done.left, "MiB": peak, "s": time.perf_counter() - start}))
        return int(done.failed > 0)
    with Places() as places:
        for kind in ("Sqlite", "Postgres"):
            for rows in options.rows:
                with places.place(kind) as place:
                    worker = _start("work", fill(kind, place, rows), {"ENCRYPTED_SERDE_KEY": Key.generate().to_text()})
                    output, _ = worker.communicate()
                    print(f"{kind}, {rows:,} rows: {output.splitlines()[-1]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
