"""What README.md and docs/coverage.md say of savers is what ``docs/coverage.json`` says, which a run wrote."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.coverage import document
from tests.coverage.savers import ROWS


@pytest.mark.parametrize("path", [document.README, document.PAGE], ids=lambda path: path.name)
def test_the_table_is_rendered_from_the_json(path: Path):
    assert path.read_text(encoding="utf-8") == document.rendered(path, document.load())


def test_every_row_has_a_result_or_says_why_it_was_not_run():
    results = document.load()
    assert [*results] == [row.id for row in ROWS]
    assert all("conformance" in result or result["not_run"] for result in results.values())


@pytest.mark.parametrize("row", [row for row, result in document.load().items() if "not_run" not in result])
def test_a_row_that_was_run_falls_short_of_nothing(row: str):
    assert document.unexpected(row, document.load()[row]) == []


def _less_conformance(result):
    result["conformance"]["wrapped"]["passed"] = result["conformance"]["plain"]["passed"] - 1


def _a_secret(result):
    result["secrets"]["wrapped"]["metadata"] = 1


def _a_step_that_fails(result):
    result["secrets"]["wrapped"]["raised"] = ["KeyError"]


def _another_answer(result):
    result["graph"]["sync"]["different"] = {"its state": {}}


def _an_edit_that_was_accepted(result):
    result["tampering"]["sync"]["swapped"]["accepted"] = 1


def _nothing_to_edit(result):
    result["tampering"]["sync"] = "raises KeyError"


@pytest.mark.parametrize(
    "spoil",
    [
        _less_conformance,
        _a_secret,
        _a_step_that_fails,
        _another_answer,
        _an_edit_that_was_accepted,
        _nothing_to_edit,
    ],
)
def test_each_shortcoming_is_found(spoil):
    result = copy.deepcopy(document.load()["langgraph-checkpoint:InMemorySaver"])
    spoil(result)
    assert len(document.shortcomings(result)) == 1
