"""One database for each kind of saver, with what is edited in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import NamedTuple

import pytest

from tests import mariadb
from tests.verdicts.edits.table import Target
from tests.verdicts.prepared import prepare
from tests.verdicts.rows import Rows
from tests.verdicts.stores import Store, no_pauses, opened


class Attacked(NamedTuple):
    """A database under attack.

    Attributes:
        kind: Its kind.
        store: The database.
        rows: What was written there.
        target: What there is to edit.
    """

    kind: str
    store: Store
    rows: Rows
    target: Target


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Attacked]]:
    """Opens the database of a kind, and returns the same one from then on."""
    with ExitStack() as stack:

        @cache
        def database(kind: str) -> Attacked:
            store = stack.enter_context(opened(kind, tmp_path_factory.mktemp("verdicts")))
            return Attacked(kind, store, *prepare(store))

        yield database


@pytest.fixture
def attacked(request: pytest.FixtureRequest, databases: Callable[[str], Attacked]) -> Iterator[Attacked]:
    """The database of the kind that the test names."""
    if "mariadb" in request.param and not mariadb.is_there():
        pytest.skip("needs a MariaDB server")
    logging.disable(logging.CRITICAL)
    with no_pauses():
        yield databases(request.param)
    logging.disable(logging.NOTSET)
