"""Going back to plaintext: a checkpoint keeps its manifest while `verify` refuses anything that a saver reads with it."""

from __future__ import annotations

import enum
import json
from typing import Any

import ormsgpack
import psycopg
import pytest

from encrypted_serde import EncryptedSaver
from encrypted_serde.maintenance import reencrypt, scan, verify
from encrypted_serde.maintenance.json_checkpoints import Blobs
from tests.maintenance import sql
from tests.maintenance.forms import NEW_KEY, open_saver
from tests.saver.threads import make_checkpoint

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def write(place: str, values: dict[str, Any]) -> str:
    """Writes a checkpoint with a write. Returns its id."""
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, NEW_KEY)
        versions = {name: saver.get_next_version(None, None) for name in values}
        checkpoint = make_checkpoint(0, values, versions)
        stored = saver.put(CONFIG, checkpoint, {"source": "input", "step": 0, "parents": {}}, versions)
        saver.put_writes(stored, [("log", ["written"])], "00000000-0000-4000-8000-00000000000a")
        return checkpoint["id"]


def forms(place: str) -> dict[str, int]:
    return {what: number for what, number in scan(place).problems().items() if number}


@pytest.fixture(params=["postgres", pytest.param("mariadb", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue({"postgres": "postgres_url", "mariadb": "mysql_url"}[request.param])


REFUSED: dict[str, tuple[str, bytes]] = {
    "that was never encrypted": ("msgpack", ormsgpack.packb(["made up"])),
    "that begins like a sealed one": ("msgpack", b"\xc1ES1" + bytes(40)),
    "in a snapshot in a snapshot": ("msgpack", b"\xc7\x0c\x07\xc7\x09\x07\xc4\x06\xc1ES1..."),
    "that was sealed for another place": ("", b""),
}


@pytest.mark.parametrize("value", REFUSED)
def test_a_checkpoint_keeps_its_manifest_beside_a_value(url: str, value: str) -> None:
    write(url, {"log": ["one"], "other": ["two"]})
    type_tag, blob = REFUSED[value]
    if type_tag:
        sql.run(
            url,
            "UPDATE checkpoint_blobs SET type = ?, `blob` = ? WHERE channel = 'log'".replace("`", _quote(url)),
            type_tag,
            blob,
        )
    else:
        [(other,)] = sql.run(url, "SELECT `blob` FROM checkpoint_blobs WHERE channel = 'other'".replace("`", _quote(url)))
        sql.run(url, "UPDATE checkpoint_blobs SET `blob` = ? WHERE channel = 'log'".replace("`", _quote(url)), bytes(other))
    [refused] = verify(url, NEW_KEY).failures
    before = sql.run(url, "SELECT metadata FROM checkpoints"), sql.run(url, "SELECT channel, type FROM checkpoint_blobs")
    done = reencrypt(url, NEW_KEY, target="plaintext")
    assert ("checkpoints", refused.error) in {(failure.table, failure.error) for failure in done.failures}
    assert (
        sql.run(url, "SELECT metadata FROM checkpoints"),
        sql.run(url, "SELECT channel, type FROM checkpoint_blobs"),
    ) == before


def _quote(url: str) -> str:
    return "`" if url.startswith("mysql") else ""


def test_what_was_refused_leaves_once_it_is_gone(place: str) -> None:
    """The values of a checkpoint that is still sealed stay sealed, so that the next run can verify all of it."""
    write(place, {"log": ["one"], "note": "text"})
    table, column = sql.writes_of(place)
    sql.run(place, f"UPDATE {table} SET type = 'msgpack', {column} = ?", ormsgpack.packb("made up"))
    assert {failure.error for failure in reencrypt(place, NEW_KEY, target="plaintext").failures} >= {"PlaintextRefused"}
    sql.run(place, f"DELETE FROM {table}")
    assert verify(place, NEW_KEY).failures == []
    assert reencrypt(place, NEW_KEY, target="plaintext").failures == []
    with open_saver(place) as plain:
        assert plain.get_tuple(CONFIG).checkpoint["channel_values"] == {"log": ["one"], "note": "text"}


def test_a_checkpoint_that_was_locked_leaves_in_the_next_pass(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(postgres_url, {"log": ["one"]})
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT * FROM checkpoints FOR UPDATE")
        monkeypatch.setattr("time.sleep", lambda seconds: other.rollback())
        done = reencrypt(postgres_url, NEW_KEY, target="plaintext")
    assert (done.failures, done.left) == ([], 0)
    with open_saver(postgres_url) as plain:
        assert plain.get_tuple(CONFIG).checkpoint["channel_values"] == {"log": ["one"]}


def test_a_checkpoint_that_was_stripped_of_its_manifest_is_not_taken_for_plaintext(url: str) -> None:
    write(url, {"log": ["one"]})
    column = "JSON_REMOVE(metadata, '$.es1')" if url.startswith("mysql") else "metadata - 'es1'"
    sql.run(url, f"UPDATE checkpoints SET metadata = {column}")
    before = sql.run(url, "SELECT * FROM checkpoints"), sql.run(url, "SELECT * FROM checkpoint_blobs")
    for dry_run in (True, False):
        done = reencrypt(url, NEW_KEY, target="plaintext", dry_run=dry_run)
        assert [failure.error for failure in done.failures] == ["PlaintextRefused", "Blocked"]
    assert (sql.run(url, "SELECT * FROM checkpoints"), sql.run(url, "SELECT * FROM checkpoint_blobs")) == before


def test_leaving_goes_on_where_it_was_interrupted_when_that_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(url, {"log": ["one"]})

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Blobs, "recode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reencrypt(url, NEW_KEY, target="plaintext")
    again = reencrypt(url, NEW_KEY, target="plaintext")
    assert {failure.error for failure in again.failures} == {"PlaintextRefused", "Blocked"}
    done = reencrypt(url, NEW_KEY, target="plaintext", allow_plaintext=True)
    assert (done.failures, done.left) == ([], 0)
    with open_saver(url) as plain:
        assert plain.get_tuple(CONFIG).checkpoint["channel_values"] == {"log": ["one"]}


def test_a_dry_run_of_leaving_says_what_the_run_does(place: str) -> None:
    write(place, {"log": ["one"], "note": "text"})
    dry = reencrypt(place, NEW_KEY, target="plaintext", dry_run=True)
    done = reencrypt(place, NEW_KEY, target="plaintext")
    assert (dry.rewritten, dry.failures) == (done.rewritten, done.failures) == (done.read, [])


def test_a_value_that_one_in_a_row_of_its_own_replaces_is_read_by_nobody_and_goes(url: str) -> None:
    write(url, {"log": ["one"]})
    [(document,)] = sql.run(url, "SELECT checkpoint FROM checkpoints")
    document = json.loads(document) if isinstance(document, str) else document
    document["channel_values"]["log"] = "a secret from before"
    sql.run(url, "UPDATE checkpoints SET checkpoint = ?", json.dumps(document))
    assert forms(url) == {"plaintext": 1}
    assert verify(url, NEW_KEY).failures == []
    with open_saver(url) as plain:
        assert EncryptedSaver(plain, NEW_KEY).get_tuple(CONFIG).checkpoint["channel_values"] == {"log": ["one"]}
    done = reencrypt(url, NEW_KEY)
    assert (done.failures, done.left, forms(url)) == ([], 0, {})
    assert "secret" not in str(sql.run(url, "SELECT checkpoint FROM checkpoints"))


class Status(str, enum.Enum):
    OPEN = "open"


class Level(enum.IntEnum):
    HIGH = 3


def test_an_enum_leaves_as_the_plain_saver_stores_it(place: str) -> None:
    values = {"status": Status.OPEN, "level": Level.HIGH, "log": [Status.OPEN]}
    write(place, values)
    done = reencrypt(place, NEW_KEY, target="plaintext")
    assert (done.failures, done.left) == ([], 0)
    with open_saver(place) as plain:
        left = plain.get_tuple(CONFIG).checkpoint["channel_values"]
        versions = {name: plain.get_next_version(None, None) for name in values}
        own = plain.put(CONFIG, make_checkpoint(1, values, versions), {"source": "input", "step": 0}, versions)
        expected = plain.get_tuple(own).checkpoint["channel_values"]
    assert (left, [*map(type, left.values())]) == (expected, [*map(type, expected.values())])
