"""Applications and an attacker take turns, and every reader is compared with the model (rules A-1, A-2, A-3, A-4, A-5, A-6).

``python -m tests.anchor.test_attacks 300000`` makes that many attacks on SQLite.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from encrypted_serde.anchor import MemoryAnchor
from tests.anchor.world import PostgresWorld, SqliteWorld, World
from tests.postgres import temporary_database

EXAMPLES = 60
"""Lives in CI. Each takes about a tenth of a second on SQLite."""

NUMBER = st.integers(0, 15)
FUSE = st.none() | st.none() | st.integers(0, 5)
EDITS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=3)
made = {"attacks": 0, "lives": 0}


class Lives(RuleBasedStateMachine):
    """Applications, an attacker, and readers."""

    world: World

    def open(self) -> World:
        return SqliteWorld(MemoryAnchor())

    @initialize()
    def begin(self) -> None:
        self.world = self.open()
        made["lives"] += 1

    @rule(process=NUMBER, thread=NUMBER, namespace=NUMBER, parent=NUMBER, run=NUMBER, fuse=FUSE)
    def put(self, **drawn: Any) -> None:
        self.world.put(**drawn)

    @rule(process=NUMBER, thread=NUMBER, namespace=NUMBER, parent=NUMBER, run=NUMBER)
    def put_several(self, **drawn: Any) -> None:
        for _ in range(3):
            self.world.put(**drawn, fuse=None)

    @rule(process=NUMBER, thread=NUMBER, row=st.integers(0, 3), task=NUMBER, channels=NUMBER, fuse=FUSE)
    def write(self, **drawn: Any) -> None:
        self.world.write(**drawn)

    @rule(process=NUMBER, thread=NUMBER, fuse=FUSE)
    def delete_thread(self, **drawn: Any) -> None:
        self.world.delete_thread(**drawn)

    @rule(process=NUMBER, thread=NUMBER, fuse=FUSE)
    def prune(self, **drawn: Any) -> None:
        self.world.prune(**drawn)

    @rule(process=NUMBER, run=NUMBER, fuse=FUSE)
    def delete_for_runs(self, **drawn: Any) -> None:
        self.world.delete_for_runs(**drawn)

    @rule()
    def rotate(self) -> None:
        self.world.rotate()

    @rule(process=NUMBER)
    def restart(self, **drawn: Any) -> None:
        self.world.restart(**drawn)

    @rule(reader=NUMBER, thread=NUMBER, limit=NUMBER)
    def look(self, **drawn: Any) -> None:
        self.world.look(**drawn)

    @rule(edits=EDITS, reader=NUMBER, thread=NUMBER, limit=NUMBER, undoes=st.booleans() | st.just(True))
    def attack(self, edits: Any, undoes: bool, **drawn: Any) -> None:
        self.world.attack(edits)
        self._looks(**drawn)
        if undoes:
            self.world.undo()
            self._looks(**drawn)

    @rule(reader=NUMBER, thread=NUMBER, limit=NUMBER)
    def lie(self, **drawn: Any) -> None:
        self.world.lie()
        self._looks(**drawn)
        self.world.undo()

    @precondition(lambda self: not self.world.is_honest)
    @rule()
    def undo(self) -> None:
        self.world.undo()

    def _looks(self, reader: int, thread: int, limit: int) -> None:
        for number in range(3):
            self.world.look(reader + number, thread, limit)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            made["attacks"] += self.world.attacks


def _settings(examples: int, **more: Any) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=quiet, **more)


@pytest.mark.filterwarnings("ignore")
def test_nobody_sees_more_or_less_than_promised_on_sqlite():
    run_state_machine_as_test(Lives, settings=_settings(EXAMPLES))


@pytest.mark.filterwarnings("ignore")
def test_nobody_sees_more_or_less_than_promised_on_postgres(postgres_dsn):
    with temporary_database(postgres_dsn) as dsn:

        class OnPostgres(Lives):
            def open(self) -> World:
                return PostgresWorld(MemoryAnchor(), dsn)

            def teardown(self) -> None:
                super().teardown()
                if hasattr(self, "world"):
                    self.world.connection.close()

        run_state_machine_as_test(OnPostgres, settings=_settings(EXAMPLES // 6))


def main(attacks: int) -> None:
    """Runs until so many attacks were made."""
    began = time.monotonic()
    while made["attacks"] < attacks:
        run_state_machine_as_test(Lives, settings=_settings(500, database=None))
        print(f"{made['attacks']:,} attacks in {made['lives']:,} lives, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
