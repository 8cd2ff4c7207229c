"""What `scan` reads of a large value, its beginning and end, says of it what the whole says."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import ormsgpack
import psycopg
import pytest

from encrypted_serde import Key, MalformedEnvelope, Sealer, UnsupportedCipher, UnsupportedFormat
from encrypted_serde.core import binding
from encrypted_serde.core.binding import Place
from encrypted_serde.core.context import NO_CONTEXT, EncryptionContext
from encrypted_serde.core.format import sealed_text
from encrypted_serde.maintenance.address import parse_address
from encrypted_serde.maintenance.database import TAIL
from encrypted_serde.maintenance.mysql import MysqlDatabase
from encrypted_serde.maintenance.postgres import PostgresDatabase
from encrypted_serde.maintenance.sqlite import SqliteDatabase
from encrypted_serde.rows.stored import HEAD, LEGACY, NONE, PLAINTEXT, UNDECODABLE, Form, Stored, find_part, find_typed
from encrypted_serde.wrapping.inert import FOREIGN, Inert, pack, unpack
from encrypted_serde.wrapping.serialize import JSON
from encrypted_serde.wrapping.upstream import DELTA_SNAPSHOT

LONGEST = EncryptionContext.of({f"{letter}{'x' * 63}": "v" * 1024 for letter in "abcdefghijklmnop"})
CUT = HEAD + TAIL
SIZES = [*range(CUT - 200, CUT + 8, 9), 100_000, 100_001, 100_002, 100_003]


def cut(data: bytes) -> bytes:
    """What a database hands over of a value where it is only looked at."""
    return data if len(data) <= CUT else data[:HEAD] + data[-TAIL:]


def shapes(size: int, context: EncryptionContext) -> dict[str, tuple[str, bytes]]:
    """Every way in which a sealed value of about this size is stored: type and bytes."""
    sealer = Sealer(Key.generate())
    bound = sealer.seal_bound("msgpack", bytes(size), binding.value(Place.of("t", ""), "c", "1" * 50), context=context)
    return {
        "beside its type tag": sealer.seal("msgpack", bytes(size), context=context),
        "sealed bytes": ("bytes", bound),
        "sealed text, packed": ("msgpack", ormsgpack.packb(sealed_text(bound))),
        "in a snapshot": ("msgpack", pack(Inert(DELTA_SNAPSHOT, pack(bound)))),
    }


@pytest.mark.parametrize("context", [NO_CONTEXT, LONGEST], ids=["no context", "the longest context"])
def test_beginning_and_end_of_a_value_say_what_the_whole_says(context: EncryptionContext) -> None:
    for size in (*SIZES, *(size * 3 // 4 for size in SIZES), CUT - len(context.encoded)):
        for shape, (type_tag, data) in shapes(size, context).items():
            whole, part = find_typed(type_tag, data, len(data)), find_typed(type_tag, cut(data), len(data))
            assert whole.form.context is not None
            assert whole.form.context.encoded == context.encoded, shape
            assert (part.form, part.is_delta, part.error) == (whole.form, whole.is_delta, None), (shape, size)
            assert part.sealed is not None
            assert whole.sealed is not None
            assert part.sealed.ciphertext_size == whole.sealed.ciphertext_size


def _said(found: Stored) -> tuple[object, ...]:
    return *found._replace(sealed=None), found.sealed is not None


@pytest.mark.parametrize("size", [10, 1_000, 100_000])
def test_a_part_of_a_checkpoint_is_found_as_the_value_alone_is(size: int) -> None:
    for shape, (type_tag, data) in shapes(size, NO_CONTEXT).items():
        foreign = Inert(FOREIGN, pack([type_tag, data]))
        assert _said(find_part(foreign)) == _said(find_typed(type_tag, data, len(data))), shape
    found = [find_typed(type_tag, data, len(data)).sealed for type_tag, data in shapes(size, NO_CONTEXT).values()]
    assert {sealed.ciphertext_size for sealed in found if sealed} == {size}
    assert [find_typed(*each, len(each[1])).type_tag for each in shapes(size, NO_CONTEXT).values()][1:] == ["bytes"] * 3
    snapshot = shapes(size, NO_CONTEXT)["in a snapshot"][1]
    assert _said(find_part(unpack(snapshot))) == _said(find_typed("msgpack", snapshot, len(snapshot)))
    assert find_part(unpack(snapshot)).is_delta


@pytest.mark.parametrize("type_tag", ["bytes", "msgpack", "json", "", "of the application"])
def test_a_value_that_was_not_sealed_is_plaintext_beside_its_type(type_tag: str) -> None:
    for data in (b"", b"plain", b"\xc1ES1", b"\xc7\x05\x07plain"):
        found = find_typed(type_tag, data, len(data))
        assert (found.form, found.type_tag, found.sealed, found.error) == (Form(PLAINTEXT), type_tag, None, None)
        assert found.data == (data[3:] if found.is_delta else data)
    assert find_typed("null", b"", 0) == (Form(NONE), "null", b"", None, False, None)


def test_a_part_that_was_not_sealed_is_plaintext_in_the_form_that_it_would_have_alone() -> None:
    snapshot, other = Inert(DELTA_SNAPSHOT, pack(b"x")), Inert(5, b"x")
    assert find_part(None) == (Form(NONE), "null", b"", None, False, None)
    assert find_part(snapshot) == (Form(PLAINTEXT), "msgpack", snapshot.data, None, True, None)
    assert find_part(other) == (Form(PLAINTEXT), "msgpack", pack(other), None, False, None)
    assert find_part(1 << 70) == (Form(PLAINTEXT), JSON, b"%d" % (1 << 70), None, False, None)
    assert find_part({"\ud800": 1}) == (Form(PLAINTEXT), JSON, b'{"\\ud800": 1}', None, False, None)


@pytest.mark.parametrize("packed", [b"", b"\xc1", *map(pack, ([1, 2], ["bytes"], ["bytes", "text"], [b"bytes", b""]))])
def test_a_value_that_a_saver_packed_again_and_that_is_none_of_ours_is_undecodable(packed: bytes) -> None:
    found = find_part(Inert(FOREIGN, packed))
    assert (found.form, found.type_tag, found.data, type(found.error)) == (Form(UNDECODABLE), "", packed, MalformedEnvelope)


def test_sealed_text_that_is_cut_is_undecodable() -> None:
    text = sealed_text(Sealer(Key.generate()).seal_bound("msgpack", b"", binding.ANCHOR))
    for value in (text[:60], text[: len(text) // 8 * 4]):
        found = find_part(value)
        assert (found.form, found.type_tag, type(found.error)) == (Form(UNDECODABLE), "bytes", MalformedEnvelope), value
        assert found.data == value.encode()


def test_a_length_may_have_every_byte() -> None:
    sizes = [*range(256), *range(2_300, 2_900, 16), 655_240]  # where a byte of a length is a line feed, among others
    for shape in ("sealed text, packed", "in a snapshot"):
        for size in sizes:
            type_tag, data = shapes(size, NO_CONTEXT)[shape]
            assert find_typed(type_tag, data, len(data)).form.bound, (shape, size)


@pytest.mark.parametrize(("size", "kind"), [(0, UNDECODABLE), (31, UNDECODABLE), (32, LEGACY), (33, LEGACY)])
def test_a_legacy_value_has_at_least_its_nonce_and_its_tag(size: int, kind: str) -> None:
    found = find_typed("null+aes", bytes(size), size)
    assert (found.form.kind, type(found.error)) == (kind, MalformedEnvelope if kind == UNDECODABLE else type(None))
    assert found.data == bytes(size)
    assert find_typed("bytes+aes", bytes(5), size).form.kind == kind  # the size is what counts: it may be cut


def test_a_value_that_cannot_be_made_out_says_so_in_words() -> None:
    assert str(find_typed(None, b"", 0).error) == "the value has no type"
    assert str(find_typed("null+aes", b"", 0).error) == "a legacy value is shorter than its nonce and tag"
    assert str(find_part(Inert(FOREIGN, b"")).error) == "a value that was kept as it was is nothing that we wrote"


@pytest.mark.parametrize(
    ("type_tag", "data", "error"),
    [
        (None, b"x", MalformedEnvelope),
        (b"bytes", b"x", MalformedEnvelope),
        ("+aes", bytes(40), MalformedEnvelope),
        ("msgpack+rot13", bytes(100), UnsupportedCipher),
        ("msgpack+xaes-256-gcm", b"\x02" + bytes(100), UnsupportedFormat),
        ("msgpack+xaes-256-gcm", b"\x01" + bytes(9), MalformedEnvelope),
    ],
)
def test_what_cannot_be_made_out_says_why(type_tag: object, data: bytes, error: type[Exception]) -> None:
    found = find_typed(type_tag, data, len(data))
    assert (found.form, type(found.error), found.data) == (Form(UNDECODABLE), error, data)
    assert found.type_tag == (type_tag if isinstance(type_tag, str) else "")
    assert found.sealed is None


def test_a_value_cut_in_the_database_is_undecodable_whatever_its_size() -> None:
    for size in (100, 100_000):
        type_tag, data = shapes(size, NO_CONTEXT)["beside its type tag"]
        while not data[-3]:  # a tag that ends in a zero: without its last byte the value has the form of a whole one
            type_tag, data = shapes(size, NO_CONTEXT)["beside its type tag"]
        broken = data[:-1]
        assert find_typed(type_tag, cut(broken), len(broken)).error is not None
        assert find_typed(type_tag, data[:34] + data[-10:], 44).error is not None


VALUES = [bytes(number * number % 251 for number in range(size)) for size in (0, 1, CUT - 1, CUT, CUT + 1, 100_000)]


def test_sqlite_hands_over_beginning_and_end() -> None:
    part, size = SqliteDatabase.head(SqliteDatabase.__new__(SqliteDatabase), "v")
    with closing(sqlite3.connect(":memory:")) as connection:
        for value in VALUES:
            [row] = connection.execute(f"SELECT {part}, {size} FROM (SELECT ? AS v)", (value,))
            assert row == (cut(value), len(value))


def test_postgres_hands_over_beginning_and_end(postgres_database: str) -> None:
    part, size = PostgresDatabase.head(PostgresDatabase.__new__(PostgresDatabase), "v")
    with psycopg.connect(postgres_database) as connection:
        for value in VALUES:
            [row] = connection.execute(f"SELECT {part}, {size} FROM (SELECT %b::bytea AS v) AS t", (value,))
            assert row == (cut(value), len(value))


def test_mariadb_hands_over_beginning_and_end(mysql_url: str) -> None:
    part, size = MysqlDatabase.head(MysqlDatabase.__new__(MysqlDatabase), "v")
    with MysqlDatabase.connect(parse_address(mysql_url), False) as connection, connection.cursor() as cursor:
        for value in VALUES:
            cursor.execute(f"SELECT {part}, {size} FROM (SELECT CAST(%s AS BINARY) AS v) AS t", (value,))
            assert cursor.fetchall() == ((cut(value), len(value)),)
