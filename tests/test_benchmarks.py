"""What the benchmark commands show. That they run at all, `nox -s bench` tries."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.__main__ import _as_table
from benchmarks.comparisons import COMPARISONS, SAVER_RUNS
from benchmarks.pairs import Measurement


@pytest.mark.parametrize("width", [40, 60, 80, 110, 140, 200])
def test_the_verdict_is_shown_at_any_width(width: int) -> None:
    results = [(SAVER_RUNS[0], Measurement([(1.0, 1.0)])), (SAVER_RUNS[1], Measurement([(9.0, 1.0)]))]
    shown = Console(width=width, file=io.StringIO(), force_terminal=False)
    shown.print(_as_table(results, "", width))
    text = shown.file.getvalue()
    assert "reached" in text
    assert "missed" in text
    assert "9.0" in text


def test_every_comparison_has_a_line_of_its_own() -> None:
    lines = [(one.group, one.name, one.subject, one.baseline) for one in COMPARISONS]
    assert len(set(lines)) == len(lines)
