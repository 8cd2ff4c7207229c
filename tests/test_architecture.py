"""The tables of docs/architecture.md, held against the code: imports, what a layer knows nothing of, where a rule is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "encrypted_serde"
PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()


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


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    lines = PAGE.partition(f"# {heading}\n")[2].split("\n#")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def names(cell: str) -> list[str]:
    return [name.removesuffix(".py") for name in re.findall(r"`([\w.]+)`", cell)]


def layers() -> Iterator[tuple[str, set[str], str]]:
    """Each layer, what it may import, and what it knows nothing of."""
    below: set[str] = set()
    for cell, _, may, knows in reversed(table("Architecture")):
        for layer in names(cell):
            general, *particular = may.split(";")
            more = [one for one in particular if names(one)[0] == layer]
            yield (
                layer,
                below if "all below" in may else {*names(general), *(name for one in more for name in names(one))},
                knows,
            )
        below = below | {*names(cell)}


LAYERS = [*layers()]
OTHERS = {"__init__", "__main__", "__pycache__", "errors", "py", "testing"}
"""What is no layer: the face, the start, the errors, a plugin of pytest and ``py.typed``."""


def of_layer(layer: str) -> dict[str, Path]:
    return {name: path for name, path in MODULES.items() if name.split(".")[1:2] == [layer]}


def test_the_page_lists_every_layer() -> None:
    assert {layer for layer, *_ in LAYERS} == {path.stem for path in PACKAGE.iterdir() if path.stem not in OTHERS}


@pytest.mark.parametrize(("layer", "may"), [(layer, may) for layer, may, _ in LAYERS])
def test_a_layer_imports_what_the_page_says_and_nothing_else(layer: str, may: set[str]) -> None:
    found = {one.split(".")[1] for name, path in of_layer(layer).items() for one in imports(name, path) if "." in one}
    assert found - {layer, "errors"} - may == set()
    assert may - found <= {layer} or layer == "cli"


_DRIVERS = r"^\s*(?:from|import) (?:sqlite3|psycopg|pymysql|aiosqlite)"
UNKNOWN = {
    "the application's classes": r"^\s*(?:from|import) (?:pickle|importlib|langgraph\.checkpoint\.serde)",
    "the savers": r"^\s*from langgraph\.checkpoint\.(?!base|serde)",
    "SQL": r"\"(?:SELECT|INSERT|UPDATE|DELETE) ",
    "databases": _DRIVERS,
    "the sealed data": r"^\s*from \.\.(?:core\.(?:sealer|format)|wrapping|rows)",
    "LangGraph": r"^\s*(?:from|import) lang",
    "tables of checkpointers": r"\bcheckpoint_(?:writes|blobs)\b|FROM checkpoints",
    "which object is wrapped": r"^\s*from langgraph\.(?:store|cache)|isinstance\([^)]*BaseCheckpointSaver",
}
"""What the code of a layer would have in it that knew of these."""


@pytest.mark.parametrize(
    ("layer", "unknown"), [(layer, each) for layer, _, cell in LAYERS for each in cell.split(", ") if each]
)
def test_a_layer_knows_nothing_of_what_the_page_says(layer: str, unknown: str) -> None:
    known = [name for name, path in of_layer(layer).items() if re.search(UNKNOWN[unknown], path.read_text(), re.MULTILINE)]
    assert known == []


RULES = {
    "the authenticated data, and the order of checks": r"aead\.encrypt\(",
    "which places there are, and their claims": r"(?<!class )\bBinding\(",
    "which unauthenticated values are read": r"\bLegacyReader\(",
    "whether a row is intact": r"\bmanifest\.verify\(",
    "how metadata are divided and a manifest is made": r"(?<!class )\bManifest\(",
    "the content of a row of a store": r"\"es1[a-z]\"",
    "how the savers differ": r"(?<!class )\bTraits\((?!\))",
    "every private name that is imported from LangGraph, with the release it was read in": r"from lang[\w.]* import _",
}
"""What the code would have in it that kept a rule, where that can be told."""


@pytest.mark.parametrize(("rule", "cell"), table("Where each rule lives"))
def test_a_rule_lives_where_the_page_says_and_nowhere_else(rule: str, cell: str) -> None:
    homes = re.findall(r"`([\w/]+\.py)`", cell)
    assert homes
    assert [home for home in homes if not (PACKAGE / home).is_file()] == []
    if rule in RULES:
        code = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
        assert [name for name, text in code.items() if re.search(RULES[rule], text)] == homes


def test_the_page_has_every_rule_that_is_looked_for() -> None:
    assert RULES.keys() <= {rule for rule, _ in table("Where each rule lives")}
    assert UNKNOWN.keys() == {each for _, _, cell in LAYERS for each in cell.split(", ") if each}


LISTS = sorted(path for path in PACKAGE.rglob("__init__.py") if path.read_text().count("\n* `") > 2)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in LISTS])
def test_a_package_that_lists_its_modules_lists_them_all(path: Path) -> None:
    listed = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\* .*", path.read_text(), re.MULTILINE))))
    modules = {one.stem for one in path.parent.glob("*.py")} - {"__init__"}
    assert modules - listed == set()
    # What is named beside them is a layer, or a function that has a module of its own.
    assert {name for name in listed - modules if name.islower()} <= {layer for layer, *_ in LAYERS}


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


def test_no_file_has_more_than_400_lines() -> None:
    lines = {path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name for name, number in lines.items() if number > 400} == set()
