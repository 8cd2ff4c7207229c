"""Runs the targets, each in a process of its own, from the seeds on; needs the extra ``fuzz``."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("blob", "sealed_bytes", "text", "claims", "legacy", "gate", "inert", "cell", "key_text", "context")


def main() -> int:
    """Runs the command: 0 if no target failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzzes every parser of the package.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--runs", type=int, help="this many executions for each target, from a fixed seed, instead of a time")
    parser.add_argument("--target", choices=NAMES, action="append", help="only this one; may be given again")
    parser.add_argument(
        "--corpus", type=Path, help="keep what was found here, and go on from it (default: a temporary directory)"
    )
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    options, passed_on = parser.parse_known_args()
    if options.one:
        return _fuzz(options.one, passed_on)
    limits = [f"-runs={options.runs}", "-seed=1"] if options.runs else [f"-max_total_time={options.seconds}"]
    with tempfile.TemporaryDirectory(prefix="es-fuzz-") as temporary:
        corpus = options.corpus or Path(temporary)
        results = {name: _run(name, corpus / name, limits) for name in options.target or NAMES}
    executions = sum(number for _, number in results.values())
    failed = [name for name, (code, _) in results.items() if code]
    print(f"{executions} executions in all; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _run(name: str, corpus: Path, limits: list[str]) -> tuple[int, int]:
    """Fuzzes one target in a process of its own, and gives its exit code and the number of executions."""
    from .seeds import seeds

    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    always = ["-max_len=4096", "-print_final_stats=1", f"-artifact_prefix={name}-"]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--one", name, *always, *limits, str(corpus)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONHASHSEED": "0"},  # else the same seed takes another way each time
        check=False,
    )
    shown = done.stdout.decode("utf-8", "replace")
    found = re.search(r"number_of_executed_units: (\d+)", shown) or re.search(r"Done (\d+) in", shown)
    executions = int(found[1]) if found else 0
    print(f"{name}: {executions} executions in {time.monotonic() - start:.0f} s, exit code {done.returncode}", flush=True)
    if done.returncode:
        print("\n".join(shown.splitlines()[-60:]))
    return done.returncode, executions


def _fuzz(name: str, arguments: list[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["encrypted_serde"]):
        from .targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
