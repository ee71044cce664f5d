"""The embedded PostgreSQL keeps its data, and its folder to itself, through every way of ending."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from headrace_kit.children import Account, as_account, unprivileged_account
from headrace_kit.pgserver import EmbeddedPostgres, PostgresError, wheel_programs


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "pg", fast=True) as server:
        yield server


def put(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row
    return int(row[0])


def test_data_survives_stop_and_kill(server: EmbeddedPostgres) -> None:
    assert put(server.dsn) == 1
    server.stop()
    assert put(server.start()) == 2
    server.kill()
    assert put(server.start()) == 3


def test_restart_while_connections_of_the_killed_server_still_work(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        server.kill()
        with subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {backend}"]):
            assert put(server.start()) == 1


def test_durable_unless_fast(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server, psycopg.connect(server.dsn) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == ("on",)


def test_a_folder_in_use_is_refused(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with pytest.raises(PostgresError, match=f"is in use by process {os.getpid()}"):
        EmbeddedPostgres(tmp_path / "pg").start()
    assert put(server.dsn) == 1


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "thesis.tex").touch()
    with pytest.raises(PostgresError, match="not empty and holds no PostgreSQL data"):
        EmbeddedPostgres(tmp_path).start()


def test_a_failed_start_says_what_the_server_said(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.stop()
    (tmp_path / "pg" / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="incompatible with server"):
        server.start()


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "cluster.new").mkdir()
    (tmp_path / "cluster.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, fast=True) as server:
        assert put(server.dsn) == 1


@pytest.mark.parametrize("folder", ["a b, c", "d" * 120])
def test_folders_whose_names_no_socket_takes(tmp_path: Path, folder: str) -> None:
    with EmbeddedPostgres(tmp_path / folder, fast=True) as server:
        assert put(server.dsn) == 1


PARENT = """
import sys, time
from pathlib import Path
from headrace_kit.pgserver import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), fast=True)
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's end")
def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 60
    while command_of(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not command_of(pid)
    with EmbeddedPostgres(tmp_path, fast=True) as server:
        assert put(server.dsn) == 1


def test_an_orphan_is_stopped_first(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.stop()
    folder = tmp_path / "pg"
    command = [str(wheel_programs() / "postgres"), "-D", str(folder / "cluster"), "-k", str(folder), "-h", ""]
    account = owner(folder / "cluster")
    with subprocess.Popen(as_account(command, account, [folder / "cluster"]), stderr=subprocess.DEVNULL) as orphan:
        while "ready" not in pid_file(folder):
            time.sleep(0.01)
        assert put(server.start()) == 1
        assert orphan.wait(1) == 0


def test_a_left_over_pid_of_another_program_is_no_obstacle(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.kill()
    folder = tmp_path / "pg"
    with subprocess.Popen(as_account(["sleep", "60"], owner(folder / "cluster"))) as other:
        (folder / "cluster" / "postmaster.pid").write_text(
            "\n".join([str(other.pid), *pid_file(folder).splitlines()[1:]]) + "\n"
        )
        assert put(server.start()) == 1
        assert other.poll() is None
        other.kill()


def command_of(pid: int) -> str:
    """Empty for a zombie too: where no init reaps, an orphan stays one."""
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""


def owner(path: Path) -> Account:
    status = path.stat()
    return Account(status.st_uid, status.st_gid)


def pid_file(folder: Path) -> str:
    path = folder / "cluster" / "postmaster.pid"
    return path.read_text() if path.exists() else ""


@pytest.mark.skipif(os.geteuid() != 0, reason="all other tests here run as an ordinary user already")
def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    account = unprivileged_account()
    os.chown(tmp_path, account.uid, account.gid)
    script = PARENT.replace("time.sleep(60)", "server.stop()")
    run = as_account([sys.executable, "-c", script, str(tmp_path / "pg")], account, [tmp_path / "pg"])
    subprocess.run(run, check=True, cwd="/")
    assert owner(tmp_path / "pg" / "server.log").uid == account.uid
