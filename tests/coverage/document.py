"""``docs/coverage.json``, and what is rendered from it: the table of the README and that of docs/coverage.md."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.coverage.tampering import ACCEPTED, LISTED, REFUSED

_ROOT = Path(__file__).parents[2]
JSON, README, PAGE = (_ROOT / name for name in ("docs/coverage.json", "README.md", "docs/coverage.md"))
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"

KNOWN = {"langgraph-dynamodb-checkpoint:DynamoDBSaver": {"conformance"}}
"""Where a row may fall short; docs/coverage.md says why: that saver returns rows of another namespace, which are refused."""

_WAYS = ("plain", "serde", "wrapped")
_KINDS = ("values", "scalars", "metadata", "configurable")
_PACKAGES = ("langgraph", "langgraph-checkpoint", "langgraph-checkpoint-conformance")

Result = dict[str, Any]


def load() -> dict[str, Result]:
    """Gives what the file says, by row id."""
    found: dict[str, Result] = json.loads(JSON.read_text(encoding="utf-8"))
    return found


def save(results: dict[str, Result], missing: dict[str, str]) -> None:
    """Puts rows that were run into the file, and renders the tables anew.

    A row that cannot be run here keeps what an earlier run said of it; the reason stands there only if there is none.
    """
    from tests.coverage.savers import ROWS

    before = {row: result for row, result in (load() if JSON.exists() else {}).items() if "not_run" not in result}
    found = {**{row: {"not_run": reason} for row, reason in missing.items()}, **before, **results}
    ordered = {row.id: found.get(row.id, {"not_run": "not run yet"}) for row in ROWS}
    JSON.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in (README, PAGE):
        path.write_text(rendered(path, ordered), encoding="utf-8")


def rendered(path: Path, results: dict[str, Result]) -> str:
    """Gives a document with the table between the marks made anew."""
    table = _short_table(results) if path == README else _long_table(results)
    text = path.read_text(encoding="utf-8")
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table}{END}", text, count=1, flags=re.DOTALL)


def shortcomings(result: Result) -> list[str]:
    """Gives what is less than it has to be: every row is to conform as the plain saver does, to leak nothing, ..."""
    short = []
    conformance = result["conformance"]
    if conformance["wrapped"]["passed"] < conformance["plain"]["passed"]:
        short.append(f"conformance {_conformance(result)}")
    secrets = result["secrets"]
    if _secrets(result, "wrapped") != 0 or len(secrets["wrapped"]["raised"]) > len(secrets["plain"]["raised"]):
        short.append(f"secrets: {secrets['wrapped']}")
    for mode, graph in result["graph"].items():
        if graph["different"]:
            short.append(f"graph, {mode}: {', '.join(graph['different'])}")
    for mode, tampering in result["tampering"].items():
        if isinstance(tampering, str) or _outcomes(tampering)[ACCEPTED]:
            short.append(f"tampering, {mode}: {tampering}")
    return short


def unexpected(row: str, result: Result) -> list[str]:
    """Gives the shortcomings that are not in `KNOWN`."""
    known = KNOWN.get(row, set())
    return [each for each in shortcomings(result) if each.partition(" ")[0].rstrip(":,") not in known]


def summary(result: Result) -> str:
    """Says in one line what a run gave."""
    secrets = " / ".join(str(_secrets(result, way)) for way in _WAYS)
    return f"conformance {_conformance(result)}; secrets {secrets}; graph {_graph(result)}; tampering {_tampering(result)}"


# --- what a row says, in few characters


def _conformance(result: Result) -> str:
    """The total is that of the plain saver; tests that are not run for a lack of methods do not count."""
    counts = result["conformance"]
    passed = " / ".join(str(counts[way]["passed"]) if way in counts else "-" for way in _WAYS)
    return f"{passed} of {counts['plain']['total']}"


def _secrets(result: Result, way: str) -> int | str:
    if way not in result["secrets"]:
        return "-"
    return sum(result["secrets"][way][kind] for kind in _KINDS)


def _graph(result: Result) -> str:
    return ", ".join(
        f"{mode} {graph['equal']}/{graph['steps']}" + (f" ({len(graph['better'])} better)" if graph["better"] else "")
        for mode, graph in result["graph"].items()
    )


def _outcomes(tampering: dict[str, dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counted in tampering.values():
        total.update(counted)
    return total


def _tampering(result: Result) -> str:
    """Gives how many edits were refused and listed. Those of cells that nobody read count for nothing."""
    total: Counter[str] = Counter()
    for tampering in result["tampering"].values():
        if isinstance(tampering, str):
            return "does not run"
        total += _outcomes(tampering)
    said = f"{total[REFUSED]} refused, {total[LISTED]} listed"
    return f"{said}, **{total[ACCEPTED]} accepted**" if total[ACCEPTED] else said


# --- tables


_NAMES = {
    "langgraph-checkpoint": "Memory",
    "langgraph-checkpoint-sqlite": "SQLite",
    "langgraph-checkpoint-postgres": "Postgres",
    "langgraph-checkpoint-mysql": "MySQL",
    "langgraph-checkpoint-redis": "Redis",
    "langgraph-checkpoint-plainredis": "plainredis",
    "langgraph-checkpoint-aws": "AWS",
    "langgraph-dynamodb-checkpoint": "DynamoDB",
    "langgraph-checkpoint-objectstorage": "object storage",
    "langgraph-checkpoint-mongodb": "MongoDB",
    "langgraph-checkpoint-lmdb": "LMDB",
}


def _short_table(results: dict[str, Result]) -> str:
    """One line for all savers in which a run found the same; savers that keep one checkpoint a thread are left out."""
    lines: dict[tuple[str, str], list[str]] = {}
    for result in results.values():
        if "not_run" in result or "Shallow" in result["saver"]:
            continue
        name = _NAMES[result["package"]]
        if name == "AWS":
            name = "Valkey" if "Valkey" in result["saver"] else "DynamoDB"
        names = lines.setdefault((_found(result, "serde"), _found(result, "wrapped")), [])
        names.extend([] if name in names else [name])
    rows = sorted((", ".join(names), *cells) for cells, names in lines.items())
    return _table(("checkpointer", "readable with an encrypting `serde=`", "with `EncryptedSaver`"), rows)


def _found(result: Result, way: str) -> str:
    """Says how many of the planted secrets a run found, and where."""
    if way not in result["secrets"]:
        return "everything it stores: it takes no `serde=`"
    found, planted = result["secrets"][way], result["secrets"]["planted"]
    where = ", ".join(f"{found[kind]} of {planted[kind]} in {kind}" for kind in _KINDS if found[kind])
    return f"{_secrets(result, way)} of {sum(planted.values())} secrets: {where}" if where else "nothing"


def _long_table(results: dict[str, Result]) -> str:
    names = ("saver", "package", "server", "run", "conformance", "secrets found", "graph steps equal", "tampering")
    rows = [
        (
            result["saver"],
            f"{result['package']} {result['version']}",
            result["server"] or "none",
            f"{result['date']}, Python {result['python']}",
            _conformance(result),
            " / ".join(str(_secrets(result, way)) for way in _WAYS),
            _graph(result) + ("" if _other_process(result) else ", one process"),
            _tampering(result),
        )
        for result in results.values()
        if "not_run" not in result
    ]
    return _table(names, rows) + _versions(results) + _not_run(results)


def _other_process(result: Result) -> bool:
    return all(graph["other_process"] for graph in result["graph"].values())


def _versions(results: dict[str, Result]) -> str:
    ran = [result["with"] for result in results.values() if "not_run" not in result]
    said = ["{} {}".format(package, ", ".join(sorted({each[package] for each in ran}))) for package in _PACKAGES]
    return f"\nWith {', '.join(said)}.\n"


def _not_run(results: dict[str, Result]) -> str:
    missing = [f"{row} ({result['not_run']})" for row, result in results.items() if "not_run" in result]
    return f"\nNot run: {'; '.join(missing)}.\n" if missing else ""


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [names, ("---",) * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
