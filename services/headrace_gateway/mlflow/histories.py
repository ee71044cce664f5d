"""Metrics out: the whole of a series, pages of it, those of several runs, and samples."""

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

import grpc
import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response, StreamingResponse

from headrace.api.tracking.v1 import metrics_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_gateway.mlflow import failures, runs, wire
from headrace_gateway.mlflow.calls import TIMEOUT_S, Calls
from headrace_gateway.mlflow.sampling import thinned
from headrace_gateway.mlflow.wire import Answer, Int64, Number, Request, Text

MOST_RUNS: Final = 100
MOST_SAMPLED: Final = 2500
MOST_BULK: Final = 25_000
_PAGE: Final = 100_000
_LAST_STEP: Final = 2**63 - 1


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

    def at(self, which: NDArray[np.intp]) -> "Columns":
        """Some of them."""
        return Columns(self.times[which], self.steps[which], self.values[which])


async def history(calls: Calls, request: History) -> Answer | Response:
    """All points by (time, step, value), or a page of them; none for a key that was never logged."""
    run = runs.run_id(request.run_id)
    size = request.max_results
    if size is not None and size <= 0:
        raise failures.invalid(
            f"Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer."
        )
    if size is None and not request.page_token:
        return await _streamed(calls, run, request.metric_key)
    asked = pb.GetMetricHistoryRequest(
        run_id=run, key=request.metric_key, page_size=min(size or _PAGE, _PAGE), page_token=request.page_token
    )
    page = await runs.on_run(calls, run, calls.to.tracking.GetMetricHistory, asked)
    points = list(map(Point, [request.metric_key] * len(page.values), _numbers(page.values), page.time_ms, page.steps))
    return wire.without_empty({"metrics": points, "next_page_token": page.next_page_token})


async def bulk(calls: Calls, request: Bulk) -> Answer:
    """The histories of several runs, one after the other by run id, cut off at a number of points in all."""
    if not request.run_id:
        raise failures.invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    _check_runs("GetMetricHistoryBulk", "cannot specify more than", request.run_id)
    most = min(request.max_results, MOST_BULK)
    if most <= 0:
        raise failures.unusable("max_results", request.max_results, "it must be a positive integer.")
    found: list[PointOfRun] = []
    for run in sorted(set(request.run_id)):
        asked = pb.GetMetricHistoryRequest(run_id=runs.run_id(run), key=request.metric_key, page_size=most - len(found))
        page = await runs.on_run(calls, run, calls.to.tracking.GetMetricHistory, asked)
        found += _of_run(run, request.metric_key, page.time_ms, page.steps, page.values)
        if len(found) == most:
            break
    return {"metrics": found}


async def interval(calls: Calls, request: Interval) -> Answer:
    """Of each run at most so many points, by (step, time, value): with the least and the greatest of each stretch."""
    if not request.run_ids:
        raise failures.missing("run_ids")
    _check_runs("GetMetricHistoryBulkInterval", "must specify at most", request.run_ids)
    if not 0 < request.max_results <= MOST_SAMPLED:
        raise failures.invalid(f"max_results must be between 1 and {MOST_SAMPLED}.")
    steps = _steps(request)
    # GetMetricCharts reads less, but its bins know the values of the least and the greatest, not their steps and times.
    found: list[PointOfRun] = []
    for run in dict.fromkeys(request.run_ids):
        number = runs.run_id(run)
        columns = await (
            _all(calls, number, request.metric_key)
            if steps is None
            else _between(calls, number, request.metric_key, steps)
        )
        ordered = columns.at(np.lexsort((columns.values, columns.times, columns.steps)))
        kept = ordered.at(thinned(ordered.values, request.max_results))
        found += _of_run(run, request.metric_key, kept.times.tolist(), kept.steps.tolist(), kept.values.tolist())
    return wire.without_empty({"metrics": found})


def _steps(request: Interval) -> tuple[int, int] | None:
    """The first step and the last; None for all. Raises Failure."""
    start, end = request.start_step, request.end_step
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise failures.invalid("If either start step or end step are specified, both must be specified.")
    if start > end:
        raise failures.invalid(
            f"end_step must be greater than start_step. Found start_step={start} and end_step={end}."
        )
    return start, end


def _check_runs(name: str, verb: str, run_ids: Sequence[str]) -> None:
    if len(run_ids) > MOST_RUNS:
        raise failures.invalid(f"{name} request {verb} {MOST_RUNS} run_ids. Received {len(run_ids)} run_ids.")


async def _streamed(calls: Calls, run: str, key: str) -> Answer | Response:
    """A long series part by part: other requests are answered in between, and no part of it is kept here."""
    blocks = aiter(_blocks(calls, run, key))
    first = await anext(blocks, None)  # what is wrong is told before the answer begins
    if first is None:
        return {}

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"metrics":' + _encoded(first, key)[:-1]
        async for block in blocks:
            yield b"," + _encoded(block, key)[1:-1]
        yield b"]}"

    return StreamingResponse(parts(), media_type=wire.JSON)


def _encoded(block: metrics_pb2.MetricBlock, key: str) -> bytes:
    """A JSON list."""
    times, steps, values = _columns([block])
    points = map(Point, [key] * len(times), _numbers(values.tolist()), times.tolist(), steps.tolist())
    return wire.encode(list(points))


async def _all(calls: Calls, run: str, key: str) -> Columns:
    """The whole series by (time, step, value)."""
    return _columns([block async for block in _blocks(calls, run, key)])


async def _between(calls: Calls, run: str, key: str, steps: tuple[int, int]) -> Columns:
    """The points from the first of these steps to the last."""
    asked = pb.GetMetricHistoryRequest(run_id=run, key=key, page_size=_PAGE, start_step=steps[0])
    if steps[1] < _LAST_STEP:
        asked.end_step = steps[1] + 1
    found: list[Columns] = []
    while True:
        page = await runs.on_run(calls, run, calls.to.tracking.GetMetricHistory, asked)
        found.append(
            Columns(np.array(page.time_ms, np.int64), np.array(page.steps, np.int64), np.array(page.values, np.float64))
        )
        if not page.next_page_token:
            return Columns(*map(np.concatenate, zip(*found, strict=True)))
        asked.page_token = page.next_page_token


async def _blocks(calls: Calls, run: str, key: str) -> AsyncIterator[metrics_pb2.MetricBlock]:
    request = pb.ReadMetricsRequest(run_ids=[run], keys=[key])
    stream = calls.to.tracking.ReadMetrics(request, metadata=calls.metadata, timeout=TIMEOUT_S)
    try:
        async for response in stream:
            yield response.block
    except grpc.aio.AioRpcError as error:
        raise runs.named(failures.of_call(error), run) from None
    finally:
        stream.cancel()


def _columns(blocks: Sequence[metrics_pb2.MetricBlock]) -> Columns:
    return Columns(
        np.frombuffer(b"".join(block.time_ms for block in blocks), "<i8"),
        np.frombuffer(b"".join(block.steps for block in blocks), "<i8"),
        np.frombuffer(b"".join(block.values for block in blocks), "<f8"),
    )


def _of_run(
    run: str, key: str, times: Sequence[int], steps: Sequence[int], values: Sequence[float]
) -> list[PointOfRun]:
    count = len(times)
    return list(map(PointOfRun, [key] * count, _numbers(values), times, steps, [run] * count))


def _numbers(values: Sequence[float]) -> Sequence[Number]:
    return values if np.isfinite(values).all() else [wire.number(value) for value in values]
