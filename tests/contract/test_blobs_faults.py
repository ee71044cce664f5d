"""What is special to each store of blobs: disks that are full, stores that are away, answers of servers."""

import dataclasses
import io
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typing_extensions import override

from fix_blobs import MIB, UPLOAD_PART, Source, leftovers, put, read
from headrace_kit.blobs import StoreFull, StoreUnavailable
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs, S3Config
from headrace_kit.testing.backends import packages, processes

# The folder


def test_what_killed_processes_left_goes_and_what_goes_on_stays(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "not" / "yet")
    blobs.check()
    unfinished = tmp_path / "not" / "yet" / ".unfinished"
    (unfinished / "of-the-dead").write_bytes(b"x")
    checked = []

    class CheckedMeanwhile(Source):
        def read(self, size: int = -1, /) -> bytes:
            FileBlobs(tmp_path / "not" / "yet").check()
            checked.append([file.name for file in unfinished.iterdir()])
            return super().read(size)

    assert put(blobs, "b", CheckedMeanwhile(3 * MIB)) == 3 * MIB
    assert len(read(blobs, "b")) == 3 * MIB
    assert all(len(names) == 1 and "of-the-dead" not in names for names in checked)
    assert not list(unfinished.iterdir())


FULL_DISK = """
import io, sys
from pathlib import Path
from headrace_kit.blobs import StoreFull
from headrace_kit.blobs.files import FileBlobs
blobs = FileBlobs(Path(sys.argv[1]))
blobs.check()
blobs.put("old", io.BytesIO(bytes(1 << 20)))
try:
    blobs.put("new", io.BytesIO(bytes(8 << 20)))
except StoreFull as error:
    print(error)
print(list(blobs.keys("")), blobs.size("old"), list((Path(sys.argv[1]) / ".unfinished").iterdir()))
blobs.put("small", io.BytesIO(b"small"))
"""


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    # A file system of 4 MiB in a mount namespace of its own: needs no rights, goes away with the process.
    script = f'mount -t tmpfs -o size=4m none "{tmp_path}" && exec "$0" -c "$1" "{tmp_path}"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, sys.executable, FULL_DISK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    assert "No space left" in done.stdout
    assert done.stdout.endswith("['old'] 1048576 []\n")


def test_checks_and_puts_at_the_same_time_do_each_other_no_harm(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    blobs.check()
    with ThreadPoolExecutor(8) as pool:
        done = [
            (pool.submit(put, blobs, f"t/{number}", Source(number)), pool.submit(FileBlobs(tmp_path).check))
            for number in range(200)
        ]
        assert [stored.result() for stored, _ in done] == list(range(200))
        for _, checked in done:
            checked.result()
    assert len(list(blobs.keys("t/"))) == 200


def test_a_limit_on_file_sizes_is_told_as_full(tmp_path: Path) -> None:
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert not done.stderr
    assert "File too large" in done.stdout
    assert done.stdout.endswith("['old'] 1048576 []\n")


def test_a_folder_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    blobs = FileBlobs(tmp_path / "file")
    with pytest.raises(StoreUnavailable):
        blobs.check()
    with pytest.raises(StoreUnavailable):
        blobs.put("b", io.BytesIO(b"b"))
    assert list(blobs.keys("")) == []


# S3: a server that answers as told shows what becomes of its answers.


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    content_type: str = "application/xml"
    missing: int = 0
    """So many bytes of the announced length never come."""


@contextmanager
def server(answer: Answer) -> Iterator[S3Blobs]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body) + answer.missing))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = bool(answer.missing)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - as http.server wants them

        @override
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield S3Blobs(config(listener.server_port))
        finally:
            listener.shutdown()
            thread.join()


def config(port: int) -> S3Config:
    return S3Config(
        endpoint=f"127.0.0.1:{port}", access_key="a", secret_key="s", bucket="bucket", secure=False, timeout_s=0.5
    )


def xml(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>m</Message><Resource>r</Resource></Error>".encode()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(507, xml("XMinioStorageFull")), StoreFull),
        (Answer(507, xml("Whatever")), StoreFull),
        (Answer(507, b"full", "text/plain"), StoreFull),
        (Answer(400, xml("XMinioAdminBucketQuotaExceeded")), StoreFull),
        (Answer(503, xml("SlowDown")), StoreUnavailable),
        (Answer(500, b"oh", "text/plain"), StoreUnavailable),
        (Answer(502, b"<html>", "text/html"), StoreUnavailable),
        (Answer(403, xml("AccessDenied")), StoreUnavailable),
        (Answer(404, xml("NoSuchBucket")), StoreUnavailable),
        (Answer(200, b"<", missing=5), StoreUnavailable),
    ],
)
def test_answers_of_the_server_are_translated(answer: Answer, error: type[Exception]) -> None:
    with server(answer) as blobs:
        with pytest.raises(error):
            put(blobs, "b", Source(UPLOAD_PART + 1))
        if not answer.missing:
            with pytest.raises(error):
                put(blobs, "b", Source(1))
            with pytest.raises(error):
                list(blobs.get("b"))


def test_a_connection_lost_while_reading_is_unavailable() -> None:
    with server(Answer(200, b"x" * MIB, missing=1)) as blobs:
        parts = blobs.get("b")
        with pytest.raises(StoreUnavailable):
            list(parts)


@pytest.mark.parametrize("listening", [True, False], ids=["silent", "refused"])
def test_a_store_that_is_away_is_told_in_bounded_time(listening: bool) -> None:
    with socket.socket() as silent, ThreadPoolExecutor(1) as pool:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        blobs = S3Blobs(config(silent.getsockname()[1]))
        for call in (
            blobs.check,
            lambda: blobs.put("b", io.BytesIO(b"b")),
            lambda: put(blobs, "b", Source(UPLOAD_PART + 1)),
            lambda: list(blobs.get("b")),
            lambda: blobs.size("b"),
            lambda: blobs.delete("b"),
            lambda: list(blobs.keys("")),
        ):
            with pytest.raises(StoreUnavailable):
                pool.submit(call).result(60)


@pytest.mark.real
def test_a_full_s3_store_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with small_minio(tmp_path) as config:
        blobs = S3Blobs(config)
        blobs.check()
        put(blobs, "old", Source(20 * MIB))
        with pytest.raises(StoreFull):
            put(blobs, "new", Source(100 * MIB))
        assert list(blobs.keys("")) == ["old"]
        assert leftovers(blobs) == []
        blobs.check()
        assert sum(map(len, blobs.get("old"))) == 20 * MIB
        blobs.delete("old")
        assert list(blobs.keys("")) == []


@contextmanager
def small_minio(folder: Path) -> Iterator[S3Config]:
    """On a file system of 64 MiB, in a mount namespace of its own."""
    program = packages.MINIO.install(packages.say) / "minio"
    endpoint = f"127.0.0.1:{processes.free_port()}"
    (folder / "data").mkdir()
    mount = f'mount -t tmpfs -o size=64m none "{folder}/data" && exec "$0" "$@"'
    minio = ["server", "--quiet", "--address", endpoint, str(folder / "data")]
    server = processes.ProcessServer(
        endpoint,
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(program), *minio],
        folder,
        lambda: processes.http_answers(f"http://{endpoint}/minio/health/ready"),
        {"MINIO_ROOT_USER": "headrace", "MINIO_ROOT_PASSWORD": "headrace-secret"},
    )
    server.start()
    try:
        yield S3Config(
            endpoint=endpoint, access_key="headrace", secret_key="headrace-secret", bucket="small", secure=False
        )
    finally:
        server.stop()


@pytest.mark.real
def test_a_prefix_keeps_stores_of_one_bucket_apart(s3: S3Config) -> None:
    one, other = (S3Blobs(dataclasses.replace(s3, prefix=prefix)) for prefix in ("one/", "other/"))
    one.check()
    one.put("b", io.BytesIO(b"1"))
    other.put("b", io.BytesIO(b"2"))
    assert list(one.keys("")) == list(other.keys("")) == ["b"]
    other.delete("b")
    assert read(one, "b") == b"1"


def test_the_secret_is_in_no_repr() -> None:
    assert "secret_key" not in repr(config(1))
