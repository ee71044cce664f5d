"""Finished runs in Parquet: nobody sees it, whatever happens at the same time, and others read the files."""

import math
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_archives import AT_ONCE, SMALL, Watched, all_archived, archiver, end
from fix_twins import Reader, Twin
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.blobs import Blobs, StoreUnavailable
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs, S3Config
from headrace_tracking.archiver.step import When, worth
from headrace_tracking.archives import Archives
from headrace_tracking.columns import BadColumns
from headrace_tracking.merger.step import Merger
from headrace_tracking.writer.applier import connect

VALUES = st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf])
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), VALUES), min_size=1, max_size=6)
QUIET = st.one_of(
    st.tuples(st.just("write"), POINTS, st.booleans()),
    st.tuples(st.just("merge")),
    st.tuples(st.just("page"), st.integers(1, 4)),
)
ARCHIVE = st.tuples(st.just("archive"), st.lists(QUIET, max_size=3), st.booleans())
AXES = (pb.CHART_AXIS_STEP, pb.CHART_AXIS_TIME)
OPERATIONS = st.lists(st.one_of(QUIET, ARCHIVE), max_size=20)


def file_blobs(folder: Path) -> Watched:
    blobs = FileBlobs(folder)
    blobs.check()
    return Watched(blobs)


def test_no_interleaving_shows_an_archive(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    archives = Archives(blobs, kept_bytes=1000)
    with ExitStack() as stack:
        reader = Reader(database, stack, archives)
        worker = archiver(database, stack, blobs, archives, sizes=SMALL)
        conn = stack.enter_context(closing(connect(database)))
        merger = Merger(conn, most_points=8, fewest=2)

        def do(twins: Sequence[Twin], operation: tuple[Any, ...]) -> None:
            name, *arguments = operation
            if name == "write":
                for twin in twins:
                    twin.write(arguments[0], unary=arguments[1])
            elif name == "merge":
                merger.step()
            elif name == "page":
                archived, plain = (twin.page(arguments[0]) for twin in twins)
                assert archived == plain
            else:
                archive(twins, *arguments)

        def archive(twins: Sequence[Twin], meanwhile: Sequence[tuple[Any, ...]], lost: bool) -> None:
            def happens() -> None:
                blobs.meanwhile = lambda: None
                for each in meanwhile:
                    do(twins, each)
                if lost:
                    raise StoreUnavailable("the answer is lost")

            blobs.meanwhile = happens
            with suppress(StoreUnavailable):
                worker.step()

        @settings(
            max_examples=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(operations=OPERATIONS)
        def holds(operations: Sequence[tuple[Any, ...]]) -> None:
            with ExitStack() as own:
                twins = [Twin(database, own, reader, noted=noted) for noted in (True, False)]
                end(database, twins[0].run_id)
                for operation in operations:
                    do(twins, operation)
                plain = twins[1].everything()
                assert twins[0].everything() == plain
                blobs.meanwhile = lambda: None
                all_archived(worker)
                assert twins[0].everything() == plain
                if plain:
                    for axis in AXES:
                        assert charts(twins[0], axis) == charts(twins[1], axis)

        holds()
        known = conn.execute("SELECT 'metrics/' || archive_id FROM tracking.metric_archives").fetchall()
        assert sorted(blobs.keys("metrics/")) == sorted(key for (key,) in known)
        assert known


def charts(twin: Twin, axis: pb.ChartAxis) -> list[str]:
    """The chart of its series, in few and in many buckets; without the run's id."""
    found: list[str] = []
    for pixels in (2, 1000):
        request = pb.GetMetricChartsRequest(run_ids=[twin.run_id.hex], keys=["loss"], pixels=pixels, axis=axis)
        (chart,) = twin.reader.charts(request).charts
        chart.run_id = ""
        found.append(str(chart))
    return found


def stored(conn: psycopg.Connection, run_id: uuid.UUID) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT once_per_point, points, data IS NULL, row_group, first_row FROM tracking.metric_chunks"
        " WHERE run_id = %s ORDER BY once_per_point, first_time_ms, first_step, chunk_id",
        [run_id],
    ).fetchall()


@pytest.fixture(params=["files", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "files":
        return file_blobs(tmp_path).blobs
    config: S3Config = request.getfixturevalue("s3")
    made = S3Blobs(config)
    made.check()
    return made


def test_chunks_become_full_and_name_their_place(database: str, blobs: Blobs) -> None:
    archives = Archives(blobs)
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack, archives), noted=False)
        for start in range(0, 20, 2):
            twin.write([(start, 0, float(start)), (start + 1, 0, math.nan)])
        twin.write([(3, 0, 5.0)], unary=True)
        expected = twin.everything()
        end(database, twin.run_id)
        all_archived(archiver(database, stack, blobs, archives, sizes=SMALL))
        conn = stack.enter_context(psycopg.connect(database, autocommit=True))
        places = [(0, 0), (0, 4), (1, 0), (1, 4), (2, 0)]
        assert stored(conn, twin.run_id) == [
            *((False, 4, True, group, row) for group, row in places),
            (True, 1, True, 3, 0),
        ]
        assert twin.everything() == expected
        twin.write([(3, 0, 5.0)], unary=True)  # the same call again
        twin.write([(3, 0, 5.0)])  # a point of a stream, which is another
        assert len(twin.everything()) == len(expected) + 1


def test_duckdb_and_polars_read_the_file_as_it_is(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    archives = Archives(blobs)
    odd = [math.nan, math.inf, -math.inf, -0.0]
    points = [(1_700_000_000_000 + i, i % 7, odd[i] if i < len(odd) else i / 3) for i in range(2500)]
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack, archives), noted=False)
        twin.write(points[::-1])
        drawn = [charts(twin, axis) for axis in AXES]
        end(database, twin.run_id)
        all_archived(archiver(database, stack, blobs, archives))
        assert [charts(twin, axis) for axis in AXES] == drawn
    (key,) = blobs.keys("metrics/")
    path = tmp_path / key
    read = duckdb.connect()
    read.execute("SET TimeZone = 'UTC'")
    rows = read.execute("SELECT key, epoch_ms(time), step, value FROM read_parquet($1)", [str(path)]).fetchall()
    assert [str(row) for row in rows] == [str(("loss", *point)) for point in points]
    total = read.execute("SELECT count(*), sum(value) FILTER (isfinite(value)) FROM read_parquet($1)", [str(path)])
    finite = sum(value for _, _, value in points if math.isfinite(value))
    assert total.fetchall() == [(2500, pytest.approx(finite))]
    facts = read.execute("SELECT decode(key), decode(value) FROM parquet_kv_metadata($1)", [str(path)]).fetchall()
    assert dict(facts) == {
        "headrace.run_id": twin.run_id.hex,
        "headrace.experiment_id": "0",
        "headrace.version": dict(facts)["headrace.version"],
    }
    frame = pl.read_parquet(path)
    assert frame.schema == {
        "key": pl.String,
        "step": pl.Int64,
        "time": pl.Datetime("ms", "UTC"),
        "value": pl.Float64,
    }
    assert [str(row) for row in frame["value"]] == [str(value) for _, _, value in points]


def test_a_series_reads_its_own_row_groups_once(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    archives = Archives(blobs)
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack, archives), noted=False)
        twin.write([(i, i, 0.5) for i in range(64)])
        end(database, twin.run_id)
        all_archived(archiver(database, stack, blobs, archives, sizes=SMALL))
        blobs.reads.clear()
        assert len(twin.page(5)) == 5
        once = len(blobs.reads)
        assert once <= 2 * 2  # of eight row groups the first two; of each the end of the file and the columns, at most
        assert len(twin.everything(20)) == 64
        reads = len(blobs.reads)
        assert len(twin.everything(20)) == 64
        assert len(blobs.reads) == reads  # from memory now


def test_a_damaged_file_is_told_by_name_and_spoils_no_other_series(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack, Archives(blobs)), noted=False)
        twin.write([(i, i, i / 7) for i in range(1000)], key="hurt")
        twin.write([(i, i, i / 7) for i in range(1000)], key="well")
        end(database, twin.run_id)
        all_archived(archiver(database, stack, blobs, Archives(blobs)))
        (key,) = blobs.keys("metrics/")
        data = bytearray((tmp_path / key).read_bytes())
        data[1000] ^= 0x10
        (tmp_path / key).write_bytes(data)
        twin.reader.archives = Archives(blobs)
        assert len(twin.everything(1000, key="well")) == 1000
        with pytest.raises(BadColumns, match=rf"archive {key} row group 0"):
            twin.everything(1000, key="hurt")
        blobs.delete(key)
        twin.reader.archives = Archives(blobs)
        with pytest.raises(BadColumns, match=rf"archive {key} is not in the object store"):
            twin.everything(1000, key="well")


def test_a_file_that_no_run_took_is_deleted_and_a_replaced_one_later(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    archives = Archives(blobs)
    patient = When(after_ms=0, least_points=1)
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack, archives), noted=False)
        twin.write([(1, 1, 1.0)])
        end(database, twin.run_id)
        worker = archiver(database, stack, blobs, archives, patient)
        blobs.meanwhile = lambda: (_ for _ in ()).throw(StoreUnavailable("gone"))
        with pytest.raises(StoreUnavailable):
            worker.step()
        (orphan,) = blobs.keys("metrics/")
        blobs.meanwhile = lambda: None
        all_archived(worker)
        assert len(list(blobs.keys("metrics/"))) == 2
        twin.write([(2, 1, 1.0)])  # late
        all_archived(worker)
        kept = set(blobs.keys("metrics/"))
        assert len(kept) == 3
        conn = stack.enter_context(psycopg.connect(database, autocommit=True))
        conn.execute("UPDATE tracking.loose_archives SET due_time = now() - interval '1 s'")
        all_archived(worker)
        (left,) = blobs.keys("metrics/")
        assert left in kept - {orphan}
        assert len(twin.everything()) == 2
        assert conn.execute("SELECT count(*) FROM tracking.loose_archives").fetchone() == (0,)


def test_a_run_that_goes_on_or_is_small_stays(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    archives = Archives(blobs)
    with ExitStack() as stack:
        going, small, large = (Twin(database, stack, Reader(database, stack, archives), noted=False) for _ in range(3))
        for twin, count in ((going, 20), (small, 9), (large, 20)):
            twin.write([(i, i, 1.0) for i in range(count)])
        for twin in (small, large):
            end(database, twin.run_id)
        all_archived(archiver(database, stack, blobs, archives, When(after_ms=0, least_points=10)))
        conn = stack.enter_context(psycopg.connect(database, autocommit=True))
        assert [stored(conn, twin.run_id)[0][2] for twin in (going, small, large)] == [False, False, True]


def test_a_run_whose_chunks_were_taken_meanwhile_is_archived_later(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    archives = Archives(blobs)
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack, archives), noted=False)
        twin.write([(1, 1, 1.0)])
        end(database, twin.run_id)
        conn = stack.enter_context(psycopg.connect(database, autocommit=True))
        worker = archiver(database, stack, blobs, archives)
        blobs.meanwhile = lambda: conn.execute("UPDATE tracking.metric_chunks SET chunk_id = DEFAULT")  # type: ignore[assignment,return-value]
        worker.step()
        assert stored(conn, twin.run_id) == [(False, 1, False, None, None)]
        blobs.meanwhile = lambda: None
        all_archived(worker)
        assert stored(conn, twin.run_id) == [(False, 1, True, 0, 0)]


def test_mergers_and_archivers_keep_out_of_each_others_way(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    archives = Archives(blobs)
    patient = When(after_ms=0, least_points=1)
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack, archives), noted=True)
        for time in range(6):
            twin.write([(time, 1, 1.0)])
        end(database, twin.run_id)
        conn = stack.enter_context(closing(connect(database)))
        conn.execute("SET lock_timeout = '5s'")
        merger = Merger(conn, fewest=2)
        worker, other = (archiver(database, stack, blobs, archives, patient) for _ in range(2))
        with conn.transaction():
            assert merger.step()  # has merged, and not committed
            assert not worker.step()
        assert [row[1] for row in stored(conn, twin.run_id)] == [6]
        seen: list[bool] = []
        blobs.meanwhile = lambda: seen.extend([other.step(), merger.step()])
        twin.write([(9, 1, 1.0)])
        twin.write([(9, 2, 1.0)])
        assert worker.step()
        assert seen == [False, True]  # the merger took the notes and left the chunks
        assert [row[1:3] for row in stored(conn, twin.run_id)] == [(8, True)]


def test_a_file_is_written_again_only_when_it_grows() -> None:
    assert worth(10, 0, 10)
    assert not worth(9, 0, 10)
    assert worth(1000, 8000, 10)
    assert not worth(999, 8000, 10)


def test_without_a_store_archived_points_are_told_to_be_out_of_reach(database: str, tmp_path: Path) -> None:
    blobs = file_blobs(tmp_path)
    with ExitStack() as stack:
        twin = Twin(database, stack, Reader(database, stack), noted=False)
        twin.write([(1, 1, 1.0)], unary=True)
        end(database, twin.run_id)
        all_archived(archiver(database, stack, blobs, Archives(blobs), AT_ONCE))
        with pytest.raises(StoreUnavailable, match="HEADRACE_S3_ENDPOINT"):
            twin.everything()
        with pytest.raises(StoreUnavailable):
            twin.write([(1, 1, 1.0)], unary=True)  # it cannot be known whether that is a new point
        conn = stack.enter_context(psycopg.connect(database, autocommit=True))
        assert stored(conn, twin.run_id) == [(True, 1, True, 0, 0)]
