"""Each edit of the table: all readers say the same of every row, and re-encryption makes nothing good."""

from __future__ import annotations

import pytest

from tests.verdicts.conftest import Attacked
from tests.verdicts.edits import EDITS
from tests.verdicts.judge import judge
from tests.verdicts.known import KNOWN, fault
from tests.verdicts.rows import NotHere
from tests.verdicts.stores import SAVERS


def _cases() -> list[object]:
    marks = {"memory": [], "sqlite": []}
    found = []
    for kind in SAVERS:
        for edit in EDITS:
            known = fault(kind, edit)
            expected = [pytest.mark.xfail(strict=True, raises=AssertionError, reason=known)] if known else []
            found.append(pytest.param(kind, edit, marks=[*marks.get(kind, [pytest.mark.slow]), *expected]))
    return found


@pytest.mark.parametrize(("attacked", "edit"), _cases(), indirect=["attacked"])
def test_all_readers_say_the_same(attacked: Attacked, edit: str) -> None:
    edited = attacked.rows.copy()
    try:
        EDITS[edit](edited, attacked.target)
    except NotHere:
        pytest.skip("means nothing on this saver")
    assert list(judge(attacked.store, edited)) == []


def test_there_are_many_and_known_ones_exist() -> None:
    assert len(EDITS) >= 200
    assert not {edit for _, edits in KNOWN.values() for edit in edits} - set(EDITS)
