"""Threads, tasks and forks share one serializer: no nonce twice, no value under the wrong context, no error."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from encrypted_serde import EncryptedSerializer, Key, WrongContext, encryption_context
from encrypted_serde.core.ciphers import CIPHERS, xaes
from encrypted_serde.core.format import Sealed


def _nonce(row):
    type_tag, blob = row
    cipher, start = CIPHERS[type_tag.partition("+")[2]], Sealed.of_blob(type_tag, blob).nonce
    return blob[start : start + cipher.NONCE_PREFIX + cipher.NONCE_REST]


@pytest.fixture
def switching_often():
    """Makes the interpreter change threads as often as it can, so that races show."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("switching_often")
@pytest.mark.parametrize("cipher", sorted(CIPHERS))
def test_threads_share_a_serializer_without_repeating_a_nonce(cipher, monkeypatch):
    monkeypatch.setattr(xaes, "MESSAGES_PER_PREFIX", 16)  # a new prefix every few values, where threads could collide
    serde, threads = EncryptedSerializer(Key.generate(), cipher=cipher), 8
    barrier = threading.Barrier(threads)

    def work(number):
        barrier.wait()
        rows = []
        for count in range(400):
            with encryption_context({"tenant_id": str(count % 5)}):
                rows.append(serde.dumps_typed((number, count)))
                if serde.loads_typed(rows[-1]) != [number, count]:
                    pytest.fail("a thread read a value it did not write")
        return rows

    with ThreadPoolExecutor(threads) as pool:
        rows = [row for part in pool.map(work, range(threads)) for row in part]
    assert len({_nonce(row) for row in rows}) == len(rows) == threads * 400
    assert all(serde.loads_typed(row) for row in rows)


@pytest.mark.usefixtures("switching_often")
def test_threads_that_read_the_same_values_do_not_disturb_each_other():
    key = Key.generate()
    writer = EncryptedSerializer(key)
    rows = []
    for number in range(60):
        with encryption_context({"tenant_id": str(number % 7)}):
            rows.append(EncryptedSerializer(key, cipher=sorted(CIPHERS)[number % 3]).dumps_typed(number))
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        return [writer.loads_typed(row) for _ in range(10) for row in rows]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [list(range(60)) * 10] * 8


async def test_each_task_seals_and_reads_under_its_own_context(serde):
    rows = {}

    async def task(tenant):
        with encryption_context(tenant_id=tenant):
            for count in range(20):
                rows[tenant, count] = serde.dumps_typed(tenant)
                await asyncio.sleep(0)
                assert serde.loads_typed(rows[tenant, count]) == tenant
                assert await asyncio.to_thread(serde.loads_typed, rows[tenant, count]) == tenant
            with pytest.raises(WrongContext):
                serde.loads_typed(next(row for (other, _), row in rows.items() if other != tenant))

    await asyncio.gather(*[task(f"t{number}") for number in range(25)])
    assert {tenant: Sealed.of_blob(*row).head.context.pairs["tenant_id"] for (tenant, _), row in rows.items()} == {
        f"t{number}": f"t{number}" for number in range(25)
    }
    assert len({_nonce(row) for row in rows.values()}) == 500


_FORKS = """
import os, pickle, sys
from encrypted_serde import EncryptedSerializer, Key
key = Key.from_hex(sys.argv[1])
serde = EncryptedSerializer(key, cipher=sys.argv[2])
first = serde.dumps_typed("before the fork")  # the nonce prefix is drawn and the AEAD made ready
assert serde.loads_typed(first)
pipes = []
for _ in range(4):
    readable, writable = os.pipe()
    if os.fork() == 0:
        os.close(readable)
        with os.fdopen(writable, "wb") as out:
            out.write(pickle.dumps([serde.dumps_typed(serde.loads_typed(first)) for _ in range(1000)]))
        os._exit(0)
    os.close(writable)
    pipes.append(readable)
rows = [first] + [serde.dumps_typed("parent") for _ in range(1000)]
for readable in pipes:
    with os.fdopen(readable, "rb") as source:
        rows += pickle.loads(source.read())
for _ in pipes:
    os.wait()
sys.stdout.buffer.write(pickle.dumps(rows))
"""


# rule T-21
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.parametrize("cipher", sorted(CIPHERS))
def test_processes_forked_after_first_use_repeat_no_nonce(cipher):
    secret = bytes(range(100, 132))
    done = subprocess.run([sys.executable, "-c", _FORKS, secret.hex(), cipher], capture_output=True, timeout=60, check=True)
    rows, serde = pickle.loads(done.stdout), EncryptedSerializer(Key.from_bytes(secret))
    assert len({_nonce(row) for row in rows}) == len(rows) == 5001
    assert {serde.loads_typed(row) for row in rows} == {"before the fork", "parent"}
