"""Processes of this machine, whoever started them."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_STATE, _STARTTIME = 0, 19  # in /proc/<pid>/stat, counted behind the command's name: see proc(5)


def start_time(pid: int) -> str | None:
    """When the process started, in the system's own words; None where it has ended. With the pid, it names a process."""
    if not _PROC.is_dir():
        return _by_ps(pid)
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[_STATE] in "ZX" else fields[_STARTTIME]


def with_argument(before: str) -> Iterator[tuple[int, str]]:
    """Processes whose command line has this text and a word of hexadecimal digits behind it: pid and that word."""
    wanted = re.compile(re.escape(before) + r"([0-9a-f]+)\b")
    for pid, line in _command_lines():
        found = wanted.search(line)
        if found:
            yield pid, found[1]


def _command_lines() -> Iterator[tuple[int, str]]:
    if not _PROC.is_dir():
        for line in _ps("-axww", "-o", "pid=,args=").splitlines():
            number, _, command = line.strip().partition(" ")
            yield int(number), command
        return
    for folder in _PROC.glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue


def _by_ps(pid: int) -> str | None:
    state, _, started = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def _ps(*arguments: str) -> str:
    """Where there is no /proc (macOS)."""
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout
