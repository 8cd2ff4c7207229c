"""Each edit of the table: all readers say the same of every row, and re-encryption makes nothing good."""

from __future__ import annotations

import pytest

from tests.verdicts.conftest import Attacked
from tests.verdicts.edits import EDITS
from tests.verdicts.judge import judge
from tests.verdicts.random_edits import touched
from tests.verdicts.rows import NotHere
from tests.verdicts.stores import SAVERS

BY_SAVER = [name if name in ("memory", "sqlite") else pytest.param(name, marks=pytest.mark.slow) for name in SAVERS]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("attacked", BY_SAVER, indirect=True)  # alone: beside values it would be made for each
def test_all_readers_say_the_same(attacked: Attacked, edit: str) -> None:
    edited = attacked.rows.copy()
    try:
        EDITS[edit](edited, attacked.target)
    except NotHere:
        pytest.skip("means nothing on this saver")
    assert list(judge(attacked.store, touched(attacked.rows, edited))) == []


def test_there_are_many() -> None:
    assert len(EDITS) >= 200
