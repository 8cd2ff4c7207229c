"""Re-encryption: how much it costs beside its own UPDATE statements, whether two workers share it, and that its memory is flat.

``python -m benchmarks ratios --only maintenance`` compares times. ``python -m benchmarks.maintenance`` measures peak memory and
rates of reencrypt, verify and scan, in a process for each and each number of rows: 10 000 and 100 000.
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
from encrypted_serde.maintenance import Report, Selection, reencrypt, scan, verify
from encrypted_serde.maintenance.json_checkpoints import JsonCheckpoints
from encrypted_serde.maintenance.opening import open_database
from encrypted_serde.maintenance.reencrypt import PAGE_ROWS
from encrypted_serde.maintenance.table import OPEN, Paging, Row, Table
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

        reencrypt(database, _KEYS[1], allow_plaintext=True)
        yield rotate, lambda: _timed(lambda: rewrite_unchanged(database))


def rewrite_unchanged(database: str) -> None:
    """Writes every row as it is, in the pages and with the statements of a re-encryption."""
    with open_database(database, write=True) as opened:
        for table in opened.tables:
            paging = Paging(table, Selection(), OPEN, size=PAGE_ROWS, lock=True)
            while not paging.finished:
                with opened.page(paging) as rows, opened.savepoint():
                    opened.store(table, [(row, _as_stored(table, row)) for row in rows])


def _as_stored(table: Table, row: Row) -> tuple[Any, ...]:
    if isinstance(table, JsonCheckpoints):
        return json.dumps(json.loads(row.cells["checkpoint"])["channel_values"]), row.cells["metadata"]
    return tuple(row.cells[name] for name in table.changed)


def verification(kind: str, places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
    """Compares verifying every row with a scan of it, which opens nothing."""
    with places.place(kind) as place:
        database = fill(kind, place, ROWS)
        reencrypt(database, _KEYS[0], allow_plaintext=True)

        def verified() -> None:
            if verify(database, _KEYS[0]).failed:
                raise RuntimeError("not every row opened")

        yield lambda: _timed(verified), lambda: _timed(lambda: scan(database))


def two_workers(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
    """Compares two processes at one Postgres database with one, from when they are ready to when both are done."""
    with places.place("Postgres") as place:
        database = fill("Postgres", place, ROWS)
        turns = itertools.cycle((_KEYS, _KEYS[::-1]))

        def rotate(number: int) -> float:
            new, old = next(turns)
            keys = {"ENCRYPTED_SERDE_KEY": new.to_text(), "ENCRYPTED_SERDE_DECRYPT_KEYS": old.to_text()}
            workers = [_start("reencrypt", database, keys) for _ in range(number)]
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

        reencrypt(database, _KEYS[1], allow_plaintext=True)
        yield lambda: rotate(2), lambda: rotate(1)


def _start(what: str, database: str, keys: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.maintenance", what, database]
    return subprocess.Popen(command, env={**os.environ, **keys}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


rotations = {
    kind: contextmanager(lambda places, effort, kind=kind: rotation(kind, places, effort)) for kind in ("Sqlite", "Postgres")
}
verifications = {
    kind: contextmanager(lambda places, effort, kind=kind: verification(kind, places, effort))
    for kind in ("Sqlite", "Postgres")
}
workers = contextmanager(two_workers)


# --- memory, and the processes --------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Measures peak memory and rates, or is one of the processes that are measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.maintenance")
    parser.add_argument("what", choices=["all", "reencrypt", "verify", "scan"], nargs="?", default="all")
    parser.add_argument("database", nargs="?")
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--kind", choices=["Sqlite", "Postgres"], nargs="*", default=["Sqlite", "Postgres"])
    options = parser.parse_args(arguments)
    if options.what != "all":
        return _work(options.what, options.database)
    keys = {"ENCRYPTED_SERDE_KEY": Key.generate().to_text()}
    with Places() as places:
        for kind, rows in itertools.product(options.kind, options.rows):
            with places.place(kind) as place:
                database = fill(kind, place, rows)
                for what in ("reencrypt", "verify", "scan"):
                    output, _ = _start(what, database, keys).communicate()
                    print(f"{kind}, {rows:,} rows, {what}: {output.splitlines()[-1]}", flush=True)
    return 0


def _work(what: str, database: str) -> int:
    print("ready", flush=True)
    sys.stdin.read()
    start, cpu = time.perf_counter(), time.process_time()
    if what == "reencrypt":
        report: Report = reencrypt(database, Keyring.from_env(), allow_plaintext=True)
    else:
        report = verify(database, Keyring.from_env()) if what == "verify" else scan(database)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    values = sum(report.tally.totals("kind").values())
    result = {
        "failed": report.failed,
        "s": round(seconds, 1),
        "cpu_s": round(cpu, 1),
        "values_per_s": int(values / seconds),
        "values_per_cpu_s": int(values / cpu),
        "MB_per_s": round(report.bytes / seconds / 1e6, 1),
        "MB_per_cpu_s": round(report.bytes / cpu / 1e6, 1),
        "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result))
    return int(report.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
