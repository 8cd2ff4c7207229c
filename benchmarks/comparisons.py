"""Every comparison that ``python -m benchmarks ratios`` makes, each with the figure it is to reach.

A new one is a `Comparison` in one of the lists below.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from encrypted_serde import EncryptedSaver, Key, encryption_context

from . import maintenance, replay, stores
from .agent_server import NOTHING, SERVED, served
from .agent_server import OURS as HANDLERS
from .anchors import anchored
from .event_loop import aput_sample
from .graphs import AGENT, EMPTY, GRAPHS, WORKING
from .pairs import Effort, Sample, call_sample, run_sample
from .payloads import PAYLOADS, messages, random_bytes
from .places import Places, Setup
from .processes import process_sample
from .serializers import FLOOR, OURS, PLAINTEXT, SERIALIZERS, UPSTREAM_EAX
from .tenants import ACME, KEYRING, TENANT_KEYRING, tenant_serializer

Samples = Callable[[Places, Effort], AbstractContextManager[tuple[Sample, Sample]]]


@dataclass(frozen=True)
class Target:
    """The figure to reach: at most, or at least, this ratio of subject to baseline."""

    at: float
    least: bool = False

    def reached(self, ratio: float) -> bool:
        return ratio >= self.at if self.least else ratio <= self.at

    def __str__(self) -> str:
        return f"{'>=' if self.least else '<='} {self.at:g}"


@dataclass(frozen=True)
class Comparison:
    """Two things to measure in turns.

    Attributes:
        group: The part of the table it belongs to.
        name: What both of them do.
        subject: Who is compared.
        baseline: With whom.
        samples: Opens what is needed and gives the samples of subject and baseline.
        target: What the ratio should be; None where it is only for information.
    """

    group: str
    name: str
    subject: str
    baseline: str
    samples: Samples
    target: Target | None = None


# --- values ---------------------------------------------------------------------------------------------------------


def _dumps(serializer: str, payload: str) -> Callable[[], Any]:
    return partial(SERIALIZERS[serializer]().dumps_typed, PAYLOADS[payload]())


def _loads(serializer: str, payload: str) -> Callable[[], Any]:
    serde = SERIALIZERS[serializer]()
    return partial(serde.loads_typed, serde.dumps_typed(PAYLOADS[payload]()))


def _bare_encrypt(payload: str) -> Callable[[], Any]:
    return partial(AESGCM(os.urandom(32)).encrypt, os.urandom(12), PAYLOADS[payload](), None)


def _bare_decrypt(payload: str) -> Callable[[], Any]:
    aead, nonce = AESGCM(os.urandom(32)), os.urandom(12)
    return partial(aead.decrypt, nonce, aead.encrypt(nonce, PAYLOADS[payload](), None), None)


def _calls(subject: Callable[[], Any], baseline: Callable[[], Any]) -> Samples:
    """Compares two calls. They are given as what makes them, so that listing comparisons costs nothing."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        yield call_sample(subject(), effort.batch), call_sample(baseline(), effort.batch)

    return samples


def _value(payload: str, subject: str, baseline: str, *targets: Target | None) -> list[Comparison]:
    """Compares two serializers, both ways; `targets` are those of dumps and of loads."""
    return [
        Comparison(
            "values",
            f"{name} {payload}",
            subject,
            baseline,
            _calls(partial(call, subject, payload), partial(call, baseline, payload)),
            target,
        )
        for name, call, target in zip(("dumps", "loads"), (_dumps, _loads), targets, strict=True)
    ]


def _bare(payload: str, target: Target | None = None) -> list[Comparison]:
    """Compares our serializer with nothing but the AEAD, both ways."""
    dumps = _calls(partial(_dumps, OURS, payload), partial(_bare_encrypt, payload))
    loads = _calls(partial(_loads, OURS, payload), partial(_bare_decrypt, payload))
    return [
        Comparison("values", f"dumps {payload}", OURS, "AES-GCM", dumps, target),
        Comparison("values", f"loads {payload}", OURS, "AES-GCM", loads, target),
    ]


VALUES = [
    *_value("an int", OURS, FLOOR, Target(1.5), Target(2.0)),
    *_value("an int", UPSTREAM_EAX, OURS, Target(50, least=True), Target(50, least=True)),
    *_value("100 messages", OURS, PLAINTEXT, Target(1.02), Target(1.02)),
    *_value("100 messages", FLOOR, PLAINTEXT, None, None),
    *_bare("bytes 1 MiB", Target(1.5)),
    *_bare("bytes 16 MiB"),
]

# --- whole graph runs -----------------------------------------------------------------------------------------------


def _runs(kind: str, graph: str, subject: Setup, baseline: Setup) -> Samples:
    """Compares runs of one graph with two checkpointers of one kind, each in a database of its own."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        with ExitStack() as stack:
            savers = [stack.enter_context(places.saver(kind, setup)) for setup in (subject, baseline)]
            one, other = (run_sample(GRAPHS[graph].runner(saver), saver.delete_thread) for saver in savers)
            yield one, other

    return samples


def _graph(group: str, kind: str, graph: str, subject: Setup, baseline: Setup, target: Target | None = None) -> Comparison:
    samples = _runs(kind, graph, subject, baseline)
    return Comparison(group, f"{kind}: {graph}", subject.name, baseline.name, samples, target)


_PLAINTEXT = Setup(PLAINTEXT)
_OURS = Setup(OURS, serde=SERIALIZERS[OURS])
_UPSTREAM = Setup(UPSTREAM_EAX, serde=SERIALIZERS[UPSTREAM_EAX])

GRAPH_RUNS = [
    _graph("runs, serde=", kind, graph, setup, _PLAINTEXT, target if setup is _OURS else None)
    for kind, target in (("InMemory", None), ("Sqlite", Target(1.05)), ("Postgres", Target(1.05)))
    for graph in (AGENT, WORKING, EMPTY)
    for setup in (_OURS, _UPSTREAM)
]

# --- the saver ------------------------------------------------------------------------------------------------------


_KEY = Key.generate()
_ENCRYPTED = Setup("EncryptedSaver", wrap=lambda saver: EncryptedSaver(saver, _KEY))
_PLAIN = Setup("plain saver")

SAVER_RUNS = [
    _graph("runs, EncryptedSaver", kind, graph, _ENCRYPTED, _PLAIN, Target(at))
    for kind, working, empty in (("InMemory", 1.25, 1.35), ("Sqlite", 1.12, 1.25), ("Postgres", 0.85, 1.15))
    for graph, at in ((WORKING, working), (EMPTY, empty))
]


def _extra(method: str) -> Samples:
    """Compares what one call costs beyond the plain saver with serializing an int."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        yield replay.extra_sample(AGENT, method), call_sample(_dumps(OURS, "an int"), effort.batch)

    return samples


def _reads(way: str) -> Samples:
    """Compares reading a recorded thread."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        ours, plain = replay.readers(AGENT, way)
        yield call_sample(ours, effort.batch), call_sample(plain, effort.batch)

    return samples


SAVER_CALLS = [
    Comparison("calls of EncryptedSaver", f"InMemory: {what}", "beyond the plain saver", "dumps an int", _extra(method), target)
    for what, method, target in (
        ("put", replay.PUT, Target(15)),
        ("put_writes, each write", replay.PUT_WRITES, Target(3)),
    )
]
SAVER_CALLS += [
    Comparison("calls of EncryptedSaver", f"InMemory: {way}", _ENCRYPTED.name, _PLAIN.name, _reads(way)) for way in replay.READ
]

ANCHORED_RUNS = [
    _graph("runs, with an anchor", kind, graph, anchored(_KEY), _ENCRYPTED, Target(at))
    for kind in ("Sqlite", "Postgres")
    for graph, at in ((AGENT, 1.10), (WORKING, 1.10), (EMPTY, 1.15))
]

LARGE: dict[str, Callable[[], Any]] = {
    "8 MB of bytes": lambda: random_bytes(8_000_000),
    "8 MB of messages": lambda: messages(4000, size=2000),
}


def _aputs(kind: str, payload: str, subject: Setup, baseline: Setup) -> Samples:
    """Compares how long one aput of a large value holds the event loop."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        value = LARGE[payload]()
        with aput_sample(places, kind, subject, value) as one, aput_sample(places, kind, baseline, value) as other:
            yield one, other

    return samples


SAVER_HOLDS = [
    Comparison(
        "event loop held, aput",
        f"{kind}: {payload}",
        _ENCRYPTED.name,
        _PLAIN.name,
        _aputs(kind, payload, _ENCRYPTED, _PLAIN),
        Target(1.0),
    )
    for kind in ("InMemory", "AsyncSqlite", "AsyncPostgres")
    for payload in LARGE
]

# --- a web service --------------------------------------------------------------------------------------------------


@contextmanager
def _served_requests(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
    from .web import web_samples  # only this one needs FastAPI

    with web_samples(places) as samples:
        yield samples


WEB = [
    Comparison(
        "web service",
        "FastAPI, 200 requests of 20 tenants",
        "EncryptedSaver, TenantKeyring",
        _PLAIN.name,
        _served_requests,
        Target(1.05),
    )
]

# --- whole processes ------------------------------------------------------------------------------------------------


def _processes(subject: str, baseline: str) -> Samples:
    """Compares two interpreters, from start to end."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        yield process_sample(subject), process_sample(baseline)

    return samples


PROCESS_RUNS = [
    Comparison("whole processes", what, subject, baseline, _processes(subject, baseline), target)
    for what, subject, baseline, target in (
        ("import", "EncryptedSerializer", "langgraph's serializer", Target(1.10)),
        ("import", "EncryptedSaver", "langgraph's base", None),
        ("import", "Key", "cryptography's HKDF", None),
        ("command", "keygen", "typer", None),
        ("command", "--help", "typer", None),
    )
]

# --- Agent Server ---------------------------------------------------------------------------------------------------


def _served_calls(name: str) -> Samples:
    """Compares two processes that answer over gRPC, as the server's core asks them."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        with served(HANDLERS) as one, served(NOTHING) as other:
            yield call_sample(SERVED[name](one), effort.batch), call_sample(SERVED[name](other), effort.batch)

    return samples


AGENT_SERVER = [
    Comparison("Agent Server, over gRPC", name, HANDLERS, NOTHING, _served_calls(name))
    for name in SERVED
    if sys.version_info >= (3, 11)  # the server needs that
]

# --- a key per tenant -----------------------------------------------------------------------------------------------


def _tenant_calls(payload: str, *, loads: bool) -> Samples:
    """Compares two sources of keys, both warm, for the values of one tenant."""

    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        value = PAYLOADS[payload]()
        calls = []
        with encryption_context(ACME):
            for provider in (TENANT_KEYRING, KEYRING):
                serde = tenant_serializer(provider)
                sealed = serde.dumps_typed(value)
                call = partial(serde.loads_typed, sealed) if loads else partial(serde.dumps_typed, value)
                calls.append(call_sample(call, effort.batch))
            yield calls[0], calls[1]

    return samples


TENANTS = [
    Comparison(
        "tenants, warm",
        f"{'loads' if loads else 'dumps'} {payload}",
        TENANT_KEYRING,
        KEYRING,
        _tenant_calls(payload, loads=loads),
        target,
    )
    # An int shows what looking at the clock and counting costs, about 0.1 us; nobody's state is made of them.
    for payload, target in (("an int", None), ("a message", Target(1.05)), ("10 messages", Target(1.05)))
    for loads in (False, True)
]

# --- stores and caches -----------------------------------------------------------------------------------------------


def _memory(kind: str, name: str, work: stores.Work, at: float) -> Comparison:
    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        with stores.store_samples(places, effort, kind, work) as pair:
            yield pair

    return Comparison("stores", f"{kind}: {name}", stores.OURS, stores.PLAIN, samples, Target(at))


def _pages(kind: str) -> Comparison:
    @contextmanager
    def samples(places: Places, effort: Effort) -> Iterator[tuple[Sample, Sample]]:
        with stores.page_samples(places, effort, kind) as pair:
            yield pair

    return Comparison("stores", f"{kind}: 4 000 items in pages", stores.TENANT, stores.NOBODY, samples, Target(1.5))


STORES = [
    _memory("Postgres", "put 2 kB", stores.PUT, 1.15),
    _memory("Postgres", "get 2 kB", stores.GET, 1.15),
    _memory("Postgres", "put 2 kB, toast_tuple_target 8160", stores.PUT_IN_ITS_ROW, 1.15),
    _memory("Postgres", "get 2 kB, toast_tuple_target 8160", stores.GET_IN_ITS_ROW, 1.15),
    _memory("Sqlite", "put 2 kB", stores.PUT, 1.15),
    _memory("Sqlite", "get 2 kB", stores.GET, 1.6),
    _pages("Postgres"),
    _pages("Sqlite"),
    Comparison("stores", "Postgres: put 40 kB", stores.EXTERNAL, stores.AS_CREATED, stores.external_samples),
    _memory("Postgres", "search 100 000 of 0.3 kB", stores.SEARCH, 1.10),
    _memory("Postgres", "search 100 000 of 2 kB", stores.SEARCH_LARGE, 1.15),
    _memory("Postgres", "search 20 000 of 2 kB, toast_tuple_target 8160", stores.SEARCH_IN_ITS_ROW, 1.15),
    _memory("Postgres", "search 20 000 of 2 kB, zstd", stores.SEARCH_ZSTD, 1.15),
    _memory("Postgres", "list 1000 namespaces, pseudonyms", stores.LIST, 3.0),
    _memory("Sqlite", "list 1000 namespaces, pseudonyms", stores.LIST, 3.0),
]

# --- maintenance ----------------------------------------------------------------------------------------------------

MAINTENANCE = [
    *(
        Comparison("maintenance", f"{kind}: re-encrypt", "new key", "same UPDATEs", samples, Target(2.0))
        for kind, samples in maintenance.rotations.items()
    ),
    # Two clients and the server keep three cores busy: with fewer the figure is for information.
    Comparison(
        "maintenance",
        "Postgres: re-encrypt",
        "two workers",
        "one",
        maintenance.workers,
        Target(0.67) if (os.cpu_count() or 1) >= 4 else None,
    ),
]

COMPARISONS: list[Comparison] = [
    *VALUES,
    *GRAPH_RUNS,
    *SAVER_RUNS,
    *SAVER_CALLS,
    *ANCHORED_RUNS,
    *SAVER_HOLDS,
    *WEB,
    *PROCESS_RUNS,
    *TENANTS,
    *AGENT_SERVER,
    *STORES,
    *MAINTENANCE,
]
"""All of them, in the order of the table."""
