"""The passes find what they look for: on a row that is well, and on rows that are broken on purpose."""

from __future__ import annotations

import logging
from dataclasses import replace

import ormsgpack
import pytest

from tests.coverage import document, run, tampering
from tests.coverage.layers import REMOVED, Leaf, leaves
from tests.coverage.row import SYNC, Servers, Unavailable
from tests.coverage.savers import memory
from tests.coverage.servers.process import program

SEALED = b"\xc1ES1 and more"
ROW = replace(memory.ROWS[0], modes=(SYNC,))


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


async def test_a_row_is_run_through_every_pass():
    with Servers() as servers:
        result = await run.run_row(ROW, servers)
    assert document.shortcomings(result) == []
    assert sum(result["secrets"]["planted"].values()) == sum(result["secrets"]["plain"][kind] for kind in document._KINDS) == 20
    assert result["conformance"]["plain"]["total"] >= 58
    assert {kind: counts.keys() & {"refused"} for kind, counts in result["tampering"][SYNC].items()} == {
        kind: {"refused"} for kind in ("swapped", "relabelled", "plaintext", "one bit changed", "one deleted")
    }


async def test_the_tamper_pass_sees_what_an_unprotected_saver_accepts(monkeypatch):
    monkeypatch.setattr(tampering, "EncryptedSaver", lambda inner, key: inner)
    monkeypatch.setattr(
        tampering,
        "_KINDS",
        {"forged": lambda stored: [{at: _forge(record)} for at, record in stored.items() if at[0] == "blobs"]},
    )
    with ROW.place(Servers()) as place:
        counts = await tampering.outcomes(ROW, place, SYNC)
    assert counts["forged"]["accepted"] > 0


def _forge(record):
    return ("msgpack", ormsgpack.packb(["forged"]))


@pytest.mark.parametrize(
    "record",
    [
        SEALED,
        {"a": [1, SEALED]},
        ("bytes", SEALED),
        ormsgpack.packb({"a": SEALED}),
        ormsgpack.packb({"a": ormsgpack.Ext(7, ormsgpack.packb([SEALED]))}),
        '{"d": "wUVTMSBhbmQgbW9yZQ=="}',
        {"B": b'{"d": "wUVTMSBhbmQgbW9yZQ=="}'},
    ],
)
def test_a_sealed_value_is_found_in_every_wrapping_and_can_be_replaced(record):
    [found] = [leaf for leaf in leaves(record) if leaf.is_sealed]
    assert found.value == SEALED
    assert [*leaves(found.put(SEALED))] == [*map(_same, leaves(record))]
    assert (
        b"forged" in [leaf.value for leaf in leaves(found.put(b"forged"))] or b"Zm9yZ2Vk" in str(found.put(b"forged")).encode()
    )


class _same:  # noqa: N801  # compares leaves by their value
    def __init__(self, leaf: Leaf) -> None:
        self.value = leaf.value

    def __eq__(self, other: object) -> bool:
        return self.value == other.value


def test_an_entry_can_be_taken_out():
    record = {"a": SEALED, "b": 1}
    [sealed] = [leaf for leaf in leaves(record) if leaf.is_sealed]
    assert sealed.put(REMOVED) == {"b": 1}


def test_a_server_that_is_not_installed_is_named():
    with pytest.raises(Unavailable, match="apt-get install no-such-server"):
        program(["no-such-program"], "no-such-server")


@pytest.mark.parametrize(
    ("plain", "wrapped", "reference", "better"),
    [
        ("raises KeyError", [1], [1], True),
        ([1, 0], [1, 2], [1, 2], True),
        ([1, 0, 9], [1, 2, 9], [1, 2], True),
        ([1, 0], [1, 3], [1, 2], False),
        ([1, 0], [1], [1, 2], False),
        ([1], "raises KeyError", [1], False),
    ],
)
def test_better_is_what_the_reference_says(plain, wrapped, reference, better):
    assert run.is_better(plain, wrapped, reference) is better
