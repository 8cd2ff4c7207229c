"""``python -m benchmarks report``: measures, and writes figures, pictures and the page that shows them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .comparisons import COMPARISONS
from .database_size import database_sizes
from .graphs import WORKING
from .growth import growth
from .pairs import Effort, call_sample, measure
from .payloads import random_bytes
from .places import Places
from .results import Report
from .serializers import OURS, PLAINTEXT, SERIALIZERS, UPSTREAM_EAX

PACKAGES = ("encrypted-serde", "cryptography", "langgraph", "langgraph-checkpoint", "ormsgpack", "pycryptodome")
SIZES = (16, 256, 4096, 65_536, 1 << 20, 16 << 20)
SERIES = (OURS, "upstream GCM", UPSTREAM_EAX)
MOST_LOAD = 1.0
"""Load of the machine, as a number of running processes, above which no page is written."""


class TooBusy(Exception):
    """The machine does something else: its figures would mislead."""


def report(directory: Path, effort: Effort, *, smoke: bool, say: Callable[[str], None]) -> Report:
    """Measures all of it and writes ``results.json``, four pictures and ``index.md``.

    Args:
        directory: Where to.
        effort: How long each pair is compared.
        smoke: Whether to make everything small.
        say: Is told what comes next.

    Raises:
        TooBusy: If the machine is too busy for figures that can be published.
    """
    from . import plots  # matplotlib: only this command needs it

    machine = _machine()
    if machine["load"] > MOST_LOAD and not smoke:
        raise TooBusy(f"the load of this machine is {machine['load']:.1f}: wait until it is below {MOST_LOAD:.1f}")
    versions = {one: version(one) for one in PACKAGES}
    found = Report(datetime.now(timezone.utc).isoformat(timespec="seconds"), machine, versions, smoke)
    with Places() as places:
        say("values by size")
        found.values.extend(_values(SIZES[:2] if smoke else SIZES, effort))
        say("whole runs")
        found.runs.extend(_runs(places, effort))
        say("database size")
        found.sizes.extend(one._asdict() for one in database_sizes(places))
        say("growth")
        found.growth.extend(one._asdict() for one in growth(places, 100 if smoke else 10_000))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    plots.draw(found, directory)
    (directory / "index.md").write_text(_page(found), encoding="utf-8")
    return found


def _values(sizes: tuple[int, ...], effort: Effort) -> Iterator[dict[str, Any]]:
    for size in sizes:
        value = random_bytes(size)
        for name in SERIES:
            subject, plain = (partial(SERIALIZERS[one]().dumps_typed, value) for one in (name, PLAINTEXT))
            measured = measure(call_sample(subject, effort.batch), call_sample(plain, effort.batch), effort)
            yield {"size": size, "series": name, "seconds": measured.subject, "plaintext": measured.baseline}


def _runs(places: Places, effort: Effort) -> Iterator[dict[str, Any]]:
    for comparison in COMPARISONS:
        saver, _, graph = comparison.name.partition(": ")
        if comparison.group in _RUNS and graph == WORKING:
            with comparison.samples(places, effort) as (subject, plain):
                measured = measure(subject, plain, effort)
            name = _NAMES.get(comparison.subject, comparison.subject)
            yield {"saver": saver, "subject": name, "ratio": measured.ratio, "spread": measured.spread}


_RUNS = ("runs, serde=", "runs, EncryptedSaver")  # those that are compared with no encryption
_NAMES = {OURS: "EncryptedSerializer", UPSTREAM_EAX: "langgraph's own (EAX)", "upstream GCM": "langgraph's own (GCM)"}


def _machine() -> dict[str, Any]:
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), cpu)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(), "load": load}


# --- the page -------------------------------------------------------------------------------------------------------


def _page(found: Report) -> str:
    machine, versions = found.machine, ", ".join(f"{name} {number}" for name, number in found.versions.items())
    smoke = "\n**A smoke run: too few rounds to go by.**\n" if found.smoke else ""
    return f"""# Performance

Written by `python -m benchmarks report` on {found.date[:10]}; do not edit.
{machine["cores"]} cores ({machine["cpu"]}), {machine["system"]}, Python {machine["python"]},
{versions}. All figures: [results.json](results.json).
{smoke}
Each figure is measured in turns with its baseline, in one process, so that both share the load of the machine. Ratios are
therefore more reliable than times. In brackets are the quartiles: half of all pairs lie between them. The load of the machine
was {machine["load"]:.1f} when the run began; the command refuses to write this page above {MOST_LOAD:.1f}.

## Whole runs

A graph of twenty steps that each add a message of 2 kB, beside 256 kB of documents. 1.00 is the same saver without encryption.

![Whole graph runs by checkpointer, relative to the same run without encryption](runs.svg)

{_runs_table(found)}

The Postgres of this benchmark writes without fsync. A real one waits for the disk, so its ratios are smaller.

## One value

From bytes to encrypted bytes, by size.

![Time to seal one value, by its size](values.svg)

{_values_table(found)}

## Size of a database

One conversation of 200 messages over 52 checkpoints, on Postgres: all tables with their indexes. Postgres compresses plaintext.
It cannot compress encrypted values. `compression="zstd"` compresses before encryption, but then the length of a row leaks
information about its content.

![Size of a Postgres database, by how it is kept](sizes.svg)

{_sizes_table(found)}

## A long thread

The same calls on one SQLite file after 1 to 10 000 checkpoints. The ratio does not grow with the length of the thread.

![Time of a call, by the number of checkpoints in the thread](growth.svg)

{_growth_table(found)}

## Measure yourself

```sh
python -m pip install -e ".[bench]"
python -m benchmarks ratios                     # every comparison, beside its target; --only GROUP chooses
python -m benchmarks report                     # writes this page
python -m pytest benchmarks --benchmark-enable  # pytest-benchmark: absolute times, in groups
```

| group of pytest-benchmark | what it measures |
| --- | --- |
| `dumps ...`, `loads ...` | one payload (an int, messages, bytes of 1 MiB) with each serializer, one direction a group |
| `InMemory: ...`, `Sqlite: ...`, `Postgres: ...` | whole graph runs on one saver: plaintext, ours, langgraph's own |
| `tenants: ...` | one payload with one key, and with a key per tenant |
| `agent server: ...` | the handlers of Agent Server, by themselves and as the server calls them |
"""


def _table(heading: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows])


def _runs_table(found: Report) -> str:
    savers = list(dict.fromkeys(one["saver"] for one in found.runs))
    ratios = {
        (one["subject"], one["saver"]): "{:.2f} ({:.2f} to {:.2f})".format(one["ratio"], *one["spread"]) for one in found.runs
    }
    subjects = dict.fromkeys(subject for subject, _ in ratios)
    return _table(["", *savers], [[subject, *(ratios.get((subject, saver), "") for saver in savers)] for subject in subjects])


def _values_table(found: Report) -> str:
    rows = []
    for size in dict.fromkeys(one["size"] for one in found.values):
        of_size = {one["series"]: one for one in found.values if one["size"] == size}
        plain = min(one["plaintext"] for one in of_size.values())
        rows.append([size_text(size), time_text(plain), *(time_text(of_size[name]["seconds"]) for name in SERIES)])
    return _table(["size", "plaintext", *(_NAMES[name] for name in SERIES)], rows)


def _sizes_table(found: Report) -> str:
    plain = {one["characters"]: one["size"] for one in reversed(found.sizes)}  # the first of each is the plain saver
    rows = [
        [
            f"{one['characters']} characters a message, {_NAMES.get(one['name'], one['name'])}",
            f"{one['size'] / 1024:.0f} KiB",
            f"{one['size'] / plain[one['characters']]:.2f}",
        ]
        for one in found.sizes
    ]
    return _table(["", "size", "of plain"], rows)


def _growth_table(found: Report) -> str:
    rows = []
    for one in found.growth:
        plain, sealed = one["seconds"].values()
        rows.append([f"{one['checkpoints']}, {one['call']}", time_text(plain), time_text(sealed), f"{sealed / plain:.2f}"])
    return _table(["checkpoints, call", "plain", "EncryptedSaver", "ratio"], rows)


def size_text(size: int) -> str:
    """Gives a number of bytes in the largest unit that divides it."""
    for unit, bytes_of_it in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_of_it:
            return f"{size // bytes_of_it} {unit}"
    return f"{size} B"


def time_text(seconds: float) -> str:
    """Gives a time in the unit in which people read it."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"
