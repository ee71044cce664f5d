"""Calls about metrics: the run is looked up here, the rest is the metric path's."""

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import tenancy
from headrace_tracking import lookup
from headrace_tracking.doors import RunAddress
from headrace_tracking.service.base import Calls, Context


class MetricCalls(Calls):
    """LogMetrics and GetMetricHistory."""

    async def LogMetrics(self, request: pb.LogMetricsRequest, context: Context) -> pb.LogMetricsResponse:
        address = await self._address(request.run_id, active=True)
        return pb.LogMetricsResponse(positions=await self._metrics.log(address, request.metrics))

    async def GetMetricHistory(
        self, request: pb.GetMetricHistoryRequest, context: Context
    ) -> pb.GetMetricHistoryResponse:
        address = await self._address(request.run_id, active=False)
        await self._visible(request.at_least, context)
        return await self._metrics.history(address, request)

    async def _address(self, run_id: str, *, active: bool) -> RunAddress:
        tenant_id = tenancy.caller().tenant_id
        async with self._db.tenant(tenant_id) as conn:
            return await lookup.run_address(conn, tenant_id, run_id, active=active)
