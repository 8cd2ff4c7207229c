"""Entries that are put off: added together, by a thread, and never past a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from encrypted_serde import AnchorError, ConfigurationError
from encrypted_serde.anchor import MemoryAnchor
from encrypted_serde.anchor.lag import LaggingAnchor
from tests.anchor.entries import NAMESPACE, THREAD, stored


class _Noted(MemoryAnchor):
    """Notes each call of append, and fails when told to."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.fails = False
        self.was_called = threading.Event()

    def append(self, entries):
        entries = [*entries]
        self.calls.append(len(entries))
        self.was_called.set()
        if self.fails:
            raise AnchorError("not there", retryable=True)
        super().append(entries)


def test_entries_are_added_together_by_a_thread():
    behind = _Noted()
    lagging = LaggingAnchor(behind, 0.05)
    for number in range(5):
        lagging.append([stored(number)])
    assert behind.was_called.wait(10)
    lagging.flush()
    assert sum(behind.calls) == 5
    assert len(behind.calls) < 5
    assert len(behind.entries(THREAD)) == 5


@pytest.mark.parametrize("read", [lambda a: a.entries(THREAD), lambda a: a.newest(THREAD, NAMESPACE), lambda a: a.threads()])
def test_who_reads_sees_what_waits(read):
    lagging = LaggingAnchor(_Noted(), 60)
    lagging.append([stored(0)])
    assert len(read(lagging)) == 1


def test_nothing_is_read_or_written_past_a_failure():
    behind = _Noted()
    lagging = LaggingAnchor(behind, 0.01)
    behind.fails = True
    lagging.append([stored(0)])
    assert behind.was_called.wait(10)
    lagging._thread and lagging._thread.join(10)
    with pytest.raises(AnchorError):
        lagging.append([stored(1)])
    with pytest.raises(AnchorError):
        lagging.entries(THREAD)
    behind.fails = False
    lagging.append([stored(2)])
    assert [entry.checkpoint for entry in lagging.entries(THREAD)] == [stored(number).checkpoint for number in range(3)]


def test_a_thread_that_ended_is_started_again(monkeypatch):
    monkeypatch.setattr("encrypted_serde.anchor.lag._IDLE_SECONDS", 0.01)
    behind = _Noted()
    lagging = LaggingAnchor(behind, 0.01)
    for number in range(3):
        behind.was_called.clear()
        lagging.append([stored(number)])
        assert behind.was_called.wait(10)
        if lagging._thread:
            lagging._thread.join(10)
    assert len(lagging.entries(THREAD)) == 3


_ENDS = """
import sys
from encrypted_serde.anchor import SqliteAnchor
from encrypted_serde.anchor.lag import LaggingAnchor
from tests.anchor.entries import stored
LaggingAnchor(SqliteAnchor(sys.argv[1]), 60).append([stored(0)])
anchor = LaggingAnchor(SqliteAnchor(sys.argv[1]), 60)
anchor.append([stored(1)])
"""


def test_a_process_that_ends_adds_what_waits(tmp_path):
    from encrypted_serde.anchor import SqliteAnchor

    subprocess.run([sys.executable, "-c", _ENDS, str(tmp_path / "anchor.db")], check=True)
    anchor = SqliteAnchor(tmp_path / "anchor.db")
    assert {entry.checkpoint for entry in anchor.entries(THREAD)} == {stored(number).checkpoint for number in range(2)}
    anchor.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_leaves_to_its_parent_what_waits(tmp_path):
    from encrypted_serde.anchor import SqliteAnchor

    lagging = LaggingAnchor(SqliteAnchor(tmp_path / "anchor.db"), 60)
    lagging.append([stored(0)])
    child = os.fork()
    if child == 0:
        try:
            lagging.append([stored(1)])
            lagging.flush()
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert len(lagging.anchor.entries(THREAD)) == 1
    assert len(lagging.entries(THREAD)) == 2
    lagging.anchor.close()


@pytest.mark.parametrize("max_lag", [0, -1, 61, float("nan"), float("inf")])
def test_a_lag_out_of_range_is_refused(max_lag):
    with pytest.raises(ConfigurationError, match="max_lag"):
        LaggingAnchor(MemoryAnchor(), max_lag)


@pytest.mark.parametrize("max_lag", ["1", True])
def test_a_lag_that_is_no_number_is_refused(max_lag):
    with pytest.raises(TypeError, match="max_lag"):
        LaggingAnchor(MemoryAnchor(), max_lag)
