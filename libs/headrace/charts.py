"""Charts of metric series: what a line on so many pixels needs, and no more, however long the series is."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from headrace import errors
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.connection import Connection
from headrace.ingest.columns import milliseconds
from headrace.records import floats, integers

Axis = Literal["step", "time"]

_AXES: Final = {"step": wire.CHART_AXIS_STEP, "time": wire.CHART_AXIS_TIME}
_MOST_PIXELS: Final = 80_000  # of all series of a call
_MOST_RUNS: Final = 100
_MOST_KEYS: Final = 100


@dataclass(frozen=True, slots=True)
class MetricChart:
    """One series in buckets of equal width; an entry a bucket that holds points, by where it begins.

    Each column is an `array` of 8-byte items: `numpy.asarray(chart.maximums)` does not copy.
    """

    run_id: str
    key: str
    axis: Axis
    width: int
    """Of a bucket, in steps, or milliseconds where the axis is time."""
    starts: "array[int]" = field(repr=False)
    """Multiples of `width`: steps, or milliseconds since 1970-01-01 UTC."""
    counts: "array[int]" = field(repr=False)
    minimums: "array[float]" = field(repr=False)
    """NaN only where all values are NaN."""
    maximums: "array[float]" = field(repr=False)
    firsts: "array[float]" = field(repr=False)
    """The value of the first point by (time, step, value)."""
    lasts: "array[float]" = field(repr=False)

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of(cls, message: wire.MetricChart, axis: Axis) -> "MetricChart":
        """From the wire."""
        return cls(
            run_id=message.run_id,
            key=message.key,
            axis=axis,
            width=message.width,
            starts=integers(message.starts),
            counts=integers(message.counts),
            minimums=floats(message.minimums),
            maximums=floats(message.maximums),
            firsts=floats(message.firsts),
            lasts=floats(message.lasts),
        )


def read_charts(
    connection: Connection,
    run_ids: Sequence[str],
    keys: Sequence[str],
    pixels: int,
    axis: Axis,
    bounds: tuple[float | datetime | None, float | datetime | None],
) -> tuple[MetricChart, ...]:
    """By run and key, in as many calls as the limits of the server need; see `Client.metric_charts`."""
    if axis not in _AXES:
        raise errors.InvalidRequest(f"axis: must be 'step' or 'time', got {axis!r}")
    start, end = (_bound(name, axis, given) for name, given in zip(("start", "end"), bounds, strict=True))
    series = max(1, _MOST_PIXELS // max(1, pixels))
    found: dict[tuple[str, str], MetricChart] = {}
    for some_keys in _parts(keys, min(series, _MOST_KEYS)):
        for some_runs in _parts(run_ids, min(series // len(some_keys), _MOST_RUNS)):
            request = wire.GetMetricChartsRequest(
                run_ids=some_runs, keys=some_keys, axis=_AXES[axis], pixels=pixels, start=start, end=end
            )
            answer = connection.call(lambda c: c.tracking.GetMetricCharts, request)
            found |= {(one.run_id, one.key): MetricChart.of(one, axis) for one in answer.charts}
    return tuple(found[name] for name in ((run_id, key) for run_id in run_ids for key in keys) if name in found)


def _parts(names: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    return (names[at : at + most] for at in range(0, len(names), most))


def _bound(name: str, axis: Axis, given: float | datetime | None) -> int | None:
    if given is None:
        return None
    return time_ms(name, given) if axis == "time" else step(name, given)


def step(name: str, given: object) -> int:
    """A step as a bound. Raises InvalidRequest for what is none."""
    if not isinstance(given, int) or not -(2**63) <= given < 2**63:
        raise errors.InvalidRequest(f"{name}: must be a step, a whole number of 64 bits, got {given!r:.80}")
    return given


def time_ms(name: str, given: datetime | float) -> int:
    """A time as a bound, in milliseconds. Raises InvalidRequest for what is none."""
    try:
        return milliseconds(given)
    except (ValueError, TypeError) as error:
        raise errors.InvalidRequest(f"{name}: must be a datetime or seconds since 1970 ({error})") from None
