"""What is built from this repository: what the wheel holds, and what a package index shows of it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import encrypted_serde

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with wheel and sdist."""
    directory = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "encrypted_serde"
    pages = [path for folder in ("templates", "static") for path in (package / "view" / "web" / folder).iterdir()]
    sources = {path.relative_to(ROOT).as_posix() for path in [*package.rglob("*.py"), *pages]}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == sources | {"encrypted_serde/py.typed"}


def test_the_sdist_holds_what_is_needed_to_test_it(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "docs/format.md", "CHANGELOG.md", "LICENSE", "noxfile.py"} <= names
    assert not [name for name in names if name.startswith((".ci/", "build/", ".venv"))]


def test_the_version_is_said_once(metadata: Message) -> None:
    assert metadata["Version"] == encrypted_serde.__version__
    assert "version" not in re.findall(r"^(\w+) = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_an_index_is_told_of_source_changelog_and_issues(metadata: Message) -> None:
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert {"Source", "Documentation", "Changelog", "Issues"} == set(urls)
    assert all(url.startswith("https://") for url in urls.values())


def test_links_and_pictures_work_on_a_package_index(metadata: Message) -> None:
    page = metadata.get_payload()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) > 5
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_only_what_is_needed_is_required(metadata: Message) -> None:
    required = {re.split(r"[><=;\[ ]", line)[0] for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert required == {"cryptography", "langgraph-checkpoint", "ormsgpack"}
