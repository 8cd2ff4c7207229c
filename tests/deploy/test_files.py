"""The files in ``deploy/`` parse, and every command in them is one that the command line accepts."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from typer.main import get_command

from encrypted_serde import EncryptedSerializer, Key
from encrypted_serde import errors as all_errors
from encrypted_serde.audit import OpenTelemetryListener
from encrypted_serde.cli.app import make_app
from encrypted_serde.testing import _WORDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def _containers(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        for name, part in node.items():
            if name in ("containers", "initContainers"):
                yield from part
            else:
                yield from _containers(part)
    elif isinstance(node, list):
        for part in node:
            yield from _containers(part)


COMMANDS = [
    (f"{path.name}: {container['name']}", container)
    for path in MANIFESTS
    for document in yaml.safe_load_all(path.read_text())
    for container in _containers(document)
]


def _accepts(words: list[str]) -> None:
    """Parses a command without running it; a wrong option raises."""
    group = get_command(make_app())
    command = group.commands[words[0]]  # type: ignore[attr-defined]
    with command.make_context(words[0], words[1:], resilient_parsing=False):
        pass


@pytest.mark.parametrize("container", [one for _, one in COMMANDS], ids=[name for name, _ in COMMANDS])
def test_every_command_of_a_job_is_accepted(container: dict[str, Any], tmp_path: Path) -> None:
    [script] = container["args"]
    script = re.sub(r"\$\(\([^)]*\)\)", "3", script).replace("$(date +%F)", "today")
    script = script.replace("$DATABASE_URL", "postgresql://db/app").replace("/reports", str(tmp_path))
    words = shlex.split(script)
    assert words[0] == "encrypted-serde"
    _accepts(words[1:])


def test_a_job_with_a_wrong_option_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        _accepts(["scan", "app.db", "--nothing"])


def test_alerts_and_dashboard_ask_for_counters_and_outcomes_that_exist() -> None:
    reader = InMemoryMetricReader()
    serde = EncryptedSerializer(Key.generate(), audit=OpenTelemetryListener(MeterProvider([reader]).get_meter("test")))
    serde.loads_typed(serde.dumps_typed("a value"))
    [resource] = reader.get_metrics_data().resource_metrics
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    exported = {"encrypted_serde_events_total", "encrypted_serde_value_size_bytes_bucket"}
    suffixes = {"encrypted_serde.events": "_total", "encrypted_serde.value.size": "_bytes_bucket"}
    assert {name.replace(".", "_") + suffixes[name] for name in metrics} == exported
    alerts = (DEPLOY / "monitoring" / "alerts.yaml").read_text()
    dashboard = (DEPLOY / "monitoring" / "grafana.json").read_text()
    asked = set(re.findall(r"encrypted_serde_\w+", alerts + dashboard))
    assert asked <= exported
    outcomes = {name for one in re.findall(r'outcome=~?"([^"]*)"', alerts) for name in one.split("|")} - {"plaintext"}
    assert outcomes
    assert [name for name in outcomes if not hasattr(all_errors, name)] == []
    yaml.safe_load(alerts)
    json.loads(dashboard)


def test_every_alert_is_in_the_documents() -> None:
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["groups"][0]["rules"]
    page = (ROOT / "docs" / "ci.md").read_text()
    assert [rule["alert"] for rule in rules if rule["alert"] not in page] == []


@pytest.mark.parametrize("form", ["{}", 'key = "{}"'])
def test_the_rules_for_secrets_find_a_key(form: str) -> None:
    text = form.format(Key.generate().to_text())
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    expression = re.search(r"regex = '''(.*)'''", (DEPLOY / "gitleaks.toml").read_text())
    assert expression is not None
    assert expression[1] == hook["entry"]
    assert re.search(hook["entry"], text)


def test_no_file_of_the_repository_holds_a_key_that_looks_real() -> None:
    expression = re.compile(yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())[0]["entry"])
    files = [path for folder in ("docs", "deploy", "examples") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert [str(path) for path in files if expression.search(path.read_text(errors="replace"))] == []


def test_the_action_scans_with_kinds_that_exist() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert set(action["inputs"]["fail-on"]["default"].split(",")) == set(_WORDS)
    assert action["runs"]["using"] == "composite"
