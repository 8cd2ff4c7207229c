"""Other processes for the tests: ``reencrypt``, ``expire`` or ``write``, and a place. Keys come from the environment.

* ``reencrypt`` goes in small pages and prints a line after each; with ``--file-size`` no file may grow beyond so many bytes.
* ``expire`` prints a line after each thread.
* ``write`` runs a graph on eight threads at once, a few times each, and prints a line after each turn.
"""

from __future__ import annotations

import argparse
import logging
import operator
import resource
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Annotated, Any, TypedDict

import psycopg
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, Keyring
from encrypted_serde.maintenance import expire, reencrypt

WRITERS = 8
TURNS = 5


class State(TypedDict):
    log: Annotated[list, operator.add]
    last: str


def counting_graph(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("one", lambda state: {"log": [len(state["log"])], "last": f"after {len(state['log'])}"})
    builder.add_node("two", lambda state: {"log": [len(state["log"])]})
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    builder.add_edge("two", END)
    return builder.compile(checkpointer=saver)


def config_of(writer: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": f"writer-{writer}", "user_email": f"{writer}@example.org"}}


@contextmanager
def patient_saver(place: str) -> Iterator[BaseCheckpointSaver]:
    """Opens a saver that waits for other writers."""
    if place.startswith("postgresql:"):
        with psycopg.connect(place, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
            yield PostgresSaver(connection)
    else:
        with closing(sqlite3.connect(place, check_same_thread=False, timeout=60)) as connection:
            yield SqliteSaver(connection)


def write(place: str, writer: int) -> None:
    """Takes turns on one thread, as the application does while its switches are on."""
    with patient_saver(place) as plain:
        graph = counting_graph(EncryptedSaver(plain, Keyring.from_env(), allow_plaintext=True, allow_unbound=True))
        for turn in range(TURNS):
            graph.invoke({"log": [f"turn {turn}"]}, config_of(writer))
            print(f"{writer}/{turn}", flush=True)


def main(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["reencrypt", "expire", "write"])
    parser.add_argument("place")
    parser.add_argument("--file-size", type=int)
    parser.add_argument("--older-than", type=datetime.fromisoformat)
    parser.add_argument("--keep-latest", action="store_true")
    options = parser.parse_args([argument for argument in arguments if argument])
    if options.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_size, options.file_size))
    # What a switch lets through is logged, as it should be; anything else on stderr is a failure.
    logging.getLogger("encrypted_serde").setLevel(logging.ERROR)
    if options.what == "write":
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda writer: write(options.place, writer), range(WRITERS)))
        return 0
    if options.what == "expire":
        expire(
            options.place,
            options.older_than,
            keep_latest=options.keep_latest,
            progress=lambda progress: print(progress.rows, flush=True),
        )
        return 0
    sys.modules[reencrypt.__module__].PAGE_ROWS = 3
    try:
        done = reencrypt(
            options.place,
            Keyring.from_env(),
            allow_plaintext=True,
            allow_unbound=True,
            progress=lambda progress: print(progress.rows, flush=True),
        )
    except EncryptedSerdeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 3 if done.left else 0
