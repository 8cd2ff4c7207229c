"""Comparing two things on a machine that is not quiet: in turns, many times, each turn next to its counterpart.

Two figures taken one after the other differ by whatever else ran meanwhile. Two that are taken in turns share it, so their
ratio holds still where neither of them does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

Sample = Callable[[], float]
"""Takes one measurement and gives seconds."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: For each comparison; more pairs are taken until it is spent.
        pairs: How many pairs there are at least.
        batch: Seconds that one sample of a short call should take, by repeating it.
    """

    seconds: float
    pairs: int
    batch: float


FULL = Effort(seconds=6.0, pairs=15, batch=0.002)
SMOKE = Effort(seconds=0.02, pairs=1, batch=0.0005)


@dataclass(frozen=True)
class Measurement:
    """Pairs of seconds: the subject's and the baseline's.

    Attributes:
        pairs: As they were taken.
        subject: The shortest time of the subject.
        baseline: The shortest time of the baseline.
        ratio: The median of the ratios of all pairs: the figure to go by.
        spread: The quartiles of the ratios of all pairs: half of them lie between these two.
        of_minima: The ratio of the shortest times. Where the two are far apart, the machine was too busy to tell.
    """

    pairs: list[tuple[float, float]]

    @property
    def subject(self) -> float:
        return min(subject for subject, _ in self.pairs)

    @property
    def baseline(self) -> float:
        return min(baseline for _, baseline in self.pairs)

    @property
    def ratio(self) -> float:
        return statistics.median(subject / baseline for subject, baseline in self.pairs)

    @property
    def spread(self) -> tuple[float, float]:
        ratios = sorted(subject / baseline for subject, baseline in self.pairs)
        return ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]

    @property
    def of_minima(self) -> float:
        return self.subject / self.baseline


def measure(subject: Sample, baseline: Sample, effort: Effort) -> Measurement:
    """Takes samples in turns, until the effort is spent. The garbage collector stays on, as it is in use."""
    subject(), baseline()  # what is made on first use was made then
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + effort.seconds
    while len(pairs) < effort.pairs or time.perf_counter() < end:
        if len(pairs) % 2:  # whoever comes second may find warmer caches: take turns in that, too
            second = baseline()
            pairs.append((subject(), second))
        else:
            pairs.append((subject(), baseline()))
    return Measurement(pairs)


def call_sample(call: Callable[[], Any], batch: float) -> Sample:
    """Measures a call that may be repeated as it is, so often that a sample takes `batch` seconds."""

    def timed(number: int) -> float:
        start = time.perf_counter()
        for _ in repeat(None, number):
            call()
        return time.perf_counter() - start

    number = 1
    # The shortest of three, so that one interruption does not pass for a slow call.
    while (taken := min(timed(number) for _ in range(3))) < batch / 2:
        number = max(2 * number, int(number * batch / max(taken, 1e-9)))
    return lambda: timed(number) / number


def run_sample(run: Callable[[], Any], clean: Callable[[Any], Any]) -> Sample:
    """Measures one run, and cleans up behind it while nobody measures.

    Args:
        run: What is measured.
        clean: Is given what `run` returned.
    """

    def timed() -> float:
        start = time.perf_counter()
        result = run()
        taken = time.perf_counter() - start
        clean(result)
        return taken

    return timed
