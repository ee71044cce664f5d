"""Points into frames, and frames through an outbox whose stream breaks anywhere."""

import math
from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_ingest import decoded
from headrace.api.tracking.v1.metrics_pb2 import Frame, MetricColumns, SeriesHeader
from headrace.ingest.columns import Block
from headrace.ingest.frames import FAR, Limits, key_problem, make_frames
from headrace.ingest.outbox import Outbox, Overtaken
from headrace.ingest.packing import packed
from headrace.ingest.queue import PointQueue
from headrace_kit.errors import InvalidField
from headrace_tracking import limits

far = st.integers(-FAR + 1, FAR - 1)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # others share the machine

Point = tuple[str, float, int, int]
Item = Point | list[Point] | Block


def all_points(frames: list[Frame]) -> dict[str, list[tuple[int, int, float]]]:
    found: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for frame in frames:
        for key, points in decoded(frame).items():
            found[key] += points
    return dict(found)


def same(left: list[tuple[int, int, float]], right: list[tuple[int, int, float]]) -> bool:
    return repr(left) == repr(right)  # NaN is NaN here, and -0.0 is not 0.0


blocks = st.builds(
    lambda key, rows: Block(key, *(list(column) for column in zip(*rows, strict=True))),
    st.sampled_from(["loss", "acc", "second"]),
    st.lists(st.tuples(st.floats(), far, far), min_size=1, max_size=8),
)
points = st.tuples(st.sampled_from(["loss", "acc", "é/x y"]), st.floats(), far, st.integers(0, 1 << 42))
logged = st.lists(points | st.lists(points, min_size=3, max_size=8) | blocks, max_size=8)


def add(queue: PointQueue, item: Item) -> list[Point]:
    """Queues a point, several, or a block; the points that they are."""
    if isinstance(item, Block):
        queue.put(item)
        return list(zip([item.key] * len(item), item.values, item.steps, item.times, strict=True))
    several = item if isinstance(item, list) else [item]
    for key, value, step, ms in several:
        queue.items.extend((key, value, step, (ms + 0.5) / 1000))
    return several


def by_key(points: list[Point]) -> dict[str, list[tuple[int, int, float]]]:
    found: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for key, value, step, time in points:
        found[key].append((step, time, value))
    return found


wholes = st.lists(far, min_size=1, max_size=6) | st.lists(st.integers(0, 200), min_size=1, max_size=6)
steady = st.builds(
    lambda at, by, n: range(at, at + by * n, by), st.integers(-9, 9), st.sampled_from([1, 70, -2]), st.integers(1, 6)
)
still = st.builds(lambda at, n: array("q", [at]) * n, far, st.integers(1, 6))
whole_columns = st.lists(wholes | steady | still, min_size=1, max_size=4)


def differences(columns: Sequence[Sequence[int]]) -> list[int]:
    items = list(chain.from_iterable(columns))
    return [after - before for before, after in zip([0, *items], items, strict=False)]


@given(whole_columns, whole_columns, st.lists(st.lists(st.floats(), min_size=1), min_size=1, max_size=4))
def test_columns_are_the_bytes_that_protobuf_makes(
    steps: list[Sequence[int]], times: list[Sequence[int]], values: list[list[float]]
) -> None:
    message = MetricColumns(
        step_deltas=differences(steps), time_deltas=differences(times), values=list(chain.from_iterable(values))
    )
    assert packed(steps, times, values) == message.SerializeToString()


@given(logged, st.integers(1, 20), st.integers(60, 2_000))
@UNHURRIED
def test_frames_hold_every_point_in_order_within_the_limits(items: list[Item], most: int, size: int) -> None:
    queue = PointQueue()
    given_points = [point for item in items for point in add(queue, item)]
    assert queue.points() == len(given_points)
    frames: list[Frame] = []
    while queue.items:
        frames += queue.take_frames(Limits(most, size), lambda why, _: pytest.fail(why))

    found, expected = all_points(frames), by_key(given_points)
    assert found.keys() == expected.keys()
    assert all(same(found[key], expected[key]) for key in expected)
    assert (queue.points(), queue.gone) == (0, len(given_points))
    for frame in frames:
        count = sum(series.count for series in frame.series)
        assert count <= most
        assert frame.ByteSize() <= size or count == 1


@given(logged, st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=6))
@UNHURRIED
def test_a_queue_drops_from_either_end(items: list[Item], drops: list[tuple[int, bool]]) -> None:
    queue = PointQueue()
    left = [point for item in items for point in add(queue, item)]
    for down_to, oldest in drops:
        gone = queue.drop(down_to, oldest=oldest)
        assert gone == max(0, len(left) - down_to)
        left = left[gone:] if oldest else left[: len(left) - gone]
        assert queue.points() == len(left)
    frames = queue.take_frames(Limits(100_000, 1 << 20), lambda why, _: pytest.fail(why))
    found, expected = all_points(frames), by_key(left)
    assert found.keys() == expected.keys()
    assert all(same(found[key], expected[key]) for key in expected)


def test_points_under_a_bad_key_do_not_take_the_others_with_them() -> None:
    told: list[tuple[str, int]] = []
    queue = PointQueue()
    for key, step in (("good", 0), ("bad\n", 0), ("bad\n", 1), ("good", 1), ("good", FAR), ("good", 2)):
        queue.items.extend((key, 1.0, step, 0.0))

    (frame,) = queue.take_frames(Limits(100, 10_000), lambda why, count: told.append((why, count)))

    assert decoded(frame) == {"good": [(0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0)]}
    assert [count for _, count in told] == [1, 2]
    assert "step 4611686018427387904 is no whole number" in told.pop(0)[0]
    assert "'bad\\n' is no key: 1 to 250 characters" in told[0][0]


@given(st.text(max_size=300) | st.text("a./ :-_", max_size=8))
def test_a_key_is_good_here_when_it_is_good_at_the_edge(key: str) -> None:
    try:
        limits.key("key", key)
    except InvalidField:
        assert key_problem(key)
    else:
        assert not key_problem(key)


def test_what_is_no_text_is_no_key() -> None:
    assert key_problem(3)


def never(seq: int) -> Frame:
    raise AssertionError(seq)


# The wire between an outbox and a server, one action at a time.
actions = st.lists(
    st.tuples(st.sampled_from(["add", "send", "receive", "ack", "lose ack", "cut"]), st.integers(1, 400)), max_size=200
)


class Line:
    """An outbox, a server that keeps frames as the contract says, and what is under way between them."""

    def __init__(self, window: int) -> None:
        self.outbox = Outbox(never)
        self.window = window
        self.under_way: list[Frame] = []
        self.kept: list[Frame] = []
        self.applied = 0
        self.unacked: dict[int, int] = {}
        self.outbox.reopen(0, window)

    def act(self, action: str, number: int) -> None:
        match action:
            case "add":
                self.outbox.add(Frame(columns=bytes(number), series=[SeriesHeader(key="k", count=1)]))
            case "send":
                if (frame := self.outbox.next()) is not None:
                    self.under_way.append(frame)
                    self.unacked[frame.seq] = frame.ByteSize()
            case "receive":
                if self.under_way:
                    self._receive(self.under_way.pop(0))
            case "ack":
                self.outbox.ack(len(self.kept))
                self.unacked = {seq: size for seq, size in self.unacked.items() if seq > len(self.kept)}
            case "lose ack":
                pass
            case "cut":
                self.under_way.clear()
                self.unacked.clear()
                self.applied = max(self.applied, min(len(self.kept), number % (len(self.kept) + 1)))
                self.outbox.reopen(self.applied, self.window)

    def _receive(self, frame: Frame) -> None:
        assert frame.seq <= len(self.kept) + 1, "a gap"
        if frame.seq == len(self.kept) + 1:
            self.kept.append(frame)


@given(actions, st.integers(1, 1_000))
@settings(UNHURRIED, max_examples=300)
def test_every_frame_is_kept_once_in_order_whatever_breaks(acts: list[tuple[str, int]], window: int) -> None:
    line = Line(window)
    for action, number in acts:
        line.act(action, number)
        assert sum(line.unacked.values()) <= window or len(line.unacked) == 1
    while line.outbox.size:
        for action in ("send", "receive", "ack"):
            line.act(action, 0)
    assert [frame.seq for frame in line.kept] == list(range(1, line.outbox.made + 1))
    assert line.outbox.acked == line.outbox.made
    assert not line.outbox.waiting
    assert line.outbox.points_kept() == 0


def test_an_acknowledgement_of_a_frame_never_made_is_noticed() -> None:
    outbox = Outbox(never)
    outbox.add(Frame())
    with pytest.raises(Overtaken, match="frame 2 was acknowledged, but 1 is the last one made"):
        outbox.ack(2)


def test_values_that_are_no_numbers_are_kept_as_they_are() -> None:
    (frame,) = make_frames([Block("k", (math.nan, math.inf, -math.inf, -0.0), range(4), [0] * 4)], Limits(10, 1_000))
    assert same(decoded(frame)["k"], [(0, 0, math.nan), (1, 0, math.inf), (2, 0, -math.inf), (3, 0, -0.0)])
