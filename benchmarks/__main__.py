"""The commands ``python -m benchmarks ratios`` and ``python -m benchmarks report``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .comparisons import COMPARISONS, Comparison
from .pairs import FULL, SMOKE, Effort, Measurement, measure
from .places import Places

Results = list[tuple[Comparison, Measurement]]

_PACKAGES = ("cryptography", "langgraph", "langgraph-checkpoint", "ormsgpack", "pycryptodome")


_DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
_DETAILS = ("time", "baseline", "pairs", "of minima")
_WIDE = 110
"""Columns of a terminal from which on the details are shown."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. The exit status says that it ran, not that a target was reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios, measured in turns in one run.")
    commands = parser.add_subparsers(dest="command", required=True)
    ratios = commands.add_parser("ratios", help="compare, and print the ratios beside their targets")
    ratios.add_argument("--smoke", action="store_true", help="a few rounds only: shows that it runs, measures nothing")
    ratios.add_argument("--json", action="store_true", help="print JSON instead of a table")
    ratios.add_argument("--seconds", type=float, help=f"time for each comparison (default {FULL.seconds:g})")
    ratios.add_argument("--only", default="", metavar="TEXT", help="comparisons with this text in their line")
    report = commands.add_parser("report", help="measure, and write JSON, pictures and the page that shows them")
    report.add_argument("--out", type=Path, default=_DOCS, metavar="DIR", help="where to (default docs/benchmarks)")
    report.add_argument("--smoke", action="store_true", help="everything small: shows that it runs, measures nothing")
    report.add_argument("--seconds", type=float, help=f"time for each comparison (default {FULL.seconds:g})")
    options = parser.parse_args(arguments)
    effort = SMOKE if options.smoke else FULL
    if options.seconds is not None:
        effort = Effort(options.seconds, effort.pairs, effort.batch)
    if options.command == "report":
        _write_report(options.out, effort, smoke=options.smoke)
        return 0
    results = _measure_all(options.only, effort)
    if options.json:
        json.dump(_as_json(results), sys.stdout, indent=2)
        print()
        return 0
    title = "Smoke run: too few rounds to go by" if options.smoke else "Ratios of subject to baseline, measured in turns"
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(_as_table(results, title, console.width))
    return 0


def _write_report(directory: Path, effort: Effort, *, smoke: bool) -> None:
    from .report import TooBusy, report  # the other command needs no matplotlib

    errors = Console(stderr=True)
    try:
        with errors.status("measuring") as status:
            report(directory, effort, smoke=smoke, say=status.update)
    except TooBusy as error:
        sys.exit(str(error))
    print(f"wrote {directory}/index.md, its pictures and results.json")


def _measure_all(only: str, effort: Effort) -> Results:
    chosen = [comparison for comparison in COMPARISONS if only.lower() in _line(comparison).lower()]
    results: Results = []
    errors = Console(stderr=True)
    with Places() as places, errors.status("measuring") as status:
        for number, comparison in enumerate(chosen, start=1):
            status.update(f"{number}/{len(chosen)} {_line(comparison)}")
            with comparison.samples(places, effort) as (subject, baseline):
                results.append((comparison, measure(subject, baseline, effort)))
    return results


def _line(comparison: Comparison) -> str:
    return f"{comparison.group}: {comparison.name}: {comparison.subject} / {comparison.baseline}"


def _environment() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {packages}"


def _as_table(results: Results, title: str, width: int) -> Table:
    """Lays it out for a width. The verdict stands first and is never cut; where there is no room, times are left out."""
    wide = width >= _WIDE
    table = Table(
        title=title,
        caption=f"times and 'of minima': the shortest; ratio: the median of the ratios of all pairs.\n{_environment()}",
    )
    table.add_column("", no_wrap=True, min_width=len("reached"))
    for heading in ("ratio", "target"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(">= 1.05"))
    for heading in ("what", "subject / baseline"):
        table.add_column(heading, overflow="fold")
    for heading in _DETAILS if wide else ():
        table.add_column(heading, justify="right", no_wrap=True)
    group = ""
    for comparison, measured in results:
        if comparison.group != group:
            group = comparison.group
            table.add_section()
            table.add_row("", "", "", f"[bold]{group}")
        target = comparison.target
        details = (
            _seconds(measured.subject),
            _seconds(measured.baseline),
            str(len(measured.pairs)),
            _ratio(measured.of_minima),
        )
        table.add_row(
            "" if target is None else "reached" if target.reached(measured.ratio) else "[bold]missed",
            _ratio(measured.ratio),
            str(target or ""),
            comparison.name,
            f"{comparison.subject} / {comparison.baseline}",
            *(details if wide else ()),
        )
    return table


def _seconds(value: float) -> str:
    return f"{value * 1e3:.2f} ms" if value >= 1e-3 else f"{value * 1e6:.2f} us"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def _as_json(results: Results) -> dict[str, object]:
    return {
        "environment": _environment(),
        "comparisons": [
            {
                "group": comparison.group,
                "name": comparison.name,
                "subject": comparison.subject,
                "baseline": comparison.baseline,
                "subject_seconds": measured.subject,
                "baseline_seconds": measured.baseline,
                "pairs": len(measured.pairs),
                "of_minima": measured.of_minima,
                "ratio": measured.ratio,
                "target": str(comparison.target or "") or None,
                "reached": comparison.target.reached(measured.ratio) if comparison.target else None,
            }
            for comparison, measured in results
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
