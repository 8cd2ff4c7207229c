"""``encrypted-serde scan`` and ``reencrypt``: what they print, and with which exit code."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import pytest
from langgraph.store.sqlite import SqliteStore
from psycopg.conninfo import conninfo_to_dict

from encrypted_serde import EncryptedSaver, EncryptedStore, SqliteAnchor, encryption_context
from encrypted_serde.cli import app as cli
from encrypted_serde.maintenance import Progress
from tests.maintenance import sql
from tests.maintenance.forms import (
    FORMS,
    LEGACY_KEYS,
    NEW_KEY,
    OLD_KEY,
    assert_same,
    config_of,
    delta_graph,
    open_saver,
    replay_strictly,
    write_every_form,
)
from tests.maintenance.worker import counting_graph

LEFT = 3


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command in this process, with no keys in its environment."""
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("ENCRYPTED_SERDE_KEY", "ENCRYPTED_SERDE_DECRYPT_KEYS", "LANGGRAPH_AES_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run_command(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as exit_:
            cli.run(arguments)
        captured = capsys.readouterr()
        return Result(exit_.value.code or 0, captured.out, captured.err)

    return run_command


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", NEW_KEY.to_text())
    monkeypatch.setenv("ENCRYPTED_SERDE_DECRYPT_KEYS", OLD_KEY.to_text())


def test_scan_needs_no_key_and_shows_no_value(run, place: str) -> None:
    write_every_form(place)
    result = run("scan", place)
    assert result.code == 0
    assert "xaes-256-gcm, bound, key " + OLD_KEY.id.hex()[:12] in result.out
    assert "legacy" in result.out
    assert "ann@example.org" not in result.out + result.err


@pytest.mark.parametrize(
    ("form", "kind"),
    [("plaintext", "plaintext"), ("upstream-eax", "legacy"), ("saver-old-key", "old-key"), ("serde-old-key", "unbound")],
)
def test_fail_on_decides_the_exit_code(run, place: str, form: str, kind: str) -> None:
    write_every_form(place, {form: FORMS[form]})
    current = ("--current-key", NEW_KEY.id.hex())
    assert run("scan", place, *current).code == 0
    assert run("scan", place, *current, "--fail-on", f"undecodable,{kind}").code == LEFT
    assert run("scan", place, *current, "--fail-on", "undecodable").code == 0


def test_fail_on_takes_the_current_key_from_the_environment(run, keys: None, place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    assert run("scan", place, "--fail-on", "old-key").code == LEFT


@pytest.mark.parametrize(
    "arguments", [("--fail-on", "everything"), ("--fail-on", "old-key"), ("--fail-on", ""), ("--fail-on", "legacy,")]
)
def test_fail_on_what_cannot_be_told_is_wrong_usage(run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("scan", str(tmp_path / "any"), *arguments).code == 2


@pytest.mark.parametrize("form", ["plaintext", "upstream-eax", "saver-old-key", "serde-old-key"])
def test_fail_on_any_fails_on_every_kind(run, keys: None, place: str, form: str) -> None:
    write_every_form(place, {form: FORMS[form]})
    assert run("scan", place, "--fail-on", "any").code == LEFT
    assert "OK: " not in run("scan", place).out


def test_fail_on_any_means_an_old_key_only_where_a_current_one_is_known(run, place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    result = run("scan", place, "--fail-on", "any")
    assert result.code == 0
    assert "OK: all values are encrypted and tied to their rows" in result.out
    assert run("scan", place, "--fail-on", "any", "--current-key", NEW_KEY.id.hex()).code == LEFT
    assert run("scan", place, "--fail-on", "any", "--current-key", OLD_KEY.id.hex()).code == 0


def test_scan_json_is_what_the_function_gives(run, place: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    found = json.loads(run("scan", place, "--json").out)
    assert found["problems"]["plaintext"] > 0
    assert found["rows"]["checkpoints"] == 18
    assert found["problems"]["old-key"] is None


def test_scan_of_one_thread_looks_at_that_only(run, place: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"], "saver-old-key": FORMS["saver-old-key"]})
    assert run("scan", place, "--thread", "saver-old-key/asked", "--fail-on", "plaintext").code == 0
    assert run("scan", place, "--thread", "plaintext/asked", "--fail-on", "plaintext").code == LEFT


def test_a_database_that_is_not_there_is_one_line_and_exit_code_1(run, tmp_path: Path) -> None:
    result = run("scan", str(tmp_path / "nothing.db"))
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("encrypted-serde: DatabaseFailed: ")


def test_reencrypt_needs_a_key_and_says_so(run, place: str) -> None:
    result = run("reencrypt", place)
    assert result.code == 1
    assert "ENCRYPTED_SERDE_KEY" in result.err


def test_reencrypt_admits_nothing_by_itself(run, keys: None, place: str) -> None:
    write_every_form(place, {name: FORMS[name] for name in ("plaintext", "serde-old-key", "upstream-eax")})
    before = run("scan", place, "--json").out
    result = run("reencrypt", place)
    assert result.code == LEFT
    for error in ("PlaintextRefused", "WrongLocation", "UnsupportedCipher"):
        assert error in result.err
    assert json.loads(run("scan", place, "--json").out)["lines"] == json.loads(before)["lines"]


def test_reencrypt_takes_every_key_that_it_needs(run, keys: None, place: str, tmp_path: Path) -> None:
    before = write_every_form(place)
    files = []
    for number, key in enumerate(LEGACY_KEYS):
        (tmp_path / f"{number}.key").write_bytes(key + b"\n")
        files.append(f"--legacy-key-file={tmp_path / f'{number}.key'}")
    opened = ("reencrypt", place, "--allow-plaintext", "--allow-unbound")
    result = run(*opened, files[0])
    assert result.code == LEFT
    assert "thread_id='upstream-gcm/" in result.err
    assert "upstream-eax" not in result.err
    result = run(*opened, *files)
    assert result.code == 0
    assert "admitted by a switch" in result.out
    assert f"done: every row is encrypted under key {NEW_KEY.id.hex()[:12]}" in result.out
    assert run("scan", place, "--fail-on", "plaintext,legacy,old-key,unbound,undecodable").code == 0
    assert run("verify", place).code == 0
    assert_same(replay_strictly(place), before)


def test_a_dry_run_changes_nothing(run, keys: None, place: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    before = json.loads(run("scan", place, "--json").out)["lines"]
    result = run("reencrypt", place, "--dry-run", "--allow-plaintext")
    assert result.code == 0
    assert "would be rewritten" in result.out
    assert json.loads(run("scan", place, "--json").out)["lines"] == before


def test_plaintext_takes_a_flag_of_its_own(run, keys: None, place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    assert run("reencrypt", place, "--to", "plaintext").code == 2
    assert run("reencrypt", place, "--decrypt").code == 0
    assert {line["kind"] for line in json.loads(run("scan", place, "--json").out)["lines"]} <= {"plaintext", "no manifest"}


def test_reencrypt_json_names_the_rows_that_failed(run, keys: None, place: str) -> None:
    write_every_form(place, {"upstream-eax": FORMS["upstream-eax"]})
    result = run("reencrypt", place, "--json", "--context", "tenant_id=acme")
    done = json.loads(result.out)
    assert result.code == LEFT
    assert done["failures"]["rows"] == len(done["failures"]["first"]) == done["result"]["left"] > 0
    assert done["failures"]["first"][0]["row"]["thread_id"].startswith("upstream-eax/")


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_verify_says_how_much_opened_and_fails_if_something_does_not(run, keys: None, place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    result = run("verify", place)
    assert result.code == 0
    assert "rows opened, 0 failed" in result.out
    assert "rows/s" in result.out
    assert result.out.splitlines()[-1] == "OK: every value that was read opens where it is stored"
    sql.run(place, "UPDATE checkpoints SET parent_checkpoint_id = 'x' WHERE parent_checkpoint_id IS NULL")
    result = run("verify", place)
    assert (result.code, "OK:" in result.out) == (LEFT, False)
    assert "checkpoints: WrongLocation: the checkpoint has another parent" in result.err
    assert len([line for line in result.err.splitlines() if "WrongLocation" in line]) == 1


@pytest.mark.parametrize("command", ["scan", "verify", "reencrypt", "expire"])
def test_a_report_is_written_as_evidence(run, keys: None, place: str, tmp_path: Path, command: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    file = tmp_path / "report.json"
    options = ["--older-than", "1d"] if command == "expire" else []
    assert run(command, place, *options, "--report", str(file)).code == 0
    report = json.loads(file.read_text())
    assert (report["schema"], report["command"]) == ("encrypted-serde/report/1", command)
    assert (report["verdict"], report["reasons"], report["exit_code"]) == ("passed", [], 0)
    assert report["started"].endswith("+00:00")
    assert report["software"].keys() == {"encrypted-serde", "format"}
    assert report["database"]["server"].startswith(("SQLite 3", "PostgreSQL"))
    assert report["compared"]
    assert report["not_compared"]
    assert OLD_KEY.to_text() not in file.read_text()


@pytest.mark.parametrize("command", [["scan"], ["verify"], ["reencrypt"], ["expire", "--older-than", "1d"]])
def test_nothing_found_is_not_clean_unless_it_may_be(run, keys: None, place: str, command: list[str]) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    result = run(*command, place, "--thread", "mistyped")
    assert result.code == LEFT
    assert "no row was found" in result.err
    assert run(*command, place, "--thread", "mistyped", "--allow-empty").code == 0


def test_a_line_for_each_context_only_if_asked_for(run, place: str) -> None:
    with open_saver(place) as plain, encryption_context(tenant_id="acme"):
        delta_graph(EncryptedSaver(plain, NEW_KEY)).invoke({"log": ["a"], "messages": []}, config_of("one"))
    assert "acme" not in run("scan", place).out
    assert "encryption contexts: 1" in run("scan", place).out
    assert "tenant_id='acme'" in run("scan", place, "--by-context").out


def test_contexts_that_differ_are_named_without_their_values(run, keys: None, place: str) -> None:
    with open_saver(place) as plain, encryption_context(tenant_id="acme"):
        delta_graph(EncryptedSaver(plain, NEW_KEY)).invoke({"log": ["a"], "messages": []}, config_of("one"))
    expected = ("verify", place, "--context", "tenant_id=umbrella")
    assert run(*expected).code == LEFT
    assert "acme" not in run(*expected).err
    assert "tenant_id" in run(*expected).err


@pytest.mark.parametrize("given", ["", "current", "123", "z" * 64, "a" * 65])
def test_current_key_refuses_what_is_no_id(run, tmp_path: Path, given: str) -> None:
    result = run("scan", str(tmp_path / "any"), "--current-key", given)
    assert result.code == 2
    assert "key-id prints it" in result.err


def test_current_key_takes_the_digits_that_are_printed(run, place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    assert run("scan", place, "--current-key", OLD_KEY.id.hex()[:12], "--fail-on", "old-key").code == 0
    assert run("scan", place, "--current-key", NEW_KEY.id.hex()[:12], "--fail-on", "old-key").code == LEFT


@pytest.mark.parametrize(
    "arguments",
    [
        ("--partition", "0/3"),
        ("--partition", "4/3"),
        ("--partition", "x"),
        ("--sample", "1"),
        ("--sample", "0%"),
        ("--since", "yesterday"),
    ],
)
def test_a_selection_that_cannot_be_meant_is_wrong_usage(run, keys: None, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("verify", str(tmp_path / "any"), *arguments).code == 2


def test_ctrl_c_says_what_is_done_and_that_it_can_go_on(run, keys: None, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})

    def interrupted(*args: object, progress, **options: object) -> None:
        progress(Progress("checkpoints", 1200, None, 0, 100))
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.reencrypt"], "reencrypt", interrupted)
    result = run("reencrypt", place)
    assert result.code == 130
    assert "1,200 rows read, 100 changed" in result.err
    assert "run it again" in result.err


def test_a_locked_sqlite_file_is_said_to_be_locked(run, keys: None, tmp_path: Path, monkeypatch) -> None:
    place = str(tmp_path / "locked.sqlite")
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    monkeypatch.setattr("encrypted_serde.maintenance.sqlite.LOCK_TIMEOUT", 0.02)
    with closing(sqlite3.connect(place, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        result = run("reencrypt", place)
    assert result.code == 1
    assert "locked" in result.err


def test_tables_that_are_missing_are_looked_for_in_the_search_path(run, postgres_url: str) -> None:
    result = run("scan", postgres_url)
    assert result.code == 1
    assert 'search_path, which is "$user", public' in result.err


def test_a_database_may_be_named_in_every_usual_way(run, postgres_url: str, tmp_path: Path) -> None:
    write_every_form(postgres_url, {"plaintext": FORMS["plaintext"]})
    parts = conninfo_to_dict(postgres_url)
    conninfo = " ".join(f"{name}='{value}'" for name, value in parts.items())
    for text in (conninfo, f" {postgres_url}", postgres_url.replace("postgresql:", "postgresql+psycopg:")):
        assert run("scan", text).code == 0
    file = str(tmp_path / "app.sqlite")
    write_every_form(file, {"plaintext": FORMS["plaintext"]})
    for text in (f"sqlite:///{file}", f"sqlite+aiosqlite:///{file}", file):
        assert run("scan", text).code == 0


def test_expire_says_what_went_and_names_what_was_left(run, place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    result = run("expire", place, "--older-than", datetime.now(timezone.utc).isoformat(), "--dry-run")
    assert result.code == 0
    assert "1 threads would go" in result.out
    assert "left whole, it has delta channels: 'saver-old-key/delta'" in result.out
    assert run("expire", place, "--older-than", "soon").code == 2


# --- the anchor -------------------------------------------------------------------------------------------------------


def test_verify_with_an_anchor_misses_what_was_deleted_and_expire_tells_it_what_went(
    run, keys: None, place: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "anchor.db")
    anchored = {"configurable": {"thread_id": "one"}}
    with open_saver(place) as plain, closing(SqliteAnchor(file)) as anchor:
        anchor.setup()
        counting_graph(EncryptedSaver(plain, NEW_KEY, anchor=anchor)).invoke({"log": ["a"]}, anchored)
    complete = run("verify", place, "--anchor", file)
    assert (complete.code, "anchor: no findings" in complete.out) == (0, True)
    assert run("verify", place, "--anchor", file, "--thread", "one").code == 2
    sql.run(place, "DELETE FROM checkpoints WHERE parent_checkpoint_id IS NULL")
    result = run("verify", place, "--anchor", file)
    assert result.code == LEFT
    assert "Incomplete" in result.err
    now = datetime.now(timezone.utc).isoformat()
    left = run("expire", place, "--older-than", now, "--keep-latest", "--anchor", file)
    assert (left.code, "0 threads got shorter" in left.out) == (LEFT, True)  # it is not as the anchor knows it
    assert run("anchor", "accept", place, "--anchor", file, "--yes").code == 0
    assert run("expire", place, "--older-than", now, "--keep-latest", "--anchor", file).code == 0
    assert sql.run(place, "SELECT count(*) FROM checkpoints WHERE thread_id = 'one'") == [(2,)]  # the newest, and its parent
    assert run("verify", place, "--anchor", file).code == 0


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("", "is the variable set?"),
        ("  ", "is the variable set?"),
        (".", "it is a directory"),
        ("no-such.db", "there is no such file"),
        ("sqlite:///no-such.db", "there is no such file"),
        ("sqlite:///app.db?mode=ro", "options of a sqlite:/// URL are not understood"),
    ],
)
def test_a_database_that_is_none_is_told_what_it_is(run, keys: None, database: str, said: str) -> None:
    for command in ("scan", "verify"):
        result = run(command, database)
        assert result.code == 1
        assert said in result.err


def test_a_report_that_cannot_be_written_is_refused_before_the_work_is_done(run, keys: None, tmp_path: Path) -> None:
    place = str(tmp_path / "app.sqlite")
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    for file in (tmp_path, tmp_path / "none" / "report.json"):
        result = run("verify", place, "--report", str(file))
        assert (result.code, result.out) == (2, "")
        assert "cannot be written" in result.err
    assert run("verify", place, "--report", str(tmp_path / "report.json")).code == 0
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "passed"


def test_where_nobody_looks_no_line_is_broken(run, keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    place = str(tmp_path / "app.sqlite")
    write_every_form(place)
    shown = run("scan", place).out
    assert "checkpoints.metadata" in shown
    assert any(line.startswith("rows: ") and "encryption contexts: " in line for line in shown.splitlines())
    nothing = run("reencrypt", place, "--thread", "no such thread")
    assert nothing.code == LEFT
    assert "done: " not in nothing.out
    assert "no row was found" in nothing.err


def test_a_context_without_a_value_is_wrong_usage(run, keys: None, tmp_path: Path) -> None:
    assert run("verify", str(tmp_path / "app.sqlite"), "--context", "tenant_id").code == 2


def test_items_of_a_store_move_in_and_out_by_command(run, keys: None, tmp_path: Path) -> None:
    place = str(tmp_path / "store.sqlite")
    with SqliteStore.from_conn_string(place) as store:
        store.setup()
        store.put(("users",), "ann", {"city": "Bonn", "kind": "person"})
    assert run("scan", place, "--fail-on", "plaintext").code == LEFT
    assert run("reencrypt", place).code == LEFT
    move_in = ("reencrypt", place, "--allow-plaintext", "--searchable-field", "city", "--readable-field", "kind")
    assert run(*move_in).code == 0
    assert run("verify", place).code == 0
    assert run("scan", place, "--fail-on", "plaintext").code == LEFT
    assert run("scan", place, "--fail-on", "plaintext,old-key", "--readable-metadata", "kind").code == 0
    assert run("scan", place, "--fail-on", "plaintext,old-key", "--readable-field", "kind").code == 0
    with SqliteStore.from_conn_string(place) as store:
        found = EncryptedStore(store, NEW_KEY, searchable=["city"], readable=["kind"]).search((), filter={"city": "Bonn"})
        assert [item.key for item in found] == ["ann"]
    expired = run("expire", place, "--older-than", "30d")
    assert expired.code == 1
    assert "for databases of checkpointers" in expired.err
    assert run("reencrypt", place, "--decrypt").code == 0
    with SqliteStore.from_conn_string(place) as store:
        assert store.search(())[0].value == {"city": "Bonn", "kind": "person"}


def test_a_report_replaces_no_file_but_an_older_report(run, tmp_path: Path) -> None:
    place = str(tmp_path / "app.db")
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    before = Path(place).read_bytes()
    refused = run("scan", place, "--report", place)
    assert (refused.code, "is no report" in refused.err, Path(place).read_bytes() == before) == (2, True, True)
    report = tmp_path / "report.json"
    for _ in range(2):
        assert run("scan", place, "--report", str(report)).code == 0
    assert json.loads(report.read_text())["command"] == "scan"


def test_going_back_to_plaintext_names_no_other_form(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "app.db")
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    before = Path(place).read_bytes()
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", OLD_KEY.to_text())
    refused = run("reencrypt", place, "--decrypt", "--to", "serde")
    assert (refused.code, "--decrypt" in refused.err, Path(place).read_bytes() == before) == (2, True, True)


def test_an_anchor_is_not_in_the_database_that_it_guards(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "app.db")
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", OLD_KEY.to_text())
    refused = run("anchor", "init", place, "--anchor", str(tmp_path / "." / "app.db"))
    assert (refused.code, "name another file" in refused.err) == (1, True)
