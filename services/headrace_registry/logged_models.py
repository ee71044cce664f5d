"""The logged models that versions are made of, as the tracking service knows them."""

from typing import TYPE_CHECKING, Final, cast

import grpc

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace_kit import rpc
from headrace_kit.auth import service_metadata
from headrace_kit.errors import InvalidField
from headrace_kit.telemetry import TRACEPARENT, Telemetry

if TYPE_CHECKING:
    from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

_TIMEOUT_S: Final = 5.0


class LoggedModels:
    """Asks tracking on behalf of a tenant."""

    def __init__(self, address: str, secret: str, telemetry: Telemetry) -> None:
        self._address = address
        self._secret = secret
        self._telemetry = telemetry
        self._channel: grpc.aio.Channel | None = None

    async def open(self) -> None:
        """The channel connects by itself, when first used."""
        self._channel = rpc.channel(self._address)

    async def close(self) -> None:
        """Closes the channel."""
        if self._channel is not None:
            await self._channel.close()

    async def get(self, tenant_id: str, model_id: str) -> tracking_pb2.LoggedModel:
        """Raises LOGGED_MODEL_NOT_FOUND naming `model_id`; AioRpcError, to be passed on, when tracking is away."""
        assert self._channel is not None  # noqa: S101 - opened by the runner before the first call
        tracking = cast("TrackingServiceAsyncStub", TrackingServiceStub(self._channel))
        metadata = service_metadata(self._secret, tenant_id)
        if traceparent := self._telemetry.traceparent():
            metadata = (*metadata, (TRACEPARENT, traceparent))
        request = pb.GetLoggedModelRequest(model_id=model_id)
        try:
            return (await tracking.GetLoggedModel(request, metadata=metadata, timeout=_TIMEOUT_S)).model
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            raise InvalidField(
                "model_id",
                f"no logged model has the id {model_id!r}",
                reason=error_reason_pb2.ERROR_REASON_LOGGED_MODEL_NOT_FOUND,
            ) from None
