"""What the benchmark commands show. That they run at all, `nox -s bench` tries."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from benchmarks.__main__ import as_line, main
from benchmarks.comparisons import COMPARISONS, SAVER_RUNS
from benchmarks.lines import code_lines, functions
from benchmarks.pairs import Measurement

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_verdict_stands_first() -> None:
    assert as_line(SAVER_RUNS[0], Measurement([(1.0, 1.0)])).startswith("reached   1.000")
    assert as_line(SAVER_RUNS[0], Measurement([(9.0, 1.0)])).startswith("missed    9.000")


def test_every_comparison_has_a_line_of_its_own() -> None:
    lines = [(one.group, one.name, one.subject, one.baseline) for one in COMPARISONS]
    assert len(set(lines)) == len(lines)


def test_the_event_loop_and_the_web_service_are_among_the_comparisons() -> None:
    assert {"event loop held, aput", "web service", "calls of EncryptedSaver"} <= {one.group for one in COMPARISONS}


def test_results_come_one_by_one_with_a_line_of_progress_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ratios", "--smoke", "--only", "beyond the plain saver"]) == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.err.splitlines()] == ["1/2", "2/2"]
    lines = shown.out.splitlines()
    assert lines[2] == "calls of EncryptedSaver"
    assert [line.split()[0] in ("reached", "missed") for line in lines[3:5]] == [True, True]


def test_a_group_that_is_none_is_an_error_that_names_the_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ratios", "--only", "no such thing"])
    assert "web service" in capsys.readouterr().err


def test_no_module_of_the_benchmarks_imports_itself_in_a_circle() -> None:
    imports: dict[str, set[str]] = {}
    for path in BENCHMARKS.glob("*.py"):
        found = imports.setdefault(path.stem, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                found |= {node.module} if node.module else {alias.name for alias in node.names}
    assert len([*TopologicalSorter(imports).static_order()]) >= len(imports)
    assert "matplotlib" not in sys.modules  # only the report needs it


SOURCE = '''"""What it is."""

# why
NAME = """one
two"""
"""What the name is."""


def same(self, one, *, two):
    """What it does."""
    return one
'''


def test_comments_docstrings_and_blank_lines_are_no_code() -> None:
    assert code_lines(SOURCE) == {4, 5, 9, 11}
    assert [*functions(SOURCE)] == [(1, 2)]
