"""What a call can fail with: typed errors made from the status that a service answered.

    HeadraceError
     +-- InvalidRequest      a field is not acceptable; `violations` names each with its limit
     +-- NotFound            also for what another tenant owns
     +-- AlreadyExists
     +-- WrongState          deleted, ended, or otherwise not in a state that allows this
     +-- Conflict            somebody else changed it in between; read again
     +-- Unauthenticated     no token, or one that is unknown, expired or revoked
     +-- PermissionDenied    the token's role is too low
     +-- Overloaded          come back after `retry_after_s`; also a full store, a file too large
     +-- Unavailable         the server, or something behind it, is away
     +-- TimedOut            also a TimeoutError: what was waited for did not happen in time
     +-- DataLost            bytes do not have the digest they should have
     +-- Unsupported         the server does not know this method
     +-- InternalError       a defect of Headrace; the server's log tells more

`reason` holds the exact cause as a string of the closed set in `headrace/api/common/v1/error_reason.proto`
("RUN_NOT_FOUND"); it is empty where no Headrace service answered. The server's side of this is `headrace_kit.errors`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # this module is imported without a connection, and grpc takes 60 ms
    import grpc
    from google.protobuf.any_pb2 import Any as AnyMessage

_DETAILS: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that was refused."""

    field: str
    """Its path in the request, such as "tags[3].key"."""
    problem: str
    """What is wrong with it, with the limit."""


class HeadraceError(Exception):
    """Every error of a call to Headrace. The text says what was wrong and what to do."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s


class InvalidRequest(HeadraceError, ValueError):  # noqa: N818 - these read as what they are where they are caught
    """A field is not acceptable; nothing was changed."""


class NotFound(HeadraceError, LookupError):  # noqa: N818 - as above
    """There is no such resource, or it is another tenant's."""


class AlreadyExists(HeadraceError):  # noqa: N818 - as above
    """The name is in use."""


class WrongState(HeadraceError):  # noqa: N818 - as above
    """The resource is deleted, ended, or not in a state that allows this."""


class Conflict(HeadraceError):  # noqa: N818 - as above
    """Somebody else changed the resource in between."""


class Unauthenticated(HeadraceError):  # noqa: N818 - as above
    """No token, or one that proves nothing."""


class PermissionDenied(HeadraceError):  # noqa: N818 - as above
    """The token's role is too low for this."""


class Overloaded(HeadraceError):  # noqa: N818 - as above
    """The server, a store or a quota has no room now."""


class Unavailable(HeadraceError, ConnectionError):  # noqa: N818 - as above
    """The server, or something behind it, is away."""


class TimedOut(HeadraceError, TimeoutError):  # noqa: N818 - as above
    """What was waited for did not happen in time."""


class DataLost(HeadraceError):  # noqa: N818 - as above
    """Bytes do not have the digest they should have."""


class Unsupported(HeadraceError):  # noqa: N818 - as above
    """The server does not know this method: it is older than this client, or not a Headrace."""


class InternalError(HeadraceError):
    """A defect of Headrace."""


_BY_CODE: Final[Mapping[str, type[HeadraceError]]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": WrongState,
    "ABORTED": Conflict,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": Overloaded,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": TimedOut,
    "CANCELLED": Unavailable,  # by the server, when it goes away; the caller's own cancellation never gets here
    "DATA_LOSS": DataLost,
    "UNIMPLEMENTED": Unsupported,
}

LASTING: Final = (InvalidRequest, NotFound, WrongState, Unauthenticated, PermissionDenied, Unsupported)
"""Errors that the same request would get again."""


def from_rpc(error: "grpc.RpcError") -> HeadraceError:
    """The typed error of a failed call, from its code and the `google.rpc` details in its trailers."""
    code = error.code().name
    message = error.details() or f"the server answered {code}"
    made = _BY_CODE.get(code, InternalError)(message)
    for entry in error.trailing_metadata() or ():
        if entry.key == _DETAILS and isinstance(entry.value, bytes):
            _read_details(made, entry.value)
    return made


def _read_details(error: HeadraceError, serialized: bytes) -> None:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - loaded with the first error only
    from google.rpc import status_pb2  # noqa: PLC0415 - loaded with the first error only

    try:
        details = status_pb2.Status.FromString(serialized).details
    except DecodeError:
        return  # a proxy's own trailer: code and message still stand
    for detail in details:
        _read_detail(error, detail)


def _read_detail(error: HeadraceError, detail: "AnyMessage") -> None:
    from google.rpc import error_details_pb2  # noqa: PLC0415 - loaded with the first error only

    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    if detail.Unpack(info):
        error.reason = info.reason
        error.metadata.update(info.metadata)
    elif detail.Unpack(bad):
        error.violations += tuple(Violation(each.field, each.description) for each in bad.field_violations)
    elif detail.Unpack(retry):
        error.retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
