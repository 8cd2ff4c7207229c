"""What the second process of the graph pass runs: it opens the same data and answers the interrupt."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from encrypted_serde import Key
from tests.coverage.graph_steps import resume, wrapped
from tests.coverage.savers import ROWS


async def _main(row_id: str, where: str, mode: str) -> None:
    row = next(row for row in ROWS if row.id == row_id)
    text = os.environ["COVERAGE_KEY"]
    async with row.open(where, None) as inner:
        print(json.dumps(await resume(wrapped(inner, Key.from_text(text) if text else None), mode)))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
