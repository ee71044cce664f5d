"""The artifacts service as a process of its own: killed, short of disk, of memory, of slots, without its store."""

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
import pytest

from fix_artifacts import (
    MIB,
    OWNER,
    Service,
    Store,
    header,
    part,
    parts_then_wait,
    refused,
    s3_settings,
    service_at,
    tracking_server,
    until,
)
from fix_services import SECRET
from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs, S3Config
from headrace_kit.testing.backends import processes

if TYPE_CHECKING:
    pass

SMALL_DISK = 'mount -t tmpfs -o size=24m none "$BLOBS" && exec "$0" "$@"'


@dataclass(frozen=True)
class Process:
    service: Service
    process: subprocess.Popen[str]

    def peak_bytes(self) -> int:
        """The most memory that the process ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024


@asynccontextmanager
async def artifacts_process(
    database: str, store: Store, *, before: Sequence[str] = (), **settings: object
) -> AsyncIterator[Process]:
    """`before`: what the command line begins with, to run it in surroundings of its own."""
    async with tracking_server() as (tracking, address):
        values = {"listen": "127.0.0.1:0", "database": database, "auth": "open", "service_secret": SECRET}
        values |= {"tracking": address, **store.settings, **settings}
        environ = {f"HEADRACE_{name.upper()}": str(value) for name, value in values.items()}
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [*before, sys.executable, "-m", "headrace_artifacts"],
            env={**os.environ, **environ, "BLOBS": str(store.settings.get("blobs_dir", ""))},
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                assert process.stdout
                ready = await asyncio.to_thread(process.stdout.readline)
                assert ready.startswith("READY artifacts grpc=")
                grpc_address = ready.strip().partition("=")[2]
                async with service_at(grpc_address, tracking.asked, database, store) as service:
                    yield Process(service, process)
            finally:
                process.kill()


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.real)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "files":
        return folder(tmp_path)
    config: S3Config = request.getfixturevalue("s3")
    return Store(s3_settings(config), S3Blobs(config))


def folder(tmp_path: Path) -> Store:
    (tmp_path / "blobs").mkdir()
    return Store({"blobs_dir": tmp_path / "blobs"}, FileBlobs(tmp_path / "blobs"))


async def test_a_service_killed_while_files_go_up_leaves_no_half_state(database: str, store: Store) -> None:
    async with artifacts_process(database, store) as killed:
        service = killed.service
        kept = await service.upload("kept", b"kept")
        uploads = [
            asyncio.ensure_future(service.send(parts_then_wait(bytes(40 * MIB), threading.Event()))) for _ in range(3)
        ]
        await until(lambda: len(service.rows("SELECT FROM artifacts.loose_blobs WHERE uploading")) == 3)
        await asyncio.sleep(0.5)
        killed.process.kill()
        for error in await asyncio.gather(*uploads, return_exceptions=True):
            assert isinstance(error, grpc.RpcError)
            assert cast("grpc.Call", error).code() == grpc.StatusCode.UNAVAILABLE
    service.rows("UPDATE artifacts.loose_blobs SET due_time = now() RETURNING 1")  # the lease has run out
    async with artifacts_process(database, store) as again:
        assert list((await again.service.list()).artifacts) == [kept]
        assert (await again.service.download(artifact_id=kept.artifact_id))[1] == b"kept"
        await again.service.left_behind(blobs=1)


async def test_a_service_killed_before_the_row_is_written_leaves_no_blob(database: str, store: Store) -> None:
    async with artifacts_process(database, store) as killed:
        service = killed.service
        locked = "SELECT pg_advisory_xact_lock(hashtextextended('default' || %s || 'a', 0))"
        async with service.transaction(locked, OWNER.run_id):
            upload = asyncio.ensure_future(service.upload("a", bytes(MIB)))
            await until(lambda: len(store.keys) == 1)
            await asyncio.sleep(0.3)
            killed.process.kill()
            with pytest.raises(grpc.RpcError):
                await upload
    service.rows("UPDATE artifacts.loose_blobs SET due_time = now() RETURNING 1")
    async with artifacts_process(database, store) as again:
        assert await again.service.paths() == []
        await again.service.left_behind(blobs=0)


async def test_large_files_never_pass_through_memory_whole(database: str, store: Store) -> None:
    size = 200 * MIB
    async with artifacts_process(database, store) as running:
        service = running.service
        await service.upload("small", b"x")
        before = running.peak_bytes()
        sent = hashlib.sha256()

        def requests() -> Iterator[pb.UploadArtifactRequest]:
            yield header("large")
            for number in range(size // MIB):
                data = number.to_bytes(8, "big") * (MIB // 8)
                sent.update(data)
                yield part(data)
            yield pb.UploadArtifactRequest(trailer=pb.UploadTrailer(size_bytes=size, sha256=sent.digest()))

        stored = await service.send(requests())
        uploaded = running.peak_bytes()
        got = hashlib.sha256()
        async for answer in service.stub.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=stored.artifact_id)):
            got.update(answer.part)
            if answer.part[:8] == (50).to_bytes(8, "big"):
                await asyncio.sleep(1)  # a slow reader: what it does not take must wait in the store
        assert stored.sha256 == sent.digest() == got.digest()
        growth = [(uploaded - before) / MIB, (running.peak_bytes() - before) / MIB]
        most = 48 if isinstance(store.blobs, FileBlobs) else 96  # three upload parts of 8 MiB, as Python copies them
        assert max(growth) < most, growth


async def test_a_full_disk_is_told_and_leaves_nothing(database: str, tmp_path: Path) -> None:
    # A file system of 24 MiB in a mount namespace of its own: it goes away with the process. Root needs no user
    # namespace, and would lose in one what it may do to the files of PostgreSQL.
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    unshare = ["unshare", *as_root, "--mount", "sh", "-c", SMALL_DISK]
    async with artifacts_process(database, folder(tmp_path), before=unshare) as running:
        service = running.service
        first = await service.upload("first", bytes(10 * MIB))
        for _ in range(3):
            told = await refused(
                service.upload("second", bytes(20 * MIB)), grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL"
            )
            assert "no room left" in told
        assert await service.paths() == ["first"]
        await until(lambda: not service.rows("SELECT FROM artifacts.loose_blobs"))
        await service.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=first.artifact_id))
        await until(lambda: not service.rows("SELECT FROM artifacts.loose_blobs"))
        second = await service.upload("second", bytes(20 * MIB))
        assert (await service.download(artifact_id=second.artifact_id))[1] == bytes(20 * MIB)


@pytest.mark.real
async def test_a_store_that_goes_away_and_comes_back(database: str, tmp_path: Path) -> None:
    server = processes.minio(tmp_path)
    await asyncio.to_thread(server.start)
    config = S3Config(
        endpoint=server.address.endpoint,
        access_key=server.address.access_key,
        secret_key=server.address.secret_key,
        bucket="headrace",
        secure=False,
    )
    async with artifacts_process(database, Store(s3_settings(config), S3Blobs(config))) as running:
        service = running.service
        stored = await service.upload("a", bytes(20 * MIB))
        server.kill()
        away = (grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")
        await refused(service.download(artifact_id=stored.artifact_id), *away)
        await refused(service.upload("a", bytes(20 * MIB)), *away)
        await service.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=stored.artifact_id))
        assert await service.paths() == []
        await asyncio.to_thread(server.start)
        again = await service.upload("a", b"again")
        assert (await service.download(artifact_id=again.artifact_id))[1] == b"again"
        service.rows("UPDATE artifacts.loose_blobs SET due_time = now() RETURNING 1")  # not in five minutes, now
        await service.left_behind(blobs=1)
    await asyncio.to_thread(server.stop)


async def test_more_uploads_than_slots_wait_for_their_turn(database: str, tmp_path: Path) -> None:
    async with artifacts_process(database, folder(tmp_path), upload_slots=2, upload_wait_seconds=1) as running:
        service = running.service
        stored = await asyncio.gather(*(service.upload(f"a{n}", bytes(3 * MIB)) for n in range(10)))
        assert len(stored) == 10
        go_on = threading.Event()
        holding = [asyncio.ensure_future(service.send(parts_then_wait(b"x", go_on, f"b{n}"))) for n in range(2)]
        await until(lambda: len(service.rows("SELECT FROM artifacts.loose_blobs WHERE uploading")) == 2)
        told = await refused(service.upload("c", b"x"), grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert "2 uploads" in told
        go_on.set()
        await asyncio.gather(*holding)
        await service.upload("c", b"x")
        await service.left_behind(blobs=13)


async def test_many_uploads_and_downloads_at_once(database: str, store: Store) -> None:
    async with artifacts_process(database, store) as running:
        service = running.service

        async def there_and_back(number: int) -> None:
            data = number.to_bytes(4, "big") * (number * 40_000)
            stored = await service.upload(f"files/{number}", data)
            assert (await service.download(artifact_id=stored.artifact_id))[1] == data

        await asyncio.gather(*(there_and_back(number) for number in range(40)))
        assert len(await service.paths("files")) == 40
        await service.left_behind(blobs=40)
