"""The artifacts service through its gRPC port, on both kinds of store: what is stored is whole, or not there at all."""

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
import pytest

from fix_artifacts import (
    DELETED_RUN,
    MIB,
    MILLS_RUN,
    MODEL,
    OWNER,
    RUN,
    Service,
    Store,
    header,
    part,
    parts_then_wait,
    refused,
    s3_settings,
    service_at,
    tracking_server,
    trailer,
    until,
    upload_of,
)
from fix_services import running
from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_events_pb2, artifacts_pb2
from headrace.api.tracking.v1 import tracking_service_pb2
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace_artifacts import app
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs, S3Config
from headrace_kit.bus import Bus
from headrace_kit.bus.choose import open_bus
from headrace_kit.bus.cloudevents import CloudEvent, from_received
from headrace_kit.topics import ARTIFACTS, EVENT_TYPES, partition_counts
from headrace_tracking import app as tracking_app

if TYPE_CHECKING:
    from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.real)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "files":
        return Store({"blobs_dir": tmp_path / "blobs"}, FileBlobs(tmp_path / "blobs"))
    config: S3Config = request.getfixturevalue("s3")
    return Store(s3_settings(config), S3Blobs(config))


@pytest.fixture
def files(tmp_path: Path) -> Store:
    """For what has nothing to do with the kind of store."""
    return Store({"blobs_dir": tmp_path / "blobs"}, FileBlobs(tmp_path / "blobs"))


@asynccontextmanager
async def artifacts(database: str, store: Store, **settings: object) -> AsyncIterator[Service]:
    async with (
        tracking_server() as (tracking, address),
        running(database, app, tracking=address, **store.settings, **settings) as services,
        service_at(services.address, tracking.asked, database, store) as service,
    ):
        yield service


# What is stored


@pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB + 5, 17 * MIB])
async def test_a_file_comes_back_as_it_went(database: str, store: Store, size: int) -> None:
    data = os.urandom(size)
    async with artifacts(database, store) as service:
        stored = await service.upload("plots/roc.png", data)
        assert (stored.path, stored.size_bytes, stored.media_type) == ("plots/roc.png", size, "image/png")
        assert stored.owner == OWNER
        assert stored.sha256 == hashlib.sha256(data).digest()
        by_path = pb.ArtifactPath(owner=OWNER, path="plots/roc.png")
        assert await service.download(artifact_id=stored.artifact_id) == (stored, data)
        assert await service.download(path=by_path) == (stored, data)
        got = await service.stub.GetArtifact(pb.GetArtifactRequest(path=by_path))
        assert got.artifact == stored
        await service.left_behind(blobs=1)
        assert "roc" not in str(store.keys)


async def test_models_have_files_too(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        owner = artifacts_pb2.Owner(model_id=MODEL)
        stored = await service.upload("MLmodel", b"flavors:", owner, media_type="text/yaml")
        assert (stored.owner, stored.media_type) == (owner, "text/yaml")
        assert list((await service.list(owner=owner)).artifacts) == [stored]
        assert await service.paths() == []


async def test_a_file_at_the_same_path_is_replaced_as_a_whole(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        first = await service.upload("model.bin", b"a long first one")
        second = await service.upload("model.bin", b"short")
        assert first.artifact_id != second.artifact_id
        assert (await service.download(path=pb.ArtifactPath(owner=OWNER, path="model.bin")))[1] == b"short"
        assert await service.paths() == ["model.bin"]
        await refused(service.download(artifact_id=first.artifact_id), grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND")
        await service.left_behind(blobs=1)


async def test_uploads_at_once_to_one_path_leave_one_of_them(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        contents = [os.urandom(2 * MIB + n) for n in range(6)]
        await asyncio.gather(*(service.upload("model.bin", data) for data in contents))
        artifact, data = await service.download(path=pb.ArtifactPath(owner=OWNER, path="model.bin"))
        assert data in contents
        assert artifact.sha256 == hashlib.sha256(data).digest()
        assert await service.paths() == ["model.bin"]
        await service.left_behind(blobs=1)


async def test_a_deleted_file_is_gone_with_its_bytes(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        stored = await service.upload("a", b"a")
        await service.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=stored.artifact_id))
        for call in (
            service.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=stored.artifact_id)),
            service.stub.GetArtifact(pb.GetArtifactRequest(artifact_id=stored.artifact_id)),
            service.download(artifact_id=stored.artifact_id),
        ):
            await refused(call, grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND")
        await service.left_behind(blobs=0)


async def test_a_file_deleted_while_it_is_read_gives_no_wrong_bytes(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        data = os.urandom(40 * MIB)
        stored = await service.upload("a", data)
        call = service.stub.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=stored.artifact_id))
        got, failure = b"", grpc.StatusCode.OK
        try:
            async for answer in call:
                if not got and answer.part:
                    await service.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=stored.artifact_id))
                got += answer.part
        except grpc.aio.AioRpcError as error:
            failure = error.code()
        assert failure in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert data.startswith(got)
        assert got == data or failure != grpc.StatusCode.OK
        await service.left_behind(blobs=0)


async def test_what_happens_to_files_is_told_on_the_bus(database: str, files: Store) -> None:
    bus = open_bus(app.Config(database=database))
    bus.ensure_topics(partition_counts())
    async with artifacts(database, files) as service:
        first = await service.upload("a", b"1")
        second = await service.upload("a", b"2")
        await refused(service.send(upload_of("b", b"b")[:-1]), grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_TRUNCATED")
        await service.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=second.artifact_id))
        events = await asyncio.to_thread(read_events, bus, 3)
    with contextlib.closing(bus):
        assert {event.tenant_id for event in events} == {"default"}
        assert {event.subject for event in events} == {
            f"tenants/default/artifacts/{artifact.artifact_id}" for artifact in (first, second)
        }
        messages = [EVENT_TYPES[event.type][1].FromString(event.data) for event in events]
        assert artifacts_events_pb2.ArtifactStored(artifact=first) in messages
        assert artifacts_events_pb2.ArtifactStored(artifact=second, replaced_artifact_id=first.artifact_id) in messages
        assert artifacts_events_pb2.ArtifactDeleted(artifact_id=second.artifact_id, owner=OWNER, path="a") in messages


def read_events(bus: Bus, count: int) -> list[CloudEvent]:
    """Waits for so many, and a little for more."""
    with contextlib.closing(bus.reader([ARTIFACTS.name], {})) as reader:
        found: list[CloudEvent] = []
        deadline = time.monotonic() + 60
        while len(found) < count and time.monotonic() < deadline:
            found += map(from_received, reader.poll(0.5))
        return found + [from_received(record) for record in reader.poll(0.7)]


# Lists


async def test_lists_a_folder_in_order_of_path_page_by_page(database: str, files: Store) -> None:
    paths = ["a", "plots/a.png", "plots/b/c.png", "plots/é", "plots-2/a", "plots.txt", "plots0", "z/日本"]
    async with artifacts(database, files) as service:
        for path in paths:
            await service.upload(path, b"x")
        assert await service.paths() == sorted(paths)
        for folder in ("plots", "plots/"):
            assert await service.paths(folder) == ["plots/a.png", "plots/b/c.png", "plots/é"]
        assert await service.paths("plots/b") == ["plots/b/c.png"]
        assert await service.paths("a") == []  # a file, not a folder
        assert await service.paths("none") == []
        found, token = [], ""
        while True:
            page = await service.list(page_size=3, page_token=token)
            found += [artifact.path for artifact in page.artifacts]
            token = page.next_page_token
            if not token:
                break
            assert len(page.artifacts) == 3
            other = service.list("plots", page_size=3, page_token=token)
            await refused(other, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
        assert found == sorted(paths)
        assert "page_size" in await refused(
            service.list(page_size=-1), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"
        )


async def test_a_page_of_long_paths_is_no_larger_than_an_answer_may_be(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        service.rows(
            "INSERT INTO artifacts.artifacts (tenant_id, artifact_id, owner_id, path, size_bytes, sha256, media_type,"
            " blob_key) SELECT 'default', gen_random_uuid(), %s, lpad(n::text, 1000, 'x'), 0, '', 'a/b', n::text"
            " FROM generate_series(1, 5000) n RETURNING 1",
            RUN,
        )
        first = await service.list(page_size=10_000)
        assert first.ByteSize() < 4 << 20
        second = await service.list(page_size=10_000, page_token=first.next_page_token)
        assert len(first.artifacts) + len(second.artifacts) == 5000
        assert not second.next_page_token


# Bad uploads


GOOD = b"good" * 500_000


@pytest.mark.parametrize(
    ("requests", "reason", "told"),
    [
        ([], "UPLOAD_TRUNCATED", "without a trailer"),
        ([header("a")], "UPLOAD_TRUNCATED", "without a trailer"),
        (upload_of("a", GOOD)[:-1], "UPLOAD_TRUNCATED", "without a trailer"),
        ([*upload_of("a", GOOD)[:-2], trailer(GOOD)], "DIGEST_MISMATCH", "trailer.size_bytes"),
        ([*upload_of("a", GOOD)[:-1], trailer(GOOD[:-1] + b"x")], "DIGEST_MISMATCH", "trailer.sha256"),
        (
            [header("a"), pb.UploadArtifactRequest(trailer=pb.UploadTrailer())],
            "INVALID_FIELD",
            "trailer.sha256: must be 32",
        ),
        ([part(b"x"), trailer(b"x")], "INVALID_FIELD", "header: must be the first"),
        ([trailer(b"")], "INVALID_FIELD", "header: must be the first"),
        ([header("a"), header("a"), trailer(b"")], "INVALID_FIELD", "header: must be the first"),
        ([header("a"), pb.UploadArtifactRequest(), trailer(b"")], "INVALID_FIELD", "message: must have"),
        ([header("a"), part(b""), trailer(b"")], "INVALID_FIELD", "part: must be 1 to 1,048,576 bytes, got 0"),
        ([header("a"), part(bytes(MIB + 1)), trailer(bytes(MIB + 1))], "INVALID_FIELD", "got 1,048,577"),
        (upload_of("../../etc/passwd", b"x"), "INVALID_FIELD", "header.path"),
        (upload_of("%252e%252e%252fetc", b"x"), "INVALID_FIELD", "header.path"),
        (upload_of("a\\..\\b", b"x"), "INVALID_FIELD", "header.path"),
        (upload_of("a\0b", b"x"), "INVALID_FIELD", "header.path"),
        (upload_of("x" * 1001, b"x"), "INVALID_FIELD", "1,000 characters"),
        (upload_of("a", b"x", media_type="text/html\r\n"), "INVALID_FIELD", "header.media_type"),
        (upload_of("a", b"x", artifacts_pb2.Owner()), "INVALID_FIELD", "header.owner"),
    ],
)
async def test_a_bad_upload_is_told_why_and_leaves_nothing(
    database: str, store: Store, requests: list[pb.UploadArtifactRequest], reason: str, told: str
) -> None:
    async with artifacts(database, store) as service:
        await service.upload("kept", b"kept")
        assert told in await refused(service.send(requests), grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert await service.paths() == ["kept"]
        await service.left_behind(blobs=1)


@pytest.mark.parametrize(
    ("owner", "code", "reason"),
    [
        (artifacts_pb2.Owner(run_id="0" * 32), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"),
        (artifacts_pb2.Owner(run_id="../../etc"), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"),
        (artifacts_pb2.Owner(run_id=MILLS_RUN), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"),
        (artifacts_pb2.Owner(model_id="m-" + "0" * 32), grpc.StatusCode.NOT_FOUND, "LOGGED_MODEL_NOT_FOUND"),
        (artifacts_pb2.Owner(run_id=DELETED_RUN), grpc.StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE"),
    ],
)
async def test_files_belong_to_somebody(
    database: str, files: Store, owner: artifacts_pb2.Owner, code: grpc.StatusCode, reason: str
) -> None:
    async with artifacts(database, files) as service:
        await refused(service.upload("a", b"x", owner), code, reason)
        await service.left_behind(blobs=0)
        if reason != "NOT_ACTIVE":
            await refused(service.list(owner=owner), code, reason)
        else:
            assert not (await service.list(owner=owner)).artifacts


async def test_an_owner_is_asked_for_once_for_many_files(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        for n in range(5):
            await service.upload(f"a{n}", b"x")
        assert service.asked == [RUN]


async def test_without_tracking_uploads_wait_for_another_time(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        await service.upload("a", b"a")
    async with (
        running(database, app, tracking="127.0.0.1:1", **files.settings) as services,
        service_at(services.address, [], database, files) as alone,
    ):
        await refused(alone.upload("b", b"b"), grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        assert await alone.paths() == ["a"]
        assert (await alone.download(path=pb.ArtifactPath(owner=OWNER, path="a")))[1] == b"a"


async def test_what_another_tenant_has_is_not_found(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        stored = await service.upload("a", b"a")
        mill = dataclasses.replace(service, tenant="mill")
        by_id = stored.artifact_id
        for call in (
            mill.download(artifact_id=by_id),
            mill.download(path=pb.ArtifactPath(owner=OWNER, path="a")),
            mill.stub.GetArtifact(pb.GetArtifactRequest(artifact_id=by_id), metadata=mill.metadata),
            mill.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=by_id), metadata=mill.metadata),
        ):
            await refused(call, grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND")
        await refused(mill.list(), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
        await refused(mill.upload("a", b"mine now"), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
        assert (await service.download(artifact_id=by_id))[1] == b"a"


async def test_the_real_tracking_service_is_asked(database: str, files: Store) -> None:
    with contextlib.closing(open_bus(app.Config(database=database))) as bus:
        bus.ensure_topics(partition_counts())
    async with (
        running(database, tracking_app) as behind,
        running(database, app, tracking=behind.address, **files.settings) as services,
        service_at(services.address, [], database, files) as service,
    ):
        tracking = cast("TrackingServiceAsyncStub", TrackingServiceStub(behind.channel))
        made = await tracking.CreateRun(tracking_service_pb2.CreateRunRequest(experiment_id="0"))
        owner = artifacts_pb2.Owner(run_id=made.run.run_id)
        stored = await service.upload("a", b"a", owner)
        assert list((await service.list(owner=owner)).artifacts) == [stored]
        await refused(service.upload("a", b"a"), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
        await refused(service.list(), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")


@pytest.mark.parametrize("artifact_id", ["", "x", "../../etc/passwd", "%2e%2e", "00000000-0000-0000-0000-000000000000"])
async def test_ids_that_are_none(database: str, files: Store, artifact_id: str) -> None:
    async with artifacts(database, files) as service:
        request = pb.GetArtifactRequest(artifact_id=artifact_id)
        await refused(service.stub.GetArtifact(request), grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND")
        await refused(
            service.stub.GetArtifact(pb.GetArtifactRequest()), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"
        )


# Uploads that stop, wait, or are too many


async def test_an_upload_that_is_cancelled_leaves_nothing(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        upload = asyncio.ensure_future(service.send(parts_then_wait(bytes(20 * MIB), threading.Event())))
        await until(lambda: bool(service.rows("SELECT FROM artifacts.loose_blobs WHERE uploading")))
        await asyncio.sleep(0.2)
        upload.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upload
        await service.left_behind(blobs=0)
        assert await service.paths() == []


async def test_an_upload_that_brings_nothing_more_is_given_up(database: str, store: Store) -> None:
    async with artifacts(database, store, upload_idle_seconds=0.3) as service:
        never = threading.Event()
        told = await refused(
            service.send(parts_then_wait(bytes(MIB), never)), grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_TRUNCATED"
        )
        assert "0.3 s" in told
        await service.left_behind(blobs=0)


async def test_a_slow_upload_outlives_its_lease(database: str, store: Store) -> None:
    async with artifacts(database, store, upload_lease_seconds=0.6) as service:
        go_on = threading.Event()
        upload = asyncio.ensure_future(service.send(parts_then_wait(bytes(MIB), go_on)))
        await asyncio.sleep(2)
        go_on.set()
        await upload
        await service.upload("other", b"x")  # the sweeper was there in between
        assert (await service.download(path=pb.ArtifactPath(owner=OWNER, path="a")))[1] == bytes(MIB)
        await service.left_behind(blobs=2)


async def test_an_upload_taken_for_dead_leaves_nothing_when_it_comes_back(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        go_on = threading.Event()
        upload = asyncio.ensure_future(service.send(parts_then_wait(bytes(MIB), go_on)))
        await until(lambda: bool(service.rows("SELECT FROM artifacts.loose_blobs WHERE uploading")))
        service.rows("DELETE FROM artifacts.loose_blobs RETURNING blob_key")  # as a sweeper does after the lease
        go_on.set()
        await refused(upload, grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")
        await service.left_behind(blobs=0)
        assert await service.paths() == []


async def test_files_larger_than_the_limit_are_refused(database: str, files: Store) -> None:
    async with artifacts(database, files, artifact_most_bytes=MIB) as service:
        await service.upload("fits", bytes(MIB))
        told = await refused(service.upload("a", bytes(MIB + 1)), grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
        assert "1,048,576" in told
        await service.left_behind(blobs=1)


# A store that does not keep its word


def only_blob(store: Store) -> Path:
    (key,) = store.keys
    return cast("Path", store.settings["blobs_dir"]) / key


@pytest.mark.parametrize(
    ("spoil", "offset"),
    [
        (lambda file: file.write_bytes(b"y" + file.read_bytes()[1:]), 0),
        (lambda file: file.write_bytes(file.read_bytes() + b"x"), 0),
        (lambda file: file.write_bytes(file.read_bytes() + b"x"), 5),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), 0),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), 5),
        (lambda file: file.unlink(), 0),
    ],
)
async def test_bytes_that_are_not_those_stored_are_told(
    database: str, files: Store, spoil: Callable[[Path], object], offset: int
) -> None:
    async with artifacts(database, files) as service:
        stored = await service.upload("a", os.urandom(3 * MIB))
        spoil(only_blob(files))
        call = service.download(offset=offset, artifact_id=stored.artifact_id)
        await refused(call, grpc.StatusCode.DATA_LOSS, "DATA_LOST")


async def test_downloads_go_on_where_they_stopped(database: str, store: Store) -> None:
    data = os.urandom(2 * MIB + 7)
    async with artifacts(database, store) as service:
        stored = await service.upload("a", data)
        for offset in (0, 1, MIB, len(data) - 1, len(data)):
            assert await service.download(offset=offset, artifact_id=stored.artifact_id) == (stored, data[offset:])
        for offset in (-1, len(data) + 1):
            call = service.download(offset=offset, artifact_id=stored.artifact_id)
            assert "offset: must be 0 to 2,097,159" in await refused(
                call, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"
            )


async def test_downloads_left_early_free_what_they_held(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        stored = await service.upload("a", bytes(30 * MIB))
        await service.download(artifact_id=stored.artifact_id)
        before = open_files()
        for _ in range(20):
            call = service.stub.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=stored.artifact_id))
            async for answer in call:
                if answer.part:
                    break
            call.cancel()
        await until(lambda: open_files() <= before + 2)
        assert (await service.download(artifact_id=stored.artifact_id))[1] == bytes(30 * MIB)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_store_that_cannot_be_used_is_told_at_the_start(database: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RuntimeError, match="artifact store cannot be used"):
        async with running(database, app, blobs_dir=tmp_path / "file"):
            pass


def test_settings_that_do_not_fit_are_told() -> None:
    config = app.Config(
        service_secret="x", s3_endpoint="http://minio:9000", upload_slots=0, artifact_most_bytes=1 << 40
    )
    told = ["s3_endpoint", "s3_endpoint", "artifact_most_bytes", "upload_slots"]
    assert [problem.partition(":")[0] for problem in config.problems()] == told
    assert "s3_secret_key" not in repr(config)
