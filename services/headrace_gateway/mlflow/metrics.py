"""Metrics in and out: log-metric, log-batch, and the four ways to a history."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

import grpc
import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace.ingest.frames import FAR
from headrace.ingest.packing import packed
from headrace_gateway.mlflow import failures, runs, wire
from headrace_gateway.mlflow.calls import TIMEOUT_S, Calls
from headrace_gateway.mlflow.sampling import thinned
from headrace_gateway.mlflow.wire import Answer, Int64, Number, Request, Tag, Text

MOST_METRICS: Final = 1000
MOST_PARAMS: Final = 100
MOST_TAGS: Final = 100
MOST_TOGETHER: Final = 1000
MOST_RUNS: Final = 100
MOST_SAMPLED: Final = 2500
MOST_BULK: Final = 25_000
_PAGE: Final = 100_000


class Metric(Request):
    """A point of log-batch."""

    key: Text
    value: Number
    timestamp: Int64
    step: Int64 = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogMetric(Metric, kw_only=True):
    """log-metric."""

    run_id: Text


class LogBatch(Request):
    """log-batch."""

    run_id: Text
    metrics: tuple[Metric, ...] = ()
    params: tuple[Tag, ...] = ()
    tags: tuple[Tag, ...] = ()


class History(Request):
    """get-history."""

    run_id: Text
    metric_key: Text
    max_results: Int64 | None = None
    page_token: str = ""


class Bulk(Request):
    """get-history-bulk."""

    metric_key: Text
    run_id: tuple[str, ...] = ()
    max_results: Int64 = MOST_BULK


class Interval(Request):
    """get-history-bulk-interval."""

    metric_key: Text
    run_ids: tuple[str, ...] = ()
    start_step: Int64 | None = None
    end_step: Int64 | None = None
    max_results: Int64 = MOST_SAMPLED


class Point(msgspec.Struct, gc=False):
    """As it is answered."""

    key: str
    value: Number
    timestamp: int
    step: int


class PointOfRun(Point, gc=False):
    """As it is answered where several runs are asked for."""

    run_id: str


class Columns(NamedTuple):
    """Points of one series."""

    times: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, which: slice | NDArray[np.intp]) -> "Columns":
        """Some of them."""
        return Columns(self.times[which], self.steps[which], self.values[which])


async def log_metric(calls: Calls, request: LogMetric) -> Answer:
    """Answered when the point is visible."""
    run = runs.run_id(request.run_id)
    await _log(calls, run, [request], "value")
    await _log_of_models(calls, run, [request])
    return {}


async def log_batch(calls: Calls, request: LogBatch) -> Answer:
    """Params, then metrics, then tags. Answered when all are visible; a batch that is too large writes nothing."""
    _check_sizes(request)
    run = runs.run_id(request.run_id)
    if request.params:
        params = {one.key: one.value[: runs.PARAM_VALUE] for one in request.params}
        await runs.on_run(calls, run, calls.to.tracking.LogParams, pb.LogParamsRequest(run_id=run, params=params))
    if request.metrics:
        await _log(calls, run, request.metrics, "metrics[{}].value")
        await _log_of_models(calls, run, request.metrics)
    if request.tags:
        tags = {one.key: one.value[: runs.TAG_VALUE] for one in request.tags}
        await runs.on_run(calls, run, calls.to.tracking.SetRunTags, pb.SetRunTagsRequest(run_id=run, tags=tags))
    if not (request.params or request.metrics or request.tags):
        await runs.on_run(calls, run, calls.to.tracking.GetRun, pb.GetRunRequest(run_id=run))
    return {}


async def history(calls: Calls, request: History) -> Answer:
    """All points by (time, step, value), or a page of them; none for a key that was never logged."""
    run = runs.run_id(request.run_id)
    size = request.max_results
    if size is not None and size <= 0:
        raise failures.invalid(
            f"Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer."
        )
    if size is None and not request.page_token:
        found = await _all(calls, run, request.metric_key)
        return wire.without_empty({"metrics": _points(request.metric_key, found)})
    asked = pb.GetMetricHistoryRequest(
        run_id=run, key=request.metric_key, page_size=min(size or _PAGE, _PAGE), page_token=request.page_token
    )
    page = await runs.on_run(calls, run, calls.to.tracking.GetMetricHistory, asked)
    values = [wire.number(value) for value in page.values]
    points = list(map(Point, [request.metric_key] * len(values), values, page.time_ms, page.steps))
    return wire.without_empty({"metrics": points, "next_page_token": page.next_page_token})


async def bulk(calls: Calls, request: Bulk) -> Answer:
    """The histories of several runs, one after the other by run id, cut off at a number of points in all."""
    if not request.run_id:
        raise failures.invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    _check_runs("GetMetricHistoryBulk", "cannot specify more than", request.run_id)
    left = min(request.max_results, MOST_BULK)
    if left <= 0:
        raise failures.unusable("max_results", request.max_results, "it must be a positive integer.")
    found: list[PointOfRun] = []
    for run in sorted(set(request.run_id)):
        columns = await _all(calls, runs.run_id(run), request.metric_key)
        found += _points_of(run, request.metric_key, columns.at(slice(left)))
        left = min(request.max_results, MOST_BULK) - len(found)
        if not left:
            break
    return {"metrics": found}


async def interval(calls: Calls, request: Interval) -> Answer:
    """Of each run at most so many points, by (step, time, value): with the least and the greatest of each stretch."""
    if not request.run_ids:
        raise failures.missing("run_ids")
    _check_runs("GetMetricHistoryBulkInterval", "must specify at most", request.run_ids)
    if not 0 < request.max_results <= MOST_SAMPLED:
        raise failures.invalid(f"max_results must be between 1 and {MOST_SAMPLED}.")
    if (request.start_step is None) != (request.end_step is None):
        raise failures.invalid("If either start step or end step are specified, both must be specified.")
    start, end = request.start_step, request.end_step
    if start is not None and end is not None and start > end:
        raise failures.invalid(
            f"end_step must be greater than start_step. Found start_step={start} and end_step={end}."
        )
    found: list[PointOfRun] = []
    for run in dict.fromkeys(request.run_ids):
        columns = await _all(calls, runs.run_id(run), request.metric_key)
        ordered = columns.at(np.lexsort((columns.values, columns.times, columns.steps)))
        if start is not None and end is not None:
            first, behind = np.searchsorted(ordered.steps, [start, end + 1])
            ordered = ordered.at(slice(first, behind))
        found += _points_of(run, request.metric_key, ordered.at(thinned(ordered.values, request.max_results)))
    return wire.without_empty({"metrics": found})


def _check_sizes(request: LogBatch) -> None:
    sizes = {"metrics": len(request.metrics), "params": len(request.params), "tags": len(request.tags)}
    most = {"metrics": MOST_METRICS, "params": MOST_PARAMS, "tags": MOST_TAGS}
    for name, size in sizes.items():
        if size > most[name]:
            raise failures.invalid(
                f"A batch logging request can contain at most {most[name]} {name}. Got {size} {name}."
                f" Please split up {name} across multiple requests and try again."
            )
    together = sum(sizes.values())
    if together > MOST_TOGETHER:
        raise failures.invalid(
            f"A batch logging request can contain at most {MOST_TOGETHER} metrics, params, and tags in total."
            f" Got {together}."
        )
    twice = sorted(key for key, count in Counter(one.key for one in request.params).items() if count > 1)
    if twice:
        raise failures.invalid(f"Duplicate parameter keys have been submitted: {', '.join(twice)}. Send each once.")


def _check_runs(name: str, verb: str, run_ids: Sequence[str]) -> None:
    if len(run_ids) > MOST_RUNS:
        raise failures.invalid(f"{name} request {verb} {MOST_RUNS} run_ids. Received {len(run_ids)} run_ids.")


async def _log(calls: Calls, run: str, points: Sequence[Metric], where: str) -> None:
    """`where` the value of the point of a number stands in the request."""
    request = pb.LogMetricsRequest(run_id=run, until_visible=True)
    series: dict[str, tuple[list[int], list[int], list[float]]] = {}
    for at, point in enumerate(points):
        if not (-FAR < point.step < FAR and -FAR < point.timestamp < FAR):
            raise failures.unusable(
                where.format(at), point.step, f"step and timestamp must lie between -{FAR} and {FAR}."
            )
        value = point.value
        columns = series.get(point.key)
        if columns is None:
            columns = series[point.key] = ([], [], [])
        columns[0].append(point.step)
        columns[1].append(point.timestamp)
        columns[2].append(value if isinstance(value, float) else wire.double(where.format(at), value))
    for key, columns in series.items():
        request.frame.series.add(key=key, count=len(columns[0]))
    request.frame.columns = packed(*zip(*series.values(), strict=True))
    await runs.on_run(calls, run, calls.to.tracking.LogMetrics, request)


async def _log_of_models(calls: Calls, run: str, metrics: Sequence[Metric]) -> None:
    """Those that were measured of logged models are also kept with these."""
    measured = [
        pb.MeasuredModel(
            model_id=one.model_id,
            metric=tracking_pb2.ModelMetric(
                key=one.key,
                value=wire.double("value", one.value),
                step=one.step,
                time_ms=one.timestamp,
                dataset_name=one.dataset_name,
                dataset_digest=one.dataset_digest,
            ),
        )
        for one in metrics
        if one.model_id
    ]
    if measured:
        request = pb.LogLoggedModelMetricsRequest(run_id=run, metrics=measured)
        await runs.on_run(calls, run, calls.to.tracking.LogLoggedModelMetrics, request)


async def _all(calls: Calls, run: str, key: str) -> Columns:
    """The whole series by (time, step, value)."""
    blocks = [block async for block in _blocks(calls, run, key)]
    return Columns(
        np.concatenate([np.frombuffer(block.time_ms, "<i8") for block in blocks] or [np.empty(0, np.int64)]),
        np.concatenate([np.frombuffer(block.steps, "<i8") for block in blocks] or [np.empty(0, np.int64)]),
        np.concatenate([np.frombuffer(block.values, "<f8") for block in blocks] or [np.empty(0)]),
    )


async def _blocks(calls: Calls, run: str, key: str) -> AsyncIterator[metrics_pb2.MetricBlock]:
    request = pb.ReadMetricsRequest(run_ids=[run], keys=[key])
    stream = calls.to.tracking.ReadMetrics(request, metadata=calls.metadata, timeout=TIMEOUT_S)
    try:
        async for response in stream:
            yield response.block
    except grpc.aio.AioRpcError as error:
        raise runs.named(failures.of_call(error), run) from None


def _points(key: str, columns: Columns) -> list[Point]:
    times, steps, values = columns
    return list(map(Point, [key] * len(times), _numbers(values), times.tolist(), steps.tolist()))


def _points_of(run: str, key: str, columns: Columns) -> list[PointOfRun]:
    times, steps, values = columns
    count = len(times)
    return list(map(PointOfRun, [key] * count, _numbers(values), times.tolist(), steps.tolist(), [run] * count))


def _numbers(values: NDArray[np.float64]) -> Sequence[Number]:
    plain: list[float] = values.tolist()
    return plain if np.isfinite(values).all() else [wire.number(value) for value in plain]
