"""Every file below a directory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.coverage.row import Servers
from tests.coverage.servers.process import directory


class FilesPlace:
    """Files as bytes, addressed by their path below the directory."""

    server = ""

    def __init__(self, base: Path) -> None:
        self.where, self._base = str(base), base

    def dump(self) -> dict[Hashable, Any]:
        files = sorted(path for path in self._base.rglob("*") if path.is_file())
        return {str(path.relative_to(self._base)): path.read_bytes() for path in files}

    def set(self, address: Any, record: Any) -> None:
        path = self._base / address
        if record is None:
            path.unlink()
        else:
            path.write_bytes(record)


@contextmanager
def place(servers: Servers) -> Iterator[FilesPlace]:
    with directory() as base:
        yield FilesPlace(base)
