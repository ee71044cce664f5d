"""Errors as MLflow's clients know them: a code, a status, and texts that clients and their tests match."""

from collections.abc import Mapping
from typing import Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from headrace_kit import rpc

STATUSES: Final[Mapping[str, int]] = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "DATA_LOSS": 500,
    "INTERNAL_ERROR": 500,
    "INVALID_STATE": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Code → HTTP status."""
_CODES: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_PARAMETER_VALUE",
    grpc.StatusCode.OUT_OF_RANGE: "INVALID_PARAMETER_VALUE",
    grpc.StatusCode.FAILED_PRECONDITION: "INVALID_PARAMETER_VALUE",
    grpc.StatusCode.NOT_FOUND: "RESOURCE_DOES_NOT_EXIST",
    grpc.StatusCode.ALREADY_EXISTS: "RESOURCE_ALREADY_EXISTS",
    grpc.StatusCode.ABORTED: "RESOURCE_CONFLICT",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    grpc.StatusCode.PERMISSION_DENIED: "PERMISSION_DENIED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "REQUEST_LIMIT_EXCEEDED",
    grpc.StatusCode.UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.UNIMPLEMENTED: "NOT_IMPLEMENTED",
    grpc.StatusCode.DATA_LOSS: "DATA_LOSS",
}
_SEE_DOCS: Final = "See the API docs for more information about request parameters."


class Failure(Exception):  # noqa: N818 - an answer, not a defect
    """What the client is answered: one of MLflow's codes, and a text."""

    def __init__(self, code: str, message: str, *, retry_after_s: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.reason = reason
        """Of the service behind, such as "RUN_NOT_FOUND"; empty where the gateway itself refuses."""

    def said(self, message: str) -> "Failure":
        """The same in other words."""
        return Failure(self.code, message, retry_after_s=self.retry_after_s, reason=self.reason)


def invalid(message: str) -> Failure:
    """The request asks for what cannot be."""
    return Failure("INVALID_PARAMETER_VALUE", message)


def missing(parameter: str) -> Failure:
    """A field that must be there is not, or is empty."""
    return invalid(f"Missing value for required parameter '{parameter}'. {_SEE_DOCS}")


def unusable(parameter: str, value: object, hint: str) -> Failure:
    """A field has a value that it cannot have."""
    return invalid(f"Invalid value {_short(value)} for parameter '{parameter}' supplied: {hint} {_SEE_DOCS}")


def absent(message: str) -> Failure:
    """There is no such resource."""
    return Failure("RESOURCE_DOES_NOT_EXIST", message)


def of_call(error: grpc.aio.AioRpcError) -> Failure:
    """What a service answered, or that it did not answer."""
    status = rpc.status_of_call(error)
    if status is None:
        code = _CODES.get(error.code(), "INTERNAL_ERROR")
        return Failure(code, error.details() or "a service behind the gateway failed", retry_after_s=1)
    info, retry = _details(status)
    after = max(1, retry.retry_delay.seconds) if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else 0
    code = _CODES.get(error.code(), "INTERNAL_ERROR")
    return Failure(code, status.message, retry_after_s=after or retry.retry_delay.seconds, reason=info.reason)


def _details(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo]:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(retry)
    return info, retry


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
