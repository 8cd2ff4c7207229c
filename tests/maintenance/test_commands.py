"""``encrypted-serde scan`` and ``reencrypt``: what they print, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from encrypted_serde.cli.database import app
from tests.maintenance.forms import FORMS, LEGACY_KEYS, NEW_KEY, OLD_KEY, assert_same, replay_strictly, write_every_form

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
            app(list(arguments))
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
    assert "ann@example.org" in run("scan", place, "--show-samples").out


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


@pytest.mark.parametrize("arguments", [("--fail-on", "everything"), ("--fail-on", "old-key")])
def test_fail_on_what_cannot_be_told_is_wrong_usage(run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("scan", str(tmp_path / "any"), *arguments).code == 2


def test_scan_json_is_what_the_function_gives(run, place: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    found = json.loads(run("scan", place, "--json").out)
    assert found["problems"]["plaintext"] > 0
    assert found["rows"]["checkpoints"] == 18


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


def test_reencrypt_takes_every_key_that_it_needs(run, keys: None, place: str, tmp_path: Path, monkeypatch) -> None:
    before = write_every_form(place)
    monkeypatch.setenv("LANGGRAPH_AES_KEY", LEGACY_KEYS[0].decode())
    result = run("reencrypt", place)
    assert result.code == LEFT
    assert "left as it is: checkpoint" in result.err
    assert "thread_id='upstream-gcm/" in result.err
    assert "upstream-eax" not in result.err
    file = tmp_path / "legacy.key"
    file.write_bytes(LEGACY_KEYS[1] + b"\n")
    result = run("reencrypt", place, "--legacy-key-file", str(file))
    assert (result.code, result.err) == (0, "")
    assert "all rows are as asked for" in result.out
    assert run("scan", place, "--fail-on", "plaintext,legacy,old-key,unbound,undecodable").code == 0
    assert_same(replay_strictly(place), before)


def test_a_dry_run_changes_nothing(run, keys: None, place: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    before = run("scan", place, "--json").out
    result = run("reencrypt", place, "--dry-run")
    assert result.code == 0
    assert "would be rewritten" in result.out
    assert run("scan", place, "--json").out == before


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
    assert done["failed"] == len(done["failures"]) == done["left"] > 0
    assert done["failures"][0]["row"]["thread_id"].startswith("upstream-eax/")
