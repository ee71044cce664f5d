"""Instances as processes of this machine, in sessions of their own: they survive whoever started them."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

from headrace_deployment.targets import InstanceSpec, TargetError
from headrace_deployment.targets.processes import start_time, with_argument

log = logging.getLogger(__name__)

_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""All that instances get of our environment: it holds secrets, and a model's code may be anybody's."""

_LAST_BYTES: Final = 4096
_READY_WITHIN: Final = 1 << 20  # of stdout: the model's code may print, too
_LAST_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    started: str | None


@dataclass(frozen=True, slots=True)
class _Standby:
    instance_id: str
    stdin: IO[bytes]


class LocalTarget:
    """Each instance has a folder below `folder`, its home and working directory, with its output in it.

    `options` are arguments of `python -m headrace_serving` for all of them. With `standby`, one process is kept that
    has imported everything and waits for its model: a start takes 30 ms then, not two seconds, for 180 MB of memory.
    """

    def __init__(self, folder: Path, options: Sequence[str], *, environ: Mapping[str, str], standby: bool) -> None:
        self._folder = folder.resolve()
        self._options = list(options)
        self._environ = {name: environ[name] for name in _PASSED_ON if name in environ}
        self._with_standby = standby
        self._standby: _Standby | None = None
        self._reserved: dict[str, IO[bytes]] = {}
        self._processes: dict[str, _Process] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Starts a standby, where there should be one and is none."""
        with self._lock:
            if not self._with_standby or (self._standby and self.is_alive(self._standby.instance_id)):
                return
            instance_id = uuid4().hex
            try:
                stdin = self._spawn(instance_id, ["--standby"], subprocess.PIPE)
            except TargetError as error:
                log.warning("no standby, starts take longer: %s", error)
                return
            if stdin is not None:
                self._standby = _Standby(instance_id, stdin)

    def reserve(self) -> str:
        """The standby's id where there is one."""
        with self._lock:
            standby, self._standby = self._standby, None
            if standby is None or not self.is_alive(standby.instance_id):
                return uuid4().hex
            self._reserved[standby.instance_id] = standby.stdin
            return standby.instance_id

    def start(self, spec: InstanceSpec) -> None:
        """As the port says."""
        arguments = ["--model-dir", str(spec.model_folder), "--version-label", spec.version_label]
        standby = self._reserved.pop(spec.instance_id, None)
        if standby is not None:
            with contextlib.suppress(BrokenPipeError), standby:
                standby.write(json.dumps(arguments).encode() + b"\n")
                return
        self._spawn(spec.instance_id, arguments, subprocess.DEVNULL)

    def address(self, instance_id: str) -> str | None:
        """As the port says."""
        for line in self._output(instance_id, "stdout", _READY_WITHIN).splitlines(keepends=True):
            if line.startswith("READY ") and line.endswith("\n"):
                return next(word.removeprefix("http=") for word in line.split() if word.startswith("http="))
        return None

    def is_alive(self, instance_id: str) -> bool:
        """As the port says."""
        process = self._processes.get(instance_id)
        if process is None:
            return False
        # A child of ours stays a zombie until waited for; one that was adopted is not our child.
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(process.pid, os.WNOHANG)[0]:
                return False
        return process.started is not None and start_time(process.pid) == process.started

    def last_words(self, instance_id: str) -> str:
        """As the port says."""
        lines = [line.strip() for line in self._output(instance_id, "stderr", _LAST_BYTES).splitlines() if line.strip()]
        return "\n".join(lines[-_LAST_LINES:])

    def stop(self, instance_id: str) -> None:
        """SIGTERM."""
        if self.is_alive(instance_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._processes[instance_id].pid, signal.SIGTERM)

    def kill(self, instance_id: str) -> None:
        """SIGKILL to its whole session."""
        if self.is_alive(instance_id):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._processes[instance_id].pid, signal.SIGKILL)

    def forget(self, instance_id: str) -> None:
        """Removes its folder."""
        if not self.is_alive(instance_id):
            self._processes.pop(instance_id, None)
            reserved = self._reserved.pop(instance_id, None)
            if reserved is not None:
                reserved.close()
            shutil.rmtree(self._folder / instance_id, ignore_errors=True)

    def adopt(self) -> frozenset[str]:
        """Finds them by their command lines."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for pid, instance_id in with_argument(f"--instance-dir {self._folder}/"):
            self._processes.setdefault(instance_id, _Process(pid, start_time(pid)))
        there = frozenset(instance_id for instance_id in list(self._processes) if self.is_alive(instance_id))
        for left in {path.name for path in self._folder.iterdir()} - there:
            self.forget(left)
        standby = self._standby
        return there - {standby.instance_id} if standby else there

    def close(self, *, keep_instances: bool) -> None:
        """As the port says; waits for the end of what it kills."""
        with self._lock:
            standby, self._standby = self._standby, None
        idle = [] if standby is None else [standby.instance_id]
        if standby is not None:
            standby.stdin.close()
        for instance_id in idle if keep_instances else list(self._processes):
            self.kill(instance_id)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._processes[instance_id].pid, 0)
            self.forget(instance_id)

    def _spawn(self, instance_id: str, arguments: Sequence[str], stdin: int) -> IO[bytes] | None:
        home = self._folder / instance_id
        serving = [sys.executable, "-I", "-m", "headrace_serving", "--instance-dir", str(home)]
        try:
            (home / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
            with (home / "stdout").open("wb") as stdout, (home / "stderr").open("wb") as stderr:
                process = subprocess.Popen(
                    [*serving, *self._options, *arguments],
                    cwd=home,
                    env={**self._environ, "HOME": str(home), "TMPDIR": str(home / "tmp")},
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
        except OSError as error:
            raise TargetError(f"the process cannot be started: {error}") from error
        self._processes[instance_id] = _Process(process.pid, start_time(process.pid))
        # From here on the pid is all we go by, as for adopted ones; Popen would warn of a child it did not see end.
        process.returncode = 0
        return process.stdin

    def _output(self, instance_id: str, name: str, most: int) -> str:
        try:
            with (self._folder / instance_id / name).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - most))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
