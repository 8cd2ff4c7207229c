"""Tests that take seconds each, because they start servers, interpreters or crowds of processes.

The README's test command leaves them out, and `.ci/run` runs them: ``pytest -m slow``. A test that is slow for another reason
carries the marker itself.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

SLOW = (
    "agent_server/test_at_rest.py",
    "agent_server/test_erasure.py",
    "agent_server/test_example.py",
    "agent_server/test_matrix.py",
    "agent_server/test_outage.py",
    "agent_server/test_startup.py",
    "agent_server/test_tenants.py::test_a_server_whose_handlers",
    "agent_server/test_tenants.py::test_no_key_call_blocks",
    "anchor/test_crashes_and_crowds.py",
    "maintenance/test_expire.py::test_kill_9",
    "maintenance/test_interruptions.py",
    "maintenance/test_while_in_use.py",
    "saver/test_every_cell.py",
    "saver/test_nothing_runs.py::test_a_value_of_a_few_kilobytes",
    "saver/test_optimised_saver.py",
    "saver/test_other_process.py",
    "store/test_example.py",
    "tenants/test_example.py",
    "tenants/test_processes.py",
    "tenants/test_prove_erased.py::test_the_command",
    "test_docs.py::test_the_django_application",
    "test_examples.py::test_rollback",
    "test_examples.py::test_the_quickstart",
    "test_examples.py::test_the_support",
    "test_extras.py",
    "test_optimised.py",
    "test_plugin.py::test_it_passes",
    "test_strict_msgpack.py",
    "view/test_commands.py::test_view_serves",
    "view/test_values.py::test_a_value_of_too_many_parts",
    "view/test_values.py::test_lists_in_lists",
    "web/test_celery.py",
    "web/test_fastapi.py::test_the_example",
    "web/test_many_requests.py",
)
"""Where they are, below ``tests``: a module, or a module and how the name of a test begins."""

SERVERS = {"mariadb_server", "mysql_url"}
"""Fixtures that start a server which most machines do not have: their tests are slow too."""

ONE_WORKER = (
    "agent_server/test_at_rest.py",
    "agent_server/test_erasure.py",
    "agent_server/test_matrix.py",
    "agent_server/test_tenants.py",
    "agent_server/test_tenants_by_header.py",
    "agent_server/test_tenants_by_user.py",
    "agent_server/test_grpc.py",
    "view/test_browser.py",
)
"""Modules whose tests share a server: all of one module run in one process, so that it starts once."""


class OneWorkerForAServer(LoadScopeScheduling):  # type: ignore[misc]
    """Spreads tests over the workers one by one, and keeps those together that share a server.

    With pytest 9.2 the marker ``xdist_group`` of pytest-xdist 3.8 has no effect: the suffix that it adds to a name is lost.
    """

    def _split_scope(self, nodeid: str) -> str:
        if "[mariadb" in nodeid or "[shallow-mariadb" in nodeid:
            return "mariadb"
        if nodeid.startswith("tests/verdicts/") and "postgres-" in nodeid:  # one database for the whole table of edits
            return nodeid.partition("[")[2].partition("postgres-")[0] + "postgres"
        return next((module for module in ONE_WORKER if nodeid.startswith(f"tests/{module}::")), nodeid)
