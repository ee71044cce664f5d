"""Calls about metrics: the run is looked up here, the rest is the metric path's."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from uuid import UUID

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import tenancy
from headrace_tracking import limits, lookup
from headrace_tracking.charts.asked import asked_charts
from headrace_tracking.doors import Asked, RunAddress
from headrace_tracking.service.base import Calls, Context


class MetricCalls(Calls):
    """Metrics of runs: in, and out in four ways."""

    async def LogMetrics(self, request: pb.LogMetricsRequest, context: Context) -> pb.LogMetricsResponse:
        address = await self._address(request.run_id, active=True)
        if request.HasField("frame"):
            limits.count("metrics", request.metrics, 0)
            positions = await self._metrics.log_frame(address, request.frame)
        else:
            positions = await self._metrics.log(address, request.metrics)
        if request.until_visible:
            await self._visible(positions, context)
        return pb.LogMetricsResponse(positions=positions)

    async def GetMetricHistory(
        self, request: pb.GetMetricHistoryRequest, context: Context
    ) -> pb.GetMetricHistoryResponse:
        address = await self._address(request.run_id, active=False)
        await self._visible(request.at_least, context)
        return await self._metrics.history(address, request)

    async def GetMetricCharts(self, request: pb.GetMetricChartsRequest, context: Context) -> pb.GetMetricChartsResponse:
        wanted = asked_charts(request)
        tenant_id = await self._known(wanted.run_ids)
        await self._visible(request.at_least, context)
        return await self._metrics.charts(tenant_id, wanted)

    async def ReadMetrics(
        self, request: pb.ReadMetricsRequest, context: Context
    ) -> AsyncIterator[pb.ReadMetricsResponse]:
        asked = await self._asked(request.run_ids, request.keys)
        await self._visible(request.at_least, context)
        async for response in self._metrics.read(asked):
            yield response

    async def WatchMetrics(
        self, request: pb.WatchMetricsRequest, context: Context
    ) -> AsyncIterator[pb.WatchMetricsResponse]:
        async for response in self._metrics.watch(await self._asked(request.run_ids, request.keys)):
            yield response

    async def _asked(self, run_ids: Sequence[str], keys: Sequence[str]) -> Asked:
        """Raises InvalidField, or RUN_NOT_FOUND for the first run that is not there."""
        wanted = list(dict.fromkeys(limits.run_ids(run_ids)))
        limits.count("keys", keys, limits.KEYS_READ)
        for index, key in enumerate(keys):
            limits.key(f"keys[{index}]", key)
        return Asked(await self._known(wanted), wanted, keys)

    async def _known(self, run_ids: Sequence[UUID]) -> str:
        """The tenant, which has all these runs. Raises RUN_NOT_FOUND for the first that it has not."""
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            await lookup.check_runs(conn, run_ids)
        return tenant_id

    async def ExportMetrics(
        self, request: pb.ExportMetricsRequest, context: Context
    ) -> AsyncGenerator[pb.ExportMetricsResponse, None]:
        address = await self._address(request.run_id, active=False)
        await self._visible(request.at_least, context)
        async with aclosing(self._metrics.export(address)) as parts:
            async for part in parts:
                yield (
                    pb.ExportMetricsResponse(size_bytes=part)
                    if isinstance(part, int)
                    else pb.ExportMetricsResponse(part=part)
                )

    async def _address(self, run_id: str, *, active: bool) -> RunAddress:
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            return await lookup.run_address(conn, tenant_id, run_id, active=active)
