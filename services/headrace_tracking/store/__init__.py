"""The tracking schema in SQL, a function a statement; rows are frozen dataclasses.

The statements run under row security: they see the rows of the transaction's tenant alone and need not name it.
"""

from typing import Final

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.db import Constraints
from headrace_kit.errors import DomainError

CONSTRAINTS: Final[Constraints] = {
    "experiments_name": lambda: DomainError(
        error_reason_pb2.ERROR_REASON_EXPERIMENT_EXISTS,
        "an experiment with this name exists, or lies in the bin; choose another name or restore it",
    ),
    # Purged between the look at it and the write that refers to it.
    "runs_tenant_id_experiment_id_fkey": lambda: _purged(error_reason_pb2.ERROR_REASON_EXPERIMENT_NOT_FOUND),
    "logged_models_tenant_id_experiment_id_fkey": lambda: _purged(error_reason_pb2.ERROR_REASON_EXPERIMENT_NOT_FOUND),
    "logged_models_tenant_id_run_id_fkey": lambda: _purged(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND),
    "run_inputs_tenant_id_experiment_id_name_digest_fkey": lambda: DomainError(
        error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
        "a dataset went with the last run that used it, at this very moment; try again",
    ),
}


def _purged(reason: error_reason_pb2.ErrorReason) -> DomainError:
    return DomainError(reason, "what this belongs to was purged at this very moment")
