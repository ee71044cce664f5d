"""Python programs of others, each in an environment of its own in the cache, made once on a machine.

What belongs into one is a requirements file, the first line of which that is no comment names the program and its
version: `mlflow==3.17.2`.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from headrace_kit.testing.backends import packages


class NoPeer(Exception):  # noqa: N818 - says what is missing
    """An environment cannot be made here; the message says why."""


def version(requirements: Path) -> str:
    """Of the program."""
    return wanted(requirements)[0].partition("==")[2]


def python(requirements: Path) -> Path:
    """The interpreter of the environment, which is made when it is missing: a minute or more, once. Raises NoPeer."""
    lines = wanted(requirements)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
    name, _, number = lines[0].partition("==")
    folder = packages.cache_folder().parent / "peers" / f"{name}-{number}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # before anything is looked at: it may be half made
        if not folder.exists():
            packages.say(f"installing {name} {number} into {folder} (once on this machine)")
            _make(folder, requirements)
    return folder / "bin" / "python"


def wanted(requirements: Path) -> list[str]:
    """The lines that name packages."""
    lines = requirements.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _make(folder: Path, requirements: Path) -> None:
    venv = [sys.executable, "-m", "venv", str(folder)]
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        for command in (venv, [*pip, "-r", str(requirements)]):
            subprocess.run(command, capture_output=True, text=True, check=True)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)  # what is there is taken for whole
        if isinstance(error, subprocess.CalledProcessError):
            raise NoPeer(f"what {requirements} names cannot be installed:\n{error.stderr[-1000:]}") from None
        raise
