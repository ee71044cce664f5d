"""The pure parts of the metric path: columns to the bit, chunks in order, headers, sequences, pages."""

import math
import struct
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fix_metrics import Point, columns_of, frame
from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.errors import InvalidField
from headrace_tracking import chunks, columns, frames
from headrace_tracking.columns import BadColumns, Coded, Columns, Zstd
from headrace_tracking.frames import HeaderCheck
from headrace_tracking.history import Place
from headrace_tracking.segments import Segments
from headrace_tracking.writer.letters import PoisonShare
from headrace_tracking.writer.sequence import plan

INT64 = st.integers(-(2**63), 2**63 - 1)
ANY_DOUBLE = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
POINTS = st.lists(st.tuples(INT64, INT64, st.floats() | ANY_DOUBLE), max_size=60)
FEW_POINTS = st.lists(st.tuples(INT64, INT64, st.floats() | ANY_DOUBLE), max_size=12)
CLOSE_POINTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.0, -0.0, 1.0, math.nan])), max_size=60
)


def same(one: Columns, other: Columns) -> bool:
    return (
        np.array_equal(one.steps, other.steps)
        and np.array_equal(one.times, other.times)
        and np.array_equal(columns.bits(one), columns.bits(other))
    )


def place(point: Point) -> tuple[int, int, float, int]:
    """What points are ordered by."""
    time, step, value = point
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    return time, step, 0.0 if math.isnan(value) else value, bits


def points_of(found: Columns) -> list[tuple[int, int, float, int]]:
    return [place(p) for p in zip(found.times.tolist(), found.steps.tolist(), found.values.tolist(), strict=True)]


def coded(points: Columns, *, compressed: bool = False) -> Coded:
    data, encoding = columns.encode(points), metrics_pb2.ENCODING_UNSPECIFIED
    if compressed:
        data, encoding = zstandard.compress(data), metrics_pb2.ENCODING_ZSTD
    return Coded(data, encoding, len(points))


def parsed(data: bytes, points: int) -> Columns | BadColumns:
    """As protobuf reads it."""
    return columns._parsed(data, points)


@given(st.lists(st.tuples(FEW_POINTS, st.booleans()), max_size=4))
def test_columns_come_back_to_the_bit(sent: list[tuple[list[Point], bool]]) -> None:
    """Of many frames at once, each of its own."""
    frames = [coded(columns_of(points), compressed=compressed) for points, compressed in sent]
    for found, (points, _) in zip(columns.decode_all(frames, Zstd()), sent, strict=True):
        assert isinstance(found, Columns)
        assert same(found, columns_of(points))


@given(st.lists(st.tuples(st.binary(max_size=80), st.integers(0, 4)), min_size=1, max_size=4))
def test_any_bytes_are_read_as_protobuf_reads_them(sent: list[tuple[bytes, int]]) -> None:
    frames = [Coded(data, metrics_pb2.ENCODING_UNSPECIFIED, points) for data, points in sent]
    for found, one in zip(columns.decode_all(frames, Zstd()), frames, strict=True):
        theirs = parsed(one.data, one.points)
        if isinstance(theirs, BadColumns):
            assert str(found) == str(theirs)
        else:
            assert isinstance(found, Columns)
            assert same(found, theirs)


@given(st.lists(st.tuples(FEW_POINTS, st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_is_read_as_protobuf_reads_it(sent: list[tuple[list[Point], int, int]]) -> None:
    """In a frame beside others, at any place of it."""
    frames = []
    for points, at, byte in sent:
        data = columns.encode(columns_of(points))
        frames.append(Coded(data[:at] + bytes([byte]) + data[at + 1 :], metrics_pb2.ENCODING_UNSPECIFIED, len(points)))
    for found, one in zip(columns.decode_all(frames, Zstd()), frames, strict=True):
        theirs = parsed(one.data, one.points)
        assert isinstance(found, BadColumns) == isinstance(theirs, BadColumns)
        if isinstance(found, Columns) and isinstance(theirs, Columns):
            assert same(found, theirs)


def test_frames_of_any_form_are_read() -> None:
    points = columns_of([(i * 7, i, float(i)) for i in range(3000)])
    usual = coded(points)
    halves = metrics_pb2.MetricColumns.FromString(usual.data)
    split = b"".join(
        metrics_pb2.MetricColumns(**{name: part}).SerializeToString()  # type: ignore[arg-type] # one of three fields
        for name in ("values", "step_deltas", "time_deltas")
        for part in (list(getattr(halves, name))[:1000], list(getattr(halves, name))[1000:])
    )
    for found in columns.decode_all([usual, usual._replace(data=split), usual], Zstd()):
        assert isinstance(found, Columns)
        assert same(found, points)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "is no MetricColumns"),
        (lambda data: data + b"\x1a\x08" + bytes(8), "values, where the series count"),
        (lambda data: data + b"\x0a\x01\x02", "steps"),
        (lambda data: data + b"\x0a\x01\xff", "is no MetricColumns"),
    ],
)
def test_columns_that_do_not_fit_are_refused_alone(change: Any, words: str) -> None:
    good = coded(columns_of([(i, i, 1.0) for i in range(3)]))
    first, bad, last = columns.decode_all([good, good._replace(data=change(good.data)), good], Zstd())
    assert isinstance(bad, BadColumns)
    assert words in str(bad)
    assert len(first) == len(last) == 3  # type: ignore[arg-type] # else it is a BadColumns


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zstandard.compress(bytes(100_000_000))
    [found] = columns.decode_all([Coded(bomb, metrics_pb2.ENCODING_ZSTD, 1)], Zstd())
    assert "holds 100000000 bytes uncompressed, where its points need at most 92" in str(found)


@given(st.lists(FEW_POINTS | CLOSE_POINTS, max_size=4), st.integers(1, 30))
def test_chunks_keep_every_point_in_order(series: list[list[Point]], most: int) -> None:
    """Of each of many series."""
    kept = [points for points in series if points]
    found = Segments.of([columns_of(points) for points in series]).ordered()
    cut = list(chunks.cut(found, Zstd(), most))
    for number, points in enumerate(kept):
        own = [chunk for owner, chunk in cut if owner == number]
        unpacked = [chunks.unpack(one.points, one.data, Zstd()) for one in own]
        assert points_of(Columns.joined(unpacked)) == sorted(map(place, points))
        assert [one.points for one in own] == [min(most, len(points) - at) for at in range(0, len(points), most)]
        for one, part in zip(own, unpacked, strict=True):
            times, steps = part.times.tolist(), part.steps.tolist()
            assert one.bounds == (times[0], steps[0], times[-1], steps[-1])
            assert (one.least_step, one.greatest_step) == (min(steps), max(steps))
    assert len(cut) == sum(-(-len(points) // most) for points in kept)


def test_chunks_are_cut_and_bounded() -> None:
    points = columns_of([(i // 2, i % 2, 1.0) for i in range(25_000)])
    cut = [chunk for _, chunk in chunks.cut(Segments.of([points]), Zstd())]
    assert [one.points for one in cut] == [10_000, 10_000, 5_000]
    assert cut[1].bounds == chunks.Bounds(5000, 0, 9999, 1)


def test_a_damaged_chunk_is_noticed() -> None:
    points = columns_of([(i, i, math.sqrt(i)) for i in range(100)])
    [(_, chunk)] = chunks.cut(Segments.of([points]), Zstd())
    noticed = 0
    for at in range(len(chunk.data)):
        damaged = chunk.data[:at] + bytes([chunk.data[at] ^ 0x10]) + chunk.data[at + 1 :]
        try:
            assert same(chunks.unpack(100, damaged, Zstd()), points)
        except BadColumns:
            noticed += 1
    assert noticed > 0.95 * len(chunk.data)  # a few bits mean nothing to zstd
    with pytest.raises(BadColumns, match="need at most 2376"):
        chunks.unpack(99, chunk.data, Zstd())


@given(CLOSE_POINTS, CLOSE_POINTS)
def test_points_as_a_set(points: list[Point], present: list[Point]) -> None:
    once = chunks.without_repeats(chunks.ordered(columns_of(points)))
    assert points_of(once) == sorted(set(map(place, points)))
    absent = chunks.absent(once, columns_of(present))
    assert points_of(absent) == sorted(set(map(place, points)) - set(map(place, present)))


FEW_PLACES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats()), min_size=1)


@given(st.lists(FEW_PLACES, min_size=1, max_size=4))
def test_the_latest_point_is_mlflows(series: list[list[Point]]) -> None:
    def rank(point: Point) -> tuple[int, int, float]:
        time, step, value = point
        return step, time, 0.0 if math.isnan(value) else value

    found = Segments.of([columns_of(points) for points in series]).ordered()
    latest = found.points[found.latest()]
    rows = zip(latest.times.tolist(), latest.steps.tolist(), latest.values.tolist(), strict=True)
    assert list(map(rank, rows)) == [max(map(rank, points)) for points in series]


@given(st.lists(FEW_PLACES, min_size=1, max_size=4))
def test_extremes_leave_nan_out(series: list[list[Point]]) -> None:
    least, greatest = Segments.of([columns_of(points) for points in series]).extremes()
    for points, low, high in zip(series, least.tolist(), greatest.tolist(), strict=True):
        numbers = [value for _, _, value in points if not math.isnan(value)]
        assert [low, high] == [min(numbers), max(numbers)] if numbers else math.isnan(low) and math.isnan(high)


@given(CLOSE_POINTS, st.integers(1, 7), st.data())
def test_pages_hold_every_point_once(points: list[Point], size: int, data: st.DataObject) -> None:
    """Whatever lies before a page's place, in whatever chunks, is passed over."""
    everything = chunks.ordered(columns_of(points))
    seen: list[tuple[int, int, float, int]] = []
    last: Place | None = None
    while True:
        left = last.behind(everything) if last else everything
        page = left[:size]
        seen += points_of(page)
        if len(left) <= size:
            break
        last = Place.last_of(page, last)
    assert seen == points_of(everything)


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (metrics_pb2.Frame(series=[metrics_pb2.SeriesHeader(key="", count=1)]), "series[0].key"),
        (metrics_pb2.Frame(series=[metrics_pb2.SeriesHeader(key="k" * 251, count=1)]), "series[0].key"),
        (metrics_pb2.Frame(series=[metrics_pb2.SeriesHeader(key="a?", count=1)]), "series[0].key"),
        (metrics_pb2.Frame(series=[metrics_pb2.SeriesHeader(key="a", count=0)]), "series[0].count"),
        (metrics_pb2.Frame(series=[metrics_pb2.SeriesHeader(key="a", count=60_000)] * 2), "series"),
        (metrics_pb2.Frame(columns=bytes(frames.MOST_BYTES)), "columns"),
    ],
)
def test_headers_are_refused_by_field(made: metrics_pb2.Frame, field: str) -> None:
    check = HeaderCheck()
    for _ in range(2):  # a bad key is not remembered as a good one
        with pytest.raises(InvalidField) as refused:
            check(made)
        assert refused.value.field == field


def test_good_headers_pass() -> None:
    check = HeaderCheck()
    for key in ("a", "a/b.c-d: e_f", "k" * 250, "größe"):
        check(frame(1, {key: [(1, 1, 1.0)]}))


@given(st.integers(0, 5), st.lists(st.integers(1, 12)), st.sets(st.integers(1, 12)))
def test_frames_are_applied_in_sequence(applied: int, arrivals: list[int], parked: set[int]) -> None:
    parked = {seq for seq in parked if seq > applied + 1}  # what is parked waits for one before it
    found = plan(applied, [(seq, f"{seq} as number {index}") for index, seq in enumerate(arrivals)], parked)
    have = parked | set(arrivals)
    upto = applied
    while upto + 1 in have:
        upto += 1
    assert found.applied_seq == upto
    assert [seq for seq, _ in found.apply] == list(range(applied + 1, upto + 1))
    assert {seq for seq, one in found.apply if one is None} == {seq for seq in parked if seq <= upto}
    assert [seq for seq, _ in found.park] == sorted({seq for seq in arrivals if seq > upto} - parked)


def test_the_share_of_poison_is_of_recent_frames() -> None:
    share = PoisonShare()
    letter: Any = object()
    for _ in range(100):
        share.count(1000, [letter] * 500)
    for _ in range(3):
        share.count(100, [])
    share.count(999, [letter] * 400)
