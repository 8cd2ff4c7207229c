"""The rules of the wire format, of the threat model and of the anchor have ids; each is named beside a test that proves it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGES = {"A": "anchor.md", "F": "format.md", "T": "threat-model.md"}


def stated(letter: str) -> list[str]:
    """The ids that a page states, in its order: those in bold."""
    page = (TESTS.parent / "docs" / PAGES[letter]).read_text()
    return re.findall(rf"\*\*({letter}-\d+)\*\*", page)


def named() -> set[str]:
    """The ids that a comment or docstring of a test names: ``rule F-12``, or ``rules F-12, T-3``."""
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        if path != Path(__file__):
            for ids in re.findall(r"\brules? ([AFT]-\d+(?:, [AFT]-\d+)*)", path.read_text()):
                found |= set(ids.split(", "))
    return found


@pytest.mark.parametrize("letter", PAGES)
def test_the_rules_of_a_page_are_numbered_in_their_order(letter: str) -> None:
    ids = stated(letter)
    assert ids == [f"{letter}-{number}" for number in range(1, len(ids) + 1)]
    assert len(ids) > (20 if letter != "A" else 5)


@pytest.mark.parametrize("letter", PAGES)
def test_every_rule_is_named_beside_a_test(letter: str) -> None:
    assert sorted(set(stated(letter)) - named()) == []


def test_no_test_names_a_rule_that_no_page_states() -> None:
    assert sorted(named() - {each for letter in PAGES for each in stated(letter)}) == []
