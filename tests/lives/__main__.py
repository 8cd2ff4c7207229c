"""A long run: ``python -m tests.lives --lives 1000 --seed 0 --saver sqlite``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.lives.life import draw, live, shrunk
from tests.lives.worlds import SAVERS, homes, in_memory


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lives", description=__doc__)
    parser.add_argument("--lives", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the first (0); the next one has the next seed")
    parser.add_argument("--saver", choices=SAVERS, default="sqlite", help="which kind of saver")
    parser.add_argument("--keep-going", action="store_true", help="count what differs, and show each kind of it once")
    parser.add_argument(
        "--oracle", action="store_true", help="a plain saver in both worlds: what differs is the generator's fault"
    )
    parser.add_argument("--anchor", action="store_true", help="with an anchor, which an honest life never offends")
    asked = parser.parse_args()
    kinds: dict[str, int] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder, homes(asked.saver, Path(folder)) as places:
        for number in range(asked.lives):
            found = live(draw(asked.seed + number), places, oracle=asked.oracle, anchored=asked.anchor)
            if found is not None:
                kind = found.kind
                if kind not in kinds:
                    print(shrunk(found, places, oracle=asked.oracle, anchored=asked.anchor), flush=True)
                kinds[kind] = kinds.get(kind, 0) + 1
                if not asked.keep_going:
                    break
            if sys.stderr.isatty() or number % 100 == 99:
                print(f"{number + 1} lives on {asked.saver}, {sum(kinds.values())} differ", file=sys.stderr)
    seconds, last = time.monotonic() - began, asked.seed + number
    print(f"{number + 1} lives on {asked.saver}, seeds {asked.seed} to {last}: {sum(kinds.values())} differ ({seconds:.0f} s)")
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"  {count:5} {kind}")
    return 1 if kinds else 0


if __name__ == "__main__":
    raise SystemExit(main())
