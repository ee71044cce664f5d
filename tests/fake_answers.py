"""How the services in memory fail a call."""

from typing import Any

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit import errors


def not_found(reason: Any, message: str) -> errors.DomainError:
    return errors.DomainError(reason, message)


def abort(context: Any, error: errors.DomainError) -> None:
    """Ends the call as a service does."""
    status = errors.status_of(error)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(error.code, error.message)


def away(message: str = "away") -> errors.DomainError:
    """A service behind the edge is away."""
    return errors.DomainError(error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE, message)
