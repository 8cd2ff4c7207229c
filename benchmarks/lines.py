"""How much there is to read: ``python -m benchmarks.lines [DIRECTORY]`` counts lines of code, and looks at the functions.

A line counts that holds something else than a comment or a docstring. The length of a function is that of its body.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

PACKAGE = Path(__file__).parents[1] / "encrypted_serde"
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
MANY_PARAMETERS = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold code."""
    silent: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            silent |= {line for text in _bare_texts(node) for line in range(text.lineno, (text.end_lineno or text.lineno) + 1)}
    tokens = (token for token in tokenize.generate_tokens(StringIO(source).readline) if token.type not in SILENT)
    return {line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - silent


def _bare_texts(node: ast.Module | ast.ClassDef | Function) -> Iterator[ast.Expr]:
    """Docstrings, and the texts below a name that document it."""
    for statement in node.body:
        if (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        ):
            yield statement


def functions(source: str) -> Iterator[tuple[int, int]]:
    """Lines and parameters of each function, ``self`` left out."""
    lines = code_lines(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            taken = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            of_body = lines & set(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1))
            yield len(of_body), len([argument for argument in taken if argument.arg not in ("self", "cls")])


def main(directory: Path) -> None:
    """Prints the counts of the parts of a package, and the facts about its functions."""
    counts: Counter[str] = Counter()
    found: list[tuple[int, int]] = []
    for path in sorted(directory.rglob("*.py")):
        source, parts = path.read_text(), path.relative_to(directory).parts
        counts[f"{parts[0]}/" if len(parts) > 1 else "(top level)"] += len(code_lines(source))
        found += functions(source)
    table = Table("part", "lines of code")
    for part, number in counts.most_common():
        table.add_row(part, f"{number:,}")
    table.add_row("all", f"{sum(counts.values()):,}")
    many = sum(parameters >= MANY_PARAMETERS for _, parameters in found)
    console = Console()
    console.print(table)
    console.print(f"{len(found):,} functions: median {median(lines for lines, _ in found):g} lines;", end=" ")
    console.print(f"{many} with {MANY_PARAMETERS} parameters or more ({many / len(found):.1%})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
