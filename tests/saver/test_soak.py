"""Two processes and sixteen threads on one Postgres for a minute. Not part of the default run: ``pytest -m soak``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from encrypted_serde import EncryptedSaver, Key
from tests.saver.graphs import whole_graph
from tests.savers import postgres_saver

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("SOAK_SECONDS", "60"))
THREADS = 8  # in each of the two processes

_WORKER = """
import json, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from encrypted_serde import EncryptedSaver, Key
from tests.saver.graphs import answer, run_until_asked, whole_graph

dsn, key, process, threads, seconds = sys.argv[1:]
key, threads, end = Key.from_text(key), int(threads), time.monotonic() + float(seconds)
options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}

def work(number):
    done = []
    while time.monotonic() < end:
        # Every other thread of the graph is begun by one of our threads and gone on with by the next.
        name = f"{process}-{number}-{len(done)}"
        config = {"configurable": {"thread_id": name}}
        run_until_asked(saver, config, name)
        answer(saver, config, f"first of {name}")
        final = answer(saver, config, f"second of {name}")
        assert final["answer"] == f"first of {name}, second of {name}", final
        shared = {"configurable": {"thread_id": f"shared-{number}"}}
        whole_graph(saver).update_state(shared, {"question": name, "log": [name]}, as_node="finish")
        done.append(name)
    return done

with ConnectionPool(dsn, min_size=2, max_size=10, kwargs=options) as pool, ThreadPoolExecutor(threads) as executor:
    saver = EncryptedSaver(PostgresSaver(pool), key)
    print(json.dumps([name for names in executor.map(work, range(threads)) for name in names]))
"""


@pytest.mark.soak
def test_two_processes_and_sixteen_threads_lose_nothing(postgres_database):
    key = Key.generate()
    with postgres_saver(postgres_database, None) as inner:
        command = [sys.executable, "-c", _WORKER, postgres_database, key.to_text()]
        workers = [
            subprocess.Popen([*command, name, str(THREADS), str(SECONDS)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for name in ("left", "right")
        ]
        answers = [worker.communicate(timeout=SECONDS + 120)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        done = [name for text in answers for name in json.loads(text)]
        saver = EncryptedSaver(inner, key)
        graph = whole_graph(saver)
        for name in done:
            state = graph.get_state({"configurable": {"thread_id": name}})
            assert (state.values["answer"], state.values["question"], state.next) == (
                f"first of {name}, second of {name}",
                name,
                (),
            )
            assert state.values["log"].count("answered") == 1
        rows = sum(1 for _ in saver.list(None))
        assert rows > 5 * len(done)
        assert len(done) >= 16
        print(f"{len(done)} threads of a graph, {rows} checkpoints")
