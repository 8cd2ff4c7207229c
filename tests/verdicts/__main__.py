"""A long run: ``python -m tests.verdicts --edits 10000 --seed 0 --saver sqlite``."""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.lives.worlds import in_memory
from tests.verdicts.edits.table import Target
from tests.verdicts.judge import judge
from tests.verdicts.prepared import prepare
from tests.verdicts.random_edits import Op, applied, draw
from tests.verdicts.rows import Rows
from tests.verdicts.stores import SAVERS, Store, no_pauses, opened


def ways(seed: int) -> tuple[str, ...]:
    """Draws which of the expensive readers look at an edit: re-encryption in one direction always, copies now and then."""
    rng = Random(f"ways/{seed}")
    return (
        rng.choice(("rotate", "rotate", "plaintext", "plaintext", "serde")),
        *(way for way in ("copy", "scan") if rng.random() < 0.3),
    )


def differences(store: Store, rows: Rows, target: Target, ops: tuple[Op, ...], seed: int) -> list[str]:
    """Says where two readers differ over random edits."""
    try:
        return list(judge(store, applied(ops, rows, target), ways=ways(seed)))
    except Exception as error:  # noqa: BLE001  # no reader may end so
        return [f"raised {type(error).__name__}: {error}"]


def shrunk(store: Store, rows: Rows, target: Target, ops: tuple[Op, ...], seed: int) -> tuple[Op, ...]:
    """Leaves out edits, as long as readers still differ."""
    for op in ops:
        fewer = tuple(other for other in ops if other is not op)
        if fewer and differences(store, rows, target, fewer, seed):
            ops = fewer
    return ops


def kind_of(said: str) -> str:
    """Returns what differences of one cause have in common, as a rule."""
    return re.sub(r"Place\([^)]*\)|\(thread '.*|'[^']*'|\(\('.*?\)\)|[0-9a-f]{8,}\S*", "_", said)[:170]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.verdicts", description=__doc__)
    parser.add_argument("--edits", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first (0); the next one has the next seed")
    parser.add_argument("--saver", choices=SAVERS, default="sqlite", help="which kind of saver")
    parser.add_argument("--keep-going", action="store_true", help="count what differs, and show each kind of it once")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    kinds: dict[str, int] = {}
    began, number = time.monotonic(), 0
    with no_pauses(), tempfile.TemporaryDirectory(dir=in_memory()) as folder, opened(asked.saver, Path(folder)) as store:
        rows, target = prepare(store)
        for number in range(1, asked.edits + 1):
            seed = asked.seed + number - 1
            ops = draw(seed)
            said = differences(store, rows, target, ops, seed)
            if said and (kind := kind_of(said[0])) not in kinds:
                print("\n".join(_shown(store, rows, target, ops, seed)), flush=True)
            if said:
                kinds[kind] = kinds.get(kind, 0) + 1
                if not asked.keep_going:
                    break
            if number % 500 == 0 or sys.stderr.isatty():
                seconds = time.monotonic() - began
                print(f"{number} edits on {asked.saver}, {sum(kinds.values())} differ, {seconds:.0f} s", file=sys.stderr)
    seconds = time.monotonic() - began
    last = asked.seed + number - 1
    print(f"{number} edits on {asked.saver}, seeds {asked.seed} to {last}: {sum(kinds.values())} differ ({seconds:.0f} s)")
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"  {count:5} {kind}")
    return 1 if kinds else 0


def _shown(store: Store, rows: Rows, target: Target, ops: tuple[Op, ...], seed: int) -> Iterator[str]:
    ops = shrunk(store, rows, target, ops, seed)
    yield f"seed {seed}: {', '.join(f'Op({op.kind!r}, {op.seed})' for op in ops)}"
    yield from (f"  {said[:500]}" for said in differences(store, rows, target, ops, seed)[:3])


if __name__ == "__main__":
    raise SystemExit(main())
