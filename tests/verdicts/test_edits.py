"""Each edit of the table: all readers say the same of every row, and re-encryption makes nothing good."""

from __future__ import annotations

import pytest

from tests.verdicts.conftest import Attacked
from tests.verdicts.edits import EDITS
from tests.verdicts.judge import judge
from tests.verdicts.random_edits import touched
from tests.verdicts.rows import NotHere
from tests.verdicts.stores import SAVERS

CASES = [
    pytest.param(kind, edit, marks=() if kind in ("memory", "sqlite") else pytest.mark.slow)
    for kind in SAVERS
    for edit in EDITS
]


@pytest.mark.parametrize(("attacked", "edit"), CASES, indirect=["attacked"])
def test_all_readers_say_the_same(attacked: Attacked, edit: str) -> None:
    edited = attacked.rows.copy()
    try:
        EDITS[edit](edited, attacked.target)
    except NotHere:
        pytest.skip("means nothing on this saver")
    assert list(judge(attacked.store, touched(attacked.rows, edited))) == []


def test_there_are_many() -> None:
    assert len(EDITS) >= 200
