"""What the loopback key services have in common: faults on demand, and how a wrapper for them is made."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Protocol

from encrypted_serde.kms import KeyWrapper

TIMEOUT = 0.4
"""Seconds after which the clients in these tests give up: only calls to a service that hangs take that long."""


class Faults:
    """The next calls that are to go wrong, and how many there were in all."""

    def __init__(self) -> None:
        self._planned: deque[str] = deque()
        self.released = threading.Event()
        self.calls: Counter[str] = Counter()

    def plan(self, fault: str, times: int = 1) -> None:
        """Makes the next calls fail: ``throttle``, ``hang``, ``garbage`` or whatever else a service knows."""
        self._planned.extend([fault] * times)

    def take(self, call: str) -> str | None:
        """Counts a call and says how it is to fail, if it is. A call that hangs does so until the service is closed."""
        self.calls[call] += 1
        fault = self._planned.popleft() if self._planned else None
        if fault == "hang":
            self.released.wait()
        return fault


class Service(Protocol):
    """A key service on the loopback interface.

    Attributes:
        faults: What is to go wrong.
    """

    faults: Faults

    def wrapper(self, key: str = "tenants") -> KeyWrapper:
        """Makes the wrapper of the package, with the real client of the service. There are the keys tenants and other."""
        ...

    def disable(self, key: str = "tenants") -> None:
        """Makes the service refuse a key, as an administrator would."""
        ...

    def reset(self) -> None:
        """Forgets faults, counts and what was disabled, between two tests."""
        ...
