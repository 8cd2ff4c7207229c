"""How much of the two nets a test run takes: one number, ``NETS``, small unless it is set."""

from __future__ import annotations

import os

SHARE = int(os.environ.get("NETS", "20"))
"""Lives in memory and on SQLite; a tenth as many on Postgres; four times as many random edits."""
