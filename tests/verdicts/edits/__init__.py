"""What somebody may do to stored rows, by name. An edit is the same on every saver on which it means something."""

from __future__ import annotations

from tests.verdicts.edits import checkpoints, packings, values, writes  # noqa: F401  # each enters its edits
from tests.verdicts.edits.absent import ABSENT
from tests.verdicts.edits.table import EDITS

__all__ = ["ABSENT", "EDITS"]
