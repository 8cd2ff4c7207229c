"""Threads whose graphs changed: `verify` and `reencrypt` accept what the saver accepts."""

from __future__ import annotations

import pytest

from encrypted_serde import EncryptedSaver, Keyring
from encrypted_serde.maintenance import reencrypt, verify
from tests.changing_graphs import LIVES, config_of, lived
from tests.maintenance.forms import BOTH, NEW_KEY, OLD_KEY, open_saver


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def any_place(request: pytest.FixtureRequest, tmp_path: object) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "checkpoints.sqlite")  # type: ignore[operator]
    return request.getfixturevalue("postgres_url" if request.param == "postgres" else "mysql_url")


def test_it_verifies_and_is_sealed_anew(any_place: str) -> None:
    for number, life in enumerate(LIVES):
        with open_saver(any_place) as inner:
            lived(life, EncryptedSaver(inner, OLD_KEY), str(number))
    assert verify(any_place, OLD_KEY).failures == []
    done = reencrypt(any_place, BOTH)
    assert (done.failures, done.left) == ([], 0)
    assert verify(any_place, NEW_KEY).failures == []
    with open_saver(any_place) as inner:
        saver = EncryptedSaver(inner, Keyring(primary=NEW_KEY), verify_delta_history=True)
        for number in range(len(LIVES)):
            assert len([*saver.list(config_of(str(number)))]) > 10
