"""The table of places: none can be taken for another, and a reader knows as much of one as it says."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from encrypted_serde.core import binding
from encrypted_serde.core.binding import Binding, Place, WriteClaims, version_text

PLACE = Place.of("a", "b")
WRITE = WriteClaims("t", "c", "p", 0, "0" * 16, 1, 1)
SURFACES = {"value", "delta", "write", "manifest", "item", "entry", "json", "blob", "context", "anchor"}

# Every maker, with the same few names in every field, so that only the encoding keeps places apart.
PLACES: dict[str, Binding] = {
    "value": binding.value(PLACE, "c"),
    "value of another channel": binding.value(PLACE, "d"),
    "value, fields moved": binding.value(Place.of("ab", ""), "c"),
    "value in the root": binding.value(Place.of("a", ""), "c"),
    "delta": binding.delta(PLACE, "c"),
    "write": binding.write(PLACE, "c", WRITE),
    "write of a send": binding.write(PLACE, "__pregel_tasks", WRITE),
    "write of another position": binding.write(PLACE, "c", WRITE._replace(idx=1)),
    "write of another batch": binding.write(PLACE, "c", WRITE._replace(batch="1" * 16)),
    "special write": binding.write(PLACE, "c", WriteClaims("t", "c", "p", -3, alone="0" * 16)),
    "special write of another call": binding.write(PLACE, "c", WriteClaims("t", "c", "p", -3, alone="1" * 16)),
    "manifest": binding.manifest(PLACE, "c"),
    "item": binding.item(("a", "b"), "c"),
    "item of fewer labels": binding.item(("a",), "c"),
    "item, labels moved": binding.item(("a",), "b"),
    "item without labels": binding.item((), "c"),
    "entry": binding.entry(("a", "b"), "c"),
    "json": binding.json_value("c"),
    "blob": binding.BLOB,
    "context": binding.CONTEXT,
    "anchor": binding.ANCHOR,
}


# rule F-20
@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(PLACES, 2)])
def test_no_place_is_another(one: str, other: str) -> None:
    first, second = PLACES[one], PLACES[other]
    assert (first.location, dict(first.claims)) != (second.location, dict(second.claims))
    assert first.location
    surfaces = {place.location[2 : 2 + place.location[1]] for place in (first, second)}
    if one.split()[0].strip(",") not in ("special", "write") and len(surfaces) == 1:
        assert first.location != second.location


# rule F-20
def test_the_page_about_the_format_prints_the_whole_table() -> None:
    page = (Path(__file__).parents[1] / "docs" / "format.md").read_text().partition("## All places")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|`]+ \| `(\w+)` \| ", page, re.MULTILINE)
    assert set(rows) == SURFACES == {place.location[2 : 2 + place.location[1]].decode() for place in PLACES.values()}
    claims = page.partition("| claim |")[2]
    assert {name for name in WriteClaims._fields if f"`{name}`" in claims} == set(WriteClaims._fields)


# rule F-21
@pytest.mark.parametrize(
    ("version", "text"), [(3, "3"), (3.0, "3"), (0.5, "0.5"), ("0003.0.5", "0003.0.5"), ("3.0", "3.0"), (1 << 70, str(1 << 70))]
)
def test_a_version_is_one_text_whatever_json_made_of_it(version: object, text: str) -> None:
    assert version_text(version) == text
    assert binding.value(PLACE, "c", version).claims == {"version": text}
    assert binding.delta(PLACE, "c", version).claims == {"version": text}


def test_a_reader_leaves_out_what_it_does_not_know() -> None:
    written, known = binding.write(PLACE, "c", WRITE), binding.write(PLACE, "c", WriteClaims(task_id="t"))
    assert written.location == known.location
    assert dict(known.claims) == {"task_id": "t"}
    assert known.claims.items() < written.claims.items()
    assert binding.value(PLACE, "c").claims == {}
