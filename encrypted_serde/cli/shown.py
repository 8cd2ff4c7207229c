"""What the commands on databases print: tables, grouped failures, progress, and how a run ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ..maintenance.report import Line, Report, is_current
from ..maintenance.selection import Progress, ProgressListener
from ..rows.stored import PLAINTEXT, SEALED, UNVOUCHED
from .exits import EXIT_FOUND, EXIT_INTERRUPTED, failures
from .options import Ending

_SHOWN_GROUPS = 20
_SHOWN_ROWS = 3  # of a group
_SHOWN_KEYS = 5  # more are added up
_WIDTH = 1000  # columns, where nobody looks: nothing is that wide
_STYLES = {PLAINTEXT: "bold red", "legacy": "yellow", "undecodable": "bold magenta", UNVOUCHED: "yellow", SEALED: "green"}


@contextmanager
def running(title: str) -> Iterator[ProgressListener]:
    """Shows progress where somebody is looking, turns errors into one line, and says after Ctrl-C what is done."""
    last = Progress("", 0, None, 0)

    def listen(progress: Progress) -> None:
        nonlocal last
        last = progress

    try:
        with failures(), _bar(title, listen) as listener:
            yield listener
    except KeyboardInterrupt:
        done = f", {last.done:,} changed" if title in ("reencrypt", "expire") else ""
        print(
            f"encrypted-serde: interrupted: {last.rows:,} rows read{done}. Nothing is half written; run it again to go on",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None


@contextmanager
def _bar(title: str, listen: ProgressListener) -> Iterator[ProgressListener]:
    if not sys.stderr.isatty():
        yield listen
        return
    size = TextColumn("rows, {task.fields[size]:.1f} MB, left")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), size, TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, size=0.0)

        def listener(progress: Progress) -> None:
            listen(progress)
            # A later pass, and statistics that are behind, make it more rows than there were said to be.
            total = None if progress.total is None else max(progress.total, progress.rows)
            bar.update(task, description=progress.table, completed=progress.rows, total=total, size=progress.bytes / 1e6)

        yield listener


def finish(report: Report, ending: Ending, more: Sequence[str] = (), *, passed: str = "") -> None:
    """Prints or writes the report, says what did not pass, and exits.

    Args:
        report: What was found; printed by the caller already, unless as JSON.
        ending: What becomes of it.
        more: Why it did not pass, besides what the report says.
        passed: What to print if it passed.
    """
    why = [*report.reasons(), *more]
    if report.is_empty and not ending.allow_empty:
        why.append("no row was found: is it the right database, thread or partition? (--allow-empty if so)")
    document = json.dumps(report.document(why), indent=2)
    if ending.report is not None:
        with failures():
            ending.report.write_text(document + "\n", encoding="utf-8")
    if ending.as_json:
        print(document)
    else:
        show_failures(report)
        for reason in why:
            print(f"encrypted-serde: {reason}", file=sys.stderr)
        if passed and not why:
            print(passed)
    if why:
        raise typer.Exit(EXIT_FOUND)


def show_failures(report: Report) -> None:
    """Prints failures, those for the same reason together."""
    for (table, error, reason), number in report.groups.most_common(_SHOWN_GROUPS):
        print(f"{number:,} x {table}: {error}: {printable(reason)}", file=sys.stderr)
        same = [failure for failure in report.failures if (failure.table, *failure[2:]) == (table, error, reason)]
        for failure in same[:_SHOWN_ROWS]:
            key = ", ".join(f"{name}={value!r}" for name, value in failure.row.items())
            print(f"    {key}", file=sys.stderr)
        if number > _SHOWN_ROWS:
            print(f"    ... and {number - _SHOWN_ROWS:,} more", file=sys.stderr)
    if (others := len(report.groups) - _SHOWN_GROUPS) > 0:
        print(f"... and {others:,} more reasons", file=sys.stderr)


def show_admitted(admitted: Mapping[str, int] | None) -> None:
    """Prints what a switch let through."""
    for kind, number in (admitted or {}).items():
        print(f"admitted by a switch, and proved by nothing: {number:,} {kind}")


def show_tally(report: Report, *, by_key: bool = False) -> None:
    """Prints how values are stored, as a table: many keys in one line, unless there is to be a line for each."""
    to = console()
    to.print(f"{report.database} ({report.server})", style="italic")
    table = Table()
    for heading in ("where", "what", "stored as"):
        table.add_column(heading, overflow="fold")
    for heading in ("values", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    column = ""
    for line, keys in _together(report, by_key):
        if line.column != column:
            table.add_section()
        stored = Text(_stored_as(line, keys, report.current_keys), style=_STYLES[line.kind])
        shown = line.column if line.column != column else ""
        table.add_row(shown, printable(line.what), stored, f"{line.values:,}", _size(line.bytes))
        column = line.column
    if table.row_count:
        to.print(table)
    rows = ", ".join(f"{number:,} {table}" for table, number in report.rows.items())
    to.print(f"rows: {rows}; encryption contexts: {report.tally.contexts:,}", style="dim italic")


def show_problems(report: Report, problems: Mapping[str, int | None]) -> None:
    """Prints what was found of what nobody wants to find."""
    to = console()
    found = [f"{number:,} {kind}" for kind, number in problems.items() if number]
    if found:
        to.print(f"found: {', '.join(found)}", style="bold")
    elif report.tally.totals("kind").keys() == {SEALED} and not report.failed:
        to.print("OK: all values are encrypted and tied to their rows", style="bold")
    if problems["old-key"] is None and not report.is_empty:
        to.print("Keys were not compared: --current-key says which is not old.", style="dim")


def show_rate(report: Report, what: str) -> None:
    """Prints how much was done, and how fast."""
    seconds = max(report.seconds, 1e-6)
    rows = sum(report.rows.values())
    speed = f"{rows / seconds:,.0f} rows/s, {report.bytes / seconds / 1e6:,.1f} MB/s"
    console().print(f"{what} in {report.seconds:,.1f} s ({speed})")


def console() -> Console:
    """Returns what prints to a terminal in its width, and to a file or a pipe without breaking lines. Nothing is markup."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _WIDTH)


def printable(text: str) -> str:
    """Returns a text without what could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _together(report: Report, by_key: bool) -> list[tuple[Line, int]]:
    """Adds up lines that differ in the key alone, where there are many keys; and says how many keys each is of."""
    lines, current = report.tally.lines, report.current_keys
    if by_key or len({line.key_id for line in lines}) <= _SHOWN_KEYS:
        return [(line, 1) for line in lines]
    alike: dict[str, list[Line]] = {}
    for line in lines:
        form = replace(line, key_id=str(is_current(line.key_id, current)), values=0, bytes=0)
        alike.setdefault(repr(form), []).append(line)
    found = []
    for group in alike.values():
        values, size = sum(line.values for line in group), sum(line.bytes for line in group)
        keys = {line.key_id for line in group}
        found.append((replace(group[0], values=values, bytes=size), len(keys)))
    return found


def _stored_as(line: Line, keys: int, current: Sequence[str]) -> str:
    if line.kind != SEALED:
        return line.kind
    parts = [line.cipher, "zstd"] if line.compressed else [line.cipher]
    age = "" if not current else " (current)" if is_current(line.key_id, current) else " (old)"
    named = f"key {line.key_id[:12]}" if keys == 1 else f"{keys:,} keys"
    parts += ["bound" if line.bound else "unbound", f"{named}{age}"]
    parts += [f"{name}={value!r}" for name, value in (line.context or {}).items()]
    return ", ".join(parts)


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"
