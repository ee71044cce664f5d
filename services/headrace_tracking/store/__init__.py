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
}
