"""A look at a database beside its anchor: what is missing is marked, what was put back is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, Key, SqliteAnchor
from encrypted_serde.cli import app as cli
from encrypted_serde.view import View, open_view
from tests.maintenance import sql
from tests.saver.graphs import run_until_asked


class Written(NamedTuple):
    place: str
    anchor: SqliteAnchor
    path: Path
    key: Key

    def view(self) -> View:
        return open_view(self.place, self.key, anchor=self.anchor)


@pytest.fixture
def written(tmp_path: Path, key: Key) -> Iterator[Written]:
    """Two threads that an anchor knows."""
    place, path = str(tmp_path / "app.db"), tmp_path / "anchor.db"
    with closing(SqliteAnchor(path)) as anchor, closing(sqlite3.connect(place, check_same_thread=False)) as connection:
        anchor.setup()
        inner = SqliteSaver(connection)
        inner.setup()
        saver = EncryptedSaver(inner, key, anchor=anchor)
        for thread in ("one", "two"):
            run_until_asked(saver, {"configurable": {"thread_id": thread}})
        yield Written(place, anchor, path, key)


def test_where_nothing_is_missing_nothing_is_marked(written: Written) -> None:
    with written.view() as view:
        page = view.threads()
        assert (page.gone, [line.missing for line in page.lines]) == (0, [0, 0])
        thread = view.thread("one")
        assert thread.missing == ()
        assert {(line.refused, line.is_entered) for line in thread.history()} == {(None, True)}
        assert thread.latest().line.refused is None


def test_a_deleted_checkpoint_is_marked_as_missing(written: Written) -> None:
    with written.view() as view:
        newest = view.thread("one").latest().line.spot
    sql.run(written.place, "DELETE FROM checkpoints WHERE checkpoint_id = ?", newest.id)
    with written.view() as view:
        thread = view.thread("one")
        assert [(each.namespace, each.id) for each in thread.missing] == [("", newest.id)]
        assert thread.page().missing == thread.missing
        assert sorted(line.missing for line in view.threads().lines) == [0, 1]


def test_a_deleted_thread_is_counted(written: Written) -> None:
    sql.run(written.place, "DELETE FROM checkpoints WHERE thread_id = 'two'")
    with written.view() as view:
        assert view.threads().gone == 1


def test_a_checkpoint_without_its_writes_stays_hidden(written: Written) -> None:
    sql.run(written.place, "DELETE FROM writes WHERE thread_id = 'one' AND channel = '__interrupt__'")
    with written.view() as view:
        found = view.thread("one").latest()
    assert (found.channels, found.line.refused and found.line.refused.error) == ((), "Incomplete")


def test_what_was_deleted_on_purpose_and_put_back_stays_hidden(written: Written, tmp_path: Path) -> None:
    rows = sql.run(written.place, "SELECT * FROM checkpoints WHERE thread_id = 'one' AND checkpoint_ns = ''")
    with closing(sqlite3.connect(written.place, check_same_thread=False)) as connection:
        EncryptedSaver(SqliteSaver(connection), written.key, anchor=written.anchor).delete_thread("one")
    for row in rows:
        sql.run(written.place, f"INSERT INTO checkpoints VALUES ({', '.join('?' * len(row))})", *row)
    with written.view() as view:
        lines = [*view.thread("one").history()]
    assert {line.refused and line.refused.reason for line in lines} == {
        "the checkpoint was deleted on purpose, and is there all the same"
    }


def test_a_row_that_the_anchor_does_not_know_yet_is_shown_and_marked(written: Written) -> None:
    with closing(sqlite3.connect(written.place, check_same_thread=False)) as connection:
        run_until_asked(EncryptedSaver(SqliteSaver(connection), written.key), {"configurable": {"thread_id": "three"}})
    with written.view() as view:
        lines = [*view.thread("three").history()]
    assert {(line.refused, line.is_entered) for line in lines} == {(None, False)}


def test_the_command_marks_what_is_missing_and_exits_with_3(
    written: Written, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", written.key.to_text())
    with written.view() as view:
        newest = view.thread("one").latest().line.spot.id
    sql.run(written.place, "DELETE FROM checkpoints WHERE checkpoint_id = ?", newest)
    for arguments in (["--thread", "one"], ["--thread", "one", "--history"]):
        with pytest.raises(SystemExit) as exit_:
            cli.run(["show", written.place, "--anchor", str(written.path), *arguments])
        assert exit_.value.code == 3
        assert f"missing: checkpoint {newest}, which the anchor requires" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_:
        cli.run(["show", written.place, "--anchor", str(written.path)])
    assert exit_.value.code == 3
    assert "1 checkpoints are missing" in capsys.readouterr().out


def test_without_its_anchor_nothing_is_shown(
    written: Written, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", written.key.to_text())
    with pytest.raises(SystemExit) as exit_:
        cli.run(["show", written.place, "--anchor", str(written.path) + ".other", "--thread", "one"])
    shown = capsys.readouterr()
    assert (exit_.value.code, shown.out) == (1, "")
    assert "AnchorError" in shown.err
