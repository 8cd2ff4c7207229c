"""One database for each kind of saver, with what is edited in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests import mariadb
from tests.verdicts.edits import Target, prepare
from tests.verdicts.rows import Rows
from tests.verdicts.stores import Store, opened


class Attacked(NamedTuple):
    """A database under attack.

    Attributes:
        store: The database.
        rows: What was written there.
        target: What there is to edit.
    """

    store: Store
    rows: Rows
    target: Target


@pytest.fixture(scope="module")
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """The database of the kind that the test names."""
    if "mariadb" in request.param and not mariadb.is_there():
        pytest.skip("needs a MariaDB server")
    logging.disable(logging.CRITICAL)
    with opened(request.param, tmp_path_factory.mktemp("verdicts")) as store:
        yield Attacked(store, *prepare(store))
    logging.disable(logging.NOTSET)
