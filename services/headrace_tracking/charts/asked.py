"""What a request for charts asks for; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit.errors import InvalidField
from headrace_tracking import limits
from headrace_tracking.store.charts import Axis

_AXES: Final[dict[int, Axis]] = {
    pb.CHART_AXIS_UNSPECIFIED: "step",
    pb.CHART_AXIS_STEP: "step",
    pb.CHART_AXIS_TIME: "time",
}
_MOST_KEYS: Final = 100
_PIXELS: Final = 1_000
_MOST_PIXELS: Final = 10_000
_MOST_PIXELS_OF_ALL: Final = 80_000
"""Each may become two buckets of 48 bytes: 7.7 of the 8 MiB that a message of gRPC may have."""


@dataclass(frozen=True, slots=True)
class AskedCharts:
    """A request that may be answered."""

    run_ids: Sequence[UUID]
    keys: Sequence[str]
    axis: Axis
    first: int
    """Of the steps or times that count; all from here to `last`."""
    last: int
    pixels: int


def asked_charts(request: pb.GetMetricChartsRequest) -> AskedCharts:
    """What this asks for. Raises InvalidField naming the field and the limit."""
    run_ids = limits.run_ids(request.run_ids)
    limits.count("keys", request.keys, _MOST_KEYS, least=1)
    keys = [limits.key(f"keys[{at}]", one) for at, one in enumerate(request.keys)]
    if not 0 <= request.pixels <= _MOST_PIXELS:
        raise InvalidField("pixels", f"must be 1 to {_MOST_PIXELS:,}, or 0 for {_PIXELS:,}, got {request.pixels:,}")
    pixels = request.pixels or _PIXELS
    everything = len(run_ids) * len(keys) * pixels
    if everything > _MOST_PIXELS_OF_ALL:
        raise InvalidField(
            "pixels",
            f"run_ids times keys times pixels may be {_MOST_PIXELS_OF_ALL:,}, got {len(run_ids)} x {len(keys)} x"
            f" {pixels:,} = {everything:,}: ask for fewer at once",
        )
    if request.axis not in _AXES:
        raise InvalidField("axis", f"must be CHART_AXIS_STEP or CHART_AXIS_TIME, got {request.axis}")
    first, last = limits.span(
        ("start", request.start if request.HasField("start") else None),
        ("end", request.end if request.HasField("end") else None),
    )
    return AskedCharts(
        list(dict.fromkeys(run_ids)), list(dict.fromkeys(keys)), _AXES[request.axis], first, last, pixels
    )
