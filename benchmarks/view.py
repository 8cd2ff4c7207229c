"""``python -m benchmarks.view``: how long the pages of `encrypted-serde view` take in a database of many threads.

Each thread has two checkpoints, sealed by `EncryptedSaver` for one thread and copied under other names by SQL; the newest are
authentic, and what is shown of them is verified. The last thread has a long history of its own.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from time import perf_counter
from typing import Any

import psycopg
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from psycopg.rows import dict_row

from encrypted_serde import EncryptedSaver, Key
from encrypted_serde.view import Search, open_view

from .places import Places

_COLUMNS = "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
_AUTHENTIC = 60


def main(arguments: list[str] | None = None) -> int:
    """Fills databases and prints a line for each page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.view", description=__doc__)
    parser.add_argument("--threads", type=int, default=100_000)
    parser.add_argument("--checkpoints", type=int, default=10_000, help="of the thread with a long history")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    key = Key.generate()
    with Places() as places:
        for kind in ("SqliteSaver", "PostgresSaver"):
            with places.place(kind) as place:
                (_fill_postgres if "Postgres" in kind else _fill_sqlite)(place, key, options.threads, options.checkpoints)
                for name, seconds in _pages(place, key, options.rounds).items():
                    print(f"{kind:<14} {name:<44} {seconds * 1000:8.1f} ms")
    return 0


def _fill_sqlite(place: Any, key: Key, threads: int, checkpoints: int) -> None:
    with closing(sqlite3.connect(place, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.setup()
        _put(EncryptedSaver(saver, key), "seed", 2)
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        copied = (
            f"INSERT INTO checkpoints (thread_id, {_COLUMNS}) {numbers} SELECT 'thread-' || i, {_COLUMNS} FROM n, checkpoints"
        )
        connection.execute(copied, (threads,))
        connection.commit()
        _put_authentic(EncryptedSaver(saver, key), checkpoints)


def _fill_postgres(place: Any, key: Key, threads: int, checkpoints: int) -> None:
    with psycopg.connect(place, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
        saver = PostgresSaver(connection)
        saver.setup()
        _put(EncryptedSaver(saver, key), "seed", 2)
        numbers = "generate_series(1, %s) AS n(i), checkpoints"
        copied = f"INSERT INTO checkpoints (thread_id, {_COLUMNS}) SELECT 'thread-' || i, {_COLUMNS} FROM {numbers}"
        connection.execute(copied, (threads,))
        _put_authentic(EncryptedSaver(saver, key), checkpoints)
        connection.execute("VACUUM ANALYZE")  # as autovacuum does within minutes


def _put_authentic(saver: EncryptedSaver, checkpoints: int) -> None:
    for number in range(_AUTHENTIC):
        _put(saver, f"authentic-{number}", 2)
    _put(saver, "long", checkpoints)


def _put(saver: EncryptedSaver, thread: str, checkpoints: int) -> None:
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    for step in range(checkpoints):
        versions = {"messages": f"{step + 1:032}.1"}
        values = {"messages": ["what was said"] * 20}
        checkpoint: Any = {**empty_checkpoint(), "id": str(uuid6()), "channel_values": values, "channel_versions": versions}
        config = saver.put(config, checkpoint, {"source": "loop", "step": step, "parents": {}}, versions)


def _pages(place: Any, key: Key, rounds: int) -> dict[str, float]:
    with open_view(str(place), key) as view:
        first = view.threads()
        thread = view.thread("long")
        looks: dict[str, Callable[[], Any]] = {
            f"threads, first page ({first.total:,} threads)": view.threads,
            "threads, second page": lambda: view.threads(after=first.after),
            "threads, search by a part of the id": lambda: view.threads(Search("authentic-5")),
            f"history, first page ({len(thread.spots):,} checkpoints)": lambda: view.thread("long").page(),
            "history, from the middle": lambda: view.thread("long").page(len(thread.spots) // 2),
            "a checkpoint": thread.latest,
        }
        return {name: statistics.median(_seconds(look) for _ in range(rounds)) for name, look in looks.items()}


def _seconds(look: Callable[[], Any]) -> float:
    start = perf_counter()
    look()
    return perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
