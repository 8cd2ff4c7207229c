"""Each edit of the table: all readers say the same of every row, and re-encryption makes nothing good."""

from __future__ import annotations

import pytest

from tests.verdicts.conftest import Attacked
from tests.verdicts.edits import ABSENT, EDITS
from tests.verdicts.judge import judge
from tests.verdicts.random_edits import touched
from tests.verdicts.rows import NotHere
from tests.verdicts.stores import SAVERS

HERE = ("memory", "sqlite")
EVERYWHERE = [saver if saver in HERE else pytest.param(saver, marks=pytest.mark.slow) for saver in SAVERS]


def _marks(saver: str) -> tuple[pytest.MarkDecorator, ...]:
    return () if saver in HERE else (pytest.mark.slow,)


PAIRS = [pytest.param(saver, edit, marks=_marks(saver)) for saver in SAVERS for edit in EDITS if edit not in ABSENT[saver]]


@pytest.mark.parametrize(("attacked", "edit"), PAIRS, indirect=["attacked"])
def test_all_readers_say_the_same(attacked: Attacked, edit: str) -> None:
    edited = attacked.rows.copy()
    EDITS[edit](edited, attacked.target)
    assert list(judge(attacked.store, touched(attacked.rows, edited))) == []


@pytest.mark.parametrize("attacked", EVERYWHERE, indirect=True)
def test_what_is_left_out_means_nothing_there(attacked: Attacked) -> None:
    for edit in ABSENT[attacked.kind]:
        with pytest.raises(NotHere):
            EDITS[edit](attacked.rows.copy(), attacked.target)


def test_there_are_many() -> None:
    assert len(EDITS) >= 200
