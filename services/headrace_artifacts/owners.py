"""Whether a run or model exists, as the tracking service says."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

import grpc

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace_kit import rpc
from headrace_kit.auth import service_metadata
from headrace_kit.errors import DomainError
from headrace_kit.telemetry import TRACEPARENT, Telemetry

if TYPE_CHECKING:
    from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

_TIMEOUT_S: Final = 5.0
_CACHE_S: Final = 5.0  # a folder of files asks once; a run deleted meanwhile may get a file more
_CACHE_MOST: Final = 10_000


class Owners:
    """Asks on behalf of a tenant; remembers for five seconds which owners are there, never which are not."""

    def __init__(
        self, address: str, secret: str, telemetry: Telemetry, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = address
        self._secret = secret
        self._telemetry = telemetry
        self._now = now
        self._channel: grpc.aio.Channel | None = None
        self._active: dict[tuple[str, str], float] = {}

    async def open(self) -> None:
        """The channel connects by itself, when first used."""
        self._channel = rpc.channel(self._address)

    async def close(self) -> None:
        """Closes the channel."""
        if self._channel is not None:
            await self._channel.close()

    async def check_exists(self, tenant_id: str, owner_id: str) -> None:
        """Raises AioRpcError, to be passed on: NOT_FOUND, or UNAVAILABLE when tracking is away."""
        await self._is_active(tenant_id, owner_id)

    async def check_active(self, tenant_id: str, owner_id: str) -> None:
        """As `check_exists`; raises DomainError NOT_ACTIVE for a deleted run."""
        if not await self._is_active(tenant_id, owner_id):
            raise DomainError(
                error_reason_pb2.ERROR_REASON_NOT_ACTIVE, f"run {owner_id} is deleted; restore it to give it files"
            )

    async def _is_active(self, tenant_id: str, owner_id: str) -> bool:
        now = self._now()
        if now - self._active.get((tenant_id, owner_id), -_CACHE_S) < _CACHE_S:
            return True
        active = await self._ask(tenant_id, owner_id)
        if active:
            if len(self._active) >= _CACHE_MOST:
                self._active.clear()
            self._active[tenant_id, owner_id] = now
        return active

    async def _ask(self, tenant_id: str, owner_id: str) -> bool:
        assert self._channel is not None  # noqa: S101 - opened by the runner before the first call
        tracking = cast("TrackingServiceAsyncStub", TrackingServiceStub(self._channel))
        metadata = service_metadata(self._secret, tenant_id)
        if traceparent := self._telemetry.traceparent():
            metadata = (*metadata, (TRACEPARENT, traceparent))
        if owner_id.startswith("m-"):
            await tracking.GetLoggedModel(
                pb.GetLoggedModelRequest(model_id=owner_id), metadata=metadata, timeout=_TIMEOUT_S
            )
            return True
        answer = await tracking.GetRun(pb.GetRunRequest(run_id=owner_id), metadata=metadata, timeout=_TIMEOUT_S)
        return answer.run.lifecycle_stage != tracking_pb2.LIFECYCLE_STAGE_DELETED
