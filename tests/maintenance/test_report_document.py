"""The report as a document: the page for auditors lists its keys, and its digest shows an edit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, Key
from encrypted_serde.maintenance import scan
from encrypted_serde.maintenance.report import digest
from tests.maintenance.forms import write_threads

PAGE = (Path(__file__).parents[2] / "docs" / "auditor.md").read_text()


@pytest.fixture
def document(tmp_path: Path) -> dict:
    place = str(tmp_path / "agent.sqlite")
    with SqliteSaver.from_conn_string(place) as inner:
        write_threads(EncryptedSaver(inner, Key.generate()), "one")
    return scan(place).document()


def test_the_page_lists_every_key_of_the_document(document: dict) -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    listed = {name.partition(".")[0] for row in rows for name in re.findall(r"`([a-z_0-9.]+)`", row)}
    assert set(document) <= listed


def test_the_sample_on_the_page_has_the_keys_of_a_document(document: dict) -> None:
    [sample] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown = json.loads(sample)
    assert set(shown) <= set(document)
    assert set(shown["totals"]) == set(document["totals"])
    assert set(shown["problems"]) == set(document["problems"])


def test_a_report_says_who_ran_it_and_where(document: dict) -> None:
    assert set(document["run_by"]) == {"user", "host"}
    assert all(document["run_by"].values())


def test_the_digest_is_that_of_what_a_file_holds_and_an_edit_changes_it(document: dict) -> None:
    stored = json.loads(json.dumps(document, indent=2))
    assert digest(stored) == stored["sha256"]
    stored["problems"]["plaintext"] = 1
    assert digest(stored) != stored["sha256"]


def test_an_account_without_a_name_is_a_number(document: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from encrypted_serde.maintenance import report

    def no_name() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(report.getpass, "getuser", no_name)
    assert report._account().isdigit()
