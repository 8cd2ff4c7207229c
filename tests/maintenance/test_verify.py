"""`verify`: everything opens in its place, or is reported with its primary key and the class of the error."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from encrypted_serde import ConfigurationError, EncryptedSaver, encryption_context
from encrypted_serde.anchor import MemoryAnchor
from encrypted_serde.anchor.client import AnchorClient
from encrypted_serde.maintenance import Selection, Verification, scan, verify
from tests.maintenance import sql
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
from tests.tampering import changed

SEALED = {"saver-old-key": FORMS["saver-old-key"]}


def errors(found: Verification) -> dict[str, set[str]]:
    """Gives the classes of errors by table."""
    by_table: dict[str, set[str]] = {}
    for failure in found.failures:
        by_table.setdefault(failure.table, set()).add(failure.error)
    return by_table


def test_what_encrypted_saver_wrote_opens_all_of_it(place: str) -> None:
    write_every_form(place, SEALED)
    found = verify(place, OLD_KEY)
    assert found.failures == []
    assert found.opened == sum(found.rows.values()) >= 60
    assert found.tally.totals("key_id").keys() == {OLD_KEY.id.hex()}
    assert found.document()["verdict"] == "passed"


def test_it_counts_values_by_the_names_and_sizes_of_a_scan(place: str) -> None:
    write_every_form(place, SEALED)
    scanned, verified = scan(place).tally.lines, verify(place, OLD_KEY).tally.lines
    assert verified == [line for line in scanned if line.kind != "none" and not line.what.startswith("metadata key ")]
    assert min(line.bytes for line in verified) > 0


def test_a_flipped_bit_is_found_wherever_it_is(place: str) -> None:
    write_every_form(place, SEALED)
    table, column = sql.writes_of(place)
    [(task, idx, value)] = sql.run(place, f"SELECT task_id, idx, {column} FROM {table} WHERE channel = 'log' LIMIT 1")
    flipped = changed(bytes(value))
    sql.run(place, f"UPDATE {table} SET {column} = ? WHERE task_id = ? AND idx = ?", flipped, task, idx)
    found = verify(place, OLD_KEY)
    assert errors(found) == {table: {"AuthenticationFailed"}}
    assert found.failures[0].row["task_id"] == task
    assert found.document()["exit_code"] == 3


def test_a_row_that_was_swapped_with_another_is_found(place: str) -> None:
    write_every_form(place, SEALED)
    table, column = sql.writes_of(place)
    one, other = sql.run(place, f"SELECT task_id, {column} FROM {table} WHERE channel = 'messages' LIMIT 2")
    sql.run(place, f"UPDATE {table} SET {column} = ? WHERE task_id = ? AND channel = 'messages'", other[1], one[0])
    assert errors(verify(place, OLD_KEY)) == {table: {"WrongLocation"}}


def test_metadata_that_was_edited_is_found(place: str) -> None:
    write_every_form(place, SEALED)
    sql.run(place, "UPDATE checkpoints SET parent_checkpoint_id = 'another' WHERE parent_checkpoint_id IS NULL")
    assert errors(verify(place, OLD_KEY)) == {"checkpoints": {"WrongLocation"}}


def test_a_parent_missing_from_the_middle_is_found_and_a_history_that_begins_later_is_not(place: str) -> None:
    write_every_form(place, SEALED)
    thread = "saver-old-key/delta"
    ids = [row[0] for row in sql.run(place, "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? ORDER BY 1", thread)]
    sql.run(place, "DELETE FROM checkpoints WHERE checkpoint_id = ?", ids[0])
    assert verify(place, OLD_KEY).failures == []
    sql.run(place, "DELETE FROM checkpoints WHERE checkpoint_id = ?", ids[3])
    found = verify(place, OLD_KEY)
    assert [(failure.row["checkpoint_id"], failure.error) for failure in found.failures] == [(ids[4], "Incomplete")]


def test_a_value_in_a_row_of_its_own_that_was_deleted_is_found(postgres_url: str) -> None:
    write_every_form(postgres_url, SEALED)
    sql.run(postgres_url, "DELETE FROM checkpoint_blobs WHERE channel = 'messages'")
    assert errors(verify(postgres_url, OLD_KEY)) == {"checkpoints": {"WrongLocation"}}


def test_a_key_that_is_not_there_is_named(place: str) -> None:
    write_every_form(place, SEALED)
    found = verify(place, NEW_KEY)
    assert {failure.error for failure in found.failures} == {"UnknownKey"}
    assert all(OLD_KEY.id.hex() in reason for _, _, reason in found.groups)


def test_what_nobody_vouches_for_fails_unless_a_switch_admits_it_and_is_counted_then(place: str) -> None:
    write_every_form(place, {name: FORMS[name] for name in ("plaintext", "upstream-eax", "serde-old-key")})
    closed = verify(place, OLD_KEY)
    assert {failure.error for failure in closed.failures} >= {"PlaintextRefused", "UnsupportedCipher", "WrongLocation"}
    opened = verify(place, OLD_KEY, **EVERYTHING)
    assert opened.failures == []
    assert opened.admitted is not None
    assert opened.admitted.keys() == {"plaintext", "legacy", "unbound"}


def test_a_report_made_with_a_switch_says_how_many_checkpoints_had_no_manifest(place: str) -> None:
    write_every_form(place, SEALED)
    whole = verify(place, OLD_KEY, **EVERYTHING)
    sealed = whole.rows["checkpoints"]
    assert (whole.manifests, whole.without_manifest) == (sealed, 0)
    assert "what is readable of a checkpoint is what its manifest says" in whole.compared
    assert not any("switch" in line for line in whole.not_compared)
    write_every_form(place, {name: FORMS[name] for name in ("plaintext", "serde-old-key")})
    mixed = verify(place, OLD_KEY, **EVERYTHING)
    old = mixed.rows["checkpoints"] - sealed
    assert mixed.failures == []
    assert (mixed.manifests, mixed.without_manifest) == (sealed, old)
    assert mixed.admitted is not None
    assert [line for line in mixed.compared if "manifest" in line] == [
        "every value, manifest and pending write that was read and is sealed for its place opens in its place",
        f"of {sealed} checkpoints that have a manifest, what is readable of a checkpoint is what its manifest says",
        f"of {sealed} checkpoints that have a manifest, every channel that a manifest lists has its value",
    ]
    assert f"{old} checkpoints that have no manifest, which a switch admitted" in mixed.not_compared
    assert any(line.startswith(f"{sum(mixed.admitted.values())} values that a switch admitted") for line in mixed.not_compared)


def test_plaintext_beside_a_manifest_fails_under_every_switch(place: str) -> None:
    write_every_form(place, SEALED)
    table, column = sql.writes_of(place)
    sql.run(place, f"UPDATE {table} SET type = 'msgpack', {column} = ? WHERE idx = 0", b"\xa6forged")
    assert errors(verify(place, OLD_KEY, **EVERYTHING)) == {table: {"PlaintextRefused"}}


def test_another_context_than_the_expected_one_fails_and_shows_names_alone(place: str) -> None:
    with open_saver(place) as plain, encryption_context(tenant_id="acme", region="eu"):
        delta_graph(EncryptedSaver(plain, NEW_KEY)).invoke({"log": ["a"], "messages": []}, config_of("one"))
    expected = {"tenant_id": "umbrella", "region": "eu"}
    found = verify(place, NEW_KEY, context=expected)
    assert {failure.error for failure in found.failures} == {"WrongContext"}
    assert all("what differs: tenant_id" in reason and "acme" not in reason for _, _, reason in found.groups)
    assert verify(place, NEW_KEY, context={"tenant_id": "acme", "region": "eu"}).failures == []


def test_partitions_together_are_the_whole(place: str) -> None:
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, NEW_KEY)
        for number in range(6):
            delta_graph(saver).invoke({"log": ["a"], "messages": []}, config_of(f"thread-{number}"))
    whole = verify(place, NEW_KEY).rows
    parts = [verify(place, NEW_KEY, selection=Selection(partition=(number, 3))).rows for number in (1, 2, 3)]
    assert {table: sum(part[table] for part in parts) for table in whole} == whole


def test_only_checkpoints_since_a_time_are_read(place: str) -> None:
    write_every_form(place, SEALED)
    later = datetime.now(timezone.utc) + timedelta(minutes=1)
    assert not any(verify(place, OLD_KEY, selection=Selection(since=later)).rows.values())
    earlier = later - timedelta(hours=1)
    assert verify(place, OLD_KEY, selection=Selection(since=earlier)).rows == verify(place, OLD_KEY).rows


@pytest.mark.parametrize(
    "selection", [Selection(sample=0), Selection(sample=2), Selection(partition=(0, 3)), Selection(partition=(4, 3))]
)
def test_a_selection_that_cannot_be_meant_is_refused(place: str, selection: Selection) -> None:
    with pytest.raises(ConfigurationError):
        verify(place, NEW_KEY, selection=selection)


def test_a_sample_says_that_it_is_none_of_the_rest(place: str) -> None:
    write_every_form(place, SEALED)
    found = verify(place, OLD_KEY, selection=Selection(sample=0.3))
    assert sum(found.rows.values()) < sum(verify(place, OLD_KEY).rows.values())
    assert "rows that were not selected" in found.not_compared


def test_with_an_anchor_it_says_what_is_missing(place: str) -> None:
    anchor = MemoryAnchor()
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, NEW_KEY, anchor=anchor)
        write_threads(saver, "one")
    complete = verify(place, NEW_KEY, anchor=AnchorClient(anchor, NEW_KEY, writes=False))
    assert (complete.incomplete, complete.failed) == (0, 0)
    assert not any("anchor" in line for line in complete.not_compared)
    sql.run(place, "DELETE FROM checkpoints WHERE parent_checkpoint_id IS NULL")
    found = verify(place, NEW_KEY, anchor=AnchorClient(anchor, NEW_KEY, writes=False))
    assert found.incomplete > 0
    assert found.failures[-1].error == "Incomplete"
