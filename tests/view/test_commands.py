"""`encrypted-serde show` and `find`: what they print, what they refuse, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from encrypted_serde import EncryptedSaver, Key, encryption_context
from encrypted_serde.cli import app as cli
from tests.maintenance import sql
from tests.maintenance.forms import open_saver
from tests.view.agent import write_support

HOSTILE = "\x1b[31mred\x1b[0m \u202eevil\u202c [bold]markup[/] <script>alert(1)</script> \x07\r\ngone"


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database: str, key: Key):
    """Runs the command in this process."""
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", key.to_text())

    def run_command(command: str, *arguments: str) -> Result:
        with pytest.raises(SystemExit) as exit_:
            cli.run([command, database, *arguments])
        captured = capsys.readouterr()
        return Result(exit_.value.code or 0, captured.out, captured.err)

    return run_command


@pytest.fixture
def database(tmp_path: Path, key: Key) -> str:
    """Two tenants, a thread each; what ann was told would steer a terminal."""
    place = str(tmp_path / "app.sqlite")
    with open_saver(place) as plain:
        builder = StateGraph(MessagesState)
        builder.add_node("answer", _answer)
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        graph = builder.compile(checkpointer=EncryptedSaver(plain, key))
        for tenant, text in (("acme", "where is order 4711?"), ("globex", HOSTILE)):
            with encryption_context(tenant_id=tenant):
                graph.invoke({"messages": [HumanMessage(text)]}, {"configurable": {"thread_id": f"thread of {tenant}"}})
    return place


def _answer(state: MessagesState) -> dict:
    call = {"name": "find_order", "args": {"number": 4711}, "id": "c1"}
    return {
        "messages": [
            AIMessage("", tool_calls=[call]),
            ToolMessage("shipped to ann@example.org", tool_call_id="c1", name="find_order"),
            AIMessage("It is on its way."),
        ]
    }


def test_show_lists_threads_with_their_context(run) -> None:
    found = run("show")
    assert found.code == 0
    for text in ("thread of acme", "thread of globex", "tenant_id=acme", "all open", "2 threads"):
        assert text in found.out


def test_show_prints_a_thread_as_a_conversation(run) -> None:
    found = run("show", "--thread", "thread of acme")
    assert found.code == 0
    for text in (
        "user",
        "where is order 4711?",
        '→ find_order {"number": 4711}',
        "tool find_order",
        "It is on its way.",
        "verified",
    ):
        assert text in found.out
    assert "nothing: the graph is at its end" in found.out


def test_show_prints_everything_as_json(run) -> None:
    document = json.loads(run("show", "--thread", "thread of acme", "--json").out)
    [channel] = [each for each in document["channels"] if each["name"] == "messages"]
    assert [message["role"] for message in channel["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert channel["value"][0]["$class"] == "langchain_core.messages.human.HumanMessage"


def test_history_and_diff_follow_the_checkpoints(run) -> None:
    history = json.loads(run("show", "--thread", "thread of acme", "--history", "--json").out)
    ids = [line["spot"]["id"] for line in history["lines"]]
    assert all(each in run("show", "--thread", "thread of acme", "--history").out for each in ids)
    changes = run("show", "--thread", "thread of acme", "--diff", ids[1], ids[0])
    assert "+ messages / 1" in changes.out
    assert "It is on its way." in changes.out


# rule T-29
@pytest.mark.parametrize("command", [("show", "--thread", "thread of globex"), ("find", "markup")])
def test_nothing_of_a_row_steers_the_terminal(run, command: tuple[str, ...]) -> None:
    found = run(*command)
    shown = found.out.replace("\n", "")
    assert "[bold]markup[/]" in shown
    assert "\\x1b[31mred" in shown
    assert shown.isprintable()


# rule T-28
def test_what_is_refused_stays_hidden_and_the_reason_is_shown(run, database: str) -> None:
    sql.run(database, "UPDATE checkpoints SET parent_checkpoint_id = 'another' WHERE thread_id = 'thread of acme'")
    for arguments in ((), ("--thread", "thread of acme"), ("--thread", "thread of acme", "--history")):
        found = run("show", *arguments)
        assert found.code == 3
        assert "WrongLocation" in found.out
        assert "4711" not in found.out + found.err


# --- nothing is shown, and one line says why ----------------------------------------------------------------------------

NOTHING = {
    "wrong key": ({}, [], "UnknownKey: sealed under key"),
    "no key": ({"ENCRYPTED_SERDE_KEY": ""}, [], "ConfigurationError: set ENCRYPTED_SERDE_KEY"),
    "another tenant": (None, ["--context", "tenant_id=globex"], "WrongContext: sealed under another context"),
    "no reason": ({"ENCRYPTED_SERDE_REQUIRE_REASON": "1"}, [], "ConfigurationError: a reason is required"),
}


@pytest.mark.parametrize("how", [(), ("--history",), ("--json",)])
@pytest.mark.parametrize("name", NOTHING)
def test_who_may_not_look_sees_one_line_and_nothing_else(run, monkeypatch, name: str, how: tuple[str, ...]) -> None:
    environment, arguments, said = NOTHING[name]
    for variable, value in (environment or {}).items():
        monkeypatch.setenv(variable, value)
    if name == "wrong key":
        monkeypatch.setenv("ENCRYPTED_SERDE_KEY", Key.generate().to_text())
    found = run("show", "--thread", "thread of acme", *how, *arguments)
    assert (found.code, found.out, found.err.count("\n")) == (1, "", 1)
    assert said in found.err


def test_a_wrong_database_and_a_wrong_thread_are_one_line(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("show", "--thread", "nobody")
    assert (found.code, found.out, found.err) == (1, "", "encrypted-serde: NotFound: the database has no such thread\n")
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(SystemExit) as exit_:
        cli.run(["show", str(tmp_path / "other.db")])
    assert exit_.value.code == 1
    assert "DatabaseFailed" in capsys.readouterr().err


def test_what_is_not_there_is_said_with_what_to_try(run) -> None:
    shown = run("show", "--store", "nobody.here")
    assert (shown.code, "--store ''" in shown.err) == (3, True)


def test_a_context_lists_the_threads_of_that_tenant_alone(run) -> None:
    found = run("show", "--context", "tenant_id=acme")
    assert "thread of acme" in found.out
    assert "globex" not in found.out


# --- who looked ----------------------------------------------------------------------------------------------------------


def test_each_look_is_a_line_of_json_with_who_and_why(run, tmp_path: Path) -> None:
    log = tmp_path / "looks.jsonl"
    for thread in ("thread of acme", "nobody"):
        run("show", "--thread", thread, "--audit", str(log), "--actor", "ann", "--reason", "ticket 1")
    first, second = map(json.loads, log.read_text().splitlines())
    assert (first["action"], first["actor"], first["reason"], first["outcome"]) == ("look", "ann", "ticket 1", "ok")
    assert first["place"]["thread"] == "thread of acme"
    assert first["context"] == {"tenant_id": "acme"}
    assert second["outcome"] == "NotFound"
    assert "4711" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


# rule T-31
def test_an_audit_that_cannot_be_written_shows_nothing(run, tmp_path: Path) -> None:
    found = run("show", "--thread", "thread of acme", "--audit", str(tmp_path / "no" / "looks.jsonl"))
    assert (found.code, found.out) == (1, "")
    assert "No such file or directory" in found.err


def test_what_is_masked_is_counted_and_said_to_be_no_anonymisation(run) -> None:
    # A group of digits in a random id may look like an order, and is followed by a hyphen.
    found = run("show", "--thread", "thread of acme", "--mask", "email,iban", "--mask", r"\b47\d\d\b(?!-)")
    assert "ann@example.org" not in found.out
    assert "[email]" in found.out
    assert "4711" not in found.out
    assert "masked: 3. Masking hides what matches its patterns. It is no anonymisation" in found.out


# --- find ---------------------------------------------------------------------------------------------------------------


def test_find_lists_where_a_text_is_and_exports_it(run, tmp_path: Path) -> None:
    export = tmp_path / "ann.json"
    found = run("find", "ANN@example.org", "--export", str(export))
    assert found.code == 0
    assert "channel  thread of acme / messages" in found.out
    occurrences = json.loads(export.read_text())["occurrences"]
    assert {each["where"] for each in occurrences} == {"channel", "write"}
    assert "shipped to ann@example.org" in export.read_text()
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    assert run("find", "ann@example.org", "--export", str(export)).code == 1


def test_find_says_what_it_could_not_search(run, database: str) -> None:
    sql.run(database, "UPDATE checkpoints SET parent_checkpoint_id = 'another' WHERE thread_id = 'thread of acme'")
    found = run("find", "it is on its way")
    assert found.code == 3
    assert "not searched: 3 rows: WrongLocation" in found.out
    assert run("find", "nobody said this", "--context", "tenant_id=globex").code == 3


# --- view ---------------------------------------------------------------------------------------------------------------


def test_view_serves_until_it_is_interrupted(database: str, key: Key) -> None:
    command = [sys.executable, "-m", "encrypted_serde", "view", database, "--no-browser"]
    environment = {**os.environ, "ENCRYPTED_SERDE_KEY": key.to_text()}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", address)
        with httpx.Client() as client:
            assert client.get(address).status_code == 200
            assert "thread of acme" in client.get(address.partition("?")[0]).text
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_one_line(run) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = run("view", "--no-browser", "--port", str(taken.getsockname()[1]))
    assert (found.code, found.out, found.err.count("\n")) == (1, "", 1)
    assert "ConfigurationError: cannot listen at 127.0.0.1" in found.err


@pytest.mark.parametrize("name", [name for name in NOTHING if name != "another tenant"])  # whose own threads it would serve
def test_view_serves_nothing_to_who_may_not_look(run, monkeypatch, name: str) -> None:
    environment, arguments, said = NOTHING[name]
    for variable, value in (environment or {}).items():
        monkeypatch.setenv(variable, value)
    if name == "wrong key":
        monkeypatch.setenv("ENCRYPTED_SERDE_KEY", Key.generate().to_text())
    found = run("view", "--no-browser", *arguments)
    assert (found.code, found.out, found.err.count("\n")) == (1, "", 1)
    assert said in found.err


# --- what the page promises ---------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "looking.md").read_text()
COMMANDS = [
    line for line in re.findall(r"^encrypted-serde .*$", PAGE, re.MULTILINE) if not line.startswith("encrypted-serde view")
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    folder, key = tmp_path_factory.mktemp("shop"), Key.generate()
    write_support(str(folder / "app.db"), key)
    return folder, key


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_does_what_it_says(line: str, shop: tuple[Path, Key], monkeypatch, capsys) -> None:
    folder, key = shop
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", key.to_text())
    with pytest.raises(SystemExit) as exit_:
        cli.run(shlex.split(line)[1:])
    assert exit_.value.code in (0, None)
    assert capsys.readouterr().out


def test_the_program_of_the_page_runs(shop: tuple[Path, Key], monkeypatch, capsys) -> None:
    folder, key = shop
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", key.to_text())
    [program] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(program, "looking.md", "exec", dont_inherit=True), {"__name__": "__main__"})
    assert "'number': 4711" in capsys.readouterr().out
