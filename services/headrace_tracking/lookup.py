"""Finds the resources that a request names, or says what is wrong with the name.

What another tenant owns is not found: row security shows the transaction's tenant alone.
"""

from collections.abc import Sequence
from uuid import UUID

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.db import Connection
from headrace_kit.errors import DomainError
from headrace_tracking import limits, rules
from headrace_tracking.doors import RunAddress
from headrace_tracking.store import runs as store


async def run_address(conn: Connection, tenant_id: str, run_id: str, *, active: bool) -> RunAddress:
    """Where a run belongs; `active` refuses deleted ones.

    Raises InvalidField for what is no run id, DomainError RUN_NOT_FOUND or NOT_ACTIVE.
    """
    number = limits.run_id("run_id", run_id)
    place = await store.place(conn, number)
    if place is None:
        raise run_not_found(number)
    if active:
        rules.check_run_active(number.hex, deleted=place.deleted)
    return RunAddress(tenant_id, place.experiment_id, number)


async def check_runs(conn: Connection, run_ids: Sequence[UUID]) -> None:
    """Raises DomainError RUN_NOT_FOUND for the first that the tenant does not have; deleted ones are there."""
    known = await store.known(conn, run_ids)
    for run_id in run_ids:
        if run_id not in known:
            raise run_not_found(run_id)


def run_not_found(run_id: UUID) -> DomainError:
    """The error of an id that the tenant has no run for."""
    return DomainError(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, f"no run has the id {run_id.hex}")
