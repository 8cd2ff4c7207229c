"""Breaks the code in one place at a time and asks the tests: ``nox -s mutation``; ``docs/mutation.md`` has what a run gave.

mutmut writes the mutants and shows them. Its own run collects the tests again for each mutant, which takes longer than most of
the tests. Here they are collected and run once, and each mutant is tried in a fork: by the tests that killed others of its
function first, and then by all that reach the function, the quickest modules first. What was killed is not tried again while
``mutants/`` is there.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from itertools import chain, groupby
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

SHARE = float(os.environ.get("MUTANTS", "1"))
"""Which part of the mutants is tried: 0.25 draws a quarter, the same ones each time."""

ALL_TESTS = 6.0
"""Seconds of tests that are asked about one mutant. With all of them most of the time goes into mutants that survive."""

ONE_TEST = 5.0
"""Seconds that a test may compute beyond twenty times what it takes without a mutant. If it waits it has ten times as long."""

KILLED, SURVIVED, UNREACHED, ENDED = 1, 0, 33, 36
"""How mutmut notes what became of a mutant."""

SAYS = {KILLED: "killed", SURVIVED: "survived", UNREACHED: "unreached", ENDED: "ended"}


def generate() -> None:
    """Writes ``mutants/``: the package with every mutant in it, and beside it what the tests need."""
    from mutmut import __main__ as mutmut

    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(os.cpu_count() or 1)


class Mutants:
    """Tries every mutant whose name fits, in place of a run of the tests.

    Args:
        patterns: What names of mutants fit; all if there are none.
    """

    def __init__(self, patterns: list[str]) -> None:
        self._patterns = patterns or ["*"]
        self._reached: dict[str, dict[pytest.Item, float]] = defaultdict(dict)
        self._killers: dict[str, Counter[pytest.Item]] = defaultdict(Counter)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs the tests once, in this process: what they import and warm up is there in every fork. Then tries the mutants."""
        if failed := self._reach(session.items):
            pytest.exit(f"without a mutant these fail: {failed}", 1)
        gc.collect()
        gc.freeze()
        noted = {path: json.loads(path.read_text()) for path in Path().rglob("*.meta")}
        chosen = [(path, name) for path, each in noted.items() for name in each["exit_code_by_key"] if self._is_chosen(name)]
        for path, name in sorted(chosen, key=lambda each: drawn(each[1])):  # what was tried until now is always a sample
            outcomes = noted[path]["exit_code_by_key"]
            if outcomes[name] != KILLED:
                outcomes[name] = self._try(name)
                path.write_text(json.dumps(noted[path], indent=4))
        return True

    def _is_chosen(self, name: str) -> bool:
        return drawn(name) < SHARE and any(fnmatch(name, pattern) for pattern in self._patterns)

    def _reach(self, items: list[pytest.Item]) -> list[str]:
        """Runs the tests without a mutant, and notes for each function those that reach it. Returns which fail."""
        from mutmut.state import state

        os.environ["MUTANT_UNDER_TEST"] = "stats"
        failed = []
        for item, following in zip(items, [*items[1:], None], strict=True):
            state()._stats.clear()
            begun = time.process_time()
            if not passes(item, following):
                failed.append(item.nodeid)
            for function in state()._stats:
                if is_asked(item.nodeid, function):
                    self._reached[function][item] = time.process_time() - begun
        os.environ["MUTANT_UNDER_TEST"] = ""
        return failed

    def _try(self, name: str) -> int:
        function = name.rpartition("__mutmut_")[0]
        order, begun = [*self._order(function)], time.monotonic()
        killer = in_fork(lambda: first_failure(name, order, self._reached[function])) if order else None
        outcome = (ENDED if order else UNREACHED) if killer is None else KILLED if killer >= 0 else SURVIVED
        by = order[killer] if killer is not None and outcome == KILLED else None
        self._killers[function].update([by] if by else ())
        print(SAYS[outcome], name, f"{time.monotonic() - begun:.1f} s", by.nodeid if by else "", flush=True)
        return outcome

    def _order(self, function: str) -> Iterator[pytest.Item]:
        """Yields the tests of a function: what killed before, then module by module, so that each is set up once."""
        reached, left = self._reached.get(function, {}), ALL_TESTS
        first = [item for item, _ in self._killers[function].most_common(8)]
        yield from first
        rest = [item for item in reached if item not in first]
        modules = [[*group] for _, group in groupby(rest, lambda item: item.nodeid.partition("::")[0])]
        for item in chain(*sorted(modules, key=lambda group: sum(map(reached.__getitem__, group)))):
            left -= reached[item]
            if left < 0:
                return
            yield item


def drawn(name: str) -> float:
    """Returns a number below 1 that is always the same for a mutant."""
    return zlib.crc32(name.encode()) / (1 << 32)


def is_asked(test: str, function: str) -> bool:
    """Says whether a test is asked about a function: tests of the anchor read rows too, but have nothing to say of them."""
    return not test.startswith("tests/anchor/") or ".anchor." in function


def first_failure(name: str, order: list[pytest.Item], seconds: dict[pytest.Item, float]) -> int:
    """Returns which test fails first with a mutant, or -1. A signal ends the process if one takes too long."""
    os.environ["MUTANT_UNDER_TEST"] = name
    for index, (item, following) in enumerate(zip(order, [*order[1:], None], strict=True)):
        limit = ONE_TEST + 20 * seconds[item]
        signal.setitimer(signal.ITIMER_VIRTUAL, limit)
        signal.setitimer(signal.ITIMER_REAL, 10 * limit)
        if not passes(item, following):
            return index
    return -1


def passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Runs a test, and says whether it passed or was skipped."""
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def in_fork(work: Callable[[], int]) -> int | None:
    """Returns what some work in a forked process returns; None if a signal or an error of pytest ended it."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            with os.fdopen(writing, "wb") as answer:
                answer.write(b"%d" % work())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return int(said) if said else None


def main() -> int:
    """Makes the mutants and tries those that the arguments name, or all."""
    del sys.path[0]  # this folder, whose modules have names of others
    generate()
    from mutmut.configuration import config

    os.chdir("mutants")
    sys.path.insert(0, str(Path.cwd()))
    from tests.postgres import DSN_VARIABLE, running_postgres

    chosen = [*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
    with running_postgres() as dsn:  # one server for all forks
        os.environ[DSN_VARIABLE] = dsn
        return int(pytest.main(["--rootdir=.", "-s", "--tb=native", *chosen], plugins=[Mutants(sys.argv[1:])]))


if __name__ == "__main__":
    sys.exit(main())
