"""Charts and ranges: whatever was written, however, they are what the whole history says."""

import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fix_charts import naive, narrowest, rows, within
from fix_metrics import Point
from fix_twins import Reader, Twin
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_tracking.merger.step import Merger
from headrace_tracking.writer.applier import connect

FAR = 2**63
STEPS = st.one_of(st.integers(-3, 40), st.integers(-FAR, FAR - 1), st.sampled_from([-FAR, FAR - 1, -1, 0]))
TIMES = st.one_of(st.integers(0, 9), st.integers(-FAR, FAR - 1))
AXES = {"step": pb.CHART_AXIS_STEP, "time": pb.CHART_AXIS_TIME}
VALUES = st.sampled_from([0.0, -0.0, 1.0, -2.5, math.nan, math.inf, -math.inf])
FEW = st.lists(st.tuples(TIMES, STEPS, VALUES), min_size=1, max_size=6)


@dataclass(frozen=True)
class Many:
    """More points than a chunk needs to keep bins, by a rule."""

    count: int
    first_step: int
    by: int
    every: int
    """How many points have the same step."""
    first_time: int
    back: bool
    """Steps go back in the middle."""
    values: int
    """0 without NaN, 1 with, 2 all."""

    def points(self) -> list[Point]:
        at = np.arange(self.count)
        steps = self.first_step + at // self.every * self.by
        if self.back:
            steps[self.count // 2 :] -= self.by * self.count // 4
        values = np.sin(at / 50.0) + at % 7
        values[:: (self.count, 3, 1)[self.values]] = math.nan
        return list(zip((self.first_time + at * 3).tolist(), steps.tolist(), values.tolist(), strict=True))


MANY = st.builds(
    Many,
    count=st.integers(2048, 2400),
    first_step=st.sampled_from([0, -700, 3000, FAR - 40_000, -FAR]),
    by=st.sampled_from([1, 1, 3, 0, 11]),
    every=st.sampled_from([1, 1, 5]),
    first_time=st.sampled_from([0, 0, 7_000, 9_000, 40_000, FAR - 20_000]),
    back=st.booleans(),
    values=st.sampled_from([0, 0, 1, 2]),
)
WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), FEW, st.booleans()),
        st.tuples(st.just("write"), MANY, st.booleans()),
        st.tuples(st.just("write"), MANY, st.booleans()),
        st.tuples(st.sampled_from(["merge", "forget"]), st.none(), st.just(value=False)),
    ),
    min_size=1,
    max_size=3,
)
BOUND = st.one_of(st.none(), st.none(), STEPS, st.integers(-800, 10_000))
LOOKS = st.lists(
    st.tuples(st.sampled_from(["step", "time"]), BOUND, BOUND, st.sampled_from([1, 2, 5, 9, 20, 30, 300])),
    min_size=1,
    max_size=2,
)


def test_charts_and_ranges_are_what_the_whole_history_says(database: str) -> None:
    with ExitStack() as stack:
        reader = Reader(database, stack)
        merger = Merger(stack.enter_context(closing(connect(database))), fewest=2)

        @settings(
            max_examples=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
            phases=[Phase.explicit, Phase.generate],  # making a failure smaller takes minutes here
        )
        @given(writes=WRITES, looks=LOOKS)
        def holds(
            writes: Sequence[tuple[str, Any, bool]], looks: Sequence[tuple[str, int | None, int | None, int]]
        ) -> None:
            with ExitStack() as own:
                twin = Twin(database, own, reader, noted=True)
                for kind, what, unary in writes:
                    if kind == "write":
                        twin.write(what.points() if isinstance(what, Many) else what, unary=unary)
                    elif kind == "merge":
                        merger.step()
                    else:
                        forget_bins(database, twin.run_id)
                everything = history(reader, twin.run_id)
                for axis, start, end, pixels in looks:
                    if end is None or (-FAR if start is None else start) < end:
                        check(reader, twin.run_id, everything, axis, start, end, pixels)

        holds()


def check(
    reader: Reader,
    run_id: uuid.UUID,
    everything: Sequence[Point],
    axis: str,
    start: int | None,
    end: int | None,
    pixels: int,
) -> None:
    expected = within(everything, axis, start, end)
    bounds = {"start_step": start, "end_step": end} if axis == "step" else {"start_time_ms": start, "end_time_ms": end}
    assert str(history(reader, run_id, bounds)) == str(expected)
    answer = reader.charts(
        pb.GetMetricChartsRequest(
            run_ids=[run_id.hex], keys=["loss"], axis=AXES[axis], start=start, end=end, pixels=pixels
        )
    )
    assert len(answer.charts) == bool(expected)
    for chart in answer.charts:
        assert chart.width == narrowest(everything, axis, start, end, pixels)
        assert rows(chart) == naive(expected, axis, chart.width)


def history(reader: Reader, run_id: uuid.UUID, bounds: Mapping[str, Any] = MappingProxyType({})) -> list[Point]:
    found: list[Point] = []
    token: str | None = None
    while token != "":
        page = reader.read(
            run_id, pb.GetMetricHistoryRequest(key="loss", page_size=1500, page_token=token or "", **bounds)
        )
        found += zip(page.time_ms, page.steps, page.values, strict=True)
        token = page.next_page_token
    return found


def forget_bins(database: str, run_id: uuid.UUID) -> None:
    """As an older release would have written the chunks."""
    with psycopg.connect(database) as conn:
        conn.execute(
            "UPDATE tracking.metric_chunks SET min_step = NULL, max_step = NULL, step_shift = NULL, step_bins = NULL,"
            " coarse_step_shift = NULL, coarse_step_bins = NULL, time_shift = NULL, time_bins = NULL,"
            " coarse_time_shift = NULL, coarse_time_bins = NULL WHERE run_id = %s",
            [run_id],
        )
