"""Secrets of the environment: the text itself, a file that holds it, or a command that prints it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigurationError

COMMAND_TIMEOUT = 60.0
"""Seconds that a command may take: some ask a person first."""


def read_texts(environ: Mapping[str, str], name: str, prefix: str) -> tuple[str, list[str]]:
    """Reads the texts of a variable: from itself, from the file that ``<name>_FILE`` names, or from ``<name>_COMMAND``.

    Args:
        environ: The environment.
        name: Of the variable.
        prefix: How a text begins, to tell a key in place of a file or a command.

    Returns:
        The name of the variable that was set, for messages, and the texts: apart by commas or white space.

    Raises:
        ConfigurationError: If more than one form is set, or the file or the command gives nothing. Never says what it gave.
    """
    forms = [form for form in (name, f"{name}_FILE", f"{name}_COMMAND") if environ.get(form)]
    if len(forms) > 1:
        raise ConfigurationError(f"set {' or '.join(forms)}, not both")
    if not forms:
        return name, []
    form, text = forms[0], environ[forms[0]]
    if form != name and text.startswith(prefix):
        what = "names a file that holds" if form.endswith("_FILE") else "is a command that prints"
        raise ConfigurationError(f"{form} {what} the key; it is the key itself")
    if form.endswith("_FILE"):
        text = _of_file(form, text)
    elif form.endswith("_COMMAND"):
        text = _of_command(form, text)
    return form, [part for part in re.split(r"[\s,]+", text) if part]


def _of_file(form: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")  # some editors put a byte order mark before it
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{form}: cannot read the file ({type(error).__name__})") from None


def _of_command(form: str, command: str) -> str:
    """Runs a command without a shell, and returns what it prints. Its error output may quote a secret and is not shown."""
    printed, problem = _printed(command)
    if problem:
        raise ConfigurationError(f"{form}: the command printed no key ({problem}); run it by hand to see why")
    return printed


def _printed(command: str) -> tuple[str, str]:
    """Returns what a command prints, and what went wrong. An error of its own would hold the output."""
    import subprocess

    try:
        words = shlex.split(command)
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT, check=False)  # noqa: S603
        return (done.stdout.decode("utf-8-sig"), "") if done.returncode == 0 else ("", f"exit code {done.returncode}")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return "", type(error).__name__
