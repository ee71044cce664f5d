"""Metrics in: log-metric and log-batch, which logs params and tags too."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace.ingest.frames import FAR
from headrace.ingest.packing import packed
from headrace_gateway.mlflow import failures, runs, wire
from headrace_gateway.mlflow.calls import Calls
from headrace_gateway.mlflow.wire import Answer, Int64, Number, Request, Tag, Text

MOST_METRICS: Final = 1000
MOST_PARAMS: Final = 100
MOST_TAGS: Final = 100
MOST_TOGETHER: Final = 1000


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
