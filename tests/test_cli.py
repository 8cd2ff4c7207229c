"""The command `encrypted-serde`: what it prints, what it refuses, and with which exit code."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key, Sealer, __version__, encryption_context
from encrypted_serde.cli import app as cli
from encrypted_serde.core.encoding import b64url_encode
from tests.places import at, claiming

TAG = "msgpack+xaes-256-gcm"
ROOT = Path(__file__).parents[1]


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def run_command(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as exit_:
            cli.run(arguments)
        captured = capsys.readouterr()
        return Result(exit_.value.code or 0, captured.out, captured.err)

    return run_command


@pytest.fixture
def blob(key: Key) -> bytes:
    with encryption_context(tenant_id="acme"):
        return EncryptedSerializer(key).dumps_typed({"hello": "world"})[1]


@pytest.fixture
def sealed(key: Key) -> bytes:
    return Sealer(key).seal_bound("msgpack", b"hello", claiming(at("value", "thread", "", "channel"), {"version": "7"}))


# --- keygen ----------------------------------------------------------------------------------------------------------


def test_keygen_prints_the_text_of_a_new_key_and_nothing_else(run) -> None:
    texts = {run("keygen").out for _ in range(3)}
    assert len({Key.from_text(text.removesuffix("\n")).id for text in texts}) == 3


def test_keygen_out_creates_a_private_file_that_from_env_reads(run, tmp_path: Path) -> None:
    file = tmp_path / "key"
    result = run("keygen", "--out", str(file))
    key = Key.from_text(file.read_text().strip())
    assert result.code == 0
    assert key.id.hex() in result.out
    assert key.to_text() not in result.out + result.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_keygen_refuses_to_overwrite(run, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("precious")
    result = run("keygen", "--out", str(file))
    assert result == Result(1, "", f"encrypted-serde: {file}: File exists\n")
    assert file.read_text() == "precious"


def test_keygen_does_not_write_through_a_link(run, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "key"
    link.symlink_to(target)
    assert run("keygen", "--out", str(link)).code == 1
    assert not target.exists()


def test_keygen_says_which_file_it_cannot_write(run, tmp_path: Path) -> None:
    result = run("keygen", "--out", str(tmp_path / "missing" / "key"))
    assert result.code == 1
    assert "No such file or directory" in result.err


# --- inspect ---------------------------------------------------------------------------------------------------------


def encodings(data: bytes) -> dict[str, str]:
    return {
        "hex": data.hex(),
        "hex in capitals": data.hex().upper(),
        "hex as Postgres prints it": "\\x" + data.hex(),
        "hex as Python prints it": "0x" + data.hex(),
        "hex as SQLite prints it": f"X'{data.hex().upper()}'",
        "base64": base64.b64encode(data).decode(),
        "base64url": base64.urlsafe_b64encode(data).decode(),
        "base64url without padding": b64url_encode(data),
        "with white space around": f" {data.hex()}\n",
    }


@pytest.mark.parametrize("encoding", encodings(b""))
def test_a_blob_is_explained_in_any_encoding(run, key: Key, blob: bytes, encoding: str) -> None:
    result = run("inspect", encodings(blob)[encoding], "--type", TAG, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out) == {
        "form": "blob",
        "version": 1,
        "type_tag": TAG,
        "inner_type": "msgpack",
        "cipher": "xaes-256-gcm",
        "key_id": key.id.hex(),
        "context": {"tenant_id": "acme"},
        "bound": False,
        "claims": {},
        "compressed": False,
        "total_bytes": len(blob),
        "header_bytes": 36 + 17,
        "nonce_bytes": 24,
        "ciphertext_bytes": len(blob) - 36 - 17 - 24 - 16,
        "tag_bytes": 16,
    }


@pytest.mark.parametrize("form", ["bytes", "hex", "text"])
def test_a_file_may_hold_bytes_or_text(run, tmp_path: Path, sealed: bytes, form: str) -> None:
    contents = {"bytes": sealed, "hex": sealed.hex().encode() + b"\n", "text": b"es1." + b64url_encode(sealed).encode()}
    file = tmp_path / "value"
    file.write_bytes(contents[form])
    found = json.loads(run("inspect", str(file), "--json").out)
    assert found["form"] == ("sealed text" if form == "text" else "sealed bytes")
    assert found["total_bytes"] == len(contents["text"] if form == "text" else sealed)
    assert (found["type_tag"], found["bound"], found["claims"]) == (TAG, True, {"version": "7"})
    assert found["ciphertext_bytes"] == len(b"hello")


def test_a_dash_reads_standard_input(run, monkeypatch: pytest.MonkeyPatch, sealed: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sealed.hex().encode())))
    assert json.loads(run("inspect", "-", "--json").out)["form"] == "sealed bytes"


def test_a_large_blob_in_hex_is_not_taken_for_a_file_name(run, key: Key) -> None:
    type_tag, blob = EncryptedSerializer(key).dumps_typed(b"x" * 5000)
    assert run("inspect", blob.hex(), "--type", type_tag).code == 0


def test_the_table_names_everything_and_says_that_nothing_is_proven(run, key: Key, sealed: bytes) -> None:
    shown = run("inspect", "es1." + b64url_encode(sealed)).out
    for expected in ("sealed text", TAG, key.id.hex(), "bound", "'version' = '7'", "nonce bytes", "not authenticated"):
        assert expected in shown


def test_the_table_shows_compression(run, key: Key) -> None:
    type_tag, blob = EncryptedSerializer(key, compression="zstd").dumps_typed("x" * 1000)
    shown = run("inspect", blob.hex(), "-t", type_tag).out
    assert ["compressed", "True"] in [line.split() for line in shown.splitlines()]


def test_control_characters_of_a_claim_do_not_reach_the_terminal(run, key: Key) -> None:
    sealed = Sealer(key).seal_bound("bytes", b"", claiming(at("value"), {"version": "\x1b[2J[bold]"}))
    shown = run("inspect", sealed.hex()).out
    assert "\x1b" not in shown
    assert r"'\x1b[2J[bold]'" in shown


REFUSED = {
    "plaintext": (["00ff", "-t", "msgpack"], "PlaintextRefused"),
    "a user's own text": (["es1.hello"], "PlaintextRefused"),
    "no type tag": (["0100"], "MalformedEnvelope"),
    "nothing": (["", "-t", TAG], "MalformedEnvelope"),
    "no encoding": (["???", "-t", TAG], "MalformedEnvelope"),
    "cut": (["01" * 40, "-t", TAG], "MalformedEnvelope"),
    "another version": (["02" + "00" * 100, "-t", TAG], "UnsupportedFormat"),
    "another cipher": (["01" + "00" * 100, "-t", "msgpack+rot13"], "UnsupportedCipher"),
    "langgraph's own": (["00" * 40, "-t", "msgpack+aes"], "langgraph's own EncryptedSerializer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_sealed_value_is_refused_with_exit_code_1(run, case: str) -> None:
    arguments, reason = REFUSED[case]
    result = run("inspect", *arguments)
    assert (result.code, result.out) == (1, "")
    assert reason in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("size", [1, 20, 52, 53, 76, 92])
def test_a_cut_blob_is_refused(run, blob: bytes, size: int) -> None:
    result = run("inspect", blob[:size].hex(), "-t", TAG)
    assert result.code == 1
    assert "MalformedEnvelope" in result.err


# --- the command itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["inspect"], ["unknown"], ["keygen", "--size", "16"]])
def test_wrong_usage_is_exit_code_2(run, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_help_teaches_the_commands_and_the_exit_codes(run) -> None:
    top = run("--help")
    assert top.code == 0
    for word in ("keygen", "inspect", "Exit codes"):
        assert word in top.out
    assert "ENCRYPTED_SERDE_KEY" in run("keygen", "--help").out
    assert "not authenticated" in " ".join(run("inspect", "--help").out.split())


def test_help_says_in_a_line_what_every_command_does(run) -> None:
    for group, names in (
        ((), typer.main.get_command(cli.make_app()).commands),
        (("anchor",), ("init", "status", "accept", "rekey")),
    ):
        lines = _section(run(*group, "--help").out.splitlines(), "Commands")
        assert [line.split()[0] for line in lines] == [*names]
        for line in lines:
            command, _, text = line.strip().partition(" ")
            assert text.strip().endswith("."), command
            assert not text.endswith("..."), command
            assert len(text.strip()) < 60, command


def _section(lines: list[str], heading: str) -> list[str]:
    behind = lines[lines.index(f"{heading}:") + 1 :]
    return behind[: behind.index("")] if "" in behind else behind


def test_the_command_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "encrypted_serde", "keygen"], capture_output=True, text=True, check=True)
    Key.from_text(done.stdout.strip())


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from encrypted_serde.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"the encrypted-serde command needs {missing}; install it with: pip install 'encrypted-serde[cli]'\n"


def test_version_names_the_release_and_the_format(run) -> None:
    assert run("--version") == Result(0, f"encrypted-serde {__version__}, format 1\n", "")


def test_every_command_has_a_short_help(run) -> None:
    for command in ([], ["keygen"], ["key-id"], ["inspect"], ["scan"], ["verify"], ["reencrypt"], ["expire"]):
        assert run(*command, "-h") == run(*command, "--help")
        assert run(*command, "-h").code == 0


def test_starting_it_imports_neither_langgraph_nor_a_database() -> None:
    program = (
        "import sys; from encrypted_serde.cli.app import make_app; make_app(); "
        "print([name for name in ('langgraph', 'langchain_core', 'psycopg', 'pymysql', 'sqlite3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_key_id_is_that_of_the_environment_or_of_a_file(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Key.generate(), Key.generate()
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", one.to_text())
    assert run("key-id").out == one.id.hex() + "\n"
    file = tmp_path / "key"
    file.write_text(other.to_text() + "\n")
    assert run("key-id", str(file)).out == other.id.hex() + "\n"
    file.write_text("no key")
    result = run("key-id", str(file))
    assert (result.code, result.out) == (1, "")
    assert "no key" not in result.err


CREDENTIALS = [
    "postgresql://app:hunter2@db/x",
    "postgresql+psycopg://app:hunter2@db/x",
    "mysql+pymysql://app:hunter2@db/x",
    "mongodb://app:hunter2@db/x",
    "redis+cluster://:hunter2@db",
    "sqlite://app:hunter2@db/x",
    " postgresql://app:hunter2@db/x",
    "postgresql://app:hunter2/hunter2@db/x",
    "postgresql://app:hunter2@hunter2@db/x",
    "postgresql://app:hunter2?hunter2@db/x",
    "postgresql://app:hunter2#hunter2@db/x",
    "mysql://app:hunter2:hunter2@db/x",
    "app:hunter2@db/x",
    "host=db.invalid user=app password=hunter2",
    "password='hunter2 hunter2' host=db.invalid",
    "dbname=x password = hunter2 nonsense=1",
    "postgresql://db.invalid/x?password=hunter2",
    "postgresql://db.invalid/x?pass=hunter2",
]


@pytest.mark.parametrize("database", CREDENTIALS)
@pytest.mark.parametrize(
    "arguments", [["scan"], ["verify"], ["keygen"], [], ["scan", "x", "--rate"], ["expire", "--older-than"]]
)
def test_a_password_is_never_printed_whatever_the_text(run, monkeypatch, database: str, arguments: list[str]) -> None:
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", Key.generate().to_text())
    monkeypatch.setattr("encrypted_serde.maintenance.postgres.CONNECT_TIMEOUT", 1)
    result = run(*arguments, database)
    assert result.code in (1, 2)
    assert "hunter2" not in result.out + result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("kind", ["mongodb", "redis", "oracle+cx_oracle"])
def test_a_kind_of_database_that_is_not_known_is_refused_by_name(run, kind: str) -> None:
    result = run("scan", f"{kind}://db/x")
    assert result.code == 1
    assert kind.partition("+")[0] in result.err
    assert "postgresql://" in result.err


@pytest.mark.parametrize("arguments", [["scan"], ["scan", "x", "--nope"], ["nope"]])
def test_wrong_usage_names_the_help(run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    usage, hint, told = done.err.splitlines()
    assert usage.startswith("Usage: encrypted-serde")
    assert hint in ("Try: encrypted-serde --help", "Try: encrypted-serde scan --help")
    assert told.startswith("encrypted-serde: ")


def test_without_a_command_the_help_is_shown_once(run) -> None:
    assert run().err.count("Usage:") == 1


FAILING = """
from encrypted_serde import Key
class Keys:
    def encryption_key(self, context): raise RuntimeError("postgresql://app:password@db")
    current_key_id = decryption_key = encryption_key
keys = Keys()
"""


def _command(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell line, in which `$E` is the command, in a folder with a database and keys that fail."""
    (folder / "failing.py").write_text(FAILING)
    with SqliteSaver.from_conn_string(str(folder / "app.db")) as inner:
        EncryptedSaver(inner, Key.generate()).put(
            {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}, empty_checkpoint(), {"source": "loop", "step": 1}, {}
        )
    environ = {**os.environ, "E": f"{sys.executable} -m encrypted_serde", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.run(["sh", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$E scan app.db --keys failing:keys >/dev/null", 1),
        ("$E scan app.db >/dev/full", 1),
        ("$E keygen >/dev/full", 1),
        ("$E --help >/dev/full", 1),
        ("$E scan app.db >&-", 0),
    ],
)
def test_what_fails_is_one_line_without_a_traceback(line: str, code: int, tmp_path: Path) -> None:
    done = _command(tmp_path, line)
    assert (done.returncode, "Traceback" in done.stderr, "password" in done.stderr) == (code, False, False), done.stderr
    assert len(done.stderr.splitlines()) == (1 if code else 0)
