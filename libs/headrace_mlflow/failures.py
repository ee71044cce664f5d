"""Headrace's errors as MLflow's, with the codes that the gateway answers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from headrace import errors

_CODES: Final[Mapping[type[errors.HeadraceError], int]] = {
    errors.InvalidRequest: codes.INVALID_PARAMETER_VALUE,
    errors.NotFound: codes.RESOURCE_DOES_NOT_EXIST,
    errors.AlreadyExists: codes.RESOURCE_ALREADY_EXISTS,
    errors.WrongState: codes.INVALID_PARAMETER_VALUE,
    errors.Conflict: codes.RESOURCE_CONFLICT,
    errors.Unauthenticated: codes.UNAUTHENTICATED,
    errors.PermissionDenied: codes.PERMISSION_DENIED,
    errors.Overloaded: codes.REQUEST_LIMIT_EXCEEDED,
    errors.Unavailable: codes.TEMPORARILY_UNAVAILABLE,
    errors.TimedOut: codes.DEADLINE_EXCEEDED,
    errors.DataLost: codes.DATA_LOSS,
    errors.Unsupported: codes.NOT_IMPLEMENTED,
}


@contextmanager
def as_mlflow() -> Iterator[None]:
    """Raises MlflowException for an error of Headrace's."""
    try:
        yield
    except errors.HeadraceError as error:
        raise MlflowException(str(error), _CODES.get(type(error), codes.INTERNAL_ERROR)) from error
