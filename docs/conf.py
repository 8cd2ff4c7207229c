"""Builds the site: ``nox -s docs``. Warnings are errors there."""

from __future__ import annotations

import builtins
import re
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import encrypted_serde  # noqa: E402

project = "encrypted-serde"
author = "The encrypted-serde maintainers"
project_copyright = author
version = release = encrypted_serde.__version__
source_url = dict(one.split(", ") for one in metadata(project).get_all("Project-URL") or ())["Source"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.opengraph",
]
exclude_patterns = ["benchmarks/*.json"]
html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/favicon.svg"
html_theme_options = {
    "source_repository": f"{source_url}/",
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#11643a", "color-brand-content": "#11643a"},
    "dark_css_variables": {"color-brand-primary": "#6cc995", "color-brand-content": "#6cc995"},
    "footer_icons": [{"name": "Source", "url": source_url, "html": "source", "class": ""}],
}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
ogp_site_url = "https://encrypted-serde.github.io/encrypted-serde/"
ogp_site_name = project
ogp_description_length = 160
ogp_image = "_static/social.png"
ogp_image_alt = "encrypted-serde: encryption at rest for LangGraph"
ogp_social_cards = {"enable": False}
autosummary_generate = False  # tables alone: every name has its place on a page

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"  # `Key` in a docstring is code, not a cross-reference that may fail

nitpick_ignore_regex = [
    ("py:.*", r"(?!encrypted_serde\.).*"),
    ("py:.*", r"encrypted_serde\.(.*\._|core\.|maintenance\.|saver\.|anchor\.|audit\.AuditedSealer).*"),
]


def setup(app: Sphinx) -> None:
    """Registers what follows."""
    app.connect("source-read", _link_into_the_repository)
    app.connect("missing-reference", _link_elsewhere)
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


PYTHON = {**dict.fromkeys(dir(builtins), "functions"), "pathlib": "pathlib", "collections": "collections.abc"}
TYPES = {"int": "functions", "str": "stdtypes", "bytes": "stdtypes", "bool": "functions", "float": "functions"}


def _link_elsewhere(app: Sphinx, env: Any, node: Any, shown: nodes.Element) -> nodes.reference | None:
    """Links names of Python and of LangGraph to their documents: by rule, since the site is built without a network."""
    name = node.get("reftarget", "")
    if re.fullmatch(r"langgraph\.checkpoint\.\w+(\.\w+)*", name):
        url = "https://reference.langchain.com/python/langgraph.checkpoint/" + "/".join(name.split(".")[2:])
    elif name in TYPES or name in PYTHON:
        page = "exceptions" if name.endswith(("Error", "Exception")) else TYPES.get(name, "functions")
        url = f"https://docs.python.org/3/library/{page}.html#{name}"
    elif (page := PYTHON.get(name.partition(".")[0])) and name.startswith(page):
        url = f"https://docs.python.org/3/library/{page}.html#{name}"
    else:
        return None
    return nodes.reference("", "", shown, refuri=url, internal=False)
