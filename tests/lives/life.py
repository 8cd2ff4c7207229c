"""One life beside the plain saver, and the smallest one that still fails."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from tests.lives import shapes, steps
from tests.lives.seen import outcome, seen
from tests.lives.shapes import Graph, Script
from tests.lives.steps import Now, Step
from tests.lives.worlds import Home, OurWorld, World


class Life(NamedTuple):
    """A life, as it was drawn.

    Attributes:
        seed: Of its first release and of how it is wrapped.
        steps: What happens in it.
    """

    seed: int
    steps: tuple[Step, ...]


class Difference(NamedTuple):
    """Where the two worlds are not the same.

    Attributes:
        life: The life, up to the step that showed it.
        what: What was read or done.
        plain, ours: What it gave.
        complaint: The last error that our world raised, if it did.
    """

    life: Life
    what: str
    plain: Any
    ours: Any
    complaint: str

    @property
    def kind(self) -> str:
        """What two differences of one cause have in common, as a rule."""
        said = re.sub(r"\(thread.*|'[^']*'|[0-9a-f]{8,}\S*", "_", self.complaint)[:110]
        step, _, what = self.what.partition(":")
        return said or f"{step}: {what.split(' of ')[0]}"

    def __str__(self) -> str:
        told = "\n".join(f"    Step({step.kind!r}, {step.seed})," for step in self.life.steps)
        path, plain, ours = _apart(self.plain, self.ours)
        return (
            f"life {self.life.seed}, {self.what}\n  at {path or '/'}\n  plain: {_short(plain)}\n  ours:  {_short(ours)}\n"
            f"  {self.complaint}\n  first release: {first_release(self.life)}\n  steps:\n{told}"
        )


def draw(seed: int) -> Life:
    """Draws a life of 4 to 14 steps."""
    rng = Random(seed)
    return Life(seed, (Step("run", rng.randrange(2**32)), *(steps.draw(rng) for _ in range(rng.randint(3, 13)))))


def first_release(life: Life) -> Graph:
    return shapes.draw(Random(f"release/{life.seed}"))


def live(life: Life, homes: tuple[Home, Home], *, oracle: bool = False, anchored: bool = False) -> Difference | None:
    """Lives a life in both worlds.

    Args:
        life: What happens.
        homes: Two databases. They are emptied first.
        oracle: Whether the second world is a plain one, too: what differs then is a fault of the generator.
        anchored: Whether the second world has an anchor.

    Returns:
        The first difference, if there is one.
    """
    for home in homes:
        home.clear()
    plain = World(homes[0])
    ours = World(homes[1]) if oracle else OurWorld(homes[1], Random(f"options/{life.seed}"), anchored=anchored)
    now = Now(first_release(life), plain)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        for number, step in enumerate(life.steps):
            try:
                found = _step(step, now, (plain, ours), number == len(life.steps) - 1)
            except _Race:
                return None
            if found is not None:
                return Difference(Life(life.seed, life.steps[: number + 1]), *found, ours.complaint)
    return None


def _step(step: Step, now: Now, worlds: tuple[World, World], is_last: bool) -> tuple[str, Any, Any] | None:
    act, script = steps.act(step, now)
    answers, readings = [], []
    for world in worlds:
        world.turn, world.complaint = step.seed % 2, ""
        world.build = _builder(world, script)
        own = world.graph = world.build(now.graph)
        answers.append(outcome(lambda world=world: act(world), world))
        if "_put_checkpoint_fut" in world.complaint:  # LangGraph was stopped before it had stored its first checkpoint
            raise _Race
        world.turn = step.seed // 2 % 2
        own.checkpointer, world.graph = world.saver, own
        threads = now.threads if is_last else [now.thread]
        read = seen(world, own, threads, Random(step.seed), is_last)
        readings.append([("the step itself", answers[-1]), *read, ("verify", outcome(world.check, world))])
    if _is_a_race(worlds[0], now, answers[0], step):
        raise _Race
    for (what, plain), (_, ours) in zip(*readings, strict=True):
        if plain != ours:
            return f"{step.kind}: {what}", plain, ours
    return None


def _builder(world: World, script: Script) -> Callable[[Graph], Any]:
    return lambda graph: shapes.build(graph, world.saver, Script(script.seed, script.eagerness))


class _Race(Exception):
    """A run failed in the middle: what other tasks had stored by then is a matter of luck, in the plain saver, too."""


def _is_a_race(plain: World, now: Now, answer: Any, step: Step) -> bool:
    if not isinstance(answer, tuple) or answer[0] != "raised":
        return False
    # Which tasks another graph had is not to be seen any more. A run whose input is refused waits for none of its writes.
    if step.kind == "other graph" or answer[1] == "InvalidUpdateError":
        return True
    listed = plain.calls.all(plain.saver, "list", now.config())
    newest = {row.config["configurable"].get("checkpoint_ns", ""): row for row in reversed(listed)}
    return any(len({write[0] for write in row.pending_writes or ()}) > 1 for row in newest.values()) or _has_parallel(
        plain, now
    )


def _has_parallel(plain: World, now: Now) -> bool:
    try:
        state = plain.calls.one(plain.graph, "get_state", now.config(), subgraphs=True)
    except Exception:  # noqa: BLE001  # it cannot be read in our world either
        return False
    inside = [task.state for task in state.tasks if hasattr(task.state, "tasks")]
    return any(len(found.tasks) > 1 for found in (state, *inside))


class _quiet:  # noqa: N801
    """Leaves out what is logged of failing nodes, and of what switches admit."""

    def __enter__(self) -> None:
        logging.disable(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        logging.disable(logging.NOTSET)


def shrunk(found: Difference, homes: tuple[Home, Home], *, rounds: int = 4, **options: bool) -> Difference:
    """Leaves out steps, as long as what is left still fails."""
    for _ in range(rounds):
        before = found
        for number in reversed(range(len(found.life.steps))):
            if number >= len(found.life.steps):
                continue
            fewer = (*found.life.steps[:number], *found.life.steps[number + 1 :])
            if fewer and (smaller := live(found.life._replace(steps=fewer), homes, **options)):
                found = smaller
        if found.life == before.life:
            break
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else f"{text[:200]} ... {text[-200:]}"


def _apart(plain: Any, ours: Any, path: str = "") -> tuple[str, Any, Any]:
    """Follows two readings down to where they differ. Returns the way there, and what is there."""
    both = (plain, ours)
    if all(isinstance(side, dict) for side in both) and plain.keys() == ours.keys():
        inside = [(name, plain[name], ours[name]) for name in plain]
    elif all(isinstance(side, (list, tuple)) for side in both) and len(plain) == len(ours):
        inside = [(number, *pair) for number, pair in enumerate(zip(plain, ours, strict=True))]
    else:
        return path, plain, ours
    different = [part for part in inside if part[1] != part[2]]
    if len(different) != 1:
        return path, plain, ours
    name, *pair = different[0]
    return _apart(*pair, f"{path}/{name}")
