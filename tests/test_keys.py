"""Keys: what is accepted as one, what it derives, how it is found; and the environment it comes from."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import shlex
import string
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encrypted_serde import ConfigurationError, EncryptedSerializer, Key, KeyProvider, Keyring, UnknownKey
from encrypted_serde.core import environment, keys
from encrypted_serde.core.encoding import lp

SECRET = bytes(range(100, 132))


def _hkdf(secret: bytes, info: bytes, salt: bytes = b"", size: int = 32) -> bytes:
    """RFC 5869 written down once more. test_ciphers runs it on Wycheproof's vectors."""
    pseudorandom = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    output, block, number = b"", b"", 1
    while len(output) < size:
        block = hmac.new(pseudorandom, block + info + bytes([number]), hashlib.sha256).digest()
        output, number = output + block, number + 1
    return output[:size]


# --- what is a key --------------------------------------------------------------------------------------------------


def test_a_generated_key_is_random_and_comes_back_from_its_text():
    first, second = Key.generate(), Key.generate()
    assert first != second
    assert Key.from_text(first.to_text()) == first


@pytest.mark.parametrize("secret", ["x" * 32, bytearray(SECRET), memoryview(SECRET), None, 5, [1] * 32])
def test_a_secret_that_is_not_bytes_is_a_type_error(secret):
    with pytest.raises(TypeError):
        Key.from_bytes(secret)


@pytest.mark.parametrize("size", [0, 1, 16, 24, 31, 33, 48, 64])
def test_a_secret_of_another_size_is_refused(size):
    with pytest.raises(ConfigurationError, match="32 bytes"):
        Key.from_bytes(SECRET[:1] * size)


# rules F-3, T-15
@pytest.mark.parametrize(
    "secret",
    [
        b"correct horse battery staple !!!",
        b"0123456789abcdef0123456789abcdef",
        base64.b64encode(SECRET)[:32],
        string.printable.encode()[-32:],
    ],
)
def test_readable_text_is_no_key(secret):
    with pytest.raises(ConfigurationError, match="readable text"):
        Key.from_bytes(secret)


# rules F-3, T-15
@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(range(200, 216)) * 2, b"\x01\xfe" * 16])
def test_a_repetitive_secret_is_refused(secret):
    with pytest.raises(ConfigurationError, match="different byte values"):
        Key.from_bytes(secret)


def test_seventeen_different_values_are_enough():
    assert Key.from_bytes(bytes(range(200, 217)) + b"\xff" * 15)


def test_generate_draws_again_when_the_draw_is_refused(monkeypatch):
    draws = iter([bytes(32), b"a" * 32, SECRET])
    monkeypatch.setattr(keys.os, "urandom", lambda size: next(draws))
    assert Key.generate() == Key.from_bytes(SECRET)


def test_a_key_is_made_by_a_named_constructor_only():
    with pytest.raises(TypeError, match=r"Key\.generate"):
        Key(SECRET)
    with pytest.raises(TypeError, match=r"Key\.generate"):
        Key()


# --- as text --------------------------------------------------------------------------------------------------------


# rule F-6
def test_the_text_is_the_secret_and_four_bytes_of_the_id():
    key = Key.from_bytes(SECRET)
    body = base64.urlsafe_b64encode(SECRET + key.id[:4]).decode()
    assert key.to_text() == "esk1-" + body
    assert len(key.to_text()) == 53


# rule F-6
def test_key_text_with_any_one_character_changed_is_refused():
    text = Key.from_bytes(SECRET).to_text()
    alphabet = string.ascii_letters + string.digits + "-_+/= "
    for position, right in enumerate(text):
        for wrong in alphabet.replace(right, ""):
            with pytest.raises(ConfigurationError):
                Key.from_text(text[:position] + wrong + text[position + 1 :])


@given(st.integers(0, 52), st.integers(0, 52))
def test_key_text_with_two_characters_swapped_is_refused(first, second):
    text = list(Key.from_bytes(SECRET).to_text())
    if text[first] == text[second]:
        return
    text[first], text[second] = text[second], text[first]
    with pytest.raises(ConfigurationError):
        Key.from_text("".join(text))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:40], "40 characters, not 53"),
        (lambda text: text + "AAAA", "57 characters, not 53"),
        (lambda text: f"'{text}'", "quotes or white space around it"),
        (lambda text: f'"{text}"', "quotes or white space around it"),
        (lambda text: text + "\n", "quotes or white space around it"),
        (lambda text: text[:-1] + "*", "base64url"),
        (lambda text: text.removeprefix("esk1-"), "base64url"),
    ],
)
def test_what_is_wrong_with_a_key_text_is_said_and_never_the_text(change, said):
    text = Key.generate().to_text()
    with pytest.raises(ConfigurationError, match=said) as caught:
        Key.from_text(change(text))
    assert text[5:25] not in str(caught.value)


def test_a_keyring_says_how_to_make_what_it_takes():
    key = Key.generate()
    for make in (lambda: Keyring(primary=key.to_text()), lambda: keys.as_key_provider(key.to_text())):
        with pytest.raises(TypeError, match=r"Key\.from_text\(\)") as caught:
            make()
        assert key.to_text() not in str(caught.value)
    for one in (key, key.to_text()):
        with pytest.raises(TypeError, match=r"write \[key\]"):
            Keyring(primary=key, decrypt_only=one)


def test_a_variable_for_a_file_that_holds_the_key_itself_is_named_and_the_key_is_not():
    text = Key.generate().to_text()
    with pytest.raises(ConfigurationError, match="ENCRYPTED_SERDE_KEY_FILE names a file that holds the key") as caught:
        Keyring.from_env({"ENCRYPTED_SERDE_KEY_FILE": text})
    assert text not in str(caught.value)


def test_key_text_cut_or_lengthened_anywhere_is_refused():
    text = Key.from_bytes(SECRET).to_text()
    for other in (
        [text[:length] for length in range(53)] + [text + extra for extra in ("A", "\n", " ", "=", text)] + [" " + text]
    ):
        with pytest.raises(ConfigurationError):
            Key.from_text(other)


@pytest.mark.parametrize("make", [Key.from_text, Key.from_hex, Key.from_base64])
@pytest.mark.parametrize("text", [b"bytes", None, 5])
def test_text_that_is_not_str_is_a_type_error(make, text):
    with pytest.raises(TypeError):
        make(text)


@pytest.mark.parametrize("text", [SECRET.hex(), SECRET.hex().upper()])
def test_hex_is_64_digits_in_either_case(text):
    assert Key.from_hex(text) == Key.from_bytes(SECRET)


@pytest.mark.parametrize(
    "text",
    ["", "00", SECRET.hex()[:-1], SECRET.hex() + "\n", " " + SECRET.hex(), "0x" + SECRET.hex()[2:], "\u0661" * 64, "g" * 64],
)
def test_hex_of_any_other_shape_is_refused(text):
    with pytest.raises(ConfigurationError, match="64"):
        Key.from_hex(text)


_ALPHABETS = bytes([0xFB, 0xFF, 0xBE]) + SECRET[3:]  # its base64 has both characters that differ between the alphabets


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padding", [True, False])
def test_base64_is_either_alphabet_with_or_without_padding(encode, padding):
    text = encode(_ALPHABETS).decode()
    assert Key.from_base64(text if padding else text.rstrip("=")) == Key.from_bytes(_ALPHABETS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(base64.b64encode(_ALPHABETS).decode().replace("/", "_", 1), id="two alphabets"),
        pytest.param(base64.b64encode(SECRET[:31]).decode(), id="31 bytes"),
        pytest.param(base64.b64encode(SECRET + b"x").decode(), id="33 bytes"),
        pytest.param(SECRET.hex(), id="the hex text of a key, which is base64 of 48 bytes"),
        pytest.param(base64.b64encode(SECRET).decode() + "=", id="too much padding"),
        pytest.param(base64.b64encode(SECRET).decode() + "\n", id="newline"),
        pytest.param(base64.b64encode(SECRET).decode()[:-2] + "N=", id="unused bits set"),
        pytest.param(" " + base64.b64encode(SECRET).decode(), id="space"),
    ],
)
def test_base64_of_any_other_shape_is_refused(text):
    with pytest.raises(ConfigurationError, match="base64"):
        Key.from_base64(text)


def test_a_readable_secret_is_refused_in_every_encoding():
    secret = b"correct horse battery staple !!!"
    for make, text in [(Key.from_hex, secret.hex()), (Key.from_base64, base64.b64encode(secret).decode())]:
        with pytest.raises(ConfigurationError, match="readable text"):
            make(text)


# --- identity and derivation ----------------------------------------------------------------------------------------


# rule F-5
def test_the_id_is_derived_from_the_secret_as_the_format_says():
    assert Key.from_bytes(SECRET).id == _hkdf(SECRET, lp(b"encrypted-serde/1") + lp(b"key-id"))


# rule F-4
@given(st.sampled_from(["data-key", "search", "wrap"]), st.lists(st.binary(max_size=40), max_size=3))
def test_derivation_is_hkdf_sha256_over_length_prefixed_fields(purpose, fields):
    info = b"".join([lp(b"encrypted-serde/1"), lp(purpose.encode()), *map(lp, fields)])
    assert Key.from_bytes(SECRET).derive(purpose, *fields) == _hkdf(SECRET, info)


def test_no_two_purposes_or_fields_share_a_derived_key():
    key = Key.from_bytes(SECRET)
    inputs = [
        ("data-key",),
        ("search",),
        ("wrap",),
        ("wrap", b""),
        ("wrap", b"ab", b"c"),
        ("wrap", b"a", b"bc"),
        ("wrap", b"abc"),
    ]
    assert len({key.derive(*each) for each in inputs} | {key.id}) == len(inputs) + 1


def test_keys_are_equal_and_hash_alike_when_their_secrets_are():
    same, other = Key.from_bytes(SECRET), Key.generate()
    assert Key.from_hex(SECRET.hex()) == same
    assert len({Key.from_hex(SECRET.hex()), same, other}) == 2
    assert same != SECRET


def test_a_key_cannot_be_changed():
    key = Key.from_bytes(SECRET)
    for name in ("id", "_secret", "other"):
        with pytest.raises(AttributeError):
            setattr(key, name, b"x" * 32)
    assert key.id == Key.from_bytes(SECRET).id


def test_a_copy_is_the_same_object():
    key = Key.from_bytes(SECRET)
    assert copy.copy(key) is key
    assert copy.deepcopy({"keys": [key]})["keys"][0] is key


# --- keyrings -------------------------------------------------------------------------------------------------------


def test_a_keyring_writes_with_its_primary_and_reads_with_all():
    new, old = Key.generate(), Key.generate()
    ring = Keyring(primary=new, decrypt_only=[old])
    assert ring.encryption_key({}) is ring.primary is new
    assert (ring.decryption_key(new.id, {}), ring.decryption_key(old.id, {})) == (new, old)


def test_an_unknown_key_id_is_named_and_is_no_lookup_error():
    missing = Key.generate().id
    with pytest.raises(UnknownKey, match=missing.hex()) as caught:
        Keyring(primary=Key.generate()).decryption_key(missing, {})
    assert caught.value.key_id == missing
    assert not isinstance(caught.value, (LookupError, ValueError))


@pytest.mark.parametrize("wrong", [SECRET, "text", None, 5])
def test_a_keyring_of_anything_but_keys_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        Keyring(primary=wrong)
    with pytest.raises(TypeError):
        Keyring(primary=Key.generate(), decrypt_only=[wrong])


def test_a_keyring_names_its_primary_by_keyword():
    with pytest.raises(TypeError, match="primary="):
        Keyring(Key.generate())


def test_a_keyring_is_a_key_provider_and_a_lone_key_becomes_one():
    key = Key.generate()
    assert isinstance(Keyring(primary=key), KeyProvider)
    assert keys.as_key_provider(key).encryption_key({}) is key


@pytest.mark.parametrize("wrong", [SECRET, SECRET.hex(), None, {}, [Key.generate()], Keyring, Key])
def test_what_is_no_key_provider_is_a_type_error(wrong):
    with pytest.raises(TypeError, match="Key"):
        keys.as_key_provider(wrong)


# --- the environment ------------------------------------------------------------------------------------------------


def test_from_env_reads_the_primary_and_the_keys_to_read_with():
    new, old, older = Key.generate(), Key.generate(), Key.generate()
    ring = Keyring.from_env(
        {"ENCRYPTED_SERDE_KEY": new.to_text(), "ENCRYPTED_SERDE_DECRYPT_KEYS": f"{old.to_text()}, {older.to_text()}"}
    )
    assert ring.primary == new
    assert [ring.decryption_key(key.id, {}) for key in (new, old, older)] == [new, old, older]


def test_from_env_reads_the_process_environment(monkeypatch):
    key = Key.generate()
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", key.to_text())
    for name in ("ENCRYPTED_SERDE_KEY_FILE", "ENCRYPTED_SERDE_DECRYPT_KEYS", "ENCRYPTED_SERDE_DECRYPT_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert Keyring.from_env().primary == key


def test_from_env_reads_files_as_container_secrets_are_mounted(tmp_path):
    new, old, older = Key.generate(), Key.generate(), Key.generate()
    (tmp_path / "key").write_text(new.to_text() + "\n")
    (tmp_path / "old").write_text(f"{old.to_text()}\n{older.to_text()}\n")
    ring = Keyring.from_env(
        {"ENCRYPTED_SERDE_KEY_FILE": str(tmp_path / "key"), "ENCRYPTED_SERDE_DECRYPT_KEYS_FILE": str(tmp_path / "old")}
    )
    assert ring.primary == new
    assert ring.decryption_key(older.id, {}) == older


def _env_cases(tmp_path):
    text = Key.from_bytes(SECRET).to_text()
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    return {
        "nothing": {},
        "empty": {"ENCRYPTED_SERDE_KEY": ""},
        "two primaries": {"ENCRYPTED_SERDE_KEY": f"{text},{Key.generate().to_text()}"},
        "mistyped": {"ENCRYPTED_SERDE_KEY": text[:-1] + ("A" if text[-1] != "A" else "B")},
        "raw bytes in hex": {"ENCRYPTED_SERDE_KEY": SECRET.hex()},
        "variable and file": {"ENCRYPTED_SERDE_KEY": text, "ENCRYPTED_SERDE_KEY_FILE": "/nowhere"},
        "no such file": {"ENCRYPTED_SERDE_KEY_FILE": str(tmp_path / "missing")},
        "a directory": {"ENCRYPTED_SERDE_KEY_FILE": str(tmp_path)},
        "not text": {"ENCRYPTED_SERDE_KEY_FILE": str(binary)},
        "mistyped old key": {"ENCRYPTED_SERDE_KEY": text, "ENCRYPTED_SERDE_DECRYPT_KEYS": text[:-2]},
    }


@pytest.mark.parametrize("case", [
    "nothing", "empty", "two primaries", "mistyped", "raw bytes in hex", "variable and file", "no such file", "a directory",
    "not text", "mistyped old key",
])  # fmt: skip
def test_an_environment_that_cannot_be_used_is_refused_by_the_name_of_the_variable(case, tmp_path):
    environ = _env_cases(tmp_path)[case]
    with pytest.raises(ConfigurationError, match="ENCRYPTED_SERDE_") as caught:
        Keyring.from_env(environ)
    message = str(caught.value)
    assert not any(value[8:30] in message for name, value in environ.items() if value and not name.endswith("_FILE"))


# --- one key, one database ----------------------------------------------------------------------------------------------


def test_each_database_has_a_key_of_its_own_from_one_secret() -> None:
    key = Key.generate()
    production, staging = key.for_database("production"), key.for_database("staging")
    assert len({key, production, staging}) == 3
    assert production == Key.from_text(key.to_text()).for_database("production")
    assert production.id == Key.from_bytes(key.derive("database", b"production")).id


def test_a_row_of_staging_is_an_unknown_key_in_production() -> None:
    ring = Keyring(primary=Key.generate(), decrypt_only=[Key.generate()])
    production, staging = (EncryptedSerializer(ring.for_database(name)) for name in ("production", "staging"))
    approved = staging.dumps_typed({"approved": True})
    assert staging.loads_typed(approved) == {"approved": True}
    with pytest.raises(UnknownKey):
        production.loads_typed(approved)
    with pytest.raises(UnknownKey):
        EncryptedSerializer(ring).loads_typed(approved)


def test_a_keyring_of_a_database_reads_what_its_older_keys_wrote_there() -> None:
    old, new = Key.generate(), Key.generate()
    before = EncryptedSerializer(Keyring(primary=old).for_database("production")).dumps_typed(1)
    ring = Keyring(primary=new, decrypt_only=[old]).for_database("production")
    assert EncryptedSerializer(ring).loads_typed(before) == 1
    assert ring.primary == new.for_database("production")
    assert [key.id for key in ring.search_keys({})] == [one.for_database("production").id for one in (new, old)]


@pytest.mark.parametrize("name", ["", "x" * 1025, "\ud800"])
def test_a_name_of_a_database_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Key.generate().for_database(name)
    with pytest.raises(ConfigurationError):
        Keyring.from_env({"ENCRYPTED_SERDE_KEY": Key.generate().to_text()}, database=name)


def test_a_name_of_a_database_is_text() -> None:
    with pytest.raises(TypeError):
        Key.generate().for_database(b"production")  # type: ignore[arg-type]


def test_the_environment_names_the_database() -> None:
    key, old = Key.generate(), Key.generate()
    environ = {"ENCRYPTED_SERDE_KEY": key.to_text(), "ENCRYPTED_SERDE_DECRYPT_KEYS": old.to_text()}
    named = Keyring.from_env({**environ, "ENCRYPTED_SERDE_DATABASE": "production"})
    assert named.search_keys({}) == [key.for_database("production"), old.for_database("production")]
    assert Keyring.from_env({**environ, "ENCRYPTED_SERDE_DATABASE": ""}).primary == key
    assert Keyring.from_env({**environ, "ENCRYPTED_SERDE_DATABASE": "a"}, database="b").primary == key.for_database("b")


# --- a command that prints the key --------------------------------------------------------------------------------------


def command(tmp_path: Path, program: str) -> str:
    """A command line that runs a program of Python, with a space in its path."""
    (tmp_path / "key tool.py").write_text(program)
    return shlex.join([sys.executable, str(tmp_path / "key tool.py")])


def test_a_command_prints_the_key(tmp_path: Path) -> None:
    key, old = Key.generate(), Key.generate()
    environ = {
        "ENCRYPTED_SERDE_KEY_COMMAND": command(tmp_path, f"print({key.to_text()!r})"),
        "ENCRYPTED_SERDE_DECRYPT_KEYS": old.to_text(),
    }
    assert Keyring.from_env(environ).search_keys({}) == [key, old]


def test_no_shell_runs_the_command(tmp_path: Path) -> None:
    line = command(tmp_path, "import sys\nprint(sys.argv[1:])")
    with pytest.raises(ConfigurationError):
        Keyring.from_env({"ENCRYPTED_SERDE_KEY_COMMAND": f"{line} ; touch {shlex.quote(str(tmp_path / 'shell'))}"})
    assert not (tmp_path / "shell").exists()


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import sys\nprint({0!r}, file=sys.stderr)\nprint({0!r})\nsys.exit(3)", "exit code 3"),
        ("print({0!r}[:-1])", "it was cut"),
        ("print({0!r}, {0!r})", "exactly one key text"),
        ("import sys\nsys.stdout.buffer.write(b'\\xff' + {0!r}.encode())", "UnicodeDecodeError"),
        ("print()", "exactly one key text"),
    ],
)
def test_what_a_command_printed_is_in_no_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], program: str, problem: str
) -> None:
    text = Key.generate().to_text()
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Keyring.from_env({"ENCRYPTED_SERDE_KEY_COMMAND": command(tmp_path, program.format(text))})
    assert text[5:30] not in "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_command_that_hangs_or_is_none_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "COMMAND_TIMEOUT", 0.5)
    hanging = command(tmp_path, f"import time\nprint({Key.generate().to_text()!r}, flush=True)\ntime.sleep(60)")
    for line, problem in ((hanging, "TimeoutExpired"), ("no-such-program-here", "FileNotFoundError"), ('"open', "ValueError")):
        with pytest.raises(ConfigurationError, match=problem):
            Keyring.from_env({"ENCRYPTED_SERDE_KEY_COMMAND": line})


def test_two_forms_of_one_variable_are_refused(tmp_path: Path) -> None:
    environ = {"ENCRYPTED_SERDE_KEY_FILE": "/a", "ENCRYPTED_SERDE_KEY_COMMAND": "b"}
    with pytest.raises(ConfigurationError, match="not both"):
        Keyring.from_env(environ)
    text = Key.generate().to_text()
    with pytest.raises(ConfigurationError, match="it is the key itself") as caught:
        Keyring.from_env({"ENCRYPTED_SERDE_KEY_COMMAND": text})
    assert text[5:30] not in str(caught.value)
