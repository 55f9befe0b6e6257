"""Where the binary is, and how it is run."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence

StrPath = str | os.PathLike[str]

PREFIX = "repserve: "


class RepserveError(Exception):
    """The binary or a server reports an error; its message says what was wrong and what to do."""


def binary() -> str:
    """The path of the binary that this package installed, or of the one that `REPSERVE` names.

    Raises:
        RepserveError: there is none.
    """
    named = os.environ.get("REPSERVE")
    if named:
        return named
    for folder in _script_folders():
        path = os.path.join(folder, "repserve")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise RepserveError(
        "the binary is not where this package installs it; install the package again, or name it in REPSERVE"
    )


def _script_folders() -> Iterator[str]:
    """Where installers put programs: into the environment, the user's folder, or beside what `pip install --target` wrote."""
    yield sysconfig.get_path("scripts")
    yield sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    yield os.path.join(os.path.dirname(os.path.dirname(__file__)), "bin")


def run(arguments: Sequence[StrPath]) -> str:
    """Runs the binary to its end and returns what it printed; its warnings go to stderr.

    Raises:
        RepserveError: it failed, with its own message.
    """
    command: list[StrPath] = [binary(), *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise RepserveError(f"{os.fspath(command[0])} cannot be run: {error.strerror}") from error
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode != 0:
        raise RepserveError(message(said, done.returncode))
    sys.stderr.write(said)
    return done.stdout.decode("utf-8", "replace")


def message(said: str, code: int) -> str:
    """The error in what the binary wrote to stderr, which is its last line."""
    lines = [line for line in said.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith(PREFIX):
            return line.removeprefix(PREFIX)
    if code < 0:
        return f"the binary was ended by signal {-code}"
    return lines[-1] if lines else f"the binary ended with exit code {code} and said nothing"
