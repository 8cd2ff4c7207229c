"""The layers of docs/architecture.md: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "encrypted_serde"
ROOMS = (
    "core",
    "wrapping",
    "rows",
    "anchor",
    "saver",
    "store",
    "cache",
    "kms",
    "tenants",
    "agent_server",
    "asgi",
    "maintenance",
    "view",
    "cli",
)
_SURFACES = {"serializer", "saver", "store", "cache", "kms", "tenants", "agent_server", "asgi", "maintenance", "view", "cli"}
FORBIDDEN = {
    "errors": {"core", "wrapping", "audit", "serializer", *ROOMS},
    "core": {"wrapping", "audit", "serializer", *(set(ROOMS) - {"core"})},
    "audit": {"wrapping", "rows", "anchor", *_SURFACES},
    "wrapping": {"rows", "anchor", *_SURFACES},
    "rows": {"anchor", *_SURFACES},
    "anchor": _SURFACES,
    "serializer": {"saver", "kms", "tenants", "agent_server", "maintenance", "cli"},
    "saver": {"store", "cache", "asgi", "view", "kms", "tenants", "agent_server", "maintenance", "cli"},
    "kms": {"wrapping", "audit", "serializer", "saver", "tenants", "agent_server", "maintenance", "cli"},
    "tenants": {"wrapping", "serializer", "saver", "agent_server", "maintenance", "cli"},
    "agent_server": {"serializer", "kms", "tenants", "maintenance", "cli"},
    "store": {"rows", "anchor", *(_SURFACES - {"store"})},
    "cache": {"rows", "anchor", *(_SURFACES - {"cache", "serializer"})},
    "asgi": {"wrapping", "rows", "anchor", *(_SURFACES - {"asgi"})},
    "maintenance": {"saver", "cache", "asgi", "serializer", "store", "kms", "tenants", "agent_server", "view", "cli"},
    "view": {"serializer", "store", "kms", "tenants", "agent_server", "cli"},
}
"""What a room or module of the package must not import, not even inside of a function."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(name: str, path: Path, *, at_the_top: bool = False) -> set[str]:
    """The modules of the package that one of them imports; those for type checkers alone are left out."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if not at_the_top else iter(tree.body)
    skipped = {id(inner) for one in ast.walk(tree) if _is_for_types(one) for inner in ast.walk(one)}
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and id(node) not in skipped and node.level:
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            target = f"{base}.{node.module}" if node.module else base
            found |= {whole if (whole := f"{target}.{alias.name}") in MODULES else target for alias in node.names}
    return found - {name}


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    ours = {name: path for name, path in MODULES.items() if name.split(".")[1:2] == [room]}
    assert ours, room
    wrong = {
        f"{name} imports {one}"
        for name, path in ours.items()
        for one in imports(name, path)
        if one.split(".")[1:2] and one.split(".")[1] in FORBIDDEN[room]
    }
    assert wrong == set()


def test_no_module_is_imported_in_a_circle() -> None:
    # The package itself is left out: its names are loaded when they are asked for.
    graph = {name: imports(name, path, at_the_top=True) - {"encrypted_serde"} for name, path in MODULES.items()}
    assert list(TopologicalSorter(graph).static_order())


# rule T-16
def test_there_is_no_assert_and_no_bare_except_in_the_package() -> None:
    found = [
        f"{name}, line {node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) or (isinstance(node, ast.ExceptHandler) and node.type is None)
    ]
    assert found == []


TOO_LONG = {"maintenance/expire.py"}
"""The file that is yet to be split."""


def test_no_other_file_has_more_than_400_lines() -> None:
    lines = {path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name for name, number in lines.items() if number > 400} <= TOO_LONG
