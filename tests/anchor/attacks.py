"""Lives of applications under attack, drawn from a seed, as many as are asked for.

    python -m tests.anchor.attacks 300000 --seed 1

A life that breaks a promise is made shorter as long as it breaks the same one, and printed: it belongs into `LIVES` then.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
import warnings
from typing import Any

from encrypted_serde.anchor import MemoryAnchor
from tests.anchor.world import SqliteWorld, World

Step = tuple[str, dict[str, Any]]

_AT = {"process": "number", "thread": "number"}
_LOOK = {"reader": "number", "thread": "number", "limit": "number"}
_PUT = {**_AT, "namespace": "number", "parent": "number", "run": "number"}
STEPS: dict[str, dict[str, str]] = {
    "put": {**_PUT, "fuse": "fuse"},
    "put_several": _PUT,
    "write": {**_AT, "row": "number", "task": "number", "channels": "number", "fuse": "fuse"},
    "delete_thread": {**_AT, "fuse": "fuse"},
    "prune": {**_AT, "fuse": "fuse"},
    "delete_for_runs": {"process": "number", "run": "number", "fuse": "fuse"},
    "rotate": {},
    "restart": {"process": "number"},
    "back_up": {},
    "restore": {"backup": "number"},
    "look": _LOOK,
    "attack": {**_LOOK, "edits": "edits", "undoes": "undoes"},
    "lie": _LOOK,
    "undo": {},
}
"""What happens in lives, and the kinds of numbers that say how."""

_OFTEN = [*STEPS, "put_several", "write", "write", "attack", "attack", "attack"]

LIVES: dict[str, list[Step]] = {
    "a backup is accepted while a deletion is open, and lacks a write of what the deletion names": [
        ("put_several", {"process": 2, "thread": 10, "namespace": 8, "parent": 0, "run": 1}),
        ("back_up", {}),
        ("write", {"process": 1, "thread": 0, "row": 13, "task": 11, "channels": 7, "fuse": None}),
        ("prune", {"process": 14, "thread": 6, "fuse": 2}),
        ("restore", {"backup": 9}),
    ],
    "a backup is accepted while the deletion of a thread is open, and lacks what was stored since": [
        ("delete_thread", {"process": 1, "thread": 14, "fuse": 4}),
        ("back_up", {}),
        ("put_several", {"process": 0, "thread": 10, "namespace": 6, "parent": 15, "run": 4}),
        ("put_several", {"process": 2, "thread": 6, "namespace": 13, "parent": 15, "run": 12}),
        ("restore", {"backup": 1}),
        ("attack", {"reader": 10, "thread": 14, "limit": 1, "edits": [(2, 3, 11)], "undoes": True}),
    ],
    "a row that was never entered is put back after its thread was deleted": [
        ("put", {"process": 10, "thread": 11, "namespace": 4, "parent": 5, "run": 14, "fuse": 1}),
        ("delete_thread", {"process": 15, "thread": 7, "fuse": None}),
        ("attack", {"edits": [(12, 1, 7), (3, 9, 11), (1, 13, 1)], "undoes": True, "reader": 8, "thread": 13, "limit": 7}),
    ],
    "a checkpoint whose parent a run had written, which was deleted": [
        ("put_several", {"process": 6, "thread": 7, "namespace": 0, "parent": 14, "run": 10}),
        ("put_several", {"process": 7, "thread": 9, "namespace": 0, "parent": 2, "run": 3}),
        ("put_several", {"process": 12, "thread": 3, "namespace": 9, "parent": 12, "run": 2}),
        ("delete_for_runs", {"process": 3, "run": 0, "fuse": None}),
        ("attack", {"reader": 8, "thread": 9, "limit": 0, "edits": [(5, 12, 3)], "undoes": True}),
    ],
    "a backup brings back the newest checkpoint, which was deleted, and pruning is refused": [
        ("put", {"process": 4, "thread": 3, "namespace": 7, "parent": 14, "run": 1, "fuse": None}),
        ("put", {"process": 14, "thread": 5, "namespace": 1, "parent": 15, "run": 6, "fuse": 5}),
        ("back_up", {}),
        ("delete_for_runs", {"process": 13, "run": 15, "fuse": 5}),
        ("restore", {"backup": 5}),
        ("prune", {"process": 0, "thread": 13, "fuse": None}),
        ("look", {"reader": 2, "thread": 13, "limit": 1}),
        ("delete_for_runs", {"process": 1, "run": 0, "fuse": None}),
        ("prune", {"process": 0, "thread": 13, "fuse": None}),
        ("look", {"reader": 2, "thread": 13, "limit": 1}),
    ],
    "a row that was never entered comes back after its run was deleted, and a pruning that names it does not end": [
        ("put", {"process": 0, "thread": 0, "namespace": 0, "parent": 0, "run": 1, "fuse": 1}),
        ("back_up", {}),
        ("delete_for_runs", {"process": 0, "run": 1, "fuse": None}),
        ("restore", {"backup": 0}),
        ("prune", {"process": 0, "thread": 0, "fuse": 2}),
        ("look", {"reader": 2, "thread": 0, "limit": 1}),
    ],
    "a row that was never entered comes back after its thread was deleted, and a deletion that names it does not end": [
        ("put", {"process": 0, "thread": 0, "namespace": 0, "parent": 0, "run": 1, "fuse": 1}),
        ("back_up", {}),
        ("delete_thread", {"process": 0, "thread": 0, "fuse": None}),
        ("restore", {"backup": 0}),
        ("delete_for_runs", {"process": 0, "run": 1, "fuse": 2}),
        ("look", {"reader": 2, "thread": 0, "limit": 1}),
    ],
}
"""Lives in which something was wrong once, by what it was."""


def live(world: World, steps: list[Step]) -> World:
    """Lives a life."""
    try:
        for name, drawn in steps:
            world.act(name, **drawn)
    finally:
        world.close()
    return world


def drawn_life(seed: int, length: int = 30) -> list[Step]:
    """Draws a life."""
    source = random.Random(seed)  # nothing secret is drawn

    def draw(kind: str) -> Any:
        if kind == "fuse":
            return source.choice([None, None, source.randrange(6)])
        if kind == "edits":
            return [tuple(source.randrange(16) for _ in range(3)) for _ in range(source.randrange(1, 4))]
        return source.random() < 0.75 if kind == "undoes" else source.randrange(16)

    names = [source.choice(_OFTEN) for _ in range(length)]
    return [(name, {each: draw(kind) for each, kind in STEPS[name].items()}) for name in names]


def problem_of(steps: list[Step]) -> str | None:
    """Says what is wrong with a life; None if nothing."""
    try:
        live(SqliteWorld(MemoryAnchor()), steps)
    except Exception as error:  # noqa: BLE001  # whatever is wrong is what is looked for
        return f"{type(error).__name__}: {error}"
    return None


def shortened(steps: list[Step]) -> list[Step]:
    """Leaves steps out for as long as something is wrong of the same class."""
    kind = (problem_of(steps) or "").partition(":")[0]
    for number in reversed(range(len(steps))):
        shorter = [*steps[:number], *steps[number + 1 :]]
        if (problem_of(shorter) or "").partition(":")[0] == kind:
            steps = shorter
    return steps


def main() -> None:
    """Lives until so many attacks were made, or something is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("attacks", type=int)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    began, attacks, lives = time.monotonic(), 0, 0
    while attacks < asked.attacks:
        steps = drawn_life(asked.seed + lives)
        try:
            attacks += live(SqliteWorld(MemoryAnchor()), steps).attacks
        except Exception:
            short = shortened(steps)
            print(f"seed {asked.seed + lives}: {problem_of(short)}", *short, sep="\n    ", flush=True)
            raise
        lives += 1
        if lives % 500 == 0:
            print(f"{attacks:,} attacks in {lives:,} lives, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{attacks:,} attacks in {lives:,} lives from seed {asked.seed}: 0 breaks, 0 false alarms", flush=True)


if __name__ == "__main__":
    main()
