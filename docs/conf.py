"""Builds the site: ``nox -s docs``. Warnings are errors there."""

from __future__ import annotations

import re
import sys
from importlib.metadata import metadata
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import encrypted_serde  # noqa: E402

project = "encrypted-serde"
author = "The encrypted-serde maintainers"
project_copyright = author
version = release = encrypted_serde.__version__
source_url = dict(one.split(", ") for one in metadata(project).get_all("Project-URL") or ())["Source"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
exclude_patterns = ["benchmarks/*.json"]
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path: list[str] = []

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"  # `Key` in a docstring is code, not a cross-reference that may fail

# Names of Python, LangGraph and of type variables in signatures: nothing here says where their pages are, offline.
intersphinx_mapping: dict[str, tuple[str, None]] = {}
nitpick_ignore_regex = [
    ("py:.*", r"(?!encrypted_serde\.).*"),
    ("py:.*", r"encrypted_serde\.(.*\._|core\.|maintenance\.|saver\.).*"),
]


def setup(app: Sphinx) -> None:
    """Registers what follows."""
    app.connect("source-read", _link_into_the_repository)
    app.connect("autodoc-process-docstring", _fences_to_blocks)


def _link_into_the_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Pages link to files outside of ``docs`` by path, as the repository shows them; the site has no such files."""
    up = "../" * page.count("/") + r"\.\./"
    source[0] = re.sub(rf"\]\({up}(?!\.\.)([^)]*)\)", rf"]({source_url}/blob/main/\1)", source[0])


def _fences_to_blocks(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings write code in Markdown fences; autodoc reads reStructuredText."""
    text = re.sub(
        r"^( *)```(\w+)\n(.*?)^ *```$",
        lambda match: f"{match[1]}.. code-block:: {match[2]}\n\n" + _indented(match[3]),
        "\n".join(lines),
        flags=re.MULTILINE | re.DOTALL,
    )
    lines[:] = text.split("\n")


def _indented(code: str) -> str:
    return "".join(f"    {line}" if line.strip() else line for line in code.splitlines(keepends=True))
