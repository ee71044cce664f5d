"""Answers URLs that carry a ticket of the artifacts service: who has one needs no other credentials.

GET /signed/<ticket> reads a file, PUT stores one, PUT /signed/<ticket>/<number> stores a part of one.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.artifacts import owner_of
from headrace_gateway.mlflow import artifacts
from headrace_gateway.mlflow.artifacts import Place
from headrace_gateway.mlflow.calls import Calls, Stubs
from headrace_gateway.mlflow.door import answered
from headrace_gateway.mlflow.failures import Failure
from headrace_kit import tickets
from headrace_kit.auth import service_metadata
from headrace_kit.tickets import Purpose

_NO_NUMBER: Final = 2**31 - 1  # the largest of the RPC, and no part's


class SignedDoor:
    """Calls the artifacts service in the name of a ticket's tenant."""

    def __init__(self, stubs: Stubs, secret: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._stubs = stubs
        self._secret = secret
        self._now = now

    async def file(self, request: Request) -> Response:
        """Reads or stores a file."""
        return await answered(request, self._store(request) if request.method == "PUT" else self._read(request))

    async def part(self, request: Request) -> Response:
        """Stores a part; its ETag is what completes the upload."""
        return await answered(request, self._store_part(request))

    async def _read(self, request: Request) -> Response:
        calls, (artifact_id,) = self._calls(request, "read")
        return await artifacts.sent_by(calls, pb.DownloadArtifactRequest(artifact_id=artifact_id), request.headers)

    async def _store(self, request: Request) -> Response:
        calls, (owner_id, path, media_type) = self._calls(request, "write")
        stored = await artifacts.store(calls, Place(owner_of(owner_id), path), request.stream(), media_type)
        return Response(status_code=200, headers={"etag": artifacts.etag(stored)})

    async def _store_part(self, request: Request) -> Response:
        calls, (upload_id,) = self._calls(request, "part")
        number = min(request.path_params["number"], _NO_NUMBER)
        stored = await artifacts.store_part(calls, upload_id, number, request.stream())
        return Response(status_code=200, headers={"etag": f'"{stored}"'})

    def _calls(self, request: Request, purpose: Purpose) -> tuple[Calls, tuple[str, ...]]:
        """In the name of the ticket's tenant, and what the ticket names. Raises Failure."""
        try:
            ticket = tickets.redeem(self._secret, request.path_params["ticket"], purpose, self._now())
        except ValueError as error:
            raise Failure("PERMISSION_DENIED", f"The signature in this URL does not count: {error}.") from None
        return Calls(self._stubs, service_metadata(self._secret, ticket.tenant_id)), ticket.names
