"""``python -m tests.coverage``: runs the rows and writes ``docs/coverage.json`` and the tables that are rendered from it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
import traceback
import warnings

from tests.coverage import document
from tests.coverage.row import Servers, Unavailable
from tests.coverage.run import run_row
from tests.coverage.savers import ROWS


def main() -> int:
    """Runs what is asked for. Exit code 1 if a row that was run falls short of `document.shortcomings`."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument("--only", default="", help="only rows whose id contains this text, such as mysql")
    parser.add_argument("--leave-out", action="append", default=[], help="no row whose id contains this text; may be repeated")
    parser.add_argument("--dry", action="store_true", help="print, and leave the documents as they are")
    parser.add_argument("--strict", action="store_true", help="a row that cannot be run here is a failure too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of packages that are not ours
    logging.disable(logging.WARNING)  # of savers, and ours about writes that were tampered with
    results, missing, broken = _run_all(arguments.only, arguments.leave_out, save=not arguments.dry)
    short = broken | {row: found for row, result in results.items() if (found := document.unexpected(row, result))}
    for row, found in short.items():
        print(f"SHORT {row}: {'; '.join(found)}")
    return 1 if short or (arguments.strict and missing) else 0


def _run_all(only: str, left_out: list[str], *, save: bool) -> tuple[dict[str, dict], dict[str, str], dict[str, list[str]]]:
    """Gives the results, why rows cannot be run here, and what went wrong with others, each by row id."""
    results: dict[str, dict] = {}
    missing: dict[str, str] = {}
    broken: dict[str, list[str]] = {}
    with Servers() as servers:
        for row in ROWS:
            if only not in row.id or any(text in row.id for text in left_out):
                continue
            start = time.monotonic()
            try:
                results[row.id] = asyncio.run(run_row(row, servers))
            except Unavailable as reason:
                missing[row.id] = said = str(reason)
            except Exception as error:  # noqa: BLE001  # the other rows are run all the same
                broken[row.id] = [said := f"{type(error).__name__}: {error}"]
                traceback.print_exc()
            else:
                said = document.summary(results[row.id])
            if save:  # at once: a run takes minutes, and what was found is not to be lost
                document.save(results, missing)
            print(f"{row.id} ({time.monotonic() - start:.0f} s): {said}", flush=True)
    return results, missing, broken


if __name__ == "__main__":
    sys.exit(main())
