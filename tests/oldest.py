"""What the oldest releases that we ask for cannot do: `nox -s test_lowest` leaves these tests out, and names the reason."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import pytest


class Lacking(NamedTuple):
    """A release that lacks something, and the tests that need it."""

    name: str
    release: str
    reason: str
    tests: tuple[str, ...]
    """Where they are, below ``tests``: how their ids begin."""


_SQLITE = "langgraph-checkpoint-sqlite"
_OLD = (
    Lacking(
        _SQLITE,
        "3.1.0",
        "has no column task_path, which the test edits",
        (
            "anchor/test_attacks.py::test_a_life",
            "anchor/test_attacks.py::test_nobody_sees_more_or_less_than_promised_on_sqlite",
            "maintenance/test_hostile_cells.py::test_no_cell_of_sqlite_ends_a_run[writes]",
            "saver/test_delta_gaps.py::test_a_doubled_write_and_one_of_another_channel_are_refused[Sqlite",
            "saver/test_frames.py::test_no_refusal_shows_plaintext[Sqlite-doubled]",
            "saver/test_old_sends.py::test_sends_of_deleted_checkpoints_do_not_run_again[Sqlite]",
            "saver/test_refused_writes.py::test_a_doubled_write_is_refused[Sqlite]",
            "saver/test_refused_writes.py::test_reordered_writes_come_back_in_the_order_they_were_sealed_in[Sqlite-task_path]",
            "verdicts/test_edits.py::test_all_readers_say_the_same[sqlite",
            "verdicts/test_random_edits.py",
        ),
    ),
    Lacking(
        _SQLITE,
        "3.1.0",
        "takes namespaces for patterns: user% and user_ find others",
        (
            "store/test_lives.py::test_random_lives_are_answered_as_by_the_plain_store[Sqlite]",
            "store/test_lives.py::test_random_lives_are_answered_as_by_the_plain_store[AsyncSqlite]",
            "store/test_side_by_side.py::test_random_operations_are_answered_as_by_the_plain_store[Sqlite-with everything]",
        ),
    ),
    Lacking(
        "langgraph",
        "1.2.4",
        "loses a channel that a graph without it did not write, also on a plain SqliteSaver",
        ("saver/test_lost_channels.py::test_another_process_goes_on_with_the_thread[Sqlite]",),
    ),
    Lacking(
        "langgraph",
        "1.2.4",
        "refuses the second command at one checkpoint",
        ("saver/test_refused_writes.py::test_the_input_of_several_commands_at_one_checkpoint_is_kept",),
    ),
    Lacking(
        "langgraph-checkpoint",
        "4.3.0",
        "keeps the mark of an empty channel when a put fails",
        ("tenants/test_contexts.py::test_a_graph_that_was_called_without_a_tenant_writes_nothing",),
    ),
    Lacking(
        "langgraph-api",
        "0.11.4",
        "is older than the server that we describe, which brings cryptography 50 with it",
        (
            "agent_server/test_grpc.py",
            "agent_server/test_handlers.py::test_the_keys_that_the_server_never_shows_us_are_those_we_leave_alone",
            "agent_server/test_tenants_by_user.py::test_a_client_cannot_name_the_tenant_of_its_run",
        ),
    ),
    Lacking(
        "moto",
        "5.0.0",
        "does not compare the key that a ciphertext names",
        ("kms/test_services.py::test_a_wrapped_key_is_refused_under_another_key[aws]",),
    ),
)


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Returns why the test of this name (below ``tests``) cannot pass with what is installed."""
    return [
        pytest.mark.skip(reason=f"{old.name} {old.release} {old.reason}") for old in _INSTALLED if name.startswith(old.tests)
    ]


def _is_installed(old: Lacking) -> bool:
    try:
        return version(old.name) == old.release
    except PackageNotFoundError:
        return False


_INSTALLED = [old for old in _OLD if _is_installed(old)]
