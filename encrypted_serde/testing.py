"""A pytest plugin: one fixture, `assert_sealed`, with which your own tests check that nothing was stored in plaintext.

pytest loads it by itself where this package is installed. Nothing of it is imported before a test asks for the fixture.

    def test_the_agent_stores_nothing_readable(assert_sealed, tmp_path):
        run_my_agent(tmp_path / "agent.sqlite")
        assert_sealed(tmp_path / "agent.sqlite")
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import pytest

_WORDS = {
    "plaintext": "are not encrypted",
    "legacy": "are encrypted by LangGraph's own serializer",
    "unbound": "are encrypted, but not tied to their row",
    "undecodable": "cannot be read at all",
}


class AssertSealed(Protocol):
    """The type of the fixture `assert_sealed`."""

    def __call__(self, database: str | Path, *, readable_metadata: Collection[str] = (), unbound: bool = False) -> None:
        """Fails the test unless every value in a database is sealed.

        Args:
            database: Path of a SQLite file, or URL of a Postgres, MySQL or MariaDB database.
            readable_metadata: Metadata keys, and fields of items, that your application leaves readable on purpose.
            unbound: Whether values of ``serde=EncryptedSerializer(...)``, which are not tied to a row, are accepted.

        Raises:
            AssertionError: If a value is readable, or the database holds no value at all.
        """


@pytest.fixture
def assert_sealed() -> AssertSealed:
    """A function that fails the test unless every value in a database is sealed; see `AssertSealed`."""
    return _assert_sealed


def _assert_sealed(database: str | Path, *, readable_metadata: Collection[str] = (), unbound: bool = False) -> None:
    __tracebackhide__ = True
    from .maintenance import scan

    report = scan(database, readable_metadata=readable_metadata)
    found = report.problems()
    accepted = {"unbound"} if unbound else set()
    wrong = [f"{found[name]} values {words}" for name, words in _WORDS.items() if found[name] and name not in accepted]
    places = sorted({f"{line.column}: {line.what}" for line in report.tally.lines if line.kind == "plaintext"})
    if wrong:
        pytest.fail("\n".join([f"{report.database}: {'; '.join(wrong)}", *places, "encrypted-serde scan shows more"]))
    if not sum(report.rows.values()):
        pytest.fail(f"{report.database}: there is no row, so this test shows nothing. Run your application first")
