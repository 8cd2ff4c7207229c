"""The commands ``python -m benchmarks ratios`` and ``python -m benchmarks report``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from .comparisons import COMPARISONS, Comparison
from .pairs import FULL, SMOKE, Effort, Measurement, measure
from .places import Places

Results = list[tuple[Comparison, Measurement]]

_PACKAGES = ("cryptography", "langgraph", "langgraph-checkpoint", "ormsgpack", "pycryptodome")


_DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
_GROUPS = tuple(dict.fromkeys(one.group for one in COMPARISONS))


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. The exit status says that it ran, not that a target was reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios, measured in turns in one run.")
    commands = parser.add_subparsers(dest="command", required=True)
    ratios = commands.add_parser("ratios", help="compare, and print the ratios beside their targets")
    ratios.add_argument("--smoke", action="store_true", help="a few rounds only: shows that it runs, measures nothing")
    ratios.add_argument("--json", action="store_true", help="print JSON instead of a table")
    ratios.add_argument("--seconds", type=float, help=f"time for each comparison (default {FULL.seconds:g})")
    ratios.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="GROUP",
        help=f"this group, or else comparisons with this text in their line; may be given again. Groups: {'; '.join(_GROUPS)}",
    )
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
    chosen = _chosen(options.only)
    if not chosen:
        parser.error(f"--only: no such comparison. The groups are: {'; '.join(_GROUPS)}")
    results = _measure_all(chosen, effort)
    if options.json:
        json.dump(_as_json([*results]), sys.stdout, indent=2)
        print()
        return 0
    print("Smoke run: too few rounds to go by" if options.smoke else "Ratios of subject to baseline, measured in turns")
    group = ""
    for comparison, measured in results:  # as they come
        if comparison.group != group:
            group = comparison.group
            print(f"\n{group}")
        print(as_line(comparison, measured), flush=True)
    print(f"\nratio: the median of the ratios of all pairs; times and 'of minima': the shortest.\n{_environment()}")
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


def _chosen(only: list[str]) -> list[Comparison]:
    """Picks comparisons by the name of their group; by a text in their line where no group has that name."""

    def is_wanted(comparison: Comparison, text: str) -> bool:
        return comparison.group == text if text in _GROUPS else text.lower() in _line(comparison).lower()

    return [one for one in COMPARISONS if not only or any(is_wanted(one, text) for text in only)]


def _measure_all(chosen: list[Comparison], effort: Effort) -> Iterator[tuple[Comparison, Measurement]]:
    """Gives each result as it comes, and says on standard error what is measured: on a terminal in place, else in lines."""
    errors = Console(stderr=True)
    with Places() as places:
        for number, comparison in enumerate(chosen, start=1):
            line = f"{number}/{len(chosen)} {_line(comparison)}"
            if not errors.is_terminal:
                print(line, file=sys.stderr, flush=True)
            said = errors.status(line) if errors.is_terminal else nullcontext()
            with said, comparison.samples(places, effort) as (subject, baseline):
                measured = measure(subject, baseline, effort)
            yield comparison, measured


def _line(comparison: Comparison) -> str:
    return f"{comparison.group}: {comparison.name}: {comparison.subject} / {comparison.baseline}"


def _environment() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {packages}"


def as_line(comparison: Comparison, measured: Measurement) -> str:
    """Gives the line of one result. The verdict stands first, where no width of a terminal cuts it off."""
    target = comparison.target
    verdict = "" if target is None else "reached" if target.reached(measured.ratio) else "missed"
    found = f"{verdict:8}{_ratio(measured.ratio):>7} {target or ''!s:>7}  {comparison.name}: "
    times = f"{_seconds(measured.subject)} / {_seconds(measured.baseline)}"
    pairs = f"{len(measured.pairs)} pairs, of minima {_ratio(measured.of_minima)}"
    return f"{found}{comparison.subject} / {comparison.baseline} ({times}; {pairs})"


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
