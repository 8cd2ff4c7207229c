"""Random edits, one to three at a time. A long run: ``python -m tests.verdicts``."""

from __future__ import annotations

import pytest

from tests.lives.share import SHARE
from tests.verdicts.__main__ import differences, kind_of, shrunk
from tests.verdicts.conftest import Attacked
from tests.verdicts.judge import judge
from tests.verdicts.random_edits import draw
from tests.verdicts.stores import SAVERS

BY_SAVER = [name if name in ("memory", "sqlite") else pytest.param(name, marks=pytest.mark.slow) for name in SAVERS]


@pytest.mark.parametrize("attacked", BY_SAVER, indirect=True)
def test_all_readers_say_the_same_of_random_edits(attacked: Attacked) -> None:
    _, store, rows, target = attacked
    for seed in range(4 * SHARE):
        ops = draw(seed)
        if said := differences(store, rows, target, ops, seed):
            pytest.fail(f"seed {seed}: {shrunk(store, rows, target, ops, seed)}\n" + "\n".join(said))


@pytest.mark.parametrize("attacked", BY_SAVER, indirect=True)
def test_what_nobody_edited_is_accepted_by_all(attacked: Attacked) -> None:
    assert list(judge(attacked.store, attacked.rows)) == []


@pytest.mark.parametrize("attacked", ["sqlite"], indirect=True)
def test_a_reader_that_lets_something_pass_is_found(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    from encrypted_serde import EncryptedSaver
    from tests.verdicts.edits import EDITS

    edited = attacked.rows.copy()
    EDITS["a key is made up"](edited, attacked.target)
    real = attacked.store.home.inner()
    monkeypatch.setattr(EncryptedSaver, "get_tuple", lambda self, config: real.get_tuple(config))
    assert {kind_of(said).split(" of ")[0] for said in judge(attacked.store, edited)} >= {"get_tuple and list", "verify"}
