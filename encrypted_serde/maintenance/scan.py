"""`scan`: what is sealed in a database, how, and what is not. Needs no key."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from ..wrapping.inert import Inert
from .database import Database, open_database
from .model import NONE, PLAINTEXT, UNDECODABLE, Line, Progress, ProgressListener, ScanReport, Seen

MAX_LINES = 10_000
"""How many different lines a report has at most; names of metadata keys and contexts are chosen by whoever writes rows."""

SAMPLE_CHARACTERS = 60
"""How much of a value a sample shows."""

_REPORT_EVERY = 500  # rows


def scan(
    database: str | Path,
    *,
    threads: Sequence[str] = (),
    readable_metadata: Collection[str] = (),
    samples: int = 0,
    progress: ProgressListener | None = None,
) -> ScanReport:
    """Looks at every value of a checkpointer's database and says how it is stored.

    Nothing is decrypted and no key is needed, so nothing is proved either: somebody who writes rows can make a value look
    sealed. Only reading it proves that it is.

    Args:
        database: Path of a SQLite file, or URL of a Postgres database.
        threads: Only these thread ids; all where there are none.
        readable_metadata: Metadata keys that are readable on purpose, as `EncryptedSaver` was told.
        samples: How many values of each kind that is plaintext or undecodable to show, shortened. **The report then holds
            plaintext.**
        progress: Is told now and then how far it is.

    Raises:
        DatabaseFailed: If the database cannot be read, or is none of a checkpointer.
        ConfigurationError: If the driver for it is not installed.
    """
    with open_database(database, write=False) as opened:
        return scan_opened(opened, threads, readable_metadata, samples, progress)


def scan_opened(
    database: Database,
    threads: Sequence[str],
    readable_metadata: Collection[str],
    samples: int,
    progress: ProgressListener | None,
    visit: Callable[[list[Seen]], None] | None = None,
) -> ScanReport:
    """Does what `scan` does, on a database that is open already. `visit` is given what was found in each row."""
    report = ScanReport(database.label)
    lines: dict[tuple[Any, ...], Line] = {}
    totals = [database.count(table, threads) for table in database.tables] if progress else []
    total = None if None in totals else sum(number or 0 for number in totals)
    read = size = 0
    for table in database.tables:
        number = 0
        for row in database.read(table, threads):
            number, read, size = number + 1, read + 1, size + row.size
            found = list(database.look(table, row, readable_metadata))
            if visit is not None:
                visit(found)
            for seen in found:
                if seen.form.kind != NONE:
                    _add(lines, seen, samples)
            if progress is not None and read % _REPORT_EVERY == 0:
                progress(Progress(table, read, total, size))
        report.rows[table] = number
        if progress is not None:
            progress(Progress(table, read, total, size))
    report.lines = [lines[slot] for slot in sorted(lines)]
    return report


def _add(lines: dict[tuple[Any, ...], Line], seen: Seen, samples: int) -> None:
    slot = (seen.column, seen.what, *seen.form)
    line = lines.get(slot)
    if line is None:
        if len(lines) >= MAX_LINES:
            seen = seen._replace(what="(other)", form=seen.form._replace(context=b""))
            slot = (seen.column, seen.what, *seen.form)
        line = lines.setdefault(slot, Line.of(seen))
    line.values += 1
    line.bytes += seen.size
    if len(line.samples) < samples and seen.form.kind in (PLAINTEXT, UNDECODABLE):
        line.samples.append(_sample(seen.value))


def _sample(value: Any) -> str:
    if isinstance(value, Inert):
        value = value.data
    if isinstance(value, (bytes, bytearray, memoryview)):
        text = repr(bytes(value[:SAMPLE_CHARACTERS]))[2:-1]
    else:
        text = json.dumps(value, default=repr)
    return text if len(text) <= SAMPLE_CHARACTERS else f"{text[:SAMPLE_CHARACTERS]}..."
