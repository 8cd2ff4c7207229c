"""Breaks the code in one place at a time and asks the tests: ``nox -s mutation``; ``docs/mutation.md`` has what a run gave.

mutmut writes the mutants and shows them. Its own run collects the tests again for each mutant, which takes longer than most of
the tests. Here they are collected once, and each mutant is tried in a fork: by the tests that killed others of its function
first, and then by all that reach the function.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

KILLED, SURVIVED, UNREACHED, ENDED = 1, 0, 33, 36
"""How mutmut notes what became of a mutant."""

SECONDS = 5.0
"""So long a test may compute beyond twenty times what it takes. One that waits may take ten times as long."""


ALL_TESTS = 2.0
"""So many seconds of tests are asked about a mutant, the quickest modules first. With all, most of the time goes into survivors."""


def generate() -> None:
    """Writes ``mutants/``: the package with every mutant in it, and beside it what the tests need."""
    from mutmut import __main__ as mutmut

    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(os.cpu_count() or 1)


class Mutants:
    """Runs every mutant whose name fits, in place of the tests.

    Args:
        patterns: What names of mutants fit.
    """

    def __init__(self, patterns: list[str]) -> None:
        self._patterns = patterns or ["*"]
        self._reached: dict[str, dict[pytest.Item, float]] = defaultdict(dict)
        self._killers: dict[str, Counter[pytest.Item]] = defaultdict(Counter)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tries the mutants instead of running the tests once."""
        items = {item.nodeid: item for item in session.items}
        failed, reached = self._reach(session.items)  # in this process: what is imported or warm now is so in every fork
        if failed:
            pytest.exit(f"without a mutant these fail: {failed}", 1)
        gc.collect()
        gc.freeze()
        for function, seconds in reached.items():
            self._reached[function] = {items[name]: taken for name, taken in seconds.items() if is_asked(name, function)}
        for path in sorted(Path().rglob("*.meta")):
            noted = json.loads(path.read_text())
            outcomes = noted["exit_code_by_key"]
            for name in outcomes:
                if outcomes[name] != KILLED and drawn(name) and any(fnmatch(name, pattern) for pattern in self._patterns):
                    outcomes[name] = self._try(name)
                    path.write_text(json.dumps(noted, indent=4))
        return True

    def _reach(self, items: list[pytest.Item]) -> tuple[list[str], dict[str, dict[str, float]]]:
        """Runs all tests without a mutant. Returns which fail, and for each function the tests that reach it, with their time."""
        from mutmut.state import state

        os.environ["MUTANT_UNDER_TEST"] = "stats"
        reached: dict[str, dict[str, float]] = defaultdict(dict)
        failed = []
        for item, following in zip(items, [*items[1:], None], strict=True):
            state()._stats.clear()
            begun = time.process_time()
            if not passes(item, following):
                failed.append(item.nodeid)
            for function in state()._stats:
                reached[function][item.nodeid] = time.process_time() - begun
        os.environ["MUTANT_UNDER_TEST"] = ""
        return failed, dict(reached)

    def _try(self, name: str) -> int:
        function = name.rpartition("__mutmut_")[0]
        reached = self._reached.get(function)
        if not reached:
            print("unreached", name, flush=True)
            return UNREACHED
        order = [*self._order(function)]
        begun = time.monotonic()
        killer = in_fork(lambda: first_failure(name, order, reached), 600 + 20 * sum(reached.values()))
        outcome = ENDED if killer is None else SURVIVED if killer < 0 else KILLED
        if outcome == KILLED:
            self._killers[function][order[killer]] += 1
        said = {KILLED: "killed", SURVIVED: "survived", ENDED: "ended"}[outcome]
        print(said, name, f"{time.monotonic() - begun:.1f}", order[killer].nodeid if outcome == KILLED else "", flush=True)
        return outcome

    def _order(self, function: str) -> Iterator[pytest.Item]:
        """Yields the tests of a function: what killed before, then the quickest modules first, so that each is set up once."""
        reached, left = self._reached[function], ALL_TESTS
        first = [item for item, _ in self._killers[function].most_common(8)]
        yield from first
        rest = [item for item in reached if item not in first]
        groups = [[*group] for _, group in groupby(rest, lambda item: item.nodeid.partition("::")[0])]
        for item in chain(*sorted(groups, key=lambda group: sum(map(reached.__getitem__, group)))):
            left -= reached[item]
            if left < 0:
                return
            yield item


SHARE = float(os.environ.get("MUTANTS", "1"))
"""Which part of the mutants is tried: 0.25 draws a quarter, the same ones each time."""


def drawn(name: str) -> bool:
    """Says whether a mutant belongs to the sample."""
    return zlib.crc32(name.encode()) < SHARE * (1 << 32)


def is_asked(test: str, function: str) -> bool:
    """Says whether a test is asked about a function: tests of the anchor read rows too, but have nothing to say of them."""
    return not test.startswith("tests/anchor/") or ".anchor." in function


def first_failure(name: str, order: list[pytest.Item], seconds: dict[pytest.Item, float]) -> int:
    """Returns which test fails first with a mutant, or -1. A signal ends the process if one takes too long."""
    os.environ["MUTANT_UNDER_TEST"] = name
    for index, (item, following) in enumerate(zip(order, [*order[1:], None], strict=True)):
        limit = SECONDS + 20 * seconds[item]
        signal.setitimer(signal.ITIMER_VIRTUAL, limit)
        signal.setitimer(signal.ITIMER_REAL, 10 * limit)
        if not passes(item, following):
            return index
    return -1


def passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Runs a test, and says whether it passed or was skipped."""
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def in_fork(work: Callable[[], Any], seconds: float) -> Any:
    """Returns what some work in a forked process gives; None if a signal ended it."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        signal.alarm(int(seconds))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            with os.fdopen(writing, "wb") as answer:
                answer.write(pickle.dumps(work()))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return pickle.loads(said) if said else None


def main() -> int:
    """Makes the mutants and tries those that the arguments name, or all."""
    del sys.path[0]  # this folder, whose modules have names of others
    generate()
    from mutmut.configuration import config

    os.chdir("mutants")
    sys.path.insert(0, os.getcwd())
    chosen = [*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
    return pytest.main(["--rootdir=.", "-s", "--tb=native", "-p", "no:randomly", *chosen], plugins=[Mutants(sys.argv[1:])])


if __name__ == "__main__":
    sys.exit(main())
