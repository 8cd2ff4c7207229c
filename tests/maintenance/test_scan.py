"""`scan`: finds everything that is readable, by its bytes, and shows none of it unless asked."""

from __future__ import annotations

import json

from encrypted_serde import EncryptedSaver, Sealer, encryption_context
from encrypted_serde.maintenance import Line, Progress, reencrypt, scan
from tests.maintenance.forms import (
    EVERYTHING,
    FORMS,
    NEW_KEY,
    OLD_KEY,
    config_of,
    delta_graph,
    open_saver,
    write_every_form,
    write_threads,
)


def lines(place: str, **wanted: object) -> list[Line]:
    return [line for line in scan(place).tally.lines if all(getattr(line, name) == value for name, value in wanted.items())]


def test_everything_of_a_plaintext_database_is_plaintext(place: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    report = scan(place)
    assert {line.kind for line in report.tally.lines} == {"plaintext", "no manifest"}
    assert {line.column for line in lines(place, kind="plaintext")} >= {"checkpoints.checkpoint", "checkpoints.metadata"}
    assert report.problems()["plaintext"] == sum(line.values for line in report.tally.lines if line.kind == "plaintext")


def test_serde_alone_leaves_what_it_never_sees(place: str) -> None:
    write_every_form(place, {"serde-old-key": FORMS["serde-old-key"]})
    plain = {(line.column, line.what) for line in lines(place, kind="plaintext")}
    inlined = {("checkpoints.checkpoint", "inlined scalar")} if place.startswith("postgresql:") else set()
    assert plain == {("checkpoints.metadata", "metadata key user_email")} | inlined
    assert all(line.key_id == OLD_KEY.id.hex() and not line.bound for line in lines(place, kind="sealed"))


def test_a_wrapped_saver_leaves_nothing(place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    assert set(scan(place, current_keys=[OLD_KEY.id.hex()]).problems().values()) == {0}
    assert scan(place, current_keys=[NEW_KEY.id.hex()]).problems()["old-key"] > 0


def test_upstreams_rows_are_legacy(place: str) -> None:
    write_every_form(place, {"upstream-eax": FORMS["upstream-eax"]})
    assert scan(place).problems()["legacy"] == sum(line.values for line in lines(place, kind="legacy")) > 0


def test_key_cipher_compression_and_context_are_told_apart(place: str) -> None:
    with open_saver(place) as plain, encryption_context(tenant_id="acme"):
        delta_graph(EncryptedSaver(plain, Sealer(NEW_KEY, cipher="aes-256-gcm", compression="zstd"))).invoke(
            {"log": ["a" * 500], "messages": []}, config_of("one")
        )
    found = scan(place, by_context=True).tally.lines
    assert {(line.cipher, line.key_id, line.bound, line.context["tenant_id"]) for line in found} == {
        ("aes-256-gcm", NEW_KEY.id.hex(), True, "acme")
    }
    assert {line.compressed for line in found} == {True, False}


def test_a_report_shows_no_value(place: str) -> None:
    with open_saver(place) as plain:
        delta_graph(plain).invoke({"log": ["secret" * 100], "messages": []}, config_of("one"))
    document = json.dumps(scan(place).document())
    assert "secret" not in document
    assert "ann@example.org" not in document


def test_metadata_that_is_readable_on_purpose_is_not_reported(place: str) -> None:
    with open_saver(place) as plain:
        write_threads(EncryptedSaver(plain, NEW_KEY, readable_metadata=["user_email"]), "one")
    assert scan(place).problems()["plaintext"] > 0
    assert scan(place, readable_metadata=["user_email"]).problems()["plaintext"] == 0
    assert reencrypt(place, NEW_KEY, **EVERYTHING, readable_metadata=["user_email"]).rewritten == 0


def test_progress_ends_with_all_rows(place: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    heard: list[Progress] = []
    report = scan(place, progress=heard.append)
    assert heard[-1].rows == sum(report.rows.values())
