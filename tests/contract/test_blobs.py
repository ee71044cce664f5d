"""What every store of blobs does, on a folder and on real S3 stores of two makes."""

import dataclasses
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fix_blobs import MIB, UPLOAD_PART, Source, leftovers, put, read
from headrace_kit.blobs import BlobNotFound, Blobs, StoreFull, StoreUnavailable
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs


@pytest.fixture(
    params=["files", pytest.param("s3", marks=pytest.mark.real), pytest.param("s3_other", marks=pytest.mark.real)]
)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    folder = tmp_path / "blobs"
    store: Blobs = FileBlobs(folder) if request.param == "files" else S3Blobs(request.getfixturevalue(request.param))
    store.check()
    return store


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, UPLOAD_PART, UPLOAD_PART + 1, 2 * UPLOAD_PART])
def test_round_trip(blobs: Blobs, size: int) -> None:
    source = Source(size)
    assert put(blobs, "tenant/blob", source) == size
    assert blobs.size("tenant/blob") == size
    parts = list(blobs.get("tenant/blob"))
    assert all(0 < len(part) <= MIB for part in parts)
    assert hashlib.sha256(b"".join(parts)).digest() == source.sha256.digest()


def test_short_reads_of_the_source_are_not_its_end(blobs: Blobs) -> None:
    source = Source(UPLOAD_PART + 5, at_most=100_003)
    assert put(blobs, "b", source) == UPLOAD_PART + 5
    assert hashlib.sha256(read(blobs, "b")).digest() == source.sha256.digest()


def test_large_blobs_never_pass_through_memory_whole(blobs: Blobs) -> None:
    size = 256 * MIB
    tracemalloc.start()
    try:
        put(blobs, "b", Source(size))
        assert sum(map(len, blobs.get("b"))) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * UPLOAD_PART, f"{peak / MIB:.0f} MiB"


def test_reads_from_an_offset(blobs: Blobs) -> None:
    data = os.urandom(2 * MIB + 7)
    blobs.put("b", io.BytesIO(data))
    for offset in (0, 1, MIB, MIB + 1, len(data) - 1, len(data), len(data) + 1):
        assert read(blobs, "b", offset) == data[offset:]
    blobs.put("empty", io.BytesIO())
    assert read(blobs, "empty", 0) == read(blobs, "empty", 1) == b""
    with pytest.raises(ValueError, match="offset"):
        read(blobs, "b", -1)


def test_reads_a_part(blobs: Blobs) -> None:
    data = os.urandom(2 * MIB + 7)
    blobs.put("b", io.BytesIO(data))
    for offset, length in ((0, 1), (0, MIB + 1), (5, MIB), (MIB, 2 * MIB), (len(data) - 1, 5), (len(data), 5)):
        assert b"".join(blobs.get("b", offset, length)) == data[offset : offset + length]
    with pytest.raises(ValueError, match="length"):
        next(blobs.get("b", 0, 0))


@pytest.mark.parametrize("size", [0, 5, UPLOAD_PART + 5])
@pytest.mark.parametrize(
    "error", [ValueError("mine"), OSError(28, "mine"), KeyboardInterrupt("mine"), StoreFull("mine")]
)
def test_nothing_is_stored_when_the_data_raise(blobs: Blobs, size: int, error: BaseException) -> None:
    with pytest.raises(type(error), match="mine"):
        put(blobs, "new", Source(size, error))
    assert list(blobs.keys("")) == []
    blobs.put("old", io.BytesIO(b"old"))
    with pytest.raises(type(error), match="mine"):
        put(blobs, "old", Source(size, error))
    assert read(blobs, "old") == b"old"
    assert leftovers(blobs) == []


def test_a_put_under_the_same_key_replaces_the_whole(blobs: Blobs) -> None:
    blobs.put("b", io.BytesIO(b"a long first one"))
    blobs.put("b", io.BytesIO(b"short"))
    assert read(blobs, "b") == b"short"
    assert blobs.size("b") == 5


def test_puts_at_once_under_one_key_leave_one_of_them_whole(blobs: Blobs) -> None:
    sources = [Source(UPLOAD_PART + n, at_most=(n + 1) * 100_000) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda source: put(blobs, "b", source), sources))
    assert hashlib.sha256(read(blobs, "b")).digest() in [source.sha256.digest() for source in sources]


def test_deleting_is_idempotent(blobs: Blobs) -> None:
    blobs.delete("tenant/none")
    blobs.put("tenant/b", io.BytesIO(b"b"))
    blobs.delete("tenant/b")
    blobs.delete("tenant/b")
    with pytest.raises(BlobNotFound):
        blobs.size("tenant/b")
    blobs.put("tenant/b", io.BytesIO(b"again"))
    assert read(blobs, "tenant/b") == b"again"


def test_a_blob_deleted_while_it_is_read_gives_no_wrong_bytes(blobs: Blobs) -> None:
    data = os.urandom(32 * MIB)
    blobs.put("b", io.BytesIO(data))
    parts = blobs.get("b")
    got = next(parts)
    with ThreadPoolExecutor(1) as pool:
        deleted = pool.submit(blobs.delete, "b")  # MinIO makes it wait for the read
        time.sleep(0.1)
        try:
            got += b"".join(parts)
        except StoreUnavailable:
            assert data.startswith(got)
        else:
            assert got == data
        deleted.result()
    with pytest.raises(BlobNotFound):
        blobs.size("b")


def test_keys_begin_with_the_prefix(blobs: Blobs) -> None:
    keys = {"t-1/a", "t-1/b", "t-10/a", "u/deep/er", "top"}
    for key in keys:
        blobs.put(key, io.BytesIO(b"x"))
    assert set(blobs.keys("")) == keys
    assert set(blobs.keys("t-1/")) == {"t-1/a", "t-1/b"}
    assert set(blobs.keys("t-1")) == {"t-1/a", "t-1/b", "t-10/a"}
    assert set(blobs.keys("u/deep/e")) == {"u/deep/er"}
    assert set(blobs.keys("none/")) == set(blobs.keys("none/at/all")) == set()


def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    for key in ("none", "tenant/none", "a/b/c"):
        with pytest.raises(BlobNotFound):
            blobs.size(key)
        with pytest.raises(BlobNotFound):
            next(blobs.get(key))
        with pytest.raises(BlobNotFound):
            next(blobs.get(key, 5))


@pytest.mark.parametrize(
    "key", ["", "/", "/etc", "a/", "a//b", "..", "a/../b", "A", "a b", "a\n", "a.b", "a\\b", "%2e", "ä", "a" * 901]
)
def test_keys_outside_the_grammar_reach_no_store(blobs: Blobs, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: blobs.put(key, io.BytesIO(b"x")),
        lambda: next(blobs.get(key)),
        lambda: blobs.size(key),
        lambda: blobs.delete(key),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="blob key"):
            call()
    assert list(blobs.keys("")) == []


@pytest.mark.parametrize("prefix", ["/", "/etc", "..", "a//", ".unfinished", "A"])
def test_prefixes_outside_the_grammar_reach_no_store(blobs: Blobs, prefix: str) -> None:
    with pytest.raises(ValueError, match="blob prefix"):
        list(blobs.keys(prefix))


def test_leaving_a_read_early_frees_what_it_held(blobs: Blobs) -> None:
    blobs.put("b", io.BytesIO(os.urandom(4 * MIB)))
    before = open_files()
    for _ in range(20):
        with closing(blobs.get("b")) as parts:
            next(parts)
    assert open_files() <= before + 1  # a connection kept for reuse


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_checking_twice_keeps_what_is_there(blobs: Blobs) -> None:
    blobs.put("b", io.BytesIO(b"b"))
    blobs.check()
    assert list(blobs.keys("")) == ["b"]


KILLED_PUT = """
import io, sys
class Endless(io.RawIOBase):
    read_bytes = 0
    def read(self, size=-1):
        self.read_bytes += 1 << 20
        if self.read_bytes == 20 << 20:
            print("under way", flush=True)
            sys.stdin.read()
        return bytes(1 << 20)
"""


def test_a_process_killed_while_it_puts_leaves_no_blob(blobs: Blobs) -> None:
    if isinstance(blobs, FileBlobs):
        make = f"from pathlib import *; from headrace_kit.blobs.files import *; b = FileBlobs({blobs._folder!r})"
    else:
        assert isinstance(blobs, S3Blobs)
        fields = dataclasses.asdict(blobs._config)  # the repr of the config hides the secret key
        make = f"from headrace_kit.blobs.s3 import *; b = S3Blobs(S3Config(**{fields!r}))"
    blobs.put("old", io.BytesIO(b"old"))
    for key in ("new", "old"):
        with subprocess.Popen(
            [sys.executable, "-c", f"{KILLED_PUT}\n{make}\nb.put({key!r}, Endless())"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == b"under way\n"
            process.send_signal(signal.SIGKILL)
    assert list(blobs.keys("")) == ["old"]
    assert read(blobs, "old") == b"old"
    blobs.check()
    if isinstance(blobs, FileBlobs):  # S3 stores drop what is left after a time of their own
        assert leftovers(blobs) == []
