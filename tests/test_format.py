"""The wire format is frozen: what v1.json holds opens, and is made again, for ever.

Two readers are asked: the package, and `independent_reader`, which was written from docs/format.md alone.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import ConfigurationError, EncryptedSerdeError, EncryptedSerializer, Key, Keyring, Sealer, errors
from encrypted_serde.core.context import NO_CONTEXT, EncryptionContext
from encrypted_serde.core.format import Sealed, bytes_of_text, find_sealed, is_sealed
from encrypted_serde.rows.manifest import Manifest
from encrypted_serde.rows.manifest import digest as manifest_digest
from encrypted_serde.wrapping.search import search_token
from tests import independent_reader
from tests.places import at, blob_of, claiming
from tests.vectors import generate
from tests.vectors.sealing import fixed_nonce

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "v1.json").read_text())


def each(*lists: str) -> pytest.MarkDecorator:
    """One test per row of these lists."""
    return pytest.mark.parametrize(
        "vector", [pytest.param(row, id=row.get("name", row.get("text"))) for name in lists for row in VECTORS[name]]
    )


def _context(pairs: dict[str, str] | None) -> EncryptionContext | None:
    return None if pairs is None else EncryptionContext.of(pairs)


def _sealer(vector: dict[str, Any]) -> Sealer:
    return Sealer(Key.from_text(vector["key_text"]), cipher=vector["cipher"])


# --- values that open ------------------------------------------------------------------------------------------------


@each("sealed", "manifests", "zstd")
def test_the_package_opens_every_sealed_vector(vector: dict[str, Any]) -> None:
    sealer, context = _sealer(vector), _context(vector["context"])
    if vector["location"] is None:
        opened = sealer.open(vector["type_tag"], bytes.fromhex(vector["blob"]), context=context)
        claims = None
    else:
        place = claiming(at(*vector["location"]), vector["claims"])
        *opened, claims = sealer.open_bound(bytes.fromhex(vector["sealed_bytes"]), place, context=context)
    assert list(opened) == [vector["inner_type"], bytes.fromhex(vector["plaintext"])]
    assert claims == vector["claims"]


@each("sealed", "manifests", "zstd")
def test_the_independent_reader_opens_every_sealed_vector(vector: dict[str, Any]) -> None:
    secret = independent_reader.parse_key_text(vector["key_text"])
    opened = independent_reader.open_value(
        [secret],
        vector["type_tag"],
        bytes.fromhex(vector["blob"]),
        expected_context=vector["context"],
        location=vector["location"],
        known_claims=vector["claims"],
    )
    assert opened.plaintext.hex() == vector["plaintext"]
    assert (opened.inner_type, opened.context) == (vector["inner_type"], vector["context"])
    assert opened.claims == (vector["claims"] or {})
    assert opened.associated_data.hex() == vector["associated_data"]
    assert opened.data_key.hex() == vector["data_key"]


@each("sealed", "manifests", "zstd")
def test_every_field_of_a_vector_is_where_the_format_says(vector: dict[str, Any]) -> None:
    blob = vector["blob"]
    assert blob.startswith(vector["front"] + vector["nonce"])
    assert blob.endswith(vector["tail"])
    parsed = Sealed.of_blob(vector["type_tag"], bytes.fromhex(blob))
    assert (parsed.head.flags, parsed.head.key_id.hex()) == (vector["flags"], vector["key_id"])
    assert parsed.head.context.encoded.hex() == vector["context_encoded"]
    assert parsed.encoded_claims.hex() == vector["claims_encoded"]
    assert (parsed.nonce, parsed.end) == (34, (len(blob) - len(vector["tail"])) // 2)
    if vector["location"] is not None:
        sealed = bytes.fromhex(vector["sealed_bytes"])
        assert bytes_of_text(vector["sealed_text"]) == sealed
        assert blob_of(sealed) == (vector["type_tag"], bytes.fromhex(vector["blob"]))
        assert independent_reader.parse_sealed_text(vector["sealed_text"]) == (
            vector["type_tag"],
            bytes.fromhex(vector["blob"]),
        )
        assert at(*vector["location"]).location.hex() == vector["location_encoded"]


@each("sealed", "manifests")
def test_sealing_again_with_the_same_nonce_gives_the_same_bytes(vector: dict[str, Any]) -> None:
    plaintext, context = bytes.fromhex(vector["plaintext"]), _context(vector["context"]) or NO_CONTEXT
    sealer = _sealer(vector)
    with fixed_nonce(sealer, context, bytes.fromhex(vector["nonce"])):
        if vector["location"] is None:
            again = sealer.seal(vector["inner_type"], plaintext, context=context)
            assert again == (vector["type_tag"], bytes.fromhex(vector["blob"]))
        else:
            place = claiming(at(*vector["location"]), vector["claims"])
            again = sealer.seal_bound(vector["inner_type"], plaintext, place, context=context)
            assert again.hex() == vector["sealed_bytes"]


@pytest.mark.parametrize("name", generate.LISTS)
def test_the_generator_still_makes_the_frozen_vectors(name: str) -> None:
    made = json.loads(json.dumps(generate.LISTS[name]()))
    assert made == VECTORS[name]


def test_the_vectors_hold_every_cipher_bound_and_unbound() -> None:
    kinds = {(row["cipher"], row["location"] is not None, bool(row["context"])) for row in VECTORS["sealed"]}
    assert len(kinds) == 3 * 2 * 2


# --- values that are refused -----------------------------------------------------------------------------------------


# rule F-42
@each("refused", "zstd_refused")
def test_the_package_refuses_with_the_stated_class(vector: dict[str, Any]) -> None:
    with pytest.raises(EncryptedSerdeError) as refusal:
        _open(vector)
    assert type(refusal.value) is getattr(errors, vector["error"])


def _open(vector: dict[str, Any]) -> None:
    first, *others = [Key.from_text(text) for text in vector["key_texts"]]
    keys, context = Keyring(primary=first, decrypt_only=others), _context(vector["expected_context"])
    if "sealed_bytes" in vector:
        sealed, place = bytes.fromhex(vector["sealed_bytes"]), claiming(at(*vector["location"]), vector["known_claims"])
        Sealer(keys).open_bound(sealed, place, context=context)
    elif "+" in vector["type_tag"]:
        Sealer(keys).open(vector["type_tag"], bytes.fromhex(vector["blob"]), context=context)
    else:
        EncryptedSerializer(keys).loads_typed((vector["type_tag"], bytes.fromhex(vector["blob"])))


@each("refused", "zstd_refused")
def test_the_independent_reader_refuses_with_the_stated_class(vector: dict[str, Any]) -> None:
    secrets = [independent_reader.parse_key_text(text) for text in vector["key_texts"]]
    if "sealed_bytes" in vector:
        type_tag, blob = independent_reader.parse_sealed_bytes(bytes.fromhex(vector["sealed_bytes"]))
    else:
        type_tag, blob = vector["type_tag"], bytes.fromhex(vector["blob"])
    with pytest.raises(independent_reader.Refused) as refusal:
        independent_reader.open_value(
            secrets,
            type_tag,
            blob,
            expected_context=vector["expected_context"],
            location=vector.get("location"),
            known_claims=vector.get("known_claims"),
        )
    assert refusal.value.error == vector["error"]


# rule F-42
def test_every_error_of_the_reading_table_has_a_refused_vector() -> None:
    cannot_happen_in_a_file = {"KeyErased"}
    reading = (Path(__file__).parents[1] / "docs" / "format.md").read_text().partition("## Reading")[2].partition("\n## ")[0]
    named = {name for name in vars(errors) if f"`{name}`" in reading}
    assert {row["error"] for row in VECTORS["refused"]} == named - cannot_happen_in_a_file


# rule F-19
@pytest.mark.parametrize("data", [bytes.fromhex(row) for row in VECTORS["not_sealed"]["bytes"]])
def test_bytes_that_only_begin_like_sealed_ones_are_plaintext(data: bytes) -> None:
    assert find_sealed(data) is None
    assert not is_sealed(data)
    assert independent_reader.parse_sealed_bytes(data) is None


# rules F-18, F-19
@pytest.mark.parametrize("text", VECTORS["not_sealed"]["text"])
def test_text_that_is_not_canonical_is_plaintext(text: str) -> None:
    assert bytes_of_text(text) is None
    assert independent_reader.parse_sealed_text(text) is None


# --- what EncryptedSaver stores --------------------------------------------------------------------------------------


# rules F-28, F-30
@each("manifests")
def test_a_manifest_holds_what_the_format_says(vector: dict[str, Any]) -> None:
    packed = bytes.fromhex(vector["plaintext"])
    *content, (inner_type, private), digest = independent_reader.parse_msgpack(independent_reader.Cursor(packed))
    assert [*content, [inner_type, private.hex()], digest.hex()] == vector["content"]
    assert independent_reader.manifest_digest(vector["checkpoint"], vector["readable_metadata"]) == digest
    manifest = Manifest.unpack(packed)
    assert list(manifest) == [*content, (inner_type, private), digest]
    assert manifest_digest(vector["checkpoint"], vector["readable_metadata"]) == digest


# rule F-37
@pytest.mark.parametrize("vector", VECTORS["search_tokens"], ids=lambda row: f"{row['value']!r} {row['context']}")
def test_search_tokens_are_computed_as_the_format_says(vector: dict[str, Any]) -> None:
    key, name, value = Key.from_text(vector["key_text"]), vector["metadata_key"], vector["value"]
    assert search_token(key, name, EncryptionContext.of(vector["context"]), value) == vector["token"]
    secret = independent_reader.parse_key_text(vector["key_text"])
    assert independent_reader.search_token(secret, name, vector["context"], value) == vector["token"]


# --- keys and legacy rows --------------------------------------------------------------------------------------------


@each("key_texts")
def test_key_texts_name_their_secret_and_id(vector: dict[str, Any]) -> None:
    secret = bytes.fromhex(vector["secret"])
    assert independent_reader.parse_key_text(vector["text"]) == secret
    assert independent_reader.key_id(secret).hex() == vector["key_id"]
    for key in (Key.from_text(vector["text"]), Key.from_bytes(secret)):
        assert (key.to_text(), key.id.hex()) == (vector["text"], vector["key_id"])


@pytest.mark.parametrize("vector", VECTORS["database_keys"], ids=lambda row: row["name"][:12])
def test_the_key_of_a_database_is_derived_as_the_format_says(vector: dict[str, Any]) -> None:
    secret = independent_reader.derive(
        independent_reader.parse_key_text(vector["key_text"]), "database", vector["name"].encode()
    )
    assert secret.hex() == vector["secret"]
    assert independent_reader.key_id(secret).hex() == vector["key_id"]
    assert Key.from_text(vector["key_text"]).for_database(vector["name"]).id.hex() == vector["key_id"]


@each("key_texts_refused")
def test_other_texts_are_no_keys(vector: dict[str, Any]) -> None:
    assert independent_reader.parse_key_text(vector["text"]) is None
    with pytest.raises(ConfigurationError):
        Key.from_text(vector["text"])


# rule F-45
@each("legacy")
def test_rows_of_langgraphs_own_serializer_open(vector: dict[str, Any]) -> None:
    key, blob, plaintext = (bytes.fromhex(vector[name]) for name in ("key", "blob", "plaintext"))
    assert independent_reader.open_legacy(key, blob) == plaintext
    inner_type = vector["type_tag"].removesuffix("+aes")
    serde = EncryptedSerializer(Key.generate(), legacy_keys=[key])
    assert serde.loads_typed((vector["type_tag"], blob)) == JsonPlusSerializer().loads_typed((inner_type, plaintext))


def test_the_independent_reader_is_independent() -> None:
    tree = ast.parse(Path(independent_reader.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in imported if name.startswith(("encrypted_serde", "langgraph"))]
