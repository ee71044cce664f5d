"""What a workspace holds, as the services say that keep it."""

from typing import TYPE_CHECKING, Final, cast

import grpc

from headrace.api.registry.v1 import registry_service_pb2
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from headrace.api.tracking.v1 import tracking_service_pb2
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace_kit import rpc
from headrace_kit.auth import service_metadata

if TYPE_CHECKING:
    from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub
    from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

_TIMEOUT_S: Final = 10.0
_DEFAULT_EXPERIMENT: Final = "0"
"""Every tenant has it: it holds nothing by being there."""


class Contents:
    """Asks tracking and the registry on behalf of a tenant."""

    def __init__(self, tracking: str, registry: str, secret: str) -> None:
        self._addresses = (tracking, registry)
        self._secret = secret
        self._channels: tuple[grpc.aio.Channel, ...] = ()

    async def open(self) -> None:
        """The channels connect by themselves, when first used."""
        self._channels = tuple(rpc.channel(address) for address in self._addresses)

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels:
            await channel.close()

    async def of(self, tenant_id: str) -> str:
        """One thing that the tenant has, in words; empty where it has no experiment, run or model, in the bin neither.

        A deleted model that was of no run is not seen. AioRpcError, to be passed on, when a service is away.
        """
        metadata = service_metadata(self._secret, tenant_id)
        return await self._of_tracking(metadata) or await self._of_registry(metadata)

    async def _of_tracking(self, metadata: tuple[tuple[str, str], ...]) -> str:
        tracking = cast("TrackingServiceAsyncStub", TrackingServiceStub(self._channels[0]))
        of_all = tracking_service_pb2.VIEW_TYPE_ALL
        experiments = await tracking.SearchExperiments(
            tracking_service_pb2.SearchExperimentsRequest(view_type=of_all, page_size=2),
            metadata=metadata,
            timeout=_TIMEOUT_S,
        )
        for experiment in experiments.experiments:
            if experiment.experiment_id != _DEFAULT_EXPERIMENT:
                return f"experiment {experiment.name!r}"
        in_default = [_DEFAULT_EXPERIMENT]
        runs = await tracking.SearchRuns(
            tracking_service_pb2.SearchRunsRequest(experiment_ids=in_default, view_type=of_all, page_size=1),
            metadata=metadata,
            timeout=_TIMEOUT_S,
        )
        for run in runs.runs:
            return f"run {run.run_id}"
        models = await tracking.SearchLoggedModels(
            tracking_service_pb2.SearchLoggedModelsRequest(experiment_ids=in_default, page_size=1),
            metadata=metadata,
            timeout=_TIMEOUT_S,
        )
        return f"logged model {models.models[0].model_id}" if models.models else ""

    async def _of_registry(self, metadata: tuple[tuple[str, str], ...]) -> str:
        registry = cast("RegistryServiceAsyncStub", RegistryServiceStub(self._channels[1]))
        request = registry_service_pb2.SearchModelsRequest(page_size=1)
        found = await registry.SearchModels(request, metadata=metadata, timeout=_TIMEOUT_S)
        return f"model {found.models[0].name!r}" if found.models else ""
