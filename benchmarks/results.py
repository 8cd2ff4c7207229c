"""What a report is made of: everything that was measured in one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """Everything that was measured in one run.

    Attributes:
        date: When, in UTC.
        machine: On what.
        versions: With what.
        smoke: Whether the rounds were too few to go by.
        values: Serializing and sealing bytes: size, series, seconds, seconds of plaintext, ratio.
        runs: Whole graph runs: saver, subject, ratio to plaintext, its quartiles.
        sizes: Databases: name, characters of a message, bytes, checkpoints.
        growth: Calls on a growing thread: checkpoints, call, seconds by saver.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    smoke: bool
    values: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[dict[str, Any]] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
