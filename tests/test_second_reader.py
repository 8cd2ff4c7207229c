"""A reader in JavaScript, written from docs/format.md alone, agrees with every test vector.

It needs Node.js. A Node without zstd (below 22.15) does not read the vectors that are compressed, and says so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
READER, FILE = TESTS / "independent_reader.mjs", TESTS / "vectors" / "v1.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text())
OPENED = ("inner_type", "plaintext", "context", "associated_data", "data_key")


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    """What the reader made of all vectors."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js")
    done = subprocess.run([node, READER, FILE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def results(answer: dict[str, Any]) -> dict[str, Any]:
    """By the list they are of."""
    found: dict[str, Any] = answer["results"]
    return found


def _read(results: dict[str, Any], name: str) -> list[Any]:
    if name not in results:
        pytest.skip(f"this Node has no zstd: the {len(VECTORS[name])} vectors of {name!r} are not read")
    found: list[Any] = results[name]
    return found


def _opened(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in OPENED} | {"claims": row["claims"] or {}}


def test_every_list_is_read_or_named_as_not_read(answer: dict[str, Any]) -> None:
    lists = {name for name in VECTORS if name != "about"}
    assert lists == ({*answer["results"]} - {"sealed_text"}) | {*answer["not_read"]}
    assert {*answer["not_read"]} <= {"zstd", "zstd_refused"}


# rule F-10
@pytest.mark.parametrize("name", ["sealed", "zstd"])
def test_sealed_vectors_open(results: dict[str, Any], name: str) -> None:
    assert _read(results, name) == [_opened(row) for row in VECTORS[name]]


# rule F-42
@pytest.mark.parametrize("name", ["refused", "zstd_refused"])
def test_refused_vectors_are_refused_with_the_stated_class(results: dict[str, Any], name: str) -> None:
    found = {row["name"]: error for row, error in zip(VECTORS[name], _read(results, name), strict=True)}
    assert found == {row["name"]: row["error"] for row in VECTORS[name]}


# rules F-28, F-29, F-30
def test_manifests_have_their_content_and_their_digest(results: dict[str, Any]) -> None:
    expected = [_opened(row) | {"content": row["content"], "digest": row["content"][-1]} for row in VECTORS["manifests"]]
    assert results["manifests"] == expected


# rule F-6
def test_key_texts_are_read(results: dict[str, Any]) -> None:
    assert results["key_texts"] == [{name: row[name] for name in ("secret", "key_id")} for row in VECTORS["key_texts"]]
    assert results["key_texts_refused"] == [None] * len(VECTORS["key_texts_refused"])


# rule F-4
def test_the_keys_of_databases_are_derived(results: dict[str, Any]) -> None:
    assert results["database_keys"] == [row["key_id"] for row in VECTORS["database_keys"]]


# rules F-18, F-19
def test_sealed_text_is_told_from_what_only_looks_alike(results: dict[str, Any]) -> None:
    assert results["not_sealed"] == {name: [None] * len(rows) for name, rows in VECTORS["not_sealed"].items()}
    assert results["sealed_text"] == [row["blob"] for row in VECTORS["sealed"] if "sealed_text" in row]


# rule F-37
def test_search_tokens_are_computed(results: dict[str, Any]) -> None:
    assert results["search_tokens"] == [row["token"] for row in VECTORS["search_tokens"]]


# rule F-45
def test_legacy_rows_open(results: dict[str, Any]) -> None:
    assert results["legacy"] == [row["plaintext"] for row in VECTORS["legacy"]]


def test_the_reader_takes_nothing_but_what_node_brings() -> None:
    imported = re.findall(r'^import .* from "([^"]+)"', READER.read_text(), re.MULTILINE)
    assert imported
    assert [name for name in imported if not name.startswith("node:")] == []
