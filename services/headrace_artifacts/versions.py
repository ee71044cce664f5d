"""Whether a version of a registered model is made of a logged model, as the registry says."""

import grpc

from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from headrace_kit.auth import service_metadata
from headrace_kit.rpc import CHANNEL_OPTIONS

_TIMEOUT_S = 10.0


class Versions:
    """Asks the registry on behalf of a tenant; for threads."""

    def __init__(self, address: str, secret: str) -> None:
        self._secret = secret
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._stub = RegistryServiceStub(self._channel)

    def use(self, tenant_id: str, model_id: str) -> bool:
        """Whether there is a version of this logged model. Raises RpcError when the registry does not answer."""
        request = pb.ListModelVersionsRequest(model_id=model_id, page_size=1)
        metadata = service_metadata(self._secret, tenant_id)
        # A registry of an older release does not know the field, and answers with any version: that keeps the files.
        return bool(self._stub.ListModelVersions(request, metadata=metadata, timeout=_TIMEOUT_S).versions)

    def close(self) -> None:
        """Closes the channel; a call under way raises RpcError."""
        self._channel.close()
