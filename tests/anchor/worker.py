"""Processes that run a graph on a shared database with a shared anchor: at once, or until they are killed.

`tests.processes` starts them; ``ENCRYPTED_SERDE_KEY`` holds the key text.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from psycopg.rows import dict_row

from encrypted_serde import EncryptedSaver, Keyring
from encrypted_serde.anchor import PostgresAnchor, SqliteAnchor
from tests.maintenance.worker import counting_graph
from tests.saver.graphs import answer, run_until_asked

SHARED = {"configurable": {"thread_id": "shared"}}


def open_saver(kind: str, database: str, anchor: Any) -> EncryptedSaver:
    if kind == "Sqlite":
        inner: Any = SqliteSaver(sqlite3.connect(database, check_same_thread=False, timeout=60))
    else:
        inner = PostgresSaver(psycopg.connect(database, autocommit=True, prepare_threshold=0, row_factory=dict_row))
    return EncryptedSaver(inner, Keyring.from_env(), anchor=anchor)


def open_anchor(kind: str, place: str) -> Any:
    return SqliteAnchor(place) if kind == "Sqlite" else PostgresAnchor(place)


def look(saver: EncryptedSaver, config: dict[str, Any]) -> None:
    """Reads a thread in every way."""
    saver.get_tuple(config)
    for found in list(saver.list(config)):
        saver.get_tuple(found.config)
    list(saver.list({"configurable": {**config["configurable"], "checkpoint_ns": ""}}))


def run_at_once(kind: str, database: str, anchor: str, rounds: int = 2) -> None:
    """Runs on one thread while others do."""
    saver = open_saver(kind, database, open_anchor(kind, anchor))
    for _ in range(rounds):
        run_until_asked(saver, SHARED)
        answer(saver, SHARED, "yes")
        look(saver, SHARED)
        answer(saver, SHARED, "no")


def crowd(kind: str, database: str, anchor: str, rounds: str, *, deletes: bool = False) -> None:
    """Runs on two threads while another process deletes them (SQLite) or prunes them (Postgres) all the time; or does that.

    On Postgres a checkpoint shares values with its parent, and readers may meet one whose values another process just deleted.
    """
    saver, chance = open_saver(kind, database, open_anchor(kind, anchor)), random.Random(rounds)
    for _ in range(int(rounds)):
        config = {"configurable": {"thread_id": chance.choice(("shared", "other"))}}
        if not deletes:
            counting_graph(saver).invoke({"log": ["x"]}, config, durability="sync")
        elif kind == "Postgres":
            saver.prune([config["configurable"]["thread_id"]])
        else:
            saver.delete_thread(config["configurable"]["thread_id"])
        list(saver.list(config))
        saver.get_tuple(config)


def die_between(kind: str, database: str, anchor: str, times: int) -> None:
    """Has a child run a graph and die at the n-th entry, just before it or just after; then looks, and goes on."""
    for number in range(times):
        config = {"configurable": {"thread_id": f"thread-{number}"}}
        dies_after, at = bool(number % 2), number // 2 % 12

        def killed(at: int = at, dies_after: bool = dies_after, config: Any = config) -> None:
            saver = open_saver(kind, database, _Deadly(open_anchor(kind, anchor), at, dies_after))
            run_until_asked(saver, config)
            answer(saver, config, "yes")

        def goes_on(config: Any = config) -> None:
            saver = open_saver(kind, database, open_anchor(kind, anchor))
            look(saver, config)
            run_until_asked(saver, config)
            answer(saver, config, "yes")
            look(open_saver(kind, database, open_anchor(kind, anchor)), config)
            print("unanchored", saver.admitted_reads["unanchored"], flush=True)

        if _in_child(killed) != -signal.SIGKILL:
            raise SystemExit(f"child {number} did not die")
        if _in_child(goes_on):
            raise SystemExit(f"after child {number} died, its thread could not be read")


class _Deadly:
    """An anchor whose n-th call of append ends the process."""

    def __init__(self, anchor: Any, at: int, dies_after: bool) -> None:
        self.newest, self.entries, self.threads = anchor.newest, anchor.entries, anchor.threads
        self._append, self._left, self._dies_after = anchor.append, at, dies_after

    def append(self, entries: Any) -> int:
        self._left -= 1
        if self._left >= 0:
            return self._append(entries)
        if self._dies_after:
            self._append(entries)
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit("still alive")


def _in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # told by the exit status
            traceback.print_exc()
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main(command: str, *arguments: str) -> None:
    warnings.simplefilter("ignore")  # the connections of those that die stay open
    if command == "run":
        run_at_once(*arguments)
    elif command in ("crowd", "delete"):
        crowd(*arguments, deletes=command == "delete")
    else:
        die_between(*arguments[:3], int(arguments[3]))
