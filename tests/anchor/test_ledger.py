"""What follows from entries: each rule on its own."""

from __future__ import annotations

from encrypted_serde.anchor import Kind
from encrypted_serde.anchor.entries import id_bytes
from encrypted_serde.anchor.ledger import Ledger, Standing
from tests.anchor.entries import IDS, NAMESPACE, TASK, mark, stored, wrote

SPOTS = [(NAMESPACE, id_bytes(each)) for each in IDS]


def _ledger(*entries):
    return Ledger([entry._replace(number=number) for number, entry in enumerate(entries, start=1)])


def _slots(ledger, number=0):
    return {slot: batches for (_, slot), batches in ledger.writes(SPOTS[number]).items()}


def test_what_was_stored_is_required():
    ledger = _ledger(stored(0), wrote(0, b"a", 0, 1))
    assert ledger.checkpoint(SPOTS[0]) is Standing.REQUIRED
    assert ledger.checkpoint(SPOTS[1]) is Standing.UNKNOWN
    assert ledger.writes(SPOTS[0]) == {(TASK, slot): {b"a": Standing.REQUIRED} for slot in (0, 1)}


def test_what_was_entered_before_a_deletion_is_deleted():
    ledger = _ledger(stored(0), wrote(0, b"a", 0), mark())
    assert ledger.checkpoint(SPOTS[0]) is Standing.DELETED
    assert _slots(ledger) == {0: {b"a": Standing.DELETED}}
    assert ledger.required() == []


def test_what_began_before_a_deletion_and_was_entered_after_it_is_optional():
    ledger = _ledger(stored(0), mark(), stored(1), stored(2, epoch=2))
    assert [ledger.checkpoint(spot) for spot in SPOTS[:3]] == [Standing.DELETED, Standing.OPTIONAL, Standing.REQUIRED]


def test_a_checkpoint_that_is_stored_again_after_a_deletion_is_required_again():
    assert _ledger(stored(0), mark(), stored(0, epoch=2)).checkpoint(SPOTS[0]) is Standing.REQUIRED


def test_thinning_makes_everything_optional_until_it_is_entered_again():
    ledger = _ledger(stored(0), stored(1), mark(Kind.THINNED), stored(1, epoch=3))
    assert [ledger.checkpoint(spot) for spot in SPOTS[:2]] == [Standing.OPTIONAL, Standing.REQUIRED]


def test_one_checkpoint_is_deleted():
    gone = stored(0)._replace(kind=Kind.DELETED)
    ledger = _ledger(stored(0), wrote(0, b"a", 0), stored(1), gone)
    assert [ledger.checkpoint(spot) for spot in SPOTS[:2]] == [Standing.DELETED, Standing.REQUIRED]
    assert _slots(ledger) == {0: {b"a": Standing.DELETED}}
    assert _ledger(gone).checkpoint(SPOTS[0]) is Standing.DELETED


def test_a_replaced_write_stays_replaced_in_whatever_order_entries_arrive():
    replaced = wrote(0, b"a", -3, kind=Kind.REPLACED)
    for entries in ([wrote(0, b"a", -3), wrote(0, b"b", -3), replaced], [wrote(0, b"b", -3), replaced, wrote(0, b"a", -3)]):
        assert _slots(_ledger(*entries)) == {-3: {b"a": Standing.REPLACED, b"b": Standing.REQUIRED}}


def test_a_replacement_from_before_a_deletion_counts_no_more():
    replaced = wrote(0, b"b", 0, kind=Kind.REPLACED)  # because `a` stood there, which was deleted then
    assert _slots(_ledger(wrote(0, b"a", 0), replaced, mark(), wrote(0, b"b", 0, epoch=3)))[0][b"b"] is Standing.REQUIRED
    assert _slots(_ledger(mark(), replaced, wrote(0, b"b", 0, epoch=1)))[0][b"b"] is Standing.REQUIRED


def test_thinning_does_not_bring_back_what_was_replaced():
    replaced = wrote(0, b"a", -3, kind=Kind.REPLACED)
    ledger = _ledger(wrote(0, b"a", -3), wrote(0, b"b", -3), replaced, mark(Kind.THINNED))
    assert _slots(ledger)[-3][b"a"] is Standing.REPLACED
