"""How plain our English is: ``python -m tests.prose`` counts words a sentence, and words that hide the noun.

Reads README.md, the pages of ``docs``, the docstrings and comments of the package, and the texts of ``--help``. A sentence that
is long, or that says "what", "that which" or "whoever" in place of a noun, is hard for readers whose language is another one.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RELATIVE = re.compile(r"\b(what|that which|those which|whose|whoever|whatever|that of|those of)\b", re.IGNORECASE)
MOST_WORDS, MOST_RELATIVE, MOST_IN_DOCSTRINGS = 17.0, 0.2, 0.33
"""Targets: average words a sentence, and words of `RELATIVE` a sentence (the documents of httpx have 0.06 to 0.33)."""

DROPPED = {
    r"\bvouch\w*": "covered by the manifest; accepted",
    r"\bwhoever\b": "somebody who",
    r"\brooms?\b": "module",
    r"\bdoors?\b": "entry point",
    r"\bkeepers?\b": "anchor client",
    r"\bhabits?\b": "traits",
    r"\bcoders?\b": "row codec",
    r"\brecognis\w*": "classify",
    r"\bmisses\b": "does not detect; lacks",
    r"\bstands (in|there|for|beside|under|behind|apart)\b": "is stored; is",
}
"""Words that were dropped, and what to say instead."""


class Prose(NamedTuple):
    """The counts of one text.

    Attributes:
        name: Where it is from.
        sentences: How many sentences.
        words: How many words.
        relative: How many words of `RELATIVE`.
    """

    name: str
    sentences: int
    words: int
    relative: int

    @property
    def average(self) -> float:
        """Words a sentence."""
        return self.words / max(1, self.sentences)

    @property
    def is_plain(self) -> bool:
        """Whether it reaches the targets."""
        most = MOST_IN_DOCSTRINGS if self.name.endswith("(docstrings)") else MOST_RELATIVE
        return self.average <= MOST_WORDS and self.hidden <= most

    @property
    def hidden(self) -> float:
        """Words of `RELATIVE` a sentence."""
        return self.relative / max(1, self.sentences)


def sentences(text: str) -> list[str]:
    """Divides Markdown into sentences; code, tables and links count for what is read aloud of them."""
    text = re.sub(r"^---\n.*?^---\n", "", text, count=1, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(`{3,}|:{3,}).*?^\1\s*$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)", "", text, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`+[^`]*`+", "code", text)
    text = re.sub(r"^\s*\|?[\s:|-]+\|?\s*$", "", text, flags=re.MULTILINE)  # the line under the head of a table
    text = re.sub(r"^(#+ .*|\s*[-*] |\s*\d+\. )", r"\n\n\1", text, flags=re.MULTILINE)
    found = []
    for block in re.split(r"\n\s*\n|\s\|\s|^\||\|$|^#+ ", text, flags=re.MULTILINE):
        found += re.split(r"(?<=[.!?:;])\s+(?=[A-Z\"*`(0-9])", " ".join(block.split()))
    return [one for one in found if len(re.findall(r"[A-Za-z']+", one)) >= 3]


def count(name: str, text: str) -> Prose:
    """Counts one text."""
    found = sentences(text)
    return Prose(
        name,
        len(found),
        sum(len(re.findall(r"[A-Za-z0-9'-]+", one)) for one in found),
        sum(len(RELATIVE.findall(one)) for one in found),
    )


def pages() -> list[Path]:
    """Every page that people read."""
    return [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def docstrings(path: Path) -> str:
    """The docstrings of a module, a paragraph each."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    text = "\n\n".join(one for one in texts if one)
    text = re.sub(r"^\s*(Args|Returns|Raises|Attributes|Yields):$", "", text, flags=re.MULTILINE)
    return re.sub(r"^\s+(\w+): ", r"\n\n", text, flags=re.MULTILINE).replace("``", "`")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every line of a module that people read: its comments and its texts, with the number of the line."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or tokenize.tok_name[token.type].startswith("FSTRING_M"):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted((ROOT / "encrypted_serde").rglob("*.py"))


def dropped() -> list[str]:
    """Every place where a word that was dropped is used, with what to say instead."""
    found = []
    for path in pages():
        found += [(path, number, line) for number, line in enumerate(path.read_text().splitlines(), 1)]
    for path in modules():
        found += [(path, number, line) for number, line in texts(path)]
    return [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r}: say {better!r}"
        for path, number, line in found
        for pattern, better in DROPPED.items()
        if (match := re.search(pattern, re.sub(r"`[^`]*`|\]\([^)]*\)", "", line), re.IGNORECASE))
    ]


def main() -> int:
    """Prints the counts of every page and package; 1 if one is above its target, or a dropped word is used."""
    rows = [count(str(path.relative_to(ROOT)), path.read_text()) for path in pages()]
    folders = sorted({path.parent for path in modules()})
    for folder in folders:
        text = "\n\n".join(docstrings(path) for path in sorted(folder.glob("*.py")))
        rows.append(count(f"{folder.relative_to(ROOT)}/ (docstrings)", text))
    print(f"{'':44} sentences  words each  what/whose/whoever each")
    for row in rows:
        mark = "" if row.is_plain else "  <"
        print(f"{row.name:44} {row.sentences:9} {row.average:11.1f} {row.hidden:12.2f}{mark}")
    print(*(left := dropped()), sep="\n")
    return int(bool(left) or not all(row.is_plain for row in rows))


if __name__ == "__main__":
    sys.exit(main())
