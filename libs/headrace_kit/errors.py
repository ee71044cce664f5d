"""The errors a service answers with, and the one table from reason to gRPC code.

    DomainError
     +-- InvalidField        a field of the request, named with its limit
     +-- NotFound            also for what another tenant owns
     +-- everything else     by its reason, see `CODES`

`rpc.Edge` turns them into a status with `google.rpc.Status` details (AIP-193); the inverse is `headrace.errors`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from typing_extensions import override

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.common.v1.error_reason_pb2 import ErrorReason

DOMAIN: Final = "headrace"
_PREFIX: Final = "ERROR_REASON_"
_MOST_BYTES: Final = 800

CODES: Final[Mapping[ErrorReason, grpc.StatusCode]] = MappingProxyType(
    {
        error_reason_pb2.ERROR_REASON_INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
        error_reason_pb2.ERROR_REASON_INVALID_PAGE_TOKEN: grpc.StatusCode.INVALID_ARGUMENT,
        error_reason_pb2.ERROR_REASON_INVALID_FILTER: grpc.StatusCode.INVALID_ARGUMENT,
        error_reason_pb2.ERROR_REASON_PARAM_CONFLICT: grpc.StatusCode.INVALID_ARGUMENT,
        error_reason_pb2.ERROR_REASON_DIGEST_MISMATCH: grpc.StatusCode.INVALID_ARGUMENT,
        error_reason_pb2.ERROR_REASON_UPLOAD_TRUNCATED: grpc.StatusCode.INVALID_ARGUMENT,
        error_reason_pb2.ERROR_REASON_EXPERIMENT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_LOGGED_MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_ARTIFACT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_MODEL_VERSION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_ALIAS_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_DEPLOYMENT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_TENANT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_TOKEN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_TAG_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_WORKSPACE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_WEBHOOK_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_UPLOAD_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        error_reason_pb2.ERROR_REASON_METHOD_NOT_FOUND: grpc.StatusCode.UNIMPLEMENTED,
        error_reason_pb2.ERROR_REASON_EXPERIMENT_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        error_reason_pb2.ERROR_REASON_RUN_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        error_reason_pb2.ERROR_REASON_MODEL_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        error_reason_pb2.ERROR_REASON_TENANT_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        error_reason_pb2.ERROR_REASON_ARTIFACT_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        error_reason_pb2.ERROR_REASON_LOGGED_MODEL_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        error_reason_pb2.ERROR_REASON_WORKSPACE_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        error_reason_pb2.ERROR_REASON_NOT_ACTIVE: grpc.StatusCode.FAILED_PRECONDITION,
        error_reason_pb2.ERROR_REASON_WRONG_STATE: grpc.StatusCode.FAILED_PRECONDITION,
        error_reason_pb2.ERROR_REASON_MODEL_NOT_SERVABLE: grpc.StatusCode.FAILED_PRECONDITION,
        error_reason_pb2.ERROR_REASON_ETAG_MISMATCH: grpc.StatusCode.ABORTED,
        error_reason_pb2.ERROR_REASON_TOKEN_MISSING: grpc.StatusCode.UNAUTHENTICATED,
        error_reason_pb2.ERROR_REASON_TOKEN_INVALID: grpc.StatusCode.UNAUTHENTICATED,
        error_reason_pb2.ERROR_REASON_ROLE_TOO_LOW: grpc.StatusCode.PERMISSION_DENIED,
        error_reason_pb2.ERROR_REASON_OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        error_reason_pb2.ERROR_REASON_STORE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
        error_reason_pb2.ERROR_REASON_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
        error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        error_reason_pb2.ERROR_REASON_DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
        error_reason_pb2.ERROR_REASON_DATA_LOST: grpc.StatusCode.DATA_LOSS,
        error_reason_pb2.ERROR_REASON_INTERNAL: grpc.StatusCode.INTERNAL,
    }
)


class DomainError(Exception):
    """An error that the caller can understand and act on. The message says what was wrong, where, what to do."""

    def __init__(
        self,
        reason: ErrorReason,
        message: str,
        *,
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.reason = reason
        self.message = _told(message)
        super().__init__(self.message)
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code that goes with the reason."""
        return CODES[self.reason]

    def details(self) -> list[any_pb2.Any]:
        """`google.rpc` details: one ErrorInfo, and what else fits."""
        info = error_details_pb2.ErrorInfo(reason=reason_text(self.reason), domain=DOMAIN, metadata=self.metadata)
        packed = [_pack(info)]
        if self.retry_after_s is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(round(self.retry_after_s * 1e9))
            packed.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
        return packed


class InvalidField(DomainError):  # noqa: N818 - reads as what it is where it is raised
    """A field of the request is not acceptable.

    `field` is its path in the request ("tags[3].key"), `problem` what is wrong with it, with the limit.
    """

    def __init__(self, field: str, problem: str, *, reason: ErrorReason | None = None) -> None:
        super().__init__(reason or error_reason_pb2.ERROR_REASON_INVALID_FIELD, f"{field}: {problem}")
        self.field = _told(field)
        self.problem = _told(problem)

    @override
    def details(self) -> list[any_pb2.Any]:
        """Adds a BadRequest that names the field."""
        violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.problem)
        return [*super().details(), _pack(error_details_pb2.BadRequest(field_violations=[violation]))]


def status_of(error: DomainError) -> status_pb2.Status:
    """The error as it goes over the wire."""
    number = code_pb2.Code.Value(error.code.name)
    return status_pb2.Status(code=number, message=error.message, details=error.details())


def reason_text(reason: ErrorReason) -> str:
    """The reason as it stands in ErrorInfo: "RUN_NOT_FOUND"."""
    return ErrorReason.Name(reason).removeprefix(_PREFIX)


def _told(text: str) -> str:
    """The text, cut where it is too long: a status travels in the trailers of a call, three times over, and gRPC takes 8 KiB
    of them by default. What quotes a value of the caller's may be as long as that.
    """
    encoded = text.encode("utf-8", "replace")  # a lone surrogate has no place in a message of protobuf
    return encoded.decode() if len(encoded) <= _MOST_BYTES else encoded[:_MOST_BYTES].decode("utf-8", "ignore") + "..."


def _pack(
    message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
