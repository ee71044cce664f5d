"""Uploads in parts through the artifacts service's port: whatever came in which order, the file is whole or is not there."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_artifacts import DELETED_RUN, MIB, MODEL, OWNER, RUN, Service, Store, refused, s3_settings, service_at
from fix_artifacts import tracking_server as runs_known
from fix_parts import Parts, part_of
from fix_services import SECRET, as_tenant, running
from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace_artifacts import app
from headrace_kit import tickets
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs, S3Config
from headrace_kit.tickets import Ticket

BY_PATH = pb.ArtifactPath(owner=OWNER, path="model.bin")


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.real)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "files":
        return Store({"blobs_dir": tmp_path / "blobs"}, FileBlobs(tmp_path / "blobs"))
    config: S3Config = request.getfixturevalue("s3")
    return Store(s3_settings(config), S3Blobs(config))


@pytest.fixture
def files(tmp_path: Path) -> Store:
    return Store({"blobs_dir": tmp_path / "blobs"}, FileBlobs(tmp_path / "blobs"))


@asynccontextmanager
async def artifacts(database: str, store: Store, **settings: object) -> AsyncIterator[Service]:
    async with (
        runs_known() as (tracking, address),
        running(database, app, tracking=address, **store.settings, **settings) as services,
        service_at(services.address, tracking.asked, database, store) as service,
    ):
        yield service


async def refused_in_thread(code: grpc.StatusCode, reason: str, call: Callable[..., Any], *args: Any) -> str:
    return await refused(asyncio.to_thread(call, *args), code, reason)


async def test_parts_in_any_order_become_one_file(database: str, store: Store) -> None:
    data = [os.urandom(size) for size in (2 * MIB + 1, 1, 6 * MIB, 300)]
    async with artifacts(database, store) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 4)
        for number in (3, 1, 4, 2):
            assert await asyncio.to_thread(upload.put, number, data[number - 1])
            assert await service.paths() == []
        artifact = await asyncio.to_thread(upload.complete)
        whole = b"".join(data)
        assert (artifact.path, artifact.size_bytes) == ("model.bin", len(whole))
        assert artifact.sha256 == hashlib.sha256(whole).digest()
        assert await service.download(path=BY_PATH) == (artifact, whole)
        await service.left_behind(blobs=1)
        assert not service.rows("SELECT FROM artifacts.upload_parts")


async def test_parts_come_at_the_same_time_and_twice(database: str, store: Store) -> None:
    data = [os.urandom(MIB + number) for number in range(8)]
    async with artifacts(database, store) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 8)
        puts = [(number + 1, part) for number, part in enumerate(data)] * 2
        await asyncio.gather(*(asyncio.to_thread(upload.put, *put) for put in puts))
        await asyncio.to_thread(upload.complete)
        assert (await service.download(path=BY_PATH))[1] == b"".join(data)
        await service.left_behind(blobs=1)


async def test_an_order_of_any_kind_gives_the_parts_answered_last(database: str, files: Store) -> None:
    """Parts of any size, repeated with other bytes, in any order: the file is what was answered last for each."""
    async with artifacts(database, files) as service:

        @settings(max_examples=12, deadline=None, database=None)
        @given(st.data())
        def play(draw: st.DataObject) -> None:
            # All is drawn before anything is done: what cannot be drawn any more ends an example where it stands.
            count = draw.draw(st.integers(1, 5))
            order = draw.draw(st.permutations([*range(1, count + 1), *draw.draw(st.lists(st.integers(1, count)))]))
            contents = [draw.draw(st.binary(max_size=40)) for _ in order]
            named = draw.draw(st.permutations(range(1, count + 1)))
            upload = Parts(service.uploads, count)
            last: dict[int, bytes] = {}
            for number, last[number] in zip(order, contents, strict=True):
                upload.put(number, last[number])
            artifact = upload.complete({number: upload.etags[number] for number in named})
            whole = b"".join(last[number] for number in sorted(last))
            assert artifact.size_bytes == len(whole)
            assert artifact.sha256 == hashlib.sha256(whole).digest()

        await asyncio.to_thread(play)
        await service.left_behind(blobs=1)


async def test_nothing_but_all_parts_as_answered_completes(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 3)
        first = await asyncio.to_thread(upload.put, 1, b"one")
        await asyncio.to_thread(upload.put, 3, b"three")
        wrong: list[tuple[dict[int, str], str, str]] = [
            ({}, "INVALID_FIELD", "must name all 3 parts of the upload, and 1 is not among them"),
            (upload.etags, "INVALID_FIELD", "must name all 3 parts of the upload, and 2 is not among them"),
            ({**upload.etags, 2: first}, "INVALID_FIELD", "2 was not"),
            ({**upload.etags, 3: first}, "DIGEST_MISMATCH", "part 3 has"),
        ]
        for parts, reason, text in wrong:
            said = await refused_in_thread(grpc.StatusCode.INVALID_ARGUMENT, reason, upload.complete, parts)
            assert text in said
        await asyncio.to_thread(upload.put, 2, b"two")
        before = dict(upload.etags)
        await asyncio.to_thread(upload.put, 1, b"eins")
        await refused_in_thread(grpc.StatusCode.INVALID_ARGUMENT, "DIGEST_MISMATCH", upload.complete, before)
        twice = pb.CompleteUploadRequest(upload_id=upload.upload_id)
        for number in (1, 2, 3, 2):
            twice.parts.add(number=number, etag=upload.etags[number])
        await refused(service.stub.CompleteUpload(twice), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert await service.paths() == []
        await asyncio.to_thread(upload.complete)
        assert (await service.download(path=BY_PATH))[1] == b"einstwothree"


async def test_completing_again_answers_the_same(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 1)
        await asyncio.to_thread(upload.put, 1, b"x" * MIB)
        at_once = await asyncio.gather(*(asyncio.to_thread(upload.complete) for _ in range(5)))
        later = await asyncio.to_thread(upload.complete)
        assert {artifact.artifact_id for artifact in (*at_once, later)} == {later.artifact_id}
        for late in (upload.abort, lambda: upload.put(1, b"late")):
            await refused_in_thread(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", late)
        await service.stub.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=later.artifact_id))
        assert await asyncio.to_thread(upload.complete) == artifacts_pb2.Artifact()
        await service.left_behind(blobs=0)


async def test_an_aborted_upload_leaves_nothing(database: str, store: Store) -> None:
    async with artifacts(database, store) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 2)
        await asyncio.to_thread(upload.put, 1, b"x" * MIB)
        await asyncio.to_thread(upload.abort)
        await asyncio.to_thread(upload.abort)
        for late in (upload.complete, lambda: upload.put(2, b"late")):
            await refused_in_thread(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND", late)
        await service.left_behind(blobs=0)


async def test_an_upload_that_takes_too_long_is_forgotten(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 1)
        await asyncio.to_thread(upload.put, 1, b"x" * MIB)
        assert len(files.keys) == 1
        for statement in (
            "UPDATE artifacts.uploads SET expire_time = now() RETURNING 1",
            "UPDATE artifacts.loose_blobs SET due_time = now() RETURNING 1",
        ):
            assert len(service.rows(statement)) == 1
        await refused_in_thread(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND", upload.complete)
        await service.left_behind(blobs=0)


async def test_parts_are_due_when_their_upload_is(database: str, files: Store) -> None:
    async with artifacts(database, files, multipart_upload_seconds=5000, upload_lease_seconds=60) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 1)
        await asyncio.to_thread(upload.put, 1, b"x")
        [(same,)] = service.rows(
            "SELECT u.expire_time = b.due_time FROM artifacts.uploads u, artifacts.loose_blobs b"
            " WHERE b.due_time > now() + interval '4000 s'"
        )
        assert same


async def test_uploads_are_a_tenants_own(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 1)
        await asyncio.to_thread(upload.put, 1, b"secret")
        upload.metadata = as_tenant("mill")
        for call in (upload.complete, upload.abort, lambda: upload.put(1, b"theirs")):
            await refused_in_thread(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND", call)


async def test_what_cannot_be_started(database: str, files: Store) -> None:
    owner, model = artifacts_pb2.Owner(run_id=DELETED_RUN), artifacts_pb2.Owner(model_id=MODEL)
    async with artifacts(database, files) as service:
        for fields, code, reason in (
            ({"part_count": 0}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"part_count": 10_001}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"path": "../x"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"owner": owner}, grpc.StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE"),
            ({"owner": artifacts_pb2.Owner(run_id="0" * 32)}, grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"),
        ):
            asked: dict[str, Any] = {"owner": model, "path": "a", "part_count": 1, **fields}
            await refused(service.stub.StartUpload(pb.StartUploadRequest(**asked)), code, reason)
        upload = await asyncio.to_thread(Parts, service.uploads, 2)
        for number in (0, 3):
            await refused_in_thread(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", upload.put, number, b"x")
        await refused_in_thread(
            grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND", lambda: upload.complete({}, path="another")
        )


async def test_parts_are_no_larger_than_a_file_may_be(database: str, files: Store) -> None:
    async with artifacts(database, files, artifact_most_bytes=3 * MIB) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 2)
        await asyncio.to_thread(upload.put, 1, b"x" * 2 * MIB)
        await refused_in_thread(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE", upload.put, 2, b"y" * (MIB + 1))
        await asyncio.to_thread(upload.put, 1, b"x")
        await asyncio.to_thread(upload.put, 2, b"y" * (MIB + 1))
        assert (await asyncio.to_thread(upload.complete)).size_bytes == MIB + 2
        await service.left_behind(blobs=1)


async def test_a_part_that_the_store_changed_is_not_made_a_file(database: str, files: Store, tmp_path: Path) -> None:
    async with artifacts(database, files) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 1)
        await asyncio.to_thread(upload.put, 1, b"as it was")
        [blob] = (tmp_path / "blobs").glob("*/*-*")
        blob.write_bytes(b"as it is!")
        await refused_in_thread(grpc.StatusCode.DATA_LOSS, "DATA_LOST", upload.complete)
        assert await service.paths() == []


async def test_half_a_part_is_none(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        upload = await asyncio.to_thread(Parts, service.uploads, 1)

        def half() -> object:
            messages = list(part_of(upload.upload_id, 1, b"x" * 2 * MIB))[:-1]
            return service.uploads.UploadPart(iter(messages), metadata=upload.metadata)

        await refused_in_thread(grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_TRUNCATED", half)
        await refused_in_thread(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", upload.complete)
        await service.left_behind(blobs=0)


# Tickets and ranges


async def test_tickets_say_what_may_be_done(database: str, files: Store) -> None:
    async with artifacts(database, files) as service:
        stored = await service.upload("a.txt", b"hello")
        read = await service.stub.SignDownload(pb.SignDownloadRequest(path=pb.ArtifactPath(owner=OWNER, path="a.txt")))
        write = await service.stub.SignUpload(pb.SignUploadRequest(owner=OWNER, path="b.txt", valid_seconds=60))
        now = datetime.now(UTC)
        found = tickets.redeem(SECRET, read.ticket, "read", now)
        assert (found.tenant_id, found.names) == ("default", (stored.artifact_id,))
        assert read.artifact == stored
        assert tickets.redeem(SECRET, write.ticket, "write", now).names == (RUN, "b.txt", "text/plain")
        for secret, ticket, later in (
            (SECRET, write.ticket, timedelta()),  # for something else
            (SECRET + "x", read.ticket, timedelta()),
            (SECRET, read.ticket, timedelta(seconds=901)),
        ):
            with pytest.raises(ValueError, match="it "):
                tickets.redeem(secret, ticket, "read", now + later)
        for seconds in (-1, 604_801):
            asked = pb.SignDownloadRequest(artifact_id=stored.artifact_id, valid_seconds=seconds)
            await refused(service.stub.SignDownload(asked), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@given(st.data())
def test_a_changed_ticket_is_none(data: st.DataObject) -> None:
    good = tickets.issue("secret", Ticket("read", "default", 2_000_000_000, ("id",)))
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + data.draw(st.characters().filter(lambda character: character != good[at])) + good[at + 1 :]
    with pytest.raises(ValueError, match="it was not issued here"):
        tickets.redeem("secret", bad, "read", datetime.now(UTC))


async def test_a_stretch_of_a_file(database: str, store: Store) -> None:
    data = os.urandom(3 * MIB + 7)
    async with artifacts(database, store) as service:
        stored = await service.upload("a", data)

        async def stretch(offset: int, length: int) -> bytes:
            asked = pb.DownloadArtifactRequest(artifact_id=stored.artifact_id, offset=offset, length=length)
            return b"".join([answer.part async for answer in service.stub.DownloadArtifact(asked)])

        for offset, length in ((0, 1), (5, 2 * MIB), (MIB, 0), (len(data) - 3, 100), (len(data), 5), (0, len(data))):
            assert await stretch(offset, length) == data[offset : offset + length if length else None]
        await refused(stretch(0, -1), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
