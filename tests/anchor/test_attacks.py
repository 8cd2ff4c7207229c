"""Applications and an attacker take turns, and every reader is compared with the model (rules A-1, A-2, A-3, A-4, A-5).

`tests/anchor/attacks.py` makes as many attacks as are asked for.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from encrypted_serde.anchor import MemoryAnchor
from tests.anchor.attacks import LIVES, STEPS, live
from tests.anchor.world import PostgresWorld, SqliteWorld, World
from tests.postgres import temporary_database

EXAMPLES = 50
"""The share of CI: lives on SQLite. On Postgres there are a sixth as many."""

NUMBER = st.integers(0, 15)
KINDS = {
    "number": NUMBER,
    "fuse": st.none() | st.none() | st.integers(0, 5),
    "edits": st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=3),
    "undoes": st.booleans() | st.just(True),
}


class Lives(RuleBasedStateMachine):
    """Applications, operators, an attacker, and readers."""

    world: World

    def open(self) -> World:
        return SqliteWorld(MemoryAnchor())

    @initialize()
    def begin(self) -> None:
        self.world = self.open()

    @rule(step=st.sampled_from([*STEPS]), data=st.data())
    def act(self, step: str, data: Any) -> None:
        self.world.act(step, **{name: data.draw(KINDS[kind], name) for name, kind in STEPS[step].items()})

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()


def _settings(examples: int) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=quiet)


@pytest.mark.filterwarnings("ignore")
def test_nobody_sees_more_or_less_than_promised_on_sqlite():
    run_state_machine_as_test(Lives, settings=_settings(EXAMPLES))


@pytest.mark.filterwarnings("ignore")
def test_nobody_sees_more_or_less_than_promised_on_postgres(postgres_dsn):
    with temporary_database(postgres_dsn) as dsn:

        class OnPostgres(Lives):
            def open(self) -> World:
                return PostgresWorld(MemoryAnchor(), dsn)

        run_state_machine_as_test(OnPostgres, settings=_settings(EXAMPLES // 6))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LIVES)
def test_a_life_in_which_something_was_wrong_once(name):
    live(SqliteWorld(MemoryAnchor()), LIVES[name])
