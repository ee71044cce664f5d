"""Taking the points of a run away as a Parquet file, before and after it was moved to the object store."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psycopg
from google.protobuf.field_mask_pb2 import FieldMask
from pyarrow import parquet

from fix_services import running
from fix_tracking import Tracking, refusal, tracking_stub
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.config import ServiceConfig
from headrace_tracking import app


@asynccontextmanager
async def archiving(database: str, folder: Path) -> AsyncIterator[Tracking]:
    await asyncio.to_thread(ensure_all_topics, ServiceConfig(database=database))
    settings = {"archive_dir": folder, "archive_after_seconds": 0.0, "archive_least_points": 1}
    async with running(database, app, **settings) as services:
        yield tracking_stub(services.channel)


async def logged(tracking: Tracking, **series: list[float]) -> str:
    """A run with these points, visible."""
    run = (await tracking.CreateRun(pb.CreateRunRequest())).run
    points = [
        tracking_pb2.Metric(key=key, value=value, step=step, time_ms=step)
        for key, values in series.items()
        for step, value in enumerate(values)
    ]
    done = await tracking.LogMetrics(pb.LogMetricsRequest(run_id=run.run_id, metrics=points))
    await tracking.GetRun(pb.GetRunRequest(run_id=run.run_id, at_least=done.positions), timeout=30)
    return run.run_id


async def ended(tracking: Tracking, database: str, run_id: str) -> None:
    """Ends it and waits until it is archived."""
    run = tracking_pb2.Run(run_id=run_id, state=tracking_pb2.Run.STATE_FINISHED)
    await tracking.UpdateRun(pb.UpdateRunRequest(run=run, update_mask=FieldMask(paths=["state"])))
    async with asyncio.timeout(60), await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        query = "SELECT 1 FROM tracking.metric_archives WHERE run_id = %s"
        while not await (await conn.execute(query, [run_id])).fetchone():  # noqa: ASYNC110 - another process would not tell
            await asyncio.sleep(0.02)


async def exported(tracking: Tracking, run_id: str) -> bytes:
    answers = [answer async for answer in tracking.ExportMetrics(pb.ExportMetricsRequest(run_id=run_id))]
    data = b"".join(answer.part for answer in answers)
    assert [answer.size_bytes for answer in answers[:1]] == [len(data)]
    return data


def rows(data: bytes) -> list[tuple[str, int, float]]:
    table = parquet.read_table(io.BytesIO(data)).to_pylist()
    return [(row["key"], row["step"], row["value"]) for row in table]


async def test_the_file_is_the_same_before_and_after(database: str, tmp_path: Path) -> None:
    async with archiving(database, tmp_path) as tracking:
        run_id = await logged(tracking, acc=[0.5, 0.75], loss=[3.0, 2.0, 1.0])
        before = await exported(tracking, run_id)
        expected = [("acc", 0, 0.5), ("acc", 1, 0.75), ("loss", 0, 3.0), ("loss", 1, 2.0), ("loss", 2, 1.0)]
        assert rows(before) == expected
        await ended(tracking, database, run_id)
        after = await exported(tracking, run_id)
        (file,) = (tmp_path / "metrics").iterdir()
        assert after == before == file.read_bytes()
        again = [tracking_pb2.Metric(key="acc", value=0.75, step=1, time_ms=1)]
        late = [tracking_pb2.Metric(key="acc", value=1.0, step=2, time_ms=2)]
        done = await tracking.LogMetrics(pb.LogMetricsRequest(run_id=run_id, metrics=again + late))
        request = pb.GetMetricHistoryRequest(run_id=run_id, key="acc", at_least=done.positions)
        assert list((await tracking.GetMetricHistory(request, timeout=30)).values) == [0.5, 0.75, 1.0]
        assert rows(await exported(tracking, run_id)) == sorted([*expected, ("acc", 2, 1.0)])
        empty = (await tracking.CreateRun(pb.CreateRunRequest())).run.run_id
        assert rows(await exported(tracking, empty)) == []


async def test_a_lost_file_is_told_by_its_name(database: str, tmp_path: Path) -> None:
    async with archiving(database, tmp_path) as tracking:
        run_id, other = await logged(tracking, loss=[1.0]), await logged(tracking, loss=[2.0])
        await ended(tracking, database, run_id)
        (file,) = (tmp_path / "metrics").iterdir()
        file.unlink()
        refused = await refusal(tracking.GetMetricHistory, pb.GetMetricHistoryRequest(run_id=run_id, key="loss"))
        assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "DATA_LOST")
        assert f"archive metrics/{file.name} is not in the object store" in refused.message
        try:
            await exported(tracking, run_id)
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.DATA_LOSS  # noqa: PT017 - pytest.raises holds no async generator
        else:
            raise AssertionError("it was exported")
        assert rows(await exported(tracking, other)) == [("loss", 0, 2.0)]
