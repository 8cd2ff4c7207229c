"""The AES envelope of Agent Server 0.18, which names its key: written here as described, read by us and by that server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256

import pytest
from Crypto.Cipher import AES

from encrypted_serde import AuthenticationFailed, MalformedEnvelope, UnsupportedFormat
from encrypted_serde.wrapping.legacy import LegacyReader
from tests.tampering import flip

MAGIC = b"LGAES-ENVELOPE\0\0"
KEY, OTHER = os.urandom(16), os.urandom(32)


def envelope(plaintext: bytes, key: bytes = KEY, version: int = 1) -> bytes:
    header = MAGIC + bytes([version]) + sha256(b"langgraph-aes-key-id-v1\0" + key).digest()[:16]
    nonce = os.urandom(16)
    cipher = AES.new(key, AES.MODE_EAX, nonce=nonce)
    cipher.update(header)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    return header + nonce + tag + ciphertext


def read(blob: bytes) -> bytes:
    return LegacyReader([OTHER, KEY]).open("bytes", blob)


@pytest.mark.parametrize("plaintext", [b"", b"x", b"\0" * 1000])
@pytest.mark.parametrize("key", [KEY, OTHER], ids=["16 bytes", "32 bytes"])
def test_an_envelope_opens_under_the_key_that_it_names(plaintext: bytes, key: bytes) -> None:
    assert read(envelope(plaintext, key)) == plaintext


SERVER = """
import sys
from langgraph_api.encryption import aes_json
if not hasattr(aes_json, "get_aes_cipher"):
    sys.exit(3)
sys.stdout.buffer.write(aes_json.get_aes_cipher(bytes.fromhex(sys.argv[1])).decrypt("aes", bytes.fromhex(sys.argv[2])))
"""


def test_the_server_reads_what_these_tests_write() -> None:
    pytest.importorskip("langgraph_api", reason="langgraph-api needs Python 3.11")
    settings = {
        "LANGGRAPH_RUNTIME_EDITION": "inmem",
        "DATABASE_URI": ":memory:",
        "REDIS_URI": "fake",
        "MIGRATIONS_PATH": "__inmem",
    }
    command = [sys.executable, "-W", "ignore", "-c", SERVER, KEY.hex(), envelope(b"text").hex()]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, timeout=60, check=False)
    if done.returncode == 3:
        pytest.skip("this release of langgraph-api has no envelope")
    assert done.stdout.endswith(b"text"), done.stderr


def test_values_of_before_still_open() -> None:
    cipher = AES.new(KEY, AES.MODE_EAX, nonce=(nonce := os.urandom(16)))
    ciphertext, tag = cipher.encrypt_and_digest(b"old")
    assert read(nonce + tag + ciphertext) == b"old"


@pytest.mark.parametrize("part", [range(136, 264), range(264, 264 + 36 * 8)], ids=["key id", "nonce, tag and ciphertext"])
def test_a_changed_bit_is_refused(part: range) -> None:
    blob = envelope(b"text")
    for bit in part:
        with pytest.raises(AuthenticationFailed):
            read(flip(blob, bit))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda blob: blob[:20], MalformedEnvelope),
        (lambda blob: blob[:32], MalformedEnvelope),
        (lambda blob: blob[:64], MalformedEnvelope),
        (lambda blob: envelope(b"text", version=2), UnsupportedFormat),
        (lambda blob: envelope(b"text", os.urandom(16)), AuthenticationFailed),
        (lambda blob: MAGIC + blob, UnsupportedFormat),
    ],
    ids=["cut in the header", "cut in the key id", "cut in the tag", "version 2", "a key that was not given", "twice"],
)
def test_an_envelope_that_is_none_is_refused(change: Callable[[bytes], bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        read(change(envelope(b"text")))
