"""Which rows a command is about, how far it is, and ids that tell a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ..errors import ConfigurationError

THREAD = "thread_id"


class Progress(NamedTuple):
    """How far a command is.

    Attributes:
        table: The table it is in.
        rows: Rows read so far, of all tables.
        total: Rows of all tables, estimated; None where nobody knows.
        bytes: Bytes read so far.
        done: Rows rewritten or deleted so far.
    """

    table: str
    rows: int
    total: int | None
    bytes: int
    done: int = 0


ProgressListener = Callable[[Progress], None]


class Selection(NamedTuple):
    """Which rows are meant.

    Attributes:
        threads: Only of these threads; of all where there are none. Items of stores belong to none.
        since: Only of checkpoints not older than this, as far as their ids tell a time. Ids of items tell none.
        sample: About this part of the rows, drawn anew each time.
        partition: ``(3, 16)``: only threads (and namespaces of items) of the third of sixteen parts, so that as many processes
            share the work.
    """

    threads: Sequence[str] = ()
    since: datetime | None = None
    sample: float = 1.0
    partition: tuple[int, int] | None = None

    def check(self) -> None:
        """Raises ConfigurationError if it cannot be meant."""
        if not 0 < self.sample <= 1:
            raise ConfigurationError("a sample is more than 0 and at most 1 (100%)")
        if self.partition and not 1 <= self.partition[0] <= self.partition[1]:
            raise ConfigurationError("a partition is (number, of how many), such as (3, 16), counted from 1")

    def check_whole(self, command: str, rate: float | None) -> None:
        """Raises ConfigurationError if it takes threads apart, or so many rows a second cannot be meant."""
        if self.sample < 1 or self.since is not None or (rate is not None and rate <= 0):
            raise ConfigurationError(f"{command} takes whole threads, neither a sample nor a date, and a positive rate")

    def described(self) -> dict[str, Any]:
        """Returns it for a report."""
        return {
            "threads": [*self.threads],
            "since": self.since and self.since.isoformat(),
            "sample": self.sample,
            "partition": self.partition and "/".join(map(str, self.partition)),
        }


# --- ids that tell a time ---------------------------------------------------------------------------------------------

DATED = "________-____-6___-____-____________"
"""SQL pattern of the ids that LangGraph gives checkpoints: UUIDs of version 6, which sort by time."""

_UUID_EPOCH = datetime(1582, 10, 15, tzinfo=timezone.utc)


def first_id(moment: datetime) -> str:
    """Returns the smallest id of a checkpoint of a time."""
    delta = moment - _UUID_EPOCH
    ticks = (delta.days * 86_400 + delta.seconds) * 10_000_000 + delta.microseconds * 10
    return f"{ticks >> 28:08x}-{ticks >> 12 & 0xFFFF:04x}-6{ticks & 0xFFF:03x}-0000-000000000000"


def part_of(owner: object, parts: int) -> int:
    """Returns the part that a thread or a namespace belongs to, for databases that have no function for that."""
    return zlib.crc32(str(owner).encode("utf-8", "surrogatepass")) % parts
